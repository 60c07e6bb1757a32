"""The search in an index."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from cascade.archive.search import FaceSearch, Hit
from cascade.gallery import GalleryError
from tests.archive.people_helpers import ANN, BOB, CAT, face, save_index
from tests.photos import FACE_BOX

PHOTOS = [[face(ANN, 1)], [face(ANN, 2), face(BOB, 1)], [], [face(BOB, 2)]]


@pytest.fixture
def search(tmp_path: Path) -> FaceSearch:
    return FaceSearch(save_index(tmp_path / "index", PHOTOS))


def test_the_most_similar_come_first(search: FaceSearch) -> None:
    assert len(search) == 4
    (hits,) = search.search(face(BOB, 9), top=3)
    assert [(Path(hit.path).name, hit.face) for hit in hits[:2]] in (
        [("1.png", 2), ("3.png", 1)],
        [("3.png", 1), ("1.png", 2)],
    )
    similar = [hit.similarity for hit in hits]
    assert similar == sorted(similar, reverse=True)
    assert hits[0].box == FACE_BOX
    assert isinstance(hits[0], Hit)


def test_similarities_are_cosines(search: FaceSearch) -> None:
    probes = np.stack([face(ANN, 5), face(CAT, 5)])
    found = search.search(probes, top=4)
    rows = {hit.face_id: hit.similarity for hit in found[0]}
    for number, row in (("0", face(ANN, 1)), ("3", face(BOB, 2))):
        hit = next(each for each in found[0] if Path(each.path).stem == number)
        assert rows[hit.face_id] == pytest.approx(float(row @ probes[0]), abs=2e-3)


def test_below_the_threshold_is_nobody(search: FaceSearch) -> None:
    assert search.search(face(CAT), threshold=0.9) == [[]]
    assert len(search.search(face(ANN), threshold=0.8)[0]) == 2


def test_no_probe_and_an_empty_index(search: FaceSearch, tmp_path: Path) -> None:
    assert search.search(np.empty((0, 8), np.float32)) == []
    assert FaceSearch(save_index(tmp_path / "empty", [[]])).search(face(ANN)) == [[]]


def test_several_threads(search: FaceSearch) -> None:
    found: list = []
    probes = np.stack([face(ANN, seed) for seed in range(20)])
    threads = [Thread(target=lambda: found.append(search.search(probes))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize(
    ("probe", "options", "error"),
    [
        (np.ones(8, np.float32), {}, GalleryError),  # not of length 1
        (np.eye(5, dtype=np.float32), {}, GalleryError),
        (face(ANN), {"top": 0}, ValueError),
        (face(ANN), {"threshold": "high"}, TypeError),
    ],
)
def test_wrong_arguments(search: FaceSearch, probe, options, error) -> None:
    with pytest.raises(error):
        search.search(probe, **options)
