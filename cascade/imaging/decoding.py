"""Image files decoded by Pillow, within limits of size, time and memory, whoever wrote them.

The size that counts is the one that Pillow found, as Pillow decodes. It is checked before there is memory for pixels.

Readers of other formats than JPEG are imported when the first such file is opened.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, ImageFile, JpegImagePlugin

from cascade.imaging import jpeg, png
from cascade.imaging.errors import ImageError
from cascade.imaging.formats import Format
from cascade.imaging.orientation import SIDEWAYS, stored_orientation, upright
from cascade.imaging.pixels import MAX_PIXELS, check_size
from cascade.imaging.reduced import Frame, reduced_frame

UNCOMPRESSED = ("BMP", "TIFF", "PNM")
"""Formats whose large files are not read as a whole."""

READERS = {
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "PNM": ("PpmImagePlugin", "PpmImageFile"),
}
"""Where Pillow has its readers: module and class."""

# The most pixels that one byte of a file can stand for, by Pillow's name of the decoder.
PIXELS_PER_BYTE = {"raw": 8, "ppm": 1, "ppm_plain": 1, "jpeg": 8192, "zip": 8256, "gif": 4096}
MOST_PIXELS_PER_BYTE = 1 << 16
# Of what Pillow's raw decoder reads; other modes have at least one bit.
BITS_PER_PIXEL = {"L": 8, "RGB": 24, "BGR": 24, "CMYK": 32, "I;16B": 16, "F;32F": 32, "F;32BF": 32}
MAX_PNM_HEADER = 1 << 16  # bytes
LARGE = 1 << 26  # pixels, which take Pillow 256 MB; above, a PNG is checked before there is memory for it

# To tell whether the last scan of a JPEG is complete: only a decoder that lacks data looks at what follows.
_FILLER = bytes((89 * at + 47) % 251 for at in range(512))


class Source(NamedTuple):
    """The data of a file: whole, or, in the uncompressed formats, to be read on demand."""

    data: bytes | BinaryIO
    length: int
    format: Format
    max_pixels: int | None = None
    reduction: int = 1
    """The most by which the sides of a JPEG are divided while it is decoded."""

    def open(self) -> BinaryIO:
        """A file at its beginning."""
        if isinstance(self.data, bytes):
            return io.BytesIO(self.data)
        self.data.seek(0)
        return self.data


Warn = Callable[[str], None]


class JpegFile(JpegImagePlugin.JpegImageFile):
    """A JPEG file; of an MPO file the first picture."""

    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF data alone, which may be damaged."""


def decode(source: Source, *, allow_damage: bool, warn: Warn) -> tuple[Image.Image, Frame]:
    """Return the picture of a file, loaded and upright, of several the first; and where it lies in the photo.

    `warn` is called with what is wrong but does not matter. Raises `ImageError`.
    """
    try:
        image = _open(source, allow_damage, warn)
        check_size(*image.size, source.max_pixels)
        _check_promise(image, source, exact=not allow_damage)
        if isinstance(image, JpegFile):
            image = _checked_jpeg(image, source, allow_damage, warn)
        stored = image.size
        reduction = _reduce(image, source.reduction)
        _load(image, allow_damage, warn)
        orientation = _orientation(image, source, warn)
        shown = upright(image, orientation)
        return shown, reduced_frame(stored, reduction, orientation) if reduction > 1 else Frame(*shown.size)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"image: expected at most {MAX_PIXELS:,} pixels of {source.format.name} data: {error}"
        ) from error
    except Exception as error:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error …
        raise _failure(source, error) from error


def read_header(source: Source, warn: Warn) -> tuple[int, int, int]:
    """Return width, height and orientation of a file's picture as it is stored; no pixel is decoded.

    HEIF files turn their pictures themselves: of these it is what the stored EXIF data says. Raises `ImageError`.
    """
    try:
        image = _open(source, True, warn)
        check_size(*image.size, source.max_pixels)
        width, height = image.size
        orientation = _orientation(image, source, warn)
        if source.format.name == "HEIF":
            orientation = image.info.get("original_orientation") or 1
        if source.format.name in ("HEIF", "TIFF") and orientation in SIDEWAYS:  # their readers tell the upright size
            width, height = height, width
        return width, height, orientation
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _failure(source, error) from error


