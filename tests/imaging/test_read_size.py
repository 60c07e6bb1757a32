"""The size of a file's picture, read without decoding it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.imaging.orientation import SIDEWAYS
from cascade.imaging.reading import ImageError, read_image, read_size

SUFFIXES = ["jpg", "png", "webp", "tif", "avif", "bmp", "gif", "ppm"]


def _photo(path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if path.suffix in (".bmp", ".gif", ".ppm") else {"exif": exif}
    try:
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, **options)
    except (KeyError, OSError) as error:
        pytest.skip(f"this build of Pillow does not write it: {error}")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_the_size_of_the_pixels(tmp_path, suffix):
    path = _photo(tmp_path / f"a.{suffix}")
    assert read_size(path) == (30, 20, 1)
    assert read_size(path).upright == read_image(path).shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_the_stored_size_and_the_orientation_give_the_upright_one(tmp_path, suffix, orientation):
    path = _photo(tmp_path / f"a.{suffix}", orientation)
    assert read_size(path) == (30, 20, orientation)
    assert (
        read_size(path).upright == read_image(path).shape[1::-1] == ((20, 30) if orientation in SIDEWAYS else (30, 20))
    )


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xd8\xff\xe0", b"II*\0\xff\xff\xff\xff", b"no image at all"])
def test_what_is_no_image_raises_image_error(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.jpg"):
        read_size(path)
