"""The real sets, where they are at hand: known counts, and two forms of one annotation that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import (
    read_coco,
    read_fddb,
    read_fddb_detections,
    read_folder,
    read_photo_list,
    read_wider,
    read_wider_predictions,
    read_wider_subsets,
)

SHARED = Path(__file__).parents[3] / "shared"
WIDER = SHARED / "data/wider"
SPLIT = WIDER / "wider_face_split"
FDDB = SHARED / "reference/fddb"


def needed(*paths):
    for path in paths:
        if not path.exists():
            pytest.skip(f"the real data are not here: no {path}")


def shorter_sides(dataset):
    return np.concatenate([(photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1) for photo in dataset])


@pytest.fixture(scope="module")
def train():
    needed(SPLIT / "wider_face_train.mat", WIDER / "WIDER_train")
    return read_wider(SPLIT / "wider_face_train.mat", photos="present", strict=True)


def test_wider_train(train):
    assert len(train) == 1308
    sides = shorter_sides(train)
    ignored = np.concatenate([photo.ignored for photo in train])
    invalid = np.concatenate([photo.attributes["invalid"] for photo in train])
    assert len(sides) == 37602
    # Every face marked invalid is smaller than 12 px, so the count is the same with and without them.
    assert (sides >= 12).sum() == ((sides >= 12) & ~ignored).sum() == 18459
    assert (sides >= 20).sum() == 9067
    assert (invalid.sum(), ignored.sum()) == (685, 693)
    assert all(photo.path.suffix == ".webp" for photo in train)


def test_wider_train_holdout(train):
    needed(WIDER / "validation_from_train.txt")
    names = read_photo_list(WIDER / "validation_from_train.txt")
    held = read_wider(SPLIT / "wider_face_train.mat", photos=names, strict=True)
    rest = read_wider(SPLIT / "wider_face_train.mat", photos="present", without=names, strict=True)
    assert (len(held), len(rest)) == (120, 1188)
    assert set(held.by_name()) | set(rest.by_name()) == set(train.by_name())


def test_wider_absent_photos_are_summarised():
    needed(SPLIT / "wider_face_train.mat", WIDER / "WIDER_train")
    dataset = read_wider(SPLIT / "wider_face_train.mat")
    assert len(dataset) == 1308
    assert 0 < len(dataset.problems) <= 61


def test_wider_val_in_both_forms():
    needed(SPLIT / "wider_face_val.mat", SPLIT / "wider_face_val_bbx_gt.txt")
    matlab = read_wider(SPLIT / "wider_face_val.mat", require_images=False, strict=True)
    text = read_wider(SPLIT / "wider_face_val_bbx_gt.txt", require_images=False, strict=True)
    assert len(matlab) == len(text) == 3226
    assert sum(map(len, matlab)) == 39708
    for one, other in zip(matlab, text, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.ignored, other.ignored)
        for key, values in one.attributes.items():
            np.testing.assert_array_equal(values, other.attributes[key])


def test_wider_val_photos_and_subsets():
    needed(SPLIT / "wider_face_val.mat", WIDER / "WIDER_val", WIDER / "ground_truth")
    present = read_wider(SPLIT / "wider_face_val.mat", photos="present", strict=True)
    assert (len(present), sum(map(len, present))) == (180, 798)
    subsets = read_wider_subsets(WIDER / "ground_truth")
    assert (len(subsets.events), len(subsets.photos)) == (61, 3226)
    totals = [sum(map(len, level.values())) for level in (subsets.easy, subsets.medium, subsets.hard)]
    assert totals == [7211, 13319, 31958]
    everything = read_wider(WIDER / "ground_truth/wider_face_val.mat", require_images=False)
    assert tuple(photo.name for photo in everything) == subsets.photos


def test_wider_predictions():
    archive = SHARED / "reference/wider/predictions.zip"
    needed(archive)
    predictions = read_wider_predictions(archive)
    assert (len(predictions), sum(map(len, predictions.values()))) == (3226, 38441)


def test_fddb():
    needed(FDDB / "FDDB-folds")
    dataset = read_fddb(FDDB / "FDDB-folds", require_images=False, strict=True)
    assert (len(dataset), sum(map(len, dataset))) == (2845, 5171)
    assert not any(photo.ignored.any() for photo in dataset)
    for detector in ("mtcnn", "s3fd_resnet18"):
        found = read_fddb_detections(FDDB / f"{detector}_detections.txt")
        assert set(found) == set(dataset.by_name())


@pytest.mark.parametrize(
    ("file", "photos", "faces", "fully_labelled"),
    [
        ("face_masks/annotations.json", 320, 943, True),
        ("net7876/train.json", 2000, 2000, False),
        ("fddb_single/annotations.json", 500, 500, True),
        ("net7876/test.json", 600, 600, False),
    ],
)
def test_coco(file, photos, faces, fully_labelled):
    needed(SHARED / "data" / file)
    dataset = read_coco(SHARED / "data" / file, strict=True)
    assert (len(dataset), sum(map(len, dataset))) == (photos, faces)
    assert all(photo.fully_labelled is fully_labelled and photo.size is not None for photo in dataset)
    landmarks = np.concatenate([photo.landmarks for photo in dataset])
    if file.startswith("net7876"):
        # Left and right as seen in the image.
        assert (landmarks[:, 0, 0] < landmarks[:, 1, 0]).all()
        assert (landmarks[:, 3, 0] < landmarks[:, 4, 0]).mean() > 0.99
    else:
        assert np.isnan(landmarks).all()


@pytest.mark.parametrize(("part", "count"), [("train", 184), ("test", 62)])
def test_no_face(part, count):
    folder = SHARED / "data/no_face" / part
    needed(folder)
    assert len(read_folder(folder, fully_labelled=True, strict=True)) == count
