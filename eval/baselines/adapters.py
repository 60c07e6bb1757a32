"""The baselines: how each detector is called, and the one set of settings that accuracy and speed are measured with.

The MTCNNs run with their packages' own settings, YuNet with those stated below. Only the last threshold is lowered
where a full curve is wanted; the score from which a detector reports faces by itself is its ``default_score``. This
module imports nothing but numpy and OpenCV, since `eval.baselines.worker` loads it in interpreters that have none of
this project's packages.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

Detect = Callable[[Any, float, float], Any]
"""Takes a uint8 image, the lowest score to report and the smallest face in pixels.

Returns rows (N, 15) of x1, y1, x2, y2, score and five landmarks (left eye, right eye, nose, left and right mouth
corner as seen in the image), in pixels.
"""


@dataclass(frozen=True)
class Options:
    """How a baseline is run: number of threads, "cpu" or "cuda", and the file of its weights where it needs one."""

    threads: int = 1
    device: str = "cpu"
    model: str = ""


@dataclass(frozen=True)
class Baseline:
    """One detector.

    title          in tables and figures
    module         the module that it needs
    default_score  the score from which it reports faces by itself
    min_face       the smallest face in pixels that it looks for by itself; 0: it takes no such number
    settings       its further settings, as they are recorded with every result
    rgb            whether it takes RGB images; else BGR
    load           returns what detects
    """

    title: str
    module: str
    default_score: float
    min_face: float
    settings: dict[str, Any]
    rgb: bool
    load: Callable[[Options], Detect]


def _yunet(options: Options) -> Detect:
    """YuNet through OpenCV's FaceDetectorYN, its input as large as the image."""
    if not options.model:
        raise FileNotFoundError("YuNet needs its weights: give --yunet-model FILE.onnx")
    cv2.setNumThreads(options.threads)
    given = BASELINES["yunet"].settings
    create: Any = cv2.FaceDetectorYN.create  # type: ignore[attr-defined, unused-ignore]
    detector = create(options.model, "", (320, 320), BASELINES["yunet"].default_score, given["nms"], given["top_k"])

    def detect(image: Any, score: float, min_face: float) -> Any:
        size = (image.shape[1], image.shape[0])
        if tuple(detector.getInputSize()) != size:
            detector.setInputSize(size)
        detector.setScoreThreshold(score)
        rows = detector.detect(image)[1]
        if rows is None:
            return _no_rows()
        # x, y, width, height, the five points from the eye on the image's left on, score
        corners = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return np.hstack([corners, rows[:, 14:], rows[:, 4:14]])

    return detect


def _facenet_pytorch(options: Options) -> Detect:
    """The MTCNN of facenet-pytorch."""
    importlib.import_module("torch").set_num_threads(options.threads)
    mtcnn = importlib.import_module("facenet_pytorch").MTCNN
    given = BASELINES["facenet-pytorch"].settings["thresholds"]
    detectors: dict[tuple[float, float], Any] = {}

    def detect(image: Any, score: float, min_face: float) -> Any:
        if (score, min_face) not in detectors:
            thresholds = [*given, score]
            detectors[score, min_face] = mtcnn(
                keep_all=True, min_face_size=min_face, thresholds=thresholds, device=options.device
            )
        boxes, scores, points = detectors[score, min_face].detect(image, landmarks=True)
        return _no_rows() if boxes is None else np.column_stack([boxes, scores, np.reshape(points, (-1, 10))])

    return detect


def _mtcnn(options: Options) -> Detect:
    """The MTCNN of the package mtcnn, version 1, in TensorFlow."""
    threading = importlib.import_module("tensorflow").config.threading
    threading.set_intra_op_parallelism_threads(options.threads)
    threading.set_inter_op_parallelism_threads(1)
    detector = importlib.import_module("mtcnn").MTCNN()
    pnet, rnet = BASELINES["mtcnn"].settings["thresholds"]
    points = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

    def detect(image: Any, score: float, min_face: float) -> Any:
        thresholds = {"threshold_pnet": pnet, "threshold_rnet": rnet, "threshold_onet": score}
        faces = detector.detect_faces(image, box_format="xyxy", min_face_size=min_face, **thresholds)
        rows = [
            [*face["box"], face["confidence"], *np.ravel([face["keypoints"][point] for point in points])]
            for face in faces
        ]
        return np.array(rows, float) if rows else _no_rows()

    return detect


def _mtcnn_runtime(options: Options) -> Detect:
    """The MTCNN of mtcnn-runtime, in onnxruntime."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    plain = onnxruntime.InferenceSession

    def limited(*args: Any, **more: Any) -> Any:
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads, session.inter_op_num_threads = options.threads, 1
        return plain(*args, **{**more, "sess_options": session})

    onnxruntime.InferenceSession = limited  # the package takes no number of threads
    detector = importlib.import_module("mtcnnruntime").MTCNN()
    given = BASELINES["mtcnn-runtime"].settings["thresholds"]

    def detect(image: Any, score: float, min_face: float) -> Any:
        try:
            boxes, points = detector.detect(image, min_face_size=min_face, thresholds=[*given, score])
        except ValueError:  # it fails where P-Net lets nothing through
            return _no_rows()
        if not len(boxes):
            return _no_rows()
        # all x of the five points, then all y
        return np.column_stack([boxes, np.reshape(points, (-1, 2, 5)).transpose(0, 2, 1).reshape(-1, 10)])

    return detect


def _no_rows() -> Any:
    return np.zeros((0, 15))


BASELINES = {
    "yunet": Baseline(
        title="YuNet",
        module="cv2",
        # The score and the suppression of libfacedetection's own demo. OpenCV's defaults are 0.9 and 0.3, and at 0.9
        # YuNet reports little more than half of the faces that it reports at 0.6 (47 % and 86 % of wider_val).
        default_score=0.6,
        min_face=0.0,
        settings={"nms": 0.45, "top_k": 5000},
        rgb=False,
        load=_yunet,
    ),
    "facenet-pytorch": Baseline(
        title="MTCNN (facenet-pytorch)",
        module="facenet_pytorch",
        default_score=0.7,
        min_face=20.0,
        settings={"thresholds": [0.6, 0.7]},
        rgb=True,
        load=_facenet_pytorch,
    ),
    "mtcnn": Baseline(
        title="MTCNN (mtcnn)",
        module="mtcnn",
        default_score=0.8,
        min_face=20.0,
        settings={"thresholds": [0.6, 0.7]},
        rgb=True,
        load=_mtcnn,
    ),
    "mtcnn-runtime": Baseline(
        title="MTCNN (mtcnn-runtime)",
        module="mtcnnruntime",
        default_score=0.7,
        min_face=20.0,
        settings={"thresholds": [0.7, 0.7]},
        rgb=False,
        load=_mtcnn_runtime,
    ),
}
"""By name, which is that of the package. "thresholds" are those of P-Net and R-Net."""
