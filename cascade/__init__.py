"""A fast face detector for ordinary CPUs: a P-Net / R-Net / O-Net cascade that you can train yourself.

>>> from cascade import Detector
>>> faces = Detector().detect("photo.jpg")  # doctest: +SKIP
>>> faces.boxes, faces.scores, faces.landmarks  # doctest: +SKIP

And who they are: `Recognizer` makes embeddings of faces, and a `Gallery` of people is searched with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cascade.detect import Detector
from cascade.faces import Face, Faces
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, read_image
from cascade.models.detector import WeightsError
from cascade.version import __version__

if TYPE_CHECKING:
    from cascade.gallery import Gallery, GalleryError
    from cascade.recognize import FaceCountError, Recognizer

__all__ = [
    "AlignError",
    "Detector",
    "Face",
    "FaceCountError",
    "Faces",
    "Gallery",
    "GalleryError",
    "ImageError",
    "Recognizer",
    "WeightsError",
    "__version__",
    "read_image",
]

# Imported when they are first asked for, so that whoever only detects faces need not wait for them.
_LATER = {
    "FaceCountError": "cascade.recognize",
    "Gallery": "cascade.gallery",
    "GalleryError": "cascade.gallery",
    "Recognizer": "cascade.recognize",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
