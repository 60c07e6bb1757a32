"""The weights of detectors: finding, loading, checking and saving them.

A set of weights is a folder with ``pnet.safetensors``, ``rnet.safetensors``, ``onet.safetensors`` and, for more exact
landmarks than O-Net's, ``lnet.safetensors``, with a model card beside each. A file's metadata holds its architecture,
licence and training data.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.files import (
    MALFORMED,
    SHIPPED,
    WeightsError,
    check_place,
    check_tensors,
    read_tensors,
    write_tensors,
)
from cascade.nn.architectures import LANDMARK_STAGE, STAGES, Architecture, Stage
from cascade.nn.quantization import has_ranges, quantized_layers, range_name

FORMAT = "cascade-detector-1"
FOLDER = SHIPPED / "detection"
DEFAULT = "default"

# Networks that a shipped set has in common with the default one, whose files it uses.
SHARED: dict[str, tuple[Stage, ...]] = {"accurate": ("pnet", "rnet", "lnet")}


@dataclass(frozen=True)
class StageWeights:
    """One network's weights: float32 arrays by name (``0.weight`` …) and what its file says of it."""

    path: Path
    architecture: Architecture
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    sha256: str

    def layers(self) -> list[dict[str, Any]]:
        """The layers as the native engine takes them; slope is 1 for a linear layer and 0 for ReLU."""
        found: list[dict[str, Any]] = []
        for index, layer in enumerate(self.architecture.layers):
            if layer.kind == "pool":
                found.append({"kind": "pool", "kernel": layer.kernel, "stride": layer.stride})
                continue
            slope = self.tensors.get(f"{index}.slope")
            if slope is None:
                slope = np.full(layer.channels, layer.activation == "none", np.float32)
            weight, bias = self.tensors[f"{index}.weight"], self.tensors[f"{index}.bias"]
            found.append({"kind": "conv", "stride": layer.stride, "weight": weight, "bias": bias, "slope": slope})
        return found

    def int8_layers(self) -> list[dict[str, Any]]:
        """The same quantized to int8. Raises `WeightsError` for a network that int8 is not for, or not calibrated."""
        try:
            return quantized_layers(self.architecture, self.tensors)
        except ValueError as error:
            raise WeightsError(f"weights: {self.path}: {error}") from None


@dataclass(frozen=True)
class DetectorWeights:
    """The networks of a detector by stage. A set in training may hold only the first ones; L-Net is optional."""

    name: str
    stages: dict[Stage, StageWeights]

    def __getitem__(self, stage: Stage) -> StageWeights:
        return self.stages[stage]

    @property
    def calibrated(self) -> bool:
        """Whether all networks have the activation ranges that int8 needs."""
        return all(has_ranges(stage.architecture, stage.tensors) for stage in self.stages.values())

    @property
    def sha256(self) -> str:
        """One hash for the set: SHA-256 over the files' hashes, P-Net first."""
        return hashlib.sha256("".join(w.sha256 for w in self.stages.values()).encode()).hexdigest()


def shipped_detectors() -> list[str]:
    """Names of the sets that come with the package, the default one first."""
    names = sorted(path.parent.name for path in FOLDER.glob("*/onet.safetensors"))  # the network that none shares
    return sorted(names, key=lambda name: name != DEFAULT)


def load_detector(weights: str | os.PathLike[str] | None = None, stages: tuple[Stage, ...] = STAGES) -> DetectorWeights:
    """Loads a shipped set by name, the default one for None, or a folder.

    All stages are loaded, with L-Net if there is one, or only those in ``stages``. Raises `WeightsError` naming the
    file that is missing or wrong.
    """
    check_place(weights)
    folder = Path(DEFAULT if weights is None else weights)
    if weights is None or (isinstance(weights, str) and weights in shipped_detectors()):
        folder = FOLDER / folder
    if not os.path.isdir(folder):  # Path.is_dir raises for names that are too long
        known = ", ".join(shipped_detectors())
        raise WeightsError(f"weights: expected a folder or one of {known}, got {str(folder)!r}")
    if stages == STAGES and stage_file(folder, LANDMARK_STAGE).exists():
        stages = (*stages, LANDMARK_STAGE)
    return DetectorWeights(folder.name, {stage: _stage_of_set(folder, stage) for stage in stages})


def _stage_of_set(folder: Path, stage: Stage) -> StageWeights:
    file = stage_file(folder, stage)
    if stage in SHARED.get(folder.name, ()) and not file.exists():  # as in a copy of a shipped set
        raise WeightsError(f"weights: {file} is missing; the shipped set {folder.name} has that of {DEFAULT}")
    return load_stage(file, stage)


def stage_file(folder: Path, stage: Stage) -> Path:
    """The weight file of one network of a set; in a shipped set perhaps that of the default one, by `SHARED`."""
    shared = stage in SHARED.get(folder.name, ()) and os.path.realpath(folder.parent) == os.path.realpath(FOLDER)
    return (FOLDER / DEFAULT if shared else folder) / f"{stage}.safetensors"


def load_stage(path: str | Path, stage: Stage | None = None) -> StageWeights:
    """Loads and checks one network. Raises `WeightsError`."""
    path = Path(path)
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        architecture = Architecture.from_dict(metadata["architecture"])
        architecture.check_outputs()
    except MALFORMED as error:
        raise WeightsError(f"weights: {path} describes no valid architecture ({error})") from error
    if stage is not None and architecture.stage != stage:
        raise WeightsError(f"weights: {path} holds {architecture.stage}, expected {stage}")
    check_tensors(path, _shapes(architecture), tensors)
    ranges = {name: shape for name, shape in _range_shapes(architecture).items() if name in tensors}
    check_tensors(path, ranges, tensors)
    return StageWeights(path, architecture, tensors, metadata, sha256)


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that the architecture needs."""
    expected: dict[str, tuple[int, ...]] = {}
    channels = 3
    for index, layer in enumerate(architecture.layers):
        if layer.kind == "conv":
            expected[f"{index}.weight"] = (layer.channels, channels, layer.kernel, layer.kernel)
            expected[f"{index}.bias"] = (layer.channels,)
            if layer.activation == "prelu":
                expected[f"{index}.slope"] = (layer.channels,)
            channels = layer.channels
    return expected


def _range_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the activation ranges of hidden layers, which a file may have: see `cascade.nn.quantization`."""
    hidden = enumerate(architecture.layers[:-1])
    return {range_name(index): (layer.channels,) for index, layer in hidden if layer.kind == "conv"}


def save_stage(
    path: str | Path, architecture: Architecture, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> str:
    """Writes one network atomically and returns the file's SHA-256."""
    record = {**metadata, "format": FORMAT, "architecture": architecture.to_dict()}
    return write_tensors(Path(path), tensors, record)
