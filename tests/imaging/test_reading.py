"""Arrays, files and Pillow images: every kind of image gives the same pixels."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cascade.imaging import opening
from cascade.imaging.reading import ImageError, read_image
from tests.imaging.pictures import (
    GRAY,
    HEIGHT,
    LOSSLESS,
    PILLOW_MODES,
    WIDTH,
    assert_contract,
    colours,
    encode,
    in_mode,
    png_of,
)


def test_contiguous_rgb_array_is_not_copied() -> None:
    array = colours()
    assert read_image(array) is array
    array.flags.writeable = False
    assert read_image(array) is array


ARRAYS = {
    "gray": (GRAY, np.dstack([GRAY] * 3)),
    "gray, one channel": (GRAY[:, :, None], np.dstack([GRAY] * 3)),
    "gray and alpha": (np.dstack([GRAY, 255 - GRAY]), np.dstack([GRAY] * 3)),
    "rgb and alpha": (np.dstack([colours(), GRAY]), colours()),
    "uint16": (colours().astype(np.uint16) * 257, colours()),
    "big-endian uint16": ((colours().astype(np.uint16) * 257).astype(">u2"), colours()),
    "uint16 gray": (GRAY.astype(np.uint16) * 257, np.dstack([GRAY] * 3)),
    "float16": ((colours() / 255).astype(np.float16), colours()),
    "float32": ((colours() / 255).astype(np.float32), colours()),
    "float64": (colours() / 255, colours()),
    "big-endian float32": ((colours() / 255).astype(">f4"), colours()),
    "float gray and alpha": (np.dstack([GRAY / 255, np.full(GRAY.shape, np.nan)]), np.dstack([GRAY] * 3)),
    "mirrored view": (colours()[:, ::-1], colours()[:, ::-1].copy()),
    "strided view": (colours()[::3, ::2], colours()[::3, ::2].copy()),
    "column-major": (np.asfortranarray(colours()), colours()),
    "one pixel": (np.array([[[9, 8, 7]]], np.uint8), np.array([[[9, 8, 7]]], np.uint8)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array_kinds(name: str) -> None:
    array, expected = ARRAYS[name]
    before = array.copy()
    array.flags.writeable = False
    result = read_image(array)
    assert_contract(result)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("scale", [1, 257, 1 / 255], ids=["uint8", "uint16", "float"])
def test_bgr_arrays(scale: float) -> None:
    dtype = {1: np.uint8, 257: np.uint16}.get(scale, np.float64)
    bgr = (colours()[:, :, ::-1].astype(float) * scale).astype(dtype)
    result = read_image(bgr, color="bgr")
    assert_contract(result)
    np.testing.assert_array_equal(result, colours())
    np.testing.assert_array_equal(read_image(np.dstack([bgr, bgr[:, :, 0]]), color="bgr"), colours())
    np.testing.assert_array_equal(read_image(GRAY, color="bgr"), np.dstack([GRAY] * 3))


def test_bgr_leaves_files_alone() -> None:
    np.testing.assert_array_equal(read_image(encode(colours(), "PNG"), color="bgr"), colours())


def test_every_uint16_is_rounded_to_the_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(read_image(values)[:, :, 0], np.rint(values / 257).astype(np.uint8))


@given(hnp.arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=32)))
def test_floats_are_rounded_to_the_nearest(array: np.ndarray) -> None:
    exact = array.astype(np.float64) * 255
    assert np.abs(read_image(array) - exact).max() <= 0.5 + 1e-4


def test_floats_a_hair_outside_are_let_in() -> None:
    array = np.array([[[-5e-4, 0.5, 1 + 5e-4]]])
    np.testing.assert_array_equal(read_image(array), [[[0, 128, 255]]])


def test_objects_with_array_method() -> None:
    class Tensor:
        def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
            return colours()

    np.testing.assert_array_equal(read_image(Tensor()), colours())

    class OnGpu:
        def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
            raise TypeError("call .cpu() first")

    with pytest.raises(ImageError, match=r"image: .*OnGpu.*call \.cpu\(\) first"):
        read_image(OnGpu())


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_by_every_way_in(kind: str, tmp_path: Path) -> None:
    data = encode(colours(), kind, **LOSSLESS[kind])
    path = tmp_path / "пример 写真.bin"  # the content counts, not the name
    path.write_bytes(data)
    ways = [str(path), path, data, bytearray(data), memoryview(data), io.BytesIO(data), path.open("rb")]
    for way in ways:
        result = read_image(way)
        assert_contract(result)
        assert result.flags.writeable
        np.testing.assert_array_equal(result, colours())
    ways[-1].close()


def test_file_object_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"header" + encode(colours(), "PNG"))
    file.seek(6)
    np.testing.assert_array_equal(read_image(file), colours())
    with pytest.raises(ImageError, match=r"image: .*read to its end"):
        read_image(file)


def test_a_file_object_whose_read_takes_no_number() -> None:
    class Whole:
        def read(self) -> bytes:
            return encode(colours(), "PNG")

    np.testing.assert_array_equal(read_image(Whole()), colours())


def test_a_file_object_whose_read_takes_no_number_and_fails() -> None:
    class Broken:
        def read(self) -> bytes:
            raise OSError("the line went dead")

    with pytest.raises(ImageError, match="the line went dead"):
        read_image(Broken())


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_is_read_to_its_end(buffering: int) -> None:
    """An unbuffered one gives 64 kB at once."""
    data = encode(np.random.default_rng(0).integers(0, 256, (420, 420, 3), np.uint8), "JPEG", quality=95)
    assert len(data) > 1 << 17
    ours, theirs = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), open(theirs, "wb") as end:
            end.write(data)

    writer = threading.Thread(target=write)
    with open(ours, "rb", buffering) as pipe:
        writer.start()
        found = read_image(pipe)
    writer.join()
    np.testing.assert_array_equal(found, read_image(data))


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_that_is_too_long_is_not_read_to_its_end(buffering: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_PIPE_BYTES", 1000)
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering) as pipe, open(theirs, "wb", 0) as end:
        end.write(bytes(1001))  # and it stays open
        with pytest.raises(ImageError, match="at most 1,000 bytes from a stream, got more"):
            read_image(pipe)


def expected_in_mode(mode: str) -> np.ndarray:
    if mode == "I;16":
        return np.dstack([GRAY] * 3)
    picture = in_mode(mode)
    if mode in ("RGBA", "LA"):
        stored = np.asarray(picture)[:, :, :-1]
        return np.ascontiguousarray(np.broadcast_to(stored, (*GRAY.shape, 3)))
    return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("mode", PILLOW_MODES)
def test_pillow_modes(mode: str, recwarn: pytest.WarningsRecorder) -> None:
    result = read_image(in_mode(mode))
    assert_contract(result)
    assert result.flags.writeable
    np.testing.assert_array_equal(result, expected_in_mode(mode))
    assert not recwarn.list


@pytest.mark.parametrize("mode", [mode for mode in PILLOW_MODES if mode != "CMYK"])
def test_png_modes(mode: str) -> None:
    result = read_image(encode(in_mode(mode), "PNG"))
    assert_contract(result)
    np.testing.assert_array_equal(result, expected_in_mode(mode))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "I;16"])
def test_tiff_modes(mode: str) -> None:
    np.testing.assert_array_equal(read_image(encode(in_mode(mode), "TIFF")), expected_in_mode(mode))


def test_float_tiff_follows_the_rule_for_floats() -> None:
    picture = Image.fromarray((GRAY / 255).astype(np.float32))
    np.testing.assert_array_equal(read_image(encode(picture, "TIFF"))[:, :, 0], GRAY)
    with pytest.raises(ImageError, match=r"image: expected float32 values in 0\.\.1, got 0 to "):
        read_image(encode(Image.fromarray(GRAY.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("transparency", [3, bytes(range(32))], ids=["one colour", "by colour"])
def test_transparent_palettes_keep_their_colours(transparency: int | bytes, recwarn: pytest.WarningsRecorder) -> None:
    palette = in_mode("P")
    data = encode(palette, "PNG", transparency=transparency)
    np.testing.assert_array_equal(read_image(data), palette.convert("RGB"))
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(data))), palette.convert("RGB"))
    assert not recwarn.list


def test_16_bit_colour_png() -> None:
    rows = (colours().astype(">u2") * 257).reshape(HEIGHT, -1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    np.testing.assert_array_equal(read_image(png_of((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))), colours())


def test_pillow_mode_i_is_16_bits() -> None:
    np.testing.assert_array_equal(read_image(Image.fromarray(GRAY.astype(np.int32) * 257)), np.dstack([GRAY] * 3))
    with pytest.raises(ImageError, match=r"int32"):
        read_image(Image.fromarray(GRAY.astype(np.int32) - 1000))


def test_first_frame_of_a_gif() -> None:
    first, second = in_mode("P"), in_mode("P").rotate(180)
    data = encode(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(data), first.convert("RGB"))


def test_pnm_with_comments() -> None:
    data = b"P5 # made by hand\n# really\n2 1\n255\n" + bytes([10, 200])
    np.testing.assert_array_equal(read_image(data), [[[10] * 3, [200] * 3]])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_fewer_pixels_can_be_allowed(kind: str, tmp_path: Path) -> None:
    data = encode(colours(), kind)
    (tmp_path / "photo").write_bytes(data)
    for image in (lambda: data, lambda: io.BytesIO(data), lambda: tmp_path / "photo"):
        assert read_image(image(), max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ImageError, match=f"and {HEIGHT * WIDTH - 1:,} pixels in all"):
            read_image(image(), max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(ImageError, match="max_pixels: expected 1 to 200,000,000, got 0"):
        read_image(data, max_pixels=0)
    for wrong in ("5", True):
        with pytest.raises(ImageError, match=f"max_pixels: expected 1 to 200,000,000, got {wrong!r}"):
            read_image(data, max_pixels=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_pillow_image_whose_file_was_closed_is_an_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encode(colours(), kind))
    with path.open("rb") as file:
        theirs = Image.open(file)
    with Image.open(path) as ours:
        pass
    for image in (theirs, ours):
        with pytest.raises(ImageError, match=r"its file was closed before its pixels were read; call load\(\)"):
            read_image(image)


def test_views_of_memory_may_have_gaps() -> None:
    data = encode(colours(), "PNG")
    spread = memoryview(np.repeat(np.frombuffer(data, np.uint8), 2))[::2]
    np.testing.assert_array_equal(read_image(spread), read_image(data))
