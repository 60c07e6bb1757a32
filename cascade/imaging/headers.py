"""The headers of image files: size, orientation, and whether the file is complete.

The size is read before anything is decoded, so that a file cannot make the decoder allocate any amount of memory.
JPEG, PNG and WebP files that are cut short are refused here, because OpenCV would return them half grey.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

ORIENTATION_TAG = 0x0112


class ImageError(ValueError):
    """An image that cannot be read. The message names the argument, what was expected and what was given.

    ``index`` is its place among several images, of `Detector.detect_batch`.
    """

    index: int | None = None


class Header(NamedTuple):
    width: int
    height: int
    orientation: int
    data: bytes  # for the decoder


def _probe_jpeg(data: bytes) -> Header:
    """Walk the segments up to the first scan, then check that the picture has an end."""
    width = height = 0
    orientation = 1
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise cut_short("JPEG", data)
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # markers without a body
            at += 2
            continue
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            height, width = struct.unpack_from(">HH", data, at + 5)
        elif marker == 0xE1 and orientation == 1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    # Decoders paint missing parts grey without an error. In a scan 0xFF is always followed by 0, a restart
    # number or the next marker, so the first "end of image" after its start is the picture's own. Thumbnails
    # lie before the scan; data after the end (padding, the other pictures of an MPO file) does not matter.
    if marker == 0xD9 or data.find(b"\xff\xd9", at) < 0:
        raise cut_short("JPEG", data)
    return Header(width, height, orientation, data)


def _probe_png(data: bytes) -> Header:
    """Check every chunk that holds pixels, and pass on only those.

    libpng prints messages about colour profiles and checksums to stderr and decompresses text of any size. It can do
    neither with chunks that it does not get.
    """
    view = memoryview(data)
    parts = [view[:8]]
    width = height = 0
    orientation = 1
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise cut_short("PNG", data)
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[at + 4 : end - 4]) != checksum:
                raise ImageError(f"image: the PNG data is damaged: wrong checksum in {kind.decode()}")
            parts.append(view[at:end])
            if kind == b"IHDR":
                width, height = struct.unpack_from(">II", data, at + 8)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        at = end
    return Header(width, height, orientation, b"".join(parts))


def _probe_webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise cut_short("WebP", data)
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    orientation = 1
    at = 12
    while at + 8 <= size + 8:
        chunk, length = struct.unpack_from("<4sI", data, at)
        if chunk == b"EXIF":
            orientation = exif_orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return Header(width, height, orientation, data)


def _probe_bmp(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return Header(abs(width), abs(height), 1, data)  # a negative height means that the top row comes first


def _probe_gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header(width, height, 1, data)


def _probe_pnm(data: bytes) -> Header:
    gap = rb"(?:\s|#[^\n]*\n)+"
    match = re.match(rb"P[1-6]" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})\s", data)
    if match is None:
        raise ImageError("image: the PNM data is damaged: it has no width and height")
    return Header(int(match[1]), int(match[2]), 1, data)


def _probe_tiff(data: bytes) -> Header:
    tags = tiff_tags(data)
    if 256 not in tags or 257 not in tags:
        raise ImageError("image: the TIFF data is damaged or cut short: it has no size")
    return Header(tags[256], tags[257], 1, data)


def exif_orientation(exif: bytes) -> int:
    """The orientation (1 to 8) in an EXIF block; 1 if the block is damaged, as viewers do."""
    try:
        return tiff_tags(exif).get(ORIENTATION_TAG, 1)
    except struct.error:
        return 1


def tiff_tags(data: bytes) -> dict[int, int]:
    """Integer tags of the first directory of a TIFF or BigTIFF file; an EXIF block is one too."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset_at, offset_format, count_format, entry_size = (8, "Q", "Q", 20) if big else (4, "I", "H", 12)
    (directory,) = struct.unpack_from(order + offset_format, data, offset_at)
    (count,) = struct.unpack_from(order + count_format, data, directory)
    first = directory + struct.calcsize(count_format)
    tags: dict[int, int] = {}
    for at in range(first, first + min(count, 1000) * entry_size, entry_size):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if kind in (3, 4):  # 16 and 32 bits
            value_at = at + (12 if big else 8)
            (value,) = struct.unpack_from(order + "HI"[kind - 3], data, value_at)
            tags.setdefault(tag, value)  # readers take the first of repeated tags
    return tags


# Suffixes of photos in a folder, in order of preference where two files differ only in the suffix.
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".jpe",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)

FORMATS: tuple[tuple[str, re.Pattern[bytes], Callable[[bytes], Header]], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff"), _probe_jpeg),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _probe_png),
    ("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _probe_webp),
    ("BMP", re.compile(rb"BM.{12}[\x0c-\x7c]\0\0\0", re.DOTALL), _probe_bmp),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), _probe_tiff),
    ("GIF", re.compile(rb"GIF8[79]a"), _probe_gif),
    ("PNM", re.compile(rb"P[1-6][\s#]"), _probe_pnm),
)


def cut_short(kind: str, data: bytes) -> ImageError:
    return ImageError(f"image: expected complete {kind} data, but it is cut short after {len(data):,} bytes")
