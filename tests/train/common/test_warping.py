"""Warping crops: what angle, scale, shift and mirroring do, and what comes from outside."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from train.common.warping import warp_crops

CROPS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def warped(
    angle: float = 0,
    scale: float = 1,
    shift: tuple[float, float] = (0, 0),
    mirrored: bool = False,
    padding: str = "border",
) -> torch.Tensor:
    """`CROPS`, the first as it is and the second by this transform."""
    still = torch.zeros(2), torch.ones(2), (torch.zeros(2), torch.zeros(2)), torch.tensor([False, mirrored])
    for tensor, value in ((still[0], angle), (still[1], scale), (still[2][0], shift[0]), (still[2][1], shift[1])):
        tensor[1] = value
    found = warp_crops(CROPS, *still, padding)
    torch.testing.assert_close(found[0], CROPS[0])
    return found[1]


def test_each_crop_by_its_own_transform() -> None:
    crop = CROPS[1]
    torch.testing.assert_close(warped(mirrored=True), crop.flip(2))
    torch.testing.assert_close(warped(angle=math.pi / 2), crop.rot90(1, (1, 2)))
    torch.testing.assert_close(warped(angle=math.pi / 2, mirrored=True), crop.rot90(1, (1, 2)).flip(2))
    doubled = functional.interpolate(crop[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(warped(scale=0.5), doubled[:, 4:12, 4:12])
    torch.testing.assert_close(warped(shift=(0.25, 0))[:, :, :6], crop[:, :, 2:])
    torch.testing.assert_close(warped(shift=(0, -0.125))[:, 1:], crop[:, :-1])


@pytest.mark.parametrize(("padding", "outside"), [("border", 7), ("reflection", 6), ("zeros", None)])
def test_what_lies_outside(padding: str, outside: int | None) -> None:
    found = warped(shift=(0.25, 0), padding=padding)[:, :, 7]
    torch.testing.assert_close(found, torch.zeros(3, 8) if outside is None else CROPS[1, :, :, outside])
