"""Drawing the names of people beside their faces."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage

KNOWN, UNKNOWN = (70, 235, 140), (170, 170, 170)
"""Colours of the boxes of faces with a name and of others."""

Place = tuple[int, int, int, int]


def draw_names(image: RGBImage, faces: Faces, names: list[str | None]) -> RGBImage:
    """A copy of the image (H, W, 3) uint8 RGB with a box around every face, and its name or "unknown" below it."""
    canvas = image
    for color, named in ((UNKNOWN, False), (KNOWN, True)):
        chosen = faces[[at for at, name in enumerate(names) if (name is not None) == named]]
        canvas = chosen.draw(canvas, box_color=color, scores=False, landmarks=False)
    taken: list[Place] = []
    for number, (face, name) in enumerate(zip(faces, names, strict=True), start=1):
        text = "unknown" if name is None else in_ascii(name, number)
        _write(canvas, [float(side) for side in face.box], text, taken)
    return canvas


def in_ascii(name: str, number: int) -> str:
    """A name without accents, as OpenCV's font has only ASCII; the face's number if other letters remain."""
    parts = unicodedata.normalize("NFKD", name)
    letters = [character for character in parts if not unicodedata.combining(character)]
    plain = "".join(letters).encode("ascii", "ignore").decode()
    return plain if len(plain) == len(letters) else f"face {number}"


def _write(canvas: RGBImage, box: list[float], text: str, taken: list[Place]) -> None:
    """Writes a text below the box, above it or at its lower edge, where no other text is."""
    from cascade.imaging.drawing import Label, text_height

    height, width = canvas.shape[:2]
    label = Label(text, text_height(canvas, box[2] - box[0]))
    wide, high = label.width, label.height
    left = max(0, min(round((box[0] + box[2] - wide) / 2), width - wide))
    place = (left, round(box[3]) - high, left + wide, round(box[3]))
    for top in (round(box[3]) + 2, round(box[1]) - high - 2, round(box[3]) - high - 2):
        candidate = (left, top, left + wide, top + high)
        if top >= 0 and top + high <= height and not any(_meet(candidate, other) for other in taken):
            place = candidate
            break
    taken.append(place)
    label.draw(canvas, place[0], place[1])


def _meet(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
