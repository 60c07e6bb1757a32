"""Changes to photos: boxes and landmarks stay on the faces, and what is cut off is neither face nor background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import Photo
from tests.train.drawn_faces import Face, blank, blueness, centroids, draw, greenness, iou
from tests.train.drawn_sets import PNET, check_kinds
from train.detection import photo_changes
from train.detection.photo_changes import change_photo, rotate_photo, truncate_photo
from train.detection.presets import DEFAULT, paper
from train.detection.samples import SampleSettings, make_samples

SIZE = (160, 120)
FACE = Face((60, 30, 100, 80))


def labelled(faces: list[Face]) -> Photo:
    return Photo(
        path=Path("a.png"),
        name="a.png",
        boxes=np.array([face.box for face in faces]).reshape(-1, 4),
        ignored=np.array([face.ignored for face in faces], bool),
        landmarks=np.array([face.landmarks for face in faces]).reshape(-1, 5, 2),
        fully_labelled=True,
        attributes={"blur": np.zeros(len(faces))},
        size=SIZE,
    )


def drawn(*faces: Face) -> tuple[np.ndarray, Photo]:
    return draw(blank(*SIZE, np.random.default_rng(3)), faces), labelled(list(faces))


def eyes(image: np.ndarray) -> np.ndarray:
    """Where the blue and the green eye (2, 2) of the only face are."""
    return np.concatenate([centroids(blueness(image[None])), centroids(greenness(image[None]))])


def skin_box(image: np.ndarray) -> np.ndarray:
    """The box about the pixels of the only face: nothing else has colours."""
    y, x = np.nonzero(np.ptp(image.astype(int), axis=2) > 25)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("angle", [0, 17, -40, 90, 133, 180])
def test_boxes_and_landmarks_rotate_with_the_pixels(angle, expanded):
    image, photo = drawn(FACE)
    before = image.copy()
    rotated, moved = rotate_photo(image, photo, angle, expanded)
    assert np.array_equal(image, before)
    np.testing.assert_allclose(eyes(rotated), moved.landmarks[0, :2], atol=0.25)
    np.testing.assert_allclose(skin_box(rotated), moved.boxes[0], atol=1.6)
    assert not moved.ignored.any()
    assert (moved.attributes, moved.size, moved.name) == ({}, None, "a.png")
    if angle == 0:
        assert np.array_equal(rotated, image)
    if not expanded:
        assert rotated.shape == image.shape
    elif angle == 90:
        assert rotated.shape[:2] == SIZE
        # clockwise, as seen
        assert np.array_equal(rotated, np.rot90(image, -1))


def test_an_expanded_canvas_holds_the_corners():
    corner = Face((2, 2, 30, 38))
    _, moved = rotate_photo(*drawn(corner), 45, True)
    assert len(moved) == 1 and not moved.ignored[0]
    _, lost = rotate_photo(*drawn(corner), 45, False)
    assert len(lost) == 0 or lost.ignored[0]


def test_boxes_and_landmarks_are_cut_with_the_pixels():
    image, photo = drawn(FACE, Face((5, 5, 25, 30)))
    cut, moved = truncate_photo(image, photo, np.array([49.6, 20.2, 130.5, 99.1]))
    assert np.array_equal(cut, image[20:100, 49:131])
    assert cut.flags.c_contiguous
    assert len(moved) == 1
    np.testing.assert_allclose(moved.boxes[0], np.array(FACE.box) - [49, 20, 49, 20])
    np.testing.assert_allclose(eyes(cut), moved.landmarks[0, :2], atol=0.25)
    same, unmoved = truncate_photo(image, photo, np.array([10.0, 10, 20, 90]))
    assert same is image and unmoved is photo, "smaller than MIN_CUT"


@pytest.mark.parametrize(("visible", "left"), [(0.9, "learned"), (0.3, "ignored"), (0.02, "gone")])
def test_what_little_is_left_of_a_face_is_no_face_to_learn(visible, left):
    image, photo = drawn(FACE)
    border = FACE.box[2] - visible * 40
    _, moved = truncate_photo(image, photo, np.array([border, 0, *SIZE]))
    assert len(moved) == (left != "gone")
    if len(moved):
        assert moved.ignored[0] == (left == "ignored")
        # the box ends at the border
        np.testing.assert_allclose(moved.boxes[0, 2:] - moved.boxes[0, :2], (visible * 40, 50))


def test_a_face_that_was_ignored_stays_so():
    _, moved = truncate_photo(*drawn(replace(FACE, ignored=True)), np.array([40.0, 0, *SIZE]))
    assert moved.ignored.tolist() == [True]


def test_a_reduced_photo_has_a_small_face_and_its_eyes_in_place():
    image, photo = drawn(FACE)
    sides = []
    for seed in range(40):
        small, moved = photo_changes._reduced(image, photo, np.random.default_rng(seed))
        scale = small.shape[1] / image.shape[1]
        sides.append(min(moved.boxes[0, 2:] - moved.boxes[0, :2]))
        np.testing.assert_allclose(moved.boxes, photo.boxes * scale, atol=0.7)
        if sides[-1] > 20:  # smaller eyes are less than a pixel
            np.testing.assert_allclose(eyes(small), moved.landmarks[0, :2], atol=0.6)
    low, high = photo_changes.REDUCED_FACE
    assert low - 1 < min(sides) < 14 and 34 < max(sides) <= high


def test_a_photo_of_small_faces_is_not_reduced():
    image, photo = drawn(Face((5, 5, 15, 17)))
    assert photo_changes._reduced(image, photo, np.random.default_rng(0))[0] is image


def test_random_changes_keep_faces_and_pixels_together():
    image, photo = drawn(FACE)
    shapes, same, checked = set(), 0, 0
    for seed in range(300):
        changed, moved = change_photo(image, photo, np.random.default_rng(seed))
        again, _ = change_photo(image, photo, np.random.default_rng(seed))
        assert np.array_equal(changed, again)
        assert (changed.dtype, changed.shape[2], changed.flags.c_contiguous) == (np.uint8, 3, True)
        shapes.add(changed.shape)
        same += changed is image
        for box, landmarks in zip(moved.boxes, moved.landmarks, strict=True):
            assert (box >= 0).all() and (box <= np.tile(changed.shape[1::-1], 2)).all()
            reach = (landmarks[:2] > 6).all() and (landmarks[:2] < np.array(changed.shape[1::-1]) - 6).all()
            if reach and min(box[2:] - box[:2]) > 28:  # both eyes are in the photo, and large enough to be blurred
                error = eyes(changed) - landmarks[:2]
                checked += 1
                assert np.abs(error).max() < 1.5  # JPEG and blur smear the colours
    assert len(shapes) > 50
    assert 0.1 < same / 300 < 0.25  # 38 % without a change of the frame, half of them without reduction
    assert checked > 80


def test_the_shares_of_the_changes(monkeypatch):
    image, photo = drawn(FACE)
    counts = dict.fromkeys(("rotate_photo", "truncate_photo", "_reduced", "_blurred", "_compressed"), 0)

    def counted(name):
        honest = getattr(photo_changes, name)

        def count(*arguments):
            counts[name] += 1
            return honest(*arguments)

        return count

    for name in counts:
        monkeypatch.setattr(photo_changes, name, counted(name))
    for seed in range(1000):
        change_photo(image, photo, np.random.default_rng(seed))
    assert counts["rotate_photo"] / 1000 == pytest.approx(0.33, abs=0.05)
    assert counts["truncate_photo"] / 1000 == pytest.approx(0.40, abs=0.05)
    assert counts["_reduced"] / 1000 == pytest.approx(0.45, abs=0.05)
    assert counts["_blurred"] / 1000 == pytest.approx(0.08, abs=0.03)
    assert counts["_compressed"] / 1000 == pytest.approx(0.15, abs=0.04)


def test_compression_keeps_red_red():
    image = np.zeros((32, 32, 3), np.uint8)
    image[...] = (200, 40, 20)
    compressed = photo_changes._compressed(image, 30)
    assert np.abs(compressed.astype(int) - image).max() < 12


def test_photos_without_faces_are_changed_too():
    image, photo = drawn()
    for seed in range(40):
        changed, moved = change_photo(image, photo, np.random.default_rng(seed))
        assert len(moved) == 0
        assert min(changed.shape[:2]) >= min(SIZE)


def test_samples_of_changed_photos(singles, tmp_path):
    """Their targets are still where the pixels are, and without the changes nothing is drawn for them."""
    settings = replace(PNET, passes=6, photo_changes=True)
    samples = make_samples(settings, (singles,), tmp_path / "changed")
    check_kinds(samples)
    assert min(samples.counts().values()) > 10
    plain = make_samples(replace(settings, photo_changes=False), (singles,), tmp_path / "plain")
    assert plain.counts() != samples.counts()
    with pytest.MonkeyPatch.context() as patch:  # blue stays blue where no JPEG or blur has been
        for name in ("REDUCED", "BLURRED", "COMPRESSED"):
            patch.setattr(photo_changes, name, 0.0)
        sharp = make_samples(replace(settings, passes=2), (singles,), tmp_path / "sharp")
    upright = np.abs(sharp.targets[:, 5] - sharp.targets[:, 7]) < 0.1
    assert upright.any() and not upright.all()
    assert iou(sharp.targets[upright][0, :4], (0, 0, 1, 1)) > 0.3


def test_which_recipes_change_photos():
    assert [DEFAULT[stage].samples.photo_changes for stage in DEFAULT] == [True, True, True, False]
    assert not any(paper(stage, 0).samples.photo_changes for stage in ("pnet", "rnet", "onet"))
    assert not SampleSettings("pnet").photo_changes
