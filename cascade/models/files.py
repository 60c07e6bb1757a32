"""Weight files: arrays and their metadata in safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cascade.private_files import remove_partials, whole_file

SHIPPED = Path(__file__).parent / "weights"
"""The folder of the weights that come with the package."""
SUMS = "SHA256SUMS"
"""The file in it that pins each of them, as the command sha256sum writes it."""

LARGEST = 1 << 30
"""The most bytes of a weight file. The largest network that can be trained here has a fifth of it."""

# All metadata is one JSON text: safetensors orders several entries at random, and then no two files would be equal.
METADATA_ENTRY = "cascade"

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading values out of metadata that hold anything may raise."""

LONGEST_MESSAGE = 300


class WeightsError(ValueError):
    """Weights are missing, damaged or not for this program. The message names the file, in 300 characters at most."""

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST_MESSAGE:  # metadata may hold anything, of any length
            half = LONGEST_MESSAGE // 2
            message = f"{message[: half - 1]}…{message[-half:]}"
        super().__init__(message)


def read_tensors(path: Path, format: str) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """A file's arrays as float32 by name, its metadata, and its SHA-256.

    The file is read once: what is hashed is what is parsed. Raises `WeightsError` for a file that is missing, damaged
    or of another ``format``, and for one of the package that is not as it was shipped.
    """
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_shipped(path, sha256)
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            tensors = {name: _as_float32(name, array) for name, array in arrays.items()}
    except (SafetensorError, *MALFORMED) as error:  # KeyError: a number type that numpy lacks
        raise WeightsError(f"weights: {path} cannot be read as safetensors ({error})") from error
    metadata = _metadata(path, header.get(METADATA_ENTRY, "{}"))
    if metadata.get("format") != format:
        raise WeightsError(f"weights: {path} has format {_shown(metadata.get('format'))}, expected {format!r}")
    return tensors, metadata, sha256


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST:
            return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"weights: {path} is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise WeightsError(f"weights: {path} cannot be read ({error})") from error
    raise WeightsError(f"weights: {path} cannot be read: expected a file of at most {LARGEST >> 20} MiB")


def _as_float32(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"tensor {name} holds {array.dtype}, expected numbers")
    return array.astype(np.float32, copy=array.dtype != np.float32)


def _metadata(path: Path, header: str) -> dict[str, Any]:
    try:
        metadata = json.loads(header)
    except (RecursionError, TypeError, ValueError) as error:
        raise WeightsError(f"weights: {path} has metadata that is not a JSON object ({error})") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"weights: {path} has metadata that is not a JSON object but a {type(metadata).__name__}")
    return metadata


def _shown(value: Any) -> str:
    return repr(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"


def _check_shipped(path: Path, sha256: str) -> None:
    """Raises `WeightsError` for a file in the package's folder of weights that is not as it was shipped."""
    place, folder = Path(os.path.realpath(path)), Path(os.path.realpath(SHIPPED))
    if not place.is_relative_to(folder):
        return
    expected = _shipped_sums(folder).get(place.relative_to(folder).as_posix())
    if expected is None:
        raise WeightsError(f"weights: {path} is not listed in {SUMS}; keep files of your own outside the package")
    if sha256 != expected:
        raise WeightsError(
            f"weights: {path} is not as it was shipped: SHA-256 {sha256[:12]}…, expected {expected[:12]}…; "
            "install the package again"
        )


@cache
def _shipped_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each shipped file by its path below ``folder``."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        return {name: sha256 for sha256, name in (line.split(maxsplit=1) for line in lines)}
    except (OSError, ValueError) as error:
        raise WeightsError(f"weights: {folder / SUMS} cannot be read ({error}); install the package again") from error


def check_tensors(path: Path, expected: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> None:
    """Raises `WeightsError` unless every expected tensor is there, of its shape, and finite."""
    for name, shape in expected.items():
        if name not in tensors or tensors[name].shape != shape:
            came = tensors[name].shape if name in tensors else "nothing"
            raise WeightsError(f"weights: {path}: tensor {name} expected shape {shape}, got {came}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"weights: {path}: tensor {name} is not finite")


def half_precision(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as float16; what it cannot hold becomes infinite, which `check_tensors` refuses."""
    with np.errstate(over="ignore"):
        return {name: np.asarray(tensor).astype(np.float16) for name, tensor in tensors.items()}


def write_tensors(path: Path, tensors: dict[str, np.ndarray], record: dict[str, Any]) -> str:
    """Writes arrays and their metadata atomically and returns the file's SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {METADATA_ENTRY: json.dumps(record, sort_keys=True)}
    data = save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata=header)
    remove_partials(path.parent)
    with whole_file(path) as stream:
        stream.write(data)
    return hashlib.sha256(data).hexdigest()


def shipped_names(folder: Path, default: str) -> list[str]:
    """Names of the weight files of a folder of the package, the default one first."""
    names = sorted(path.stem for path in folder.glob("*.safetensors"))
    return sorted(names, key=lambda name: name != default)


def check_place(weights: str | os.PathLike[str] | None) -> None:
    """Raises TypeError unless ``weights`` is a name, a path or None, and `WeightsError` if it is empty.

    An empty name would be the current folder.
    """
    place = os.fspath(weights) if isinstance(weights, (str, os.PathLike)) else weights
    if place is not None and not isinstance(place, str):
        raise TypeError(f"weights: expected a name, a path or loaded weights, got {type(weights).__name__}")
    if place == "":
        raise WeightsError("weights: expected a name or a path, got ''")


def find_weights(weights: str | os.PathLike[str] | None, folder: Path, default: str) -> Path:
    """The file that ``weights`` names: a shipped one in ``folder``, the default one for None, or a path.

    Raises as `check_place` does, and `WeightsError` where there is no such file.
    """
    check_place(weights)
    if weights is None or (isinstance(weights, str) and weights in shipped_names(folder, default)):
        return folder / f"{default if weights is None else weights}.safetensors"
    if not os.path.exists(weights):  # Path.exists raises for names that are too long
        known = ", ".join(shipped_names(folder, default))
        raise WeightsError(f"weights: expected a safetensors file or one of {known}, got {os.fspath(weights)!r}")
    return Path(weights)
