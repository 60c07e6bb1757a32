"""A fast face detector for ordinary CPUs: a P-Net / R-Net / O-Net cascade that you can train yourself.

>>> from cascade import Detector
>>> faces = Detector().detect("photo.jpg")  # doctest: +SKIP
>>> faces.boxes, faces.scores, faces.landmarks  # doctest: +SKIP
"""

from cascade.align import AlignError
from cascade.detect import Detector
from cascade.faces import Face, Faces
from cascade.images import ImageError, read_image
from cascade.version import __version__
from cascade.weights import WeightsError

__all__ = [
    "AlignError",
    "Detector",
    "Face",
    "Faces",
    "ImageError",
    "WeightsError",
    "__version__",
    "read_image",
]
