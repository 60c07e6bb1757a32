"""The real recognition sets, where they are at hand: known counts, and landmarks that make sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import read_fgnet, read_identities, read_lfw_pairs, read_utkface

DATA = Path(__file__).parents[3] / "shared" / "data"


def needed(path):
    if not path.exists():
        pytest.skip(f"the real data are not here: no {path}")
    return path


def test_lfw_view_2():
    pairs = read_lfw_pairs(needed(DATA / "lfw" / "pairs.txt"), strict=True)
    assert len(pairs) == 6000
    assert len(pairs.photos()) == 7701
    for fold in range(1, 11):
        part = [pair for pair in pairs if pair.fold == fold]
        assert (len(part), sum(pair.same for pair in part)) == (600, 300)
        assert all((pair.image_a.person == pair.image_b.person) == pair.same for pair in part)
    # No person is in two folds.
    sides = {(pair.fold, side.person) for pair in pairs for side in (pair.image_a, pair.image_b)}
    assert len(sides) == len({person for _, person in sides})


def test_lfw_people():
    people = read_identities(needed(DATA / "lfw" / "images"), strict=True)
    assert (len(people), len({each.person for each in people})) == (8822, 4333)


def test_fgnet():
    people = read_fgnet(needed(DATA / "fgnet"), strict=True)
    assert (len(people), len({each.person for each in people})) == (1002, 82)
    assert (min(each.age for each in people), max(each.age for each in people)) == (0, 69)
    points = np.array([each.landmarks for each in people])
    left_eye, right_eye, nose, left_mouth, right_mouth = np.moveaxis(points, 1, 0)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
    # Eyes above the nose, and the nose above the mouth, but for two heads laid on the side or far back.
    assert ((left_eye + right_eye)[:, 1] / 2 < nose[:, 1]).all()
    assert (nose[:, 1] < (left_mouth + right_mouth)[:, 1] / 2).sum() == 1000


@pytest.mark.parametrize(("part", "count"), [("train", 8179), ("val", 1366), ("test", 1325)])
def test_utkface(part, count):
    people = read_utkface(needed(DATA / "utkface" / part), strict=True)
    assert len(people) == count
    assert {each.attributes["race"] for each in people} == {0, 1, 2, 3, 4}
    assert 0 < min(each.age for each in people) < max(each.age for each in people) <= 116
