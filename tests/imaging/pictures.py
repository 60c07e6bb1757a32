"""Pictures for the tests of reading, and their files in every format."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.photos import portrait

HEIGHT, WIDTH = 20, 28
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "BMP": {}, "TIFF": {}, "PPM": {}}


def colours(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return an RGB picture without any symmetry, its three channels all different."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, (x * y) % 256], axis=-1).astype(np.uint8)


def encode(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def oriented(upright: np.ndarray, orientation: int) -> Image.Image:
    """Return the picture as a camera would store it with that EXIF orientation."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def assert_contract(result: np.ndarray) -> None:
    assert result.dtype == np.uint8
    assert result.ndim == 3
    assert result.shape[2] == 3
    assert result.flags.c_contiguous


GRAY = colours()[:, :, 2]
PILLOW_MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"]


def in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(GRAY.astype(np.uint16) * 257)
    image = Image.fromarray(colours())
    if mode == "P":
        return image.quantize(32)
    image = image.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(GRAY))
    return image


JPEG = encode(portrait()[:96, :80], "JPEG", quality=90)
PROGRESSIVE = encode(portrait()[:96, :80], "JPEG", quality=90, progressive=True)
THUMBNAILED = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(JPEG) + 8) + b"Exif\0\0" + JPEG + JPEG[2:]
WHOLE = {
    "jpeg": JPEG,
    "progressive jpeg": PROGRESSIVE,
    "jpeg with a thumbnail": THUMBNAILED,
    "png": encode(colours(), "PNG"),
    "webp": encode(colours(), "WEBP"),
    "lossless webp": encode(colours(), "WEBP", lossless=True),
    "bmp": encode(colours(), "BMP"),
    "tiff": encode(colours(), "TIFF"),
    "pnm": encode(colours(), "PPM"),
}
