"""Rotates frontal crops into profile: a mean face in space gives every pixel a depth.

Photos of one person from the front and from the side are rare in sets of faces. A crop from the front, seen as if the
head were rotated, teaches that both are one person (Masi et al. 2016, "Do We Really Need to Collect Millions of Faces
for Effective Face Recognition?"). Crops are aligned, so the depth of a pixel is nearly that of the mean face there, and
one map per angle serves all faces. Each map ends in the alignment that a detector's landmarks of the rotated face would
give.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch.nn import functional

from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transforms
from cascade.landmarks import five_points
from cascade.models.landmarks import load_landmarks

ANGLES = np.concatenate([np.arange(-75.0, -15.0, 5.0), np.arange(20.0, 80.0, 5.0)])  # degrees
FRONTAL = 20.0  # largest yaw in degrees of a crop that may be rotated
STEP = 0.25  # pixels between the points of the surface

# The head beyond the mean face, which ends at brows, ears and chin: rings about the middle of the face, as radius and
# depth, and three points of the forehead. All in pixels of a crop.
MIDDLE, RINGS = (56.5, 70.0), ((75.0, 55.0), (95.0, 85.0))
FOREHEAD = ((40.0, 8.0, 6.0), (56.5, 8.0, 2.0), (73.0, 8.0, 6.0))
AXIS = 30.0  # depth of the axis that the head rotates about
SMOOTHING = 2.0

Points = NDArray[np.float64]


def rotate_frontal(
    crops: torch.Tensor, yaws: NDArray[np.float32], share: float, generator: torch.Generator
) -> torch.Tensor:
    """Crops (n, 3, 112, 112) of faces with these yaws (n,) in degrees; a share of the frontal ones is rotated.

    What no pixel is known for gets a colour at random, one per crop. A face whose yaw is NaN stays as it is.
    """
    device = generator.device
    chosen = torch.from_numpy(np.abs(yaws) <= FRONTAL).to(device)
    chosen &= torch.rand(len(crops), generator=generator, device=device) < share
    at = torch.nonzero(chosen).flatten()
    if not len(at):
        return crops
    angles = torch.randint(len(ANGLES), (len(at),), generator=generator, device=device)
    places = torch.from_numpy(yaw_maps()).to(device)[angles]
    around = 255 * torch.rand((len(at), 3, 1, 1), generator=generator, device=device)
    moved = functional.grid_sample(crops[at] - around, places, padding_mode="zeros", align_corners=False)
    return crops.index_copy(0, at, (moved + around).clamp(0, 255))  # rounding may leave the range


@cache
def yaw_maps() -> NDArray[np.float32]:
    """For each of the `ANGLES` where every pixel of a rotated crop lies in the frontal one, (angles, 112, 112, 2).

    x and y are from -1 to 1 as `torch.nn.functional.grid_sample` has them; 2 where nothing is known.
    """
    maps = np.stack([_yaw_map(angle) for angle in ANGLES]) * (2 / TEMPLATE_SIZE) - 1
    return np.nan_to_num(maps, nan=2.0).astype(np.float32)


@cache
def _mean_face() -> Points:
    """The 68 points (68, 3) of the mean face in pixels of an aligned crop, depth away from the camera."""
    face = load_landmarks().tensors["mean_face"].astype(np.float64)
    transform = similarity_transforms(five_points(face[None]).astype(np.float64)[:, :, :2], ARCFACE_TEMPLATE)[0]
    scale = np.sqrt(np.linalg.det(transform[:, :2]))
    return np.column_stack([face[:, :2] @ transform[:, :2].T + transform[:, 2], face[:, 2] * scale])


@cache
def _surface() -> tuple[Points, Points]:
    """Places across (k,) and depths (112, k) of the surface of the head along every row of a crop."""
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.column_stack([np.cos(around), np.sin(around)])
    rings = [np.column_stack([MIDDLE + radius * circle, np.full(len(circle), depth)]) for radius, depth in RINGS]
    known = np.concatenate([_mean_face(), *rings, np.array(FOREHEAD)])
    depth = RBFInterpolator(known[:, :2], known[:, 2], kernel="thin_plate_spline", smoothing=SMOOTHING)
    across = np.arange(-20, TEMPLATE_SIZE + 20, STEP)
    down = np.arange(TEMPLATE_SIZE) + 0.5
    places = np.stack(np.meshgrid(across, down), axis=-1)
    return across, depth(places.reshape(-1, 2)).reshape(places.shape[:2])


def _rotated(across: Points, depth: Points, angle: float) -> tuple[Points, Points]:
    """Where points lie across, and their depth, when the head has rotated by an angle in degrees."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x, z = across - MIDDLE[0], depth - AXIS
    return x * cosine + z * sine + MIDDLE[0], z * cosine - x * sine


def _yaw_map(angle: float) -> Points:
    """(112, 112, 2): the place in the frontal crop that each pixel of the rotated one shows; NaN where none does."""
    five = five_points(_mean_face()[None]).astype(np.float64)[0]
    there = np.column_stack([_rotated(five[:, 0], five[:, 2], angle)[0], five[:, 1]])
    transform = similarity_transforms(there[None], ARCFACE_TEMPLATE)[0]
    centres = np.arange(TEMPLATE_SIZE) + 0.5
    pixels = np.stack(np.meshgrid(centres, centres), axis=-1)
    wanted = (pixels - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T
    across, depths = _surface()
    found = np.full(wanted.shape, np.nan)
    rows = np.clip(np.floor(wanted[..., 1]).astype(int), 0, TEMPLATE_SIZE - 1)
    for row in np.unique(rows):
        here = rows == row
        found[here, 0] = _nearest(wanted[here, 0], across, *_rotated(across, depths[row], angle))
    found[..., 1] = np.where(np.isnan(found[..., 0]), np.nan, wanted[..., 1])
    return found


def _nearest(wanted: Points, across: Points, x: Points, z: Points) -> Points:
    """The places ``across`` whose rotated x is the wanted one, where several are the nearest to the camera."""
    low, high = np.minimum(x[:-1], x[1:]), np.maximum(x[:-1], x[1:])
    crossed = (wanted[:, None] >= low) & (wanted[:, None] < high)
    at = np.where(crossed, z[:-1], np.inf).argmin(axis=1)
    length = np.where(x[at + 1] == x[at], 1, x[at + 1] - x[at])
    found: Points = across[at] + STEP * (wanted - x[at]) / length
    return np.where(crossed.any(axis=1), found, np.nan)
