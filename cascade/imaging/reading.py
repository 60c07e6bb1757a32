"""Reading images: files, bytes, arrays and Pillow images become H×W×3 uint8 RGB, upright.

Every function of the package that takes an image calls `read_image` first. So the rules for colour order, bit depth,
alpha and EXIF orientation are the same everywhere.
"""

from __future__ import annotations

import io
import os
import warnings
from functools import partial
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cascade.checks import is_number
from cascade.imaging.decoding import UNCOMPRESSED, Source, check_opened, decode, opened_orientation, read_header
from cascade.imaging.errors import ImageError, ImageWarning, quoted
from cascade.imaging.formats import format_of, what_it_is
from cascade.imaging.opening import bytes_left, from_file_object, from_path, read_pipe, type_name
from cascade.imaging.orientation import SIDEWAYS, upright
from cascade.imaging.pixels import MAX_PIXELS, MAX_SIDE, RGBImage, from_array, from_pillow
from cascade.imaging.reduced import REDUCTIONS, Frame, ReducedPhoto

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageError",
    "ImageInput",
    "ImageWarning",
    "RGBImage",
    "StoredSize",
    "read_image",
    "read_reduced",
    "read_size",
]

START = 64  # bytes that tell the format


class _Rules(NamedTuple):
    """What files are read by."""

    allow_damage: bool
    max_pixels: int | None
    on_white: bool
    reduction: int = 1


class _Readable(Protocol):
    def read(self) -> bytes: ...


class _Pillow(Protocol):
    def getexif(self) -> Any: ...


class _ArrayLike(Protocol):
    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class StoredSize(NamedTuple):
    """The size of a picture as its file has it, and the EXIF orientation that turns it upright."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as displayed, which are those that `read_image` gives."""
        return (self.height, self.width) if self.orientation in SIDEWAYS else (self.width, self.height)


_Bytes: TypeAlias = bytes | bytearray | memoryview
ImageInput: TypeAlias = str | os.PathLike[Any] | _Bytes | npt.NDArray[Any] | _Readable | _Pillow | _ArrayLike
"""What `read_image` takes."""


def read_image(
    image: ImageInput,
    *,
    color: Literal["rgb", "bgr"] = "rgb",
    truncated: Literal["error", "allow"] = "error",
    max_pixels: int | None = None,
    alpha: Literal["drop", "white"] = "drop",
) -> RGBImage:
    """Return any kind of image as H×W×3 uint8 RGB, C-contiguous and upright.

    Parameters
    ----------
    image
        One of

        - a path (`str` or `os.PathLike`) to a JPEG, PNG, WebP, AVIF, BMP, TIFF, GIF or PNM file, or, with the package
          pillow-heif, to a HEIC or HEIF file;
        - the bytes of such a file, or a binary file object, which is read from its position to its end;
        - a Pillow image;
        - an array, or an object with `__array__`: gray (H, W) or (H, W, 1), gray and alpha (H, W, 2), colour
          (H, W, 3), colour and alpha (H, W, 4), of type uint8, uint16 or float16/32/64 in 0..1 (times 255, rounded).
    color
        Order of the channels of an array: "rgb", or "bgr" for arrays from OpenCV. It does not matter for files and
        Pillow images, which know their order.
    truncated
        What happens if the decoder finds a file damaged or cut short: "error", or "allow" for the part that it could
        decode, with the rest grey or black, and an `ImageWarning`.
    max_pixels
        The most pixels of a file; None stands for `MAX_PIXELS`. Files with more are refused before they are decoded.
    alpha
        What happens to transparency: "drop", the stored colours stay, or "white", the picture is laid on white, as
        viewers show it. What lies under transparent pixels is then not in the result.

    Returns
    -------
    (H, W, 3) uint8 array. The EXIF orientation of files and Pillow images is applied. Of several frames or pages the
    first is taken. A C-contiguous (H, W, 3) uint8 array in RGB order is returned itself, not a copy.

    Notes
    -----
    Gray values of 16 bits (uint16 arrays, Pillow's modes I;16 and I, PNG and TIFF files) are scaled by the least of
    8, 10, 12, 14 and 16 bits that holds the largest of them: 12-bit data become 0..255 too. Of 16-bit colour files,
    Pillow takes the upper 8 bits.

    A file that lacks no pixels is read, with an `ImageWarning` that names it: damaged EXIF data, a missing end. What
    the decoder finds damaged is an error. JPEG has no checksums, so damage within its scans is not always found.

    Raises
    ------
    ImageError
        For everything else: missing, damaged or incomplete files, empty images, wrong shapes and types, NaN, floats
        outside 0..1, files with more pixels than allowed or sides than `MAX_SIDE`, of more bytes than such a picture
        needs, and JPEG files of many scans. Nothing is decoded then.
    """
    return _read(image, color, _rules(truncated, max_pixels, alpha)).pixels


