"""Warping crops, each by a transform of its own, as augmentation does."""

from __future__ import annotations

import torch
from torch.nn import functional


def warp_crops(
    crops: torch.Tensor,
    angle: torch.Tensor,
    scale: torch.Tensor,
    shift: tuple[torch.Tensor, torch.Tensor],
    mirrored: torch.Tensor,
    padding: str,
) -> torch.Tensor:
    """Crops (n, C, side, side) → the same size, by the transform that reads pixel centres of the originals.

    angle     (n,) radians
    scale     (n,) size of the region that is read, over that of the crop
    shift     across and down, each (n,) in shares of the side
    mirrored  (n,) bool
    padding   what lies outside the crop: the ``padding_mode`` of `torch.nn.functional.grid_sample`
    """
    flip = torch.where(mirrored, -1.0, 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    across, down = (2 * each for each in shift)  # the grid is from -1 to 1
    rows = [torch.stack([flip * cosine, -sine, across], 1), torch.stack([flip * sine, cosine, down], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(crops.shape), align_corners=False)
    return functional.grid_sample(crops, grid, mode="bilinear", padding_mode=padding, align_corners=False)
