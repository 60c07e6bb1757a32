"""Sets of drawn photos to cut samples from, and checks of these samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.train.drawn_faces import (
    Face,
    blueness,
    centroids,
    iou,
)
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.sample_store import Samples
from train.detection.samples import SampleSettings

SIZE = (120, 96)


PNET = SampleSettings("pnet", passes=2, negatives_per_photo=40, margin=1)


# random weights propose little else than noise: let more of it through
LOOSE = {"proposal_threshold": 0.0005, "proposal_nms": 0.95, "positive_iou": 0.5}


RNET = SampleSettings(
    "rnet", passes=2, min_face=14, square_ground_truth=True, negatives_per_photo=40, margin=2, **LOOSE
)


ONET = SampleSettings(
    "onet", passes=2, min_face=14, square_ground_truth=True, negatives_per_photo=40, margin=4, **LOOSE
)


CROWD = [
    Face((8, 10, 38, 46)),
    Face((60, 8, 84, 36), has_landmarks=False),
    Face((64, 50, 112, 92), ignored=True),
    Face((20, 70, 28, 78)),  # below min_face
]


def target_ious(samples: Samples, square_ground_truth: bool) -> np.ndarray:
    """Overlap of each sample's window, the unit square of its targets, with its face; NaN for negatives."""
    found = []
    for x1, y1, x2, y2 in samples.targets[:, :4].astype(float):
        grow = max(x2 - x1, y2 - y1) / 2 if square_ground_truth else 0
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        box = (x - grow, y - grow, x + grow, y + grow) if square_ground_truth else (x1, y1, x2, y2)
        found.append(iou((0, 0, 1, 1), box))
    return np.array(found)


def check_kinds(samples: Samples) -> None:
    """The kinds are those of the overlaps that the targets tell."""
    s = samples.meta["settings"]
    overlap = target_ious(samples, s["square_ground_truth"])
    with_face = samples.kinds != NEGATIVE
    assert np.isnan(samples.targets[~with_face]).all()
    assert np.isfinite(samples.targets[with_face, :4]).all()
    assert np.isfinite(samples.targets[samples.kinds == LANDMARK]).all()
    # P-Net's windows are as little out of square as their level's size was rounded
    near = 0.03 if s["square_ground_truth"] and s["stage"] == "pnet" else 1e-4
    for kind in (POSITIVE, LANDMARK):
        assert (overlap[samples.kinds == kind] >= s["positive_iou"] - near).all()
    parts = overlap[samples.kinds == PART]
    assert ((parts >= s["part_iou"] - near) & (parts < s["positive_iou"] + near)).all()


def check_pixels(samples: Samples, architecture) -> None:
    """The blue of the left eye lies where the target says, without any shift that they have in common."""
    side = samples.crops.shape[1]
    eyes = samples.targets[:, 4:6]
    inside = ((eyes > 0.15) & (eyes < 0.85)).all(axis=1) & np.isin(samples.kinds, (POSITIVE, LANDMARK))
    assert inside.sum() > 20
    expected = eyes[inside] * architecture.window + (side - architecture.window) / 2
    error = centroids(blueness(samples.crops[inside])) - expected
    assert np.isfinite(error).all()
    assert np.abs(error).max() < 0.7
    assert np.abs(error.mean(axis=0)).max() < 0.12, "a constant shift: the half-pixel rule is broken"


def covered(window: np.ndarray, face: tuple) -> float:
    sides = np.minimum(window[2:], face[2:]) - np.maximum(window[:2], face[:2])
    return float(np.clip(sides, 0, None).prod() / (window[2:] - window[:2]).prod())


def squared(box: np.ndarray) -> np.ndarray:
    half, centre = (box[2:] - box[:2]).max() / 2, (box[:2] + box[2:]) / 2
    return np.concatenate([centre - half, centre + half])


DATA = """
[[source]]
kind = "coco"
annotations = "faces/annotations.json"
images = "faces"
exclude = "held_out.txt"

[[source]]
kind = "folder"
images = "none"
"""


def of_data(root: Path, workers: int = 1) -> list[str]:
    return ["--data", str(root / "data.toml"), "--root", str(root), "--workers", str(workers)]


def cascade(root: Path, out: Path, *options: str) -> list[str]:
    return ["cascade", *of_data(root), "--out", str(out), *options]
