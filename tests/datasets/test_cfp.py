"""CFP's two protocols and its people, and CelebA's people."""

from __future__ import annotations

import pytest

from cascade.datasets import DatasetError, read_celeba_people, read_cfp_pairs, read_cfp_people

PEOPLE = ("train/001", "test/002")
PHOTOS = [f"{person}/{kind}/01.jpg" for person in PEOPLE for kind in ("frontal", "profile")]


@pytest.fixture
def cfp(tmp_path, touch):
    """Two people in ten splits, all alike."""
    touch(tmp_path / "Data/Images", *PHOTOS)
    for kind, letter in (("frontal", "F"), ("profile", "P")):
        lines = [f"{number} ../Data/Images/00{number}/{kind}/01.jpg\n" for number in (1, 2)]
        (tmp_path / "Protocol").mkdir(exist_ok=True)
        (tmp_path / f"Protocol/Pair_list_{letter}.txt").write_text("".join(lines))
    for protocol in ("FF", "FP"):
        for fold in range(1, 11):
            folder = tmp_path / f"Protocol/Split/{protocol}/{fold:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text("1,1\n2,2\n")
            (folder / "diff.txt").write_text("1,2\n")
    return tmp_path


def test_both_protocols(cfp):
    pairs = read_cfp_pairs(cfp, "FP", strict=True)
    assert len(pairs) == 30
    assert pairs.folds() == tuple(range(1, 11))
    first, third = pairs[0], pairs[2]
    assert (first.image_a.name, first.image_b.name, first.same) == ("001/frontal/01", "001/profile/01", True)
    assert (third.image_a.person, third.image_b.person, third.same) == ("001", "002", False)
    assert first.image_a.path == cfp / "Data/Images/train/001/frontal/01.jpg"
    assert read_cfp_pairs(cfp, "FF")[2].image_b.name == "002/frontal/01"
    with pytest.raises(ValueError, match="protocol: expected FF or FP, got 'PP'"):
        read_cfp_pairs(cfp, "PP")


def test_what_is_wrong_is_said(cfp):
    (cfp / "Protocol/Split/FP/03/same.txt").write_text("1,1\n1\n7,1\n1,2,1\nx,1\n")
    with pytest.raises(DatasetError, match=r"same\.txt:2: two numbers of photos expected"):
        read_cfp_pairs(cfp, "FP", strict=True)
    pairs = read_cfp_pairs(cfp, "FP")
    assert len(pairs) == 29
    assert len(pairs.problems) == 4
    (cfp / "Protocol/Pair_list_P.txt").write_text("one ../Data/Images/001/profile/01.jpg\n")
    with pytest.raises(DatasetError, match=r"Pair_list_P\.txt:1: number and path"):
        read_cfp_pairs(cfp, "FP", strict=True)
    (cfp / "Protocol/Split/FF/10/diff.txt").unlink()
    with pytest.raises(DatasetError, match=r"diff\.txt"):
        read_cfp_pairs(cfp, "FF")


def test_photos_that_are_not_there(cfp):
    (cfp / "Data/Images/test/002/profile/01.jpg").unlink()
    with pytest.raises(DatasetError, match="002/profile/01"):
        read_cfp_pairs(cfp, "FP", strict=True)
    assert len(read_cfp_pairs(cfp, "FP")) == 10
    assert len(read_cfp_pairs(cfp, "FP", require_images=False)) == 30


def test_celeba_people(tmp_path, touch):
    touch(tmp_path / "images", "000001.jpg", "000002.jpg")
    file = tmp_path / "identity_CelebA.txt"
    file.write_text("image identity\n000001.jpg 2880\n000002.jpg 11\n000003.jpg 11\n")
    people = read_celeba_people(tmp_path / "images", strict=True)
    assert [(photo.name, photo.person) for photo in people] == [("000001.jpg", "2880"), ("000002.jpg", "11")]
    file.write_text("000001.jpg 2880\n000002.jpg eleven\n")
    assert len(read_celeba_people(tmp_path / "images").problems) == 1
    with pytest.raises(DatasetError, match=r"identity_CelebA\.txt:2: 000002\.jpg: expected one number"):
        read_celeba_people(tmp_path / "images", strict=True)
    file.write_text("000009.jpg 1\n")
    with pytest.raises(DatasetError, match="lists none of the photos"):
        read_celeba_people(tmp_path / "images")


@pytest.mark.parametrize("between", ["", "train/", "test/"])
@pytest.mark.parametrize("root", ["Data/Images/", ""])
def test_people_as_distributed_and_divided(tmp_path, touch, root, between):
    for name in ("001/frontal/01.jpg", "001/profile/04.jpg", "500/frontal/10.jpg"):
        touch(tmp_path / root / between, name)
    people = read_cfp_people(tmp_path, strict=True)
    assert [(photo.name, photo.person) for photo in people] == [
        ("001/frontal/01.jpg", "001"), ("001/profile/04.jpg", "001"), ("500/frontal/10.jpg", "500"),
    ]  # fmt: skip


def test_other_photos_of_people_are_reported_together(tmp_path, touch):
    for name in ("001/frontal/01.jpg", "001/other/01.jpg", "cover.jpg"):
        touch(tmp_path, name)
    people = read_cfp_people(tmp_path)
    assert len(people) == 1
    assert "2 photos are not named like 001/frontal/01.jpg" in str(people.problems[0])
    with pytest.raises(DatasetError):
        read_cfp_people(tmp_path, strict=True)


def test_no_people_there(tmp_path):
    with pytest.raises(DatasetError):
        read_cfp_people(tmp_path)
