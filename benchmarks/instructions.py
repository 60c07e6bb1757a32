"""Instructions of one detection by SIMD level, counted by valgrind's callgrind.

Unlike times they do not change from run to run, but those of different levels do not take the same time.

A process that detects once is counted, and one that detects several times; the difference is what detections take.
Run as a script it is that process.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fps import Measured, Settings
from cascade._native import default_simd_level
from cascade.models.detector import load_detector

__all__ = ["InstructionsError", "count", "counted"]

DETECTIONS = 3  # in the second process, beyond the one of the first
UNKNOWN_LEVELS = ("avx512", "avxvnni")  # how the names of those begin


class InstructionsError(Exception):
    """The instructions of a level cannot be counted; says why in a line."""


def counted(measured: Measured, image: np.ndarray, settings: Settings, weights: str | None) -> Measured:
    """The same with the instructions of our levels, but for those whose instructions valgrind does not know.

    Where counting fails, ``failures`` says why.
    """
    found, failures = {}, []
    named = {settings.name: settings} | {variant.name: settings.of(variant) for variant in settings.others}
    for name, own in named.items():
        if (own.level or default_simd_level()).startswith(UNKNOWN_LEVELS):
            continue
        try:
            found[name] = count(image, own, weights)
        except InstructionsError as error:
            failures.append(f"{name}: {error}")
    return replace(measured, instructions=found, failures=[*measured.failures, *failures])


def count(image: np.ndarray, settings: Settings, weights: str | None) -> int:
    """Instructions of a detection in an image (height, width, 3) uint8 RGB, on a level that valgrind knows.

    Raises `InstructionsError`.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise InstructionsError("instructions are counted by valgrind, which is missing")
    level = settings.level or default_simd_level()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.npy")
        np.save(file, image)
        given = [file, level, settings.precision or "", settings.min_face, settings.threads, weights or ""]
        totals = [_instructions(valgrind, [*given, times]) for times in (1, 1 + DETECTIONS)]
    return round((totals[1] - totals[0]) / DETECTIONS)


def _instructions(valgrind: str, arguments: list[object]) -> int:
    """Of a complete process."""
    options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [valgrind, *options, sys.executable, "-m", "benchmarks.instructions", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    total = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or total is None:
        lines = done.stderr.strip().splitlines() or ["nothing was said"]
        raise InstructionsError(f"valgrind failed with status {done.returncode}: {lines[-1]}")
    return int(total[1])


def main(arguments: list[str]) -> None:
    """Detects several times: image file, level, precision, min_face, threads, weights, times."""
    file, level, precision, min_face, threads, weights, times = arguments
    settings = Settings(threads=int(threads), min_face=float(min_face), precision=precision or None, level=level)  # type: ignore[arg-type]
    detector, image = settings.detector(load_detector(weights or None)), np.load(file)
    for _ in range(int(times)):
        detector.detect(image)


if __name__ == "__main__":
    main(sys.argv[1:])
