"""Pseudo-labels as a data set: what counts as a face, what is ignored, and what makes a file unfit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import REGISTRY, DatasetError, read_pseudo_labels
from tests.train.drawn_faces import save_photo
from train.detection.sources import photos, read_sources

RECIPES = Path(__file__).resolve().parents[2] / "train" / "recipes"
LABELS = RECIPES / "pseudo_labels"
TRAINED = sorted(path for path in LABELS.glob("*.json.gz") if path.name != "holdout.json.gz")

MARKS = [float(number) for number in range(10)]
FOUND = {
    "b/2.png": [],
    "1.png": [
        [10, 10, 30.5, 40, 0.9, 4, MARKS],
        [50, 10, 70, 30, 0.55, 3, None],
        [50, 40, 70, 60, 0.549, 3, None],
        [80, 10, 91.9, 60, 0.9, 4, None],
        [5, 50, 25, 70, 0.1, 1, None],
        [30, 50, 50, 70, 0.099, 1, None],
    ],
    "gone.png": [[0, 0, 20, 20, 0.9, 4, None]],
}


@pytest.fixture
def images(tmp_path) -> Path:
    for name in ("1.png", "b/2.png", "unlisted.png"):
        save_photo(tmp_path / "images" / name, np.zeros((80, 100, 3), np.uint8))
    return tmp_path / "images"


def save(folder: Path, content: object, zipped: bool = True) -> Path:
    file = folder / ("labels.json.gz" if zipped else "labels.json")
    data = json.dumps(content).encode()
    file.write_bytes(gzip.compress(data) if zipped else data)
    return file


@pytest.mark.parametrize("zipped", [False, True])
def test_what_counts_as_a_face(tmp_path, images, zipped):
    file = save(tmp_path, FOUND, zipped)
    found = read_pseudo_labels(file, images)
    assert found.name == "labels"
    assert [photo.name for photo in found] == ["1.png", "b/2.png"]
    first, empty = found
    assert first.path == images / "1.png"
    np.testing.assert_allclose(first.boxes[0], (10, 10, 30.5, 40))
    assert first.ignored.tolist() == [False, False, True, True, True]
    np.testing.assert_allclose(first.landmarks[0].ravel(), MARKS)
    assert np.isnan(first.landmarks[1:]).all()
    np.testing.assert_allclose(first.attributes["score"], [0.9, 0.55, 0.549, 0.9, 0.1])
    assert first.attributes["votes"].tolist() == [4, 3, 3, 4, 1]
    assert first.fully_labelled and empty.fully_labelled
    assert len(empty) == 0
    (problem,) = found.problems
    assert "1 photo is missing or empty (of 3)" in str(problem) and "gone.png" in str(problem)
    with pytest.raises(DatasetError, match=r"gone\.png"):
        read_pseudo_labels(file, images, strict=True)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "1.png: a list of faces expected, got dict"),
        ([[1, 2, 3, 4, 0.5, 4]], "1.png: entry 0: x1, y1, x2, y2, score, votes and landmarks expected"),
        ([FOUND["1.png"][0], 3], "1.png: entry 1: x1, y1"),
        ([[1, 2, 3, "4", 0.5, 4, None]], "1.png: entry 0: six numbers expected"),
        ([[1, 2, float("nan"), 4, 0.5, 4, None]], "1.png: entry 0: six numbers expected"),
        ([[5, 2, 3, 4, 0.5, 4, None]], "1.png: entry 0: x1 <= x2 and y1 <= y2 expected"),
        ([[1, 2, 3, 4, 0.5, 4, [1, 2]]], "1.png: entry 0: ten landmark coordinates or null expected"),
        ([[1, 2, 3, 4, 0.5, 4, [None] * 10]], "1.png: entry 0: ten landmark coordinates"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, images, entries, message):
    file = save(tmp_path, {"1.png": entries})
    with pytest.raises(DatasetError) as caught:
        read_pseudo_labels(file, images)
    assert f"{file}: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "not pseudo-labels"),
        (b'{"": []}', "a photo needs a name"),
        (b"\xff\xfe\x00", "not JSON"),
        (gzip.compress(b"{}" * 100)[:-9], "damaged gzip file"),
        (gzip.compress(b"{}" * 100)[:14] + b"\xff" * 12, "damaged gzip file"),
        (None, "cannot be read: No such file"),
    ],
)
def test_an_unfit_file_is_named(tmp_path, images, data, message):
    file = tmp_path / "labels.json.gz"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(DatasetError, match=rf"labels\.json\.gz: {message}"):
        read_pseudo_labels(file, images)


def test_photos_that_are_not_there_are_told(tmp_path):
    file = save(tmp_path, FOUND)
    with pytest.raises(DatasetError, match=r"none: no such folder; it should hold the photos that .*labels\.json\.gz"):
        read_pseudo_labels(file, tmp_path / "none")


def content(file: Path) -> dict:
    return json.loads(gzip.decompress(file.read_bytes()))


PROFILES = "fairface_profiles"  # of a set that is below DATA itself


def test_no_photo_held_out_is_trained_on():
    held_out = set(content(LABELS / "holdout.json.gz"))
    assert len(held_out) == 300
    assert {name.split("/")[0] for name in held_out} <= set(REGISTRY)
    for file in TRAINED:
        name = file.name.removesuffix(".json.gz")
        assert name == PROFILES or REGISTRY[name].images == f"photos/{name}"
        trained = content(file)
        assert not held_out & {f"{name}/{photo}" for photo in trained}
        assert trained, "a set without labels should not be there"


def test_the_recipe_names_the_files_that_are_there(tmp_path):
    """It reads them beside itself, and the photos below the data folder."""
    sources = [s for s in read_sources(RECIPES / "data_pseudo.toml", tmp_path, tmp_path) if s.kind == "pseudo"]
    assert sorted(source.annotations for source in sources) == TRAINED
    for source in sources:
        name = source.annotations.name.removesuffix(".json.gz")
        if name == PROFILES:
            assert source.images == tmp_path / "fairface/train"
            assert source.landmarks and not source.fully_labelled
            continue
        assert source.images == tmp_path / "photos" / name
        assert source.about == REGISTRY[name].note
        assert not source.landmarks
    with pytest.raises(DatasetError, match="photos/sports: no such folder"):
        next(photos(sources[0]))


@pytest.mark.parametrize("file", [*TRAINED, LABELS / "holdout.json.gz"], ids=lambda file: file.name)
def test_every_file_of_the_repository_can_be_read(tmp_path, file):
    listed = content(file)
    for name in listed:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"never decoded")
    found = read_pseudo_labels(file, tmp_path, strict=True)
    assert len(found) == len(listed)
    assert sum((~photo.ignored).sum() for photo in found) > 0
