"""Shards, manifests and the lock: what is written comes back, and what was killed is not seen."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.helpers import DIMENSION, manifest, result

pa = pytest.importorskip("pyarrow")

from cascade.archive import ArchiveError, ArchiveLockedError, ArchiveMismatchError, Index, Network  # noqa: E402
from cascade.archive.manifest import Manifest  # noqa: E402
from cascade.archive.schema import PhotoResult, path_of, photo_id, photo_table  # noqa: E402
from cascade.archive.store import Store  # noqa: E402

NOT_UTF8 = b"/photos/caf\xe9.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two shards: three photos with faces, one without, one that could not be read."""
    place = tmp_path / "faces.index"
    with Store.open(place, manifest()) as store:
        store.write([result(b"/photos/a.jpg", 2), result(NOT_UTF8, 1), result(b"/photos/none.jpg", 0)])
        store.write([result("/photos/ü.jpg".encode(), 3), PhotoResult(b"/photos/bad.jpg", 3, error="damaged")])
    return place


def test_rows_come_back(folder: Path) -> None:
    index = Index.open(folder)
    faces, photos = index.faces(), index.photos()
    assert index.counts() == {"photos": 5, "faces": 6, "errors": 1}
    assert faces["face"].to_pylist() == [1, 2, 1, 1, 2, 3]
    assert len(set(faces["face_id"].to_pylist())) == 6
    assert photos["error"].to_pylist() == [None, None, None, None, "damaged"]
    wanted = result(b"/photos/a.jpg", 2)
    assert np.array_equal(np.array(faces["box"].to_pylist()[:2], np.float32), wanted.boxes)
    assert np.array_equal(np.array(faces["landmarks"].to_pylist()[:2], np.float32).reshape(2, 5, 2), wanted.landmarks)
    assert wanted.embeddings is not None
    assert np.array_equal(index.embeddings()[:2], wanted.embeddings.astype(np.float16))
    assert faces["size"].to_pylist()[0] == pytest.approx(20)
    assert faces["quality"].null_count == 2  # of the photo with two faces, which has none
    assert faces["age"].to_pylist() == [None, 31, None, None, 31, 32]
    assert faces["gender"].to_pylist()[:2] == [None, "female"]
    assert str(photos["taken"].to_pylist()[0]) == "2021-05-04 03:02:01"


def test_names_that_are_not_utf8_come_back(folder: Path) -> None:
    photos = Index.open(folder).photos(["path", "raw_path"]).to_pylist()
    assert photos[1]["path"] == "/photos/caf\\xe9.jpg"
    assert [os.fsencode(path_of(row["path"], row["raw_path"])) for row in photos[:2]] == [b"/photos/a.jpg", NOT_UTF8]


@given(st.binary(min_size=1).filter(lambda path: 0 not in path))
def test_every_path_comes_back(path: bytes) -> None:
    row = photo_table([PhotoResult(path)]).to_pylist()[0]
    assert os.fsencode(path_of(row["path"], row["raw_path"])) == path


def test_shards_come_one_by_one(folder: Path) -> None:
    index = Index.open(folder)
    assert [len(table) for table in index.iter_faces(["score"])] == [3, 3]
    assert [rows.shape for _, rows in index.iter_embeddings()] == [(3, DIMENSION)] * 2
    assert index.iter_faces(["face_id"]).__next__().column_names == ["face_id"]
    with pytest.raises(ArchiveError, match="columns: expected some of face_id"):
        index.faces(["name"])


def test_removed_rows_are_left_out(folder: Path) -> None:
    first = Index.open(folder).photos(["photo_id"]).to_pylist()[0]["photo_id"]
    with Store.open(folder, manifest()) as store:
        assert store.run == 2
        store.remove([{"shard": "r000001-s00000000", "photo_id": first}])
        store.write([result(b"/photos/a.jpg", 1, b"changed")])
    index = Index.open(folder)
    assert index.counts() == {"photos": 5, "faces": 5, "errors": 1}
    ids = index.faces()["face_id"].to_pylist()
    assert len(set(ids)) == 5
    assert not any(face.startswith(first) for face in ids)


