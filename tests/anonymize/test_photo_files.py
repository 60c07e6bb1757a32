"""Copies of photos hold pixels and a colour profile, no metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from cascade.anonymize.photo_files import colour_profile, encoded, written_name
from tests.photos import portrait

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_colour_profile_is_taken_over_and_nothing_else(tmp_path, suffix):
    source = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    Image.fromarray(portrait()).save(source, exif=exif, icc_profile=PROFILE)
    assert b"secret" in source.read_bytes()
    data = encoded(portrait(), source.name, colour_profile(source))
    assert b"secret" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.info.get("icc_profile") == PROFILE
        assert not dict(image.getexif()) or suffix == ".tif"  # whose own tags Pillow shows there
        assert image.size == (512, 512)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_formats_without_loss_keep_the_pixels(suffix):
    with Image.open(io.BytesIO(encoded(portrait(), f"a{suffix}"))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), portrait())


@pytest.mark.parametrize(
    ("name", "written"),
    [("a.jpg", "a.jpg"), ("sub/a.PNG", "sub/a.PNG"), ("a.heic", "a.jpg"), ("a", "a.jpg"), ("a.mpo", "a.jpg")],
)
def test_a_format_that_is_not_written_becomes_jpeg(name, written):
    assert written_name(name) == written


def test_a_profile_of_other_colours_is_left_out(tmp_path):
    gray = tmp_path / "gray.jpg"
    Image.fromarray(portrait()).convert("L").save(gray, icc_profile=PROFILE)
    broken = tmp_path / "broken.jpg"
    Image.fromarray(portrait()).save(broken, icc_profile=b"nonsense")
    assert colour_profile(gray) is None
    assert colour_profile(broken) is None
    assert colour_profile(tmp_path / "none.jpg") is None
