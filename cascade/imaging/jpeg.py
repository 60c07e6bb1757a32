"""JPEG files as the decoder gets them: not too many scans, and with an end."""

from __future__ import annotations

import re

from cascade.imaging.errors import ImageError

START_OF_SCAN, END = b"\xff\xda", b"\xff\xd9"
MAX_SCANS = 100  # cameras and programs write at most about 15; each takes the time of a whole picture
MAX_SCANNED_PIXELS = 4_000_000_000  # of all scans: 20 scans of the largest picture

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_WITHOUT_BODY = (0x01, 0xD8)


def check_scans(data: bytes, width: int, height: int) -> None:
    """Raise `ImageError` for a file with so many scans that decoding it would take minutes or hours."""
    limit = min(MAX_SCANS, max(1, MAX_SCANNED_PIXELS // (width * height)))
    if data.count(START_OF_SCAN) <= limit:  # never fewer than there are scans
        return
    scans = _count_scans(data, limit + 1)
    if scans > limit:
        raise ImageError(f"image: expected a JPEG of at most {limit} scans at {width:,}×{height:,}, got more")


def _count_scans(data: bytes, enough: int) -> int:
    """The number of scans before the end of the picture, as a decoder finds them."""
    scans, at = 0, 2
    while scans < enough:
        found = _MARKER.search(data, at)
        if found is None or found[1] == END[1:]:
            break
        at = found.end()
        if found[1][0] not in _WITHOUT_BODY:
            scans += found[1] == START_OF_SCAN[1:]
            at += max(2, int.from_bytes(data[at : at + 2]))
    return scans


def has_end(data: bytes) -> bool:
    """Whether the picture has an "end of image" marker.

    In a scan 0xFF is always followed by 0, a restart number or the next marker, so that the first one after the start
    of the scan is the picture's own. Thumbnails lie before it.
    """
    return data.find(END, _first_scan(data)) >= 0


def _first_scan(data: bytes) -> int:
    """Where the body of the first scan begins; the length of the data if there is none."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        at = found.end()
        if found[1] == START_OF_SCAN[1:]:
            return at
        if found[1][0] not in _WITHOUT_BODY:
            at += max(2, int.from_bytes(data[at : at + 2]))
    return len(data)


def with_end(data: bytes, filler: bytes = b"") -> bytes:
    """The data with an end. A decoder that needs more of the last scan takes the ``filler``, then grey."""
    # A lone 0xFF at the end would otherwise become another marker together with what follows.
    return data.rstrip(b"\xff") + filler + END
