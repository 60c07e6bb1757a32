"""Mean faces of ages and the strength of their detail, which a run begins with.

What differs between the mean faces of two ages is a first answer to how a face changes between them: shape and colour
(D. Rowland, D. Perrett, Manipulating facial appearance, IEEE CG&A 1995). Wrinkles lie elsewhere in every face, so means
have none; how strong detail is at each place does differ by age, and the face's own detail is made as strong
(B. Tiddeman, M. Burt, D. Perrett, Prototyping and transforming facial textures, IEEE CG&A 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

from train.detection.augment import normalise
from train.synthesis.faces import AgedFaces, shares
from train.synthesis.settings import ANCHORS

EACH = 150  # faces in a mean
GENDERS = 2
SCALES = (1.0, 2.0, 4.0)  # deviations in pixels of the blurs between which detail lies, at 64 pixels a side
LEAST, MOST = 0.6, 2.0  # factors of detail
FAINT = 2e-4  # added to squared detail, so that noise is not taken for it


@dataclass(frozen=True)
class Prototypes:
    """For genders male, female, all: mean crops (3, anchors, 3, side, side) in about -1..1; mean squared detail.

    detail (3, anchors, scales, side, side) of the brightness.
    """

    means: torch.Tensor
    detail: torch.Tensor

    def change(
        self, crops: torch.Tensor, genders: torch.Tensor, ages: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """How crops (n, 3, side, side) are expected to change from ages (n,) to targets (n,); gender -1 is all."""
        before, after = shares(ages), shares(targets)
        means, detail = self.means[genders.clamp_min(-1)], self.detail[genders.clamp_min(-1)]
        found = torch.einsum("na,nachw->nchw", after - before, means)
        strength = [torch.einsum("na,nashw->nshw", each, detail) + FAINT for each in (after, before)]
        factors = (strength[0] / strength[1]).sqrt().clamp(LEAST, MOST)
        for scale, band in enumerate(bands(crops)):
            found = found + (factors[:, scale, None] - 1) * band
        return found


def mean_faces(faces: AgedFaces, device: torch.device | str = "cpu") -> Prototypes:
    """Of the faces to learn from, made symmetric. Where a gender has few faces of an age, those of both count."""
    nearest = np.abs(faces.ages[faces.learned, None] - np.array(ANCHORS)).argmin(axis=1)
    genders = faces.genders[faces.learned]
    rng, means, detail = np.random.default_rng(0), [], []
    for gender in (*range(GENDERS), -1):
        for anchor in range(len(ANCHORS)):
            of_age = nearest == anchor
            rows = faces.learned[of_age & ((genders == gender) | (gender < 0))]
            rows = rows if len(rows) >= EACH // 4 else faces.learned[of_age]
            crops = faces.crops(np.sort(rng.permutation(rows)[:EACH]))
            inputs = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
            squares = torch.stack([band.mean(1).square().mean(0) for band in bands(inputs)])
            means.append(inputs.mean(0))
            detail.append(blurred(squares[None], 2.0)[0])
    stacked = [torch.stack(each).reshape(GENDERS + 1, len(ANCHORS), *each[0].shape) for each in (means, detail)]
    return Prototypes(*(((each + each.flip(-1)) / 2).to(device) for each in stacked))


def bands(crops: torch.Tensor) -> list[torch.Tensor]:
    """The detail of crops (n, C, side, side) between one blur and the next, finest first."""
    unit = crops.shape[-1] / 64
    levels = [crops, *(blurred(crops, scale * unit) for scale in SCALES)]
    return [fine - coarse for fine, coarse in pairwise(levels)]


def blurred(crops: torch.Tensor, deviation: float) -> torch.Tensor:
    """Gaussian blur of (n, C, side, side)."""
    reach = max(1, round(2.5 * deviation))
    place = torch.arange(-reach, reach + 1, device=crops.device, dtype=crops.dtype)
    weights = torch.exp(-place.square() / (2 * deviation**2))
    weights = weights / weights.sum()
    channels = crops.shape[1]
    for shape in ((1, -1), (-1, 1)):
        kernel = weights.reshape(1, 1, *shape).expand(channels, -1, -1, -1)
        around = [reach, reach, 0, 0] if shape == (1, -1) else [0, 0, reach, reach]
        crops = functional.conv2d(functional.pad(crops, around, mode="reflect"), kernel, groups=channels)
    return crops
