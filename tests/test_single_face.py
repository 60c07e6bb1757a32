"""The one face of a photo or crop: found, enlarged where crops are small, aligned as others where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.imaging.reading import ImageError
from cascade.single_face import align_as_usual, enlarged, find_single_face
from tests.photos import FACE_LANDMARKS, portrait


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_the_face_of_a_photo_is_the_largest(tmp_path: Path) -> None:
    small = np.array(Image.fromarray(portrait()).resize((256, 256)))
    both = np.full((512, 768, 3), 128, np.uint8)
    both[:256, :256], both[:, 256:] = small, portrait()
    face = find_single_face(saved(tmp_path / "a.png", both), is_crop=False)
    assert face is not None and face.crop.shape == (112, 112, 3)
    assert face.rival == pytest.approx(0.5, abs=0.1)
    expected = (np.array(FACE_LANDMARKS) + np.array([256, 0])) / (768, 512)
    assert np.abs(face.landmarks - expected).max() < 0.02


def test_the_face_of_a_crop_is_over_its_centre_and_small_crops_are_enlarged(tmp_path: Path) -> None:
    crop = portrait()[50:200, 150:300]
    tiny = np.array(Image.fromarray(crop).resize((48, 48), Image.Resampling.BOX))
    large, small = (
        find_single_face(saved(tmp_path / f"{pixels.shape[0]}.png", pixels), is_crop=True) for pixels in (crop, tiny)
    )
    assert large is not None and small is not None
    assert np.abs(large.landmarks - small.landmarks).max() < 0.04
    assert enlarged(tiny).shape == (192, 192, 3) and enlarged(crop) is crop
    usual = align_as_usual(tmp_path / "48.png", small.landmarks)
    assert np.abs(usual.astype(int) - small.crop).max() <= 1


def test_no_face_is_none_and_no_photo_an_error(tmp_path: Path) -> None:
    nothing = saved(tmp_path / "gray.png", np.full((200, 200, 3), 90, np.uint8))
    assert find_single_face(nothing, is_crop=False) is None and find_single_face(nothing, is_crop=True) is None
    with pytest.raises(ImageError):
        find_single_face(tmp_path / "none.png", is_crop=True)
