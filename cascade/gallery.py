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
from copy import copy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade import encryption, gallery_file
from cascade.checks import FixedSettings, integer, number
from cascade.encryption import FileKey
from cascade.gallery_errors import GalleryAuthenticationError, GalleryDamagedError, GalleryError, GalleryKeyError
from cascade.gallery_file import (
    FORMAT,
    LONGEST_NAME,
    Contents,
    EmbeddingModel,
    FileState,
    FloatArray,
    HasEmbeddings,
    checked_name,
)
from cascade.gallery_people import PeopleEmbeddings
from cascade.gallery_records import AuditLine, PersonRecord, checked_day, new_line
from cascade.gallery_search import Match, unlike

__all__ = [
    "FORMAT",
    "LONGEST_NAME",
    "AuditLine",
    "EmbeddingModel",
    "Gallery",
    "GalleryAuthenticationError",
    "GalleryDamagedError",
    "GalleryError",
    "GalleryKeyError",
    "Match",
    "PersonRecord",
    "checked_name",
    "unlike",
]


class Gallery(FixedSettings):
    """People by name, each with one or more embeddings of one model.

    Parameters
    ----------
    model : the `cascade.recognize.Recognizer` whose embeddings it holds, or an `EmbeddingModel`. It stays fixed.

    ``len(gallery)`` counts the people; ``name in gallery`` tells whether one is there. A name is any text of up to 200
    characters without control characters and without blanks around it. Names are stored in Unicode's NFC, so accented
    letters are the same however they are encoded. Several threads can search at once, but not while another changes
    the gallery. A gallery can be copied and pickled; what is pickled is not encrypted, and holds the key of the file.

    People whose `PersonRecord` has expired stay in the gallery until `purge`, but are never matched. Each change adds
    a line to the `audit`, which is in the file.
    """

    def __init__(self, model: HasEmbeddings | EmbeddingModel) -> None:
        self.model = EmbeddingModel.of(model)
        self._people = PeopleEmbeddings(self.model.dimension)
        self._records: dict[str, PersonRecord] = {}  # of those of whom something is noted
        self._audit: list[AuditLine] = []
        self._key: FileKey | None = None
        self._files: dict[str, FileState] = {}  # that were loaded or saved, as they were then
        self._fix_settings()

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in self._people

    def __setstate__(self, state: dict[str, Any]) -> None:
        # what only this gallery may change, and not the one it is a copy of
        own = {name: copy(state[name]) for name in ("_people", "_records", "_audit", "_files")}
        self.__dict__.update(state, **own)

    def __repr__(self) -> str:
        return f"<Gallery: {len(self)} people, {sum(self.counts.values())} embeddings of {self.model.name}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The people, in the order in which they were added."""
        return tuple(self._people)

    @property
    def counts(self) -> dict[str, int]:
        """How many embeddings each person has."""
        return self._people.counts

    @property
    def encrypted(self) -> bool:
        """Whether it is encrypted when it is saved."""
        return self._key is not None

    @property
    def audit(self) -> tuple[AuditLine, ...]:
        """What was changed, oldest first, since the gallery was created or its file got the present format."""
        return tuple(self._audit)

    def embeddings(self, name: str) -> FloatArray:
        """A copy of a person's embeddings, (n, D) float32. Raises `GalleryError` if there is no such person."""
        return self._people[self._known(name)].copy()

    def record(self, name: str) -> PersonRecord:
        """What is noted of a person. Raises `GalleryError` if there is no such person."""
        return self._records.get(self._known(name), PersonRecord())

    def set_record(self, name: str, record: PersonRecord) -> None:
        """Replaces what is noted of a person. Raises `GalleryError` if there is no such person."""
        name = self._known(name)
        if not isinstance(record, PersonRecord):
            raise TypeError(f"record: expected a PersonRecord, got {type(record).__name__}")
        self._note(name, record)
        self._log("note", name)

    def add(
        self,
        name: str,
        embeddings: npt.ArrayLike,
        *,
        extend: bool = False,
        note: str | None = None,
        expires: date | None = None,
    ) -> None:
        """Adds a person with embeddings (n, D) or one (D,), rows of length 1, n ≥ 1.

        A name that is there already is an error, since it may be another person's. With ``extend`` the embeddings are
        added to that person, or a new person is added if the name is new. To replace a person, remove the old one
        first. ``note`` and ``expires`` are those of a `PersonRecord`; where they are None, a person who is extended
        keeps what is noted. Raises `GalleryError`, and the gallery stays as it was.
        """
        name = checked_name(name)
        rows = self.model.checked_rows(embeddings)
        if not len(rows):
            raise GalleryError(f"embeddings: expected at least one for {name!r}, got none")
        known = name in self._people
        if known and not extend:
            raise GalleryError(f"name: {name!r} is in the gallery already; extend=True adds to the same person")
        earlier = self._records.get(name, PersonRecord())
        record = PersonRecord(earlier.note if note is None else note, earlier.expires if expires is None else expires)
        self._people.add(name, rows)
        self._note(name, record)
        self._log("extend" if known else "add", name, len(rows))

    def remove(self, name: str) -> None:
        """Removes a person. The audit still has the name; `forget` takes it out of there too.

        Raises `GalleryError` if there is none of that name.
        """
        name = self._known(name)
        self._log("remove", name, self._drop(name))

    def forget(self, name: str, *more: str) -> None:
        """Removes one or more people with all that tells of them: embeddings, record, and the name in the audit.

        The lines of the audit stay, with time, account and kind of the change alone, and so does one for each person.
        Also for people who were removed before. Raises `GalleryError` where nothing tells of such a person.
        """
        names = dict.fromkeys(checked_name(each) for each in (name, *more))
        gone = [each for each in names if each not in self._people]
        noted = {line.person for line in self._audit} if gone else set()
        for each in gone:
            if each not in noted:
                raise GalleryError(f"name: there is no {each!r} in the gallery, nor in its audit")
        self._forget(set(names), "forget")

    def expired(self, on: date | None = None) -> tuple[str, ...]:
        """The people whose last day is before that day; None is today. Raises TypeError for anything but a date."""
        day = checked_day(on)
        gone = {name for name, record in self._records.items() if record.expired(day)}
        return tuple(name for name in self._people if name in gone) if gone else ()

    def purge(self, on: date | None = None) -> tuple[str, ...]:
        """Forgets the `expired` people, and returns their names. Raises as `expired`."""
        names = self.expired(on)
        self._forget(set(names), "purge")
        return names

    def export(self, name: str) -> dict[str, Any]:
        """All that is stored about one person, for JSON. Raises `GalleryError` if there is no such person."""
        name = self._known(name)
        record = self.record(name)
        return {
            "name": name,
            "note": record.note,
            "expires": None if record.expires is None else record.expires.isoformat(),
            "model": {field: getattr(self.model, field) for field in gallery_file.MODEL},
            "embeddings": self._people[name].tolist(),
            "audit": [line.to_dict() for line in self._audit if line.person == name],
        }

    def encrypt(self, *, passphrase: str | None = None, key: bytes | None = None) -> None:
        """Has the gallery encrypted when it is saved, with a passphrase or a key of 32 random bytes.

        Of a gallery that is encrypted already, this is the new passphrase or key. A passphrase takes some 0.25 s
        of a core. Raises `GalleryError` for a short passphrase or a key of another length, and ImportError without
        the package `cryptography`.
        """
        with gallery_file.encryption_errors():
            new = FileKey.new(passphrase=passphrase, key=key)
        self._log("encrypt" if self._key is None else "rekey")
        self._key = new

    def decrypt(self) -> None:
        """Has the gallery no longer encrypted when it is saved."""
        if self._key is not None:
            self._key = None
            self._log("decrypt")

    def identify(
        self,
        embeddings: npt.ArrayLike,
        top: int = 5,
        threshold: float | None = None,
        *,
        once: bool = False,
        pooled: bool = False,
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

        ``pooled``: a person is as similar as the mean direction of their embeddings, not as the most similar of them.
        With several photos of each person that finds more at as few false matches.

        People who have `expired` are not listed.

        Raises `GalleryError` for embeddings of another model, ValueError or TypeError for wrong settings.
        """
        count = integer("top", top, 1)
        limit = -np.inf if threshold is None else number("threshold", threshold, -1.0, 1.0)
        probes = self.model.checked_rows(embeddings)
        return self._people.search(probes, count, limit, set(self.expired()), once=once, pooled=pooled)

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
        as it was then: otherwise somebody else has changed it, perhaps removed a person. See `changing`. An encrypted
        file is replaced by an encrypted one alone, unless this gallery was loaded from it and then decrypted.

        Raises `GalleryError` if it cannot be written or has been changed; an earlier file then stays as it was.
        """
        path = Path(path)
        with gallery_file.locked(path):
            known = self.state_of(path)
            if known is not None and gallery_file.file_state(path) != known:
                raise GalleryError(
                    f"{path}: somebody else has changed the gallery since it was loaded; load it again, "
                    "or change it within Gallery.changing, which nobody can interrupt"
                )
            self._write(path)

    def state_of(self, path: str | Path) -> FileState | None:
        """The state of a file when it was loaded into this gallery or last saved from it, None if it never was."""
        return self._files.get(os.path.realpath(path))

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: HasEmbeddings | EmbeddingModel | None = None,
        *,
        passphrase: str | None = None,
        key: bytes | None = None,
    ) -> Gallery:
        """Reads a gallery that `save` wrote, and checks all of it. Nothing is unpickled.

        ``model``: the Recognizer to use it with. ``passphrase`` or ``key``, 32 bytes: that of an encrypted gallery.

        Raises `GalleryError` naming the file and the reason, also if the embeddings come from another model; of an
        encrypted gallery `GalleryDamagedError`, `GalleryKeyError` and `GalleryAuthenticationError`, which are kinds of
        it, and ImportError without the package `cryptography`.
        """
        path = Path(path)
        try:
            contents, state, derived = gallery_file.read_gallery(path, passphrase, key)
            gallery = cls._from_contents(contents)
            if model is not None:
                gallery.check_model(model)
        except GalleryError as error:
            raise type(error)(f"{path}: {error}") from error
        gallery._key = derived
        gallery._files[os.path.realpath(path)] = state
        return gallery

    @classmethod
    @contextmanager
    def changing(
        cls,
        path: str | Path,
        model: HasEmbeddings | EmbeddingModel | None = None,
        *,
        create: bool = False,
        passphrase: str | None = None,
        key: bytes | None = None,
    ) -> Iterator[Gallery]:
        """Loads a gallery for a ``with`` block and saves it at its end, while nobody else can change the file.

        >>> embeddings = recognizer.embed("portrait.jpg")  # doctest: +SKIP
        >>> with Gallery.changing("crew.gallery", recognizer) as gallery:  # doctest: +SKIP
        ...     gallery.add("Eileen Collins", embeddings)

        Others wait meanwhile, so embed the photos before. With ``create`` a file that does not exist is created, for
        which the ``model`` is needed; with a ``passphrase`` or ``key`` it is encrypted. If the block raises, the file
        stays as it was. Raises as `load` and `save` do, and if others keep the file locked for a minute.
        """
        path = Path(path)
        if create and model is None:
            raise TypeError("model: expected a Recognizer or EmbeddingModel, of which to create a gallery")
        with gallery_file.locked(path):
            if create and model is not None and not os.path.exists(path):
                gallery = cls(model)
                if passphrase is not None or key is not None:
                    gallery.encrypt(passphrase=passphrase, key=key)
            else:
                gallery = cls.load(path, model, passphrase=passphrase, key=key)
            yield gallery
            gallery._write(path)

    def to_bytes(self) -> bytes:
        """What `save` writes to a file, encrypted if the gallery is: for a program that stores nothing itself."""
        return gallery_file.contents_to_bytes(self._contents(), self._key)

    @classmethod
    def from_bytes(cls, data: bytes, model: HasEmbeddings | EmbeddingModel | None = None) -> Gallery:
        """The gallery in the bytes of a file that is not encrypted, checked as by `load`.

        Raises `GalleryError` with the reason, `GalleryKeyError` for a file that is encrypted.
        """
        if encryption.is_encrypted(data):
            raise GalleryKeyError("the gallery is encrypted, expected one that is not")
        gallery = cls._from_contents(gallery_file.read_contents(io.BytesIO(data)))
        if model is not None:
            gallery.check_model(model)
        return gallery

    def _contents(self) -> Contents:
        return Contents(self.model, self.counts, self._people.stack()[0], self._records, self._audit)

    def _write(self, path: Path) -> None:
        place = os.path.realpath(path)
        if self._key is None and place not in self._files and gallery_file.is_encrypted(path):
            raise GalleryKeyError(f"{path}: there is an encrypted gallery, which one that is not does not replace")
        self._files[place] = gallery_file.write_gallery(path, self._contents(), self._key)

    @classmethod
    def _from_contents(cls, contents: Contents) -> Gallery:
        gallery = cls(contents.model)
        gallery._people = PeopleEmbeddings.from_stack(gallery.model.checked_rows(contents.rows), contents.people)
        gallery._records, gallery._audit = contents.records, contents.audit
        return gallery

    def _known(self, name: str) -> str:
        if name not in self:
            raise GalleryError(f"name: there is no {name!r} in the gallery")
        return unicodedata.normalize("NFC", name)

    def _log(self, what: str, person: str | None = None, embeddings: int | None = None) -> None:
        self._audit.append(new_line(what, person, embeddings))

    def _note(self, name: str, record: PersonRecord) -> None:
        if record == PersonRecord():
            self._records.pop(name, None)
        else:
            self._records[name] = record

    def _drop(self, name: str) -> int:
        """Removes a person, and returns how many embeddings there were."""
        self._records.pop(name, None)
        return self._people.drop(name)

    def _forget(self, names: set[str], what: str) -> None:
        for name in names:
            self._drop(name)
        self._audit = [line.without_person() if line.person in names else line for line in self._audit]
        for _ in names:
            self._log(what)
