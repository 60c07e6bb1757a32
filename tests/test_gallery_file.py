"""The file of a gallery: checked when it is read, and never half written."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.gallery import EmbeddingModel, Gallery, GalleryError, GalleryKeyError, Match
from tests.galleries import MODEL, OTHER, PEOPLE, filled, same, small, unit


@given(people=PEOPLE)
def test_saving_and_loading_keeps_everything(people, tmp_path_factory):
    gallery = filled(people)
    path = tmp_path_factory.getbasetemp() / "kept.gallery"
    gallery.save(path)
    loaded = Gallery.load(path, MODEL)
    assert same(loaded, gallery)
    probes = unit(np.eye(4))
    assert loaded.identify(probes) == gallery.identify(probes)
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before  # the same gallery, the same bytes


def test_bytes_are_those_of_the_file(tmp_path):
    gallery = small()
    data = gallery.to_bytes()
    (tmp_path / "other.gallery").write_bytes(data)
    assert same(Gallery.load(tmp_path / "other.gallery"), gallery)
    assert same(Gallery.from_bytes(data, MODEL), gallery)
    with pytest.raises(GalleryError, match="not comparable"):
        Gallery.from_bytes(data, OTHER)
    for damaged in (b"", data[:-9], b"text"):
        with pytest.raises(GalleryError, match="not a gallery"):
            Gallery.from_bytes(damaged)


def test_bytes_of_an_encrypted_gallery_are_encrypted(tmp_path):
    gallery, key = small(), bytes(32)
    gallery.encrypt(key=key)
    data = gallery.to_bytes()
    (tmp_path / "other.gallery").write_bytes(data)
    assert same(Gallery.load(tmp_path / "other.gallery", key=key), gallery)
    with pytest.raises(GalleryKeyError, match="the gallery is encrypted"):
        Gallery.from_bytes(data)


def test_a_loaded_gallery_can_be_changed(tmp_path):
    small().save(tmp_path / "a.gallery")
    gallery = Gallery.load(str(tmp_path / "a.gallery"))
    gallery.add("Ann", unit([0, 1, 0, 0]), extend=True)
    gallery.remove("Bob")
    assert gallery.identify(unit([0, 1, 0, 0]), 1) == [[Match("Ann", 1.0)]]
    gallery.save(tmp_path / "a.gallery")
    assert same(Gallery.load(tmp_path / "a.gallery"), gallery)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gallery"]


FIRST = "cascade-gallery-1"


def arrays(**changes: object) -> dict[str, np.ndarray]:
    """The entries of a small gallery's file, some of them changed; None leaves one out."""
    stream = io.BytesIO()
    about = {"format": FIRST, "model": {"name": "small", "sha256": "ab" * 32, "dimension": 4}}
    entries: dict[str, object] = {
        "about": np.array(json.dumps(about)),
        "names": np.array(["Ann", "Bob"]),
        "counts": np.array([2, 1]),
        "embeddings": unit(np.eye(4)[:3]),
        **changes,
    }
    np.savez(stream, **{name: value for name, value in entries.items() if value is not None})
    return stream.getvalue()


def test_a_file_made_by_hand(tmp_path):
    (tmp_path / "a.gallery").write_bytes(arrays())
    assert Gallery.load(tmp_path / "a.gallery").counts == {"Ann": 2, "Bob": 1}


def about(**changes: object) -> np.ndarray:
    values = {"format": FIRST, "model": {"name": "small", "sha256": "ab" * 32, "dimension": 4}, **changes}
    return np.array(json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"about": None}, "not a gallery"),
        ({"counts": None}, "not a gallery"),
        ({"extra": np.zeros(1)}, "not a gallery"),
        ({"about": np.array("no JSON")}, "no valid description"),
        ({"about": np.array("[" * 100_000)}, "no valid description"),
        ({"about": np.array([1, 2])}, "no valid description"),
        ({"about": about(format="cascade-gallery-3")}, "format 'cascade-gallery-3', expected 'cascade-gallery-2'"),
        ({"about": about(format="cascade-gallery-2")}, "with all that belongs to it"),
        ({"about": about(format=[1])}, "expected 'cascade-gallery-2'"),
        ({"about": about(model=7)}, "model: expected"),
        ({"about": about(model={"name": "small", "sha256": "ab", "dimension": 4})}, "SHA-256"),
        ({"about": about(model={"name": "small", "sha256": "ab" * 32, "dimension": 5})}, r"expected \(n, 5\)"),
        ({"names": np.array([["Ann", "Bob"]])}, "names: expected text"),
        ({"names": np.array([1, 2])}, "names: expected text"),
        ({"names": np.array(["Ann", "Ann"])}, "twice"),
        ({"names": np.array(["Ann", ""])}, "name: expected"),
        ({"names": np.array(["Ann", "a\nb"])}, "control characters"),
        ({"names": np.array(["Ann", "Zoe\u0308"])}, "NFC"),
        ({"names": np.array(["Ann"])}, "counts: expected"),
        ({"names": np.array(["Ann", "Bob"], object)}, "not a gallery"),
        ({"counts": np.array([2.0, 1.0])}, "counts: expected"),
        ({"counts": np.array([3, 0])}, "counts: expected"),
        ({"counts": np.array([4, -1])}, "counts: expected"),
        ({"counts": np.array([2, 2])}, "counts: expected"),
        ({"counts": np.array([2**62, 2**62])}, "counts: expected"),
        ({"embeddings": np.eye(4)[:3]}, "embeddings: expected float32"),
        ({"embeddings": unit(np.ones(4))}, "embeddings: expected float32"),
        ({"embeddings": 2 * unit(np.eye(4)[:3])}, "not of length 1"),
        ({"embeddings": np.full((3, 4), np.nan, np.float32)}, "NaN"),
        ({"embeddings": unit(np.eye(3))}, r"expected \(n, 4\)"),
    ],
)
def test_files_that_are_no_gallery(changes, reason, tmp_path):
    path = tmp_path / "bad.gallery"
    path.write_bytes(arrays(**changes))
    with pytest.raises(GalleryError, match=reason) as caught:
        Gallery.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    (tmp_path / "bad.gallery").write_bytes(arrays(names=np.array([Bomb(), Bomb()], object)))
    with pytest.raises(GalleryError):
        Gallery.load(tmp_path / "bad.gallery")
    assert not (tmp_path / "exploded").exists()


