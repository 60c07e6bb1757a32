"""Prints of photos, by which near-identical ones are found: a gradient hash, and a small gray picture.

The hash is a difference hash that keeps how much brighter each of 8×8 places is than the one to its left and above,
where the usual one keeps a bit. Scaling, JPEG, brightness and small crops change it little. It finds candidates; the
small pictures decide, see `likeness`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cascade.imaging.pixels import RGBImage

__all__ = ["PhotoPrint", "likeness", "photo_print"]

SIDE = 8  # places of the hash on each side
SMALL = 64  # pixels of the small picture on each side
COMPARED = 32  # of it after cropping

FLAT = 3.0
"""Standard deviation of the brightness, of 255, below which a photo has nothing to compare."""

MOST_CROP, STEP = 0.12, 0.02
"""How much may be cut off at each side, over the width or height, and the step in which that is tried."""

MOST_STRETCH = 1.35
"""Ratio of aspect ratios beyond which two photos are different: both sides cropped by `MOST_CROP`, and rounding."""

Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PhotoPrint:
    """What is kept of a photo: 4 kB."""

    hash: npt.NDArray[np.float16]
    """(112,) of length 1; zeros where the photo is flat."""
    small: Gray
    """(64, 64) the photo in gray, stretched to a square."""
    aspect: float
    """Width over height."""

    @property
    def flat(self) -> bool:
        """Whether there is nothing to compare, as in a photo of one colour."""
        return bool(self.small.std() < FLAT)


def photo_print(image: RGBImage) -> PhotoPrint:
    """The print of an image (H, W, 3) uint8 RGB, upright as `read_image` returns it."""
    gray = Image.fromarray(image).convert("L")
    small = np.asarray(gray.resize((SMALL, SMALL), Image.Resampling.BOX, reducing_gap=4.0))
    places = small.reshape(SIDE, SMALL // SIDE, SIDE, SMALL // SIDE).mean(axis=(1, 3), dtype=np.float32)
    steps = np.concatenate([np.diff(places, axis=1).ravel(), np.diff(places, axis=0).ravel()])
    roots = np.sign(steps) * np.sqrt(np.abs(steps))  # so that a few strong edges do not count alone
    length = max(float(np.linalg.norm(roots)), 1e-6)
    return PhotoPrint((roots / length).astype(np.float16), small, image.shape[1] / image.shape[0])


def likeness(one: PhotoPrint, other: PhotoPrint) -> float:
    """How much two photos are the same, −1 to 1: the correlation of the small pictures, if one is cropped to the other.

    Up to 12 % may be cut off at each side. Photos of a wholly different shape, and flat ones, have 0.
    """
    ratio = one.aspect / other.aspect
    if one.flat or other.flat or not 1 / MOST_STRETCH <= ratio <= MOST_STRETCH:
        return 0.0
    return max(_cropped_likeness(one.small, other.small), _cropped_likeness(other.small, one.small))


def _cropped_likeness(larger: Gray, smaller: Gray) -> float:
    """The correlation of a picture with the best crop of another, which is found side by side, step by step."""
    wanted = _normal(np.asarray(Image.fromarray(smaller).resize((COMPARED, COMPARED), Image.Resampling.BOX)))
    source = Image.fromarray(larger)
    cuts = [0.0, 0.0, 0.0, 0.0]

    def tried(sides: list[float]) -> float:
        left, top, right, bottom = (side * SMALL for side in sides)
        box = (left, top, SMALL - right, SMALL - bottom)
        return float(
            (_normal(np.asarray(source.resize((COMPARED,) * 2, Image.Resampling.BILINEAR, box))) * wanted).sum()
        )

    best = tried(cuts)
    step = 4 * STEP
    while step >= STEP:
        moves = [
            [*cuts[:side], round(cuts[side] + change, 3), *cuts[side + 1 :]]
            for side in range(4)
            for change in (step, -step)
        ]
        allowed = [move for move in moves if min(move) >= 0 and max(move) <= MOST_CROP]
        value, move = max((tried(move), move) for move in allowed)
        if value > best + 1e-6:
            best, cuts = value, move
        else:
            step /= 2
    return best


def _normal(gray: Gray) -> npt.NDArray[np.float64]:
    """The picture with mean 0 and length 1; zeros where it is flat."""
    centred = gray - gray.mean(dtype=np.float64)
    length = np.linalg.norm(centred)
    found: npt.NDArray[np.float64] = centred / length if length > COMPARED else np.zeros(gray.shape)
    return found
