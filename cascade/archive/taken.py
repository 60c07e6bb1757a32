"""When a photo was taken, by its EXIF data."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any, BinaryIO

from PIL import Image

from cascade.imaging.formats import format_of, heif_is_installed
from cascade.imaging.png import SIGNATURE

__all__ = ["time_taken"]

EXIF, TAKEN, DIGITIZED, CHANGED = 0x8769, 0x9003, 0x9004, 0x0132
READERS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")
START = 64  # bytes that tell the format


def time_taken(source: bytes | BinaryIO) -> datetime | None:
    """The time by the camera's clock at which a photo was taken, to the second; None where EXIF does not tell it.

    ``source`` is the file's content, or the file, which is read from its beginning. Damaged data count as none.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF data, and of large pictures, which are not decoded here
            file.seek(0)
            return _first_time(_exif(file))
    except Exception:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error …
        return None


def _exif(file: BinaryIO) -> Any:
    known = format_of(file.read(START))
    file.seek(0)
    if known is not None and known.name == "HEIF" and heif_is_installed():
        from pillow_heif import HeifImageFile

        reader: Callable[[BinaryIO], Image.Image] = HeifImageFile
        return reader(file).getexif()
    image = Image.open(file, formats=READERS)
    if image.format == "PNG" and "exif" not in image.info:
        image.info["exif"] = _late_exif(file)  # without the key, Pillow would decode the pixels to look behind them
    return image.getexif()


def _late_exif(file: BinaryIO) -> bytes | None:
    """The EXIF data of a PNG file, wherever they are in it."""
    file.seek(SIGNATURE)
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)  # with its checksum
    return None


def _first_time(exif: Any) -> datetime | None:
    of_picture = exif.get_ifd(EXIF)
    for value in (of_picture.get(TAKEN), of_picture.get(DIGITIZED), exif.get(CHANGED)):
        if isinstance(value, str):
            try:
                return datetime.strptime(value.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
            except ValueError:  # such as "0000:00:00 00:00:00"
                continue
    return None
