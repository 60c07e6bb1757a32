"""The work on one photo: read, find the faces, embed them. It never raises for a photo, so that a run goes on."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any, BinaryIO

import numpy as np

from cascade.archive.errors import ArchiveError, cannot_be_read
from cascade.archive.locations import absolute, opened
from cascade.archive.manifest import Manifest, Network
from cascade.archive.remote import State
from cascade.archive.schema import FACE_COLUMNS, PhotoResult
from cascade.archive.taken import time_taken
from cascade.attributes import AttributeEstimator
from cascade.checks import FixedSettings, integer
from cascade.detect import Detector
from cascade.face_model import CHUNK
from cascade.faces import Faces
from cascade.imaging.errors import ImageError, ImageWarning, quoted
from cascade.imaging.reading import MAX_PIXELS, RGBImage, read_reduced
from cascade.imaging.reduced import ReducedPhoto, largest_reduction
from cascade.quality import measure_crops
from cascade.recognize import Recognizer

__all__ = ["DETECTOR_SETTINGS", "LARGEST_PHOTO", "PhotoIndexer"]

LARGEST_PHOTO = 100_000_000
"""Pixels of a photo beyond which it is not read: decoded, it takes a process some 700 MB."""

WHOLE = 1 << 26  # bytes; larger files are not read as a whole, but by what decodes them
DETECTOR_SETTINGS = ("min_face", "max_face", "scale_factor", "thresholds", "rotations", "exposure", "decode")
UNKNOWN = "unknown"
COLUMN_OF = {UNKNOWN: "attributes_unknown"}
"""What columns are called whose name says too little in a table of faces."""


class PhotoIndexer(FixedSettings):
    """Makes the rows of one photo after another. It can be pickled, with its weights, for other processes.

    Parameters
    ----------
    recognizer : embeds the faces that its detector finds. None: a `Recognizer` on one thread. Where several processes
        work side by side, both should have one thread.
    attributes : says what faces look like; None: nothing is said.
    max_pixels : the most pixels of a photo. Larger ones are reported instead of read, which bounds the memory of a
        process: it takes some 7 bytes a pixel while a photo is decoded.
    """

    def __init__(
        self,
        recognizer: Recognizer | None = None,
        attributes: AttributeEstimator | None = None,
        *,
        max_pixels: int = LARGEST_PHOTO,
    ) -> None:
        self.recognizer = Recognizer(threads=1, detector=Detector(threads=1)) if recognizer is None else recognizer
        self.attributes = attributes
        self.max_pixels = integer("max_pixels", max_pixels, 1, MAX_PIXELS)
        self.manifest = self._manifest()
        self._fix_settings()

    def __reduce__(self) -> tuple[Any, ...]:
        return _recreated, (self.recognizer, self.attributes, self.max_pixels)

    def index(self, path: str | bytes | os.PathLike[Any]) -> PhotoResult:
        """The rows of the photo in a file or at a URL; what is wrong with it is their ``error``."""
        name = absolute(os.fsencode(path))
        try:
            with opened(name) as (file, state):
                return self._index_file(name, file, state)
        except (OSError, ArchiveError, ImportError) as error:  # another run may find it readable again
            return PhotoResult(name, error=cannot_be_read(error))

    def index_bytes(self, path: str | bytes, data: bytes, mtime_ns: int | None = None) -> PhotoResult:
        """The same of a photo whose file's content is at hand, as from a database; ``path`` names it."""
        known = {"size": len(data), "mtime_ns": mtime_ns, "sha256": hashlib.sha256(data).digest()}
        return self._index(os.fsencode(path), data, known)

    def _index_file(self, name: bytes, file: BinaryIO, state: os.stat_result | State) -> PhotoResult:
        known: dict[str, Any] = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
        length = file.seek(0, os.SEEK_END)  # a store may say less, or nothing
        file.seek(0)
        if length <= WHOLE:
            data = file.read()
            return self._index(name, data, {**known, "sha256": hashlib.sha256(data).digest()})
        known["sha256"] = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
        file.seek(0)
        return self._index(name, file, known)

    def _index(self, name: bytes, source: bytes | BinaryIO, known: dict[str, Any]) -> PhotoResult:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ImageWarning)
                photo = read_reduced(source, self._reduction, max_pixels=self.max_pixels)
            found = self._faces(photo)
        except OSError:
            raise
        except ImageError as error:
            return PhotoResult(name, **known, error=str(error).removeprefix("image: "))
        except MemoryError:
            return PhotoResult(name, **known, error="not enough memory")
        except Exception as error:  # one photo must not end a run over a million
            return PhotoResult(name, **known, error=f"{type(error).__name__}: {quoted(error)}")
        frame = photo.frame
        size: dict[str, Any] = {"width": frame.width, "height": frame.height, "scale": 1 / frame.reduction}
        return PhotoResult(name, **known, taken=time_taken(source), **size, **found)

    @property
    def _reduction(self) -> int:
        """The most by which a photo is reduced while it is decoded."""
        detector = self.recognizer.detector
        return largest_reduction(detector.min_face) if detector.decode == "reduced" else 1

    def _faces(self, photo: ReducedPhoto) -> dict[str, Any]:
        faces, pixels = self.recognizer.detector.detect(photo), photo.pixels
        found: dict[str, Any] = {"boxes": faces.boxes, "scores": faces.scores, "landmarks": faces.landmarks}
        if not len(faces):
            return found
        faces = _as_read(faces, photo)
        parts = [self._embedded(pixels, faces[first : first + CHUNK]) for first in range(0, len(faces), CHUNK)]
        found["embeddings"], found["quality"] = (np.concatenate(each) for each in zip(*parts, strict=True))
        if self.attributes is not None:
            found["attributes"] = _columns(self.attributes, pixels, faces)
        return found

    def _embedded(self, pixels: RGBImage, faces: Faces) -> tuple[Any, Any]:
        """Embeddings and quality of some faces."""
        crops = faces.align(pixels)
        return self.recognizer.embed_crops(crops).astype(np.float16), measure_crops(crops, faces.landmarks).score

    def _manifest(self) -> Manifest:
        detector, weights = self.recognizer.detector, self.recognizer.weights
        settings = {name: _plain(getattr(detector, name)) for name in DETECTOR_SETTINGS}
        columns: dict[str, str] = {}
        if self.attributes is not None:
            empty = _columns(self.attributes, np.zeros((8, 8, 3), np.uint8), Faces.empty())
            columns = {name: "string" if array.dtype.kind == "U" else "float32" for name, array in empty.items()}
            taken = set(columns) & set(FACE_COLUMNS)
            if taken:
                raise ValueError(f"attributes: expected other names than the table's own, got {', '.join(taken)}")
        return Manifest(
            Network(detector.weights.name, detector.weights.sha256),
            Network(weights.name, weights.sha256),
            self.recognizer.dimension,
            {**settings, "flip": self.recognizer.flip},
            None if self.attributes is None else Network(self.attributes.weights.name, self.attributes.weights.sha256),
            columns,
            weights.earlier_sha256,
        )


def _as_read(faces: Faces, photo: ReducedPhoto) -> Faces:
    """The faces of a photo in pixels of what was read of it."""
    frame = photo.frame
    if frame.reduction == 1:
        return faces
    origin = np.array([frame.left, frame.top], np.float32)
    corners = (faces.boxes.reshape(-1, 2, 2) - origin) / frame.reduction
    return Faces(corners.reshape(-1, 4), faces.scores, (faces.landmarks - origin) / frame.reduction)


def _columns(attributes: AttributeEstimator, pixels: RGBImage, faces: Faces) -> dict[str, Any]:
    """The answers by the columns' names."""
    told = attributes.predict(pixels, faces).data()
    return {COLUMN_OF.get(name, name): values for name, values in told.items()}


def _plain(setting: Any) -> Any:
    """A setting as JSON gives it back."""
    return list(setting) if isinstance(setting, tuple) else setting


def _recreated(recognizer: Recognizer, attributes: AttributeEstimator | None, max_pixels: int) -> PhotoIndexer:
    return PhotoIndexer(recognizer, attributes, max_pixels=max_pixels)
