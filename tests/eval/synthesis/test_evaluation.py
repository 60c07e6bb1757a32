"""The figures of age synthesis: nobody is compared with themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eval.synthesis.evaluation import TARGETS, Estimates, Face, Results, figures

PEOPLE = 50
IMAGE, FIVE = np.zeros((8, 8, 3), np.uint8), np.zeros((1, 5, 2), np.float32)


def in_their_twenties(photos: int, among: int = PEOPLE) -> dict[str, Any]:
    """The figures of that group for people with so many photos each, all alike; the synthesis changes nothing.

    They are so many ``among`` the people of the set; the others are 5 years old.
    """
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(PEOPLE, 128)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    rows = np.repeat(np.arange(PEOPLE), photos)
    faces = [Face(f"{row}", IMAGE, FIVE, 25.0 if row < among else 5.0, f"person {row}") for row in rows]
    real = Estimates([25.0] * len(rows), [1.0] * len(rows), list(looks[rows]))
    many = PEOPLE * len(TARGETS)
    aged = Estimates([25.0] * many, [1.0] * many, list(np.repeat(looks, len(TARGETS), axis=0)))
    results = Results(faces, real, list(range(0, len(rows), photos)), aged, [])
    (row,) = [each for each in figures(results)["by_target"] if each["target"] == 25.0]
    return dict(row)


def test_synthesised_faces_are_not_compared_with_their_own_photos() -> None:
    row = in_their_twenties(1)
    # those that are left have not changed, so they are the other half of the real faces
    assert row["kid"] == pytest.approx(row["kid_real"]) and row["fid"] == pytest.approx(row["fid_real"], rel=1e-3)
    assert row["fid"] > 0.1


def test_photos_of_one_person_are_not_compared_with_each_other() -> None:
    one, three = in_their_twenties(1), in_their_twenties(3)
    assert three["real_faces"] == 3 * PEOPLE
    assert three["diversity_real"] == pytest.approx(one["diversity_real"]) == pytest.approx(one["diversity"])
    for name in ("kid", "kid_real", "fid", "fid_real"):
        assert three[name] == pytest.approx(one[name])


def test_too_few_people_have_no_distances() -> None:
    assert "kid" in in_their_twenties(1, among=16) and "kid" not in in_their_twenties(4, among=15)
