"""A page for looking through what is hidden: each face of a photo and each track of a video, the doubtful ones first.

The page shows the faces that are hidden elsewhere. It is for whoever checks the result, is readable by its owner alone,
and should be deleted afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy.typing as npt

from cascade import html_page, private_files
from cascade.anonymize.review import Decision
from cascade.imaging.pixels import RGBImage
from cascade.imaging.thumbnails import face_square
from cascade.imaging.writing import encode_jpeg

__all__ = ["MOST_PICTURES", "Picture", "is_sheet", "picture_of", "write_sheet"]

MOST_PICTURES = 3000
"""Faces that a page shows; a larger one is slow to open. Those that are left out are counted."""

ORDER = {"doubtful": 0, "keep": 1, "hide": 2}
TITLES = {"doubtful": "Doubtful, hidden", "keep": "Visible", "hide": "Hidden"}

TITLE = "Faces to check"
STYLE = ".doubtful img{border-color:#d80}.keep img{border-color:#0a7}\n"


@dataclass(frozen=True)
class Picture:
    """A face of the page: a small picture as JPEG data, where it comes from and what becomes of it."""

    jpeg: bytes
    where: str
    score: float
    decision: Decision


def picture_of(image: RGBImage, box: npt.ArrayLike, where: str, score: float, decision: Decision) -> Picture:
    """The picture of a face with this box (4,) in an image (H, W, 3) uint8 RGB, with its surroundings."""
    return Picture(encode_jpeg(face_square(image, box), 80), where, score, decision)


def is_sheet(path: str | Path) -> bool:
    """Whether a file begins as the pages do. False for what cannot be read."""
    return html_page.is_page(path, TITLE)


def write_sheet(path: str | Path, pictures: Iterable[Picture]) -> None:
    """Write the page as one HTML file without outside requests, for its owner alone. Raises OSError."""
    ordered = sorted(pictures, key=lambda each: (ORDER[each.decision.status], each.where))
    shown = ordered[:MOST_PICTURES]
    parts = [
        *html_page.head(TITLE, STYLE),
        "<h1>Faces to check</h1>",
        "<p>This page shows faces, also those that are hidden in the copies. Of a video it has one picture of each "
        "track: watch the copy as well. Delete the page when you have checked them.</p>",
    ]
    if len(ordered) > len(shown):
        parts.append(f"<p>{len(ordered) - len(shown):,} further faces are not shown.</p>")
    for status, title in TITLES.items():
        of_status = [each for each in shown if each.decision.status == status]
        parts.append(f"<h2>{title}: {sum(each.decision.status == status for each in ordered):,}</h2>")
        parts.append(f'<ul class="{status}">{"".join(map(_item, of_status))}</ul>')
    parts.append("</body></html>\n")
    with private_files.replacing(path, always_private=True) as stream:
        stream.write("\n".join(parts).encode("utf-8", "backslashreplace"))


def _item(picture: Picture) -> str:
    about = f"{picture.where}, score {picture.score:.2f}"
    reason = f"<br>{escape(picture.decision.reason)}" if picture.decision.reason else ""
    return f"<li>{html_page.picture(picture.jpeg, f'Face of {about}')}{escape(about)}{reason}</li>"