def read_reduced(
    image: ImageInput,
    reduction: int,
    *,
    color: Literal["rgb", "bgr"] = "rgb",
    truncated: Literal["error", "allow"] = "error",
    max_pixels: int | None = None,
    alpha: Literal["drop", "white"] = "drop",
) -> ReducedPhoto:
    """Return a photo as `read_image` does, JPEG files at a fraction of their size, which takes less time and memory.

    The decoder of JPEG leaves out the fine detail of each block of 8×8 pixels, so that nothing aliases.

    Parameters
    ----------
    image, color, truncated, max_pixels, alpha
        As of `read_image`.
    reduction
        1, 2, 4 or 8: the sides of a JPEG are divided by it and rounded up. All other images, and photos with a side of
        fewer pixels, are read as they are.

    Returns
    -------
    The pixels, and the `Frame` that says by how much they are reduced and takes points in them to the photo.

    Raises
    ------
    ImageError
        As `read_image`.
    ValueError
        For another reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected 1, 2, 4 or 8, got {quoted(reduction)}")
    return _read(image, color, _rules(truncated, max_pixels, alpha)._replace(reduction=int(reduction)))


def _rules(truncated: str, max_pixels: int | None, alpha: str) -> _Rules:
    if truncated not in ("error", "allow"):
        raise ImageError(f'truncated: expected "error" or "allow", got {quoted(truncated)}')
    if max_pixels is not None and not (is_number(max_pixels) and 1 <= max_pixels <= MAX_PIXELS):
        raise ImageError(f"max_pixels: expected 1 to {MAX_PIXELS:,}, got {quoted(max_pixels)}")
    if alpha not in ("drop", "white"):
        raise ImageError(f'alpha: expected "drop" or "white", got {quoted(alpha)}')
    return _Rules(truncated == "allow", max_pixels, alpha == "white")


def _read(image: ImageInput, color: str, rules: _Rules) -> ReducedPhoto:
    if color not in ("rgb", "bgr"):
        raise ImageError(f'color: expected "rgb" or "bgr", got {quoted(color)}')
    work = partial(_from_file, rules=rules)
    if isinstance(image, (str, os.PathLike)):
        return from_path(image, work)
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = image.tobytes() if isinstance(image, memoryview) else image  # some views have gaps
        return work(io.BytesIO(data), "bytes")
    if callable(getattr(image, "read", None)):
        return from_file_object(image, work)
    if all(hasattr(image, name) for name in ("getexif", "convert", "mode", "size")):
        return _as_it_is(_from_pillow(image, rules))
    if hasattr(image, "__array__"):
        return _as_it_is(from_array(_as_array(image), bgr=color == "bgr", on_white=rules.on_white))
    raise _unexpected(image)


def _as_it_is(pixels: RGBImage) -> ReducedPhoto:
    return ReducedPhoto(pixels, Frame(pixels.shape[1], pixels.shape[0]))


def read_size(path: str | os.PathLike[Any]) -> StoredSize:
    """Return the size of an image file and its orientation without decoding it.

    Damaged EXIF data counts as none, as in `read_image`. Raises `ImageError` for what is no image file; whether its
    pixels are complete is not looked at.
    """
    return from_path(path, lambda file, _: _header(file))


def _header(file: BinaryIO) -> StoredSize:
    start = file.read(START)
    length = bytes_left(file)
    known = format_of(start)
    if known is None or length is None:
        raise ImageError(f"image: expected an image file, got {what_it_is(start, len(start))}")
    length += len(start)
    if length > known.largest:
        raise ImageError(f"image: expected at most {known.largest:,} bytes of {known.name} data, got {length:,}")
    file.seek(0)
    whole = known.name not in (*UNCOMPRESSED, "JPEG")  # of these the beginning is enough
    source = Source(file.read() if whole else file, length, known)
    return StoredSize(*read_header(source, lambda _: None))


def _unexpected(image: object) -> ImageError:
    hint = ""
    if image is None:
        hint = ", which cv2.imread returns for a file that it cannot read"
    elif isinstance(image, (list, tuple)):
        hint = "; pass one image at a time, or numpy.asarray(...) of nested numbers"
    return ImageError(
        f"image: expected a path, bytes, file object, Pillow image or array, got {type_name(image)}{hint}"
    )


# Files and bytes


def _from_file(file: BinaryIO, name: str, rules: _Rules) -> ReducedPhoto:
    """The picture of an open file that stands at its beginning; ``name`` is for warnings."""
    length = bytes_left(file)
    start = file.read(START)
    if not start:
        raise ImageError("image: expected the bytes of an image, got 0")
    known = format_of(start)
    if known is None:
        names = "JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF, GIF or PNM"
        raise ImageError(f"image: expected {names} data, got {what_it_is(start, length or len(start))}")
    if length is not None and length > known.largest:
        raise ImageError(f"image: expected at most {known.largest:,} bytes of {known.name} data, got {length:,}")
    if length is None:  # a pipe
        data = read_pipe(start, file)
        return _decoded(Source(data, len(data), known, rules.max_pixels, rules.reduction), name, rules)
    if known.name in UNCOMPRESSED:
        return _decoded(Source(file, length, known, rules.max_pixels, rules.reduction), name, rules)
    file.seek(0)
    return _decoded(Source(file.read(), length, known, rules.max_pixels, rules.reduction), name, rules)


def _decoded(source: Source, name: str, rules: _Rules) -> ReducedPhoto:
    problems: list[str] = []
    image, frame = decode(source, allow_damage=rules.allow_damage, warn=problems.append)
    pixels = from_pillow(image, on_white=rules.on_white)
    _warn(name, problems)
    return ReducedPhoto(pixels, frame)


# Pillow images and arrays


def _from_pillow(image: Any, rules: _Rules) -> RGBImage:
    problems: list[str] = []
    try:
        check_opened(image)
        image.load()  # first: a PNG may have its orientation last, and Pillow applies that of TIFFs on loading
        shown = upright(image, opened_orientation(image, problems.append))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error …
        reason = str(error) or type(error).__name__
        if hasattr(image, "fp") and getattr(image.fp, "closed", True):
            reason = "its file was closed before its pixels were read; call load() while the file is open"
        raise ImageError(f"image: Pillow cannot load this {type_name(image)}: {reason}") from error
    pixels = from_pillow(shown, on_white=rules.on_white)
    _warn(quoted(getattr(image, "filename", "") or "Pillow image"), problems)
    return pixels


def _as_array(image: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # for instance a tensor that lies on a GPU
        raise ImageError(f"image: {type_name(image)} cannot become a numpy array: {error}") from error


def _warn(name: str, problems: list[str]) -> None:
    for problem in problems:
        warnings.warn(f"{name}: {problem}", ImageWarning, stacklevel=2)
