"""Cancelable embeddings: rotated by a secret key, so that embeddings under different keys cannot be compared.

>>> from cascade import Gallery, Recognizer
>>> from cascade.templates import KeyedRotation
>>> recognizer = Recognizer()  # doctest: +SKIP
>>> rotation = KeyedRotation(key, recognizer)  # doctest: +SKIP
>>> gallery = Gallery(rotation.model)  # doctest: +SKIP
>>> gallery.add("Eileen Collins", rotation.apply(recognizer.embed("portrait.jpg")))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from cascade.gallery_file import EmbeddingModel, FloatArray, GalleryError, HasEmbeddings

__all__ = ["KEY_BYTES", "KeyedRotation"]

KEY_BYTES = 32
LARGEST_DIMENSION = 4096
PURPOSE = b"cascade rotation 1"


class KeyedRotation:
    """A rotation of embeddings that a key of 32 random bytes determines, the same on every machine.

    Parameters
    ----------
    key : 32 random bytes, as of ``secrets.token_bytes(32)``.
    model : the `cascade.recognize.Recognizer` whose embeddings it rotates, or an `EmbeddingModel`.

    Similarities between embeddings under one key are those of the embeddings themselves. Without the key, those under
    different keys are unrelated. Whoever has the key has the embeddings, and whoever has as many pairs of embeddings
    before and after as an embedding has numbers can compute the key's rotation: it is no encryption.

    Raises `GalleryError` for a key of another length and more than 4,096 numbers.
    """

    def __init__(self, key: bytes, model: HasEmbeddings | EmbeddingModel) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            got = f"{len(key)}" if isinstance(key, bytes) else type(key).__name__  # the key itself is a secret
            raise GalleryError(f"key: expected {KEY_BYTES} bytes, got {got}")
        source = EmbeddingModel.of(model)
        if source.dimension > LARGEST_DIMENSION:
            raise GalleryError(f"model: expected at most {LARGEST_DIMENSION:,} numbers, got {source.dimension:,}")
        self._source = source
        self._matrix = rotation_matrix(key, source.dimension)
        self.model = EmbeddingModel(
            f"{source.name} rotated",
            _hash_under(key, source.sha256),
            source.dimension,
            tuple(_hash_under(key, earlier) for earlier in source.earlier),
        )
        """Of the rotated embeddings, for a `Gallery`, which then refuses embeddings under another key or none."""

    def __repr__(self) -> str:
        return f"<KeyedRotation of {self._source.name}>"

    def apply(self, embeddings: npt.ArrayLike) -> FloatArray:
        """Rotates embeddings (n, D) or (D,), rows of length 1: (n, D) float32. Raises `GalleryError`."""
        return self._rotated(self._source.checked_rows(embeddings), self._matrix)

    def revert(self, rotated: npt.ArrayLike) -> FloatArray:
        """The embeddings (n, D) float32 that `apply` rotated to these. Raises `GalleryError`."""
        return self._rotated(self.model.checked_rows(rotated), self._matrix.T)

    @staticmethod
    def _rotated(rows: FloatArray, matrix: npt.NDArray[np.float64]) -> FloatArray:
        found = rows @ matrix
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def rotation_matrix(key: bytes, dimension: int) -> npt.NDArray[np.float64]:
    """An orthogonal matrix (D, D) drawn uniformly, by a key.

    Numbers of a normal distribution from SHAKE-256 (FIPS 202), orthogonalised by QR with a positive diagonal
    (F. Mezzadri, How to generate random matrices from the classical compact groups, 2007).
    """
    count = dimension * dimension
    stream = hashlib.shake_256(PURPOSE + dimension.to_bytes(4, "little") + key).digest(16 * count)
    whole = np.frombuffer(stream, "<u8") >> np.uint64(11)
    uniform = (whole.astype(np.float64) + 0.5) / (1 << 53)
    radius, angle = np.sqrt(-2 * np.log(uniform[:count])), 2 * np.pi * uniform[count:]
    orthogonal, triangle = np.linalg.qr((radius * np.cos(angle)).reshape(dimension, dimension))
    return np.asarray(orthogonal * np.sign(np.diag(triangle)), np.float64)


def _hash_under(key: bytes, sha256: str) -> str:
    return hashlib.sha256(PURPOSE + key + sha256.encode()).hexdigest()
