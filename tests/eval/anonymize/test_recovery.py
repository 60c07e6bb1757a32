"""Attacks on hidden faces: they know a visible face, and their parts do what they say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cascade import Detector, Recognizer
from cascade.anonymize import Hiding
from eval.anonymize.recovery import (
    ATTACKS,
    CONTROLS,
    Subject,
    _regression,
    _richardson_lucy,
    _wiener,
    found_share,
    measure,
    ways_of,
)
from tests.photos import portrait, portrait_faces

VISIBLE = CONTROLS[0]


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """The portrait, and others made of it: mirrored, and darker with other colours."""
    image = portrait()
    other = np.ascontiguousarray(image[:, :, ::-1]) // 2
    mirrored = np.roll(image[:, ::-1], 452 - 511, axis=1)
    return [Subject(name, each, portrait_faces()) for name, each in (("a", image), ("b", other), ("c", mirrored))]


def test_visible_faces_are_recognised_and_solid_ones_are_not(subjects):
    recognizer = Recognizer(threads=1)
    results = measure([VISIBLE, *ways_of(Hiding(), ["solid"])], subjects, subjects, subjects, recognizer)
    by_name = {(each.way, each.attack): each for each in results}
    assert len(results) == 2 * len(ATTACKS)
    assert by_name["visible", "as it is"].rank1 == 1
    assert by_name["visible", "same photo"].rank1 == 1
    assert by_name["solid", "as it is"].rank1 < 1
    assert by_name["visible", "as it is"].people == 3


def test_the_detector_finds_visible_faces_alone(subjects):
    detector = Detector(min_face=40, threads=1)
    assert found_share(VISIBLE, subjects[:1], detector) == 1
    (solid,) = ways_of(Hiding(), ["solid"])
    assert found_share(solid, subjects[:1], detector) == 0


@pytest.mark.parametrize("restore", [_wiener, _richardson_lucy])
def test_deconvolution_brings_a_blurred_picture_nearer(restore):
    crop = portrait()[70:182, 170:282].astype(np.float32)
    blurred = cv2.GaussianBlur(crop, (0, 0), 3)
    middle = np.s_[20:-20, 20:-20]
    before, after = (np.abs(each[middle] - crop[middle]).mean() for each in (blurred, restore(blurred, 3.0)))
    assert after < 0.8 * before


def test_regression_learns_what_it_was_shown():
    rng = np.random.default_rng(0)
    visible = np.stack([cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (112, 112)) for _ in range(12)])
    dimmed = visible // 2
    mapped = _regression(dimmed, visible)(dimmed)
    assert np.abs(mapped.astype(int) - visible).mean() < 0.8 * np.abs(dimmed.astype(int) - visible).mean()
