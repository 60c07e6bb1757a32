"""One baseline in an interpreter that has it, since baselines need other packages than this project.

Run it as a script with that interpreter. It needs numpy and OpenCV there, and what the detector needs. With --out it
writes one file of predictions, for accuracy:

    python -m eval photos --data ROOT > photos.txt
    PYTHON eval/baselines/worker.py yunet --model yunet.onnx --data ROOT --photos photos.txt --out yunet.json

In the file "default_score" is the score from which the detector reports faces by itself; faces are there from 0.02 on,
so that full curves can be drawn. "milliseconds" are what each photo took, once decoded. Rows are x1, y1, x2, y2, score
and five landmarks in pixels.

Without --out it answers each line of standard input with one line, both JSON, for faces and times at the default score:

    {"open": FILE, "min_face": PIXELS}  ->  {"version": ..., "boxes": as below}, after one detection that is not timed
    {"detect": true}                    ->  {"ms": ..., "boxes": [[x1, y1, x2, y2], ...]} for the photo opened last
    whatever fails                      ->  {"error": "one line"}
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

if __name__ == "__main__":  # as a script, it finds the adapters from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from eval.baselines.adapters import BASELINES, Options

SCORE_FLOOR = 0.02
"""The score down to which a file of predictions reaches."""

Rows = list[list[float]]


class Runner:
    """A baseline by name, loaded with the first image."""

    def __init__(self, name: str, options: Options) -> None:
        self.name, self.baseline, self.options = name, BASELINES[name], options
        self._detect: Any = None

    def read(self, file: str) -> Any:
        """Return an image in the channel order that the baseline takes. Raises OSError."""
        image = cv2.imread(file)
        if image is None:
            raise OSError(f"OpenCV cannot read {file}")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if self.baseline.rgb else image

    def detect(self, image: Any, score: float, min_face: float) -> tuple[float, Any]:
        """Return milliseconds and rows (N, 15); a ``min_face`` of 0 is the baseline's own."""
        if self._detect is None:
            self._detect = self.baseline.load(self.options)
        start = time.perf_counter()
        rows = self._detect(image, score, min_face or self.baseline.min_face)
        return 1e3 * (time.perf_counter() - start), rows

    def version(self) -> str:
        """The version of the package; of OpenCV for YuNet."""
        if self.baseline.module == "cv2":
            return f"OpenCV {cv2.__version__}"
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    def about(self) -> dict[str, Any]:
        """What a file of predictions says of the detector."""
        settings = {**self.baseline.settings, "min_face": self.baseline.min_face or None}
        settings |= {"threads": self.options.threads, "device": self.options.device, "version": self.version()}
        return {"detector": self.baseline.title, "default_score": self.baseline.default_score, "settings": settings}


def usable(rows: Any) -> Rows:
    """Leave out rows that are not finite or whose box is inside out."""
    listed: Rows = np.asarray(rows, float).tolist()
    return [row for row in listed if np.isfinite(row).all() and row[2] >= row[0] and row[3] >= row[1]]


def listed(file: Path) -> Iterator[tuple[float, str]]:
    """Yield the smallest face to look for and the path of each photo of a list."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            size, _, name = line.strip().partition(" ")
            yield float(size), name


def write_predictions(runner: Runner, data: Path, photos: Path, out: Path) -> None:
    """Run over a list of photos and write one JSON file; a photo that cannot be read is left out."""
    found: dict[str, Rows] = {}
    milliseconds: dict[str, float] = {}
    wanted = list(listed(photos))
    for at, (min_face, name) in enumerate(wanted, 1):
        try:
            image = runner.read(str(data / name))
        except OSError as error:
            print(f"warning: {error}", file=sys.stderr)
            continue
        spent, rows = runner.detect(image, SCORE_FLOOR, min_face)
        found[name], milliseconds[name] = usable(rows), round(spent, 3)
        if at % 50 == 0 or at == len(wanted):
            print(f"{at} of {len(wanted)} photos, {sum(milliseconds.values()) / 1e3:.0f} s", file=sys.stderr)
    partial = out.with_name(out.name + ".partial")
    content = {**runner.about(), "milliseconds": milliseconds, "photos": found}
    partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    os.replace(partial, out)


class Server:
    """Answers requests about one photo at a time."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.image: Any = None
        self.min_face = 0.0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """See the module; raises whatever the baseline raises."""
        if "open" in request:
            self.image, self.min_face = None, request["min_face"]
            image = self.runner.read(request["open"])
            _, rows = self._detect(image)
            self.image = image
            return {"version": self.runner.version(), "boxes": _boxes(rows)}
        if self.image is None:
            raise RuntimeError("no photo is open")
        spent, rows = self._detect(self.image)
        return {"ms": spent, "boxes": _boxes(rows)}

    def _detect(self, image: Any) -> tuple[float, Any]:
        return self.runner.detect(image, self.runner.baseline.default_score, self.min_face)


def _boxes(rows: Any) -> Rows:
    return [row[:4] for row in usable(rows)]


def serve(runner: Runner) -> None:
    """Answer requests until standard input ends."""
    server = Server(runner)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a baseline prints must not mix with the answers
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:  # a baseline may fail in any way; the others go on
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main(arguments: list[str] | None = None) -> int:
    """Write a file of predictions, or answer requests; return 0."""
    parser = argparse.ArgumentParser(description="Run a baseline detector in the interpreter that has it.")
    parser.add_argument("name", choices=sorted(BASELINES))
    parser.add_argument("--model", default="", metavar="FILE", help="weights, where the detector needs a file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, which facenet-pytorch alone can use")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder that paths start from")
    parser.add_argument("--photos", type=Path, metavar="FILE", help="from python -m eval photos")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="(default: answer requests)")
    args = parser.parse_args(arguments)
    runner = Runner(args.name, Options(args.threads, args.device, args.model))
    if args.out is None:
        serve(runner)
        return 0
    if args.data is None or args.photos is None:
        parser.error("--out needs --data and --photos")
    write_predictions(runner, args.data, args.photos, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
