"""Gallery: adding and removing people, and searching for them."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.gallery import LONGEST_NAME, EmbeddingModel, Gallery, GalleryError, Match
from cascade.gallery_search import pooled
from tests.galleries import MODEL, OTHER, PEOPLE, directions, filled, same, small, unit


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


def test_people_by_the_mean_of_their_photos():
    gallery = Gallery(MODEL)
    first, second = unit([1, 0, 0, 0]), unit([0, 1, 0, 0])
    gallery.add("Ann", np.stack([first, second]))
    gallery.add("Bob", unit([1, 0.2, 0, 0]))
    between = unit([1, 1, 0, 0])
    assert [match.name for match in gallery.identify(between, pooled=True)[0]] == ["Ann", "Bob"]
    assert gallery.identify(between, pooled=True)[0][0].similarity == pytest.approx(1)
    assert gallery.identify(between)[0][0].name == "Bob"
    assert gallery.identify(between, pooled=True, once=True)[0][0].name == "Ann"
    np.testing.assert_allclose(pooled(np.stack([first, second])), between, atol=1e-6)
    np.testing.assert_allclose(pooled(np.stack([first, second]), [1, 0]), first, atol=1e-6)
    gallery.add("Eve", np.stack([first, -first]))  # they cancel out
    assert gallery.identify(first, pooled=True)[0][0] == Match("Eve", 1.0)


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (np.empty((0, 4)), None, "embeddings: expected shape"),
        (np.ones(4), None, "embeddings: expected shape"),
        (np.eye(4), [1, 2], "weights: expected 4 numbers"),
        (np.eye(2), [1, -1], "weights: expected 2 numbers"),
        (np.eye(2), [0, 0], "weights: expected 2 numbers"),
        (np.array([[1.0, 0], [-1, 0]]), None, "they cancel out"),
    ],
)
def test_what_has_no_mean_direction(rows, weights, message):
    with pytest.raises(ValueError, match=message):
        pooled(rows, weights)


def test_equally_similar_people_stand_as_they_were_added():
    names = [f"p{number}" for number in np.random.default_rng(0).permutation(40)]
    gallery = filled({name: unit([1, 0, 0, 0]) for name in names})
    for top in (1, 7, 40, 100):
        assert [match.name for match in gallery.identify(unit([1, 0, 0, 0]), top)[0]] == names[:top]


def test_a_search_in_blocks(monkeypatch):
    gallery, probes = small(), unit(np.random.default_rng(0).normal(size=(11, 4)))
    whole = gallery.identify(probes)
    monkeypatch.setattr("cascade.gallery_people.BLOCK_SIMILARITIES", 8)
    for some, all_at_once in zip(gallery.identify(probes), whole, strict=True):
        assert [match.name for match in some] == [match.name for match in all_at_once]


def test_searching_from_many_threads():
    rng = np.random.default_rng(0)
    gallery = filled({f"p{number}": unit(rng.normal(size=(2, 4))) for number in range(200)})
    probes = [unit(rng.normal(size=4)) for _ in range(40)]
    expected = [filled({n: gallery.embeddings(n) for n in gallery.names}).identify(probe) for probe in probes]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gallery.identify, probes)) == expected


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
