"""B-cubed, pairwise measures, and ways of grouping."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.datasets import PersonPhoto
from eval.recognition.clustering import (
    Agreement,
    b_cubed,
    dbscan,
    from_index,
    grouped,
    hdbscan,
    pairwise,
    score,
    seconds_for,
)
from eval.recognition.similarity import ProtocolError

LABELS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=1, max_size=14)


@given(LABELS)
def test_measures_are_their_definitions(faces) -> None:
    groups, people = (list(each) for each in zip(*faces, strict=True))
    count = range(len(faces))
    together = [[groups[i] == groups[j] for j in count] for i in count]
    one = [[people[i] == people[j] for j in count] for i in count]
    both = np.array(together) & np.array(one)
    found = b_cubed(groups, people)
    assert found.precision == pytest.approx(np.mean(both.sum(1) / np.sum(together, axis=1)))
    assert found.recall == pytest.approx(np.mean(both.sum(1) / np.sum(one, axis=1)))
    pairs = list(combinations(count, 2))
    right = sum(both[i, j] for i, j in pairs)
    in_group, of_person = (sum(matrix[i][j] for i, j in pairs) for matrix in (together, one))
    counted = pairwise(groups, people)
    assert counted.precision == pytest.approx(right / in_group if in_group else 1.0)
    assert counted.recall == pytest.approx(right / of_person if of_person else 1.0)


def test_f_is_the_harmonic_mean() -> None:
    assert Agreement(0.5, 1.0).f == pytest.approx(2 / 3)
    assert Agreement(0.0, 0.0).f == 0.0


def test_amigo_s_example() -> None:
    """Two groups of mixed people, by hand."""
    found = b_cubed([0, 0, 0, 1], ["a", "a", "b", "b"])
    assert found.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert found.recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)


def test_arrays_that_do_not_fit() -> None:
    for groups, people in (([0, 1], ["a"]), ([], [])):
        with pytest.raises(ProtocolError, match="groups: one for each"):
            b_cubed(groups, people)


@pytest.fixture
def faces() -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(4), 6)
    rows = rng.normal(size=(4, 16))[who] + 0.2 * rng.normal(size=(24, 16))
    rows[[3, 20]] = np.nan
    return rows, who.tolist()


@pytest.mark.parametrize("method", ["ours", "dbscan", "hdbscan"])
def test_missed_faces_are_groups_of_their_own(faces, method) -> None:
    rows, who = faces
    if method != "ours":
        pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install --group eval")
    group = {
        "ours": lambda: grouped(rows, 0.6),
        "dbscan": lambda: dbscan(rows, 0.3, 2),
        "hdbscan": lambda: hdbscan(rows, 3),
    }[method]()
    found = score(method, 0.0, group, who)
    assert (found.b_cubed.precision, found.groups, found.largest) == (1.0, 6, 6)
    assert [(group == group[at]).sum() for at in (3, 20)] == [1, 1]


def test_followers_make_no_groups(faces) -> None:
    rows, who = faces
    assert score("ours", 0.6, grouped(rows, 0.6, np.array(who) == 1), who).groups == 6 + 5


def test_time_is_measured(faces) -> None:
    assert all(seconds > 0 for seconds in seconds_for(faces[0], 300, 0.6))


def test_the_main_face_of_each_photo_comes_from_the_index(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from tests.archive.people_helpers import ANN, BOB, face, save_index

    index = save_index(tmp_path / "index", [[face(ANN, 1), face(BOB)], [face(ANN, 2)], []])
    photos = [PersonPhoto(tmp_path / "photos" / f"{at}.png", f"{at}", "Ann") for at in range(4)]
    vectors, unclear = from_index(index, photos, 0.0)
    np.testing.assert_allclose(vectors[:2], [face(ANN, 1), face(ANN, 2)], atol=1e-3)
    assert np.isnan(vectors[2:]).all()
    assert not unclear.any()
    assert from_index(index, photos, 1000.0)[1].tolist() == [True, True, False, False]
    with pytest.raises(ProtocolError, match="has a face in none of the 1 photos"):
        from_index(index, photos[3:], 0.0)
