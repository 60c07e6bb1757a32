"""Pyramid levels in torch, to the byte those of ``csrc/resample.c``.

The native core says which pixels a level's pixels read, and their weights. Pixels and the two halves of a weight have 8
bits at most, which every precision of a matrix product holds, and sums are of multiples of 2^-14 below 2^10, which
float32 holds: no order, no device and no switch of torch's can change them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from cascade import _native

# As in csrc: what lies outside an image, bits of the fixed-point filter weights.
OUTSIDE, WEIGHT_BITS = 128, 14
HALF_BITS = WEIGHT_BITS // 2

# Output pixels of an axis whose filters make one matrix, most of which is zeros: few large products on a GPU.
BLOCK_PIXELS = {"cpu": 32, "cuda": 256}


def at_most(limits: dict[str, int], device: torch.device) -> int:
    """The limit for a device; those of which nothing is known have a CPU's."""
    return limits.get(device.type, limits["cpu"])


def staged(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array in the CPU's memory; for a GPU page-locked, so that it may be copied there at any time."""
    if device.type != "cuda":
        return torch.tensor(array)
    copy = _page_locked(array.shape, torch.from_numpy(np.empty(0, array.dtype)).dtype)
    copy.numpy()[...] = array
    return copy


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of an array on the device; with a GPU nothing waits for it."""
    return staged(array, device).to(device, non_blocking=device.type == "cuda")


def _page_locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Host memory that a GPU reads by itself; torch keeps it for later calls, and as long as a copy is under way."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def resample(images: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Images (n, 3, h, w), uint8 or float32, as float32 (n, 3, height, width): vertically, then horizontally.

    To be called without autocast, which would round the sums.
    """
    for axis, size in ((2, height), (3, width)):
        shape = list(images.shape)
        shape[axis] = size
        found, done = torch.empty(shape, dtype=torch.float32, device=images.device), 0
        for first, end, weights in _blocks(images.shape[axis], size, images.device):
            read = images.narrow(axis, first, end - first)
            if read.dtype == torch.uint8:
                read = read.to(torch.float32, memory_format=torch.contiguous_format)
            coarse, fine = (weights @ read if axis == 2 else read @ weights.T).chunk(2, axis)
            outputs = len(weights) // 2
            torch.floor(torch.add(coarse, fine).add_(0.5), out=found.narrow(axis, done, outputs))
            done += outputs
        images = found
    return images


@lru_cache(maxsize=64)
def _blocks(source: int, size: int, device: torch.device) -> list[tuple[int, int, torch.Tensor]]:
    """The filters of one axis as matrices: for some output pixels each, the source pixels [first, end) that they read
    and the weights float32 (2 · outputs, end - first), first their upper halves, then the lower ones.

    Kept, since frames of a video are all of one size.
    """
    taps = _native.triangle_taps([0], [source], [source], size)
    pixels, weights = taps[0][0], taps[1][0]
    most, blocks = at_most(BLOCK_PIXELS, device), []
    for start in range(0, size, most):
        some = slice(start, start + most)
        first, end = int(pixels[some].min()), int(pixels[some].max()) + 1
        matrix = np.zeros((len(pixels[some]), end - first), np.int64)
        np.add.at(matrix, (np.arange(len(matrix))[:, None], pixels[some] - first), weights[some])
        halves = np.concatenate([matrix >> HALF_BITS << HALF_BITS, matrix & ((1 << HALF_BITS) - 1)])
        # not by `upload`: whoever takes them from the cache need not compute on the stream that copied them
        scaled = np.ldexp(halves.astype(np.float32), -WEIGHT_BITS)
        blocks.append((first, end, torch.tensor(scaled, device=device)))
    return blocks
