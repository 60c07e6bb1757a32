"""A fast face detector for ordinary CPUs: a P-Net / R-Net / O-Net cascade that you can train yourself.

>>> from cascade import Detector
>>> faces = Detector().detect("photo.jpg")  # doctest: +SKIP
>>> faces.boxes, faces.scores, faces.landmarks  # doctest: +SKIP

`Recognizer` computes embeddings of faces and compares them; a `Gallery` holds people and finds them by embeddings.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import_module("cascade._native")
except ModuleNotFoundError as error:
    if error.name != "cascade._native":
        raise
    raise ImportError(
        f"the native core of cascade is not built in {Path(__file__).parent}. In a clone, build it with "
        "`pip install -e .`; to use an installed cascade instead, start Python outside the clone",
        name="cascade._native",
    ) from None

from cascade.detect import Detector
from cascade.faces import Face, Faces
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, ImageWarning, read_image
from cascade.models.files import WeightsError
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
    "ImageWarning",
    "Recognizer",
    "WeightsError",
    "__version__",
    "read_image",
]

# Imported on first use: detecting faces does not need them.
_LAZY = {
    "FaceCountError": "cascade.recognize",
    "Gallery": "cascade.gallery",
    "GalleryError": "cascade.gallery",
    "Recognizer": "cascade.recognize",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
