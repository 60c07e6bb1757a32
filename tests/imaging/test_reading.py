"""What goes through the one door: every kind of image gives the same pixels, every bad one a clear error."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cascade.imaging import headers as image_headers
from cascade.imaging import reading as images
from cascade.imaging.reading import ImageError, read_image
from tests.photos import PORTRAIT, portrait

HEIGHT, WIDTH = 20, 28
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "BMP": {}, "TIFF": {}, "PPM": {}}
needs_gif = pytest.mark.skipif(
    tuple(int(part) for part in cv2.__version__.split(".")[:2]) < (4, 11),
    reason="this OpenCV cannot read GIF",
)


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


# Arrays


def test_contiguous_rgb_array_is_not_copied() -> None:
    array = colours()
    assert read_image(array) is array
    array.flags.writeable = False
    assert read_image(array) is array


GRAY = colours()[:, :, 2]
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


# Files, bytes, file objects


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


def test_jpeg_agrees_with_pillow() -> None:
    difference = np.abs(portrait().astype(int) - np.asarray(Image.open(PORTRAIT)))
    assert difference.mean() < 0.5
    assert difference.max() <= 12


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


def expected_in_mode(mode: str) -> np.ndarray:
    if mode == "I;16":
        return np.dstack([GRAY] * 3)
    bands = in_mode(mode)
    if mode in ("RGBA", "LA"):
        stored = np.asarray(bands)[:, :, :-1]
        return np.ascontiguousarray(np.broadcast_to(stored, (*GRAY.shape, 3)))
    return np.asarray(bands.convert("RGB"))


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
    ok, data = cv2.imencode(".png", (colours()[:, :, ::-1].astype(np.uint16) * 257))
    assert ok
    np.testing.assert_array_equal(read_image(data.tobytes()), colours())


def test_pillow_mode_i_is_16_bits() -> None:
    np.testing.assert_array_equal(read_image(Image.fromarray(GRAY.astype(np.int32) * 257)), np.dstack([GRAY] * 3))
    with pytest.raises(ImageError, match=r"int32"):
        read_image(Image.fromarray(GRAY.astype(np.int32) - 1000))


@needs_gif
def test_first_frame_of_a_gif() -> None:
    first, second = in_mode("P"), in_mode("P").rotate(180)
    data = encode(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(data), first.convert("RGB"))


def test_pnm_with_comments() -> None:
    data = b"P5 # made by hand\n# really\n2 1\n255\n" + bytes([10, 200])
    np.testing.assert_array_equal(read_image(data), [[[10] * 3, [200] * 3]])


# Orientation


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8),
    st.sampled_from(["PNG", "WEBP", "TIFF"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_orientation_is_undone(orientation: int, kind: str, shape: tuple[int, int]) -> None:
    upright = colours(*shape)
    data = encode(oriented(upright, orientation), kind, exif=exif(orientation), **LOSSLESS[kind])
    for way in (data, Image.open(io.BytesIO(data))):
        result = read_image(way)
        assert_contract(result)
        np.testing.assert_array_equal(result, upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg(orientation: int) -> None:
    upright = portrait()[:64, 100:196]
    data = encode(oriented(upright, orientation), "JPEG", quality=98, subsampling=0, exif=exif(orientation))
    for way in (data, Image.open(io.BytesIO(data))):
        result = read_image(way)
        assert_contract(result)
        assert np.abs(result.astype(int) - upright).mean() < 2  # any other way up differs by more than 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_tiff(orientation: int) -> None:
    stored = np.asarray(oriented(np.dstack([GRAY] * 3), orientation))[:, :, 0]
    picture = Image.fromarray(stored.astype(np.uint16) * 257)
    data = encode(picture, "TIFF", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(read_image(data)[:, :, 0], GRAY)


def test_orientation_of_webp_in_the_layout_of_jpeg() -> None:
    data = encode(oriented(colours(), 6), "WEBP", exif=exif(6), **LOSSLESS["WEBP"])
    at = data.index(b"EXIF")
    (length,) = struct.unpack_from("<I", data, at + 4)
    block = b"Exif\0\0" + data[at + 8 : at + 8 + length]  # as some programs write it
    data = data[:at] + b"EXIF" + struct.pack("<I", len(block)) + block
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    np.testing.assert_array_equal(read_image(data), colours())


def test_orientation_of_pillow_image_in_memory() -> None:
    image = oriented(colours(), 6)
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(read_image(image), colours())


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_orientations_without_meaning_change_nothing(orientation: int) -> None:
    data = encode(colours(), "PNG", exif=exif(orientation))
    np.testing.assert_array_equal(read_image(data), colours())


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"not exif at all" * 9])
def test_damaged_exif_changes_nothing(block: bytes) -> None:
    data = encode(colours(), "PNG")
    end = 8 + 25  # after IHDR
    chunk = png_of((b"eXIf", block))[8:]
    np.testing.assert_array_equal(read_image(data[:end] + chunk + data[end:]), colours())
    jpeg = encode(colours(), "JPEG", quality=95)
    body = b"Exif\0\0" + block
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    np.testing.assert_array_equal(read_image(jpeg[:2] + segment + jpeg[2:]), read_image(jpeg))


# Damage


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


CHECKED = ("jpeg", "progressive jpeg", "jpeg with a thumbnail", "png", "webp", "lossless webp")


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_short_is_an_error_wherever_it_is_cut(kind: str) -> None:
    data = WHOLE[kind]
    assert_contract(read_image(data))
    steps = [*range(1, 60), *range(60, len(data) - 1, max(1, len(data) // 50)), len(data) - 2]
    for length in sorted({step for step in steps if step < len(data)}):
        with pytest.raises(ImageError, match=r"^image: ") as caught:
            read_image(data[:length])
        if kind in CHECKED and length > 30:  # known before decoding, whatever the decoder would make of it
            assert f"cut short after {length:,} bytes" in str(caught.value)


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png", "webp"])
def test_bytes_after_the_end_do_not_matter(kind: str) -> None:
    data = WHOLE[kind]
    for tail in (b"\0" * 7, b"junk \xff\xd8\xff", data[: len(data) // 2]):
        np.testing.assert_array_equal(read_image(data + tail), read_image(data))


def test_mpo_gives_its_first_picture() -> None:
    first = Image.fromarray(portrait()[:64, :64])
    mpo = encode(first, "MPO", save_all=True, append_images=[first.rotate(90)], quality=95)
    difference = np.abs(read_image(mpo).astype(int) - portrait()[:64, :64])
    assert difference.mean() < 4


def test_jpeg_padded_with_fill_bytes() -> None:
    padded = JPEG[:2] + b"\xff" * 5 + JPEG[2:]
    np.testing.assert_array_equal(read_image(padded), read_image(JPEG))


def test_damaged_png_is_an_error() -> None:
    data = bytearray(encode(colours(), "PNG"))
    data[len(data) // 2] ^= 0x40
    with pytest.raises(ImageError, match=r"image: .*checksum in IDAT"):
        read_image(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_any_damage_gives_a_picture_or_an_image_error(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 400) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):  # and no other error
        assert_contract(read_image(bytes(damaged)))


@settings(deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"GIF89a", b"P5 "]),
    st.binary(),
)
def test_noise_is_an_image_error(start: bytes, rest: bytes) -> None:
    with pytest.raises(ImageError, match=r"^image: "):
        read_image(start + rest)


# Size


def headers(width: int, height: int) -> dict[str, bytes]:
    """Return files that promise a size and hold next to nothing."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    short = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    tags = [(256, 4, 1, width), (257, 4, 1, height)]
    directory = struct.pack("<H", 2) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return {
        "png": png_of((b"IHDR", ihdr), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")),
        "jpeg": b"\xff\xd8\xff\xc0\0\x0b\x08" + short + b"\x01\x01\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
        "webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + size,
        "bmp": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 154, 0, 0, 54, 40, width, -height, 1, 24, *[0] * 6),
        "tiff": b"II*\0\x08\0\0\0" + directory,
        "pnm": f"P6\n{width} {height}\n255\n".encode() + bytes(100),
    }


