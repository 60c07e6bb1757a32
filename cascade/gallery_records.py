"""What a gallery says of its people besides embeddings: consent notes, expiry dates, and the audit of its changes."""

from __future__ import annotations

import getpass
import json
import os
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from cascade.gallery_errors import GalleryError

__all__ = ["LONGEST_NOTE", "AuditLine", "PersonRecord"]

LONGEST_NOTE = 2000  # characters


@dataclass(frozen=True)
class PersonRecord:
    """What is noted of a person. Raises `GalleryError` for a note or a date that cannot be stored."""

    note: str = ""
    """For example what the person consented to, and where that is written. Up to 2,000 characters."""
    expires: date | None = None
    """The last day on which the person is matched, by the machine's own calendar; None for no end."""

    def __post_init__(self) -> None:
        if not isinstance(self.note, str):
            raise GalleryError(f"note: expected text, got {type(self.note).__name__}")
        if len(self.note) > LONGEST_NOTE:
            raise GalleryError(f"note: expected at most {LONGEST_NOTE:,} characters, got {len(self.note):,}")
        if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in self.note):
            raise GalleryError("note: expected no control characters but line ends and tabs")
        if self.expires is not None and type(self.expires) is not date:  # a datetime is a date too
            raise GalleryError(f"expires: expected a datetime.date or None, got {type(self.expires).__name__}")

    def expired(self, on: date | None = None) -> bool:
        """Whether the last day is before that day; None is today. Raises TypeError for anything but a date."""
        day = checked_day(on)
        return self.expires is not None and self.expires < day

    def to_dict(self) -> dict[str, str]:
        """What is noted, as it is written to JSON."""
        found = {"note": self.note} if self.note else {}
        return found if self.expires is None else {**found, "expires": self.expires.isoformat()}


@dataclass(frozen=True)
class AuditLine:
    """One change of a gallery."""

    when: str
    """UTC, as ISO 8601."""
    who: str
    """The account under which the program ran, as the operating system names it."""
    what: str
    """add, extend, remove, forget, purge, note, encrypt, rekey or decrypt."""
    person: str | None = None
    """None where it is about no person, or about one who was forgotten."""
    embeddings: int | None = None
    """How many were added or removed."""

    def to_dict(self) -> dict[str, Any]:
        """What is known, as it is written to JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def without_person(self) -> AuditLine:
        """The line without what tells of the person."""
        return AuditLine(self.when, self.who, self.what)


def checked_day(on: date | None) -> date:
    """The day, today for None. Raises TypeError for anything but a `datetime.date`."""
    if on is None:
        return date.today()
    if type(on) is not date:  # a datetime is a date too, and cannot be compared with one
        raise TypeError(f"on: expected a datetime.date or None, got {type(on).__name__}")
    return on


def new_line(what: str, person: str | None = None, embeddings: int | None = None) -> AuditLine:
    """A line of this moment and account."""
    return AuditLine(datetime.now(UTC).isoformat(timespec="seconds"), _account(), what, person, embeddings)


@cache
def _account() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run as a number without a name
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return name.encode("utf-8", "replace").decode()[:200]


def records_to_bytes(records: dict[str, PersonRecord]) -> bytes:
    """JSON of the people of whom something is noted, UTF-8."""
    found = {name: record.to_dict() for name, record in records.items()}
    return json.dumps(found, ensure_ascii=False, sort_keys=True).encode()


def records_from_bytes(data: bytes, people: Collection[str]) -> dict[str, PersonRecord]:
    """What `records_to_bytes` wrote of these people. Raises `GalleryError`."""
    stated = _parsed(data, "records")
    if not isinstance(stated, dict):
        raise GalleryError(f"records: expected one for each person, got {type(stated).__name__}")
    unknown = [name for name in stated if name not in people]
    if unknown:
        raise GalleryError(f"records: there is no {unknown[0][:100]!r} in the gallery")
    return {name: _record(fields) for name, fields in stated.items()}


def _record(fields: Any) -> PersonRecord:
    if not isinstance(fields, dict) or not set(fields) <= {"note", "expires"}:
        raise GalleryError(f"records: expected a note and a date, got {str(fields)[:100]}")
    expires = fields.get("expires")
    try:
        return PersonRecord(fields.get("note", ""), None if expires is None else date.fromisoformat(expires))
    except (TypeError, ValueError) as error:
        raise GalleryError(f"records: {error}") from error


def audit_to_bytes(audit: Iterable[AuditLine]) -> bytes:
    """JSON Lines, UTF-8."""
    return "".join(f"{json.dumps(line.to_dict(), ensure_ascii=False)}\n" for line in audit).encode()


def audit_from_bytes(data: bytes) -> list[AuditLine]:
    """What `audit_to_bytes` wrote. Raises `GalleryError`."""
    return [_line(_parsed(line, "audit")) for line in data.splitlines()]


def _line(fields: Any) -> AuditLine:
    try:
        line = AuditLine(**fields)
    except TypeError as error:
        raise GalleryError(f"audit: expected when, who and what, got {str(fields)[:100]}") from error
    texts = (line.when, line.who, line.what, "" if line.person is None else line.person)
    if not all(isinstance(text, str) for text in texts) or not isinstance(line.embeddings, int | None):
        raise GalleryError(f"audit: expected text and a number, got {str(fields)[:100]}")
    return line


def _parsed(data: bytes, entry: str) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise GalleryError(f"{entry}: expected JSON ({str(error)[:100]})") from error
