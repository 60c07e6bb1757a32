"""CUHK's lists of five facial points."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_facepoint

LINE = "net_7876\\{} 108 287 90 269 157.25 132 248 137 195 187 149 217 247 221"
POINTS = [[157.25, 132], [248, 137], [195, 187], [149, 217], [247, 221]]


@pytest.fixture
def written(tmp_path, touch):
    def write(*lines):
        touch(tmp_path, "net_7876/a.jpg", "net_7876/b.jpg")
        (tmp_path / "trainImageList.txt").write_text("\n".join(lines))
        return tmp_path / "trainImageList.txt"

    return write


def test_box_and_points(written, tmp_path):
    dataset = read_facepoint(written(LINE.format("a.jpg"), "", LINE.format("b.jpg").replace("\\", "/")))
    assert [photo.name for photo in dataset] == ["net_7876/a.jpg", "net_7876/b.jpg"]
    for photo in dataset:
        np.testing.assert_array_equal(photo.boxes, [[108, 90, 287, 269]])
        np.testing.assert_array_equal(photo.landmarks, [POINTS])
        assert not photo.fully_labelled
    assert dataset[0].path == tmp_path / "net_7876/a.jpg"
    assert not dataset.problems


def test_a_folder_of_its_own_for_the_photos(written, tmp_path, touch):
    file = written(LINE.format("c.jpg"))
    touch(tmp_path, "elsewhere/net_7876/c.jpg")
    (photo,) = read_facepoint(file, tmp_path / "elsewhere")
    assert photo.path == tmp_path / "elsewhere/net_7876/c.jpg"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("net_7876\\b.jpg 108 287 90 269", "14 numbers expected, 4 fields"),
        ("net_7876\\b.jpg", "14 numbers expected, 0 fields"),
        (LINE.format("b.jpg") + " 7", "14 numbers expected, 15 fields"),
        (LINE.format("b.jpg").replace("157.25", "nan"), "not a finite number: 'nan'"),
        (LINE.format("b.jpg").replace("157.25", "x"), "not a finite number: 'x'"),
        (LINE.format("a.jpg"), "listed twice"),
        (LINE.format("c.jpg"), r"c\.jpg"),
    ],
)
def test_a_bad_line_is_noted_and_the_others_are_read(written, line, message):
    file = written(LINE.format("a.jpg"), line)
    dataset = read_facepoint(file)
    assert [photo.name for photo in dataset] == ["net_7876/a.jpg"]
    (problem,) = dataset.problems
    assert problem.file == file
    with pytest.raises(DatasetError, match=message):
        read_facepoint(file, strict=True)


def test_no_photo_at_all(written, tmp_path):
    with pytest.raises(DatasetError, match="none of its photos"):
        read_facepoint(written(LINE.format("c.jpg")))
    with pytest.raises(DatasetError, match="absent"):
        read_facepoint(tmp_path / "absent.txt")
