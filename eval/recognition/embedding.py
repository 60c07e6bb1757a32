"""From photos of people to embeddings: find the face, align it, embed it; and files of embeddings."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cascade import private_files
from cascade.datasets import DatasetError, PersonPhoto
from cascade.faces import Faces
from cascade.imaging.alignment import TEMPLATE_SIZE, AlignError, align
from cascade.imaging.reading import ImageError, RGBImage, read_image
from cascade.npz import read_npz
from eval.detection.predictions import match_names
from eval.recognition.similarity import ProtocolError

__all__ = [
    "DetectedPoints",
    "Embedder",
    "Embeddings",
    "OurNetwork",
    "embed_photos",
    "given_points",
    "main_face",
    "our_age_estimator",
    "our_embedder",
    "read_embeddings",
    "write_embeddings",
]

BATCH = 32

CENTRING = 2.0
"""How much being off the centre counts against being large in ``main_face``."""

Floats = NDArray[np.float32]
Locate = Callable[[PersonPhoto, RGBImage], "Floats | None"]


class Embedder(Protocol):
    """A recognition network as the evaluators use it."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def sha256(self) -> str:
        """The hash of its weights."""

    def embed_crops(self, crops: NDArray[np.uint8]) -> Floats:
        """Return (n, D) float32 embeddings of length 1 for (n, 112, 112, 3) uint8 RGB aligned crops."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The embeddings of photos by name, and what is known of how they came about.

    names    N names, paths with forward slashes
    vectors  (N, D) float32; rows of NaN stand for missed faces
    about    plain values, such as "model", "weights_sha256" and "align"
    broken   why photos could not be read, by name; their rows are NaN too

    Raises ProtocolError for arrays that do not fit, infinity, and names that come twice.
    """

    names: tuple[str, ...]
    vectors: Floats
    about: Mapping[str, Any] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors)
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or 0 in vectors.shape:
            raise ProtocolError(f"embeddings: (N, D) numbers expected, got {vectors.dtype} of {vectors.shape}")
        if len(self.names) != len(vectors):
            raise ProtocolError(f"embeddings: {len(self.names)} names, but {len(vectors)} rows")
        with np.errstate(over="ignore"):
            vectors = vectors.astype(np.float32)
        if np.isinf(vectors).any():
            raise ProtocolError("embeddings: finite numbers expected, or NaN for a missed face; got infinity")
        if len(set(self.names)) < len(self.names):
            raise ProtocolError("embeddings: two rows have the same name")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "vectors", vectors)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, photos: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
        """Return the (M, D) rows of M photos, NaN where there is none, and the names that have no row.

        A name is found as written, else without image suffix and leading folders. Raises ProtocolError when
        two names mean one photo, or one could mean several.
        """
        rows = {name: at for at, name in enumerate(self.names)}
        try:
            matched = match_names(photos, cast(Any, rows))
        except DatasetError as error:
            raise ProtocolError(f"embeddings: {error}") from error
        places = cast(dict[str, int], matched.found)
        vectors = np.full((len(photos), self.vectors.shape[1]), np.nan, np.float32)
        for at, name in enumerate(photos):
            if name in places:
                vectors[at] = self.vectors[places[name]]
        return vectors, matched.missing


