"""Pyramid levels in torch, byte for byte those of the native core.

The native core tells which pixels each pixel of a level reads, and their weights. Pixels and weights have at most 8
bits, which every precision of a matrix product represents exactly. Sums are multiples of 2^-7 below 2^9, which float32
represents exactly. So neither the order, nor the device, nor a setting of torch changes them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from cascade import _native

# As in csrc: bits of the fixed-point filter weights.
WEIGHT_BITS = 7

# Output pixels of an axis whose filters form one matrix, which is mostly zeros: a GPU is faster with large products.
BLOCK_PIXELS = {"cpu": 32, "cuda": 256}


def at_most(limits: dict[str, int], device: torch.device) -> int:
    """The limit for a device; unknown kinds of device have the limit of a CPU."""
    return limits.get(device.type, limits["cpu"])


def staged(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array in host memory; for a GPU page-locked, so that it can be copied there asynchronously."""
    if device.type != "cuda":
        return torch.tensor(array)
    copy = _page_locked(array.shape, torch.from_numpy(np.empty(0, array.dtype)).dtype)
    copy.numpy()[...] = array
    return copy


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array on the device; for a GPU it is asynchronous."""
    return staged(array, device).to(device, non_blocking=device.type == "cuda")


def _page_locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Page-locked host memory; torch caches it for later calls, and holds it while a copy is in progress."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def resample(images: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Images (n, 3, h, w), uint8 or float32, as float32 (n, 3, height, width): vertically, then horizontally.

    Call it without autocast, which would round the sums.
    """
    for axis, size in ((2, height), (3, width)):
        shape = list(images.shape)
        shape[axis] = size
        found, done = torch.empty(shape, dtype=torch.float32, device=images.device), 0
        for first, end, weights in _blocks(images.shape[axis], size, images.device):
            read = images.narrow(axis, first, end - first)
            if read.dtype == torch.uint8:
                read = read.to(torch.float32, memory_format=torch.contiguous_format)
            sums = weights @ read if axis == 2 else read @ weights.T
            torch.floor(sums.add_(0.5), out=found.narrow(axis, done, len(weights)))
            done += len(weights)
        images = found
    return images


@lru_cache(maxsize=64)
def _blocks(source: int, size: int, device: torch.device) -> list[tuple[int, int, torch.Tensor]]:
    """The filters of one axis as matrices, each for a block of output pixels.

    Each has the source pixels [first, end) that the block reads and weights float32 (outputs, end - first). Cached,
    since all frames of a video have one size.
    """
    taps = _native.triangle_taps([0], [source], [source], size)
    pixels, weights = taps[0][0], taps[1][0]
    most, blocks = at_most(BLOCK_PIXELS, device), []
    for start in range(0, size, most):
        some = slice(start, start + most)
        first, end = int(pixels[some].min()), int(pixels[some].max()) + 1
        matrix = np.zeros((len(pixels[some]), end - first), np.int64)
        np.add.at(matrix, (np.arange(len(matrix))[:, None], pixels[some] - first), weights[some])
        # not by `upload`: a later call may use the cached matrix on another stream than the one that copies it
        scaled = np.ldexp(matrix.astype(np.float32), -WEIGHT_BITS)
        blocks.append((first, end, torch.tensor(scaled, device=device)))
    return blocks
