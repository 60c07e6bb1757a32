"""The torch engine: on a CPU or a GPU, for one image or for several together.

It is the reference for the native engine: levels and crops are the same byte for byte, and only the sums of the
networks are rounded differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError('the torch engine needs torch: pip install "cascade-faces[torch]"') from error

from cascade.engines.base import BatchEngine
from cascade.engines.torch.canvas import StoredPyramid, canvas_of, group_equal, stored_pyramids
from cascade.engines.torch.crops import cut, warp
from cascade.engines.torch.networks import PixelNetwork, Runner, compiled, half_precision, no_autocast, run
from cascade.models.detector import DetectorWeights, StageWeights
from cascade.nn.architectures import Stage
from cascade.nn.torch_network import from_tensors

# Images of one group, and their pixels together, which bound the memory.
GROUP_IMAGES, GROUP_PIXELS = 16, 1 << 23


class TorchEngine(BatchEngine):
    """Runs a set of weights in torch. It can be shared between threads, but like torch not be used after a fork.

    Parameters
    ----------
    weights : the result of `cascade.models.detector.load_detector`.
    device : a torch device such as "cpu" or "cuda".
    half : run the networks in float16 (on a CPU in bfloat16) up to their last layers, which stay in float32.
    compile : run the networks through torch.compile, which takes some minutes unless torch has the results of an
        earlier run, and needs a C++ compiler on a CPU and Triton on a GPU.

    Under `torch.use_deterministic_algorithms`, matrix products on a GPU need CUBLAS_WORKSPACE_CONFIG to be set.
    Raises ValueError naming the setting for a device that torch does not know or that this machine lacks, and where
    torch.compile does not work.
    """

    def __init__(
        self, weights: DetectorWeights, device: str = "cpu", half: bool = False, compile: bool = False
    ) -> None:
        self._settings = (weights, device, half, compile)
        self.weights = weights
        self.device = _device(device)
        precision = half_precision(self.device) if half else torch.float32
        self._networks: dict[Stage, Runner] = {}
        self._uncompiled: dict[Stage, PixelNetwork] = {}
        for stage, stored in weights.stages.items():
            network = self._uncompiled[stage] = _network(stored, precision).to(self.device)
            # P-Net scans images larger than its input
            side = stored.architecture.input_size * (2 if stage == "pnet" else 1)
            self._networks[stage] = compiled(network, side, self.device) if compile else network

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies it by its settings."""
        return type(self), self._settings

    def network(self, stage: Stage) -> PixelNetwork:
        """The network of a stage as a module."""
        return self._uncompiled[stage]

    def groups(self, images: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """See `cascade.engines.base.BatchEngine.groups`: up to 16 images, and 8 megapixels or one larger image."""
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
    def pyramids(self, images: list[np.ndarray], sizes: list[list[tuple[int, int]]]) -> list[StoredPyramid]:
        """See `cascade.engines.base.BatchEngine.pyramids`; the images are uint8 tensors (height, width, 3)."""
        with no_autocast(self.device):
            return stored_pyramids(images, sizes, self.weights["pnet"].architecture, self.device)

    @torch.inference_mode()
    def dense_scan_levels(self, levels: list[Any], thresholds: Sequence[float]) -> list[np.ndarray]:
        """See `cascade.engines.base.Engine.dense_scan_levels`; the levels can come from anywhere."""
        canvas = canvas_of(levels, self.weights["pnet"].architecture)
        return canvas.dense_scan(self._networks["pnet"], thresholds, [0])[0]

    @torch.inference_mode()
    def dense_scan_pyramids(
        self, pyramids: list[StoredPyramid], thresholds: Sequence[Sequence[float]]
    ) -> list[list[np.ndarray]]:
        """See `cascade.engines.base.BatchEngine.dense_scan_pyramids`; photos of one canvas together."""
        found: dict[int, list[np.ndarray]] = {}
        for some in group_equal([id(pyramid.canvas) for pyramid in pyramids]):
            if any(len(pyramids[index].images) != 1 + len(pyramids[index].canvas.layout.sizes) for index in some):
                raise ValueError("pyramids: expected pyramids of this engine with all of their levels")
            photos = [pyramids[index].place for index in some]
            windows = pyramids[some[0]].canvas.dense_scan(self._networks["pnet"], thresholds[some[0]], photos)
            found.update(zip(some, windows, strict=True))
        return [found[index] for index in range(len(pyramids))]

    @torch.inference_mode()
    def classify_crops_of_pyramids(
        self, stage: Stage, pyramids: list[StoredPyramid], regions: list[np.ndarray]
    ) -> list[np.ndarray]:
        """See `cascade.engines.base.BatchEngine.classify_crops_of_pyramids`."""
        architecture = self.weights[stage].architecture
        crops = cut if regions[0].ndim == 2 else warp
        found = [torch.empty(0, architecture.outputs, dtype=torch.float32, device=self.device)]
        for some in crops(pyramids, regions, architecture.input_size):
            found.append(run(self._networks[stage], some.permute(0, 3, 1, 2))[:, :, 0, 0])
        outputs = torch.cat(found).cpu().numpy()
        return np.split(outputs, np.cumsum([len(some) for some in regions])[:-1])


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
        raise ValueError(f"device: {name!r} is not available: torch {torch.__version__} finds {count} CUDA devices")
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise ValueError(f"device: torch cannot compute on {name!r} here ({error})") from error
    return device