def _open(source: Source, allow_damage: bool, warn: Warn) -> ImageFile.ImageFile:
    kind = source.format.name
    if kind == "PNG":
        return _open_png(source, allow_damage, warn)
    if kind == "TIFF":
        from cascade.imaging.tiff import open_tiff

        image, messages = open_tiff(source.open(), source.length)
        for message in messages:
            warn(message)
        return image
    if kind == "HEIF":
        return _open_heif(source)
    if kind == "AVIF":
        return _open_avif(source, warn)
    if kind == "WebP":
        _check_canvas(source.data, source.max_pixels)
    if kind == "PNM":  # byte by byte Pillow reads comments of any length
        _reader(kind)(io.BytesIO(source.open().read(MAX_PNM_HEADER)))
    return _reader(kind)(source.open())


def _reader(kind: str) -> Callable[[BinaryIO], ImageFile.ImageFile]:
    """Pillow's reader of a format that needs nothing else."""
    if kind == "JPEG":
        return JpegFile
    module, name = READERS[kind]
    found: Callable[[BinaryIO], ImageFile.ImageFile] = getattr(import_module(f"PIL.{module}"), name)
    return found


def _open_png(source: Source, allow_damage: bool, warn: Warn) -> ImageFile.ImageFile:
    from PIL import PngImagePlugin

    assert isinstance(source.data, bytes)
    chunks = png.read_chunks(source.data, allow_damage=allow_damage)
    for problem in chunks.problems:
        warn(problem)
    try:
        image = PngImagePlugin.PngImageFile(io.BytesIO(chunks.everything))
    except Exception:
        image = PngImagePlugin.PngImageFile(io.BytesIO(chunks.pixels))
        warn("its text and EXIF data were ignored, since they are damaged")
    if image.size[0] * image.size[1] > LARGE and not allow_damage:
        check_size(*image.size, source.max_pixels)
        png.check_pixels(chunks.pixels, *image.size)
    return image


def _open_heif(source: Source) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        command = "python -m pip install pillow-heif"
        raise ImageError(f"image: HEIC and HEIF photos need the package pillow-heif: {command}") from None
    reader: Callable[[BinaryIO], ImageFile.ImageFile] = HeifImageFile
    return reader(source.open())


def _open_avif(source: Source, warn: Warn) -> ImageFile.ImageFile:
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise ImageError("image: this build of Pillow has no AVIF decoder; install Pillow from its wheel on PyPI")
    assert isinstance(source.data, bytes)
    try:
        return AvifImagePlugin.AvifImageFile(source.open())
    except Exception:
        # Pillow refuses a photo over its EXIF data. Under another name they are not looked at.
        image = AvifImagePlugin.AvifImageFile(io.BytesIO(source.data.replace(b"Exif", b"none")))
    warn("its EXIF data were ignored, since they are damaged")
    return image


def _check_canvas(data: bytes | BinaryIO, max_pixels: int | None) -> None:
    """Refuse a WebP file by the size of its canvas, for which libwebp takes memory as soon as it is opened."""
    if isinstance(data, bytes) and data[12:16] == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        check_size(width, height, max_pixels)


def _checked_jpeg(image: JpegFile, source: Source, allow_damage: bool, warn: Warn) -> JpegFile:
    """The JPEG file, with an end if it has none, ready to be decoded at once."""
    assert isinstance(source.data, bytes)
    data = source.data
    jpeg.check_scans(data, *image.size)
    if not jpeg.has_end(data):
        if _has_all_pixels(data):
            warn("the end of the file is missing; all of its pixels are there")
        elif allow_damage:
            warn(f"the file is cut short after {source.length:,} bytes; the rest of the picture is grey")
        else:
            raise cut_short(source)
        image = JpegFile(io.BytesIO(jpeg.with_end(data)))
    image.decodermaxblock = len(data) + len(jpeg.END)  # in blocks, every block would be copied
    return image


