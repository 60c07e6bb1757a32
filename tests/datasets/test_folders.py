"""Folders of photos without labels."""

from __future__ import annotations

import pytest

from cascade.datasets import DatasetError, read_folder


def test_images_sorted_by_name(tmp_path, touch):
    touch(
        tmp_path,
        "b/2.PNG",
        "b/10.jpg",
        "a.jpg.jpg",
        "c.webp",
        "notes.txt",
        "jpg",
        ".hidden.jpg",
        ".git/x.jpg",
    )
    dataset = read_folder(tmp_path)
    assert [photo.name for photo in dataset] == ["a.jpg.jpg", "b/10.jpg", "b/2.PNG", "c.webp"]
    assert dataset[1].path == tmp_path / "b/10.jpg"
    assert dataset[0].boxes.shape == (0, 4)
    assert not dataset[0].fully_labelled
    assert read_folder(str(tmp_path), fully_labelled=True)[0].fully_labelled
    assert dataset.name == tmp_path.name


def test_empty_files(tmp_path, touch):
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").touch()
    dataset = read_folder(tmp_path)
    assert [photo.name for photo in dataset] == ["a.jpg"]
    assert "b.jpg" in str(dataset.problems[0])
    with pytest.raises(DatasetError, match=r"b\.jpg"):
        read_folder(tmp_path, strict=True)


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetError, match="no image files"):
        read_folder(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        read_folder(tmp_path / "absent")
