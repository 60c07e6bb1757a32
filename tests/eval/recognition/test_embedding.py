"""From photos to embeddings: which face, what is missed and what broken, and files of embeddings."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cascade.datasets import DatasetError, PersonPhoto
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.alignment import align
from eval.recognition.embedding import (
    DetectedPoints,
    Embeddings,
    embed_photos,
    given_points,
    main_face,
    our_embedder,
    read_embeddings,
    write_embeddings,
)
from eval.recognition.similarity import ProtocolError
from tests.photos import FACE_LANDMARKS, PORTRAIT, portrait

POINTS = np.array(FACE_LANDMARKS, np.float32)


class MeanColours:
    """An embedder that gives the mean of each colour, and remembers the crops."""

    name, sha256 = "means", "abc"

    def __init__(self):
        self.batches = []

    def embed_crops(self, crops):
        self.batches.append(crops)
        rows = crops.reshape(len(crops), -1, 3).mean(axis=1) + 1.0
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def photo(name, path=PORTRAIT, landmarks=POINTS):
    return PersonPhoto(Path(path), name, "p", landmarks=landmarks)


def faces(*boxes):
    count = len(boxes)
    return Faces(np.array(boxes).reshape(-1, 4), np.linspace(0.9, 0.8, count), np.zeros((count, 5, 2)))


def test_photos_are_aligned_and_embedded_in_batches():
    embedder = MeanColours()
    found = embed_photos([photo(name) for name in "abcde"], embedder, given_points, about={"align": "points"}, batch=2)
    assert [len(batch) for batch in embedder.batches] == [2, 2, 1]
    assert embedder.batches[0].dtype == np.uint8
    np.testing.assert_array_equal(embedder.batches[0][0], align(portrait(), POINTS[None])[0])
    assert found.names == tuple("abcde")
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert found.about == {"model": "means", "weights_sha256": "abc", "align": "points"}


def test_missed_and_broken_photos_keep_their_place(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    photos = [
        photo("a"),
        photo("nowhere", tmp_path / "nowhere.jpg"),
        photo("broken", tmp_path / "broken.jpg"),
        photo("no face", landmarks=None),
        photo("one point", landmarks=np.ones((5, 2))),
        photo("b"),
    ]
    found = embed_photos(photos, MeanColours(), given_points)
    assert np.isnan(found.vectors).all(axis=1).tolist() == [False, True, True, True, True, False]
    assert sorted(found.broken) == ["broken", "nowhere"]
    assert "nowhere.jpg" in found.broken["nowhere"]


def test_no_face_at_all():
    with pytest.raises(ProtocolError, match="no face was found in any of 1 photos"):
        embed_photos([photo("a", landmarks=None)], MeanColours(), given_points)
    with pytest.raises(ProtocolError, match="0 photos"):
        embed_photos([], MeanColours(), given_points)


@pytest.mark.parametrize("rows", [np.zeros((2, 4)), np.zeros(4), np.full((1, 4), np.nan)])
def test_an_embedder_that_gives_something_else(rows):
    embedder = SimpleNamespace(name="odd", sha256="", embed_crops=lambda crops: rows)
    with pytest.raises(ProtocolError, match="odd gave"):
        embed_photos([photo("a")], embedder, given_points)


def test_the_main_face_is_large_and_near_the_centre():
    centre, corner, small = (70, 70, 130, 130), (0, 0, 70, 70), (90, 90, 110, 110)
    # Areas 3,600, 4,900 and 400; the corner's centre is 65 px off both ways: 4,900 − 2 · 2 · 65² < 3,600.
    assert main_face(faces(corner, centre, small), 200, 200) == 1
    assert main_face(faces(corner, small), 200, 200) == 1
    # Further in, at (60, 60), it is large enough: 4,900 − 2 · 2 · 15² = 4,000.
    assert main_face(faces((50, 50, 120, 120), centre), 200, 200) == 0
    assert main_face(faces(centre, centre), 200, 200) == 0
    with pytest.raises(ProtocolError, match="at least one"):
        main_face(faces(), 200, 200)


def test_points_of_the_detector():
    locate = DetectedPoints(Detector(min_face=60, threads=1))
    points = locate(photo("a"), portrait())
    assert points.shape == (5, 2)
    assert np.abs(points - POINTS).max() < 12
    assert locate(photo("a"), np.zeros((120, 120, 3), np.uint8)) is None


def test_points_of_the_main_face_among_several():
    several = Faces([[0, 0, 20, 20], [40, 40, 60, 60]], [0.9, 0.5], np.arange(20).reshape(2, 5, 2))
    locate = DetectedPoints(SimpleNamespace(detect=lambda image: several))
    assert locate(photo("a"), np.zeros((100, 100, 3), np.uint8)).tolist() == several.landmarks[1].tolist()


def test_our_recogniser_is_asked_for_crops(monkeypatch):
    class Recognizer:
        def __init__(self, weights=None, flip=False):
            self.weights = SimpleNamespace(name=f"set {weights}{' and mirrored' if flip else ''}", sha256="f00")

        def embed_crops(self, crops):
            return np.ones((len(crops), 4), np.float32) / 2

    monkeypatch.setitem(sys.modules, "cascade.recognize", SimpleNamespace(Recognizer=Recognizer))
    embedder = our_embedder("light")
    assert (embedder.name, embedder.sha256) == ("set light", "f00")
    assert our_embedder("light", flip=True).name == "set light and mirrored"
    assert embed_photos([photo("a")], embedder, given_points).vectors.tolist() == [[0.5] * 4]


def test_without_a_recogniser(monkeypatch):
    monkeypatch.setitem(sys.modules, "cascade.recognize", None)
    with pytest.raises(ImportError, match="has no recogniser: give --embeddings"):
        our_embedder()


def test_file_and_back(tmp_path):
    vectors = np.array([[1, 0], [np.nan, np.nan], [0, 1]], np.float32)
    made = Embeddings(("a/ä.jpg", "b.jpg", "c.jpg"), vectors, {"model": "m", "flip": False}, {"b.jpg": "cut short"})
    write_embeddings(tmp_path / "e.npz", made)
    back = read_embeddings(tmp_path / "e.npz")
    assert back.names == made.names
    np.testing.assert_array_equal(back.vectors, vectors)
    assert back.broken == {"b.jpg": "cut short"}
    assert {key: back.about[key] for key in ("model", "flip")} == made.about
    assert len(back.about["embeddings_sha256"]) == 64
    write_embeddings(tmp_path / "again.npz", made)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "e.npz").read_bytes()


def test_other_models_files_need_names_and_embeddings_only(tmp_path):
    np.savez(tmp_path / "e.npz", names=np.array(["a", "b"]), embeddings=np.array([[1.0, 2.0], [3.0, 4.0]]))
    back = read_embeddings(tmp_path / "e.npz")
    assert back.vectors.dtype == np.float32
    assert set(back.about) == {"embeddings_sha256"}


@pytest.mark.parametrize(
    "arrays",
    [
        {"names": ["a"]},
        {"embeddings": np.ones((1, 2))},
        {"names": ["a", "b"], "embeddings": np.ones((1, 2))},
        {"names": ["a", "a"], "embeddings": np.ones((2, 2))},
        {"names": ["a"], "embeddings": np.full((1, 2), np.inf)},
        {"names": ["a"], "embeddings": np.full((1, 2), 1e300)},
        {"names": ["a"], "embeddings": np.ones(2)},
        {"names": ["a"], "embeddings": np.array([["x", "y"]])},
        {"names": [1], "embeddings": np.ones((1, 2))},
        {"names": np.array(["a"], object), "embeddings": np.ones((1, 2))},
        {"names": [["a"]], "embeddings": np.ones((1, 2))},
        {"names": ["a"], "embeddings": np.ones((1, 2)), "about": "no JSON"},
        {"names": ["a"], "embeddings": np.ones((1, 2)), "about": "[1]"},
        {"names": np.array([], "U1"), "embeddings": np.ones((0, 2))},
    ],
)
def test_unfit_files_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(DatasetError, match=r"e\.npz: not a file of embeddings"):
        read_embeddings(tmp_path / "e.npz")


def test_damaged_files_are_refused(tmp_path):
    write_embeddings(tmp_path / "e.npz", Embeddings(("a",), np.ones((1, 2))))
    content = (tmp_path / "e.npz").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 5):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"cut\.npz"):
            read_embeddings(tmp_path / "cut.npz")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_embeddings(tmp_path / "absent.npz")
    np.save(tmp_path / "one.npy", np.ones((2, 2)))
    with pytest.raises(DatasetError, match=r"one\.npy"):
        read_embeddings(tmp_path / "one.npy")


def test_names_are_found_without_suffix_and_leading_folders():
    rows = Embeddings(("images/a.JPG", "b", "x/c.png", "other.jpg"), np.arange(8).reshape(4, 2))
    vectors, missing = rows.of(["a.webp", "images/b.jpg", "x/c.jpg", "d.jpg"])
    np.testing.assert_array_equal(vectors, [[0, 1], [2, 3], [4, 5], [np.nan, np.nan]])
    assert missing == ("d.jpg",)


def test_names_that_could_mean_several_photos():
    with pytest.raises(ProtocolError, match="could mean 2 photos"):
        Embeddings(("1.jpg",), np.ones((1, 2))).of(["anna/1.jpg", "bo/1.jpg"])
    with pytest.raises(ProtocolError, match="twice"):
        Embeddings(("a.jpg", "a.png"), np.ones((2, 2))).of(["a.webp"])