def _has_all_pixels(data: bytes) -> bool:
    """Whether a JPEG without an end has all of its last scan: if so, it does not matter what follows."""
    pictures = []
    for filler in (b"", _FILLER):
        image = JpegFile(io.BytesIO(jpeg.followed_by(data, filler)))
        if not image.info.get("progressive"):  # at an eighth of the size, which needs every code of the scan
            image.draft(None, (max(1, image.size[0] // 8), max(1, image.size[1] // 8)))
        elif image.size[0] * image.size[1] > LARGE:
            return False
        try:
            pictures.append(image.tobytes())
        except OSError:
            return False
    return pictures[0] == pictures[1]


def _reduce(image: ImageFile.ImageFile, most: int) -> int:
    """Have a JPEG decoded at up to 1 / ``most`` of its size; return by how much its sides are divided."""
    width, height = image.size
    if not isinstance(image, JpegFile) or most == 1 or min(width, height) < most:
        return 1
    drafted = image.draft(None, (width // most, height // most))
    return 1 if drafted is None else round(width / drafted[1][2])


def _load(image: Image.Image, allow_damage: bool, warn: Warn) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        if not allow_damage or not isinstance(image, ImageFile.ImageFile):
            raise
        image.tile = []  # so that it keeps what was decoded before the damage
        image.load()
        warn(f"the file is damaged, and only a part of the picture was decoded: {error}")


def _orientation(image: Image.Image, source: Source, warn: Warn) -> int:
    if source.format.name == "TIFF":
        stored: int = image.orientation  # type: ignore[attr-defined]  # of cascade.imaging.tiff.TiffFile
        return stored
    try:
        return stored_orientation(image.info)
    except ValueError as error:
        warn(f"its EXIF data were ignored, since they are damaged: {error}")
        return 1


def check_opened(image: Image.Image) -> None:
    """Check a Pillow image that someone else opened, before it is loaded. Raises `ImageError`."""
    check_size(*image.size)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.tile and image.fp is not None:
        at = image.fp.tell()
        image.fp.seek(0)
        data = image.fp.read()
        image.fp.seek(at)
        jpeg.check_scans(data, *image.size)


def opened_orientation(image: Image.Image, warn: Warn) -> int:
    """The orientation of a Pillow image, which may have been changed in memory."""
    try:
        found: Any = image.getexif().get(0x0112, 1)
    except Exception as error:  # OSError, ValueError, OverflowError, struct.error …
        warn(f"its EXIF data were ignored, since they are damaged: {error}")
        return 1
    return found if isinstance(found, int) else 1


def _check_promise(image: ImageFile.ImageFile, source: Source, *, exact: bool) -> None:
    """Refuse a file that is too short for the picture that it promises, before there is memory for the picture."""
    pixels = image.size[0] * image.size[1]
    for codec, extents, offset, args in image.tile:
        if pixels > source.length * PIXELS_PER_BYTE.get(codec, MOST_PIXELS_PER_BYTE):
            raise cut_short(source)
        if exact and codec == "raw" and extents is not None and source.format.name in UNCOMPRESSED:
            rawmode, stride = (args, 0) if isinstance(args, str) else ((args or ("",))[0], (args or ("", 0))[1])
            width, height = extents[2] - extents[0], extents[3] - extents[1]
            row = -(-width * BITS_PER_PIXEL.get(rawmode, 1) // 8)
            if source.length < offset + (height - 1) * max(row, stride) + row:
                raise cut_short(source)


def cut_short(source: Source) -> ImageError:
    kind = source.format.name
    return ImageError(f"image: expected complete {kind} data, but it is cut short after {source.length:,} bytes")


def _failure(source: Source, error: Exception) -> ImageError:
    kind, data = source.format.name, source.data
    if "truncated" in str(error).lower() or (kind == "JPEG" and isinstance(data, bytes) and not jpeg.has_end(data)):
        return cut_short(source)
    reason = str(error) or type(error).__name__
    return ImageError(f"image: the {kind} data is damaged, or of a variant that Pillow cannot decode: {reason}")
