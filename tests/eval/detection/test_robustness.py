"""Changed photos: their pixels, where the faces are in them, and which faces count as found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cascade.boxes import iou
from eval.detection.robustness import (
    CONDITIONS,
    Measurement,
    Tally,
    clip,
    found,
    reference_faces,
    to_long_side,
)
from eval.detection.running import OurDetector, Settings
from tests.photos import FACE_BOX, portrait

BY_NAME = {condition.name: condition for condition in CONDITIONS}
ROTATED = tuple(name for name in BY_NAME if name.startswith("rotated"))
ALIKE = tuple(each.name for each in CONDITIONS if each.group in ("colour", "light"))

OVALS = np.array([[40.0, 60, 120, 180], [300, 100, 360, 160], [500, 20, 560, 110]])
"""Boxes of ovals on a photo of 640×400."""


def drawn(ovals=OVALS, size=(640, 400)):
    """A dark photo with a bright oval, the "face", in each box."""
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    for x1, y1, x2, y2 in ovals:
        centre, axes = ((x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5), ((x2 - x1) / 2 - 0.5, (y2 - y1) / 2 - 0.5)
        fixed = [tuple(round(16 * value) for value in pair) for pair in (centre, axes)]
        cv2.ellipse(image, *fixed, 0, 0, 360, (255, 255, 255), -1, shift=4)
    return image


def bright(image):
    """The boxes of the bright areas, from left to right."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((image.min(axis=2) > 190).astype(np.uint8))
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]], float).reshape(-1, 4)
    return boxes[np.argsort(boxes[:, 0])]


def changed(name, image, boxes):
    return list(BY_NAME[name].change(image, np.asarray(boxes, float).reshape(-1, 4)))


def test_names_are_unique_and_the_first_condition_changes_nothing():
    assert len(BY_NAME) == len(CONDITIONS) == 24
    (variant,) = CONDITIONS[0].change(image := drawn(), OVALS)
    assert variant.image is image and variant.boxes is OVALS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red and blue swapped", [(30, 90, 200), (250, 10, 120)]),
        ("blue light", [(70, 45, 36), (42, 5, 255)]),
        ("red light", [(240, 32, 9), (144, 4, 75)]),
        ("night vision", [(29, 116, 17), (18, 70, 11)]),
        ("dark × 0.15", [(30, 14, 4), (18, 2, 38)]),
        ("dark × 0.06", [(12, 5, 2), (7, 1, 15)]),
        ("low contrast", [(140, 118, 106), (124, 102, 150)]),
        ("overexposed", [(255, 198, 66), (255, 22, 255)]),
    ],
)
def test_colours_and_light_change_pixels_alone(name, expected):
    image = np.array([[(200, 90, 30), (120, 10, 250)]], np.uint8)
    boxes = np.array([[0.0, 0, 1, 1]])
    (variant,) = changed(name, image, boxes)
    assert variant.image.dtype == np.uint8
    assert np.abs(variant.image[0].astype(int) - expected).max() <= 1  # halves may be rounded either way
    assert np.array_equal(variant.boxes, boxes)
    assert image[0, 0].tolist() == [200, 90, 30]


