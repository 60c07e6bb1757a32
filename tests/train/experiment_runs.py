"""Folders of samples for short experiments."""

from __future__ import annotations

from pathlib import Path

from cascade.nn.architectures import ARCHITECTURES
from tests.train.easy_samples import samples
from train.detection.sample_store import Samples, SampleWriter


def make(folder: Path, stage: str, family: str = "paper", n: int = 160, seed: int = 0) -> Samples:
    """A folder of easy samples for that network."""
    architecture = ARCHITECTURES[family][stage]
    side = architecture.input_size
    easy, writer = samples(n, side, seed), SampleWriter(folder, side)
    writer.add(easy.crops, easy.kinds, easy.targets)
    cut = {"size": side, "window": architecture.window}
    return writer.finish({"settings": {"stage": stage, "family": family, "seed": seed}, "input": cut, "data": "drawn"})


def tree(folder: Path) -> dict[str, int]:
    """When each file below a folder was written last."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
