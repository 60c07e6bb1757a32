"""The torch engine: the same three stages in torch, on a CPU or a GPU.

It is the reference for the native engine. Levels and crops are those of ``csrc/resample.c`` to the byte: the
tap tables come from the same double arithmetic, and the sums are of integers, so no device and no precision
setting can change them. Only the networks' sums are rounded differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from cascade import _native
from cascade.architectures import Stage
from cascade.engines.native import crop_sources
from cascade.pyramid import Pyramid
from cascade.weights import DetectorWeights

try:
    import torch
except ImportError as error:
    raise ImportError('the torch engine needs torch: pip install "cascade-faces[train]"') from error

from cascade.networks import from_tensors

# As in csrc: what lies outside an image, bits of the fixed-point filter weights, the limit of coordinates.
OUTSIDE, WEIGHT_BITS, FARTHEST = 128, 14, 1 << 20

# What bounds the memory: values gathered for one chunk of crops, pixels of a level in one strip of windows.
CHUNK_VALUES, STRIP_PIXELS = 1 << 22, 1 << 21

# torch's precision switch is global: one call at a time turns it.
_precision_lock = Lock()


class TorchEngine:
    """Runs a set of weights in torch. Safe to share between threads, but not to use after a fork: torch is not.

    Raises ValueError for a device that torch does not know or that this machine lacks.
    """

    def __init__(self, weights: DetectorWeights, device: str = "cpu") -> None:
        self.weights = weights
        self.device = _device(device)
        self._networks = {
            stage: from_tensors(
                network.architecture, {name: torch.tensor(values) for name, values in network.tensors.items()}
            ).to(self.device)
            for stage, network in weights.stages.items()
        }

    @torch.inference_mode()
    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.Engine.pyramid`; images are uint8 tensors (height, width, 3) on the device."""
        images = [torch.tensor(image, device=self.device)]
        for width, height in sizes:
            images.append(_resample(images[-1], width, height))
        height, width = image.shape[:2]
        return Pyramid(images, np.array([(i.shape[1] / width, i.shape[0] / height) for i in images]))

    @torch.inference_mode()
    def slide(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.Engine.slide`."""
        architecture = self.weights.stages["pnet"].architecture
        stride, field, margin = architecture.stride, architecture.input_size, architecture.padding
        padded = torch.nn.functional.pad(level.permute(2, 0, 1), (margin,) * 4, value=OUTSIDE)
        rows, columns = ((side - field) // stride + 1 for side in padded.shape[1:])
        found = [torch.empty(0, architecture.outputs + 1, device=self.device)]
        if columns > 0:
            step = max(1, STRIP_PIXELS // (stride * padded.shape[2]))
            for first in range(0, rows, step):
                last = min(first + step, rows) - 1
                strip = padded[:, first * stride : last * stride + field, : (columns - 1) * stride + field]
                found.append(_windows(self._run("pnet", strip[None])[0], threshold, first))
        return torch.cat(found).cpu().numpy()

    @torch.inference_mode()
    def judge(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge`."""
        architecture = self.weights.stages[stage].architecture
        found = [torch.empty(0, architecture.outputs, device=self.device)]
        for crops in _cut(pyramid, boxes, architecture.input_size):
            found.append(self._run(stage, crops.permute(0, 3, 1, 2))[:, :, 0, 0])
        return torch.cat(found).cpu().numpy()

    @torch.inference_mode()
    def judge_turned(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.Engine.judge_turned`. The few crops of final faces are cut on the CPU."""
        images, scales = crop_sources(pyramid)
        size = self.weights[stage].architecture.input_size
        crops = torch.tensor(_native.warp([image.cpu().numpy() for image in images], scales, matrices, size))
        return self._run(stage, crops.to(self.device).permute(0, 3, 1, 2))[:, :, 0, 0].cpu().numpy()

    def _run(self, stage: Stage, pixels: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs, rows, columns) of a network for uint8 (n, 3, height, width)."""
        with _full_precision(self.device):
            output: torch.Tensor = self._networks[stage]((pixels.float() - 127.5) * 0.0078125)
        return output


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device: expected a torch device such as 'cpu' or 'cuda', got {name!r}") from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device: {name!r} is not there, torch {torch.__version__} sees {count} CUDA devices")
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(f"device: torch cannot compute on {name!r} here ({error})") from error
    return device


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions in float32 on a GPU too, where torch otherwise rounds their inputs to 10 bits (TF32)."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    # the switch has moved: torch 2.9 and later refuse to mix the two
    switch, name, full = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    with _precision_lock:
        before = getattr(switch, name)
        setattr(switch, name, full)
        try:
            yield
        finally:
            setattr(switch, name, before)


def _windows(output: torch.Tensor, threshold: float, first: int) -> torch.Tensor:
    """Column, row, logit and the outputs after the first two, (n, 1 + outputs), of the windows that pass.

    ``output`` is (outputs, rows, columns); ``first`` is added to the rows.
    """
    logits = output[1] - output[0]
    rows, columns = torch.nonzero(logits >= threshold, as_tuple=True)
    head = torch.stack([columns.float(), (rows + first).float(), logits[rows, columns]])
    return torch.cat([head, output[2:, rows, columns]]).T


# --------------------------------------------------------------------------------------------------
# Resampling, as csrc/resample.c


@dataclass(frozen=True)
class _Taps:
    """n axes of ``size`` output pixels each: source pixels and their weights (n, size, taps), and whether the
    output pixel's centre is in the source (n, size)."""

    pixels: np.ndarray
    weights: np.ndarray
    inside: np.ndarray


def _taps(start: np.ndarray, extent: np.ndarray, source: np.ndarray, size: int) -> _Taps:
    """Triangle filters over [start, start + extent) of axes of ``source`` pixels, each argument (n,)."""
    start, extent, source = (np.asarray(a, np.float64)[:, None] for a in (start, extent, source))
    scale = extent / size
    support = np.maximum(scale, 1.0)
    centre = start + (np.arange(size) + 0.5) * scale
    inside = (centre >= 0.0) & (centre < source)
    low = np.maximum(np.floor(centre - support - 0.5) + 1.0, 0.0)
    high = np.minimum(np.ceil(centre + support - 0.5) - 1.0, source - 1.0)
    count = np.where(inside, high - low + 1.0, 0.0)

    steps = np.arange(max(1, int(count.max(initial=0.0))))
    pixels = low[..., None] + steps
    used = steps < count[..., None]
    shares = np.where(used, support[..., None] - np.abs(pixels + 0.5 - centre[..., None]), 0.0)
    totals = np.cumsum(shares, axis=2)[..., -1:]  # added from left to right, as in C
    weights = np.floor(shares * ((1 << WEIGHT_BITS) / np.where(inside[..., None], totals, 1.0)) + 0.5)
    # the largest weight, the first of equals, takes up what rounding left
    largest = weights.argmax(axis=2)[..., None]
    rest = np.where(inside[..., None], (1 << WEIGHT_BITS) - weights.sum(axis=2, keepdims=True), 0.0)
    np.put_along_axis(weights, largest, np.take_along_axis(weights, largest, 2) + rest, 2)
    pixels = np.clip(pixels, 0.0, source[..., None] - 1.0)
    return _Taps(pixels.astype(np.int64), weights.astype(np.int32), inside)


def _round(sums: torch.Tensor) -> torch.Tensor:
    """Fixed-point sums (int32) to uint8."""
    return ((sums + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).to(torch.uint8)


def _resample(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """The whole of a uint8 image (h, w, 3) resampled to (height, width, 3): vertically, then horizontally."""
    for axis, size in enumerate((height, width)):
        source = np.array([image.shape[axis]])
        taps = _taps(np.zeros(1), source, source, size)
        pixels = torch.tensor(taps.pixels[0], device=image.device)
        # (size, taps) -> one column of weights beside each pixel's or each row's other axes
        weights = torch.tensor(taps.weights[0], device=image.device).reshape(size, *(1,) * (2 - axis), -1)
        sums = torch.zeros((), dtype=torch.int32, device=image.device)
        for k in range(pixels.shape[1]):
            sums = sums + weights[..., k] * image.index_select(axis, pixels[:, k])
        image = _round(sums)
    return image


def _cut(pyramid: Pyramid, boxes: np.ndarray, size: int) -> Iterator[torch.Tensor]:
    """What `_native.cut` makes of boxes (n, 4) in pixels of the photo, in chunks (m, size, size, 3)."""
    images, scales = crop_sources(pyramid)
    chosen = _native.choose_levels(scales, boxes, size)
    placed = _native.snap(boxes) * np.tile(scales, 2)[chosen]
    if not ((np.abs(placed) < FARTHEST).all() and (placed[:, 2:] > placed[:, :2]).all()):
        raise ValueError(f"boxes: expected finite x1 < x2 and y1 < y2 within {FARTHEST} pixels")
    # all sources as one list of pixels, so that one gather serves crops of any of them
    store = torch.cat([image.reshape(-1, 3) for image in images])
    shapes = np.array([image.shape[:2] for image in images])
    starts = np.cumsum([0, *(height * width for height, width in shapes[:-1])])
    extents = placed[:, 2:] - placed[:, :2]
    taps = 2 * extents.max(initial=float(size)) / size
    step = max(1, int(CHUNK_VALUES / (size * size * 3 * taps)))
    for first in range(0, len(placed), step):
        some = slice(first, first + step)
        level = chosen[some]
        across = _taps(placed[some, 0], extents[some, 0], shapes[level, 1], size)
        down = _taps(placed[some, 1], extents[some, 1], shapes[level, 0], size)
        yield _gather(store, starts[level], shapes[level, 1], across, down)


def _gather(store: torch.Tensor, starts: np.ndarray, widths: np.ndarray, across: _Taps, down: _Taps) -> torch.Tensor:
    """Crops (n, size, size, 3) of images that start at pixels ``starts`` of the store, ``widths`` wide."""

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, device=store.device)

    rows = tensor(starts[:, None, None] + down.pixels * widths[:, None, None])
    columns, row_weights, column_weights = (tensor(a) for a in (across.pixels, down.weights, across.weights))
    # (crop, output row, column and tap of the horizontal pass, colour)
    shape = (len(rows), rows.shape[1], *columns.shape[1:], 3)
    sums = torch.zeros(shape, dtype=torch.int32, device=store.device)
    for k in range(rows.shape[2]):
        pixels = store[rows[:, :, None, None, k] + columns[:, None]]
        sums += row_weights[:, :, None, None, None, k] * pixels
    blended = _round(sums)
    crops = _round((column_weights[:, None, ..., None] * blended).sum(dim=3, dtype=torch.int32))
    inside = tensor(down.inside[:, :, None] & across.inside[:, None, :])
    return torch.where(inside[..., None], crops, OUTSIDE)
