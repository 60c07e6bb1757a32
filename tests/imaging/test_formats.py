"""Formats of files: what people have is read, and folders are searched for it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cascade.imaging import formats
from cascade.imaging.formats import IMAGE_SUFFIXES, is_photo, is_unread_picture
from cascade.imaging.reading import ImageError, ImageWarning, read_image
from tests.imaging.pictures import GRAY, JPEG, assert_contract, colours, encode, exif, in_mode, oriented
from tests.photos import PORTRAIT, portrait


def test_jpeg_is_that_of_pillow_to_the_bit() -> None:
    np.testing.assert_array_equal(portrait(), np.asarray(Image.open(PORTRAIT)))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}, {"optimize": True}]
)
def test_jpeg_is_that_of_opencv_to_the_bit(options: dict[str, object]) -> None:
    cv2 = pytest.importorskip("cv2")
    data = encode(portrait()[:203, :301], "JPEG", **options)
    np.testing.assert_array_equal(read_image(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1)[:, :, ::-1])


def test_jfif(tmp_path: Path) -> None:
    path = tmp_path / "photo.jfif"
    path.write_bytes(JPEG)
    np.testing.assert_array_equal(read_image(path), read_image(JPEG))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("orientation", [1, 6])
def test_avif(orientation: int) -> None:
    upright = portrait()[:64, 100:196]
    data = encode(oriented(upright, orientation), "AVIF", quality=95, exif=exif(orientation))
    result = read_image(data)
    assert_contract(result)
    assert np.abs(result.astype(int) - upright).mean() < 3


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_with_garbage_for_exif() -> None:
    upright = portrait()[:64, 100:196]
    block = exif(1)
    block[0x010F] = "a camera's maker"
    data = encode(upright, "AVIF", quality=95, exif=block.tobytes())
    at = data.index(b"MM\0*")
    with pytest.warns(ImageWarning, match="EXIF"):
        result = read_image(data[:at] + b"\x77" * 8 + data[at + 8 :])
    assert np.abs(result.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic(orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    upright = portrait()[:64, 100:196]
    heif.register_heif_opener()
    data = encode(oriented(upright, orientation), "HEIF", quality=95, exif=exif(orientation).tobytes())
    for way in (data, Image.open(io.BytesIO(data))):
        result = read_image(way)
        assert_contract(result)
        assert np.abs(result.astype(int) - upright).mean() < 3
    with pytest.raises(ImageError, match=r"^image: "):
        read_image(data[:400])


def test_heic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        read_image(b"\0\0\0\x18ftypheic" + bytes(99))


@pytest.mark.parametrize("kind", ["CMYK", "YCCK"])
def test_cmyk_jpeg_inverted_as_adobe_does(kind: str) -> None:
    data = encode(Image.fromarray(portrait()[:64, 100:196]).convert("CMYK"), "JPEG", quality=98, subsampling=0)
    assert b"Adobe" in data  # Pillow writes inverted values, as Photoshop does
    result = read_image(data)
    assert_contract(result)
    assert np.abs(result.astype(int) - portrait()[:64, 100:196]).mean() < 4
    np.testing.assert_array_equal(result, read_image(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_first_frame_of_animations(kind: str) -> None:
    first = in_mode("P") if kind == "GIF" else in_mode("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=[first.rotate(180)], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    np.testing.assert_array_equal(read_image(data), first.convert("RGB"))
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(data))), first.convert("RGB"))


def test_first_page_of_a_tiff() -> None:
    first = in_mode("RGB")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        options = {"save_all": True, "append_images": [first.resize((9, 9))], "compression": compression}
        np.testing.assert_array_equal(read_image(encode(first, "TIFF", **options)), colours())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_any_bit_depth_fill_the_scale(bits: int) -> None:
    values = np.rint(GRAY / 255 * ((1 << bits) - 1)).astype(np.uint16)
    values[0, 0] = (1 << bits) - 1
    expected = GRAY.copy()
    expected[0, 0] = 255
    picture = Image.fromarray(values)
    ways = [values, picture, Image.fromarray(values.astype(np.int32)), encode(picture, "PNG"), encode(picture, "TIFF")]
    for way in ways:
        np.testing.assert_array_equal(read_image(way)[:, :, 1], expected)


def test_pgm_of_12_bits() -> None:
    body = b"".join(struct.pack(">H", int(value) * 4095 // 255) for value in GRAY.ravel())
    result = read_image(b"P5 28 20 4095\n" + body)
    assert np.abs(result[:, :, 0].astype(int) - GRAY).max() <= 1


def test_float_images_of_pillow_follow_the_rule_for_floats() -> None:
    picture = Image.fromarray((GRAY / 255).astype(np.float32))
    assert picture.mode == "F"
    np.testing.assert_array_equal(read_image(picture)[:, :, 2], GRAY)
    with pytest.raises(ImageError, match="divide it by 255"):
        read_image(Image.fromarray(GRAY.astype(np.float32)))


@pytest.mark.parametrize("transparency", [3, bytes(range(32))])
def test_palette_png_with_orientation(transparency: int | bytes) -> None:
    upright = in_mode("P")
    data = encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", transparency=transparency, exif=exif(6))
    np.testing.assert_array_equal(read_image(data), upright.convert("RGB"))


def test_previews_of_raw_photos_are_not_taken_for_the_photo() -> None:
    data = encode(colours(), "TIFF", tiffinfo={254: 1})
    with pytest.raises(ImageError, match="only a preview"):
        read_image(data)


def test_suffixes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jfif", "a.AVIF", "a.JPG", "a.b.tiff"):
        assert is_photo(name) and not is_unread_picture(name)
    for name in ("a.dng", "a.CR3", "a.jxl", "a.jp2"):
        assert is_unread_picture(name) and not is_photo(name)
    for name in ("a.txt", "jpg", "a.json", "faces.csv"):
        assert not is_unread_picture(name) and not is_photo(name)
    for installed in (True, False):
        monkeypatch.setattr(formats, "heif_is_installed", lambda there=installed: there)
        assert is_photo("a.heic") is installed
        assert is_unread_picture("a.heic") is not installed
    assert IMAGE_SUFFIXES[0] == ".jpg"
