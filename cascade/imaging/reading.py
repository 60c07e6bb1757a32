"""Reading images: files, bytes, arrays and Pillow images become H×W×3 uint8 RGB, upright.

Every function of the package that takes an image calls `read_image` first. So the rules for colour order, bit depth,
alpha and EXIF orientation are only here.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from cascade.imaging.headers import FORMATS, ORIENTATION_TAG, ImageError, cut_short

__all__ = ["MAX_PIXELS", "MAX_SIDE", "ImageError", "ImageInput", "RGBImage", "read_image"]

MAX_PIXELS = 200_000_000  # 600 MB of RGB: more than any camera has, far less than a malicious header can claim
MAX_SIDE = 65_500  # the longest side that JPEG libraries accept
MAX_FILE_BYTES = 2**31 - 1  # OpenCV counts encoded bytes in a 32-bit integer
FLOAT_TOLERANCE = 1e-3  # how far floats can be outside 0..1: a quarter of a grey level


class _Readable(Protocol):
    def read(self) -> bytes: ...


class _Pillow(Protocol):
    def getexif(self) -> Any: ...


class _ArrayLike(Protocol):
    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


_Bytes: TypeAlias = bytes | bytearray | memoryview
ImageInput: TypeAlias = str | os.PathLike[Any] | _Bytes | npt.NDArray[Any] | _Readable | _Pillow | _ArrayLike
"""What `read_image` takes."""

RGBImage: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, upright."""


