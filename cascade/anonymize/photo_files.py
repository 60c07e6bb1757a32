"""Photos as files without metadata: pixels and their colour profile, nothing else.

EXIF data, GPS positions, XMP, comments and embedded previews, which show the faces, are left behind, since the file is
written anew. Only the first frame or page of a photo is written.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from PIL import Image, features

from cascade.imaging.pixels import RGBImage

__all__ = ["colour_profile", "encoded", "written_name"]

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
}
"""Pillow's names of the formats that photos are written in, by suffix; others become JPEG files."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
"""Of Pillow's encoders, by format."""

WITH_PROFILE = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")


def written_name(name: str) -> str:
    """The name under which a photo of that name is written: with another suffix where its format is not written."""
    path = PurePath(name)
    suffix = path.suffix.lower()
    known = suffix in FORMATS and (suffix != ".avif" or features.check("avif"))
    return name if known else str(path.with_suffix(".jpg"))


def colour_profile(photo: str | Path | BinaryIO) -> bytes | None:
    """The colour profile of a photo that is read as RGB, None where it has none or one of other colours."""
    try:
        with Image.open(photo) as image:
            profile = image.info.get("icc_profile")
            rgb = image.mode in ("RGB", "RGBA", "RGBX", "P", "PA")
    except Exception:  # of a photo that can be read, its profile alone is damaged
        return None
    usable = rgb and isinstance(profile, bytes) and profile[16:20] == b"RGB " and profile[36:40] == b"acsp"
    return profile if usable else None


def encoded(image: RGBImage, name: str, profile: bytes | None = None) -> bytes:
    """An image (H, W, 3) uint8 RGB as the bytes of a file of that name, with this colour profile and no metadata."""
    kind = FORMATS[PurePath(name).suffix.lower()]
    options: dict[str, Any] = dict(OPTIONS.get(kind, {}))
    if profile is not None and kind in WITH_PROFILE:
        options["icc_profile"] = profile
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()
