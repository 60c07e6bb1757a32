"""What a worker does with photos: find faces and say how they look, compare two, embed one for the gallery.

Each task takes options and the bytes of files, and gives an object for JSON and bytes beside it. Photos that cannot be
used are a `Problem` in words.
"""

from __future__ import annotations

import io
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal

import numpy as np

from cascade.anonymize import FaceFinder, anonymize
from cascade.anonymize.photo_files import colour_profile, encoded
from cascade.app.frames import Message
from cascade.app.problems import Problem
from cascade.attributes import BY_NAME, AttributeEstimator
from cascade.detect import Detector
from cascade.enrolment import FaceQualityError, FaceSizeError, check_enrolment
from cascade.face_records import attributes_of, landmarks_of
from cascade.faces import Faces
from cascade.gallery import EmbeddingModel
from cascade.imaging.alignment import AlignError
from cascade.imaging.errors import ImageError, ImageWarning
from cascade.imaging.reading import RGBImage, read_image
from cascade.landmarks import LandmarkEstimator
from cascade.models.attributes import load_attributes
from cascade.operating_point import face_sizes
from cascade.recognize import FaceCountError, Recognizer, only_face

__all__ = ["Networks", "answer"]

AGE_GROUPS = "twelve"

Answer = tuple[dict[str, Any], list[bytes]]


class Networks:
    """All networks, each with one thread: the workers keep the cores busy."""

    def __init__(self, min_face: float, photo_pixels: int) -> None:
        self.photo_pixels = photo_pixels
        self.detector = Detector(min_face=min_face, threads=1)
        self.recognizer = Recognizer(threads=1, detector=self.detector)
        self.weights = load_attributes()
        self.usual = [task.name for task in self.weights.tasks if task.name not in BY_NAME]
        self.finder = FaceFinder(threads=1)
        self.landmarks = LandmarkEstimator(threads=1, detector=self.detector)
        self.attributes = AttributeEstimator(self.weights, self.usual, 1, detector=self.detector)

    @cached_property
    def with_ethnicity(self) -> AttributeEstimator:
        """The same attributes and those that are computed only where they are asked for by name."""
        return AttributeEstimator(self.weights, [*self.usual, *BY_NAME], 1, detector=self.detector)

    def about(self) -> dict[str, Any]:
        """What the server has to know of them."""
        point = self.recognizer.operating_point
        return {
            "model": asdict(EmbeddingModel.of(self.recognizer)),
            "operating_point": None
            if point is None
            else {
                "threshold": point.threshold,
                "false_accept_rate": point.false_accept_rate,
                "true_accept_rate": point.true_accept_rate,
                "measured_on": point.measured_on,
                "smallest_good_face": point.smallest_good_face,
            },
        }

    def warm_up(self) -> None:
        """Runs every network once, so that all of their memory is taken."""
        grey = np.full((160, 160, 3), 128, np.uint8)
        face = Faces([[30, 30, 130, 150]], [1], [[[60, 70], [100, 70], [80, 95], [62, 115], [98, 115]]])
        self.detector.detect(grey)
        self.recognizer.embed(grey, face)
        self.with_ethnicity.predict(grey, face)
        self.attributes.predict(grey, face)
        self.landmarks.predict(grey, face)
        encoded(anonymize(grey, self.finder.find(grey)), "grey.jpeg")


def answer(networks: Networks, request: Message) -> Answer:
    """The answer to a request of the server: what the task gives, or a problem in words."""
    head = request.head
    try:
        with _image_warnings() as problems:
            told, parts = TASKS[head["task"]](networks, head["options"], request.parts)
        return {"told": told | {"warnings": problems}}, parts
    except Problem as problem:
        return {"kind": problem.kind, "problem": problem.words}, []
    except MemoryError:
        return {"kind": "too large", "problem": "This photo needs more memory than one photo may take."}, []
    except Exception:  # an error of ours must not end the worker
        with suppress(OSError):
            traceback.print_exc()
        return {"kind": "crashed", "problem": "The photo could not be processed; the server's log says why."}, []


