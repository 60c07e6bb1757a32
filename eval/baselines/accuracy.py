"""Run other people's face detectors and write what they find, for ``python -m eval compare``.

A script of its own, since those detectors need other packages than this project: run it with the interpreter of an
environment that has them (numpy and OpenCV, and what the detector needs), here and not as a module.
`python -m eval benchmark --peer yunet=OTHER/python` does all this in one go. By hand:

    python -m eval photos --data ROOT > photos.txt
    OTHER/python eval/baselines/accuracy.py yunet --model yunet.onnx --data ROOT --photos photos.txt --out yunet.json
    OTHER/python eval/baselines/accuracy.py facenet --data ROOT --photos photos.txt --out facenet.json

Every detector gets photos at their own size and reports faces from a score of 0.02 on, so that whole curves can be
drawn. In the file "default_score" is what it would have used by itself, and "milliseconds" what each photo took, once
decoded. Rows are x1, y1, x2, y2, score and five landmarks (left eye, right eye, nose, left and right mouth corner as
seen in the image) in pixels as the detector gives them.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SCORE_FLOOR = 0.02

Rows = list[list[float]]
Detect = Callable[[Any, float], Rows]
"""Takes a uint8 BGR image as OpenCV reads it and the smallest face in pixels (0: as usual)."""


def yunet(model: str | None, threads: int) -> tuple[Detect, dict[str, Any]]:
    """YuNet through OpenCV's FaceDetectorYN, input as large as the photo; it takes no smallest face."""
    if model is None:
        raise SystemExit("yunet needs --model FILE.onnx")
    cv2.setNumThreads(threads)
    settings: dict[str, Any] = {"score_threshold": SCORE_FLOOR, "nms_threshold": 0.3, "top_k": 5000}
    settings |= {"threads": threads, "opencv": cv2.__version__}
    detector = cv2.FaceDetectorYN.create(model, "", (320, 320), SCORE_FLOOR, 0.3, 5000)

    def detect(image: Any, min_face: float) -> Rows:
        detector.setInputSize((image.shape[1], image.shape[0]))
        found = detector.detect(image)[1]
        if found is None:
            return []
        # x, y, width, height, the five points from the eye on the image's left on, score.
        return [[x, y, x + w, y + h, score, *points] for x, y, w, h, *points, score in found.astype(float).tolist()]

    return detect, {"detector": NAMES["yunet"], "default_score": 0.9, "settings": settings}


def facenet(model: str | None, threads: int) -> tuple[Detect, dict[str, Any]]:
    """The MTCNN of facenet-pytorch with its own thresholds for P-Net and R-Net."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    mtcnn = importlib.import_module("facenet_pytorch").MTCNN
    usual = mtcnn(keep_all=True, device="cpu")
    thresholds = [*usual.thresholds[:2], SCORE_FLOOR]
    detectors: dict[float, Any] = {}

    def detect(image: Any, min_face: float) -> Rows:
        size = min_face or usual.min_face_size
        if size not in detectors:
            detectors[size] = mtcnn(keep_all=True, device="cpu", thresholds=thresholds, min_face_size=size)
        boxes, scores, points = detectors[size].detect(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), landmarks=True)
        if boxes is None:
            return []
        rows: Rows = np.column_stack([boxes, scores, np.reshape(points, (-1, 10))]).astype(float).tolist()
        return rows

    settings = {"thresholds": thresholds, "min_face_size": usual.min_face_size}
    settings |= {"threads": threads, "torch": torch.__version__}
    about = {"detector": NAMES["facenet"], "default_score": usual.thresholds[2], "settings": settings}
    return detect, about


def mtcnn_runtime(model: str | None, threads: int) -> tuple[Detect, dict[str, Any]]:
    """The MTCNN of mtcnn-runtime with its own thresholds for P-Net and R-Net; it takes no number of threads."""
    mtcnn = importlib.import_module("mtcnnruntime").MTCNN
    parameters = inspect.signature(mtcnn.detect).parameters
    usual, size = parameters["thresholds"].default, parameters["min_face_size"].default
    thresholds = [*usual[:2], SCORE_FLOOR]
    detector = mtcnn()

    def detect(image: Any, min_face: float) -> Rows:
        try:
            boxes, points = detector.detect(image, min_face_size=min_face or size, thresholds=thresholds)
        except ValueError:  # what it does where P-Net lets nothing through
            return []
        if not len(boxes):
            return []
        # all x of the five points, then all y
        pairs = np.reshape(points, (-1, 2, 5)).transpose(0, 2, 1).reshape(-1, 10)
        rows: Rows = np.column_stack([boxes, pairs]).astype(float).tolist()
        return rows

    settings = {"thresholds": thresholds, "min_face_size": size}
    about = {"detector": NAMES["mtcnn-runtime"], "default_score": usual[2], "settings": settings}
    return detect, about


DETECTORS = {"yunet": yunet, "facenet": facenet, "mtcnn-runtime": mtcnn_runtime}
NAMES = {"yunet": "YuNet", "facenet": "MTCNN (facenet-pytorch)", "mtcnn-runtime": "MTCNN (mtcnn-runtime)"}


def usable(rows: Rows) -> Rows:
    """Leave out rows that are not finite or whose box is inside out."""
    return [row for row in rows if np.isfinite(row).all() and row[2] >= row[0] and row[3] >= row[1]]


def listed(file: Path) -> Iterator[tuple[float, str]]:
    """Yield the smallest face to look for and the path of each photo of a list."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            size, _, name = line.strip().partition(" ")
            yield float(size), name


def main() -> int:
    """Run one detector over a list of photos and write one JSON file; return 0."""
    parser = argparse.ArgumentParser(description="Write what another face detector finds.")
    parser.add_argument("detector", choices=sorted(DETECTORS))
    parser.add_argument("--data", required=True, type=Path, metavar="ROOT", help="folder that paths start from")
    parser.add_argument("--photos", required=True, type=Path, metavar="FILE", help="from python -m eval photos")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--model", metavar="FILE", help="weights, where the detector needs a file")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    detect, about = DETECTORS[args.detector](args.model, args.threads)
    photos: dict[str, Rows] = {}
    milliseconds: dict[str, float] = {}
    wanted = list(listed(args.photos))
    for at, (min_face, name) in enumerate(wanted, 1):
        image = cv2.imread(str(args.data / name))
        if image is None:
            print(f"warning: cannot read {name}", file=sys.stderr)
            continue
        start = time.perf_counter()
        photos[name] = usable(detect(image, min_face))
        milliseconds[name] = round(1e3 * (time.perf_counter() - start), 3)
        if at % 50 == 0 or at == len(wanted):
            print(f"{at} of {len(wanted)} photos, {sum(milliseconds.values()) / 1e3:.0f} s", file=sys.stderr)
    partial = args.out.with_name(args.out.name + ".partial")
    partial.write_text(json.dumps({**about, "milliseconds": milliseconds, "photos": photos}, allow_nan=False))
    os.replace(partial, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
