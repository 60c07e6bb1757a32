"""Running other people's detectors beside ours: `eval/baselines/accuracy.py` in the Python that has them."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cascade.detect import Detector
from eval.baselines import accuracy as peers
from eval.detection.test_sets import TestSet

__all__ = ["add_peers", "run_peers"]


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Add which peers to run."""
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        type=_detector_and_python,
        metavar="|".join(f"{name}=PYTHON" for name in peers.DETECTORS),
        help="run this detector too, in an interpreter that has it; what it finds is kept in DIR/peers",
    )
    parser.add_argument("--yunet-model", type=Path, metavar="FILE.onnx", help="YuNet's weights")


def run_peers(args: argparse.Namespace, sets: Sequence[TestSet]) -> list[tuple[str, Path]]:
    """Run every --peer on the photos of the sets with our number of threads; return names and prediction files.

    A file that is there already is taken as it is. Raises ValueError where a peer fails.
    """
    if not args.peer:
        return []
    folder: Path = args.out / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "photos.txt"
    listing.write_text("".join(f"{s.min_size:g} {photo.name}\n" for s in sets for photo in s.photos), encoding="utf-8")
    found = []
    for detector, python in args.peer:
        out = folder / f"{detector}.json"
        if not out.exists():
            command = [python, peers.__file__, detector, "--data", args.data, "--photos", listing, "--out", out]
            command += ["--threads", Detector(threads=args.threads).threads]
            if detector == "yunet" and args.yunet_model is not None:
                command += ["--model", args.yunet_model]
            done = subprocess.run([str(part) for part in command], check=False)
            if done.returncode:
                raise ValueError(f"--peer {detector}={python} failed with status {done.returncode}")
        found.append((peers.NAMES[detector], out))
    return found


def _detector_and_python(text: str) -> tuple[str, str]:
    name, _, python = text.partition("=")
    if name not in peers.DETECTORS or not python:
        raise argparse.ArgumentTypeError(f"expected {' or '.join(peers.DETECTORS)}, =, and a Python; got {text!r}")
    return name, python
