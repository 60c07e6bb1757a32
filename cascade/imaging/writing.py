"""Pictures as the bytes of a file."""

from __future__ import annotations

import io

from PIL import Image

from cascade.imaging.pixels import RGBImage

__all__ = ["encode_jpeg"]

JPEG_QUALITY = 95


def encode_jpeg(image: RGBImage, quality: int = JPEG_QUALITY, xmp: bytes = b"") -> bytes:
    """Return an image (H, W, 3) uint8 RGB as a JPEG file, in full colour resolution: thin lines stay sharp.

    ``xmp`` is a packet of metadata.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0, xmp=xmp or None)
    return file.getvalue()
