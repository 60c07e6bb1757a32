"""The formats of image files: what is read, by its first bytes and by its suffix, and what other files are."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import NamedTuple

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Format",
    "format_of",
    "is_photo",
    "is_unread_picture",
    "is_video",
    "what_it_is",
]

MEBIBYTE = 1 << 20


class Format(NamedTuple):
    name: str
    start: re.Pattern[bytes]
    largest: int  # bytes; the uncompressed ones can be large, and are not read as a whole


FORMATS = (
    Format("JPEG", re.compile(rb"\xff\xd8\xff"), 256 * MEBIBYTE),
    Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), 256 * MEBIBYTE),
    Format("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), 256 * MEBIBYTE),
    Format("BMP", re.compile(rb"BM.{12}[\x0c-\x7c]\0\0\0", re.DOTALL), 1280 * MEBIBYTE),
    Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), 1280 * MEBIBYTE),
    Format("GIF", re.compile(rb"GIF8[79]a"), 256 * MEBIBYTE),
    Format("PNM", re.compile(rb"P[1-6][\s#]"), 1280 * MEBIBYTE),
    Format("AVIF", re.compile(rb".{4}ftypavi[fs]", re.DOTALL), 256 * MEBIBYTE),
    Format("HEIF", re.compile(rb".{4}ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), 256 * MEBIBYTE),
)

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
    ".jfif",
    ".avif",
    ".mpo",
    ".apng",
    ".dib",
)
HEIF_SUFFIXES = (".heic", ".heif", ".hif")  # read where pillow-heif is installed

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".wmv", ".flv")
)

# Pictures that are not read; a scan of a folder counts them.
_RAW = ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mos .mrw .nef .nrw "
_RAW += ".orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
_OTHER_SUFFIXES = frozenset(
    [*_RAW.split(), ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jxl", ".psd", ".svg", ".svgz", ".tga"]
)

_OTHERS = (
    (rb".{4}ftypcrx ", "a camera's raw file; convert it to JPEG or PNG"),
    (rb".{4}ftyp", "a video (MP4, MOV); read its frames with a video library, for instance cv2.VideoCapture"),
    (rb"\x1aE\xdf\xa3|RIFF.{4}AVI |OggS|FLV", "a video; read its frames with a video library"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL file; convert it to JPEG or PNG"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 file; convert it to JPEG or PNG"),
    (rb"\0\0[\x01\x02]\0", "an icon; convert it to PNG"),
    (rb"8BPS", "a Photoshop file; export it as PNG"),
    (rb"%PDF", "a PDF; export its pages as PNG"),
    (rb"v/1\x01|#\?RADIANCE", "a file with high dynamic range (EXR, HDR); convert it to PNG"),
    (rb"FUJIFILM|IIRO|IIU\0", "a camera's raw file; convert it to JPEG or PNG"),
    (rb"\s*<", "text (HTML, SVG or XML); was a page saved in place of the photo?"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf", "an archive; unpack it first"),
    (rb"(?:/9j/|iVBORw0KGgo|UklGR|R0lGOD|data:image/)", "base64 text; pass base64.b64decode(...) of it"),
)


def format_of(start: bytes) -> Format | None:
    """The format of a file that begins so (64 bytes are enough), or None if it is not one that is read."""
    return next((each for each in FORMATS if each.start.match(start)), None)


def what_it_is(start: bytes, length: int) -> str:
    """What a file is whose format is not read, and what to do, for an error message."""
    for pattern, answer in _OTHERS:
        if re.match(pattern, start, re.DOTALL):
            return answer
    return f"{length:,} bytes that begin with {start[:12]!r}"


def is_photo(name: str) -> bool:
    """Whether a file's suffix is that of a format that can be read here."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or (suffix in HEIF_SUFFIXES and heif_is_installed())


def is_unread_picture(name: str) -> bool:
    """Whether a file's suffix is that of a picture that cannot be read here."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in _OTHER_SUFFIXES or (suffix in HEIF_SUFFIXES and not heif_is_installed())


def is_video(name: str) -> bool:
    """Whether a file's suffix is that of a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def heif_is_installed() -> bool:
    """Whether pillow-heif is there, which reads the photos of iPhones."""
    return find_spec("pillow_heif") is not None
