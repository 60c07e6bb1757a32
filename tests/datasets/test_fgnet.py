"""FG-NET: names, ages, and five of the 68 points."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_fgnet

POINTS = np.column_stack([np.arange(68) + 100.5, np.arange(68) + 200.25])


def save_pts(file, points=POINTS, head="version: 1\nn_points: 68\n"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + "{\n" + "".join(f"{x} {y}\n" for x, y in points) + "}\n")


@pytest.fixture
def fgnet(tmp_path, touch):
    touch(tmp_path / "images", "001A02.JPG", "001A43a.JPG", "082A00.jpg")
    for name in ("001a02.pts", "001A43A.PTS", "082a00.pts"):
        save_pts(tmp_path / "points" / name)
    return tmp_path


def test_as_distributed(fgnet):
    people = read_fgnet(fgnet, strict=True)
    assert [(each.name, each.person, each.age) for each in people] == [
        ("images/001A02.JPG", "001", 2),
        ("images/001A43a.JPG", "001", 43),
        ("images/082A00.jpg", "082", 0),
    ]
    # Pupils 31 and 36, nose tip 67, mouth corners 48 and 54, counted from 0.
    assert people[0].landmarks[:, 0].tolist() == [131.5, 136.5, 167.5, 148.5, 154.5]
    assert people[0].landmarks[:, 1].tolist() == [231.25, 236.25, 267.25, 248.25, 254.25]


def test_the_folder_of_the_photos_itself(fgnet):
    people = read_fgnet(fgnet / "images", strict=True)
    assert people[0].name == "001A02.JPG"
    assert people[0].landmarks is not None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (POINTS[:67], r"001a02\.pts:71: 68 points expected, 67 found"),
        (np.full((68, 2), np.nan), r"001a02\.pts:4: not a finite number"),
        (POINTS[:, :1] @ [[1.0, 1.0]] * 1e6, r"001a02\.pts:4: a point out of reach"),
    ],
)
def test_malformed_points(fgnet, points, message):
    save_pts(fgnet / "points" / "001a02.pts", points)
    people = read_fgnet(fgnet)
    assert people[0].landmarks is None
    assert people[1].landmarks is not None
    with pytest.raises(DatasetError, match=message):
        read_fgnet(fgnet, strict=True)


def test_without_braces(fgnet):
    (fgnet / "points" / "001a02.pts").write_text("version: 1\n1 2\n")
    assert "one { and one }" in str(read_fgnet(fgnet).problems[0])


def test_missing_points_and_other_names(fgnet, touch):
    touch(fgnet / "images", "1A2.jpg")
    (fgnet / "points" / "082a00.pts").unlink()
    people = read_fgnet(fgnet)
    assert len(people) == 3
    assert people[2].landmarks is None
    told = " ".join(map(str, people.problems))
    assert "1A2.jpg" in told
    assert "082A00.jpg" in told


def test_nothing_there(tmp_path, touch):
    with pytest.raises(DatasetError, match="001A02"):
        read_fgnet(touch(tmp_path, "images/x.jpg"))
    with pytest.raises(DatasetError, match="no such folder"):
        read_fgnet(tmp_path / "absent")
