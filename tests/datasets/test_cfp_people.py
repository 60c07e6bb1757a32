"""CFP as photos of people."""

from __future__ import annotations

import pytest

from cascade.datasets import DatasetError, read_cfp_people


@pytest.mark.parametrize("between", ["", "train/", "test/"])
@pytest.mark.parametrize("root", ["Data/Images/", ""])
def test_as_distributed_and_divided(tmp_path, touch, root, between):
    for name in ("001/frontal/01.jpg", "001/profile/04.jpg", "500/frontal/10.jpg"):
        touch(tmp_path / root / between, name)
    people = read_cfp_people(tmp_path, strict=True)
    assert [(photo.name, photo.person) for photo in people] == [
        ("001/frontal/01.jpg", "001"), ("001/profile/04.jpg", "001"), ("500/frontal/10.jpg", "500"),
    ]  # fmt: skip


def test_other_photos_are_reported_together(tmp_path, touch):
    for name in ("001/frontal/01.jpg", "001/other/01.jpg", "cover.jpg"):
        touch(tmp_path, name)
    people = read_cfp_people(tmp_path)
    assert len(people) == 1
    assert "2 photos are not named like 001/frontal/01.jpg" in str(people.problems[0])
    with pytest.raises(DatasetError):
        read_cfp_people(tmp_path, strict=True)


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetError):
        read_cfp_people(tmp_path)
