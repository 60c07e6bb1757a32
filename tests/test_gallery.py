"""Gallery: adding, removing, searching, and a file that is checked and never half written."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import subprocess
import sys
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.gallery import FORMAT, LONGEST_NAME, EmbeddingModel, Gallery, GalleryError, Match

MODEL = EmbeddingModel("small", "ab" * 32, 4)
OTHER = EmbeddingModel("other", "cd" * 32, 4)

NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20
).map(lambda text: unicodedata.normalize("NFC", text)).filter(lambda text: text and text.strip() == text)  # fmt: skip


def unit(rows: object) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def directions(count: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    """Unit rows (n, 4) with many equal ones and no zeros."""
    return count.flatmap(lambda n: hnp.arrays(np.int8, (n, 4), elements=st.integers(-2, 2))).map(
        lambda rows: unit(rows + 0.5)
    )


PEOPLE = st.dictionaries(NAMES, directions(st.integers(1, 3)), max_size=6)


def filled(people: dict[str, np.ndarray]) -> Gallery:
    gallery = Gallery(MODEL)
    for name, rows in people.items():
        gallery.add(name, rows)
    return gallery


def small() -> Gallery:
    return filled({"Ann": unit([[1, 0, 0, 0], [1, 1, 0, 0]]), "Bob": unit([0, 0, 1, 0]), "Zoë": unit([0, 0, 0, 1])})


def same(one: Gallery, other: Gallery) -> bool:
    return (
        one.model == other.model
        and one.names == other.names
        and all(np.array_equal(one.embeddings(name), other.embeddings(name)) for name in one.names)
    )


# --------------------------------------------------------------------------------------------------
# Adding and removing


def test_people_in_their_order():
    gallery = small()
    assert len(gallery) == 3
    assert gallery.names == ("Ann", "Bob", "Zoë")
    assert gallery.counts == {"Ann": 2, "Bob": 1, "Zoë": 1}
    assert "Bob" in gallery
    assert "Eve" not in gallery
    assert 7 not in gallery
    gallery.remove("Bob")
    assert gallery.names == ("Ann", "Zoë")
    with pytest.raises(GalleryError, match="no 'Bob'"):
        gallery.remove("Bob")
    assert "2 people" in repr(gallery)


def test_a_name_twice():
    gallery = small()
    with pytest.raises(GalleryError, match="'Bob' is in the gallery already; extend=True"):
        gallery.add("Bob", unit([1, 2, 3, 4]))
    assert gallery.counts["Bob"] == 1
    gallery.add("Bob", unit([1, 2, 3, 4]), extend=True)
    gallery.add("Eve", unit([1, 2, 3, 4]), extend=True)
    assert gallery.counts == {"Ann": 2, "Bob": 2, "Zoë": 1, "Eve": 1}
    assert gallery.identify(unit([1, 2, 3, 4]), top=2)[0] == [Match("Bob", 1.0), Match("Eve", 1.0)]


def test_names_are_the_same_however_accents_are_encoded():
    gallery = small()
    decomposed = unicodedata.normalize("NFD", "Zoë")
    assert decomposed != "Zoë"
    assert decomposed in gallery
    with pytest.raises(GalleryError, match="already"):
        gallery.add(decomposed, unit([1, 0, 0, 0]))
    gallery.remove(decomposed)
    assert len(gallery) == 2


@pytest.mark.parametrize(
    "name", ["", " ", " Ann", "Ann ", "a\nb", "a\0", "\x1b[2J", "\ud800", "a\u2028b", "n" * (LONGEST_NAME + 1), 7, None]
)
def test_bad_names(name):
    gallery = small()
    with pytest.raises(GalleryError, match="name: expected"):
        gallery.add(name, unit([1, 0, 0, 0]))
    assert len(gallery) == 3


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.empty((0, 4)), "at least one"),
        ([], "at least one"),
        ([1, 0, 0], r"expected \(n, 4\)"),
        (np.ones((1, 1, 4)), r"expected \(n, 4\)"),
        (1.0, r"expected \(n, 4\)"),
        ([[1, 0, 0, 0], [1, 1, 0, 0]], "row 1 is not of length 1"),
        ([0, 0, 0, 0], "row 0 is not of length 1"),
        ([np.nan, 0, 0, 0], "row 0 holds NaN"),
        ([np.inf, 0, 0, 0], "row 0 holds NaN or infinity"),
        ([3e38, 3e38, 0, 0], "not of length 1"),
        ("face", "array of numbers"),
        ([[1, 0], [1]], "array of numbers"),
        (None, "embeddings"),
    ],
)
def test_bad_embeddings(embeddings, message):
    gallery = small()
    with pytest.raises(GalleryError, match=message):
        gallery.add("Eve", embeddings)
    assert "Eve" not in gallery


def test_a_gallery_keeps_what_it_was_given():
    rows = unit([[1, 0, 0, 0]])
    gallery = filled({"Ann": rows})
    rows[:] = 0
    gallery.embeddings("Ann")[:] = 0
    assert gallery.identify(unit([1, 0, 0, 0]))[0][0].similarity == 1
    with pytest.raises(GalleryError, match="no 'Eve'"):
        gallery.embeddings("Eve")


# --------------------------------------------------------------------------------------------------
# Searching


def test_best_first_by_the_best_embedding_of_each():
    [matches] = small().identify(unit([1, 1, 1, 0]), top=2)
    assert [match.name for match in matches] == ["Ann", "Bob"]
    np.testing.assert_allclose([match.similarity for match in matches], [2 / np.sqrt(6), 1 / np.sqrt(3)], rtol=1e-6)


def test_strangers():
    probe = unit([-1, 0, 0, 0.2])
    assert small().identify(probe, threshold=0.5) == [[]]
    assert len(small().identify(probe)[0]) == 3
    assert small().identify(np.stack([probe, unit([0, 0, 1, 0])]), threshold=0.5) == [[], [Match("Bob", 1.0)]]


def test_probes_of_any_number():
    assert small().identify(np.empty((0, 4))) == []
    assert small().identify([]) == []
    assert len(small().identify(unit(np.ones((3, 4))))) == 3


def test_empty_gallery(tmp_path):
    empty = Gallery(MODEL)
    assert len(empty) == 0
    assert empty.names == ()
    assert empty.identify(unit(np.ones((2, 4)))) == [[], []]
    empty.save(tmp_path / "empty.gallery")
    loaded = Gallery.load(tmp_path / "empty.gallery", MODEL)
    assert same(loaded, empty)
    assert loaded.identify(unit(np.ones((2, 4)))) == [[], []]
    loaded.add("Ann", unit([1, 0, 0, 0]))
    assert len(loaded.identify(unit(np.ones((2, 4))))[0]) == 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"top": 0}, ValueError),
        ({"top": 1.5}, TypeError),
        ({"top": True}, TypeError),
        ({"threshold": 1.5}, ValueError),
        ({"threshold": np.nan}, ValueError),
        ({"threshold": "high"}, TypeError),
        ({"embeddings": unit([1, 0, 0])}, GalleryError),
        ({"embeddings": [np.nan] * 4}, GalleryError),
    ],
)
def test_bad_searches(settings, error):
    for gallery in (small(), Gallery(MODEL)):
        with pytest.raises(error):
            gallery.identify(**{"embeddings": unit([1, 0, 0, 0]), **settings})


@given(
    people=PEOPLE, probes=directions(st.integers(0, 4)), top=st.integers(1, 8), threshold=st.floats(-1, 1) | st.none()
)
def test_search_equals_comparing_one_by_one(people, probes, top, threshold):
    found = filled(people).identify(probes, top, threshold)
    assert len(found) == len(probes)
    for probe, matches in zip(probes, found, strict=True):
        best = {
            name: float((rows.astype(np.float64) @ probe.astype(np.float64)).max()) for name, rows in people.items()
        }
        expected = sorted(best.values(), reverse=True)[:top]
        similarities = [match.similarity for match in matches]
        assert similarities == sorted(similarities, reverse=True)
        assert len({match.name for match in matches}) == len(matches)
        for match in matches:
            assert match.similarity == pytest.approx(best[match.name], abs=1e-6)
        np.testing.assert_allclose(similarities, expected[: len(matches)], atol=1e-6)
        limit = -2 if threshold is None else threshold
        assert sum(value > limit + 1e-6 for value in expected) <= len(matches)
        assert len(matches) <= sum(value >= limit - 1e-6 for value in expected)


def test_equally_similar_people_stand_as_they_were_added():
    names = [f"p{number}" for number in np.random.default_rng(0).permutation(40)]
    gallery = filled({name: unit([1, 0, 0, 0]) for name in names})
    for top in (1, 7, 40, 100):
        assert [match.name for match in gallery.identify(unit([1, 0, 0, 0]), top)[0]] == names[:top]


def test_a_search_in_blocks(monkeypatch):
    gallery, probes = small(), unit(np.random.default_rng(0).normal(size=(11, 4)))
    whole = gallery.identify(probes)
    monkeypatch.setattr("cascade.gallery.BLOCK_SIMILARITIES", 8)
    for some, all_at_once in zip(gallery.identify(probes), whole, strict=True):
        assert [match.name for match in some] == [match.name for match in all_at_once]


def test_searching_from_many_threads():
    rng = np.random.default_rng(0)
    gallery = filled({f"p{number}": unit(rng.normal(size=(2, 4))) for number in range(200)})
    probes = [unit(rng.normal(size=4)) for _ in range(40)]
    expected = [filled({n: gallery.embeddings(n) for n in gallery.names}).identify(probe) for probe in probes]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gallery.identify, probes)) == expected


# --------------------------------------------------------------------------------------------------
# Models


def test_embeddings_of_another_model_are_refused(tmp_path):
    small().save(tmp_path / "a.gallery")
    with pytest.raises(GalleryError, match="not comparable") as caught:
        Gallery.load(tmp_path / "a.gallery", OTHER)
    for part in ("a.gallery", MODEL.sha256, OTHER.sha256, "small", "other"):
        assert part in str(caught.value)
    renamed = EmbeddingModel("another name", MODEL.sha256, 4)
    assert len(Gallery.load(tmp_path / "a.gallery", renamed)) == 3
    with pytest.raises(GalleryError, match="not comparable"):
        small().check_model(OTHER)


def test_a_gallery_for_a_recognizer():
    class Weights:
        name, sha256 = "small", "ab" * 32

    class Recognizer:
        weights, dimension = Weights(), 4

    assert Gallery(Recognizer()).model == MODEL
    for wrong in (None, "small", 4):
        with pytest.raises(TypeError, match="model"):
            Gallery(wrong)


@pytest.mark.parametrize(
    "values", [("a", "b", 4), ("a", "AB" * 32, 4), ("a", "ab" * 32, 0), ("a", "ab" * 32, 4.0), (1, "ab" * 32, 4)]
)
def test_impossible_models(values):
    with pytest.raises(GalleryError, match="model: expected"):
        EmbeddingModel(*values)


# --------------------------------------------------------------------------------------------------
# The file


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


def test_a_loaded_gallery_can_be_changed(tmp_path):
    small().save(tmp_path / "a.gallery")
    gallery = Gallery.load(str(tmp_path / "a.gallery"))
    gallery.add("Ann", unit([0, 1, 0, 0]), extend=True)
    gallery.remove("Bob")
    assert gallery.identify(unit([0, 1, 0, 0]), 1) == [[Match("Ann", 1.0)]]
    gallery.save(tmp_path / "a.gallery")
    assert same(Gallery.load(tmp_path / "a.gallery"), gallery)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gallery"]


def arrays(**changes: object) -> dict[str, np.ndarray]:
    """The entries of a small gallery's file, some of them changed; None leaves one out."""
    stream = io.BytesIO()
    about = {"format": FORMAT, "model": {"name": "small", "sha256": "ab" * 32, "dimension": 4}}
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
    values = {"format": FORMAT, "model": {"name": "small", "sha256": "ab" * 32, "dimension": 4}, **changes}
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
        ({"about": about(format="cascade-gallery-2")}, "format 'cascade-gallery-2', expected 'cascade-gallery-1'"),
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
