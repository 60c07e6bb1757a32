"""Packages that look like the peers', so that their workers can be tested without them.

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
    def __init__(self, keep_all, min_face_size, device):
        assert keep_all
        self.told, self.device = min_face_size, device
    def detect(self, image):
        red, green, blue = image.getpixel((0, 0))
        if red < 9:
            return None, [None]
        return numpy.array([[self.told, torch.threads, red, blue + 1000 * (self.device == "cuda")]]), [0.9]
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
class MTCNN:
    def detect_faces(self, image, box_format, min_face_size):
        assert box_format == "xyxy" and tensorflow.told[1] == 1
        red, green, blue = image[0, 0]
        return [{"box": [min_face_size, tensorflow.told[0], red, blue], "confidence": 0.9}]
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
    def detect(self, image, min_face_size=20.0):
        if image.max() == 0:
            raise ValueError("need at least one\\narray to concatenate")
        blue, green, red = image[0, 0]
        return numpy.array([[min_face_size, self.net.threads, red, blue, 0.9]]), numpy.zeros((1, 10))
"""

NOISY = """
import sys
class MTCNN:
    def detect(self, image, min_face_size):
        print("not an answer " * 10_000)
        print("a warning " * 10_000, file=sys.stderr)
        return [], []
"""

DYING = """
import os, sys
class MTCNN:
    def detect(self, image, min_face_size):
        if image.max() == 0:
            print("first line\\nlast words", file=sys.stderr, flush=True)
            os._exit(3)
        return [], []
"""

SLEEPING = """
import time
class MTCNN:
    def detect(self, image, min_face_size):
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