class DetectedPoints:
    """Landmarks of the face that our detector takes for the main one; call it with a photo and its image."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def __call__(self, photo: PersonPhoto, image: RGBImage) -> Floats | None:
        """Return (5, 2) float32 landmarks in pixels, None where no face is found."""
        faces: Faces = self.detector.detect(image)
        if not len(faces):
            return None
        return np.asarray(faces.landmarks[main_face(faces, image.shape[1], image.shape[0])], np.float32)


def given_points(photo: PersonPhoto, image: RGBImage) -> Floats | None:
    """Return the landmarks that come with the photo, None where it has none."""
    return photo.landmarks


def main_face(faces: Faces, width: int, height: int) -> int:
    """Return the index of the face that the photo is of: large and near the centre.

    The largest value of box area − 2 · (distance of the box's centre from that of the photo)², in pixels: the
    rule of the alignment script of D. Sandberg's facenet, with which LFW has been aligned since. The surer of
    equal ones. Raises ProtocolError without faces.
    """
    if not len(faces):
        raise ProtocolError("faces: at least one expected")
    boxes = faces.boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    off = (boxes[:, 2:] + boxes[:, :2]) / 2 - (width / 2, height / 2)
    return int(np.argmax(sides.prod(axis=1) - CENTRING * (off**2).sum(axis=1)))


def embed_photos(
    photos: Iterable[PersonPhoto],
    embedder: Embedder,
    locate: Locate,
    *,
    about: Mapping[str, Any] | None = None,
    batch: int = BATCH,
) -> Embeddings:
    """Embed the person of every photo.

    photos    to read; one that cannot be read is noted in ``Embeddings.broken``, and the others go on
    embedder  what turns crops of 112×112 pixels into embeddings
    locate    ``given_points``, ``DetectedPoints`` or another function from photo and image to landmarks; where
              it returns None, or points that no crop can be cut at, the face is missed
    about     to be kept with the embeddings, beside the embedder's name and hash
    batch     crops embedded at once

    Raises ProtocolError when there is no photo or no face in any of them, and when the embedder returns
    something else than a row of finite numbers for each crop.
    """
    names: list[str] = []
    broken: dict[str, str] = {}
    places: list[int] = []
    vectors: list[Floats] = []
    for found in _batches(_crops(photos, locate, names, broken), batch):
        places += [at for at, _ in found]
        vectors.append(_checked(embedder, np.stack([crop for _, crop in found])))
    if not vectors:
        raise ProtocolError(f"photos: no face was found in any of {len(names)} photos")
    rows = np.full((len(names), vectors[0].shape[1]), np.nan, np.float32)
    rows[places] = np.concatenate(vectors)
    return Embeddings(
        tuple(names), rows, {"model": embedder.name, "weights_sha256": embedder.sha256, **(about or {})}, broken
    )


def _crops(
    photos: Iterable[PersonPhoto], locate: Locate, names: list[str], broken: dict[str, str]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield place and crop of every face found; note all names, and why photos could not be read."""
    for photo in photos:
        at = len(names)
        names.append(photo.name)
        try:
            image = read_image(photo.path)
        except ImageError as error:
            broken[photo.name] = str(error)
            continue
        landmarks = locate(photo, image)
        if landmarks is None:
            continue
        try:
            yield at, align(image, landmarks[None], TEMPLATE_SIZE)[0]
        except AlignError:
            continue


def _batches(
    crops: Iterable[tuple[int, NDArray[np.uint8]]], size: int
) -> Iterator[list[tuple[int, NDArray[np.uint8]]]]:
    gathered: list[tuple[int, NDArray[np.uint8]]] = []
    for each in crops:
        gathered.append(each)
        if len(gathered) == size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _checked(embedder: Embedder, crops: NDArray[np.uint8]) -> Floats:
    vectors = np.asarray(embedder.embed_crops(crops), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(crops) or not np.isfinite(vectors).all():
        raise ProtocolError(
            f"embedder: {embedder.name} gave {vectors.shape} for {len(crops)} crops, or numbers that are not finite"
        )
    return vectors


def our_embedder(weights: str | Path | None = None, *, flip: bool = False) -> OurNetwork:
    """Return our own recognition network, with the weights that ship with the package or those given.

    ``flip`` is that of ``Recognizer``. Raises ImportError where the package has no recogniser, and what
    ``Recognizer`` raises for its weights.
    """
    recognizer = _recognizer(weights, "--embeddings FILE.npz", flip=flip)
    return OurNetwork(recognizer, recognizer.embed_crops)


def our_age_estimator(weights: str | Path | None = None) -> OurNetwork:
    """Return the same network as an estimator of ages: its embeddings are single numbers, years. Raises the same."""
    recognizer = _recognizer(weights, "--ages FILE")
    return OurNetwork(recognizer, lambda crops: np.asarray(recognizer.age_crops(crops), np.float32)[:, None])


def _recognizer(weights: str | Path | None, instead: str, **settings: Any) -> Any:
    try:
        recognizer = importlib.import_module("cascade.recognize").Recognizer
    except ImportError as error:
        raise ImportError(f"this version of cascade has no recogniser: give {instead} ({error})") from error
    return recognizer(weights=weights, **settings)


class OurNetwork:
    """Our recogniser as an Embedder.

    ``threshold`` is the one it verifies with, None where its weights state none; ``flip`` says whether it embeds mirror
    images too.
    """

    def __init__(self, recognizer: Any, embed_crops: Callable[[NDArray[np.uint8]], Floats]) -> None:
        self.embed_crops = embed_crops
        self.name = str(recognizer.weights.name)
        self.sha256 = str(recognizer.weights.sha256)
        self.flip = bool(getattr(recognizer, "flip", False))
        point = getattr(recognizer, "operating_point", None)
        self.threshold = None if point is None else float(point.threshold)


def write_embeddings(file: str | Path, embeddings: Embeddings) -> None:
    """Write an .npz file: ``names`` (N,) text, ``embeddings`` (N, D) float32, ``about`` one text of JSON.

    A new file can be read by its owner alone.
    """
    about = json.dumps({**embeddings.about, "broken": dict(embeddings.broken)}, ensure_ascii=False, allow_nan=False)
    with private_files.replacing(file) as stream:
        np.savez(stream, names=np.array(embeddings.names), embeddings=embeddings.vectors, about=np.array(about))


def read_embeddings(file: str | Path) -> Embeddings:
    """Read an .npz file with ``names`` (N,) text and ``embeddings`` (N, D) numbers, NaN for missed faces.

    Names are paths relative to the folder of the photos. What ``write_embeddings`` keeps beside them is read
    too; other models' files need not have it. ``about["embeddings_sha256"]`` is the hash of the file. Nothing
    is unpickled.

    Raises DatasetError, naming the file, for anything else.
    """
    file = Path(file)
    try:
        with file.open("rb") as stream:
            arrays = read_npz(stream, ("names", "embeddings", "about"))
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        names, vectors = arrays["names"], arrays["embeddings"]
        about = json.loads(str(arrays["about"])) if "about" in arrays else {}
        if names.ndim != 1 or names.dtype.kind != "U" or not isinstance(about, dict):
            raise ValueError(f"names: an array of text expected, got {names.dtype} of {names.shape}")
        broken = about.pop("broken", {})
        about["embeddings_sha256"] = sha256
        return Embeddings(tuple(names.tolist()), vectors, about, broken if isinstance(broken, dict) else {})
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{file}: not a file of embeddings: {str(error)[:200]}") from error
