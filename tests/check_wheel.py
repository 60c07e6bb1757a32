"""Checks an installed wheel: it detects the face of the demo photo at every SIMD level, and has those of its platform.

Run as a script with the Python that has the wheel; needs nothing but the wheel's own dependencies. Prints the levels.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import files, metadata
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path

import numpy as np

from cascade import Detector, Faces, _native

# at least one level with vectors where the processor can have it: a compiler without vector types gives none
VECTORS = {"x86_64": "avx2", "amd64": "avx2", "aarch64": "neon", "arm64": "neon"}


def detect(photo: Path, level: str) -> Faces:
    os.environ["CASCADE_SIMD"] = level
    return Detector(min_face=40).detect(photo)


def main() -> None:
    levels = _native.simd_levels()
    print(sys.version.split()[0], platform.machine(), *levels)
    assert VECTORS.get(platform.machine().lower(), "scalar") in levels, levels
    with as_file(resources("cascade") / "data" / "astronaut.jpg") as photo:
        found = [detect(photo, level) for level in levels]
    for faces in found:
        assert len(faces) == 1, faces
        np.testing.assert_allclose(faces.boxes, found[0].boxes, atol=1)
    assert metadata("cascade-faces")["License-Expression"] == "MIT AND LicenseRef-cascade-weights"
    names = {path.name for path in files("cascade-faces") or []}
    assert {"LICENSE", "LICENSE-WEIGHTS", "pnet.safetensors"} <= names, names


if __name__ == "__main__":
    main()
