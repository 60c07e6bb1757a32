"""The file of a gallery: what is in it, how it is checked when it is read, and how it is written.

It is an .npz file of stored arrays: ``about`` (JSON text: the format and the model), ``names`` (people,), ``counts``
(people,) and ``embeddings`` (rows, D), person after person.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cascade import private_files
from cascade.npz import NpzError, is_replaceable, read_npz

__all__ = ["FORMAT", "LONGEST_NAME", "EmbeddingModel", "GalleryError"]

FORMAT = "cascade-gallery-1"
MODEL = ("name", "sha256", "dimension")
ENTRIES = ("about", "names", "counts", "embeddings")

LONGEST_NAME = 200  # characters
LARGEST_DIMENSION = 65_536

FloatArray = npt.NDArray[np.float32]

FileState = tuple[int, int, int, int]
"""Device, inode, size and time of change, which tell whether a file is still the one that was read."""


class GalleryError(ValueError):
    """A name, an embedding or a file that cannot be used for a gallery. The message names it and the reason."""


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
    earlier: tuple[str, ...] = field(default=(), compare=False)
    """SHA-256 of other files of the same network, such as one with another model card."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.sha256, str):
            raise GalleryError(f"model: expected a name and a hash as text, got {self.name!r} and {self.sha256!r}")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise GalleryError(f"model: expected a SHA-256 of 64 hexadecimal digits, got {self.sha256[:80]!r}")
        whole = isinstance(self.dimension, int) and not isinstance(self.dimension, bool)
        if not whole or not 1 <= self.dimension <= LARGEST_DIMENSION:
            raise GalleryError(f"model: expected a dimension of 1 to {LARGEST_DIMENSION:,}, got {self.dimension!r}")

    @classmethod
    def of(cls, source: HasEmbeddings | EmbeddingModel) -> EmbeddingModel:
        """The model of a Recognizer."""
        if isinstance(source, cls):
            return source
        try:
            weights, dimension = source.weights, source.dimension  # type: ignore[union-attr]
            earlier = tuple(getattr(weights, "earlier_sha256", ()))
            return cls(str(weights.name), str(weights.sha256), int(dimension), earlier)
        except AttributeError:
            raise TypeError(f"model: expected a Recognizer or EmbeddingModel, got {type(source).__name__}") from None


class Contents(NamedTuple):
    """What a file holds."""

    model: EmbeddingModel
    people: dict[str, int]
    """How many embeddings each person has."""
    rows: FloatArray
    """(n, D), person after person."""


def checked_name(name: str) -> str:
    """The name in Unicode's NFC. Raises `GalleryError` if it cannot be a person's name."""
    if not isinstance(name, str):
        raise GalleryError(f"name: expected text, got {type(name).__name__}")
    composed = unicodedata.normalize("NFC", name)
    if not composed or composed.strip() != composed:
        raise GalleryError(f"name: expected text without blanks around it, got {name[:LONGEST_NAME]!r}")
    if len(composed) > LONGEST_NAME:
        raise GalleryError(f"name: expected at most {LONGEST_NAME} characters, got {len(composed):,}")
    # control characters, halves of surrogate pairs, line and paragraph separators
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in composed):
        raise GalleryError(f"name: expected no control characters, got {name!r}")
    return composed


def read_gallery(path: Path) -> tuple[Contents, FileState]:
    """What a file holds, and its state when it was read. Raises `GalleryError` without the file's name."""
    try:
        with path.open("rb") as stream:
            state = _state(os.fstat(stream.fileno()))
            return read_contents(stream), state
    except OSError as error:
        raise GalleryError(f"the gallery cannot be read: {error.strerror or error}") from error


def read_contents(stream: IO[bytes]) -> Contents:
    """What an open file holds. Raises `GalleryError` without the file's name, and OSError."""
    try:
        arrays = read_npz(stream, ENTRIES, exactly=True)
    except NpzError as error:
        raise GalleryError(
            f"not a gallery, or damaged or cut short ({error}); cascade gallery add writes one"
        ) from error
    return _contents(arrays)


def write_gallery(path: Path, contents: Contents) -> FileState:
    """Writes a file, which replaces an earlier one once it is complete. Raises `GalleryError`."""
    if not is_replaceable(path, "counts"):
        raise GalleryError(f"{path}: the gallery cannot be written: there is another file, which is no gallery")
    try:
        with private_files.replacing(path) as stream:
            write_contents(stream, contents)
        return _state(os.stat(path))
    except OSError as error:
        raise GalleryError(f"{path}: the gallery cannot be written: {error.strerror or error}") from error


def write_contents(stream: IO[bytes], contents: Contents) -> None:
    """Writes what a file holds to an open one. Raises OSError."""
    model = {name: getattr(contents.model, name) for name in MODEL}
    about = json.dumps({"format": FORMAT, "model": model}, ensure_ascii=False, sort_keys=True)
    np.savez(
        stream,
        about=np.array(about),
        names=np.array(list(contents.people), dtype=np.str_),
        counts=np.array(list(contents.people.values()), np.int64),
        embeddings=contents.rows,
    )


def file_state(path: Path) -> FileState | None:
    """The state of a file, None if there is none."""
    try:
        return _state(os.stat(path))
    except OSError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps others from changing the gallery. Raises `GalleryError` if they keep us from it for too long."""
    lock = private_files.locked(path)
    try:
        lock.__enter__()
    except OSError as error:
        raise GalleryError(f"{path}: the gallery cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _state(found: os.stat_result) -> FileState:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _contents(arrays: dict[str, npt.NDArray[Any]]) -> Contents:
    model = _read_about(arrays["about"])
    names, counts, rows = arrays["names"], arrays["counts"], arrays["embeddings"]
    if names.ndim != 1 or names.dtype.kind != "U":
        raise GalleryError(f"names: expected text (people,), got {names.dtype} {names.shape}")
    if counts.shape != names.shape or counts.dtype != np.int64:
        raise GalleryError(f"counts: expected int64 {names.shape}, got {counts.dtype} {counts.shape}")
    if rows.dtype != np.float32 or rows.ndim != 2:
        raise GalleryError(f"embeddings: expected float32 (rows, D), got {rows.dtype} {rows.shape}")
    if (counts < 1).any() or (counts > len(rows)).any() or counts.sum() != len(rows):
        raise GalleryError(f"counts: expected one or more for each person and {len(rows)} in all")
    people: dict[str, int] = {}
    for name, count in zip(_texts(names), counts.tolist(), strict=True):
        if name != checked_name(name) or name in people:
            raise GalleryError(f"names: {name!r} is there twice or is not in Unicode's NFC")
        people[name] = count
    return Contents(model, people, rows)


def _texts(names: npt.NDArray[np.str_]) -> list[str]:
    try:
        found: list[str] = names.tolist()
    except ValueError as error:  # numbers that are no characters
        raise GalleryError(f"names: expected text: {error}") from error
    return found


def _read_about(about: npt.NDArray[Any]) -> EmbeddingModel:
    try:
        stated = json.loads(str(about))
        version, model = stated["format"], stated["model"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"not a gallery: no valid description ({str(error)[:100]})") from error
    if version != FORMAT:
        raise GalleryError(f"a gallery of format {str(version)[:50]!r}, expected {FORMAT!r}")
    if not isinstance(model, dict) or set(model) != set(MODEL):
        raise GalleryError(f"model: expected name, sha256 and dimension, got {str(model)[:100]}")
    return EmbeddingModel(**model)
