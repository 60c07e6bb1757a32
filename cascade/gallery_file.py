"""The file of a gallery: what is in it, how it is checked when it is read, and how it is written.

It is an .npz file of stored arrays: ``about`` (JSON text: the format and the model), ``names`` (people,), ``counts``
(people,) and ``embeddings`` (rows, D), person after person; ``records`` and ``audit``, uint8 (bytes,), are JSON and
JSON Lines. Files of the first format have neither of the last two. An encrypted gallery is such a file within
`cascade.encryption`'s; it is encrypted and decrypted in memory, so that nothing of it is ever on the disk in the clear.
"""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cascade import encryption, gallery_records, private_files
from cascade.encryption import FileKey
from cascade.gallery_errors import (
    GalleryAuthenticationError,
    GalleryDamagedError,
    GalleryError,
    GalleryKeyError,
)
from cascade.gallery_records import AuditLine, PersonRecord
from cascade.npz import NpzError, is_replaceable, read_npz

__all__ = ["FORMAT", "LONGEST_NAME", "EmbeddingModel", "GalleryError"]

FORMAT = "cascade-gallery-2"
MODEL = ("name", "sha256", "dimension")
ENTRIES = {
    "cascade-gallery-1": {"about", "names", "counts", "embeddings"},
    FORMAT: {"about", "names", "counts", "embeddings", "records", "audit"},
}
"""What is in a file of each format that can be read."""

ERRORS = {
    encryption.DamagedError: GalleryDamagedError,
    encryption.KeyMismatchError: GalleryKeyError,
    encryption.AuthenticationError: GalleryAuthenticationError,
    encryption.EncryptionError: GalleryError,
}

LENGTH_TOLERANCE = 1e-3
"""How far the length of an embedding can be from 1: enough for half precision, too little for a wrong vector."""

LONGEST_NAME = 200  # characters
LARGEST_DIMENSION = 65_536

FloatArray = npt.NDArray[np.float32]

