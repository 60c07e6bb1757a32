"""Faces in COCO's JSON form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_coco

POINTS = [1, 2, 2, 3, 4, 1, 5, 6, 0, 7, 8, 2, 9, 10, 2]


@pytest.fixture
def save(tmp_path):
    def write(images, annotations, **more):
        file = tmp_path / "faces.json"
        file.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
        return file

    return write


def image(key, name, **more):
    return {"id": key, "file_name": name, **more}


def face(key, **changes):
    return {"image_id": key, "bbox": [1, 2, 3, 4], "category_id": 2, "iscrowd": 0, **changes}


def test_faces(save, tmp_path, touch):
    touch(tmp_path, "images/a.jpg.jpg", "b.webp")
    annotations = [face(7, keypoints=POINTS), face(7, iscrowd=1), face(7, bbox=[5.5, 6, 0, 2], category_id=1)]
    file = save([image(7, "images/a.jpg.jpg", width=640, height=480), image("x", "b.webp")], annotations)
    dataset = read_coco(file, strict=True)
    assert dataset.name == "faces"
    one, two = dataset
    assert one.name == "images/a.jpg.jpg"
    assert one.path == tmp_path / "images/a.jpg.jpg"
    assert one.boxes.tolist() == [[1, 2, 4, 6], [1, 2, 4, 6], [5.5, 6, 5.5, 8]]
    assert one.ignored.tolist() == [False, True, True]
    assert one.attributes["category_id"].tolist() == [2, 2, 1]
    assert one.size == (640, 480)
    np.testing.assert_array_equal(one.landmarks[0], [[1, 2], [3, 4], [np.nan, np.nan], [7, 8], [9, 10]])
    assert np.isnan(one.landmarks[1:]).all()
    assert len(two) == 0
    assert two.size is None


def test_fully_labelled(save):
    def labelled(info=None, **options):
        file = save([image(1, "a.jpg")], [], **({} if info is None else {"info": info}))
        return read_coco(file, require_images=False, **options)[0].fully_labelled

    assert labelled() is True
    assert labelled(fully_labelled=False) is False
    assert labelled({"fully_labelled": False}) is False
    assert labelled({"fully_labelled": False}, fully_labelled=True) is True
    assert labelled("text") is True


def test_missing_images(save, tmp_path, touch):
    touch(tmp_path / "pics", "a.jpg")
    (tmp_path / "pics/empty.jpg").touch()
    file = save([image(1, "a.jpg"), image(2, "b.jpg"), image(3, "empty.jpg"), image(4, "a.png")], [face(1)])
    dataset = read_coco(file, tmp_path / "pics")
    assert [photo.name for photo in dataset] == ["a.jpg"]
    assert "3 photos are missing or empty (of 4)" in dataset.problems[0].message
    assert "b.jpg, empty.jpg, a.png" in str(dataset.problems[0])
    everything = read_coco(file, tmp_path / "pics", require_images=False)
    assert [photo.path for photo in everything][1] == tmp_path / "pics/b.jpg"
    assert everything.problems == ()
    with pytest.raises(DatasetError, match="3 photos"):
        read_coco(file, strict=True, images=tmp_path / "pics")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [1, 2, 3]}, "bbox must be a list of 4 numbers"),
        ({"bbox": None}, "bbox must be"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox holds '4'"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox holds nan"),
        ({"bbox": [1, 2, 3, float("inf")]}, "bbox holds inf"),
        ({"bbox": [1, 2, 3, 10**400]}, "bbox holds 1000"),
        ({"keypoints": [1, 2, 2] * 17}, "keypoints must be a list of 15"),
        ({"category_id": 2**63}, "category_id must be"),
        ({"category_id": "face"}, "category_id must be"),
    ],
)
def test_broken_faces_cost_one_photo(save, changes, message):
    images = [image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    file = save(images, [face(1), face(2), face(2, **changes), face(2), face(3)])
    dataset = read_coco(file, require_images=False)
    assert [photo.name for photo in dataset] == ["a.jpg", "c.jpg"]
    (problem,) = dataset.problems
    assert problem.message.startswith("annotations[2] of b.jpg: ")
    assert message in problem.message
    with pytest.raises(DatasetError, match=r"faces\.json: annotations\[2\] of b\.jpg"):
        read_coco(file, require_images=False, strict=True)


def test_entries_that_do_not_fit(save):
    images = [image(1, "a.jpg"), image(1, "b.jpg"), image(2, "a.jpg"), {"id": 3}, "text", image([4], "d.jpg")]
    dataset = read_coco(save(images, [face(1), face(9), face([1]), "text"]), require_images=False)
    assert [photo.name for photo in dataset] == ["a.jpg"]
    assert len(dataset[0]) == 1
    assert len(dataset.problems) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r":1: not JSON"),
        (b'{"images": [],\n "annotations": }', r":2: not JSON"),
        (b"\xff\xff\xff\xff\xff", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list 'images'"),
        (b'{"images": []}', "no list 'annotations'"),
        (b'{"images": {}, "annotations": []}', "no list 'images'"),
    ],
)
def test_unreadable_files(tmp_path, content, message):
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"broken\.json.*{message}"):
        read_coco(file)
    with pytest.raises(DatasetError, match="absent"):
        read_coco(tmp_path / "absent.json")
