"""Weight files: arrays and their metadata in safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

SHIPPED = Path(__file__).parent / "weights"
"""The folder of the weights that come with the package."""

# All metadata is one JSON text: safetensors orders several entries at random, and then no two files would be equal.
METADATA_ENTRY = "cascade"


class WeightsError(ValueError):
    """Weights are missing, damaged or not for this program. The message names the file."""


def read_tensors(path: Path, format: str) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """A file's arrays as float32 by name, its metadata, and its SHA-256.

    Raises `WeightsError` for a file that is missing, damaged or of another ``format``.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(str(path), framework="numpy") as file:
            header = (file.metadata() or {}).get(METADATA_ENTRY, "{}")
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
        raise WeightsError(f"weights: {path} has metadata that is not a JSON object ({error})") from error


def check_tensors(path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> None:
    """Raises `WeightsError` unless every expected tensor is there, of its shape, and finite."""
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape:
            came = tensors[name].shape if name in tensors else "nothing"
            raise WeightsError(f"weights: {path}: tensor {name} expected shape {shape}, got {came}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"weights: {path}: tensor {name} is not finite")


def write_tensors(path: Path, tensors: dict[str, np.ndarray], record: dict[str, Any]) -> str:
    """Writes arrays and their metadata atomically and returns the file's SHA-256."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    header = {METADATA_ENTRY: json.dumps(record, sort_keys=True)}
    partial = path.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, str(partial), metadata=header)
    partial.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