def test_a_shard_without_rows_that_hold_is_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.open(folder)
    first, second = index.shards
    rows = [{"shard": first, "photo_id": each} for each in index.photos_of(first, ["photo_id"])["photo_id"].to_pylist()]
    with Store.open(folder, manifest()) as store:
        store.remove(rows[:2])
        assert Index.open(folder).empty_shards() == []
    with Store.open(folder, manifest()) as store:
        store.remove(rows[2:])
        assert Index.open(folder).empty_shards() == [first]
        left = Index.open(folder).photos().to_pylist()

        def ended(_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:  # between the two files of the shard
            patch.setattr("cascade.archive.store.sync_folder", ended)
            with pytest.raises(KeyboardInterrupt):
                store.delete([first])
    assert (folder / "faces" / f"{first}.parquet").exists()
    with Store.open(folder, manifest()) as store:
        store.remove_orphans()
        assert store.run == 4
    assert [path.stem for path in (folder / "faces").iterdir()] == [second]
    assert Index.open(folder).photos().to_pylist() == left
    assert Index.open(folder).counts() == {"photos": 2, "faces": 3, "errors": 1}


def test_ids_stay_while_path_and_content_do() -> None:
    assert photo_id(b"/a", b"1" * 32) == photo_id(b"/a", b"1" * 32)
    assert len({photo_id(path, sha) for path in (b"/a", b"/b") for sha in (b"1" * 32, b"2" * 32, None)}) == 6


def test_faces_without_their_photos_are_not_seen(folder: Path) -> None:
    """As a run that is killed between the two files of a shard leaves them."""
    (folder / "photos" / "r000001-s00000001.parquet").unlink()
    assert Index.open(folder).counts()["photos"] == 3
    with Store.open(folder, manifest()) as store:
        store.remove_orphans()
    assert [path.name for path in (folder / "faces").iterdir()] == ["r000001-s00000000.parquet"]


def test_one_run_at_a_time(folder: Path) -> None:
    with (
        Store.open(folder, manifest()),
        pytest.raises(ArchiveLockedError, match="another run"),
        Store.open(folder, manifest()),
    ):
        pass
    with Store.open(folder, manifest()):
        Index.open(folder)  # reading needs no lock


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recognizer": Network("other", "3" * 64)}, "recogniser light"),
        ({"detector": Network("other", "3" * 64)}, "detector default"),
        ({"attributes": Network("other", "3" * 64)}, "attributes"),
        ({"attribute_columns": {}}, "the attributes age, gender; this run would write none"),
        ({"settings": {"min_face": 40.0, "thresholds": [0.7, 0.4, 0.8], "max_face": None}}, "min_face 20.0"),
    ],
)
def test_another_network_or_setting_is_refused(folder: Path, change: dict[str, object], named: str) -> None:
    with pytest.raises(ArchiveMismatchError, match=named), Store.open(folder, manifest(**change)):
        pass


def test_a_run_without_photos_ties_nobody_to_its_settings(tmp_path: Path) -> None:
    for settings in ({"min_face": 20.0}, {"min_face": 40.0}):
        with Store.open(tmp_path / "index", manifest(settings=settings)):
            pass
        assert Index.open(tmp_path / "index").manifest.settings == settings
    (tmp_path / "index" / "manifest.json").write_text('{"format": "cascade-index-9"}')
    with pytest.raises(ArchiveMismatchError, match="cascade-index-9"), Store.open(tmp_path / "index", manifest()):
        pass


def test_weights_with_another_model_card_are_the_same(folder: Path) -> None:
    with Store.open(folder, manifest(recognizer=Network("light", "4" * 64), earlier=("1" * 64,))):
        pass


def test_another_format_is_refused(folder: Path) -> None:
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(told | {"format": "cascade-index-9"}))
    with pytest.raises(ArchiveMismatchError, match="expected format 'cascade-index-1', got 'cascade-index-9'"):
        Index.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": "cascade-index-1"}', "[" * 100_000])
def test_a_damaged_manifest_is_named(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"manifest\.json: damaged"):
        Index.open(folder)
    with pytest.raises(ArchiveError, match=r"manifest\.json: damaged"), Store.open(folder, manifest()):
        pass


def test_no_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no index"):
        Index.open(tmp_path)
    with pytest.raises(ArchiveError, match="there is no index"):
        Index.open(tmp_path / "nothing")


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ArchiveError, match=r"other files, such as photo\.jpg"), Store.open(tmp_path, manifest()):
        pass
    with pytest.raises(ArchiveError, match="this is a file"), Store.open(tmp_path / "photo.jpg", manifest()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_lost_manifest_is_not_written_anew(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(ArchiveError, match="is gone"), Store.open(folder, manifest()):
        pass


def test_a_damaged_shard_is_named(folder: Path) -> None:
    shard = folder / "faces" / "r000001-s00000001.parquet"
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(ArchiveError, match="r000001-s00000001"):
        Index.open(folder).faces()


def test_manifests_come_back(folder: Path) -> None:
    assert Manifest.read(folder) == manifest()
    assert Manifest.read(folder).model.sha256 == "1" * 64


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_files_are_their_owners_alone(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
