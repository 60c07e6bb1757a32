"""The engine of ONNX Runtime: the networks as ONNX models, everything else as in the native engine.

It shows that exported files find the same faces, and it is a way to what ONNX Runtime has providers for. On a CPU the
native engine is faster.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(
        "the onnx engine needs the package onnxruntime: python -m pip install 'cascade-faces[onnx]'"
    ) from error

from cascade import _native
from cascade.checks import thread_count
from cascade.exporting.networks import INPUT, Precision, stage_model
from cascade.imaging.pyramid import PADDING_VALUE, Pyramid, build_pyramid, crop_sources
from cascade.models.detector import DetectorWeights
from cascade.nn.architectures import Stage

# Pixels of a level in one strip of windows, and crops in one batch, which bound the memory.
STRIP_PIXELS, BATCH_CROPS = 1 << 21, 256


class OnnxEngine:
    """Runs a set of weights in ONNX Runtime. It can be shared between threads, and used after a fork.

    Parameters
    ----------
    weights : the result of `cascade.models.detector.load_detector`.
    threads : threads that share the work of one network, 1 to 256.
    providers : names of ONNX Runtime's execution providers, the preferred one first, such as "CUDAExecutionProvider".
    precision : "float32", or "int8" for weights with activation ranges.

    Raises ValueError or TypeError naming a wrong setting, as a provider that this installation of ONNX Runtime lacks,
    and `cascade.WeightsError` for weights that int8 is not for.
    """

    def __init__(
        self,
        weights: DetectorWeights,
        threads: int = 1,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        precision: Precision = "float32",
    ) -> None:
        available = onnxruntime.get_available_providers()
        if isinstance(providers, str) or not providers or not set(providers) <= set(available):
            raise ValueError(f"providers: expected some of {', '.join(available)}, got {providers!r}")
        self.weights = weights
        self.threads = thread_count(threads)
        if precision not in ("float32", "int8"):
            raise ValueError(f"precision: expected 'float32' or 'int8', got {precision!r}")
        self.precision = precision
        self._settings = (weights, threads, tuple(providers), precision)
        self._models = {
            stage: stage_model(stored, weights.name, precision).SerializeToString()
            for stage, stored in weights.stages.items()
        }
        self._sessions: dict[int, dict[Stage, Any]] = {}  # by process: the threads of a session do not survive a fork
        self._of_this_process()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies it by its settings."""
        return type(self), self._settings

    def _of_this_process(self) -> dict[Stage, Any]:
        process = os.getpid()
        found = self._sessions.get(process)
        if found is None:
            # no lock: several threads may each create one at first, and a lock might be held during a fork
            found = self._sessions[process] = {stage: self._session(model) for stage, model in self._models.items()}
        return found

    def _session(self, model: bytes) -> Any:
        providers = self._settings[2]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        return onnxruntime.InferenceSession(model, options, providers=list(providers))

    def _run(self, stage: Stage, pixels: np.ndarray) -> np.ndarray:
        """All heads (n, outputs …) float32 of images (n, height, width, 3) uint8."""
        values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        return np.concatenate(self._of_this_process()[stage].run(None, {INPUT: values}), axis=1)

    def pyramid(self, image: np.ndarray, sizes: list[tuple[int, int]]) -> Pyramid:
        """See `cascade.engines.base.Engine.pyramid`. All levels are in memory."""
        return build_pyramid(image, sizes)

    def dense_scan(self, level: Any, threshold: float) -> np.ndarray:
        """See `cascade.engines.base.Engine.dense_scan`."""
        pnet = self.weights["pnet"].architecture
        field, stride, margin = pnet.input_size, pnet.stride, pnet.padding
        rows, columns = (pnet.windows(side) for side in level.shape[:2])
        if not (rows and columns):
            return np.empty((0, 1 + pnet.outputs), np.float32)
        ends = [(count - 1) * stride + field for count in (rows, columns)]
        after = [end - margin - side for end, side in zip(ends, level.shape[:2], strict=True)]
        padded = np.pad(level, ((margin, after[0]), (margin, after[1]), (0, 0)), constant_values=PADDING_VALUE)
        found = [np.empty((0, 1 + pnet.outputs), np.float32)]
        step = max(1, STRIP_PIXELS // (stride * padded.shape[1]))
        for first in range(0, rows, step):
            last = min(first + step, rows) - 1
            strip = padded[first * stride : last * stride + field, : (columns - 1) * stride + field]
            outputs = self._run("pnet", strip[None])[0]
            logits = outputs[1] - outputs[0]
            row, column = np.nonzero(logits >= threshold)
            places = np.stack([column, row + first, logits[row, column]], axis=1)
            found.append(np.concatenate([places, outputs[2:, row, column].T], axis=1).astype(np.float32))
        return np.concatenate(found)

    def dense_scan_levels(self, levels: list[Any], thresholds: Sequence[float]) -> list[np.ndarray]:
        """See `cascade.engines.base.Engine.dense_scan_levels`."""
        return [self.dense_scan(level, threshold) for level, threshold in zip(levels, thresholds, strict=True)]

    def classify_crops(self, stage: Stage, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_crops`."""
        images, scales = crop_sources(pyramid)
        size = self.weights[stage].architecture.input_size
        return self._classify(stage, [_native.cut(images, scales, some, size) for some in _batches(boxes)])

    def classify_aligned_crops(self, stage: Stage, pyramid: Pyramid, matrices: np.ndarray) -> np.ndarray:
        """See `cascade.engines.base.Engine.classify_aligned_crops`."""
        images, scales = crop_sources(pyramid)
        size = self.weights[stage].architecture.input_size
        return self._classify(stage, [_native.warp(images, scales, some, size) for some in _batches(matrices)])

    def _classify(self, stage: Stage, crops: list[np.ndarray]) -> np.ndarray:
        empty = np.empty((0, self.weights[stage].architecture.outputs), np.float32)
        return np.concatenate([empty, *(self._run(stage, some) for some in crops)])


def _batches(regions: np.ndarray) -> list[np.ndarray]:
    return [regions[first : first + BATCH_CROPS] for first in range(0, len(regions), BATCH_CROPS)]
