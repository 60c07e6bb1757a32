"""What `cascade duplicates` writes: sets of photos as CSV, JSON or a page of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from cascade import html_page
from cascade.archive.duplicates import FACE_PICTURE, IDENTICAL, NEAR, Duplicate, sets_of
from cascade.archive.locations import read_photo
from cascade.csv_text import csv_line, text_cell
from cascade.imaging.errors import ImageError
from cascade.imaging.thumbnails import SIDE
from cascade.imaging.writing import encode_jpeg

__all__ = ["COLUMNS", "TITLE", "PhotoFile", "as_csv", "as_html", "as_json", "duplicate_sets"]

COLUMNS = ("set", "kind", "likeness", "width", "height", "bytes", "path")
KINDS = (IDENTICAL, NEAR, FACE_PICTURE)
"""From what says most of two photos to what says least."""

TITLE = "Photos that are the same"
MOST_SETS = 300
"""Sets that a page shows; a larger page is slow to open."""


@dataclass(frozen=True)
class PhotoFile:
    """A photo as far as the report tells of it."""

    path: str
    width: int
    height: int
    size: int
    """Bytes of the file."""
    sha256: bytes | None = None


@dataclass(frozen=True)
class Member:
    """A photo of a set, and what joins it most to another of the set."""

    photo: int
    kind: str
    likeness: float


def duplicate_sets(photos: Sequence[PhotoFile], pairs: Sequence[Duplicate]) -> list[list[Member]]:
    """The sets of photos, in each the one of most pixels and bytes first."""
    best: dict[int, Duplicate] = {}
    for pair in sorted(pairs, key=lambda each: (-KINDS.index(each.kind), each.likeness)):
        best[pair.a] = best[pair.b] = pair
    found = []
    for photos_of_set in sets_of(pairs):
        order = sorted(photos_of_set, key=lambda at: (-photos[at].width * photos[at].height, -photos[at].size, at))
        found.append([Member(at, best[at].kind, best[at].likeness) for at in order])
    return found


def as_csv(photos: Sequence[PhotoFile], sets: Sequence[Sequence[Member]]) -> str:
    """A table with a row for each photo of a set, see `COLUMNS`."""
    lines = [csv_line(COLUMNS)]
    for number, members in enumerate(sets, start=1):
        for each in members:
            photo = photos[each.photo]
            size = (photo.width, photo.height, photo.size)
            lines.append(csv_line([number, each.kind, f"{each.likeness:.4f}", *size, text_cell(photo.path)]))
    return "".join(lines)


def as_json(photos: Sequence[PhotoFile], sets: Sequence[Sequence[Member]]) -> str:
    """A list of sets, each a list of photos."""
    told: list[list[dict[str, Any]]] = [
        [
            {
                "path": photos[each.photo].path,
                "kind": each.kind,
                "likeness": each.likeness,
                "width": photos[each.photo].width,
                "height": photos[each.photo].height,
                "bytes": photos[each.photo].size,
            }
            for each in members
        ]
        for members in sets
    ]
    return json.dumps(told, indent=1) + "\n"


def as_html(photos: Sequence[PhotoFile], sets: Sequence[Sequence[Member]]) -> str:
    """A page with the sets as pictures. A photo that cannot be read any more has none."""
    lines = [*html_page.head(TITLE), f"<h1>{TITLE}</h1>"]
    lines.append(f"<p>{len(sets):,} sets. In each, the photo of most pixels comes first. Nothing was deleted.</p>")
    if len(sets) > MOST_SETS:
        lines.append(f"<p>{len(sets) - MOST_SETS:,} further sets are not shown.</p>")
    for number, members in enumerate(sets[:MOST_SETS], start=1):
        items = "".join(_item(photos[each.photo], each) for each in members)
        lines.append(f"<h2>{number}</h2>\n<ul>{items}</ul>")
    return "\n".join([*lines, "</body></html>\n"])


def _item(photo: PhotoFile, each: Member) -> str:
    about = f"{photo.path}, {photo.width}×{photo.height}, {photo.size:,} bytes"
    try:
        image = Image.fromarray(read_photo(photo.path))
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        square = Image.new("RGB", (SIDE, SIDE))
        square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        picture = html_page.picture(encode_jpeg(np.asarray(square), 80), photo.path)
    except ImageError:
        picture = ""
    return f"<li>{picture}{escape(about)}<br>{escape(each.kind)}, {each.likeness:.3f}</li>"
