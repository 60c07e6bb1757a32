"""A gallery: people with embeddings of their faces, in one file, and the search for who a face may be.

>>> from cascade import Gallery, Recognizer
>>> recognizer = Recognizer()  # doctest: +SKIP
>>> gallery = Gallery(recognizer)  # doctest: +SKIP
>>> gallery.add("Eileen Collins", recognizer.embed("portrait.jpg"))  # doctest: +SKIP
>>> gallery.identify(recognizer.embed("crew.jpg"), threshold=0.4)  # doctest: +SKIP
"""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cascade import gallery_file
from cascade.checks import FixedSettings, integer, number
from cascade.gallery_file import (
    FORMAT,
    LONGEST_NAME,
    Contents,
    EmbeddingModel,
    FileState,
    FloatArray,
    GalleryError,
    HasEmbeddings,
    checked_name,
)

__all__ = ["FORMAT", "LONGEST_NAME", "EmbeddingModel", "Gallery", "GalleryError", "Match", "checked_name", "unlike"]

LENGTH_TOLERANCE = 1e-3
"""How far the length of an embedding can be from 1: enough for half precision, too little for a wrong vector."""

DIGITS = 6
"""Decimals of a similarity. BLAS gives equal rows different last bits in different places; rounding removes them."""

UNLIKE_SHARE = 0.6
"""The share of the threshold below which a face is unlike a person's others."""

BLOCK_SIMILARITIES = 1 << 24
"""Similarities computed at once, which bounds the memory of a search."""


class Match(NamedTuple):
    """A person of the gallery that a face may be."""

    name: str
    similarity: float
    """Cosine between the face and the person's most similar embedding, −1 to 1."""