@pytest.mark.parametrize("kind", headers(1, 1))
@pytest.mark.parametrize(("width", "height"), [(20_000, 10_001), (65_501, 8), (8, 65_535)])
def test_absurd_sizes_are_refused_without_decoding(
    kind: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match=rf"image: expected sides up to .*, got {width:,}×{height:,}"):
        read_image(headers(width, height)[kind])


def test_a_size_cannot_hide_behind_other_chunks() -> None:
    large = headers(60_000, 60_000)["png"]
    with pytest.raises(ImageError, match=r"got 60,000×60,000"):
        read_image(large[:8] + png_of((b"tEXt", bytes(20)))[8:] + large[8:])


def test_absurd_sizes_of_arrays_and_pillow_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    for image in (colours(), Image.fromarray(colours()), encode(colours(), "PNG")):
        with pytest.raises(ImageError, match=r"image: expected sides up to"):
            read_image(image)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH)
    assert_contract(read_image(encode(colours(), "PNG")))


def test_sizes_read_from_headers_are_right() -> None:
    for kind, data in WHOLE.items():
        probe = next(probe for _, start, probe in image_headers.FORMATS if start.match(data))
        height, width = read_image(data).shape[:2]
        assert probe(data)[:2] == (width, height), kind


# Everything else that can go wrong


