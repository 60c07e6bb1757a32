"""A peer detector in an interpreter of its own, so that each peer has the versions that it pins.

    PYTHON peer_worker.py NAME THREADS DEVICE

NAME is facenet-pytorch, mtcnn, mtcnn-runtime or yunet (with CASCADE_YUNET naming its .onnx file). DEVICE is cpu or
cuda; of these only facenet-pytorch knows the latter. It answers each line of standard input with one line, both JSON:

    {"open": FILE, "min_face": PIXELS}  ->  {"peer": ..., "version": ...} once it has detected there, untimed
    {"detect": true}                    ->  {"ms": ..., "boxes": [[x1, y1, x2, y2], ...]} for the photo opened last
    whatever fails                      ->  {"error": "one line"}

Detectors run with their own default thresholds, YuNet with a score of 0.6. It imports nothing of cascade.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Boxes = list[list[float]]
Detect = Callable[[], Boxes]
Prepare = Callable[[str, float], Detect]
"""Takes a photo's path and the smallest face in pixels; what it returns detects in that photo."""

YUNET_SCORE, YUNET_NMS, YUNET_CANDIDATES = 0.6, 0.45, 5000


def facenet(threads: int, device: str) -> Prepare:
    """The MTCNN of facenet-pytorch."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    mtcnn = importlib.import_module("facenet_pytorch").MTCNN
    pillow = importlib.import_module("PIL.Image")

    def prepare(path: str, min_face: float) -> Detect:
        detector = mtcnn(keep_all=True, min_face_size=min_face, device=device)
        image = pillow.open(path).convert("RGB")

        def detect() -> Boxes:
            boxes, _ = detector.detect(image)
            return [] if boxes is None else _floats(boxes)

        return detect

    return prepare


def mtcnn(threads: int, device: str) -> Prepare:
    """The MTCNN of the package mtcnn, version 1, in TensorFlow."""
    threading = importlib.import_module("tensorflow").config.threading
    threading.set_intra_op_parallelism_threads(threads)
    threading.set_inter_op_parallelism_threads(1)
    detector = importlib.import_module("mtcnn").MTCNN()

    def prepare(path: str, min_face: float) -> Detect:
        image = _read(path, threads, rgb=True)

        def detect() -> Boxes:
            faces = detector.detect_faces(image, box_format="xyxy", min_face_size=min_face)
            return _floats(face["box"] for face in faces)

        return detect

    return prepare


def mtcnn_runtime(threads: int, device: str) -> Prepare:
    """The MTCNN of mtcnn-runtime, in onnxruntime. It takes colours as OpenCV does, and fails on an all-black photo."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    plain = onnxruntime.InferenceSession

    def limited(*args: Any, **options: Any) -> Any:
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads, session.inter_op_num_threads = threads, 1
        return plain(*args, **{**options, "sess_options": session})

    onnxruntime.InferenceSession = limited  # the package offers no way to say how many threads
    detector = importlib.import_module("mtcnnruntime").MTCNN()

    def prepare(path: str, min_face: float) -> Detect:
        image = _read(path, threads)
        return lambda: _floats(detector.detect(image, min_face_size=min_face)[0])

    return prepare


def yunet(threads: int, device: str) -> Prepare:
    """YuNet through OpenCV's FaceDetectorYN, its input as large as the photo. It takes no smallest face."""
    model = os.environ.get("CASCADE_YUNET", "")
    if not os.path.isfile(model):
        raise FileNotFoundError(f"YuNet's model file is not there: {model!r}; give --yunet-model FILE.onnx")
    create = importlib.import_module("cv2").FaceDetectorYN.create

    def prepare(path: str, min_face: float) -> Detect:
        image = _read(path, threads)
        size = (image.shape[1], image.shape[0])
        detector = create(model, "", size, YUNET_SCORE, YUNET_NMS, YUNET_CANDIDATES)

        def detect() -> Boxes:
            rows = detector.detect(image)[1]
            return [] if rows is None else _floats((r[0], r[1], r[0] + r[2], r[1] + r[3]) for r in rows)

        return detect

    return prepare


PEERS: dict[str, Callable[[int, str], Prepare]] = {
    "facenet-pytorch": facenet,
    "mtcnn": mtcnn,
    "mtcnn-runtime": mtcnn_runtime,
    "yunet": yunet,
}
"""By name, which for all but YuNet is that of the package: takes the number of threads and the device."""

MODULES = {"facenet-pytorch": "facenet_pytorch", "mtcnn": "mtcnn", "mtcnn-runtime": "mtcnnruntime", "yunet": "cv2"}
"""The module that each peer needs."""


def _read(path: str, threads: int, *, rgb: bool = False) -> Any:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(threads)
    image = cv2.imread(path)
    if image is None:
        raise OSError(f"OpenCV cannot read {path}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if rgb else image


def _floats(rows: Any) -> Boxes:
    return [[float(value) for value in row[:4]] for row in rows]


def _version(name: str) -> str:
    if name == "yunet":
        return f"OpenCV {importlib.import_module('cv2').__version__}"
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


class _Worker:
    """Answers requests; the detector is made for the first."""

    def __init__(self, name: str, threads: int, device: str) -> None:
        self.name, self.threads, self.device = name, threads, device
        self.prepare: Prepare | None = None
        self.detect: Detect | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """See the module; raises whatever the peer raises."""
        if "open" in request:
            self.detect = None
            if self.prepare is None:
                self.prepare = PEERS[self.name](self.threads, self.device)
            detect = self.prepare(request["open"], request["min_face"])
            detect()
            self.detect = detect
            return {"peer": self.name, "version": _version(self.name)}
        if self.detect is None:
            raise RuntimeError("no photo is open")
        started = time.perf_counter()
        boxes = self.detect()
        return {"ms": 1e3 * (time.perf_counter() - started), "boxes": boxes}


def main() -> None:
    """Serves requests until standard input ends."""
    worker = _Worker(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints must not mix with the answers
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # a peer may fail in any way; the others go on
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
