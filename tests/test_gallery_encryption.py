"""Encrypted galleries: the right key gives the same gallery, all else a typed error, and nothing is in the clear."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import textwrap
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import encryption
from cascade.encryption import Cost
from cascade.gallery import (
    Gallery,
    GalleryAuthenticationError,
    GalleryDamagedError,
    GalleryError,
    GalleryKeyError,
)
from tests.cli.helpers import posix_only
from tests.galleries import MODEL, OTHER, PEOPLE, filled, same, small, unit

KEY = bytes(range(32))
WORDS = "correct horse"


@pytest.fixture(autouse=True, scope="module")
def cheap_passphrases():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "COST", Cost(64, 1, 1))
        yield


def encrypted(path: Path, **options: object) -> Path:
    gallery = small()
    gallery.encrypt(**(options or {"key": KEY}))
    gallery.save(path)
    return path


@settings(max_examples=30)  # each is written to the disk
@given(people=PEOPLE, words=st.text(min_size=8, max_size=20))
def test_saving_and_loading_keeps_everything(people, words, tmp_path_factory):
    gallery, path = filled(people), tmp_path_factory.getbasetemp() / "encrypted.gallery"
    path.unlink(missing_ok=True)
    gallery.encrypt(passphrase=words)
    gallery.save(path)
    loaded = Gallery.load(path, MODEL, passphrase=words)
    assert same(loaded, gallery)
    assert loaded.audit == gallery.audit
    assert loaded.encrypted


def test_a_loaded_gallery_stays_encrypted(tmp_path):
    path = encrypted(tmp_path / "g", passphrase=WORDS)
    first = path.read_bytes()
    gallery = Gallery.load(path, passphrase=WORDS)
    gallery.remove("Bob")
    gallery.save(path)
    gallery.save(tmp_path / "other")
    for copied in (path, tmp_path / "other"):
        data = copied.read_bytes()
        assert data.startswith(encryption.MAGIC)
        assert data[encryption.HEADER_BYTES :][:16] != first[encryption.HEADER_BYTES :][:16]
        assert Gallery.load(copied, passphrase=WORDS).names == ("Ann", "Zoë")
    with Gallery.changing(path, passphrase=WORDS) as gallery:
        gallery.remove("Ann")
    assert Gallery.load(path, passphrase=WORDS).names == ("Zoë",)


def test_changing_creates_an_encrypted_gallery(tmp_path):
    with Gallery.changing(tmp_path / "g", MODEL, create=True, key=KEY) as gallery:
        gallery.add("Ann", unit([1, 0, 0, 0]))
    assert Gallery.load(tmp_path / "g", key=KEY).names == ("Ann",)
    with pytest.raises(GalleryKeyError, match="encrypted with a key"):
        Gallery.load(tmp_path / "g")
    with pytest.raises(GalleryAuthenticationError), Gallery.changing(tmp_path / "g", MODEL, create=True, key=bytes(32)):
        pass
    assert os.listdir(tmp_path) == ["g"]


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_every_changed_byte_is_a_typed_error(step, tmp_path):
    """All of the header, and every ``step``-th byte after it; test_encryption.py changes every bit, in memory."""
    path = encrypted(tmp_path / "g")
    data = path.read_bytes()
    for place in [*range(encryption.HEADER_BYTES), *range(encryption.HEADER_BYTES, len(data), step)]:
        changed = bytearray(data)
        changed[place] ^= 1 + place % 255
        path.write_bytes(changed)
        with pytest.raises(GalleryError) as caught:
            Gallery.load(path, key=KEY)
        if place < len(encryption.MAGIC):  # no encrypted gallery any more
            kind: type[GalleryError] = GalleryKeyError
        else:
            kind = GalleryDamagedError if place < encryption.HEADER_BYTES else GalleryAuthenticationError
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{path}: ")


@settings(max_examples=30)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_byte_never_gives_another_gallery(place, value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.gallery"
    path.unlink(missing_ok=True)
    encrypted(path, passphrase=WORDS)
    data = bytearray(path.read_bytes())
    before = data[place % len(data)]
    data[place % len(data)] = value
    path.write_bytes(data)
    if before == value:
        assert same(Gallery.load(path, passphrase=WORDS), small())
    else:
        with pytest.raises(GalleryError):
            Gallery.load(path, passphrase=WORDS)


def test_a_file_cut_short_anywhere(tmp_path):
    path = encrypted(tmp_path / "g")
    data = path.read_bytes()
    for length in [*range(0, 80), *range(80, len(data), 41), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(GalleryError) as caught:
            Gallery.load(path, key=KEY)
        assert isinstance(caught.value, GalleryDamagedError) == (length >= len(encryption.MAGIC))
    path.write_bytes(b"")
    with pytest.raises(GalleryError, match="not a gallery"):
        Gallery.load(path)


def test_what_is_encrypted_but_is_no_gallery(tmp_path):
    key = encryption.FileKey.new(key=KEY)
    for plain in (b"", b"Ann, Bob", b"PK\x05\x06" + bytes(18)):
        (tmp_path / "g").write_bytes(encryption.encrypt(plain, key))
        with pytest.raises(GalleryError, match="not a gallery"):
            Gallery.load(tmp_path / "g", key=KEY)


def test_a_gallery_of_another_network(tmp_path):
    path = encrypted(tmp_path / "g")
    with pytest.raises(GalleryError, match="not comparable"):
        Gallery.load(path, OTHER, key=KEY)


def test_a_plain_gallery_in_place_of_an_encrypted_one(tmp_path):
    """Whoever expects encryption does not search in what somebody else has put there."""
    small().save(tmp_path / "g")
    for options in ({"key": KEY}, {"passphrase": WORDS}):
        with pytest.raises(GalleryKeyError, match="is not encrypted, though"):
            Gallery.load(tmp_path / "g", **options)
    path = encrypted(tmp_path / "e")
    before = path.read_bytes()
    with pytest.raises(GalleryKeyError, match="there is an encrypted gallery"):
        small().save(path)
    assert path.read_bytes() == before


def test_another_key_and_none(tmp_path):
    path = encrypted(tmp_path / "g")
    with Gallery.changing(path, key=KEY) as gallery:
        gallery.encrypt(passphrase=WORDS)
    with pytest.raises(GalleryKeyError, match="with a passphrase, got a key"):
        Gallery.load(path, key=KEY)
    with Gallery.changing(path, passphrase=WORDS) as gallery:
        gallery.decrypt()
        gallery.decrypt()
    loaded = Gallery.load(path)
    assert same(loaded, small())
    assert [line.what for line in loaded.audit[-3:]] == ["encrypt", "rekey", "decrypt"]
    for options in ({"passphrase": "short"}, {"key": b"short"}, {}):
        with pytest.raises(GalleryError):
            loaded.encrypt(**options)
    assert not loaded.encrypted


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda gallery: pickle.loads(pickle.dumps(gallery))])
def test_copies_stay_encrypted(copied, tmp_path):
    gallery = Gallery.load(encrypted(tmp_path / "g", passphrase=WORDS), passphrase=WORDS)
    other = copied(gallery)
    other.add("Eve", unit([1, 1, 1, 1]), note="a note")
    assert (len(gallery.audit), gallery.expired(date.max)) == (4, ())
    other.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g", passphrase=WORDS).record("Eve").note == "a note"


# --------------------------------------------------------------------------------------------------
# The disk


def in_the_clear(data: bytes) -> bool:
    """Whether a name, a note, a number of an embedding or the network is there, in any encoding that is used."""
    ann = unit([1, 1, 0, 0]).tobytes()[:8]
    words = [text.encode(code) for text in ("Secret Name", "secret note", "small") for code in ("utf-8", "utf-32-le")]
    return any(word in data for word in (*words, ann, b"PK\x03\x04", b"audit"))


def test_nothing_is_on_the_disk_in_the_clear(tmp_path, monkeypatch):
    """Looked for in all files at the moment when the new one is complete, and in every write."""
    path, seen, original = tmp_path / "g", [], os.fsync

    def fsync(handle: int) -> None:
        seen.extend(file.read_bytes() for file in tmp_path.iterdir())
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    gallery = small()
    gallery.add("Secret Name", unit([1, 1, 0, 0]), note="secret note")
    gallery.save(tmp_path / "plain")
    assert in_the_clear((tmp_path / "plain").read_bytes())  # so it would be found
    (tmp_path / "plain").unlink()
    seen.clear()
    gallery.encrypt(passphrase=WORDS)
    gallery.save(path)
    gallery.forget("Ann")
    gallery.save(path)
    assert len([data for data in seen if len(data) > 1000]) >= 3
    assert not any(in_the_clear(data) for data in [*seen, path.read_bytes()])
    assert os.listdir(tmp_path) == ["g"]


@posix_only
def test_the_file_is_its_owners(tmp_path):
    before = os.umask(0)
    try:
        path = encrypted(tmp_path / "g")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Gallery.changing(path, key=KEY) as gallery:
            gallery.remove("Ann")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@posix_only
def test_a_full_disk_leaves_the_earlier_file(tmp_path):
    path = encrypted(tmp_path / "g")
    before = path.read_bytes()
    code = """
    import resource, sys
    import numpy as np
    from cascade.gallery import Gallery, GalleryError
    gallery = Gallery.load(sys.argv[1], key=bytes(range(32)))
    gallery.add("Eve", np.eye(4).repeat(200, axis=0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        gallery.save(sys.argv[1])
    except GalleryError as error:
        print(error)
    """
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{path}: the gallery cannot be written: {os.strerror(errno.EFBIG)}" in done.stdout
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["g"]


@posix_only
def test_a_folder_without_permission():
    """As the user nobody, where the tests run as the superuser, who may write anywhere."""
    code = """
    import os, sys
    from cascade.gallery import Gallery, GalleryError
    gallery = Gallery.load(sys.argv[1], key=bytes(range(32)))
    gallery.remove("Ann")
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        gallery.save(sys.argv[1])
    except GalleryError as error:
        print(error)
    """
    with tempfile.TemporaryDirectory() as folder:
        path = encrypted(Path(folder) / "g")
        path.chmod(0o644)
        before = path.read_bytes()
        os.chmod(folder, 0o555)
        try:
            done = run(code, path)
            assert "the gallery cannot be written: Permission denied" in done.stdout, done.stderr
            assert path.read_bytes() == before
            assert os.listdir(folder) == ["g"]
        finally:
            os.chmod(folder, 0o755)


def test_programs_that_change_at_once_lose_nobody(tmp_path):
    code = """
    import sys
    import numpy as np
    from cascade.gallery import EmbeddingModel, Gallery
    model = EmbeddingModel("small", "ab" * 32, 4)
    for number in range(5):
        with Gallery.changing(sys.argv[1], model, create=True, key=bytes(range(32))) as gallery:
            gallery.add(f"{sys.argv[2]} {number}", np.eye(4)[number % 4])
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "g")]
    processes = [subprocess.Popen([*argv, name]) for name in ("Ann", "Bob")]
    assert [process.wait() for process in processes] == [0, 0]
    loaded = Gallery.load(tmp_path / "g", key=KEY)
    assert set(loaded.names) == {f"{name} {number}" for name in ("Ann", "Bob") for number in range(5)}
    assert [line.what for line in loaded.audit].count("add") == 10
    assert os.listdir(tmp_path) == ["g"]


def test_what_others_changed_is_not_undone(tmp_path):
    path = encrypted(tmp_path / "g")
    mine = Gallery.load(path, key=KEY)
    with Gallery.changing(path, key=KEY) as theirs:
        theirs.encrypt(key=bytes(32))
    with pytest.raises(GalleryError, match="somebody else has changed the gallery"):
        mine.save(path)
    assert same(Gallery.load(path, key=bytes(32)), small())


def test_the_cost_that_is_shipped():
    """The recommendation of RFC 9106 for machines with little memory, within our own limits."""
    code = "from cascade.encryption import COST, MOST; print(tuple(COST), all(a <= b for a, b in zip(COST, MOST)))"
    assert run(code).stdout == "(65536, 3, 4) True\n"


def test_embeddings_search_alike(tmp_path):
    loaded = Gallery.load(encrypted(tmp_path / "g", passphrase=WORDS), passphrase=WORDS)
    assert loaded.identify(unit(np.eye(4))) == small().identify(unit(np.eye(4)))
