"""PNG files as the decoder gets them: checked, and without what it does not need.

Pillow refuses a photo over a damaged colour profile and does not verify the checksums of the pixels.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from cascade.imaging.errors import ImageError

PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # may hold the orientation
TRANSPARENCY = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
"""Bytes of a tRNS chunk, which says what is transparent, by the type of colour."""

SIGNATURE = 8  # bytes
STEP = 1 << 16  # bytes that are inflated at once


class Png(NamedTuple):
    pixels: bytes
    """A file of the chunks that pixels come from."""
    everything: bytes
    """The same, with the chunks that may hold the orientation."""
    problems: tuple[str, ...]
    """What is wrong but does not matter to the picture."""


def read_chunks(data: bytes, *, allow_damage: bool) -> Png:
    """Verify the chunks of a PNG file and leave out those that hold neither pixels nor metadata of use.

    An animation becomes its default picture. Raises `ImageError` for a wrong checksum of pixels, unless
    ``allow_damage``. A file that ends early is passed on: the decoder knows whether its pixels are complete.
    """
    view = memoryview(data)
    pixels, everything, problems = [view[:SIGNATURE]], [view[:SIGNATURE]], []
    at, kind = SIGNATURE, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            problems.append("the end is missing")
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        chunk = view[at:end]
        is_transparency = kind == b"tRNS" and length in TRANSPARENCY.get(data[SIGNATURE + 17], ())
        if kind in PIXELS or kind in METADATA or is_transparency:
            # Of a chunk that is cut short the beginning is passed on.
            intact = end > len(data) or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
            if kind in PIXELS:
                if not intact and not allow_damage:
                    raise ImageError(f"image: the PNG data is damaged: wrong checksum in {kind.decode()}")
                pixels.append(chunk)
                everything.append(chunk)
            elif intact:
                everything.append(chunk)
                if is_transparency:
                    pixels.append(chunk)
            else:
                problems.append(f"{kind.decode()} was ignored, since its checksum is wrong")
        at = end
    return Png(b"".join(pixels), b"".join(everything), tuple(problems))


def check_pixels(data: bytes, width: int, height: int) -> None:
    """Raise `ImageError` if a file of the chunks that pixels come from has too few, without memory for them."""
    bits, colour = data[SIGNATURE + 16], data[SIGNATURE + 17]
    missing = width * height * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1) // 8
    inflater = zlib.decompressobj()
    at = SIGNATURE
    try:
        while missing > 0 and not inflater.eof and at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            end = min(at + 8 + length, len(data)) if kind == b"IDAT" else at + 8
            for start in range(at + 8, end, STEP):
                rest = data[start : min(start + STEP, end)]
                while rest and missing > 0:
                    missing -= len(inflater.decompress(rest, 16 * STEP))
                    rest = inflater.unconsumed_tail
            at += 12 + length
    except (zlib.error, struct.error) as error:
        raise ImageError(f"image: the PNG data is damaged: {error}") from None
    if missing > 0:
        raise ImageError(f"image: expected complete PNG data, but it is cut short after {len(data):,} bytes")
