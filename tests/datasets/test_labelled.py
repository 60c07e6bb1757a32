"""Readers of attribute sets."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cascade.datasets import (
    REGISTRY,
    DatasetError,
    read_celeba_attributes,
    read_class_folders,
    read_fairface,
    read_genki4k,
    read_label_csv,
    read_points68,
)

FULL = Path(__file__).parents[3] / "shared" / "data"


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), 128, np.uint8))


def test_fairface_labels_and_bad_lines_are_named(tmp_path):
    for n in range(1, 5):
        photo(tmp_path / f"train/{n}.jpg")
    file = tmp_path / "train.csv"
    file.write_text(
        "file,age,gender,race,service_test\n"
        "train/1.jpg,3-9,Male,East Asian,TRUE\n"
        "train/2.jpg,more than 70,Female,Latino_Hispanic,FALSE\n"
        "train/3.jpg,03-Sep,Male,White,TRUE\n"
        "train/4.jpg,20-29,Male\n"
        "train/9.jpg,20-29,Male,White,TRUE\n"
    )
    found = read_fairface(file, tmp_path)
    assert [dict(each.labels) for each in found] == [
        {"age": "3-9", "gender": "male", "ethnicity": "East Asian"},
        {"age": "70+", "gender": "female", "ethnicity": "Latino_Hispanic"},
    ]
    spreadsheet, short, missing = found.problems
    assert spreadsheet.line == 4 and "03-Sep" in str(spreadsheet)
    assert short.line == 5 and "expected 5 fields, got 3" in str(short)
    assert "train/9.jpg" in str(missing)
    with pytest.raises(DatasetError, match="03-Sep"):
        read_fairface(file, tmp_path, strict=True)


def test_a_csv_of_ones_own(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        photo(tmp_path / name)
    file = tmp_path / "labels.csv"
    file.write_text("image,helmet,age\na.png,yes,31\nb.png,,\nc.png,no,20-29\nc.png,yes,3\n,yes,3\n")
    found = read_label_csv(file, tmp_path)
    assert [dict(each.labels) for each in found] == [
        {"helmet": "yes", "age": "31"},
        {},
        {"helmet": "no", "age": "20-29"},
    ]
    assert [problem.line for problem in found.problems] == [5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected columns image"),
        ("picture,age\na.png,3\n", "line 1: expected columns image"),
        ("image\na.png\n", "line 1: expected columns image"),
        ("image,age,age\na.png,3,3\n", "line 1: expected columns image"),
        ("image,age\nb.png,3\n", "none of its 1 photos"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path, text, message):
    photo(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_label_csv(tmp_path / "labels.csv", tmp_path)


def test_folders_of_classes(tmp_path):
    for name in ("happy/1.png", "sad/deep/2.png", "3.png"):
        photo(tmp_path / name)
    found = read_class_folders(tmp_path, "expression")
    assert [(each.name, dict(each.labels)) for each in found] == [
        ("happy/1.png", {"expression": "happy"}),
        ("sad/deep/2.png", {"expression": "sad"}),
    ]
    assert "3.png" in str(found.problems[0])


def test_genki4k_has_four_equal_folds_and_degrees(tmp_path):
    for n in range(1, 9):
        photo(tmp_path / f"files/file{n:04d}.jpg")
    (tmp_path / "labels.txt").write_text("1 0.1 -0.2 0\n" * 3 + "0 0 0 0\n" * 4 + "x\n")
    found = read_genki4k(tmp_path)
    assert len(found) == 7
    assert dict(found[0].labels) | {"fold": ""} == {
        "smile": "yes",
        "yaw": "5.7",
        "pitch": "-11.5",
        "roll": "0.0",
        "fold": "",
    }
    assert found[3].labels["smile"] == "no"
    assert found.problems[0].line == 8


def test_celeba_attributes_stay_zipped(tmp_path):
    photo(tmp_path / "images/000002.jpg")
    text = "2\nMale Smiling Young \n000001.jpg -1 1 -1\n000002.jpg -1  1  1\n"
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        archive.writestr("list_attr_celeba.txt", text)
    found = read_celeba_attributes(tmp_path / "list.zip", tmp_path / "images")
    (only,) = found
    assert dict(only.labels) == {"male": "no", "smiling": "yes", "young": "yes", "smile": "yes", "gender": "female"}
    (tmp_path / "list.txt").write_text(text.replace("-1  1  1", "-1 2 1"))
    with pytest.raises(DatasetError, match="lists none"):
        read_celeba_attributes(tmp_path / "list.txt", tmp_path / "images")


def test_68_points_are_moved_to_our_frame(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg")
    points = np.arange(136.0).reshape(68, 2)
    lines = "\n".join(f"{x} {y}" for x, y in points)
    (tmp_path / "a.pts").write_text(lines + "\n\n")
    (tmp_path / "b.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    found = read_points68(tmp_path)
    assert len(found) == 2
    for each in found:
        np.testing.assert_allclose(each.points, points - 0.5)
    (tmp_path / "b.pts").write_text("1 2\n")
    assert "68 points expected" in str(read_points68(tmp_path).problems[0])


def test_utkface_says_age_gender_and_ethnicity():
    if not (FULL / "utkface").is_dir():
        pytest.skip("needs ../shared/data/utkface")
    found = REGISTRY["utkface_test"].read_labels(FULL)
    assert len(found) == 1325
    assert all({"age", "gender", "ethnicity"} == set(each.labels) for each in found)
    with pytest.raises(DatasetError, match="no attributes"):
        REGISTRY["wider_val"].read_labels(FULL)
