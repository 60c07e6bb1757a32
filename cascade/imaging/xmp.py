"""The XMP packet in a JPEG or PNG file: read, and put in place of the one before. Pixels are not touched."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from cascade.imaging.errors import ImageError
from cascade.imaging.formats import format_of, what_it_is
from cascade.imaging.jpeg import START_OF_SCAN, segments

JPEG_START = b"http://ns.adobe.com/xap/1.0/\0"
PNG_START = b"XML:com.adobe.xmp\0"
MAX_JPEG_PACKET = 65502  # bytes, as Adobe's specification has it
MAX_PACKET = 1 << 26  # bytes of a compressed packet in a PNG file, inflated

APP1, APP2 = b"\xff\xe1", b"\xff\xe2"
LEADING = (b"\xff\xe0", APP1)  # JFIF and EXIF, which come first


class _Place(NamedTuple):
    """Where the packet stands in a file, or where one belongs."""

    start: int
    end: int
    packet: bytes | None


def find_xmp(data: bytes) -> bytes | None:
    """Return the XMP packet of a JPEG or PNG file, or None. Raises `ImageError` for other formats and damaged files."""
    return _place(data).packet


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """Return the file with this packet in place of the one it has. All other bytes stay as they are.

    Raises `ImageError` for other formats than JPEG and PNG, damaged files, a packet that is too long for JPEG (65,502
    bytes), and JPEG files with several pictures whose directory a longer packet would make wrong.
    """
    place = _place(data)
    if _kind(data) == "PNG":
        body = b"iTXt" + PNG_START + b"\0\0\0\0" + packet
        written = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    else:
        if len(packet) > MAX_JPEG_PACKET:
            raise ImageError(f"image: expected an XMP packet of at most {MAX_JPEG_PACKET:,} bytes, got {len(packet):,}")
        body = JPEG_START + packet
        written = APP1 + struct.pack(">H", len(body) + 2) + body
        if len(written) != place.end - place.start and _has_directory_before(data, place.start):
            raise ImageError("image: its XMP packet stands behind the directory of several pictures; use a sidecar")
    return data[: place.start] + written + data[place.end :]


def _kind(data: bytes) -> str:
    known = format_of(data[:64])
    if known is None or known.name not in ("JPEG", "PNG"):
        got = what_it_is(data[:64], len(data)) if known is None else f"{known.name} data"
        raise ImageError(f"image: expected JPEG or PNG data to read or write XMP in, got {got}")
    return known.name


def _place(data: bytes) -> _Place:
    return _place_in_png(data) if _kind(data) == "PNG" else _place_in_jpeg(data)


def _place_in_jpeg(data: bytes) -> _Place:
    free = 2
    leading = True
    for marker, start, end in segments(data):
        if marker == START_OF_SCAN:
            return _Place(free, free, None)
        if end > len(data):
            break
        body = data[end - _body_length(data, start, end) : end]
        if marker == APP1 and body.startswith(JPEG_START):
            return _Place(start, end, body[len(JPEG_START) :])
        leading = leading and marker in LEADING
        free = end if leading else free
    raise ImageError("image: expected complete JPEG data, but it ends before the picture begins")


def _body_length(data: bytes, start: int, end: int) -> int:
    """Bytes of a segment behind its length."""
    marker = start
    while data[marker + 1] == 0xFF:  # fill bytes before a marker
        marker += 1
    return max(0, end - marker - 4)


def _has_directory_before(data: bytes, place: int) -> bool:
    """Whether the directory of several pictures (MPF) stands before a place: it counts bytes from itself on."""
    for marker, start, end in segments(data):
        if marker == START_OF_SCAN or start >= place:
            return False
        if marker == APP2 and data[end - _body_length(data, start, end) : end].startswith(b"MPF\0"):
            return True
    return False


def _place_in_png(data: bytes) -> _Place:
    at, free = 8, None
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        body = data[at + 8 : end - 4]
        if kind == b"iTXt" and body.startswith(PNG_START):
            return _Place(at, end, _text_of(body[len(PNG_START) :]))
        if kind == b"IDAT" and free is None:
            free = at
        if kind == b"IEND" and free is not None:
            return _Place(free, free, None)
        at = end
    raise ImageError("image: expected complete PNG data, but it ends early")


def _text_of(body: bytes) -> bytes:
    """The text of an iTXt chunk behind its keyword: two flags, two texts that end in zero, then the text."""
    parts = body[2:].split(b"\0", 2)
    if len(parts) < 3:
        raise ImageError("image: the PNG data is damaged: its XMP packet ends early")
    if body[:1] == b"\0":
        return parts[2]
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(parts[2], MAX_PACKET)
    except zlib.error as error:
        raise ImageError(f"image: the PNG data is damaged: its XMP packet: {error}") from None
    if not inflater.eof:
        raise ImageError(f"image: expected an XMP packet of at most {MAX_PACKET:,} bytes, got more")
    return text
