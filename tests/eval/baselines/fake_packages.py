"""Packages that look like the baselines', so that their workers can be tested without them.

What their detectors find are not faces but what they were told: x1 is the smallest face, y1 the number of threads,
x2 and y2 the red and the blue that the detector would see in the photo's first pixel.
"""

from __future__ import annotations

from pathlib import Path

TORCH = """
threads = 0
def set_num_threads(count):
    global threads
    threads = count
"""

FACENET = """
import numpy, torch
class MTCNN:
    def __init__(self, keep_all, min_face_size, thresholds, device):
        assert keep_all and thresholds[:2] == [0.6, 0.7]
        self.told, self.score, self.device = min_face_size, thresholds[2], device
    def detect(self, image, landmarks):
        red, green, blue = image[0, 0].astype(float)
        if red < 9:
            return None, [None], None
        box = [self.told, torch.threads, red, blue + 1000 * (self.device == "cuda")]
        return numpy.array([box]), [self.score], numpy.arange(10.0).reshape(1, 5, 2)
"""

TENSORFLOW = """
class config:
    class threading:
        set_intra_op_parallelism_threads = lambda count: told.append(count)
        set_inter_op_parallelism_threads = lambda count: told.append(count)
told = []
"""

MTCNN = """
import tensorflow
POINTS = ("nose", "mouth_right", "right_eye", "left_eye", "mouth_left")
ORDER = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
class MTCNN:
    def detect_faces(self, image, box_format, min_face_size, threshold_pnet, threshold_rnet, threshold_onet):
        assert box_format == "xyxy" and tensorflow.told[1] == 1 and (threshold_pnet, threshold_rnet) == (0.6, 0.7)
        red, green, blue = image[0, 0]
        if red < 9:
            raise RuntimeError("nothing but\\nblack")
        points = {point: (2 * ORDER.index(point), 2 * ORDER.index(point) + 1) for point in POINTS}
        box = [min_face_size, tensorflow.told[0], red, blue]
        return [{"box": box, "confidence": threshold_onet, "keypoints": points}]
"""

ONNXRUNTIME = """
class SessionOptions:
    intra_op_num_threads = inter_op_num_threads = 0
class InferenceSession:
    def __init__(self, file, sess_options=None, providers=()):
        assert file == "net.onnx" and list(providers) == ["CPUExecutionProvider"]
        assert sess_options.inter_op_num_threads == 1
        self.threads = sess_options.intra_op_num_threads
"""

# As in 1.0.0: `detect`, colours as OpenCV has them, rows with a score, and a failure where P-Net finds nothing.
MTCNN_RUNTIME = """
import numpy, onnxruntime
class MTCNN:
    def __init__(self):
        self.net = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    def detect(self, image, min_face_size, thresholds):
        assert thresholds[:2] == [0.7, 0.7]
        if image.max() == 0:
            raise ValueError("need at least one array to concatenate")
        blue, green, red = image[0, 0]
        points = [[0, 2, 4, 6, 8, 1, 3, 5, 7, 9]]
        return numpy.array([[min_face_size, self.net.threads, red, blue, thresholds[2]]]), numpy.array(points)
"""

NOISY = """
import sys
class MTCNN:
    def detect(self, image, min_face_size, thresholds):
        print("not an answer " * 10_000)
        print("a warning " * 10_000, file=sys.stderr)
        return [], []
"""

DYING = """
import os, sys
class MTCNN:
    def detect(self, image, min_face_size, thresholds):
        if image.max() == 0:
            print("first line\\nlast words", file=sys.stderr, flush=True)
            os._exit(3)
        return [], []
"""

SLEEPING = """
import time
class MTCNN:
    def detect(self, image, min_face_size, thresholds):
        time.sleep(60)
"""

PACKAGES = {
    "torch": TORCH,
    "facenet_pytorch": FACENET,
    "tensorflow": TENSORFLOW,
    "mtcnn": MTCNN,
    "onnxruntime": ONNXRUNTIME,
    "mtcnnruntime": MTCNN_RUNTIME,
}


def install(folder: Path, **packages: str) -> Path:
    """Write the packages, or others in their place, into a folder for PYTHONPATH; return it."""
    for name, source in {**PACKAGES, **packages}.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return folder
