"""The TOML list of what recognition learns from, and the photos that come of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import DatasetError
from tests.train.drawn_faces import save_photo
from train.detection.sources import SourceError
from train.recognition.sources import FaceSource, read_face_sources, source_photos

REPOSITORY = Path(__file__).parents[3]


def read(root: Path, text: str) -> tuple[FaceSource, ...]:
    file = root / "faces.toml"
    file.write_text(text)
    return read_face_sources(file, root)


def save_names(folder: Path, *names: str) -> None:
    for name in names:
        save_photo(folder / name, np.zeros((8, 8, 3), np.uint8))


def test_reading(tmp_path):
    lfw, photos = read(
        tmp_path,
        '[[source]]\nkind = "lfw"\nimages = "a"\npairs = "p.txt"\nwithout_folds = [9, 10]\nabout = "x"\n'
        '[[source]]\nkind = "photos"\nimages = "b"\nexclude = "none.txt"\nmin_face = 30\n',
    )
    assert lfw == FaceSource("lfw", tmp_path / "a", tmp_path / "p.txt", (9, 10), about="x")
    assert photos == FaceSource("photos", tmp_path / "b", exclude=tmp_path / "none.txt", min_face=30)


def test_the_shipped_recipe_is_read():
    found = read_face_sources(REPOSITORY / "train/recipes/recognition.toml", Path("data"))
    assert [source.kind for source in found] == ["lfw", "utkface", "photos", "photos", "photos"]
    assert found[0].without_folds == (9, 10)
    assert all(source.about for source in found)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('kind = "video"\nimages = "a"', "kind: expected one of identities, lfw, .* got 'video'"),
        ('images = "a"', "kind"),
        ('kind = "photos"', "images: expected a path"),
        ('kind = "photos"\nimages = 3', "images: expected a path, got 3"),
        ('kind = "photos"\nimages = "a"\ncolour = "red"', "colour"),
        ('kind = "photos"\nimages = "a"\nabout = 3', "about: expected text, got 3"),
        ('kind = "photos"\nimages = "a"\nmin_face = 5', "min_face: expected at least 12 pixels, got 5"),
        ('kind = "photos"\nimages = "a"\nmin_face = "big"', "min_face|str"),
        ('kind = "csv"\nimages = "a"', "labels: expected the path of a CSV file"),
        ('kind = "lfw"\nimages = "a"\nwithout_folds = [9]', "pairs: without_folds needs the list of pairs"),
        ('kind = "lfw"\nimages = "a"\npairs = "p"\nwithout_folds = 9', "without_folds: expected numbers of folds"),
        ('kind = "lfw"\nimages = "a"\npairs = "p"\nwithout_folds = ["9"]', "without_folds: expected numbers of folds"),
        ('kind = "photos"\nimages = "a"\ncount = 5', "count"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, entry, message):
    good = '[[source]]\nkind = "photos"\nimages = "a"\n'
    with pytest.raises(SourceError, match=rf"faces\.toml: source 2: .*({message})"):
        read(tmp_path, f"{good}[[source]]\n{entry}\n")


@pytest.mark.parametrize("text", ["", "source = 3", 'source = ["x"]', "[[source]", "[source]\nkind = 'photos'"])
def test_a_file_without_entries_is_named(tmp_path, text):
    with pytest.raises(SourceError, match=r"faces\.toml: expected \[\[source\]\] entries"):
        read(tmp_path, text)


# --------------------------------------------------------------------------------------------------
# photos


LFW_PAIRS = """3 1
Ann\t1\t2
Ann\t1\tBob\t1
Cat\t1\t2
Cat\t1\tDan\t1
Eve\t1\t2
Eve\t2\tFay\t1
"""


@pytest.fixture
def lfw(tmp_path: Path) -> FaceSource:
    names = [f"{p}/{p}_{n:04}.png" for p, photos in (("Ann", 3), ("Bob", 1), ("Cat", 2), ("Dan", 2)) for n in (1, 2, 3)]
    save_names(tmp_path / "lfw", *names, "Gil/Gil_0001.png", "Eve/Eve_0003.png")
    (tmp_path / "pairs.txt").write_text(LFW_PAIRS)
    return FaceSource("lfw", tmp_path / "lfw", tmp_path / "pairs.txt", (1, 3))


def test_people_of_test_folds_are_left_out_entirely(lfw):
    photos = source_photos(lfw)
    # even photos that no pair names, as Ann's third and Eve's only one
    assert {photo.person for photo in photos} == {"Cat", "Dan", "Gil"}
    assert [photo.name for photo in photos] == sorted(photo.name for photo in photos)
    assert len(photos) == 7


def test_listed_people_are_left_out_too(lfw, tmp_path):
    (tmp_path / "listed.txt").write_text("Gil\nZoë\n")
    without = replace(lfw, without_people=tmp_path / "listed.txt")
    assert {photo.person for photo in source_photos(without)} == {"Cat", "Dan"}
    alone = FaceSource("lfw", lfw.images, without_people=tmp_path / "listed.txt")
    assert {photo.person for photo in source_photos(alone)} == {"Ann", "Bob", "Cat", "Dan", "Eve"}
    with pytest.raises(DatasetError, match=r"none\.txt"):
        source_photos(replace(lfw, without_people=tmp_path / "none.txt"))


def test_the_list_of_people_lies_beside_the_recipe():
    folder = REPOSITORY / "train/recipes"
    found = {source.kind: source for source in read_face_sources(folder / "recognition_wide.toml", Path("data"))}
    assert found["lfw"].without_people == folder / "cfp_people_in_lfw.txt"
    assert found["lfw"].without_folds == (9, 10)
    assert found["celeba_people"].without_people == folder / "celeba_people_in_tests.txt"


def test_without_folds_to_leave_out_everybody_stays(lfw):
    assert len({photo.person for photo in source_photos(FaceSource("lfw", lfw.images))}) == 6


def test_folds_that_are_not_there_are_named(lfw):
    with pytest.raises(DatasetError, match=r"pairs\.txt: folds \(1, 2, 3\) expected, got \(3, 9\)"):
        source_photos(FaceSource("lfw", lfw.images, lfw.pairs, (3, 9)))


def test_identities_and_utkface(tmp_path):
    save_names(tmp_path / "people", "x/1.png", "y/2.png", "y/3.png")
    assert [photo.person for photo in source_photos(FaceSource("identities", tmp_path / "people"))] == ["x", "y", "y"]
    save_names(tmp_path / "utk", "26_1_0_20170116.png", "3_0_2_2017.png")
    found = {photo.age: photo.person for photo in source_photos(FaceSource("utkface", tmp_path / "utk"))}
    assert found == {26.0: None, 3.0: None}


def of_csv(root: Path, text: str) -> list:
    (root / "labels.csv").write_bytes(text.encode())
    return source_photos(FaceSource("csv", root / "photos", labels=root / "labels.csv"))


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "with a mark of its encoding"])
def test_a_csv_with_labels_missing_here_and_there(tmp_path, start):
    found = of_csv(tmp_path, f"{start}image,person,age\r\na.png,Ann,31\r\nsub/b.png,,7.5\r\nc.png,Bob,\r\nd.png,,\r\n")
    assert [photo.person for photo in found] == ["Ann", None, "Bob", None]
    assert [photo.age for photo in found][:2] == [31, 7.5]
    assert all(math.isnan(photo.age) for photo in found[2:])
    assert [photo.path for photo in found][1] == tmp_path / "photos/sub/b.png"


def test_a_csv_with_one_kind_of_label(tmp_path):
    assert [(p.person, p.age) for p in of_csv(tmp_path, "age,image\n4,a.png\n")] == [(None, 4)]
    (ann,) = of_csv(tmp_path, "image,person,note\na.png,Ann,x\n")
    assert ann.person == "Ann" and math.isnan(ann.age)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,age\na.png,3\n", r"expected columns image and person or age, got \['photo', 'age'\]"),
        ("image,Person\na.png,Ann\n", r"expected columns image and person or age, got \['image', 'Person'\]"),
        ("", "expected columns image and person or age"),
        ("image,age\na.png,3\nb.png,old\n", "line 3: .*'old'"),
        ("image,age\na.png,-3\n", "line 2: .*age"),
        ("age,image\n3\n", "line 2"),
        ("image,age\n,3\n", "line 2: .*name"),
    ],
)
def test_a_wrong_csv_is_named(tmp_path, text, message):
    with pytest.raises(DatasetError, match=rf"labels\.csv.*{message}"):
        of_csv(tmp_path, text)


def test_photos_kept_out(tmp_path):
    save_names(tmp_path / "photos", "a.png", "sub/b.png", "c.png")
    (tmp_path / "kept.txt").write_bytes(b"sub/b.png \r\n\r\na.png")
    source = FaceSource("photos", tmp_path / "photos", exclude=tmp_path / "kept.txt")
    assert [photo.name for photo in source_photos(source)] == ["c.png"]
    assert len(source_photos(FaceSource("photos", tmp_path / "photos"))) == 3
    (tmp_path / "kept.txt").write_text("a.png\nmistyped.png\n")
    with pytest.raises(SourceError, match=r"exclude: .*kept\.txt lists photos that are not below"):
        source_photos(source)


def test_files_that_are_missing(tmp_path):
    save_names(tmp_path / "photos", "a.png")
    with pytest.raises(DatasetError, match=r"none\.txt"):
        source_photos(FaceSource("photos", tmp_path / "photos", exclude=tmp_path / "none.txt"))
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        source_photos(FaceSource("csv", tmp_path / "photos", labels=tmp_path / "none.csv"))
    with pytest.raises(DatasetError, match="no such folder"):
        source_photos(FaceSource("photos", tmp_path / "nowhere"))
