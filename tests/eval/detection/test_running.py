"""Running our detector over photos: merging scales, broken photos, and the detector itself with random weights."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from cascade import stages
from cascade._native import default_simd_level, int8_is_fast
from cascade.detect import Detector
from eval.detection.running import OurDetector, Settings, merge, run
from tests.eval.helpers import found, photo
from tests.photos import portrait


def test_merging_keeps_the_surer_of_two_boxes():
    one = found([0, 0, 100, 100, 0.6], [200, 0, 300, 100, 0.9])
    two = found([5, 0, 105, 100, 0.8], [400, 0, 500, 100, 0.1])
    merged = merge([one, two])
    assert merged.scores.tolist() == [0.9, 0.8, 0.1]
    assert merged.boxes[1].tolist() == [5, 0, 105, 100]
    assert merge([found(), found()]).boxes.shape == (0, 4)


def test_broken_photos_are_noted_and_the_others_go_on(tmp_path):
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 not a photo")
    names = ("bad.jpg", "good.png", "missing.jpg")
    result = run([photo(name, path=tmp_path / name) for name in names], lambda image: found([0, 0, 9, 9, 1]))
    assert list(result.found) == ["good.png"]
    assert result.sizes == {"good.png": (30, 20)}
    assert sorted(result.broken) == ["bad.jpg", "missing.jpg"]
    assert "bad.jpg" in result.broken["bad.jpg"]
    assert list(result.milliseconds) == ["good.png"]


def test_time_of_the_detection_is_noted(tmp_path):
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((20, 30, 3), np.uint8))

    def slow(image):
        time.sleep(0.05)
        return found()

    assert 50 <= run([photo("good", path=tmp_path / "good.png")], slow).milliseconds["good"] < 5000


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 50.0)])
def test_unfit_scales_are_refused(scales):
    with pytest.raises(ValueError, match="scales"):
        Settings(scales=scales)


@pytest.fixture(scope="module")
def folder(random_weights):
    return str(random_weights("paper"))


def test_original_size_equals_the_detector(folder):
    image = portrait()
    ours = OurDetector(Settings(weights=folder, score_floor=None, threads=1))
    faces = Detector(weights=folder, threads=1).detect(image)
    result = ours(image)
    assert len(result) > 0
    np.testing.assert_array_equal(result.boxes, faces.boxes)
    np.testing.assert_array_equal(result.landmarks, faces.landmarks)
    assert ours.weights_sha256 == Detector(weights=folder).weights.sha256


def test_default_detections_are_those_of_the_low_floor_above_the_default_score(folder, monkeypatch):
    monkeypatch.setattr(stages, "SECOND_LOOK_MARGIN", math.inf)  # else a lower floor has more votes for a face
    image = portrait()[:300, 100:400]
    sure = (0.2, 0.1, 0.9)
    low = OurDetector(Settings(weights=folder, thresholds=sure, threads=1))
    usual = OurDetector(Settings(weights=folder, thresholds=sure, score_floor=None, threads=1))
    every, expected = low(image), usual(image)
    assert len(every) > len(expected) > 0
    # boxes are averaged with those of lower scores
    np.testing.assert_array_equal(every.at_least(low.default_score).scores, expected.scores)


@pytest.mark.parametrize(
    ("thresholds", "floor", "expected"),
    [
        ((0.5, 0.6, 0.9), 0.02, (0.2, 0.1, 0.02)),
        ((0.1, 0.05, 0.01), 0.02, (0.1, 0.05, 0.01)),
        ((0.5, 0.6, 0.9), None, (0.5, 0.6, 0.9)),
    ],
)
def test_a_curve_is_drawn_from_all_that_low_thresholds_let_through(folder, thresholds, floor, expected):
    ours = OurDetector(Settings(weights=folder, thresholds=thresholds, score_floor=floor, threads=1))
    assert ours.detector.thresholds == expected
    assert ours.default_score == thresholds[2]


def test_scales_and_input_rule_give_boxes_in_the_photo_s_own_pixels(folder):
    image = portrait()
    settings = Settings(weights=folder, min_face=50, threads=1)
    both = OurDetector(replace(settings, scales=(1.0, 0.5)))(image)
    assert both.boxes.max() <= 512
    assert len(both) > 0
    half = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    rescaled = OurDetector(replace(settings, scales=(0.5,)))(image)
    alone = OurDetector(settings)(half)
    np.testing.assert_allclose(rescaled.boxes, alone.boxes * 2)
    np.testing.assert_allclose(rescaled.landmarks, alone.landmarks * 2)
    # The VGA rule makes the longer side 640: the same as a scale of 640/512.
    vga = OurDetector(replace(settings, input_rule="vga"))(image)
    scaled = OurDetector(replace(settings, scales=(640 / 512,)))(image)
    np.testing.assert_array_equal(vga.boxes, scaled.boxes)


def test_settings_are_told_as_plain_values(folder):
    about = OurDetector(Settings(weights=folder, min_face=32, threads=1)).about()
    assert (about["settings"]["min_face"], about["settings"]["threads"]) == (32, 1)
    assert about["settings"]["thresholds"][2] == 0.02
    assert about["default_score"] == 0.8
    assert len(about["weights_sha256"]) == 64


def test_rotations_and_exposure_reach_the_detector():
    dark_and_lying = np.ascontiguousarray(np.rot90(portrait() * 0.03)).astype(np.uint8)
    for settings, given in (
        ({}, {}),
        ({"rotations": (0, 270)}, {"rotations": (0, 270)}),
        ({"rotations": (270,), "exposure": "auto"}, {"rotations": (270,), "exposure": "auto"}),
        ({"rotations": (270,), "exposure": "none"}, {"rotations": (270,), "exposure": "none"}),
    ):
        ours, detector = OurDetector(Settings(score_floor=None, threads=1, **settings)), Detector(threads=1, **given)
        np.testing.assert_array_equal(ours(dark_and_lying).boxes, detector.detect(dark_and_lying).boxes)
        told = ours.about()["settings"]
        assert told["rotations"] == list(detector.rotations)
        assert told["exposure"] == settings.get("exposure", "auto")
    assert len(OurDetector(Settings(rotations=(270,)))(dark_and_lying)) > 0
    assert len(OurDetector(Settings(rotations=(270,), exposure="none", score_floor=None))(dark_and_lying)) == 0


def test_precision_is_told_also_where_the_detector_chose_it(folder):
    usual = "int8" if int8_is_fast(default_simd_level()) else "float32"
    for given, told in ((None, usual), ("int8", "int8"), ("float32", "float32")):
        assert OurDetector(Settings(precision=given, threads=1)).about()["settings"]["precision"] == told
    assert OurDetector(Settings(weights=folder, threads=1)).about()["settings"]["precision"] == "float32"


def test_shipped_weights_find_the_portrait_s_face():
    result = OurDetector(Settings())(portrait())
    assert result.scores.max() > 0.9
