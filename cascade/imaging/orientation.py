"""The orientation in a file's metadata, and turning a picture upright."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ORIENTATION_TAG = 0x0112

SIDEWAYS = (5, 6, 7, 8)
"""Orientations whose pictures are stored with width and height exchanged."""

_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Undo an EXIF orientation: 2 to 8 are mirrored and rotated pictures, other values have no meaning."""
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def upright_points(points: npt.ArrayLike, orientation: int) -> npt.NDArray[np.float64]:
    """Where (…, 2) points x, y of a stored picture are once it is upright; both in parts of width and height, 0..1."""
    x, y = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    places = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }
    return np.stack(places.get(orientation, (x, y)), axis=-1)


def stored_points(points: npt.ArrayLike, orientation: int) -> npt.NDArray[np.float64]:
    """The reverse of `upright_points`."""
    return upright_points(points, {6: 8, 8: 6}.get(orientation, orientation))


def stored_orientation(info: dict[Any, Any]) -> int:
    """The orientation in what Pillow found in a file: in EXIF, a PNG's EXIF as text, or XMP, in this order.

    1 if there is none. Raises `ValueError` if it cannot be read, as the metadata is damaged.
    """
    exif = info.get("exif", b"")
    text = info.get("Raw profile type exif")
    if not exif and isinstance(text, str):  # as ImageMagick writes it: a name, a length, then hexadecimal digits
        exif = bytes.fromhex("".join(text.split("\n")[3:]))
    found = exif_orientation(exif) if exif else None
    if found is None:
        xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
        match = _XMP.search(xmp.encode("latin-1", "replace") if isinstance(xmp, str) else xmp)
        found = None if match is None else int(match[1])
    return 1 if found is None else found


def exif_orientation(exif: bytes) -> int | None:
    """The orientation in an EXIF block, or None. Raises `ValueError` for a damaged block."""
    block = exif
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        raise ValueError("it does not begin like EXIF data")
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, at)
            if tag == ORIENTATION_TAG and kind == 3:
                return int(value)
    except struct.error:
        raise ValueError("it ends early") from None
    return None