@pytest.mark.parametrize("name", ROTATED)
def test_rotation_holds_the_corners_and_says_where_the_ovals_are(name):
    (variant,) = changed(name, drawn(), OVALS)
    angle = np.radians(float(name.removeprefix("rotated ").removesuffix("°")))
    rotation = np.abs([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert variant.image.shape[1::-1] == tuple(np.ceil(rotation @ [640, 400] - 1e-6).astype(int))
    order = np.argsort(variant.boxes[:, 0])
    np.testing.assert_allclose(variant.boxes[order], bright(variant.image), atol=1.6)
    gray = (variant.image == 128).all(axis=2).sum()
    added = variant.image.shape[0] * variant.image.shape[1] - 640 * 400
    assert abs(gray - added) < 0.02 * 640 * 400
    # all of the photo is there
    assert variant.image.sum(dtype=float) == pytest.approx(drawn().sum(dtype=float) + 3 * 128 * added, rel=0.01)


def test_rotation_is_clockwise_and_exact_where_it_can_be():
    image = portrait()[:300, :]
    for name, quarters in (("rotated 90°", -1), ("rotated 180°", 2)):
        (variant,) = changed(name, image, [FACE_BOX])
        assert np.array_equal(variant.image, np.rot90(image, quarters))
    x1, y1, x2, y2 = FACE_BOX
    np.testing.assert_allclose(variant.boxes, [[512 - x2, 300 - y2, 512 - x1, 300 - y1]])


@pytest.mark.parametrize(("context", "part"), [(0.8, 1.0), (1.0, 1.0), (1.3, 1 / 1.3)])
def test_close_ups_are_squares_about_one_face(context, part):
    in_colour = changed(f"close-up × {context:g}", drawn(), OVALS)
    in_gray = changed(f"close-up × {context:g}, gray", drawn(), OVALS)
    assert len(in_colour) == len(in_gray) == 3
    for variant, gray in zip(in_colour, in_gray, strict=True):
        assert max(variant.image.shape[:2]) == 150
        assert (gray.image == gray.image[:, :, :1]).all()
        assert np.array_equal(gray.boxes, variant.boxes)
        assert np.array_equal(clip(variant.boxes, variant.image), variant.boxes)
    # the square one, far from the edges: its whole box shows at these contexts but the first
    square = in_colour[1]
    assert square.image.shape == (150, 150, 3)
    side = square.boxes[0, 2:] - square.boxes[0, :2]
    np.testing.assert_allclose(side, 150 * part, atol=0.03 * 150)
    np.testing.assert_allclose(square.boxes[0, :2] + square.boxes[0, 2:], 150, atol=3)
    if context > 1:
        np.testing.assert_allclose(square.boxes, bright(square.image), atol=3)


def test_a_close_up_at_the_edge_ends_with_the_photo():
    box = [0.0, 100, 60, 200]
    (variant,) = changed("close-up × 1.3", drawn([box]), [box])
    # from 0 to 95 of 130 pixels across
    assert variant.image.shape[:2] == (150, 110)
    np.testing.assert_allclose(variant.boxes, bright(variant.image), atol=3)
    assert variant.boxes[0, 0] == 0


@pytest.mark.parametrize(
    ("edge", "size", "box"),
    [
        ("left", (568, 400), (0, 60, 48, 180)),
        ("right", (88, 400), (40, 60, 88, 180)),
        ("top", (640, 292), (40, 0, 120, 72)),
        ("bottom", (640, 132), (40, 60, 120, 132)),
    ],
)
def test_a_cut_leaves_the_part_of_the_face_away_from_the_edge(edge, size, box):
    variants = changed(f"cut {edge}", drawn(OVALS[:1]), OVALS[:1])
    assert variants[0].image.shape[1::-1] == size
    assert variants[0].boxes.tolist() == [list(box)]
    seen = bright(variants[0].image)[0]
    sides = slice(1, None, 2) if edge in ("left", "right") else slice(0, None, 2)
    np.testing.assert_allclose(seen[sides], np.array(box)[sides], atol=1)
    assert len(changed(f"cut {edge}", drawn(), OVALS)) == 3


@pytest.mark.parametrize("name", [*ROTATED, *(n for n in BY_NAME if n.startswith(("close", "cut")))])
def test_boxes_hold_the_portrait_s_face(name):
    """Pixels of a face drawn in one colour are in the box, and the box holds little else."""
    image = portrait().copy()
    x1, y1, x2, y2 = FACE_BOX
    centre, axes = (round((x1 + x2) / 2), round((y1 + y2) / 2)), (round((x2 - x1) / 2), round((y2 - y1) / 2))
    cv2.ellipse(image, centre, axes, 0, 0, 360, (0, 255, 0), -1)
    if name.endswith("gray"):  # where colour tells nothing
        image = np.where((image == (0, 255, 0)).all(axis=2)[:, :, None], 255, image // 2).astype(np.uint8)
    (variant,) = changed(name, image, [FACE_BOX])
    pixels = variant.image.astype(int)
    face = pixels[:, :, 1] > 200 if name.endswith("gray") else pixels[:, :, 1] - pixels[:, :, 0] > 128
    left, top, right, bottom = np.rint(variant.boxes[0]).astype(int)
    inside = face[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    assert inside.sum() >= 0.99 * face.sum() > 0
    assert inside.mean() > 0.6


def test_the_detector_finds_the_portrait_where_its_box_is_said_to_be():
    ours = OurDetector(Settings(score_floor=None, threads=1, rotations=(0, 90, 180, 270)))
    image, boxes = to_long_side(portrait(), np.array([FACE_BOX]))
    for name in ("rotated 30°", "rotated 90°", "rotated 180°", "close-up × 1.3"):
        (variant,) = changed(name, image, boxes)
        assert iou(variant.boxes, ours(variant.image).boxes).max(initial=0) > 0.5, name


def test_photos_are_brought_to_the_long_side_with_their_boxes():
    image, boxes = to_long_side(drawn(OVALS / 2, (320, 200)), OVALS / 2)
    assert image.shape == (400, 640, 3)
    np.testing.assert_allclose(boxes, OVALS)
    np.testing.assert_allclose(bright(image), OVALS, atol=2)
    same, boxes = to_long_side(image, boxes)
    assert same is image
    tall, boxes = to_long_side(np.zeros((1280, 10, 3), np.uint8), np.array([[0.0, 0, 10, 1280]]))
    assert tall.shape == (640, 5, 3) and boxes.tolist() == [[0, 0, 5, 640]]


def test_one_detection_finds_one_face():
    near = np.array([[0.0, 0, 100, 100], [20, 0, 120, 100]])
    between = np.array([[12.0, 0, 112, 100]])
    assert found(between, near).tolist() == [False, True]
    # the largest overlaps are paired first, and what is left must do
    assert found(np.concatenate([between, [[40.0, 0, 140, 100]]]), near).tolist() == [True, True]
    assert found(np.concatenate([between, [[60.0, 0, 160, 100]]]), near).tolist() == [False, True]
    assert found(np.concatenate([between, between]), near).tolist() == [True, True]


@pytest.mark.parametrize(("width", "expected"), [(40, True), (39.9, False)])
def test_an_overlap_of_four_tenths_is_enough(width, expected):
    assert found(np.array([[0.0, 0, width, 100]]), np.array([[0.0, 0, 100, 100]])).tolist() == [expected]


def test_nothing_found_and_nothing_to_find():
    none = np.zeros((0, 4))
    assert found(none, OVALS).tolist() == [False, False, False]
    assert found(OVALS, none).tolist() == []


def test_reference_faces_are_large_and_found_by_all_the_largest_first():
    small = [[600.0, 300, 619, 340], [600.0, 350, 620, 390]]
    labelled = np.concatenate([OVALS[::-1], small])
    everything = np.concatenate([labelled, [[0.0, 300, 50, 350]]])
    chosen = reference_faces(labelled, {"a": everything, "b": everything})
    assert chosen.tolist() == [*OVALS[[0, 2, 1]].tolist(), small[1]]
    assert reference_faces(labelled, {"a": everything, "b": OVALS[1:]}).tolist() == OVALS[[2, 1]].tolist()
    assert reference_faces(labelled, {"a": everything, "b": np.zeros((0, 4))}).shape == (0, 4)


def everything_bright(image):
    """Finds any bright area, in all light, also where it is as large as the photo."""
    values = image.astype(float).max(axis=2)
    return bright(np.repeat(np.where(values > values.max() * 0.8, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2))


def test_shares_of_a_detector_that_finds_all_and_one_that_finds_little():
    usual = drawn()

    def only_unchanged(image):
        return OVALS if image.shape == usual.shape and np.array_equal(image, usual) else np.zeros((0, 4))

    measurement = Measurement({"all": everything_bright, "unchanged": only_unchanged}, most=8)
    measurement.add(usual, OVALS)
    measurement.add(np.full((300, 300, 3), 40, np.uint8), np.zeros((0, 4)))  # nothing labelled
    measurement.add(drawn(OVALS[:1]), OVALS[:1])  # one of the detectors does not find it
    assert (measurement.photos, measurement.faces) == (1, 3)
    for condition in CONDITIONS:
        tallies = measurement.tallies[condition.name]
        one_by_one = condition.group in ("close-up", "border")
        assert {(tally.photos, tally.faces) for tally in tallies.values()} == {(3 if one_by_one else 1, 3)}
        assert tallies["all"].share == 1, condition.name
        # swapping two colours changes nothing in gray
        same = condition.name in ("original", "red and blue swapped")
        assert tallies["unchanged"].share == float(same), condition.name


def test_the_unchanged_photo_is_searched_once_and_faces_are_limited():
    calls = []

    def detect(image):
        calls.append(image.shape)
        return OVALS

    measurement = Measurement({"a": detect}, most=2)
    measurement.add(drawn(), OVALS)
    assert measurement.faces == 2
    whole = sum(each.group not in ("close-up", "border") for each in CONDITIONS)
    assert len(calls) == whole + 2 * (len(CONDITIONS) - whole)


def test_what_overhangs_the_photo_is_not_compared():
    inside, overhanging = [0.0, 60, 60, 180], [-60.0, 60, 60, 180]
    image = drawn([inside])
    for labelled, detected in ((inside, overhanging), (overhanging, inside)):
        measurement = Measurement({"a": lambda image, box=detected: np.array([box])}, most=8)
        measurement.add(image, np.array([labelled]))
        assert measurement.tallies["original"]["a"] == Tally(1, 1, 1)


def test_a_share_of_nothing_is_not_a_number():
    assert np.isnan(Tally().share)
