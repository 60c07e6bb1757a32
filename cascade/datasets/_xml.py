"""XML from elsewhere, read without document types: entities that grow or read other files cannot be declared."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from .photo import DatasetError

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for, escaped or not."""

_QUOTED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def check_xml(data: bytes, shown: str) -> None:
    """Raise DatasetError for what is no XML, and for XML with a document type, which no annotation has."""

    def refuse(*_: object) -> None:
        raise DatasetError(f"{shown}: has a document type (<!DOCTYPE), which is not read: it could name other files")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DatasetError(f"{shown}:{error.lineno}: not XML: {expat.ErrorString(error.code)}") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{shown}: not XML: {error}") from None


def read_xml(file: Path) -> ElementTree.Element:
    """Return the root of an XML file. Raises DatasetError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    check_xml(data, str(file))
    return ElementTree.fromstring(data)


def xml_text(text: str) -> str:
    """Text for an element or for an attribute in double quotes; characters that XML cannot have become U+FFFD."""
    return re.sub('[&<>"\t\n\r]', lambda found: _QUOTED[found[0]], _ILLEGAL.sub("\ufffd", text))


def number(values: dict[str, str], name: str) -> float:
    """A number among an element's values. Raises ValueError that names it."""
    try:
        return float(values[name])
    except KeyError:
        raise ValueError(f"{name} is missing") from None
    except ValueError:
        raise ValueError(f"{name}: expected a number, got {values[name]!r}") from None


def size_in(width: str | None, height: str | None) -> tuple[int, int] | None:
    """Width and height out of texts, or None where they are no whole numbers from 1 on."""
    sides = [int(text) if text and text.strip().isdecimal() else 0 for text in (width, height)]
    return (sides[0], sides[1]) if min(sides) else None
