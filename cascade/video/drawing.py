"""Drawing people and their numbers on frames."""

from __future__ import annotations

import colorsys

import numpy as np

from cascade.imaging.drawing import Label, text_height
from cascade.imaging.pixels import RGBImage
from cascade.video.analysis import SeenFrame

__all__ = ["draw_tracks", "track_color"]

GOLDEN = 0.618034  # hues that are this far apart differ, however many there are


def draw_tracks(seen: SeenFrame) -> RGBImage:
    """A copy of the frame (H, W, 3) uint8 RGB: around each face a box in the colour of its person, and below it words.

    The words are the person's number, the name if known, and the attributes.
    """
    canvas = seen.image.copy()
    for at, face in enumerate(seen.faces):
        color = track_color(int(face.data["track"]))
        canvas = seen.faces[[at]].draw(canvas, box_color=color, scores=False, landmarks=False)
        label = Label(_words(face.data), text_height(canvas, face.width))
        left = int(np.clip(face.box[0], 0, max(0, canvas.shape[1] - label.width)))
        top = round(float(face.box[3])) + 2
        if top + label.height > canvas.shape[0]:
            top = max(0, round(float(face.box[1])) - label.height - 2)
        label.draw(canvas, left, top)
    return canvas


def track_color(number: int) -> tuple[int, int, int]:
    """The red, green and blue of a person's boxes."""
    red, green, blue = colorsys.hsv_to_rgb((0.35 + number * GOLDEN) % 1.0, 0.7, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _words(data: object) -> str:
    """The number of a person, the name and what is known of the looks, in one line."""
    assert hasattr(data, "items")
    words = [f"#{int(data['track'])}"]  # type: ignore[index]
    for name, value in data.items():
        if name == "track":
            continue
        if isinstance(value, (float, np.floating)):
            words += [] if np.isnan(value) else [f"{value:.0f}"]
        elif str(value) not in ("", "no"):
            words.append(name if str(value) == "yes" else str(value))
    return " ".join(words)
