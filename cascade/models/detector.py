"""Finding, checking and describing trained weights.

A set of weights is a folder with ``pnet.safetensors``, ``rnet.safetensors``, ``onet.safetensors`` and, for sharper
landmarks than O-Net's, ``lnet.safetensors``, with a model card beside each. A file's metadata holds its architecture,
licence and training data as JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from cascade.nn.architectures import LANDMARK_STAGE, STAGES, Architecture, Stage

FORMAT = "cascade-detector-1"
# All metadata is one JSON text: safetensors orders several entries at random, and then no two files would be equal.
ENTRY = "cascade"
SHIPPED = Path(__file__).parent / "weights"
DETECTION = SHIPPED / "detection"


class WeightsError(ValueError):
    """A set of weights is missing, damaged or not for this program."""


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


@dataclass(frozen=True)
class DetectorWeights:
    """The networks of a detector by stage; one in training may hold the first only, few have an L-Net."""

    name: str
    stages: dict[Stage, StageWeights]

    def __getitem__(self, stage: Stage) -> StageWeights:
        return self.stages[stage]

    @property
    def sha256(self) -> str:
        """One hash for the set: SHA-256 over the files' hashes, P-Net first."""
        return hashlib.sha256("".join(w.sha256 for w in self.stages.values()).encode()).hexdigest()


def shipped() -> list[str]:
    """Names of the sets that come with the package, the default one first."""
    names = sorted(p.parent.name for p in DETECTION.glob("*/pnet.safetensors"))
    return sorted(names, key=lambda name: name != "default")


def load_detector(weights: str | Path | None = None, stages: tuple[Stage, ...] = STAGES) -> DetectorWeights:
    """Loads a shipped set by name, or a folder, whole with its L-Net if there is one, or only some ``stages``.

    Raises `WeightsError` naming the file that is missing or wrong.
    """
    if weights is not None and not isinstance(weights, (str, Path)):
        raise TypeError(f"weights: expected a name, a path or loaded weights, got {type(weights).__name__}")
    folder = DETECTION / "default" if weights is None else Path(weights)
    if isinstance(weights, str) and weights in shipped():
        folder = DETECTION / weights
    if not folder.is_dir():
        raise WeightsError(
            f"weights: expected a folder or one of {', '.join(shipped()) or 'no shipped set'}, got {str(weights)!r}"
        )
    if stages == STAGES and (folder / f"{LANDMARK_STAGE}.safetensors").exists():
        stages = (*stages, LANDMARK_STAGE)
    return DetectorWeights(folder.name, {stage: load_stage(folder / f"{stage}.safetensors", stage) for stage in stages})


def load_stage(path: str | Path, stage: Stage | None = None) -> StageWeights:
    """Loads and checks one network. Raises `WeightsError`."""
    path = Path(path)
    tensors, metadata, sha256 = read_tensors(path, FORMAT)
    try:
        architecture = Architecture.from_dict(metadata["architecture"])
        architecture.check_outputs()
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"weights: {path} describes no architecture that makes sense ({error})") from error
    if stage is not None and architecture.stage != stage:
        raise WeightsError(f"weights: {path} holds {architecture.stage}, expected {stage}")
    check_tensors(path, _shapes(architecture), tensors)
    ranges = {name: shape for name, shape in _range_shapes(architecture).items() if name in tensors}
    check_tensors(path, ranges, tensors)
    return StageWeights(path, architecture, tensors, metadata, sha256)


def read_tensors(path: Path, format: str) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """A file's arrays as float32 by name, its metadata, and its SHA-256.

    Raises `WeightsError` for a file that is missing, damaged or not of the ``format``.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(str(path), framework="numpy") as file:
            header = (file.metadata() or {}).get(ENTRY, "{}")
            tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in list(file.keys())}
    except FileNotFoundError:
        raise WeightsError(f"weights: {path} is missing") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:  # TypeError: a number type that numpy lacks
        raise WeightsError(f"weights: {path} cannot be read as safetensors ({error})") from error
    metadata = _metadata(path, header)
    if metadata.get("format") != format:
        raise WeightsError(f"weights: {path} has format {metadata.get('format')!r}, expected {format!r}")
    return tensors, metadata, sha256


def _metadata(path: Path, header: str) -> dict[str, Any]:
    try:
        return dict(json.loads(header))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"weights: {path} has metadata that is no JSON object ({error})") from error


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


def range_name(index: int) -> str:
    """Name of the tensor with the ranges of a layer's channels."""
    return f"{index}.range"


def _range_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the ranges of the hidden layers' channels, which a file may have: see `cascade.nn.quantization`."""
    hidden = enumerate(architecture.layers[:-1])
    return {range_name(index): (layer.channels,) for index, layer in hidden if layer.kind == "conv"}


def check_tensors(path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> None:
    """Raises `WeightsError` unless every expected tensor is there, of its shape, and finite."""
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape:
            came = tensors[name].shape if name in tensors else "nothing"
            raise WeightsError(f"weights: {path}: tensor {name} expected shape {shape}, got {came}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"weights: {path}: tensor {name} is not finite")


def save_stage(
    path: str | Path, architecture: Architecture, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> str:
    """Writes one network atomically and returns the file's SHA-256."""
    record = {**metadata, "format": FORMAT, "architecture": architecture.to_dict()}
    return write_tensors(Path(path), tensors, record)


def write_tensors(path: Path, tensors: dict[str, np.ndarray], record: dict[str, Any]) -> str:
    """Writes arrays and their metadata atomically and returns the file's SHA-256."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    header = {ENTRY: json.dumps(record, sort_keys=True)}
    partial = path.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, str(partial), metadata=header)
    partial.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