@contextmanager
def _image_warnings() -> Iterator[list[str]]:
    """A list that has the warnings about image files when the block has ended."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImageWarning)
        yield found
    found += [str(each.message).removeprefix("bytes: ") for each in caught if each.category is ImageWarning]


def _read(networks: Networks, photo: bytes, name: str, alpha: Literal["drop", "white"] = "drop") -> RGBImage:
    try:
        return read_image(photo, max_pixels=networks.photo_pixels, alpha=alpha)
    except ImageError as error:
        words = str(error).removeprefix("image: ")
        kind: Any = "too large" if f"{networks.photo_pixels:,} pixels in all" in words else "photo"
        raise Problem(kind, f"{name} cannot be used: {words}.") from error


# --------------------------------------------------------------------------------------------------
# The tasks


def find_faces(networks: Networks, options: dict[str, Any], photos: Sequence[bytes]) -> Answer:
    """The faces of a photo; "attributes", "ethnicity" and "landmarks" say what to tell of each, "embed" for whom."""
    image = _read(networks, photos[0], "The photo")
    faces = networks.detector.detect(image)
    told = faces.to_dicts()
    if options["attributes"] or options["ethnicity"]:
        estimator = networks.with_ethnicity if options["ethnicity"] else networks.attributes
        _add(told, attributes_of(estimator.predict(image, faces), AGE_GROUPS))
    if options["landmarks"]:
        _add(told, landmarks_of(networks.landmarks.analyze(image, faces)))
    found: dict[str, Any] = {"width": image.shape[1], "height": image.shape[0], "faces": told}
    if not options["embed"]:
        return found, []
    point = networks.recognizer.operating_point
    sizes = face_sizes(faces.boxes).tolist()
    found["too_small"] = [point is not None and point.is_too_small(size) for size in sizes]
    return found, [networks.recognizer.embed(image, faces).tobytes()]


def _add(told: list[dict[str, Any]], further: Iterator[dict[str, Any]]) -> None:
    for row, more in zip(told, further, strict=True):
        row.update({**more, "unknown": row.get("unknown") or more["unknown"]})


def compare(networks: Networks, options: dict[str, Any], photos: Sequence[bytes]) -> Answer:
    """Whether two photos show one person; "largest" takes the largest face of each."""
    images, boxes = [], []
    for photo, name in zip(photos, ("The first photo", "The second photo"), strict=True):
        image = _read(networks, photo, name)
        face = _only_face(networks.detector.detect(image), name, options["largest"])
        images.append(image)
        boxes.append(face.boxes[0].tolist())
    with _aligned():
        result = networks.recognizer.verify(images[0], images[1], options["largest"])
    return asdict(result) | {"boxes": boxes, "sides": [[image.shape[1], image.shape[0]] for image in images]}, []


def enrol(networks: Networks, options: dict[str, Any], photos: Sequence[bytes]) -> Answer:
    """The embedding of one face to store a person by: that of the number "face", else the only one."""
    image = _read(networks, photos[0], "The photo")
    faces = networks.detector.detect(image)
    number = options["face"]
    if number is None:
        face = _only_face(faces, "The photo", largest=False)
    elif number > len(faces):
        raise Problem("faces", f"There is no face {number} in the photo: it has {_counted(len(faces))}.")
    else:
        face = faces[number - 1 : number]
    allowed = {name: options[name] for name in ("allow_small", "allow_poor")}
    with _aligned():
        try:
            point, rotations = networks.recognizer.operating_point, networks.detector.rotations
            check_enrolment(image, face, point, "The photo", **allowed, rotations=rotations)
        except FaceSizeError as error:
            raise Problem(
                "faces",
                f"The face is too small to store: it has {error.size:.0f} pixels and should have {error.needed:.0f}. "
                "Smaller faces are often taken for other people's.",
            ) from error
        except FaceQualityError as error:
            raise Problem("faces", f"The face is too bad to store: it is {' and '.join(error.problems)}.") from error
        return {"box": face.boxes[0].tolist()}, [networks.recognizer.embed(image, face).tobytes()]


def hide(networks: Networks, options: dict[str, Any], photos: Sequence[bytes]) -> Answer:
    """A copy of a photo with its faces hidden, of the "format" asked for, without metadata."""
    image = _read(networks, photos[0], "The photo", alpha="white")
    faces = networks.finder.find(image)
    changes = {name: options[name] for name in ("method", "shape", "margin")}
    hidden = anonymize(image, faces, **changes)
    profile = colour_profile(io.BytesIO(photos[0]))
    return {"hidden": len(faces)}, [encoded(hidden, f"hidden.{options['format']}", profile)]


TASKS: dict[str, Callable[[Networks, dict[str, Any], Sequence[bytes]], Answer]] = {
    "faces": find_faces,
    "compare": compare,
    "enrol": enrol,
    "hide": hide,
}


@contextmanager
def _aligned() -> Iterator[None]:
    try:
        yield
    except AlignError as error:
        raise Problem("faces", f"A face cannot be aligned: {error}.") from error


def _only_face(faces: Faces, name: str, largest: bool) -> Faces:
    try:
        return only_face(faces, name, largest)
    except FaceCountError as error:
        hint = " Say which one, take the largest, or cut the others off." if error.count else ""
        raise Problem("faces", f"{name} should show one face, but it shows {_counted(error.count)}.{hint}") from error


def _counted(count: int) -> str:
    return "no face" if not count else "one face" if count == 1 else f"{count:,} faces"
