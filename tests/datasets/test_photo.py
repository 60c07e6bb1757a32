"""Photo, Dataset, Problem and Detections check what they are given."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import cascade.datasets
from cascade.datasets import Dataset, DatasetError, Detections, Photo, Problem, ellipse_boxes


def photo(n=2, **changes):
    values = {
        "path": Path("a.jpg"),
        "name": "a",
        "boxes": np.tile([1, 2, 11, 22], (n, 1)),
        "ignored": np.zeros(n, bool),
        "landmarks": np.full((n, 5, 2), np.nan),
        "fully_labelled": True,
    }
    return Photo(**{**values, **changes})


def test_a_file_that_cannot_be_read_is_named_once_with_the_reason():
    file = Path("none/faces.csv")
    for read in (cascade.datasets.read_coco, cascade.datasets.read_label_csv):
        with pytest.raises(DatasetError) as caught:
            read(file, Path())
        assert str(caught.value) == f"{file}: cannot be read: No such file or directory"
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    assert str(DatasetError.unreadable(file, error)) == f"{file}: cannot be read: {error}"


def test_dtypes_and_length():
    one = photo(attributes={"blur": [0, 2]}, ellipses=np.ones((2, 5), np.float32))
    assert len(one) == 2
    assert one.boxes.dtype == one.landmarks.dtype == np.float32
    assert one.ignored.dtype == bool
    assert one.ellipses.dtype == np.float64
    assert one.attributes["blur"].tolist() == [0, 2]
    assert photo(0).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": np.zeros((2, 5))},
        {"boxes": np.zeros(4)},
        {"boxes": np.float32(1)},
        {"boxes": [[0, 0, np.nan, 1]] * 2},
        {"boxes": [[0, 0, 1e300, 1]] * 2},
        {"boxes": [[5, 0, 4, 1]] * 2},
        {"ignored": np.zeros(1, bool)},
        {"landmarks": np.zeros((2, 10))},
        {"landmarks": np.full((2, 5, 2), np.inf)},
        {"attributes": {"blur": [1]}},
        {"attributes": {"blur": 1}},
        {"ellipses": np.zeros((1, 5))},
        {"ellipses": np.full((2, 5), np.nan)},
        {"name": ""},
    ],
)
def test_wrong_photos_are_refused(changes):
    with pytest.raises(ValueError, match=r"a\b|a photo needs"):
        photo(**changes)


def test_a_photo_cannot_change_and_does_not_follow_its_source():
    boxes = np.array([[0, 0, 4, 4], [1, 1, 2, 2]], np.float32)
    one = photo(boxes=boxes)
    boxes[:] = 9
    assert one.boxes[0].tolist() == [0, 0, 4, 4]
    with pytest.raises(ValueError, match="read-only"):
        one.boxes[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        one.name = "b"


def test_photos_travel_between_processes():
    copy = pickle.loads(pickle.dumps(photo(attributes={"pose": [1, 0]}, size=(30, 40))))
    assert copy.name == "a"
    assert copy.size == (30, 40)
    assert copy.attributes["pose"].tolist() == [1, 0]


def test_dataset_behaves_like_a_sequence():
    photos = tuple(photo(name=name) for name in "abc")
    dataset = Dataset("set", photos, (Problem(Path("f"), 1, "m"),))
    assert len(dataset) == 3
    assert list(dataset) == list(photos)
    assert dataset[-1] is photos[2]
    assert dataset[1:] == photos[1:]
    assert dataset.by_name()["b"] is photos[1]
    with pytest.raises(IndexError):
        dataset[3]


def test_dataset_refuses_equal_names():
    with pytest.raises(ValueError, match="same name"):
        Dataset("set", (photo(), photo()))


def test_problem_text():
    assert str(Problem(Path("file.txt"), 12, "message")) == "file.txt:12: message"
    assert str(Problem(Path("file.mat"), None, "message")) == "file.mat: message"
    assert issubclass(DatasetError, ValueError)


@pytest.mark.parametrize(
    ("boxes", "scores", "ellipses"),
    [
        (np.zeros((2, 5)), np.zeros(2), None),
        (np.zeros((2, 4)), np.zeros(3), None),
        ([[0, 0, np.inf, 1]], [0.5], None),
        ([[0, 0, 1, 1]], [np.nan], None),
        ([[3, 0, 1, 1]], [0.5], None),
        ([[0, 0, 1, 1]], [0.5], np.zeros((2, 5))),
    ],
)
def test_wrong_detections_are_refused(boxes, scores, ellipses):
    with pytest.raises(ValueError, match="must"):
        Detections(boxes, scores, ellipses)


def test_ellipse_boxes_touch_the_ellipse():
    rng = np.random.default_rng(0)
    ellipses = np.column_stack([rng.uniform(1, 90, (50, 2)), rng.uniform(-7, 7, 50), rng.uniform(-9, 400, (50, 2))])
    turn = np.linspace(0, 2 * np.pi, 20001)
    for (a, b, angle, cx, cy), box in zip(ellipses, ellipse_boxes(ellipses), strict=True):
        x = cx + a * np.cos(turn) * np.cos(angle) - b * np.sin(turn) * np.sin(angle)
        y = cy + a * np.cos(turn) * np.sin(angle) + b * np.sin(turn) * np.cos(angle)
        np.testing.assert_allclose(box, [x.min(), y.min(), x.max(), y.max()], atol=1e-5)


def test_everything_exported_exists():
    assert len(set(cascade.datasets.__all__)) == len(cascade.datasets.__all__)
    assert all(hasattr(cascade.datasets, name) for name in cascade.datasets.__all__)
