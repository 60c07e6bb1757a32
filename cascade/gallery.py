"""A gallery: people with embeddings of their faces, in one file, and the search for who a face may be.

>>> from cascade import Gallery, Recognizer
>>> recognizer = Recognizer()  # doctest: +SKIP
>>> gallery = Gallery(recognizer)  # doctest: +SKIP
>>> gallery.add("Eileen Collins", recognizer.embed("portrait.jpg"))  # doctest: +SKIP
>>> gallery.identify(recognizer.embed("crew.jpg"), threshold=0.4)  # doctest: +SKIP
"""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cascade.checks import FixedSettings, integer, number

__all__ = ["FORMAT", "LONGEST_NAME", "EmbeddingModel", "Gallery", "GalleryError", "Match"]

FORMAT = "cascade-gallery-1"
ENTRIES = {"about", "names", "counts", "embeddings"}

LONGEST_NAME = 200  # characters
LARGEST_DIMENSION = 65_536

LENGTH_TOLERANCE = 1e-3
"""How far the length of an embedding can be from 1: enough for half precision, too little for a wrong vector."""

DIGITS = 6
"""Decimals of a similarity. BLAS gives equal rows different last bits in different places; rounding removes them."""

BLOCK_SIMILARITIES = 1 << 24
"""Similarities computed at once, which bounds the memory of a search."""

FloatArray = npt.NDArray[np.float32]


class GalleryError(ValueError):
    """A name, an embedding or a file that cannot be used for a gallery. The message names it and the reason."""


class Match(NamedTuple):
    """A person of the gallery that a face may be."""

    name: str
    similarity: float
    """Cosine between the face and the person's most similar embedding, −1 to 1."""


