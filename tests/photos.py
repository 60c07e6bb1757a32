"""The portrait that comes with the package, and where its face was found by eye.

NASA's official portrait of Eileen Collins, 512×512 pixels, in the public domain.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

import cascade.faces
import cascade.imaging.reading
from cascade.faces import Faces

PORTRAIT = Path(cascade.faces.__file__).parent / "data" / "astronaut.jpg"

FACE_BOX = (182.0, 74.0, 270.0, 178.0)
"""x1, y1, x2, y2 of the face, forehead to chin."""

FACE_LANDMARKS = ((204.2, 101.2), (246.3, 103.3), (226.3, 126.7), (204.7, 140.8), (243.3, 142.0))
"""Left eye, right eye, nose, left and right mouth corner, as seen in the picture."""


@cache
def portrait() -> np.ndarray:
    """Return the portrait as (512, 512, 3) uint8 RGB. It is shared and read-only: copy it to change it."""
    image = cascade.imaging.reading.read_image(PORTRAIT)
    image.flags.writeable = False
    return image


@cache
def portrait_png() -> bytes:
    """Return the portrait as a PNG file: packing it takes longer than reading it, so that happens once."""
    file = io.BytesIO()
    Image.fromarray(portrait()).save(file, "PNG")
    return file.getvalue()


def portrait_faces() -> Faces:
    """Return the portrait's one face."""
    return Faces([FACE_BOX], [0.998], [FACE_LANDMARKS])
