"""Rotations of embeddings by a key: similarities stay, and nothing else can be compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.gallery import EmbeddingModel, Gallery, GalleryError
from cascade.templates import KeyedRotation, rotation_matrix
from tests.galleries import MODEL, directions, unit

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
EXPECTED = [0.8154272880847506, -0.5785696837449321, 0.01831553706661337]
WIDE = EmbeddingModel("wide", "12" * 32, 128)


def faces(count: int) -> np.ndarray:
    return unit(np.random.default_rng(3).normal(size=(count, 128)))


@given(rows=directions(st.integers(1, 5)), key=st.binary(min_size=32, max_size=32))
def test_similarities_stay_and_the_key_gives_the_embeddings_back(rows, key):
    rotation = KeyedRotation(key, MODEL)
    rotated = rotation.apply(rows)
    np.testing.assert_allclose(rotated @ rotated.T, rows @ rows.T, atol=2e-6)
    np.testing.assert_allclose(rotation.revert(rotated), rows, atol=2e-6)
    assert rotated.dtype == np.float32


def test_a_rotation_is_orthogonal_and_the_same_everywhere():
    matrix = rotation_matrix(KEY, 128)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(128), atol=1e-12)
    # computed once; whoever changes the stream of numbers makes every stored template useless
    np.testing.assert_allclose(rotation_matrix(KEY, 3)[0], EXPECTED, atol=1e-9)


def test_other_keys_give_unrelated_embeddings():
    rows = faces(500)
    one, other = KeyedRotation(KEY, WIDE).apply(rows), KeyedRotation(OTHER_KEY, WIDE).apply(rows)
    across = (one * other).sum(axis=1)
    assert abs(across.mean()) < 0.02
    assert across.std() == pytest.approx(1 / np.sqrt(128), rel=0.15)  # as of random vectors
    assert abs((one * rows).sum(axis=1).mean()) < 0.02


def test_a_gallery_of_rotated_embeddings(tmp_path):
    rotation, rows = KeyedRotation(KEY, WIDE), faces(3)
    gallery, plain = Gallery(rotation.model), Gallery(WIDE)
    for name, row in zip(("Ann", "Bob", "Zoë"), rows, strict=True):
        gallery.add(name, rotation.apply(row))
        plain.add(name, row)
    gallery.save(tmp_path / "g")
    loaded = Gallery.load(tmp_path / "g", rotation.model)
    probes = unit(rows + 0.3 * faces(6)[3:])
    for found, expected in zip(loaded.identify(rotation.apply(probes)), plain.identify(probes), strict=True):
        assert [match.name for match in found] == [match.name for match in expected]
        assert np.allclose([match.similarity for match in found], [match.similarity for match in expected], atol=3e-6)
    for model in (WIDE, KeyedRotation(OTHER_KEY, WIDE).model):
        with pytest.raises(GalleryError, match="not comparable"):
            Gallery.load(tmp_path / "g", model)


def test_the_same_network_under_another_hash():
    renamed = EmbeddingModel("wide", "34" * 32, 128, earlier=(WIDE.sha256,))
    Gallery(KeyedRotation(KEY, WIDE).model).check_model(KeyedRotation(KEY, renamed).model)


def test_what_cannot_be_rotated():
    for key in (b"", bytes(31), "a" * 32, None):
        with pytest.raises(GalleryError, match="key: expected 32 bytes"):
            KeyedRotation(key, WIDE)
    for secret in ("correct horse battery staple", bytearray(b"correct horse battery staple"), [99, 111]):
        with pytest.raises(GalleryError, match=r"key: expected 32 bytes, got (str|bytearray|list)$"):
            KeyedRotation(secret, WIDE)  # a secret does not go into a message
    with pytest.raises(GalleryError, match="at most 4,096"):
        KeyedRotation(KEY, EmbeddingModel("huge", "12" * 32, 5000))
    with pytest.raises(GalleryError, match=r"expected \(n, 128\)"):
        KeyedRotation(KEY, WIDE).apply(np.eye(4))
    assert KEY.hex() not in repr(KeyedRotation(KEY, WIDE)) + str(KeyedRotation(KEY, WIDE).model)
