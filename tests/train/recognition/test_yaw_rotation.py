"""Frontal crops rotated into profile."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cascade import Detector
from cascade.face_model import five_point_yaw
from tests.photos import portrait, portrait_faces
from train.recognition.yaw_rotation import ANGLES, FRONTAL, rotate_frontal, yaw_maps

SIDE = 112


def aligned() -> torch.Tensor:
    crop = portrait_faces().align(portrait())[0]
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float()


def rotated_by(angle: float) -> np.ndarray:
    """The aligned portrait (112, 112, 3) as rotated by the angle of that index."""
    place = torch.from_numpy(yaw_maps()[[int(np.flatnonzero(angle == ANGLES)[0])]])
    seen = torch.nn.functional.grid_sample(aligned() - 128, place, align_corners=False) + 128
    return seen[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_maps_stay_in_the_crop_or_say_that_nothing_is_known():
    maps = yaw_maps()
    assert maps.shape == (len(ANGLES), SIDE, SIDE, 2)
    unknown = (maps == 2).all(axis=-1)
    known = maps[~unknown]
    assert 0.02 < unknown.mean() < 0.5
    assert np.abs(known).max() < 1.5
    assert not np.isnan(maps).any()


@pytest.mark.parametrize("angle", [20.0, 50.0])
def test_opposite_angles_are_mirror_images(angle):
    left, right = (yaw_maps()[np.flatnonzero(sign * angle == ANGLES)[0]] for sign in (-1, 1))
    mirrored = right[:, ::-1] * (-1, 1)
    both = (left != 2).all(axis=-1) & (right[:, ::-1] != 2).all(axis=-1)
    assert both.mean() > 0.5
    assert np.median(np.abs(left - mirrored)[both]) < 0.03  # people, and so their mean, are nearly symmetric


@pytest.mark.parametrize("angle", [-40.0, -20.0, 20.0, 40.0])
def test_a_detector_sees_the_rotation(angle):
    crop = rotated_by(angle)
    canvas = np.full((3 * SIDE, 3 * SIDE, 3), 128, np.uint8)
    canvas[SIDE : 2 * SIDE, SIDE : 2 * SIDE] = crop
    faces = Detector(min_face=40, thresholds=(0.3, 0.1, 0.1)).detect(canvas)  # a tight crop on gray
    assert len(faces) == 1
    before = float(five_point_yaw(portrait_faces().landmarks)[0])
    after = float(five_point_yaw(faces.landmarks)[0])
    assert np.sign(after - before) == -np.sign(angle)
    assert abs(after - before) > 0.5 * abs(angle)


def test_only_frontal_faces_are_rotated_and_only_their_share():
    crops = aligned().repeat(400, 1, 1, 1)
    yaws = np.tile(np.float32([0, FRONTAL, FRONTAL + 1, np.nan]), 100)
    found = rotate_frontal(crops, yaws, 0.5, generator())
    changed = (found != crops).flatten(1).any(dim=1).numpy()
    assert not changed[2::4].any() and not changed[3::4].any()
    frontal = np.concatenate([changed[0::4], changed[1::4]])
    assert 0.35 < frontal.mean() < 0.65
    assert len({each.numpy().tobytes() for each in found[torch.from_numpy(changed)]}) > 80  # angles and colours differ
    assert found.min() >= 0 and found.max() <= 255


def test_the_generator_alone_decides():
    crops, yaws = aligned().repeat(6, 1, 1, 1), np.zeros(6, np.float32)
    one, two, other = (rotate_frontal(crops, yaws, 0.8, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(rotate_frontal(crops, yaws, 0.0, generator()), crops)
    assert len(rotate_frontal(crops[:0], yaws[:0], 1.0, generator())) == 0
