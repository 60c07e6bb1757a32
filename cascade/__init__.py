"""A fast face detector for ordinary CPUs: a P-Net / R-Net / O-Net cascade that you can train yourself.

>>> from cascade import Detector
>>> faces = Detector().detect("photo.jpg")  # doctest: +SKIP
>>> faces.boxes, faces.scores, faces.landmarks  # doctest: +SKIP

`Recognizer` computes embeddings of faces and compares them; a `Gallery` holds people and finds them by embeddings.
`AttributeEstimator` says what faces look like, `LandmarkEstimator` finds 68 points and the head pose.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.version import __version__

if find_spec("cascade._native") is None:
    raise ImportError(
        f"the native core of cascade is not built in {Path(__file__).parent}. In a clone, build it with "
        "`pip install -e .`; to use an installed cascade instead, start Python outside the clone",
        name="cascade._native",
    )

if TYPE_CHECKING:
    from cascade.attributes import AttributeEstimator, Attributes
    from cascade.detect import Detector
    from cascade.faces import Face, Faces
    from cascade.gallery import Gallery, GalleryError
    from cascade.imaging.alignment import AlignError
    from cascade.imaging.reading import ImageError, ImageWarning, read_image
    from cascade.landmarks import LandmarkEstimator
    from cascade.models.files import WeightsError
    from cascade.quality import FaceQualityError
    from cascade.recognize import FaceCountError, FaceSizeError, Recognizer

__all__ = [
    "AlignError",
    "AttributeEstimator",
    "Attributes",
    "Detector",
    "Face",
    "FaceCountError",
    "FaceQualityError",
    "FaceSizeError",
    "Faces",
    "Gallery",
    "GalleryError",
    "ImageError",
    "ImageWarning",
    "LandmarkEstimator",
    "Recognizer",
    "WeightsError",
    "__version__",
    "read_image",
]

# Imported on first use: the command line answers --help and Ctrl-C before numpy is there.
_LAZY = {
    "AlignError": "cascade.imaging.alignment",
    "AttributeEstimator": "cascade.attributes",
    "Attributes": "cascade.attributes",
    "Detector": "cascade.detect",
    "Face": "cascade.faces",
    "FaceCountError": "cascade.recognize",
    "FaceQualityError": "cascade.quality",
    "FaceSizeError": "cascade.recognize",
    "Faces": "cascade.faces",
    "Gallery": "cascade.gallery",
    "GalleryError": "cascade.gallery",
    "ImageError": "cascade.imaging.reading",
    "ImageWarning": "cascade.imaging.reading",
    "LandmarkEstimator": "cascade.landmarks",
    "Recognizer": "cascade.recognize",
    "WeightsError": "cascade.models.files",
    "read_image": "cascade.imaging.reading",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("__") and find_spec(f"cascade.{name}") is not None:  # a module, as cascade.detect
        return import_module(f"cascade.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
