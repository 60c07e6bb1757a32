"""Calibration for int8: measures the activation ranges of a detector on photos and writes them into its weight files.

    python -m train calibrate --weights runs/mine/weights --photos DATA/net7876 --out runs/mine/int8

Weights and biases stay as they are. Each hidden layer gets one more array, the activation range of every channel, from
which `cascade.nn.quantization` computes the steps of int8. A range is the largest of the channel's activations at 4,096
random positions of each feature map, or at all positions of a smaller one; `--quantile` takes another than the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cascade.detect import Detector
from cascade.engines.torch.canvas import StoredPyramid
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.formats import IMAGE_SUFFIXES
from cascade.imaging.reading import ImageError
from cascade.models.detector import DetectorWeights, save_stage
from cascade.nn.architectures import Stage
from cascade.nn.heads import FACE
from cascade.nn.quantization import range_name

SAMPLE = 4096  # positions of a feature map that count, at random
MIN_FACE = 20


class _Record:
    """The activations of one layer: a sample of every feature map that it computes."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.parts: list[torch.Tensor] = []

    def __call__(self, module: torch.nn.Module, inputs: object, outputs: torch.Tensor) -> None:
        values = outputs.detach().transpose(0, 1).flatten(1)
        if values.shape[1] > SAMPLE:
            values = values[:, torch.randint(values.shape[1], (SAMPLE,), generator=self.generator)]
        self.parts.append(values.half())

    def ranges(self, quantile: float) -> np.ndarray:
        """The quantile of each channel's values (channels,) float32."""
        values = torch.cat(self.parts, 1).float().numpy()
        return np.asarray(np.quantile(values, quantile, axis=1), np.float32)


class _LevelByLevel(TorchEngine):
    """P-Net over each level by itself: on a canvas of all levels its maps hold what is between them, too."""

    def dense_scan_pyramids(
        self, pyramids: list[StoredPyramid], thresholds: Sequence[Sequence[float]]
    ) -> list[list[np.ndarray]]:
        """See `TorchEngine.dense_scan_pyramids`."""
        return [
            [self.dense_scan(level, lowest) for level, lowest in zip(pyramid.images[1:], each, strict=True)]
            for pyramid, each in zip(pyramids, thresholds, strict=True)
        ]


def measure_ranges(
    weights: DetectorWeights, photos: Sequence[Path], quantile: float = 1.0, seed: int = 0
) -> dict[Stage, dict[str, np.ndarray]]:
    """The activation ranges of each stage's hidden layers by the names of their arrays, while it detects in the photos.

    Photos that cannot be read are left out. ``quantile``: share of a channel's values that its range holds.
    """
    engine = _LevelByLevel(weights)
    generator = torch.Generator().manual_seed(seed)
    records: dict[Stage, list[_Record]] = {}
    for stage in weights.stages:
        records[stage] = []
        for block in engine.network(stage).body:
            records[stage].append(_Record(generator))
            block.register_forward_hook(records[stage][-1])
    detector = Detector(min_face=MIN_FACE, engine=engine)
    for photo in tqdm(photos, desc="calibration", unit="photo"):
        try:
            detector.detect(photo)
        except ImageError as error:
            tqdm.write(f"left out: {error}")
    return {
        stage: {range_name(index): record.ranges(quantile) for index, record in enumerate(some)}
        for stage, some in records.items()
    }


def lower_scores(weights: DetectorWeights, stage: Stage, log_odds: float) -> DetectorWeights:
    """The set with the face log-odds of a stage lowered by that much, for every window alike.

    Training, and the shares of faces and background in its batches, decide how freely a P-Net proposes and how high an
    O-Net scores; so a set can be made to propose as many windows, or to give as many false alarms, at the default
    thresholds as another. By the fusion of scores (`cascade.stages`) a face's own falls by two thirds of O-Net's.
    """
    return shift_outputs(weights, stage, FACE.name, np.array([log_odds / 2, -log_odds / 2]))  # of no face, of a face


def shift_outputs(weights: DetectorWeights, stage: Stage, head: str, shift: np.ndarray) -> DetectorWeights:
    """The set with ``shift`` (width,) added to the outputs of a stage's head, by the bias of its last layer."""
    chosen = weights.stages[stage]
    name = f"{len(chosen.architecture.layers) - 1}.bias"
    bias = chosen.tensors[name].copy()
    bias[chosen.architecture.output(head)] += shift
    shifted = replace(chosen, tensors={**chosen.tensors, name: bias})
    return replace(weights, stages={**weights.stages, stage: shifted})


def write_ranges(weights: DetectorWeights, ranges: dict[Stage, dict[str, np.ndarray]], out: Path) -> dict[Stage, str]:
    """Writes the set with its activation ranges, and its cards, to a folder; returns the files' SHA-256.

    The files are in half precision: of the 8 bits that a weight comes to, few change with it.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for stage, stored in weights.stages.items():
        target = out / f"{stage}.safetensors"
        tensors = {name: array.astype(np.float16) for name, array in (stored.tensors | ranges[stage]).items()}
        found[stage] = save_stage(target, stored.architecture, tensors, stored.metadata)
        card = stored.path.with_suffix(".md")
        if card.exists():
            text = card.read_text().replace(stored.sha256, found[stage])
            target.with_suffix(".md").write_text(text)
    return found


def find_photos(folders: Sequence[Path], limit: int | None, seed: int = 0) -> list[Path]:
    """Photos below the folders; with a limit as many of them, at random."""
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if limit is None or limit >= len(found):
        return found
    return [found[index] for index in np.sort(np.random.default_rng(seed).permutation(len(found))[:limit])]
