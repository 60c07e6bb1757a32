"""The photos of an index for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from cascade.archive import ArchiveError, Index
from cascade.archive.export import photos_of_index
from cascade.archive.people import PeopleOfIndex, group_index
from cascade.archive.schema import PhotoResult
from cascade.archive.store import Store
from cascade.datasets import read_xmp, write_photos
from tests.archive.helpers import manifest, result
from tests.archive.people_helpers import ANN, BOB, CAT, face, save_index


def named(index: Index, name: str) -> PeopleOfIndex:
    people = group_index(index, PeopleOfIndex(), threshold=0.6).named(1, name)
    people.save(index.folder)
    return people


def test_faces_have_the_names_of_people(tmp_path: Path) -> None:
    index = save_index(tmp_path / "index", [[face(ANN, 1)], [face(BOB), face(ANN, 2)], []], written=True)
    named(index, "Ann & Bo")
    photos = list(photos_of_index(index, tmp_path / "photos"))
    assert [photo.name for photo in photos] == ["0.png", "1.png", "2.png"]
    assert [photo.attributes.get("name", np.array([])).tolist() for photo in photos] == [
        ["Ann & Bo"],
        ["", "Ann & Bo"],
        [],
    ]
    assert photos[1].attributes["score"].tolist() == index.faces(["score"])["score"].to_pylist()[1:]
    assert "embedding" not in photos[0].attributes
    write_photos("xmp", None, photos)
    told = read_xmp(tmp_path / "photos")
    assert told[0].attributes["name"].tolist() == ["Ann & Bo"]
    assert len(told) == 2


def test_faces_of_later_runs_and_bad_photos(tmp_path: Path) -> None:
    """New faces have no name yet; a photo that could not be read is left out; rows that were removed are, too."""
    index = save_index(tmp_path / "index", [[face(ANN, 1)], [face(ANN, 2)], [face(CAT)]])
    named(index, "Ann")
    save_index(tmp_path / "index", [[face(ANN, 3)]])
    with Store.open(tmp_path / "index", manifest(attributes=None, attribute_columns={})) as store:
        store.write([PhotoResult(b"/p/bad.jpg", 3, 4, b"0" * 32, error="damaged")])
        gone = Index.open(tmp_path / "index").photos(["photo_id"])["photo_id"].to_pylist()[0]
        store.remove([{"shard": "r000001-s00000000", "photo_id": gone}])
    photos = list(photos_of_index(Index.open(tmp_path / "index")))
    assert [Path(photo.name).name for photo in photos] == ["1.png", "2.png", "3.png"]
    assert [photo.attributes["name"].tolist() for photo in photos] == [["Ann"], [""], [""]]


def test_attributes_and_names_of_files_that_are_no_utf_8(tmp_path: Path) -> None:
    photo = replace(result(b"/p/\xff.jpg", 3), quality=np.array([0.5, 0.25, 0.75], np.float32))
    with Store.open(tmp_path / "index", manifest()) as store:
        store.write([photo, result(b"/p/two.jpg", 1)])
    first, second = photos_of_index(Index.open(tmp_path / "index"))
    assert first.name == "/p/\udcff.jpg"
    assert first.size == (100, 80)
    np.testing.assert_array_equal(first.boxes, photo.boxes)
    np.testing.assert_array_equal(first.landmarks, photo.landmarks)
    assert first.attributes["quality"].tolist() == [0.5, 0.25, 0.75]
    np.testing.assert_array_equal(first.attributes["age"], [np.nan, 31, 32])
    assert first.attributes["gender"].tolist() == ["", "female", "female"]
    assert second.attributes["gender"].tolist() == [""]


def test_a_damaged_index_is_an_error(tmp_path: Path) -> None:
    index = save_index(tmp_path / "index", [[face(ANN)]])
    next((tmp_path / "index" / "faces").glob("*.parquet")).write_bytes(b"damaged")
    with pytest.raises(ArchiveError, match="damaged"):
        list(photos_of_index(index))


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (None, ["bucket/photos/a.jpg", "all/takeout.zip/photos/b.jpg", "bucket/more.zip/photos/b.jpg"]),
        ("s3://bucket/photos", ["a.jpg", "all/takeout.zip/photos/b.jpg", "bucket/more.zip/photos/b.jpg"]),
        ("zip://photos::/all/takeout.zip", ["bucket/photos/a.jpg", "b.jpg", "bucket/more.zip/photos/b.jpg"]),
    ],
)
def test_urls_become_paths(tmp_path: Path, images: str | None, names: list[str]) -> None:
    """Other programs take no URLs; photos of two archives do not become one."""
    with Store.open(tmp_path / "index", manifest()) as store:
        urls = [b"s3://bucket/photos/a.jpg", b"zip://photos/b.jpg::/all/takeout.zip"]
        store.write([result(url, 1) for url in [*urls, b"zip://photos/b.jpg::s3://bucket/more.zip"]])
    photos = list(photos_of_index(Index.open(tmp_path / "index"), images))
    assert [photo.name for photo in photos] == [photo.path.as_posix() for photo in photos] == names


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (None, ["s3/all/a.jpg", "gs_/all/a.jpg", "file/all/a.jpg", "gs/b.jpg", "/p/all/a.jpg"]),
        ("/p", ["s3/all/a.jpg", "gs_/all/a.jpg", "file/all/a.jpg", "gs/b.jpg", "all/a.jpg"]),
        ("s3://all", ["a.jpg", "gs_/all/a.jpg", "file/all/a.jpg", "gs/b.jpg", "/p/all/a.jpg"]),
        ("zip://::/all", ["s3/all/a.jpg", "gs_/all/a.jpg", "a.jpg", "gs/b.jpg", "/p/all/a.jpg"]),
    ],
)
def test_no_two_photos_become_one(tmp_path: Path, images: str | None, names: list[str]) -> None:
    """Buckets of one name at two stores, an archive and a folder of that name; a bucket called like a store."""
    with Store.open(tmp_path / "index", manifest()) as store:
        urls = [b"s3://all/a.jpg", b"gs://all/a.jpg", b"zip://a.jpg::/all", b"s3://gs/b.jpg"]
        store.write([result(url, 1) for url in [*urls, b"/p/all/a.jpg"]])
    photos = list(photos_of_index(Index.open(tmp_path / "index"), images))
    assert [photo.name for photo in photos] == names


def test_photos_below_the_folder_and_a_bucket_of_that_name(tmp_path: Path) -> None:
    with Store.open(tmp_path / "index", manifest()) as store:
        store.write([result(b"s3://all/a.jpg", 1), result(b"/p/all/a.jpg", 1)])
    photos = photos_of_index(Index.open(tmp_path / "index"), "/p")
    write_photos("yolo", tmp_path / "out", photos, bring="none")
    assert {
        path.relative_to(tmp_path / "out/labels/train").as_posix() for path in (tmp_path / "out").rglob("*.txt")
    } == {
        "all/a.txt",
        "s3/all/a.txt",
    }


def test_urls_are_refused_where_photos_are_opened(tmp_path: Path) -> None:
    """In any shard, and before the first photo."""
    index = save_index(tmp_path / "index", [[face(ANN)]])
    with Store.open(tmp_path / "index", index.manifest) as store:
        store.write([PhotoResult(b"s3://bucket/bad.jpg", 3, 4, b"0" * 32, error="damaged")])
    assert len(list(photos_of_index(Index.open(tmp_path / "index"), opened=True))) == 1
    with Store.open(tmp_path / "index", index.manifest) as store:
        store.write([result(b"/p/a.jpg", 1), result(b"s3://bucket/a.jpg", 1)])
    with pytest.raises(ArchiveError, match=r"index: expected photos in files .* got s3://bucket/a\.jpg"):
        next(photos_of_index(Index.open(tmp_path / "index"), opened=True))
