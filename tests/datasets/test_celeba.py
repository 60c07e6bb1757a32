"""CelebA's lists."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_celeba

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
POINT_HEAD = " ".join(f"{point}_{axis}" for point in POINTS for axis in "xy")
FILES = {
    "Anno/list_bbox_celeba.txt": "3\nimage_id x_1 y_1 width height\n"
    "000001.jpg    95  71 226 313\n000002.jpg 1 2 3 4\na.jpg.jpg 0 0 0 0\n",
    "Anno/list_landmarks_celeba.txt": f"2\n{POINT_HEAD}\n"
    "000001.jpg 165  184  244  176  196  249  194  271  266  260\n000002.jpg 1 2 3 4 5 6 7 8 9 -10\n",
    "Anno/list_landmarks_align_celeba.txt": f"1\n{POINT_HEAD}\n000001.jpg 69 109 106 113 77 142 73 152 108 154\n",
    "Anno/identity_CelebA.txt": "000001.jpg 2880\n000002.jpg 2937\na.jpg.jpg 2880\n",
    "Eval/list_eval_partition.txt": "000001.jpg 0\n000002.jpg 1\na.jpg.jpg 2\n",
}


@pytest.fixture
def root(tmp_path, touch):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return touch(tmp_path, "Img/img_celeba/000001.jpg", "Img/img_celeba/000002.png", "Img/img_celeba/a.jpg.jpg")


def test_in_the_wild(root):
    dataset = read_celeba(root)
    assert [photo.name for photo in dataset] == ["000001.jpg", "000002.jpg", "a.jpg.jpg"]
    first, second, third = dataset
    assert first.boxes.tolist() == [[95, 71, 321, 384]]
    assert first.landmarks[0].tolist() == [[165, 184], [244, 176], [196, 249], [194, 271], [266, 260]]
    assert first.attributes["identity"].tolist() == [2880]
    assert not first.fully_labelled
    assert second.path.name == "000002.png"
    assert second.attributes["partition"].tolist() == [1]
    assert third.path.name == "a.jpg.jpg"
    assert third.ignored.tolist() == [True]
    assert np.isnan(third.landmarks).all()
    (problem,) = dataset.problems
    assert "1 photos without landmarks: a.jpg.jpg" in problem.message


@pytest.mark.parametrize(("partition", "name"), [("train", "000001.jpg"), ("val", "000002.jpg"), ("test", "a.jpg.jpg")])
def test_partitions(root, partition, name):
    assert [photo.name for photo in read_celeba(root, partition)] == [name]


def test_aligned(root, touch):
    touch(root, "img_align_celeba/000001.jpg")
    (photo,) = read_celeba(root, aligned=True, strict=True)
    assert photo.boxes.tolist() == [[0, 0, 178, 218]]
    assert photo.ignored.tolist() == [True]
    assert photo.landmarks[0, 0].tolist() == [69, 109]
    assert photo.size == (178, 218)


def test_optional_lists(root):
    for name in (
        "Anno/list_landmarks_celeba.txt",
        "Anno/identity_CelebA.txt",
        "Eval/list_eval_partition.txt",
    ):
        (root / name).unlink()
    dataset = read_celeba(root, strict=True)
    assert np.isnan(dataset[0].landmarks).all()
    assert dataset[0].attributes["identity"].tolist() == dataset[0].attributes["partition"].tolist() == [-1]
    with pytest.raises(DatasetError, match="list_eval_partition"):
        read_celeba(root, "train")
    (root / "Anno/list_bbox_celeba.txt").unlink()
    with pytest.raises(DatasetError, match="list_bbox_celeba"):
        read_celeba(root)


def test_broken_lines_and_missing_photos(root):
    (root / "Img/img_celeba/000002.png").unlink()
    (root / "Anno/list_bbox_celeba.txt").write_text(
        "6\nimage_id x_1 y_1 width height\n000001.jpg 95 71 226 313\n000002.jpg 1 2 3 4\n"
        "x.jpg 1 2 3\ny.jpg 1 2 3 z\n000001.jpg 1 1 1 1\nw.jpg\nv.jpg 1 2 3 1e300\n"
    )
    dataset = read_celeba(root)
    assert [photo.name for photo in dataset] == ["000001.jpg"]
    assert [(problem.file.name, problem.line) for problem in dataset.problems] == [
        *(("list_bbox_celeba.txt", line) for line in (5, 6, 7, 8, 9, 1)),
        (root.name, None),
    ]
    assert "1 photo is missing" in dataset.problems[-1].message
    assert len(read_celeba(root, require_images=False)) == 2
    with pytest.raises(DatasetError, match=r"list_bbox_celeba\.txt:5: x\.jpg: 4 numbers expected"):
        read_celeba(root, strict=True)


def test_wrong_arguments_and_unreadable_lists(root):
    with pytest.raises(ValueError, match="partition must be one of train, val, test"):
        read_celeba(root, "valid")
    (root / "Anno/list_bbox_celeba.txt").write_text("")
    with pytest.raises(DatasetError, match="no line can be read"):
        read_celeba(root)
