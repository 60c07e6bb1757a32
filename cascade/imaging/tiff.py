"""TIFF files: their first directory read strictly, and Pillow's reader without its way with the orientation."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import threading
import warnings
from typing import BinaryIO

from PIL import TiffImagePlugin, _imaging

from cascade.imaging.errors import ImageError
from cascade.imaging.pixels import check_size

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, ROWS_PER_STRIP = 254, 256, 257, 258, 259, 277, 278
ORIENTATION, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT, DNG_VERSION = 274, 322, 323, 339, 50706
# A tag that stands twice, or with an odd type, is read differently by Pillow and libtiff.
SINGLE = (WIDTH, HEIGHT, COMPRESSION, SAMPLES, ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT)
UNIQUE = (*SINGLE, BITS, SAMPLE_FORMAT, ORIENTATION)
WHOLE_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # types of tags
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MAX_TAGS = 4096
MAX_TILE_PIXELS = 1 << 24  # tiles are usually 256×256

_opening = threading.Lock()


def _after_fork() -> None:
    """In the child, no other thread holds the lock."""
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF file that stays as it is stored; `orientation` says how to turn it.

    Pillow turns it while loading, and fails there if other parts of the metadata are damaged.
    """

    orientation = 1

    def load_prepare(self) -> None:
        """Make room for the picture, whose size was checked when it was opened."""
        if self._im is None:
            self.im = _imaging.new(self.mode, self._tile_size)
        super().load_prepare()

    def load_end(self) -> None:
        """Leave the picture as it is."""
        self._size = self.im.size


def open_tiff(file: BinaryIO, length: int) -> tuple[TiffFile, list[str]]:
    """Open a TIFF file; return it with the reader's warnings. Raises `ImageError`, and what Pillow raises."""
    check_directory(file, length)
    _silence_libtiff()
    file.seek(0)
    with _opening, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = TiffFile(file)
        found = image.tag_v2.get(ORIENTATION, 1)
    for warning in caught:
        if "PIL" not in warning.filename:  # another thread's
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    image.orientation = found if isinstance(found, int) else 1
    return image, [str(warning.message).strip() for warning in caught if "PIL" in warning.filename]


def check_directory(file: BinaryIO, length: int) -> None:
    """Refuse a first directory that readers understand differently, or that asks for more memory than the picture.

    Raises `ImageError`.
    """
    values = _unique_values(file, length)
    if DNG_VERSION in values or values.get(SUBFILE_TYPE, 0) & 1:
        raise ImageError(
            "image: expected a photo, got TIFF data whose first page is only a preview, as in the raw files of "
            "cameras (DNG, NEF, ARW); convert it to JPEG or PNG"
        )
    if WIDTH in values and HEIGHT in values:
        check_size(values[WIDTH], values[HEIGHT])
    if values.get(SAMPLES, 1) > TiffImagePlugin.MAX_SAMPLESPERPIXEL:  # Pillow logs it without a name
        raise ImageError(f"image: expected TIFF data of a few channels, got {values[SAMPLES]:,}")
    tile = values.get(TILE_WIDTH, 0) * values.get(TILE_HEIGHT, 0)
    if tile > MAX_TILE_PIXELS:
        sides = f"{values[TILE_WIDTH]:,}×{values[TILE_HEIGHT]:,}"
        raise ImageError(f"image: expected TIFF tiles of at most {MAX_TILE_PIXELS:,} pixels, got {sides}")


def _unique_values(file: BinaryIO, length: int) -> dict[int, int]:
    """The integers of the first directory by their tag."""
    values: dict[int, int] = {}
    outside = 0
    for tag, kind, count, field, order in _entries(file):
        size = TYPE_SIZES.get(kind, 0) * count
        outside += size if size > len(field) else 0
        if tag in UNIQUE and tag in values:
            raise ImageError(f"image: the TIFF data is damaged: tag {tag} stands twice")
        if tag in SINGLE and (kind not in WHOLE_NUMBERS or count != 1):
            raise ImageError(f"image: the TIFF data is damaged: tag {tag} is not one whole number")
        number = 0
        if kind in WHOLE_NUMBERS and count == 1:
            (number,) = struct.unpack_from(order + WHOLE_NUMBERS[kind], field)
        values[tag] = number
    if outside > length:
        raise ImageError("image: the TIFF data is damaged: its tags are larger than the file")
    return values


def _entries(file: BinaryIO) -> list[tuple[int, int, int, bytes, str]]:
    """Tag, type, count, value field and byte order of the first directory's entries."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(order + "H", start, 2)[0] == 43
        at = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
        file.seek(at)
        head = file.read(8 if big else 2)
        (count,) = struct.unpack(order + ("Q" if big else "H"), head)
        if count > MAX_TAGS:
            raise ImageError(f"image: expected at most {MAX_TAGS} TIFF tags, got {count:,}")
        entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        return [(*fields, order) for fields in entry.iter_unpack(file.read(count * entry.size))]
    except (struct.error, OSError, OverflowError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("image: the TIFF data is damaged or cut short: it has no complete directory") from None


@functools.cache
def _silence_libtiff() -> None:
    """Keep libtiff from printing to stderr: its errors name no file, and are raised by Pillow anyway."""
    try:
        library = ctypes.CDLL(_imaging.__file__)  # libtiff is found through what it is linked to
        set_handler = library.TIFFSetErrorHandler
    except (OSError, AttributeError):  # linked statically, as on Windows
        return
    set_handler.restype = ctypes.c_void_p
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler(None)
