"""What the first bytes of an image file promise: its size, its orientation, and whether it is all there.

Sizes are read before anything is decoded, so that a file cannot make the decoder allocate what it pleases.
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
    """An image that cannot be read. The message names the argument, what was expected and what came."""


class Header(NamedTuple):
    width: int
    height: int
    orientation: int
    data: bytes  # what the decoder is to be given


def _probe_jpeg(data: bytes) -> Header:
    """Walk the segments up to the first scan, then make sure that the picture's end was reached."""
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
    # Decoders paint what is missing gray and say nothing. In a scan 0xFF is always followed by 0, a restart
    # number or the next marker, so the first "end of image" after its start is the picture's own. Thumbnails
    # lie before the scan; what trails the end (padding, the other pictures of an MPO file) does not matter.
    if marker == 0xD9 or data.find(b"\xff\xd9", at) < 0:
        raise cut_short("JPEG", data)
    return Header(width, height, orientation, data)


def _probe_png(data: bytes) -> Header:
    """Check every chunk that holds pixels and pass on those alone.

    libpng prints its complaints about colour profiles and checksums straight to stderr, and would unpack
    compressed text of any size: chunks that it never sees cannot make it do either.
    """
    view = memoryview(data)
    kept = [view[:8]]
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
            kept.append(view[at:end])
            if kind == b"IHDR":
                width, height = struct.unpack_from(">II", data, at + 8)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        at = end
    return Header(width, height, orientation, b"".join(kept))


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
        raise ImageError("image: the PNM data is damaged: it does not begin with a width and a height")
    return Header(int(match[1]), int(match[2]), 1, data)


def _probe_tiff(data: bytes) -> Header:
    tags = tiff_tags(data)
    if 256 not in tags or 257 not in tags:
        raise ImageError("image: the TIFF data is damaged or cut short: it does not tell its size")
    return Header(tags[256], tags[257], 1, data)


def exif_orientation(exif: bytes) -> int:
    """The orientation (1 to 8) an EXIF block tells; 1 if it is damaged, as viewers do."""
    try:
        return tiff_tags(exif).get(ORIENTATION_TAG, 1)
    except struct.error:
        return 1


def tiff_tags(data: bytes) -> dict[int, int]:
    """Whole-number tags of the first directory of a TIFF or BigTIFF file (an EXIF block is one too)."""
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
            tags.setdefault(tag, value)  # of repeated tags readers take the first
    return tags


# What makes a file in a folder a photo; in order of preference where two files differ in the suffix alone.
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
    return ImageError(f"image: expected whole {kind} data, but it is cut short after {len(data):,} bytes")