class Gallery(FixedSettings):
    """People by name, each with one or more embeddings of one model.

    Parameters
    ----------
    model : the `cascade.recognize.Recognizer` whose embeddings it holds, or an `EmbeddingModel`. It stays fixed.

    ``len(gallery)`` counts the people; ``name in gallery`` tells whether one is there. A name is any text of up to 200
    characters without control characters and without blanks around it. Names are stored in Unicode's NFC, so accented
    letters are the same however they are encoded. Several threads can search at once, but not while another changes
    the gallery. A gallery can be copied and pickled.
    """

    def __init__(self, model: HasEmbeddings | EmbeddingModel) -> None:
        self.model = EmbeddingModel.of(model)
        self._people: dict[str, FloatArray] = {}
        self._stacked: tuple[FloatArray, npt.NDArray[np.intp]] | None = None
        self._files: dict[str, FileState] = {}  # that were loaded or saved, as they were then
        self._fix_settings()

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in self._people

    def __getstate__(self) -> dict[str, Any]:
        # arrays of their own, not one array as large as the gallery behind each
        return {
            **self.__dict__,
            "_people": {name: rows.copy() for name, rows in self._people.items()},
            "_stacked": None,
        }

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

    def identify(
        self, embeddings: npt.ArrayLike, top: int = 5, threshold: float | None = None, *, once: bool = False
    ) -> list[list[Match]]:
        """Who each face may be: the ``top`` most similar people, best first, none below the ``threshold``.

        ``embeddings``: probes (N, D), rows of length 1, or a single one (D,), which counts as N = 1. The result has a
        list for each. A person is as similar as the most similar of their embeddings; equally similar people come in
        the order in which they were added. An empty list means that nobody reaches the threshold. Without a threshold
        the most similar people are listed, however unlike. False matches grow with the number of people: while they are
        rare, they are about that many times as likely as the false accept rate, which is stated for one pair.

        ``once``: the probes are the faces of one photo, in which nobody is twice. The most similar pair of a face and a
        person belongs together, then the most similar of the others, and so on; a person who belongs to one face is
        listed for no other. Leave it out for collages, mirrors and pictures within the picture.

        Raises `GalleryError` for embeddings of another model, ValueError or TypeError for wrong settings.
        """
        count = integer("top", top, 1)
        limit = -np.inf if threshold is None else number("threshold", threshold, -1.0, 1.0)
        probes = self._checked_rows(embeddings)
        if not self._people:
            return [[] for _ in probes]
        if once:
            return [self._best(of_one, count, limit) for of_one in _each_person_once(self._similarities(probes), limit)]
        step = max(1, BLOCK_SIMILARITIES // len(self._stack()[0]))
        found: list[list[Match]] = []
        for first in range(0, len(probes), step):
            found += [self._best(of_one, count, limit) for of_one in self._similarities(probes[first : first + step])]
        return found

    def check_model(self, model: HasEmbeddings | EmbeddingModel) -> None:
        """Raises `GalleryError` if embeddings of this Recognizer cannot be compared with those in the gallery."""
        other = EmbeddingModel.of(model)
        if self.model.sha256 not in (other.sha256, *other.earlier) or other.dimension != self.model.dimension:
            raise GalleryError(
                f"model: the gallery's embeddings come from {self.model.name[:40]} ({self.model.sha256}), "
                f"not from {other.name[:40]} ({other.sha256}): they are not comparable; embed the photos again"
            )

    def save(self, path: str | Path) -> None:
        """Writes the gallery to one file, which replaces an earlier one only once it is complete.

        A new file can be read by its owner alone. A file that was loaded into this gallery, or saved from it, must be
        as it was then: otherwise somebody else has changed it, perhaps removed a person. See `changing`.

        Raises `GalleryError` if it cannot be written or has been changed; an earlier file then stays as it was.
        """
        path = Path(path)
        with gallery_file.locked(path):
            known = self._files.get(os.path.realpath(path))
            if known is not None and gallery_file.file_state(path) != known:
                raise GalleryError(
                    f"{path}: somebody else has changed the gallery since it was loaded; load it again, "
                    "or change it within Gallery.changing, which nobody can interrupt"
                )
            self._write(path)

    @classmethod
    def load(cls, path: str | Path, model: HasEmbeddings | EmbeddingModel | None = None) -> Gallery:
        """Reads a gallery that `save` wrote, and checks all of it. Nothing is unpickled.

        ``model``: the Recognizer to use it with. Raises `GalleryError` naming the file and the reason, also if the
        embeddings come from another model.
        """
        path = Path(path)
        try:
            contents, state = gallery_file.read_gallery(path)
            gallery = cls._from_contents(contents)
            if model is not None:
                gallery.check_model(model)
        except GalleryError as error:
            raise GalleryError(f"{path}: {error}") from error
        gallery._files[os.path.realpath(path)] = state
        return gallery

    @classmethod
    @contextmanager
    def changing(
        cls, path: str | Path, model: HasEmbeddings | EmbeddingModel | None = None, *, create: bool = False
    ) -> Iterator[Gallery]:
        """Loads a gallery for a ``with`` block and saves it at its end, while nobody else can change the file.

        >>> embeddings = recognizer.embed("portrait.jpg")  # doctest: +SKIP
        >>> with Gallery.changing("crew.gallery", recognizer) as gallery:  # doctest: +SKIP
        ...     gallery.add("Eileen Collins", embeddings)

        Others wait meanwhile, so embed the photos before. With ``create`` a file that does not exist is created, for
        which the ``model`` is needed. If the block raises, the file stays as it was. Raises `GalleryError` as `load`
        and `save` do, and if others keep the file locked for a minute.
        """
        path = Path(path)
        if create and model is None:
            raise TypeError("model: expected a Recognizer or EmbeddingModel, of which to create a gallery")
        with gallery_file.locked(path):
            new = create and model is not None and not os.path.exists(path)
            gallery = cls(model) if new and model is not None else cls.load(path, model)
            yield gallery
            gallery._write(path)

    def to_bytes(self) -> bytes:
        """What `save` writes to a file, for a program that hands it on and stores nothing itself."""
        stream = io.BytesIO()
        gallery_file.write_contents(stream, self._contents())
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, model: HasEmbeddings | EmbeddingModel | None = None) -> Gallery:
        """The gallery in the bytes of a file, checked as by `load`. Raises `GalleryError` with the reason."""
        gallery = cls._from_contents(gallery_file.read_contents(io.BytesIO(data)))
        if model is not None:
            gallery.check_model(model)
        return gallery

    def _contents(self) -> Contents:
        return Contents(self.model, self.counts, self._stack()[0])

    def _write(self, path: Path) -> None:
        state = gallery_file.write_gallery(path, self._contents())
        self._files[os.path.realpath(path)] = state

    @classmethod
    def _from_contents(cls, contents: Contents) -> Gallery:
        gallery = cls(contents.model)
        rows = gallery._checked_rows(contents.rows)
        ends = np.cumsum(list(contents.people.values()), dtype=np.intp)
        starts = np.concatenate([np.zeros(1, np.intp), ends])[:-1]
        for name, start, end in zip(contents.people, starts.tolist(), ends.tolist(), strict=True):
            gallery._people[name] = rows[start:end]
        gallery._stacked = rows, starts
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

    def _similarities(self, probes: FloatArray) -> FloatArray:
        """The similarity (probes, people) of each person's most similar embedding."""
        rows, starts = self._stack()
        found: FloatArray = np.maximum.reduceat(probes @ rows.T, starts, axis=1)
        return found

    def _best(self, similarities: FloatArray, count: int, limit: float) -> list[Match]:
        """The most similar people, from similarities (people,)."""
        similarities = np.round(similarities, DIGITS)
        likely = np.flatnonzero(similarities >= max(limit, -1.5))
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


def _each_person_once(similarities: FloatArray, limit: float) -> FloatArray:
    """The similarities (faces, people), −2 where the face or the person belongs to another one."""
    left = np.round(similarities, DIGITS)
    found = left.copy()
    for _ in range(min(left.shape)):
        face, person = np.unravel_index(int(np.argmax(left)), left.shape)
        if left[face, person] < max(limit, -1):
            break
        found[np.arange(len(found)) != face, person] = -2
        left[face], left[:, person] = -2, -2
    return found


def unlike(embeddings: npt.ArrayLike, threshold: float) -> npt.NDArray[np.bool_]:
    """Which embeddings (n, D) are not of the person whom most of them show: (n,) bool.

    That person's are those that reach the ``threshold``, which is a Recognizer's, with the embedding that most others
    do. The others are compared with the mean of these, and may be a good deal less similar: 97 of 100 pairs of photos
    of one person reach that, but 2 of 100 pairs of different people do too.
    """
    rows = np.asarray(embeddings, np.float32)
    if len(rows) < 2:
        return np.zeros(len(rows), bool)
    similar = rows @ rows.T
    centre = rows[similar[int(np.argmax((similar >= threshold).sum(axis=1)))] >= threshold].sum(axis=0)
    found: npt.NDArray[np.bool_] = rows @ (centre / np.linalg.norm(centre)) < UNLIKE_SHARE * threshold
    return found
