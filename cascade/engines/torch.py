"""The torch engine: the same stages in torch, on a CPU or a GPU, for one image or for several together.

It is the reference for the native engine: levels and crops are the same to the byte, and only the networks' sums are
rounded differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError('the torch engine needs torch: pip install "cascade-faces[train]"') from error

from cascade.architectures import Stage
from cascade.engines import BatchEngine
from cascade.engines.torch_networks import PixelNetwork, Runner, compiled, half_precision, run
from cascade.engines.torch_resample import OUTSIDE, cut, resample, upload, warp
from cascade.networks import from_tensors
from cascade.pyramid import Pyramid
from cascade.weights import DetectorWeights, StageWeights

# What bounds the memory: images of one group and their pixels together, pixels of levels in one strip of windows.
GROUP_IMAGES, GROUP_PIXELS, STRIP_PIXELS = 16, 1 << 23, 1 << 21


class TorchEngine(BatchEngine):
    """Runs a set of weights in torch. Safe to share between threads, but not to use after a fork: torch is not.

    Parameters
    ----------
    weights : what `cascade.weights.load_detector` gave.
    device : a torch device such as "cpu" or "cuda".
    half : run the networks in float16 (on a CPU in bfloat16) up to their last layers, which stay in float32.
    compile : run the networks through torch.compile, which takes some minutes unless torch has the results of an
        earlier run, and needs a C++ compiler on a CPU and Triton on a GPU.

    Raises ValueError naming the setting for a device that torch does not know or that this machine lacks, and where
    torch.compile does not work.
    """

    def __init__(
        self, weights: DetectorWeights, device: str = "cpu", half: bool = False, compile: bool = False
    ) -> None:
        self.weights = weights
        self.device = _device(device)
        precision = half_precision(self.device) if half else torch.float32
        self._networks: dict[Stage, Runner] = {}
        self._uncompiled: dict[Stage, PixelNetwork] = {}
        for stage, stored in weights.stages.items():
            network = self._uncompiled[stage] = _network(stored, precision).to(self.device)
            # P-Net slides over images larger than its input
            side = stored.architecture.input_size * (2 if stage == "pnet" else 1)
            self._networks[stage] = compiled(network, side, self.device) if compile else network

    def network(self, stage: Stage) -> PixelNetwork:
        """The network of a stage as a module."""
        return self._uncompiled[stage]

    def groups(self, images: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """See `cascade.engines.BatchEngine.groups`: up to 16 images, and 8 megapixels unless one alone has more."""
        group: list[np.ndarray] = []
        for image in images:
            pixels = sum(one.shape[0] * one.shape[1] for one in (*group, image))
            if group and (len(group) == GROUP_IMAGES or pixels > GROUP_PIXELS):
                yield group
                group = []
            group.append(image)
        if group:
            yield group

    @torch.inference_mode()
    def pyramids(self, images: list[np.ndarray], sizes: list[list[tuple[int, int]]]) -> list[Pyramid]:
        """See `cascade.engines.BatchEngine.pyramids`; all images are uint8 tensors (height, width, 3) on the device."""
        found: dict[int, Pyramid] = {}
        for alike in _alike([(image.shape, tuple(some)) for image, some in zip(images, sizes, strict=True)]):
            levels = [torch.stack([upload(images[index], self.device) for index in alike])]
            for width, height in sizes[alike[0]]:
                levels.append(resample(levels[-1], width, height))
            height, width = levels[0].shape[1:3]
            scales = np.array([(level.shape[2] / width, level.shape[1] / height) for level in levels])
            for place, index in enumerate(alike):
                found[index] = Pyramid([level[place] for level in levels], scales)
        return [found[index] for index in range(len(images))]

    @torch.inference_mode()
    def slide_all(self, levels: list[Any], threshold: float) -> list[np.ndarray]:
        """See `cascade.engines.BatchEngine.slide_all`."""
        architecture = self.weights["pnet"].architecture
        found = [torch.empty(0, 2 + architecture.outputs, device=self.device)]
        order: list[int] = []
        for alike in _alike([tuple(level.shape) for level in levels]):
            height, width = (side + 2 * architecture.padding for side in levels[alike[0]].shape[:2])
            together = max(1, STRIP_PIXELS // (height * width))
            for first in range(0, len(alike), together):
                some = alike[first : first + together]
                found += self._slide(torch.stack([levels[index] for index in some]), threshold, len(order))
                order += some
        windows = torch.cat(found).cpu().numpy()
        windows = windows[np.argsort(windows[:, 0], kind="stable")]
        parts = np.split(windows[:, 1:], np.searchsorted(windows[:, 0], np.arange(1, len(order))))
        return [part for _, part in sorted(zip(order, parts, strict=False), key=lambda pair: pair[0])]

    def _slide(self, levels: torch.Tensor, threshold: float, first_level: int) -> Iterator[torch.Tensor]:
        """The windows of levels (n, height, width, 3), numbered from ``first_level``, strip by strip."""
        architecture = self.weights["pnet"].architecture
        stride, field, margin = architecture.stride, architecture.input_size, architecture.padding
        padded = torch.nn.functional.pad(levels.permute(0, 3, 1, 2), (margin,) * 4, value=OUTSIDE)
        rows, columns = ((side - field) // stride + 1 for side in padded.shape[2:])
        if columns <= 0:
            return
        step = max(1, STRIP_PIXELS // (len(padded) * stride * padded.shape[3]))
        for first in range(0, rows, step):
            last = min(first + step, rows) - 1
            strip = padded[:, :, first * stride : last * stride + field, : (columns - 1) * stride + field]
            yield _windows(run(self._networks["pnet"], strip), threshold, first_level, first)

    @torch.inference_mode()
    def judge_all(self, stage: Stage, pyramids: list[Pyramid], places: list[np.ndarray]) -> list[np.ndarray]:
        """See `cascade.engines.BatchEngine.judge_all`."""
        architecture = self.weights[stage].architecture
        crops = cut if places[0].ndim == 2 else warp
        found = [torch.empty(0, architecture.outputs, device=self.device)]
        for some in crops(pyramids, places, architecture.input_size):
            found.append(run(self._networks[stage], some.permute(0, 3, 1, 2))[:, :, 0, 0])
        outputs = torch.cat(found).cpu().numpy()
        return np.split(outputs, np.cumsum([len(some) for some in places])[:-1])


def _network(stored: StageWeights, precision: torch.dtype) -> PixelNetwork:
    tensors = {name: torch.tensor(values) for name, values in stored.tensors.items()}
    return PixelNetwork(from_tensors(stored.architecture, tensors), precision)


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


def _alike(keys: list[Any]) -> list[list[int]]:
    """Indices of equal keys together, the first ones first."""
    found: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        found.setdefault(key, []).append(index)
    return list(found.values())


def _windows(output: torch.Tensor, threshold: float, first_level: int, first_row: int) -> torch.Tensor:
    """Level, column, row, logit and the outputs after the first two, (m, 2 + outputs), of the windows that pass.

    ``output`` is (n, outputs, rows, columns); the firsts are added to the levels and the rows.
    """
    logits = output[:, 1] - output[:, 0]
    levels, rows, columns = torch.nonzero(logits >= threshold, as_tuple=True)
    places = torch.stack([levels + first_level, columns, rows + first_row], dim=1)
    return torch.cat([places, logits[levels, rows, columns, None], output[levels, 2:, rows, columns]], dim=1)