def read_image(image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb") -> RGBImage:
    """Return any kind of image as H×W×3 uint8 RGB, C-contiguous and upright.

    Parameters
    ----------
    image
        One of

        - a path (`str` or `os.PathLike`) to a JPEG, PNG, WebP, BMP, TIFF, PNM or (OpenCV 4.11 on) GIF file;
        - the bytes of such a file, or a binary file object, which is read from its position to its end;
        - a Pillow image;
        - an array, or an object with `__array__`: gray (H, W) or (H, W, 1), gray and alpha (H, W, 2), colour
          (H, W, 3), colour and alpha (H, W, 4), of type uint8, uint16 (0..65535 becomes 0..255, rounded) or
          float16/32/64 in 0..1 (times 255, rounded).
    color
        Order of the channels of an array: "rgb", or "bgr" for arrays from OpenCV. It does not matter for files and
        Pillow images, which know their order.

    Returns
    -------
    (H, W, 3) uint8 array. The EXIF orientation of files and Pillow images is applied. Alpha is dropped, not
    blended: the stored colours stay (except in 8-bit TIFF files, which OpenCV blends with black, and in GIF files,
    whose transparent pixels it paints). Of several frames or pages the first is taken. A C-contiguous (H, W, 3)
    uint8 array in RGB order is returned itself, not a copy.

    Raises
    ------
    ImageError
        For everything else: missing, damaged or incomplete files, empty images, wrong shapes and types, NaN, floats
        outside 0..1, and more than `MAX_PIXELS` or `MAX_SIDE`, where nothing is decoded.
    """
    if color not in ("rgb", "bgr"):
        raise ImageError(f'color: expected "rgb" or "bgr", got {color!r}')
    if isinstance(image, (str, os.PathLike)):
        return _from_path(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(image))
    if callable(getattr(image, "read", None)):
        return _from_file_object(image)
    if all(hasattr(image, name) for name in ("getexif", "convert", "mode", "size")):
        return _from_pillow(image)
    if hasattr(image, "__array__"):
        return _from_array(_as_array(image), bgr=color == "bgr")
    hint = ""
    if image is None:
        hint = ", which cv2.imread returns for a file that it cannot read"
    elif isinstance(image, (list, tuple)):
        hint = "; pass one image at a time, or numpy.asarray(...) of nested numbers"
    raise ImageError(
        f"image: expected a path, bytes, file object, Pillow image or array, got {_type_name(image)}{hint}"
    )


# --------------------------------------------------------------------------------------------------
# Files and bytes


def _from_path(path: str | os.PathLike[Any]) -> RGBImage:
    name = os.fspath(path)
    if not name:
        raise ImageError("image: expected a path, got an empty one")
    try:
        mode = os.stat(name).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise ImageError(f"image: expected an image file, but {name!r} is {what}")
        with open(name, "rb") as file:
            data = file.read()
    except ImageError:
        raise
    except FileNotFoundError:
        hint = " (addresses are not fetched: download it first)" if "://" in str(name) else ""
        raise ImageError(f"image: expected an image file, but there is none at {name!r}{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ImageError(f"image: expected a readable file, but {name!r} gives: {error}") from error
    try:
        return _from_bytes(data)
    except ImageError as error:
        raise ImageError(f"{error} (file {name!r})") from None


def _from_file_object(file: Any) -> RGBImage:
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: the file was closed
        raise ImageError(f"image: the file object cannot be read: {error}") from error
    if isinstance(data, str):
        raise ImageError('image: expected a binary file object, got one in text mode; open it with "rb"')
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ImageError(f"image: expected bytes from the file object's read(), got {_type_name(data)}")
    if not len(data):
        raise ImageError("image: expected an image, but the file object is empty or was read to its end")
    return _from_bytes(bytes(data))


def _from_bytes(data: bytes) -> RGBImage:
    if not 0 < len(data) <= MAX_FILE_BYTES:
        raise ImageError(f"image: expected 1 to {MAX_FILE_BYTES:,} bytes, got {len(data):,}")
    known = next((entry for entry in FORMATS if entry[1].match(data)), None)
    if known is None:
        raise ImageError(f"image: expected JPEG, PNG, WebP, BMP, TIFF, GIF or PNM data, got {_guess(data)}")
    kind, _, probe = known
    try:
        header = probe(data)
    except (struct.error, IndexError) as error:
        raise cut_short(kind, data) from error
    _check_size(header.width, header.height)
    return _upright(_from_array(_decode(kind, header.data), bgr=True), header.orientation)


def _decode(kind: str, data: bytes) -> npt.NDArray[Any]:
    # Only "unchanged" reads gray float pages of TIFF; OpenCV applies the orientation of TIFF whatever the flags.
    # `_upright` does it for the other formats: which of them OpenCV orients depends on its version.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    if kind == "TIFF":
        flags = cv2.IMREAD_UNCHANGED
    reason = "damaged, cut short, or of a variant that it does not know"
    pixels = None
    with _quiet_opencv():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:
            reason = str(error.err)
    if pixels is None:
        raise ImageError(f"image: OpenCV {cv2.__version__} cannot decode this {kind} data: {reason}")
    return pixels


def _guess(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file; open it with Pillow or convert it"
    return f"{len(data):,} bytes that begin with {data[:12]!r}"


# --------------------------------------------------------------------------------------------------
# Pillow images and arrays


def _from_pillow(image: Any) -> RGBImage:
    _check_size(*image.size)
    try:
        image.load()  # first: a PNG may have its orientation last, and Pillow applies that of TIFFs on loading
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if image.mode not in ("L", "LA", "RGB", "RGBA", "F", "I") and not image.mode.startswith("I;16"):
            image = image.convert("RGBA")  # not to RGB, which warns about transparent palettes
        pixels = np.array(image)  # a copy, since a view of Pillow's bytes is read-only
    except Exception as error:  # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error …
        raise ImageError(f"image: Pillow cannot load this {_type_name(image)}: {error}") from error
    if image.mode == "I" and pixels.min() >= 0 and pixels.max() <= 65535:
        pixels = pixels.astype(np.uint16)  # older versions of Pillow hold 16-bit pictures as int32
    return _upright(_from_array(pixels, bgr=False), orientation)


def _as_array(image: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # for instance a tensor that lies on a GPU
        raise ImageError(f"image: {_type_name(image)} cannot become a numpy array: {error}") from error


def _from_array(array: npt.NDArray[Any], *, bgr: bool) -> RGBImage:
    _check_array(array)
    if array.ndim == 3 and array.shape[2] != 3:  # drop alpha
        array = array[:, :, 0] if array.shape[2] < 3 else array[:, :, :3]
    if array.dtype == np.uint8:
        pixels = np.ascontiguousarray(array)
    elif array.dtype.kind == "u":
        pixels = _scaled(array.astype(np.uint16, copy=False), 1 / 257)
    else:
        _check_floats(array)
        pixels = _scaled(array.astype(np.float32, copy=False), 255.0)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8) if bgr else pixels


def _check_array(array: npt.NDArray[Any]) -> None:
    shape, kind, width = array.shape, array.dtype.kind, array.dtype.itemsize
    if not (array.ndim == 2 or (array.ndim == 3 and 1 <= shape[2] <= 4)):
        hint = ""
        if array.ndim == 3 and 1 <= shape[0] <= 4:
            hint = "; the channels come first here: use image.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; pass one image at a time"
        elif array.ndim == 1 and array.dtype == np.uint8:
            hint = "; for the bytes of a file pass image.tobytes()"
        raise ImageError(f"image: expected an array of shape (H, W) or (H, W, 1 to 4), got {shape}{hint}")
    _check_size(shape[1], shape[0])
    if not ((kind == "u" and width <= 2) or (kind == "f" and width <= 8)):
        hint = "; if its values are 0..255, use image.astype(numpy.uint8)" if kind in "iu" else ""
        hint = "; a mask is not a picture" if kind == "b" else hint
        raise ImageError(f"image: expected uint8, uint16 or float16/32/64 values, got {array.dtype}{hint}")


def _check_floats(array: npt.NDArray[Any]) -> None:
    low, high = float(array.min()), float(array.max())  # NaN anywhere makes both NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"image: expected finite {array.dtype} values in 0..1, got NaN or infinity")
    if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
        hint = "scale it to 0..1" if low < 0 else "divide it by 255 or use image.astype(numpy.uint8)"
        raise ImageError(f"image: expected {array.dtype} values in 0..1, got {low:g} to {high:g}; {hint}")


def _scaled(array: npt.NDArray[Any], factor: float) -> RGBImage:
    """`array` times `factor` as uint8, rounded to the nearest and limited to 0..255."""
    # convertScaleAbs takes the absolute value, which makes 0 of the tiny negative floats that are accepted.
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(array), alpha=factor), np.uint8)


def _upright(image: RGBImage, orientation: int) -> RGBImage:
    """Undo an EXIF orientation: 2 to 8 are mirrored and rotated pictures, other values have no meaning."""
    if orientation in (5, 7):
        image = np.asarray(cv2.transpose(image), np.uint8)
        orientation = {5: 1, 7: 3}[orientation]
    if orientation in (2, 4):
        return np.asarray(cv2.flip(image, 1 if orientation == 2 else 0), np.uint8)
    rotations = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
    rotation = rotations.get(orientation)
    return image if rotation is None else np.asarray(cv2.rotate(image, rotation), np.uint8)


# --------------------------------------------------------------------------------------------------
# Small helpers


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"image: expected at least one pixel, got {width}×{height}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limits = f"sides up to {MAX_SIDE:,} and {MAX_PIXELS:,} pixels in all"
        raise ImageError(f"image: expected {limits}, got {width:,}×{height:,}")


def _type_name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")


# Sets the level (0 is silent) and returns the previous one. Its place depends on OpenCV's version.
_set_log_level: Callable[[int], int] = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel


class _LogLevel:
    """OpenCV has one log level per process: the last of several threads to finish restores it."""

    lock = threading.Lock()
    users = 0
    before = 0

    @classmethod
    def silence(cls, step: int) -> None:
        with cls.lock:
            if cls.users == 0:
                cls.before = _set_log_level(0)
            cls.users += step
            if cls.users == 0:
                _set_log_level(cls.before)

    @classmethod
    def after_fork(cls) -> None:
        """In the child, no other thread holds the lock or keeps OpenCV silent."""
        cls.lock = threading.Lock()
        if cls.users:
            cls.users = 0
            _set_log_level(cls.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LogLevel.after_fork)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing to stderr, since its errors are raised anyway."""
    _LogLevel.silence(+1)
    try:
        yield
    finally:
        _LogLevel.silence(-1)
