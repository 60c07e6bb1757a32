"""A page for looking through what is hidden: each face of a photo and each track of a video, the doubtful ones first.

The page shows the faces that are hidden elsewhere. It is for whoever checks the result, is readable by its owner alone,
and should be deleted afterwards.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade import private_files
from cascade.anonymize.review import Decision
from cascade.imaging.pixels import RGBImage
from cascade.imaging.writing import encode_jpeg

__all__ = ["MOST_PICTURES", "Picture", "is_sheet", "picture_of", "write_sheet"]

MOST_PICTURES = 3000
"""Faces that a page shows; a larger one is slow to open. Those that are left out are counted."""

SIDE = 128  # pixels of a picture
AROUND = 0.6  # of the face's longer side, shown on each side of it
ORDER = {"doubtful": 0, "keep": 1, "hide": 2}
TITLES = {"doubtful": "Doubtful, hidden", "keep": "Visible", "hide": "Hidden"}

BEGINNING = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Faces to check</title>'

STYLE = """\
:root{color-scheme:light dark}body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem}
ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.75rem}li{width:128px;overflow-wrap:anywhere;font-size:12px}
img{width:128px;height:128px;display:block;border:3px solid #888}
.doubtful img{border-color:#d80}.keep img{border-color:#0a7}
"""


@dataclass(frozen=True)
class Picture:
    """A face of the page: a small picture as JPEG data, where it comes from and what becomes of it."""

    jpeg: bytes
    where: str
    score: float
    decision: Decision


def picture_of(image: RGBImage, box: npt.ArrayLike, where: str, score: float, decision: Decision) -> Picture:
    """The picture of a face with this box (4,) in an image (H, W, 3) uint8 RGB, with its surroundings."""
    x1, y1, x2, y2 = (float(side) for side in np.asarray(box, np.float64))
    half = (0.5 + AROUND) * max(x2 - x1, y2 - y1, 1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    corners = tuple(round(each) for each in (x - half, y - half, x + half, y + half))
    cut = _cut(image, corners)
    return Picture(encode_jpeg(cut, 80), where, score, decision)


def _cut(image: RGBImage, corners: tuple[int, ...]) -> RGBImage:
    """A square of the image in the page's size, black outside the image."""
    left, top = max(corners[0], 0), max(corners[1], 0)
    right, bottom = min(corners[2], image.shape[1]), min(corners[3], image.shape[0])
    side = max(corners[2] - corners[0], 1)
    square = Image.new("RGB", (SIDE, SIDE))
    if left < right and top < bottom:
        scale = SIDE / side
        size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
        place = round((left - corners[0]) * scale), round((top - corners[1]) * scale)
        square.paste(part.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), place)
    return np.asarray(square)


def is_sheet(path: str | Path) -> bool:
    """Whether a file begins as the pages do. False for what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING.encode()
    except OSError:
        return False


def write_sheet(path: str | Path, pictures: Iterable[Picture]) -> None:
    """Write the page as one HTML file without outside requests, for its owner alone. Raises OSError."""
    ordered = sorted(pictures, key=lambda each: (ORDER[each.decision.status], each.where))
    shown = ordered[:MOST_PICTURES]
    parts = [
        BEGINNING,
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
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
    about = escape(f"{picture.where}, score {picture.score:.2f}")
    reason = f"<br>{escape(picture.decision.reason)}" if picture.decision.reason else ""
    data = base64.b64encode(picture.jpeg).decode("ascii")
    return f'<li><img alt="Face of {about}" src="data:image/jpeg;base64,{data}">{about}{reason}</li>'
