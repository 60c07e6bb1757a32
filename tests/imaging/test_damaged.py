"""Damaged files and absurd sizes raise an ImageError, before anything is decoded where possible."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from cascade.imaging import pixels
from cascade.imaging.reading import ImageError, ImageWarning, read_image
from tests.imaging.pictures import (
    HEIGHT,
    JPEG,
    WHOLE,
    WIDTH,
    assert_contract,
    colours,
    encode,
    png_of,
)
from tests.photos import portrait

CHECKED = ("jpeg", "progressive jpeg", "jpeg with a thumbnail", "png", "bmp", "tiff", "pnm")


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_short_is_an_error_wherever_it_is_cut(kind: str) -> None:
    data = WHOLE[kind]
    assert_contract(read_image(data))
    steps = [*range(1, 60), *range(60, len(data) - 20, max(1, len(data) // 50))]
    for length in sorted({step for step in steps if step < len(data) - 20}):
        with pytest.raises(ImageError, match=r"^image: ") as caught:
            read_image(data[:length])
        if kind in CHECKED and length > 300:
            assert f"cut short after {length:,} bytes" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "missing"), [("jpeg", 1), ("jpeg", 2), ("progressive jpeg", 2), ("png", 2), ("png", 12)]
)
def test_a_file_without_its_end_is_read_with_a_warning(kind: str, missing: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.img"
    path.write_bytes(WHOLE[kind][:-missing])
    with pytest.warns(ImageWarning, match=r"photo\.img.*the end .*missing"):
        np.testing.assert_array_equal(read_image(path), read_image(WHOLE[kind]))


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png", "bmp", "pnm"])
def test_the_part_that_is_there_on_request(kind: str) -> None:
    data = WHOLE[kind]
    whole = read_image(data)
    with pytest.warns(ImageWarning, match="bytes: the file is"):
        part = read_image(data[: len(data) * 2 // 3], truncated="allow")
    assert part.shape == whole.shape
    if kind == "bmp":
        whole, part = whole[::-1], part[::-1]  # stored from the bottom up
    if kind != "progressive jpeg":
        np.testing.assert_array_equal(part[: len(part) // 3], whole[: len(part) // 3])
    assert (part != whole).any()
    assert_contract(read_image(data, truncated="allow"))
    with pytest.raises(ImageError, match=r"^truncated: expected"):
        read_image(data, truncated="maybe")  # type: ignore[arg-type]


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
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match=rf"image: expected sides up to .*, got {width:,}×{height:,}"):
        read_image(headers(width, height)[kind])


def test_a_size_cannot_hide_behind_other_chunks() -> None:
    large = headers(60_000, 60_000)["png"]
    with pytest.raises(ImageError, match=r"got 60,000×60,000"):
        read_image(large[:8] + png_of((b"tEXt", bytes(20)))[8:] + large[8:])


def test_absurd_sizes_of_arrays_and_pillow_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    for image in (colours(), Image.fromarray(colours()), encode(colours(), "PNG")):
        with pytest.raises(ImageError, match=r"image: expected sides up to"):
            read_image(image)
    monkeypatch.setattr(pixels, "MAX_PIXELS", HEIGHT * WIDTH)
    assert_contract(read_image(encode(colours(), "PNG")))
