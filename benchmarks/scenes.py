"""Photos to time that anyone may have: copies of the bundled portrait on a made-up background.

The same name and size give the same pixels on every machine. The portrait is NASA's, of the astronaut Eileen
Collins, in the public domain; nothing else goes into a scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.imaging.reading import RGBImage, read_image

__all__ = ["LARGEST_SIDE", "SCENES", "Scene", "compose", "grid", "letterbox", "scene"]

SCENES = {"none": 0, "one": 1, "six": 6, "group": 26}
"""Names of the scenes and how many faces each shows."""

LARGEST_SIDE = 20_000

# x1, y1, x2, y2 in pixels of the portrait: the face, forehead to chin, and the head with hair and some neck.
FACE_BOX = (182.0, 74.0, 270.0, 178.0)
HEAD_BOX = (141.0, 10.0, 311.0, 214.0)

# Share of a cell of the grid that the largest and the smallest heads fill, and share of a head that fades out.
LARGEST_HEAD, SMALLEST_HEAD, FADE = 0.95, 0.7, 0.25

# The background is made at about this many pixels and enlarged for larger scenes, as a photo would be.
TEXTURE_PIXELS = 640 * 480
TEXTURE_COLOUR = (176.0, 168.0, 160.0)
# Sides in pixels of the blobs that it is the sum of, and how bright they are: from a slow gradient to fine noise.
TEXTURE_BLOBS = ((256, 70.0), (64, 40.0), (16, 24.0), (4, 14.0), (1, 6.0))


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (height, width, 3) uint8 RGB and where its faces are: boxes (n, 4) float32 in its pixels."""

    name: str
    image: RGBImage
    boxes: npt.NDArray[np.float32]


def scene(name: str, width: int, height: int) -> Scene:
    """Return one of `SCENES` at a size in pixels. Raises ValueError for another name and as `compose` does."""
    if name not in SCENES:
        raise ValueError(f"scene: expected one of {', '.join(SCENES)}, got {name!r}")
    return compose(SCENES[name], width, height, name=name)


def compose(
    faces: int, width: int, height: int, *, cells: tuple[int, int] | None = None, name: str | None = None
) -> Scene:
    """Return a picture of ``width`` by ``height`` pixels with this many faces of different sizes.

    Heads stand in a grid of ``cells``, columns and rows, by default as few as hold them all: fewer cells, larger
    faces. Every other one is mirrored. Raises ValueError for a size that is no picture's or for too few cells.
    """
    check_size(width, height)
    columns, rows = cells or grid(faces, width, height)
    if not 0 <= faces <= columns * rows:
        raise ValueError(f"faces: expected 0 to {columns * rows} in {columns} × {rows} cells, got {faces}")
    random = np.random.default_rng(20)
    image, boxes = _texture(width, height, random), []
    side = np.array([width / columns, height / rows])
    head = np.array([HEAD_BOX[2] - HEAD_BOX[0], HEAD_BOX[3] - HEAD_BOX[1]])
    for index in range(faces):
        share, *place = random.uniform([SMALLEST_HEAD, 0, 0], [LARGEST_HEAD, 1, 1])
        size = np.maximum(1, np.rint(head * share * _head_scale(*side))).astype(int)
        cell = np.array([index % columns, index // columns])
        corner = np.rint(cell * side + (side - size) * place).astype(int)
        boxes.append(_paste(image, corner, size, mirrored=bool(index % 2)))
    return Scene(name or f"{faces} faces", image, np.array(boxes, np.float32).reshape(-1, 4))


def letterbox(image: RGBImage, width: int, height: int) -> RGBImage:
    """Return the whole image (h, w, 3) uint8, scaled to fit ``width`` by ``height`` pixels, grey at the sides.

    Raises ValueError for a size that is no picture's.
    """
    check_size(width, height)
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    fitted = np.full((height, width, 3), 128, np.uint8)
    whole = (0, 0, image.shape[1], image.shape[0])
    fitted[top : top + inner[1], left : left + inner[0]] = _native.resample(image, whole, *inner)
    return fitted


def check_size(width: int, height: int) -> None:
    """Raises ValueError unless both are 1 to `LARGEST_SIDE` pixels."""
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise ValueError(f"size: expected 1 to {LARGEST_SIDE:,} pixels a side, got {width} × {height}")


def grid(faces: int, width: int, height: int) -> tuple[int, int]:
    """Return columns and rows of the cells that hold all faces in ``width`` by ``height`` pixels and are largest."""
    grids = [(columns, math.ceil(faces / columns)) for columns in range(1, faces + 1)]
    return max(grids, key=lambda grid: _head_scale(width / grid[0], height / grid[1]), default=(1, 1))


def _head_scale(width: float, height: float) -> float:
    """How much the portrait's head is scaled to fill a cell."""
    return min(width / (HEAD_BOX[2] - HEAD_BOX[0]), height / (HEAD_BOX[3] - HEAD_BOX[1]))


def _paste(image: RGBImage, corner: np.ndarray, size: np.ndarray, *, mirrored: bool) -> list[float]:
    """Draw a head of ``size`` (width, height) at ``corner``, fading out to an oval; return its face's box."""
    head = _native.resample(_portrait(), HEAD_BOX, int(size[0]), int(size[1]))
    if mirrored:
        head = head[:, ::-1]
    down, across = (np.linspace(-1, 1, 2 * n + 1)[1::2] for n in (size[1], size[0]))
    radius = np.hypot(down[:, None], across[None])
    opacity = np.clip((1 - radius) / FADE, 0, 1).astype(np.float32)[..., None]
    (left, top), (right, bottom) = corner, corner + size
    under = image[top:bottom, left:right]
    under[:] = np.rint(opacity * head + (1 - opacity) * under).astype(np.uint8)
    shares = (np.array(FACE_BOX).reshape(2, 2) - HEAD_BOX[:2]) / (np.array(HEAD_BOX[2:]) - HEAD_BOX[:2])
    if mirrored:
        shares[:, 0] = 1 - shares[::-1, 0]
    box: list[float] = (corner + shares * size).ravel().tolist()
    return box


def _texture(width: int, height: int, random: np.random.Generator) -> RGBImage:
    """A background of soft blobs of many sizes: something to look at for the first network, but no faces."""
    scale = min(1.0, math.sqrt(TEXTURE_PIXELS / (width * height)))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    total = np.full((small[1], small[0], 3), TEXTURE_COLOUR, np.float32)
    for side, brightness in TEXTURE_BLOBS:
        across, down = (-(-pixels // side) for pixels in small)
        # bright or dark, and a little of a colour
        grey, colour = random.integers(0, 192, (down, across, 1)), random.integers(0, 64, (down, across, 3))
        blobs = (grey + colour).astype(np.uint8)
        enlarged = _native.resample(blobs, (0, 0, small[0] / side, small[1] / side), *small)
        total += (enlarged.astype(np.float32) - 127.5) * (brightness / 127.5)
    texture = np.clip(np.rint(total), 0, 255).astype(np.uint8)
    return _native.resample(texture, (0, 0, *small), width, height)


@cache
def _portrait() -> RGBImage:
    return read_image(files("cascade").joinpath("data", "astronaut.jpg").read_bytes())
