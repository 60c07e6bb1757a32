"""Filters and pyramid levels in torch, to the byte those of ``csrc/resample.c``.

The native core says where pixels come from, and their weights. Sums are of multiples of 2^-14 below 2^8, all of which
float32 holds: no order and no device can change them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from cascade import _native

# As in csrc: what lies outside an image, bits of the fixed-point filter weights.
OUTSIDE, WEIGHT_BITS = 128, 14

# Output pixels of an axis whose filters make one matrix: for all of a long axis it would be nearly nothing but zeros.
BLOCK_PIXELS = 256


def staged(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array in the CPU's memory; for a GPU page-locked, so that it may be copied there at any time."""
    if device.type != "cuda":
        return torch.tensor(array)
    copy = _page_locked(array.shape, torch.from_numpy(np.empty(0, array.dtype)).dtype)
    copy.numpy()[...] = array
    return copy


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array on the device; nothing waits for it."""
    return staged(array, device).to(device, non_blocking=True)


def _page_locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Host memory that a GPU reads by itself; torch keeps it for later calls, and as long as a copy is under way."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)


# --------------------------------------------------------------------------------------------------
# Levels


def photo_values(photos: torch.Tensor) -> torch.Tensor:
    """Photos uint8 (n, height, width, 3) as `resample` takes them."""
    return photos.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def resample(values: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Images (n, 3, h, w), whole numbers in float32, as (n, 3, height, width): vertically, then horizontally.

    To be called within `cascade.engines.torch_networks.full_precision`.
    """
    down, across = (_blocks(*sides, values.device) for sides in ((values.shape[2], height), (values.shape[3], width)))
    values = _rounded([weights @ values[:, :, first:end] for first, end, weights in down], 2)
    return _rounded([values[..., first:end] @ weights.T for first, end, weights in across], 3)


def _rounded(parts: list[torch.Tensor], axis: int) -> torch.Tensor:
    sums = parts[0] if len(parts) == 1 else torch.cat(parts, axis)
    return sums.add_(0.5).floor_()


@lru_cache(maxsize=64)
def _blocks(source: int, size: int, device: torch.device) -> list[tuple[int, int, torch.Tensor]]:
    """The filters of one axis as matrices: for some output pixels each, the source pixels [first, end) that they read
    and the weights float32 (outputs, end - first). Kept, since frames of a video are all of one size."""
    (pixels,), (weights,), _ = _native.triangle_taps([0], [source], [source], size)
    blocks = []
    for start in range(0, size, BLOCK_PIXELS):
        some = slice(start, start + BLOCK_PIXELS)
        first, end = int(pixels[some].min()), int(pixels[some].max()) + 1
        matrix = np.zeros((len(pixels[some]), end - first), np.float32)
        np.add.at(matrix, (np.arange(len(matrix))[:, None], pixels[some] - first), weights[some] / (1 << WEIGHT_BITS))
        # not by `upload`: whoever takes them from the cache need not compute on the stream that copied them
        blocks.append((first, end, torch.tensor(matrix, device=device)))
    return blocks
