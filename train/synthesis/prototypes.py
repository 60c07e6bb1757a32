"""Mean faces of ages, which a run begins with: D. Rowland, D. Perrett, Manipulating facial appearance, IEEE CG&A 1995.

What differs between the mean faces of two ages is a first answer to how a face changes between them: shape and colour,
without wrinkles, since these lie elsewhere in every face.
"""

from __future__ import annotations

import numpy as np
import torch

from train.detection.augment import normalise
from train.synthesis.faces import AgedFaces, shares
from train.synthesis.settings import ANCHORS

EACH = 200  # faces in a mean
GENDERS = ("male", "female")


def mean_faces(faces: AgedFaces) -> torch.Tensor:
    """Mean crops (genders, anchors, 3, size, size) in about -1..1 of the faces to learn from, made symmetric.

    Where a gender has too few faces of an age, those of both count.
    """
    nearest = np.abs(faces.ages[faces.learned, None] - np.array(ANCHORS)).argmin(axis=1)
    genders = faces.genders[faces.learned]
    rng, found = np.random.default_rng(0), []
    for gender in range(len(GENDERS)):
        for anchor in range(len(ANCHORS)):
            rows = faces.learned[(nearest == anchor) & (genders == gender)]
            rows = rows if len(rows) >= EACH // 4 else faces.learned[nearest == anchor]
            crops = faces.crops(rng.permutation(rows)[:EACH]).astype(np.float64).mean(axis=0)
            found.append((crops + crops[:, ::-1]) / 2)
    size = found[0].shape[0]
    means = normalise(torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float())
    return means.reshape(len(GENDERS), len(ANCHORS), 3, size, size)


def expected_change(
    means: torch.Tensor, genders: torch.Tensor, ages: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """How the mean face changes (n, 3, size, size) from ages (n,) to targets (n,), of each gender or of all for -1."""
    between = shares(targets) - shares(ages)
    by_gender = torch.cat([means, means.mean(0, keepdim=True)])[genders.clamp_min(-1)]
    return torch.einsum("na,nachw->nchw", between.to(means.dtype), by_gender)