class _Weights(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class HasEmbeddings(Protocol):
    """What a gallery needs of a `cascade.recognize.Recognizer`."""

    @property
    def weights(self) -> _Weights: ...
    @property
    def dimension(self) -> int: ...


@dataclass(frozen=True)
class EmbeddingModel:
    """The network that embeddings come from: only embeddings of the same weights can be compared.

    Raises `GalleryError` for invalid values.
    """

    name: str
    sha256: str
    """Of its weight file, 64 hexadecimal digits."""
    dimension: int
    """Numbers of one embedding."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.sha256, str):
            raise GalleryError(f"model: expected a name and a hash as text, got {self.name!r} and {self.sha256!r}")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise GalleryError(f"model: expected a SHA-256 of 64 hexadecimal digits, got {self.sha256!r}")
        whole = isinstance(self.dimension, int) and not isinstance(self.dimension, bool)
        if not whole or not 1 <= self.dimension <= LARGEST_DIMENSION:
            raise GalleryError(f"model: expected a dimension of 1 to {LARGEST_DIMENSION:,}, got {self.dimension!r}")

    @classmethod
    def of(cls, source: HasEmbeddings | EmbeddingModel) -> EmbeddingModel:
        """The model of a Recognizer."""
        if isinstance(source, cls):
            return source
        try:
            return cls(str(source.weights.name), str(source.weights.sha256), int(source.dimension))  # type: ignore[union-attr]
        except AttributeError:
            raise TypeError(f"model: expected a Recognizer or EmbeddingModel, got {type(source).__name__}") from None


class Gallery(FixedSettings):
    """People by name, each with one or more embeddings of one model.

    Parameters
    ----------
    model : the `cascade.recognize.Recognizer` whose embeddings it holds, or an `EmbeddingModel`. It stays fixed.

    ``len(gallery)`` counts the people; ``name in gallery`` tells whether one is there. A name is any text of up to 200
    characters without control characters and without blanks around it. Names are stored in Unicode's NFC, so accented
    letters are the same however they are encoded. Several threads can search at once, but not while another changes
    the gallery.
    """

    def __init__(self, model: HasEmbeddings | EmbeddingModel) -> None:
        self.model = EmbeddingModel.of(model)
        self._people: dict[str, FloatArray] = {}
        self._stacked: tuple[FloatArray, npt.NDArray[np.intp]] | None = None
        self._fix_settings()

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in self._people

    def __repr__(self) -> str:
        return f"<Gallery: {len(self)} people, {sum(self.counts.values())} embeddings of {self.model.name}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The people, in the order in which they were added."""
        return tuple(self._people)

    @property
    def counts(self) -> dict[str, int]:
        """How many embeddings each person has."""
        return {name: len(rows) for name, rows in self._people.items()}

    def embeddings(self, name: str) -> FloatArray:
        """A copy of a person's embeddings, (n, D) float32. Raises `GalleryError` if there is no such person."""
        return self._people[self._known(name)].copy()

    def add(self, name: str, embeddings: npt.ArrayLike, *, extend: bool = False) -> None:
        """Adds a person with embeddings (n, D) or one (D,), rows of length 1, n ≥ 1.

        A name that is there already is an error, since it may be another person's. With ``extend`` the embeddings are
        added to that person, or a new person is added if the name is new. To replace a person, remove the old one
        first. Raises `GalleryError`, and the gallery stays as it was.
        """
        name = checked_name(name)
        rows = self._checked_rows(embeddings)
        if not len(rows):
            raise GalleryError(f"embeddings: expected at least one for {name!r}, got none")
        if name in self._people:
            if not extend:
                raise GalleryError(f"name: {name!r} is in the gallery already; extend=True adds to the same person")
            rows = np.concatenate([self._people[name], rows])
        self._people[name] = rows
        self._stacked = None

    def remove(self, name: str) -> None:
        """Removes a person. Raises `GalleryError` if there is none of that name."""
        del self._people[self._known(name)]
        self._stacked = None

    def identify(self, embeddings: npt.ArrayLike, top: int = 5, threshold: float | None = None) -> list[list[Match]]:
        """Who each face may be: the ``top`` most similar people, best first, none below the ``threshold``.

        ``embeddings``: probes (N, D), rows of length 1, or a single one (D,), which counts as N = 1. The result has a
        list for each. A person is as similar as the most similar of their embeddings; equally similar people come in
        the order in which they were added. An empty list means that nobody reaches the threshold. Without a threshold
        the most similar people are listed, however unlike. False matches grow with the number of people: while they are
        rare, they are about that many times as likely as the false accept rate, which is stated for one pair.

        Raises `GalleryError` for embeddings of another model, ValueError or TypeError for wrong settings.
        """
        count = integer("top", top, 1)
        limit = -np.inf if threshold is None else number("threshold", threshold, -1.0, 1.0)
        probes = self._checked_rows(embeddings)
        if not self._people:
            return [[] for _ in probes]
        rows, starts = self._stack()
        step = max(1, BLOCK_SIMILARITIES // len(rows))
        found: list[list[Match]] = []
        for first in range(0, len(probes), step):
            similarities = np.maximum.reduceat(probes[first : first + step] @ rows.T, starts, axis=1)
            found += [self._best(of_one, count, limit) for of_one in similarities]
        return found

    def check_model(self, model: HasEmbeddings | EmbeddingModel) -> None:
        """Raises `GalleryError` if embeddings of this Recognizer cannot be compared with those in the gallery."""
        other = EmbeddingModel.of(model)
        if (other.sha256, other.dimension) != (self.model.sha256, self.model.dimension):
            raise GalleryError(
                f"model: the gallery's embeddings come from {self.model.name} ({self.model.sha256}), "
                f"not from {other.name} ({other.sha256}): they are not comparable; embed the photos again"
            )

    def save(self, path: str | Path) -> None:
        """Writes the gallery to one file, which replaces an earlier one only once it is complete.

        Raises `GalleryError` if it cannot be written; an earlier file then stays as it was.
        """
        path = Path(path)
        about = json.dumps({"format": FORMAT, "model": asdict(self.model)}, ensure_ascii=False, sort_keys=True)
        arrays = {
            "about": np.array(about),
            "names": np.array(self.names, dtype=np.str_),
            "counts": np.array(list(self.counts.values()), np.int64),
            "embeddings": self._stack()[0],
        }
        try:
            _replace(path, arrays)
        except OSError as error:
            raise GalleryError(f"{path}: the gallery cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, model: HasEmbeddings | EmbeddingModel | None = None) -> Gallery:
        """Reads a gallery that `save` wrote, and checks all of it. Nothing is unpickled.

        ``model``: the Recognizer to use it with. Raises `GalleryError` naming the file and the reason, also if the
        embeddings come from another model.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise GalleryError(f"{path}: the gallery cannot be read: {error.strerror or error}") from error
        try:
            gallery = cls._from_arrays(_read_arrays(data))
            if model is not None:
                gallery.check_model(model)
        except GalleryError as error:
            raise GalleryError(f"{path}: {error}") from error
        return gallery

    @classmethod
    def _from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Gallery:
        gallery = cls(_read_about(arrays["about"]))
        names, counts, rows = arrays["names"], arrays["counts"], arrays["embeddings"]
        if names.ndim != 1 or names.dtype.kind != "U":
            raise GalleryError(f"names: expected text (people,), got {names.dtype} {names.shape}")
        if counts.shape != names.shape or counts.dtype != np.int64:
            raise GalleryError(f"counts: expected int64 {names.shape}, got {counts.dtype} {counts.shape}")
        if rows.dtype != np.float32 or rows.ndim != 2:
            raise GalleryError(f"embeddings: expected float32 (rows, D), got {rows.dtype} {rows.shape}")
        if (counts < 1).any() or (counts > len(rows)).any() or counts.sum() != len(rows):
            raise GalleryError(f"counts: expected one or more for each person and {len(rows)} in all")
        rows = gallery._checked_rows(rows)
        for name, end, count in zip(names.tolist(), np.cumsum(counts).tolist(), counts.tolist(), strict=True):
            if name != checked_name(name) or name in gallery._people:
                raise GalleryError(f"names: {name!r} is there twice or is not in Unicode's NFC")
            gallery._people[name] = rows[end - count : end]
        gallery._stacked = rows, np.cumsum(counts) - counts
        return gallery

    def _known(self, name: str) -> str:
        if name not in self:
            raise GalleryError(f"name: there is no {name!r} in the gallery")
        return unicodedata.normalize("NFC", name)

    def _stack(self) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """All embeddings (rows, D), person after person, and each person's first row."""
        if self._stacked is None:
            rows = np.concatenate([np.empty((0, self.model.dimension), np.float32), *self._people.values()])
            lengths = [len(some) for some in self._people.values()]
            self._stacked = rows, np.cumsum([0, *lengths])[:-1]
        return self._stacked

    def _best(self, similarities: FloatArray, count: int, limit: float) -> list[Match]:
        """The most similar people, from similarities (people,)."""
        similarities = np.round(similarities, DIGITS)
        likely = np.flatnonzero(similarities >= limit)
        if len(likely) > count:
            last = np.partition(similarities[likely], -count)[-count]
            likely = likely[similarities[likely] >= last]
        order = likely[np.argsort(-similarities[likely], kind="stable")][:count]
        names = self.names
        return [Match(names[at], min(1.0, max(-1.0, float(similarities[at])))) for at in order]

    def _checked_rows(self, embeddings: npt.ArrayLike) -> FloatArray:
        """A copy (n, D) float32 of embeddings, if they are of this gallery's model."""
        try:
            rows = np.array(embeddings, np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise GalleryError(f"embeddings: expected an array of numbers: {error}") from error
        dimension = self.model.dimension
        if rows.shape == (0,):
            rows = rows.reshape(0, dimension)
        rows = rows[None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != dimension:
            raise GalleryError(
                f"embeddings: expected (n, {dimension}), as of {self.model.name}, got {np.shape(embeddings)}"
            )
        with np.errstate(over="ignore"):
            off = np.abs(np.square(rows, dtype=np.float64).sum(axis=1) - 1)
        wrong = np.flatnonzero(~(off <= 2 * LENGTH_TOLERANCE))  # NaN is wrong too; 2: of the square
        if len(wrong):
            finite = np.isfinite(rows[wrong[0]]).all()
            reason = "is not of length 1" if finite else "holds NaN or infinity"
            raise GalleryError(f"embeddings: row {wrong[0]} {reason}")
        return rows


def checked_name(name: str) -> str:
    """The name in Unicode's NFC. Raises `GalleryError` if it cannot be a person's name."""
    if not isinstance(name, str):
        raise GalleryError(f"name: expected text, got {type(name).__name__}")
    composed = unicodedata.normalize("NFC", name)
    if not composed or composed.strip() != composed:
        raise GalleryError(f"name: expected text without blanks around it, got {name!r}")
    if len(composed) > LONGEST_NAME:
        raise GalleryError(f"name: expected at most {LONGEST_NAME} characters, got {len(composed):,}")
    # control characters, halves of surrogate pairs, line and paragraph separators
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in composed):
        raise GalleryError(f"name: expected no control characters, got {name!r}")
    return composed


def _replace(path: Path, arrays: dict[str, Any]) -> None:
    """Writes a file beside ``path``, makes sure that it is on the disk, and only then gives it that name."""
    target = Path(os.path.realpath(path))  # the target of a link is replaced, not the link
    partial = target.with_name(f".cascade-{os.getpid()}-{os.urandom(4).hex()}.partial")
    try:
        with partial.open("xb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o777)  # who cannot read the old file cannot read the new one
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _read_arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if set(file.files) != ENTRIES:
                raise ValueError(f"it holds {', '.join(sorted(file.files)) or 'nothing'}")
            return {name: file[name] for name in file.files}
    except Exception as error:  # the readers of zip and npy files raise whatever comes up, from KeyError to zlib.error
        raise GalleryError(f"not a gallery, or damaged or cut short ({error or type(error).__name__})") from error


def _read_about(about: npt.NDArray[Any]) -> EmbeddingModel:
    try:
        stated = json.loads(str(about))
        version, model = stated["format"], stated["model"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"not a gallery: no valid description ({error!r})") from error
    if version != FORMAT:
        raise GalleryError(f"a gallery of format {version!r}, expected {FORMAT!r}")
    if not isinstance(model, dict) or set(model) != {"name", "sha256", "dimension"}:
        raise GalleryError(f"model: expected name, sha256 and dimension, got {model!r}")
    return EmbeddingModel(**model)