BAD = {
    "none": (None, "got None.*cv2.imread"),
    "list": ([[1, 2], [3, 4]], "got list.*one image at a time"),
    "int": (7, "got int"),
    "object": (object(), "got object"),
    "no bytes": (b"", "got 0"),
    "text": (b"hello, this is not an image", "begin with b'hello, this '"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
    "text file": (io.StringIO("hello"), 'text mode; open it with "rb"'),
    "empty file object": (io.BytesIO(), "empty"),
    "empty path": ("", "empty"),
    "missing": ("no/such/file.jpg", "none at 'no/such/file.jpg'"),
    "address": ("https://example.org/a.jpg", "not fetched"),
    "zero byte in path": ("a\0b", "null"),
    "directory": (os.curdir, "is a directory"),
    "device": (os.devnull, "not a regular file"),
    "zero-sized": (np.zeros((0, 5, 3), np.uint8), "got 5×0"),
    "zero-sized pillow": (Image.new("RGB", (0, 5)), "got 0×5"),
    "number": (np.float32(1), r"got \(\)"),
    "line": (np.zeros(9), r"got \(9,\)"),
    "file as array": (np.frombuffer(b"\xff\xd8\xff", np.uint8), r"image\.tobytes\(\)"),
    "five channels": (np.zeros((4, 4, 5)), r"got \(4, 4, 5\)"),
    "no channels": (np.zeros((4, 4, 0)), r"got \(4, 4, 0\)"),
    "channels first": (np.zeros((3, 40, 50), np.uint8), r"transpose\(1, 2, 0\)"),
    "batch": (np.zeros((1, 4, 4, 3), np.uint8), "one image at a time"),
    "int64": (np.zeros((4, 4, 3), np.int64), r"got int64; .*astype\(numpy\.uint8\)"),
    "int16": (np.zeros((4, 4, 3), np.int16), "got int16"),
    "bool": (np.zeros((4, 4), bool), "got bool; a mask"),
    "complex": (np.zeros((4, 4), complex), "got complex128"),
    "objects": (np.full((4, 4), None), "got object"),
    "nan": (np.array([[0.5, np.nan]]), "NaN"),
    "inf": (np.array([[0.5, np.inf]]), "infinity"),
    "minus inf": (np.array([[0.5, -np.inf]], np.float16), "infinity"),
    "0..255 floats": (np.array([[0.0, 254.5]]), r"got 0 to 254\.5; divide it by 255"),
    "-1..1 floats": (np.array([[-1.0, 1.0]], np.float32), r"got -1 to 1; scale it to 0\.\.1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    image, words = BAD[name]
    with pytest.raises(ImageError, match=rf"(?s)^image: .*{words}") as caught:
        read_image(image)
    assert isinstance(caught.value, ValueError)


def test_bad_color() -> None:
    with pytest.raises(ImageError, match=r"^color: .*'BGR'"):
        read_image(colours(), color="BGR")  # type: ignore[arg-type]


def test_errors_in_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(JPEG[:500])
    with pytest.raises(ImageError, match=r"cut short after 500 bytes \(file '.*broken\.jpg'\)"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encode(colours(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match=r"image: .*secret.*ermission"):
        read_image(path)


def test_closed_file() -> None:
    file = io.BytesIO(JPEG)
    file.close()
    with pytest.raises(ImageError, match=r"image: the file object cannot be read"):
        read_image(file)


def test_pillow_image_that_cannot_be_loaded() -> None:
    lazy = Image.open(io.BytesIO(JPEG[:-400]))
    with pytest.raises(ImageError, match=r"image: Pillow cannot load"):
        read_image(lazy)


# Manners


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    profile = (b"iCCP", b"x\0\0" + zlib.compress(b"not a profile"))
    data = encode(colours(), "PNG")
    end = 8 + 25
    read_image(data[:end] + png_of(profile)[8:] + data[end:])
    for whole in WHOLE.values():
        for length in (40, len(whole) // 2, len(whole) - 2):
            with pytest.raises(ImageError):
                read_image(whole[:length])
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_log_level_is_put_back_after_many_threads() -> None:
    level = images._set_log_level(3)
    try:
        data = encode(portrait(), "PNG")
        threads = [threading.Thread(target=lambda: [read_image(data) for _ in range(4)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert images._set_log_level(3) == 3
    finally:
        images._set_log_level(level)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_another_thread_reads() -> None:
    with images._LogLevel.lock:  # as if another thread were just changing the level
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if read_image(JPEG).shape == (96, 80, 3) else 1)
            finally:
                os._exit(2)
    deadline = time.monotonic() + 20
    done = status = 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0


def test_pillow_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from cascade.imaging.reading import read_image\n"
        f"print(read_image({str(PORTRAIT)!r}).shape)"
    )
    root = Path(images.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "(512, 512, 3)"
