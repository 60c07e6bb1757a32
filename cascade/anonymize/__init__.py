"""Hiding faces in photos and videos: blurred, pixelated, covered by a colour or by a drawn face.

>>> from cascade.anonymize import anonymize
>>> hidden = anonymize("crew.jpg", method="pixelate")  # doctest: +SKIP

`anonymize` takes one image. The command ``cascade anonymize`` takes files and folders, leaves metadata behind, and
writes a review of what was hidden, which can be edited.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy.typing as npt

from cascade.anonymize.finding import FaceFinder
from cascade.anonymize.methods import hide
from cascade.anonymize.people import People
from cascade.anonymize.review import Review, ReviewError, read_review, write_review
from cascade.anonymize.settings import METHODS, SHAPES, Hiding
from cascade.anonymize.shapes import faces_of
from cascade.checks import instance
from cascade.faces import Faces
from cascade.imaging.reading import ImageInput, RGBImage, read_image

__all__ = [
    "METHODS",
    "SHAPES",
    "FaceFinder",
    "Hiding",
    "People",
    "Review",
    "ReviewError",
    "anonymize",
    "hide",
    "read_review",
    "write_review",
]


def anonymize(
    image: ImageInput,
    faces: Faces | npt.ArrayLike | None = None,
    settings: Hiding | None = None,
    *,
    finder: FaceFinder | None = None,
    color: Literal["rgb", "bgr"] = "rgb",
    **changes: Any,
) -> RGBImage:
    """A copy of an image with its faces hidden: (H, W, 3) uint8 RGB, upright, whatever came in.

    Parameters
    ----------
    image : whatever `cascade.read_image` takes. What is transparent becomes white.
    faces : `Faces`, or their boxes (N, 4) x1, y1, x2, y2, in pixels of the upright image. None: the ``finder`` finds
        them.
    settings : how they are hidden; None: the defaults of `Hiding`.
    finder : None: a `FaceFinder` with its default settings, which is created once.
    color : order of the channels of an array; the result is RGB.
    changes : settings of `Hiding` by name, such as ``method="solid"``, in place of those of ``settings``.

    No finder finds every face: look at the result before you publish it. Raises `cascade.ImageError` if the image
    cannot be used, and ValueError or TypeError naming a wrong setting or boxes that are none.
    """
    instance("settings", settings, Hiding)
    instance("finder", finder, FaceFinder)
    hiding = replace(settings or Hiding(), **changes)
    pixels = read_image(image, color=color, alpha="white")
    if faces is None:
        faces = (finder or _usual_finder()).find(pixels)
    return hide(pixels, faces if isinstance(faces, Faces) else faces_of(faces), hiding)


@lru_cache(maxsize=1)
def _usual_finder() -> FaceFinder:
    return FaceFinder()
