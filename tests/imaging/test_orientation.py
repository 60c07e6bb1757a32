"""The EXIF orientation of files and Pillow images is undone."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cascade.imaging.reading import ImageWarning, read_image
from tests.imaging.pictures import (
    GRAY,
    LOSSLESS,
    assert_contract,
    colours,
    encode,
    exif,
    oriented,
    png_of,
)
from tests.photos import portrait


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


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt"])
def test_orientation_in_a_png_as_imagemagick_writes_it(chunk: str) -> None:
    block = exif(6).tobytes()
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    info = PngInfo()
    info.add_text("Raw profile type exif", text, zip=chunk == "zTXt")
    data = encode(oriented(colours(), 6), "PNG", pnginfo=info)
    assert chunk.encode() in data
    for way in (data, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(read_image(way), colours())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation_in_xmp(kind: str) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    options: dict[str, object] = {"xmp": xmp}
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options = {"pnginfo": info}
    elif kind == "TIFF":
        options = {"tiffinfo": {0x0112: 8}}
    data = encode(oriented(colours(), 8), kind, **options, **LOSSLESS[kind])
    for way in (data, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(read_image(way), colours())


GARBAGE = {
    "far": b"II+\0\x08\0\0\0" + b"\xff" * 20,  # BigTIFF with an offset of 2⁶⁴
    "past the end": b"II*\0\xff\xff\xff\xff",
    "cut short": exif(6).tobytes()[6:20],
    "text": b"not exif at all" * 9,
    "noise": bytes(range(200)),
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_with_garbage_for_exif_is_read_with_a_warning(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.img"
    plain = encode(colours(), kind, **LOSSLESS.get(kind, {}))
    path.write_bytes(encode(colours(), kind, exif=b"Exif\0\0" + GARBAGE[name], **LOSSLESS.get(kind, {})))
    with pytest.warns(ImageWarning, match=r"photo\.img.*EXIF data were ignored"):
        np.testing.assert_array_equal(read_image(path), read_image(plain))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_for_exif_through_pillow(name: str) -> None:
    data = encode(colours(), "WEBP", exif=b"Exif\0\0" + GARBAGE[name], **LOSSLESS["WEBP"])
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(data))), colours())


def test_a_tiff_with_garbage_behind_its_tags_is_read() -> None:
    data = encode(oriented(colours(), 6), "TIFF", tiffinfo={0x0112: 6, 34665: 0xFFFFFFF0})
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
