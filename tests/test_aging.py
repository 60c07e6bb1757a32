"""Faces at other ages."""

from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.aging import AgeSynthesizer, checked_ages, tone_of
from cascade.detect import Detector
from cascade.imaging.alignment import AlignError
from cascade.imaging.errors import ImageError
from cascade.models.files import WeightsError
from tests.photos import portrait, portrait_faces
from tests.random_aging import save_random_aging


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> AgeSynthesizer:
    return AgeSynthesizer(save_random_aging(tmp_path_factory.mktemp("aging") / "small.safetensors"), 1)


def test_the_face_changes_and_the_rest_of_the_photo_stays(random: AgeSynthesizer) -> None:
    faces = Detector(threads=1).detect(portrait())
    found = random.synthesize(portrait(), faces, [10, 60.5])
    assert found.ages == (10.0, 60.5) and found.unknown == ("",) and len(found.images) == 2
    for image in found.images:
        changed = np.argwhere((image != portrait()).any(axis=2))
        assert image.dtype == np.uint8 and len(changed) > 2000
        x1, y1, x2, y2 = faces.boxes[0]
        side = max(x2 - x1, y2 - y1)
        assert (changed >= (y1 - side / 2, x1 - side / 2)).all() and (changed <= (y2 + side / 2, x2 + side / 2)).all()
    assert (found.images[0] != found.images[1]).any()


def test_ages_between_anchors_are_between_their_pictures(random: AgeSynthesizer) -> None:
    crops = portrait()[None, 60:92, 200:232]
    low, middle, same, oldest = (random.residuals(crops, age) for age in (60, 60.0, 60, 100))
    assert low.shape == (1, 32, 32, 3) and np.array_equal(low, middle) and np.array_equal(same, oldest)


def test_photos_without_faces_come_back_as_they_are(random: AgeSynthesizer) -> None:
    gray = np.full((90, 120), 77, np.uint8)
    found = random.synthesize(gray, ages=[5])
    assert found.unknown == () and (found.images[0] == 77).all() and found.images[0].shape == (90, 120, 3)
    assert random.synthesize(np.zeros((1, 1, 3), np.uint8), ages=[5]).images[0].shape == (1, 1, 3)


def test_gray_photos_with_a_face_are_changed_and_stay_gray(random: AgeSynthesizer) -> None:
    gray = portrait().mean(axis=2).astype(np.uint8)
    found = random.synthesize(gray, ages=[70]).images[0]
    assert (found != gray[:, :, None]).any() and (found == found[:, :, :1]).all()


def test_gray_photos_stay_gray_after_lossy_compression(random: AgeSynthesizer) -> None:
    gray = np.repeat(portrait().mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    gray[::7, ::5, 2] ^= 1  # what the decoders of such files leave
    found = random.synthesize(gray, ages=[70]).images[0]
    assert (found != gray).mean() > 0.01 and np.ptp(found, axis=2).max() <= 2


def test_a_gray_face_in_a_colour_photo_stays_gray(random: AgeSynthesizer) -> None:
    gray = np.repeat(portrait().mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    found = random.synthesize(np.concatenate([gray, portrait()], axis=1), ages=[70])
    change = found.images[0].astype(int) - np.concatenate([gray, portrait()], axis=1)
    assert found.unknown == ("", "")
    assert np.ptp(change[:, :512], axis=2).max() == 0 < np.ptp(change[:, 512:], axis=2).max()


TONES = {"sepia": (1.25, 1.02, 0.76), "cyanotype": (0.75, 1.0, 1.2)}


def toned(name: str) -> np.ndarray:
    """The portrait as a print of one tone, after lossy compression."""
    picture = np.clip(portrait().mean(axis=2, keepdims=True) * 0.75 * TONES[name], 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", TONES)
def test_toned_photos_keep_their_tone(random: AgeSynthesizer, name: str) -> None:
    photo = toned(name)
    change = random.synthesize(photo, portrait_faces(), ages=[70]).images[0].astype(int) - photo
    changed = np.abs(change).max(axis=2) >= 8
    assert changed.sum() > 1000
    expected = change.mean(axis=2, keepdims=True) * TONES[name] / np.mean(TONES[name])
    assert np.abs(change - expected).max() < 2
    assert len({tuple(pixel) for pixel in np.sign(change[changed])}) <= 2  # lighter or darker, never another colour


def test_tones() -> None:
    box = slice(120, 232), slice(200, 312)
    assert tone_of(portrait()[box]) is None
    np.testing.assert_array_equal(tone_of(np.repeat(portrait()[box][:, :, 1:2], 3, axis=2)), 1)
    for name, slopes in TONES.items():
        np.testing.assert_allclose(tone_of(toned(name)[box]), slopes / np.mean(slopes), atol=0.03)


def test_faces_too_small_or_in_profile_stay_and_say_so(random: AgeSynthesizer) -> None:
    faces = Detector(threads=1).detect(portrait())
    small, profile = faces.landmarks[0] * 0.1, faces.landmarks[0].copy()
    profile[2, 0] += 2.2 * (profile[1, 0] - profile[0, 0])
    found = random.synthesize(portrait(), np.stack([small, profile]), [30])
    assert found.unknown == ("too small", "profile") and np.array_equal(found.images[0], portrait())


@pytest.mark.parametrize(
    ("ages", "kind", "message"),
    [
        ([-1], ValueError, "ages: expected 0 to 100"),
        ([101], ValueError, "ages: expected 0 to 100"),
        ([float("nan")], ValueError, "ages: expected 0 to 100"),
        (["60"], TypeError, "ages: expected a number"),
        ("60", TypeError, "ages: expected a sequence"),
        (60, TypeError, "ages: expected a sequence"),
        (np.array(60.0), TypeError, "ages: expected a sequence"),
        ({60, 10}, TypeError, "ages: expected a sequence"),
        ([True], TypeError, "ages: expected a number"),
        ([], ValueError, "ages: expected 1 to 101"),
    ],
)
def test_wrong_ages(ages, kind, message: str) -> None:
    with pytest.raises(kind, match=message):
        checked_ages(ages)


def test_wrong_input(random: AgeSynthesizer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    with pytest.raises(ImageError):
        random.synthesize(broken)
    for points in (np.full((1, 5, 2), np.nan), np.zeros((5, 2)), [["left eye"]], 5):
        with pytest.raises(AlignError, match="landmarks"):
            random.synthesize(portrait(), points, [5])
    with pytest.raises(WeightsError):
        AgeSynthesizer(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="min_face"):
        AgeSynthesizer(random.weights, min_face=-1)


def test_copies_and_threads_give_the_same(random: AgeSynthesizer) -> None:
    faces = Detector(threads=1).detect(portrait())
    expected = random.synthesize(portrait(), faces, [50]).images[0]
    copied = pickle.loads(pickle.dumps(random))
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda each: each.synthesize(portrait(), faces, [50]), [random, copied] * 2):
            assert np.array_equal(found.images[0], expected)