def test_a_file_cut_short_anywhere(tmp_path):
    path = tmp_path / "a.gallery"
    small().save(path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 41), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(GalleryError, match=r"a\.gallery"):
            Gallery.load(path)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_byte_is_found_or_harmless(place, value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.gallery"
    path.unlink(missing_ok=True)  # what is no gallery any more is not replaced
    small().save(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(GalleryError):
        assert same(Gallery.load(path), small())


def test_other_files(tmp_path):
    with pytest.raises(GalleryError, match=r"nothing\.gallery: the gallery cannot be read"):
        Gallery.load(tmp_path / "nothing.gallery")
    with pytest.raises(GalleryError, match="cannot be read"):
        Gallery.load(tmp_path)
    np.save(tmp_path / "array.npy", np.eye(4))
    (tmp_path / "text").write_text("Ann, Bob")
    (tmp_path / "empty").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("about", "names", "counts", "embeddings"):
            archive.writestr(f"{name}.npy", b"no array")
    for name in ("array.npy", "text", "empty", "a.zip"):
        with pytest.raises(GalleryError, match="not a gallery"):
            Gallery.load(tmp_path / name)


@pytest.mark.parametrize("failing", ["fsync", "replace", "write"])
def test_a_failed_save_leaves_the_earlier_file(failing, tmp_path, monkeypatch):
    path = tmp_path / "a.gallery"
    small().save(path)
    before = path.read_bytes()

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"fsync": "os.fsync", "replace": "pathlib.Path.replace", "write": "numpy.savez"}[failing]
    monkeypatch.setattr(target, full)
    gallery = small()
    gallery.remove("Ann")
    with pytest.raises(GalleryError, match=r"a\.gallery: the gallery cannot be written: No space left"):
        gallery.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gallery"]


def test_an_interrupted_save_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "a.gallery"
    small().save(path)
    before = path.read_bytes()

    def pressed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", pressed)
    with pytest.raises(KeyboardInterrupt):
        Gallery(MODEL).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gallery"]


@pytest.mark.skipif(os.name != "posix", reason="needs a process that dies of a signal")
def test_a_killed_save_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.gallery"
    small().save(path)
    before = path.read_bytes()
    code = (
        "import os, signal, sys; from cascade.gallery import *; import cascade.gallery as module\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"gallery = Gallery.load({str(path)!r}); gallery.remove('Ann'); gallery.save({str(path)!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.read_bytes() == before
    assert same(Gallery.load(path), small())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(tmp_path):
    path = tmp_path / "a.gallery"
    small().save(path)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(GalleryError, match="cannot be written"):
            Gallery(MODEL).save(path)
        assert same(Gallery.load(path), small())
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_that_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere/a.gallery", tmp_path / ("n" * 300)):
        with pytest.raises(GalleryError, match="cannot be written"):
            small().save(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(GalleryError, match="cannot be written"):
        small().save(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions and links of POSIX")
def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "a.gallery", tmp_path / "link.gallery"
    small().save(path)
    path.chmod(0o600)
    link.symlink_to(path)
    gallery = Gallery(MODEL)
    gallery.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert same(Gallery.load(path), gallery)


def test_a_large_gallery(tmp_path):
    rng = np.random.default_rng(0)
    model = EmbeddingModel("wide", "ef" * 32, 64)
    gallery, rows = Gallery(model), unit(rng.normal(size=(20_000, 64)))
    for number, row in enumerate(rows):
        gallery.add(f"person {number}", row)
    gallery.save(Path(tmp_path / "large.gallery"))
    loaded = Gallery.load(tmp_path / "large.gallery", model)
    chosen = rng.choice(len(rows), 50)
    for at, matches in zip(chosen, loaded.identify(rows[chosen], top=1, threshold=0.99), strict=True):
        assert matches[0].name == f"person {at}"
