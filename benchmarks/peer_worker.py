"""A peer detector in an interpreter of its own, so that each peer has the versions that it pins.

    PYTHON peer_worker.py NAME IMAGE MIN_FACE THREADS

NAME is facenet-pytorch, mtcnn-runtime or yunet (with CASCADE_YUNET naming its .onnx file). Writes one JSON line when it
is ready, then for each line read from standard input detects once and writes {"ms": ..., "boxes": [[x1, y1, x2, y2]]}.
It imports nothing of cascade.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Detect = Callable[[], list[list[float]]]


def facenet(path: str, min_face: int, threads: int) -> Detect:
    """facenet-pytorch's MTCNN with its default thresholds."""
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    torch.set_num_threads(threads)
    detector = MTCNN(keep_all=True, min_face_size=min_face, device="cpu")
    image = Image.open(path).convert("RGB")

    def detect() -> list[list[float]]:
        boxes, _ = detector.detect(image)
        return [] if boxes is None else [[float(v) for v in box] for box in boxes]

    return detect


def mtcnn_runtime(path: str, min_face: int, threads: int) -> Detect:
    """mtcnn-runtime (onnxruntime)."""
    import cv2
    import onnxruntime

    plain = onnxruntime.InferenceSession

    def limited(*args: Any, **options: Any) -> Any:
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        return plain(*args, sess_options=session, **{k: v for k, v in options.items() if k != "sess_options"})

    onnxruntime.InferenceSession = limited
    from mtcnnruntime import MTCNN

    detector = MTCNN()
    image = cv2.imread(path)
    assert image is not None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def detect() -> list[list[float]]:
        found = detector.detect_faces(image, minsize=min_face)
        boxes = found[0] if isinstance(found, tuple) else found
        return [[float(v) for v in box[:4]] for box in boxes]

    return detect


def yunet(path: str, min_face: int, threads: int) -> Detect:
    """YuNet through OpenCV's FaceDetectorYN at the photo's size."""
    import cv2

    cv2.setNumThreads(threads)
    image = cv2.imread(path)
    assert image is not None
    detector = cv2.FaceDetectorYN.create(
        os.environ["CASCADE_YUNET"], "", (image.shape[1], image.shape[0]), 0.6, 0.45, 5000
    )

    def detect() -> list[list[float]]:
        _, rows = detector.detect(image)
        return [] if rows is None else [[float(v) for v in (r[0], r[1], r[0] + r[2], r[1] + r[3])] for r in rows]

    return detect


PEERS = {"facenet-pytorch": facenet, "mtcnn-runtime": mtcnn_runtime, "yunet": yunet}


def main() -> None:
    """Serves detections until standard input ends."""
    name, path, min_face, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints must not mix with the answers
    detect = PEERS[name](path, min_face, threads)
    detect()
    answers.write(json.dumps({"ready": name}) + "\n")
    answers.flush()
    for _ in sys.stdin:
        started = time.perf_counter()
        boxes = detect()
        answers.write(json.dumps({"ms": 1e3 * (time.perf_counter() - started), "boxes": boxes}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
