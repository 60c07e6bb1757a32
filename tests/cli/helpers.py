"""What the tests of the command line share: photos, untrained weights, and running a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.models.detector import save_stage
from cascade.nn.architectures import ARCHITECTURES
from tests.photos import portrait

SIZE = (80, 60)  # width, height of the test photos
HEAVY = {"numpy", "cv2", "torch", "tqdm", "safetensors"}
"""Modules that ``--help`` does without."""

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals, pipes or devices of POSIX")


def untrained(folder: Path) -> Path:
    """Write a set of weights that has learned nothing, but takes most windows for faces."""
    rng = np.random.default_rng(5)
    for stage, architecture in ARCHITECTURES["default"].items():
        tensors, channels = {}, 3
        for index, layer in enumerate(architecture.layers):
            shape = (layer.channels, channels, layer.kernel, layer.kernel)
            scale = np.sqrt(2 / (channels * layer.kernel**2))
            tensors[f"{index}.weight"] = (rng.normal(size=shape) * scale).astype(np.float32)
            tensors[f"{index}.bias"] = np.zeros(layer.channels, np.float32)
            channels = layer.channels
        tensors[f"{index}.weight"] *= 0.01
        tensors[f"{index}.bias"][:6] = 0, 2, 0.02, 0.03, -0.04, 0.05
        tensors[f"{index}.bias"][6:] = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.3, 0.8], [0.7, 0.8]]).ravel()
        metadata = {"licence": "CC0", "data": f"nothing at all ({stage})"}
        save_stage(folder / f"{stage}.safetensors", architecture, tensors, metadata)
    return folder


def photo(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def truncated(path: Path) -> Path:
    photo(path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def command(*argv: str, **options: object) -> subprocess.Popen[str]:
    """Start ``python -m cascade`` on its own, with output to be read from it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen([sys.executable, "-m", "cascade", *argv], env=environment, **pipes)


def portrait_photo(path: str, people: int = 1, brightness: float = 1.0) -> Path:
    """A photo with that many faces: the portrait, and beside it smaller copies."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas = np.full((512, 512 + 256 * max(0, people - 1), 3), 128, np.uint8)
    if people:
        canvas[:, :512] = portrait()
    for number in range(people - 1):
        canvas[: 512 // 2, 512 + 256 * number :][:, :256] = portrait()[::2, ::2]
    Image.fromarray(np.clip(canvas * brightness, 0, 255).astype(np.uint8)).save(file, compress_level=1)  # of PNG
    return file


def truncated_portrait(path: str) -> Path:
    file = portrait_photo(path)
    file.write_bytes(file.read_bytes()[:-3000])
    return file