FileState = tuple[int, int, int, int]
"""Device, inode, size and time of change, which tell whether a file is still the one that was read."""


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

    def checked_rows(self, embeddings: npt.ArrayLike) -> FloatArray:
        """A copy (n, D) float32 of embeddings, if they can be of this model. Raises `GalleryError`."""
        try:
            rows = np.array(embeddings, np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise GalleryError(f"embeddings: expected an array of numbers: {error}") from error
        dimension = self.dimension
        if rows.shape == (0,):
            rows = rows.reshape(0, dimension)
        rows = rows[None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != dimension:
            raise GalleryError(f"embeddings: expected (n, {dimension}), as of {self.name}, got {np.shape(embeddings)}")
        with np.errstate(over="ignore"):
            off = np.abs(np.square(rows, dtype=np.float64).sum(axis=1) - 1)
        wrong = np.flatnonzero(~(off <= 2 * LENGTH_TOLERANCE))  # NaN is wrong too; 2: of the square
        if len(wrong):
            finite = np.isfinite(rows[wrong[0]]).all()
            reason = "is not of length 1" if finite else "holds NaN or infinity"
            raise GalleryError(f"embeddings: row {wrong[0]} {reason}")
        return rows


class Contents(NamedTuple):
    """What a file holds."""

    model: EmbeddingModel
    people: dict[str, int]
    """How many embeddings each person has."""
    rows: FloatArray
    """(n, D), person after person."""
    records: dict[str, PersonRecord]
    """Of those of whom something is noted."""
    audit: list[AuditLine]


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


def read_gallery(
    path: Path, passphrase: str | None = None, key: bytes | None = None
) -> tuple[Contents, FileState, FileKey | None]:
    """What a file holds, its state when it was read, and its key if it is encrypted.

    Raises `GalleryError` without the file's name, and ImportError without `cryptography` where that is needed.
    """
    try:
        with path.open("rb") as stream:
            state = _state(os.fstat(stream.fileno()))
            encrypted = encryption.is_encrypted(stream.read(len(encryption.MAGIC)))
            stream.seek(0)
            if not encrypted:
                if passphrase is not None or key is not None:
                    raise GalleryKeyError("the gallery is not encrypted, though a passphrase or key was given")
                return read_contents(stream), state, None
            if state[2] > encryption.LARGEST_FILE:
                raise GalleryDamagedError(f"expected at most {encryption.LARGEST_FILE:,} bytes, got {state[2]:,}")
            data = stream.read()
    except OSError as error:
        raise GalleryError(f"the gallery cannot be read: {error.strerror or error}") from error
    with encryption_errors():
        plain, derived = encryption.decrypt(data, passphrase=passphrase, key=key)
    return read_contents(io.BytesIO(plain)), state, derived


def write_gallery(path: Path, contents: Contents, key: FileKey | None = None) -> FileState:
    """Writes a file, encrypted if there is a key, which replaces an earlier one once it is complete.

    Raises `GalleryError`.
    """
    if not is_replaceable(path, "counts") and not is_encrypted(path):
        raise GalleryError(f"{path}: the gallery cannot be written: there is another file, which is no gallery")
    try:
        encrypted = None if key is None else contents_to_bytes(contents, key)
        with private_files.replacing(path) as stream:
            if encrypted is None:
                write_contents(stream, contents)
            else:
                stream.write(encrypted)
        return _state(os.stat(path))
    except OSError as error:
        raise GalleryError(f"{path}: the gallery cannot be written: {error.strerror or error}") from error


def is_encrypted(path: Path) -> bool:
    """Whether there is an encrypted gallery. False for a file that cannot be read."""
    try:
        with path.open("rb") as stream:
            return encryption.is_encrypted(stream.read(len(encryption.MAGIC)))
    except OSError:
        return False


def needed_to_read(path: Path) -> Literal["nothing", "passphrase", "key"]:
    """What decrypts a file. Raises `GalleryError` without its name, also if it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(encryption.HEADER_BYTES)
    except OSError as error:
        raise GalleryError(f"the gallery cannot be read: {error.strerror or error}") from error
    if not encryption.is_encrypted(start):
        return "nothing"
    with encryption_errors():
        return "passphrase" if encryption.takes_passphrase(start) else "key"


@contextmanager
def encryption_errors() -> Iterator[None]:
    """Raises `GalleryError` in place of `EncryptionError`, each of its kinds in place of one."""
    try:
        yield
    except encryption.EncryptionError as error:
        raise ERRORS[type(error)](str(error)) from error


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


def contents_to_bytes(contents: Contents, key: FileKey | None = None) -> bytes:
    """The bytes of a file, encrypted if there is a key. Raises `GalleryError`."""
    plain = io.BytesIO()
    write_contents(plain, contents)
    if key is None:
        return plain.getvalue()
    with encryption_errors():
        return encryption.encrypt(plain.getvalue(), key)


def write_contents(stream: IO[bytes], contents: Contents) -> None:
    """Writes what a file holds, not encrypted, to an open one. Raises OSError."""
    model = {name: getattr(contents.model, name) for name in MODEL}
    about = json.dumps({"format": FORMAT, "model": model}, ensure_ascii=False, sort_keys=True)
    np.savez(
        stream,
        about=np.array(about),
        names=np.array(list(contents.people), dtype=np.str_),
        counts=np.array(list(contents.people.values()), np.int64),
        embeddings=contents.rows,
        records=np.frombuffer(gallery_records.records_to_bytes(contents.records), np.uint8),
        audit=np.frombuffer(gallery_records.audit_to_bytes(contents.audit), np.uint8),
    )


def read_contents(stream: IO[bytes]) -> Contents:
    """What an open file holds that is not encrypted. Raises `GalleryError` without the file's name, and OSError."""
    return _contents(_arrays(stream))


def _arrays(stream: IO[bytes]) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = read_npz(stream)
        if set(arrays) not in ENTRIES.values():
            raise NpzError(f"it holds {', '.join(sorted(arrays))[:100] or 'nothing'}")
    except NpzError as error:
        raise GalleryError(f"not a gallery: {error}; cascade gallery add writes one") from error
    return arrays


def _contents(arrays: dict[str, npt.NDArray[Any]]) -> Contents:
    model = _read_about(arrays["about"], set(arrays))
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
    if "audit" not in arrays:
        return Contents(model, people, rows, {}, [])
    records = gallery_records.records_from_bytes(_bytes(arrays, "records"), people)
    return Contents(model, people, rows, records, gallery_records.audit_from_bytes(_bytes(arrays, "audit")))


def _bytes(arrays: dict[str, npt.NDArray[Any]], entry: str) -> bytes:
    found = arrays[entry]
    if found.dtype != np.uint8 or found.ndim != 1:
        raise GalleryError(f"{entry}: expected uint8 (bytes,), got {found.dtype} {found.shape}")
    return found.tobytes()


def _texts(names: npt.NDArray[np.str_]) -> list[str]:
    try:
        found: list[str] = names.tolist()
    except ValueError as error:  # numbers that are no characters
        raise GalleryError(f"names: expected text: {error}") from error
    return found


def _read_about(about: npt.NDArray[Any], entries: set[str]) -> EmbeddingModel:
    try:
        stated = json.loads(str(about))
        version, model = stated["format"], stated["model"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"not a gallery: no valid description ({str(error)[:100]})") from error
    if not isinstance(version, str) or ENTRIES.get(version) != entries:
        raise GalleryError(
            f"a gallery of format {str(version)[:50]!r}, expected {FORMAT!r}, with all that belongs to it"
        )
    if not isinstance(model, dict) or set(model) != set(MODEL):
        raise GalleryError(f"model: expected name, sha256 and dimension, got {str(model)[:100]}")
    return EmbeddingModel(**model)
