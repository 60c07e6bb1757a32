"""JPEG files as the decoder gets them: not too many scans, and with an end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cascade.imaging.errors import ImageError

START_OF_SCAN, END = b"\xff\xda", b"\xff\xd9"
MAX_SCANS = 100  # cameras and programs write at most about 15; each takes the time of a whole picture
MAX_SCANNED_PIXELS = 4_000_000_000  # of all scans: 20 scans of the largest picture

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_WITHOUT_BODY = (b"\x01", b"\xd8", b"\xd9")


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
    scans = 0
    for marker, _, _ in segments(data):
        scans += marker == START_OF_SCAN
        if marker == END or scans >= enough:
            break
    return scans


def has_end(data: bytes) -> bool:
    """Whether the picture has an "end of image" marker.

    In a scan 0xFF is always followed by 0, a restart number or the next marker, so that the first one after the start
    of the scan is the picture's own. Thumbnails lie before it.
    """
    scan = next((body for marker, _, body in segments(data) if marker == START_OF_SCAN), len(data))
    return data.rfind(END, scan) >= 0  # from the end, where it usually is


def followed_by(data: bytes, filler: bytes) -> bytes:
    """The data with a filler and an end. A decoder that needs more of the last scan takes the filler, then grey."""
    # A lone 0xFF at the end would otherwise become another marker together with what follows.
    return data.rstrip(b"\xff") + filler + END


def with_end(data: bytes) -> bytes:
    """The data with an end, and without a segment that is cut short, for the rest of which a decoder would wait."""
    cut = next((at for _, at, end in segments(data) if end > len(data)), len(data))
    return followed_by(data[:cut], b"")


def segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The marker of each segment, where it starts and where its body ends; what a scan holds follows its body."""
    end = 2
    while (found := _MARKER.search(data, end)) is not None:
        end = found.end()
        if found[1] not in _WITHOUT_BODY:
            end += max(2, int.from_bytes(data[end : end + 2])) if end + 2 <= len(data) else 2
        yield b"\xff" + found[1], found.start(), end
