"""Landmark samples: windows around faces with landmarks, in-plane rotations, aligned crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cascade.nn.architectures import ARCHITECTURES
from cascade.stages import landmark_template
from tests.train.drawn_faces import (
    blueness,
    centroids,
    greenness,
)
from tests.train.drawn_sets import ONET, RNET, check_kinds, check_pixels
from train.detection.labels import LANDMARK
from train.detection.samples import SampleSettings, make_samples


@pytest.mark.parametrize("base", [RNET, ONET], ids=["rnet", "onet"])
def test_windows_around_faces_with_landmarks(singles, crowd, tmp_path, random_weights, base):
    """Even where the stages before let nothing through."""
    chosen = replace(base, proposal_threshold=0.9999, landmark_windows=12, windows_per_face=30)
    samples = make_samples(chosen, (singles, crowd), tmp_path / "s", random_weights("default"))
    check_kinds(samples)
    assert samples.counts()["landmark"] > 60
    architecture = ARCHITECTURES["default"][base.stage]
    check_pixels(make_samples(chosen, (singles,), tmp_path / "t", random_weights("default")), architecture)
    none = make_samples(replace(chosen, landmark_windows=0), (singles,), tmp_path / "u", random_weights("default"))
    assert none.counts()["landmark"] == 0


def test_landmarks_rotate_with_the_pixels(singles, tmp_path, random_weights):
    weights, chosen = random_weights("default"), replace(ONET, proposal_threshold=0.9999)
    samples = make_samples(replace(chosen, rotated_windows=10), (singles,), tmp_path / "s", weights)
    rotated = samples.kinds == LANDMARK
    assert rotated.sum() == 8 * 2 * 10
    assert np.isnan(samples.targets[rotated, :4]).all()
    eyes, side = samples.targets[rotated, 4:8].reshape(-1, 2, 2), samples.crops.shape[1]
    angles = np.degrees(np.arctan2(*(eyes[:, 1] - eyes[:, 0]).T[::-1]))
    assert 10 < angles.std() < 26
    window = ARCHITECTURES["default"]["onet"].window
    for points, seen in ((eyes[:, 0], blueness), (eyes[:, 1], greenness)):
        expected = points * window + (side - window) / 2
        whole = ((expected > 5) & (expected < side - 5)).all(axis=1)
        error = (centroids(seen(samples.crops[rotated])) - expected)[whole]
        assert whole.mean() > 0.8
        assert np.abs(error).max() < 0.8
        assert np.abs(error.mean(axis=0)).max() < 0.12, "a constant shift: the half-pixel rule is broken"
    assert make_samples(chosen, (singles,), tmp_path / "t", weights).counts()["landmark"] == 0


def test_lnet_learns_from_aligned_crops(singles, tmp_path):
    chosen = SampleSettings("lnet", min_face=14, landmark_windows=40, margin=2)
    samples = make_samples(chosen, (singles,), tmp_path / "s")
    assert samples.meta["photos"] == 8, "the photo without a face is not opened"
    assert samples.counts() == {"negative": 0, "positive": 0, "part": 0, "landmark": 8 * 40}
    assert np.isnan(samples.targets[:, :4]).all()
    architecture = ARCHITECTURES["default"]["lnet"]
    points = samples.targets[:, 4:].reshape(-1, 5, 2) * architecture.window
    template = landmark_template(architecture)
    # on average the points are where the template has them, and not always
    assert np.abs(points.mean(axis=0) - template).max() < 0.12 * architecture.window
    assert points.std(axis=0).min() > 0.5
    margin = (samples.crops.shape[1] - architecture.window) / 2
    for point, seen in ((0, blueness), (1, greenness)):
        expected = points[:, point] + margin
        whole = ((expected > 5) & (expected < samples.crops.shape[1] - 5)).all(axis=1)
        error = (centroids(seen(samples.crops)) - expected)[whole]
        assert whole.mean() > 0.8
        assert np.abs(error.mean(axis=0)).max() < 0.25, "a constant shift: the half-pixel rule is broken"
