"""Who is it, and how old: embeddings and ages of faces, and whether two photos show one person.

A face is cut out upright, 112×112 pixels (`cascade.imaging.alignment`), and a network makes an embedding of it: a point on the unit
sphere, near those of other photos of the person, whatever the age. The cosine of two embeddings is their similarity.

>>> from cascade.recognize import Recognizer
>>> Recognizer().verify("then.jpg", "now.jpg").same  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.detect import Detector
from cascade.engines.factory import number, thread_count
from cascade.engines.threads import Threads
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import TEMPLATE_SIZE, align
from cascade.imaging.reading import ImageInput, RGBImage, read_image
from cascade.models.detector import WeightsError
from cascade.models.recognizer import OUTPUTS, RecognizerWeights, load_recognizer

__all__ = ["Analysis", "FaceCountError", "OperatingPoint", "Recognizer", "Verification", "only_face"]

AGES = 101
"""Logits of the age output, one a year from 0 to 100."""


class FaceCountError(ValueError):
    """A photo of one person was expected, and it has no face or several; ``image`` says which, ``count`` how many."""

    def __init__(self, image: str, count: int) -> None:
        super().__init__(image, count)
        self.image = image
        self.count = count

    def __str__(self) -> str:
        hint = "; largest=True takes the largest" if self.count else ""
        return f"{self.image}: expected one face, found {self.count}{hint}"


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is to be said of n faces, in their order."""

    embeddings: FloatArray
    """(n, D) float32, rows of length 1."""
    ages: FloatArray
    """(n,) float32, years."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and how often decisions made with it were right and wrong where that was measured."""

    threshold: float
    """Similarity from which on two faces count as one person's."""
    false_accept_rate: float
    """Share of pairs of different people that reach it."""
    true_accept_rate: float
    """Share of pairs of one person that reach it."""
    measured_on: str


@dataclass(frozen=True)
class Verification:
    """Whether two photos show one person. It is a measurement with a known error rate, and no proof."""

    similarity: float
    """Cosine of the two embeddings, −1 to 1."""
    same: bool
    """Whether the similarity reaches the threshold."""
    threshold: float
    false_accept_rate: float | None
    """Share of pairs of different people that reached this threshold when it was measured; None for a threshold of
    one's own."""


class Recognizer:
    """Makes embeddings and ages of faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : name of shipped weights (`cascade.models.recognizer.shipped_recognizers`), a safetensors file, or what
        `load_recognizer` gave. None: the "light" network that comes with the package.
    threads : worker threads for one call; None takes one per available core, at most 4. Results do not depend on it.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, made when it is
        first needed.
    flip : embed the mirror image of each crop too and take the normalised sum of both. A little more accurate, for
        twice the time. Such embeddings can be compared with those made without.

    A Recognizer may be used from several threads at once and after a fork. Raises ValueError or TypeError naming the
    setting that is wrong, and `cascade.models.detector.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | Path | RecognizerWeights | None = None,
        threads: int | None = None,
        *,
        detector: Detector | None = None,
        flip: bool = False,
    ) -> None:
        if detector is not None and not isinstance(detector, Detector):
            raise TypeError(f"detector: expected a Detector, got {type(detector).__name__}")
        if not isinstance(flip, bool):
            raise TypeError(f"flip: expected True or False, got {flip!r}")
        self.weights = weights if isinstance(weights, RecognizerWeights) else load_recognizer(weights)
        self.threads = thread_count(threads)
        self.flip = flip
        self.operating_point = _operating_point(self.weights)
        self._network = _Network(self.weights, self.threads)
        self.dimension = self._network.dimension
        self._detector = detector
        self._settled = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_settled"):
            raise AttributeError(f"{name}: the settings of a Recognizer are fixed; make another one")
        super().__setattr__(name, value)

    @property
    def detector(self) -> Detector:
        """What finds the faces where none are given."""
        if self._detector is None:
            # no lock: several threads may each make one at first, and a lock might be held during a fork
            object.__setattr__(self, "_detector", Detector(threads=self.threads))
        assert self._detector is not None
        return self._detector

    def embed(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> FloatArray:
        """Embeddings of the faces of one image: (N, D) float32, rows of length 1, in the order of the faces.

        ``image`` is whatever `cascade.imaging.reading.read_image` takes. ``faces`` are `Faces`, or their landmarks (N, 5, 2) in
        pixels of the image as displayed; without them, the ``detector`` looks for them. No face gives (0, D).

        Raises `ImageError` if the image cannot be used, and `AlignError` naming the face whose landmarks are not
        finite, coincide or are of the wrong shape.
        """
        return self.embed_crops(self._crops(image, faces, color))

    def age(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> FloatArray:
        """Apparent ages of the faces of one image in years: (N,) float32, 0 to 100. See `embed`."""
        return self.age_crops(self._crops(image, faces, color))

    def analyze(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> Analysis:
        """Embeddings and ages in one pass. See `embed`."""
        crops = self._crops(image, faces, color)
        embeddings, ages = self._network.run(crops)
        return Analysis(self._unit_rows(embeddings, ages, crops), expected_ages(ages))

    def embed_crops(self, crops: RGBImage) -> FloatArray:
        """Embeddings (n, D) float32 of aligned crops (n, 112, 112, 3) uint8 RGB, as `cascade.imaging.alignment.align` cuts them.

        Raises ValueError or TypeError for another shape or type.
        """
        crops = _checked_crops(crops)
        return self._unit_rows(*self._network.run(crops), crops)

    def age_crops(self, crops: RGBImage) -> FloatArray:
        """Apparent ages (n,) float32 in years of aligned crops (n, 112, 112, 3) uint8 RGB. See `embed_crops`."""
        return expected_ages(self._network.run(_checked_crops(crops))[1])

    def verify(
        self,
        image_a: ImageInput,
        image_b: ImageInput,
        largest: bool = False,
        *,
        threshold: float | None = None,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> Verification:
        """Whether two photos, each of one person, show the same person.

        They do if the similarity reaches ``threshold``, −1 to 1; without it, the one that the weights come with, whose
        false accept rate was measured. With ``largest`` the largest face of each photo counts.

        Raises `FaceCountError` for a photo with no face, or with several and not ``largest``; `WeightsError` if no
        threshold is given and the weights come with none; otherwise as `embed`.
        """
        point = self.operating_point
        if threshold is not None:
            limit, false_accept_rate = number("threshold", threshold, -1.0, 1.0), None
        elif point is not None:
            limit, false_accept_rate = point.threshold, point.false_accept_rate
        else:
            raise WeightsError(f"weights: {self.weights.name} comes with no measured threshold; give threshold=")
        rows = []
        for name, image in (("image_a", image_a), ("image_b", image_b)):
            pixels = read_image(image, color=color)
            rows.append(self.embed(pixels, only_face(self.detector.detect(pixels), name, largest))[0])
        similarity = float(np.clip(rows[0] @ rows[1], -1.0, 1.0))
        return Verification(similarity, similarity >= limit, limit, false_accept_rate)

    def _crops(self, image: ImageInput, faces: Faces | npt.ArrayLike | None, color: Literal["rgb", "bgr"]) -> RGBImage:
        pixels = read_image(image, color=color)
        if faces is None:
            faces = self.detector.detect(pixels)
        if isinstance(faces, Faces):
            return faces.align(pixels)
        if isinstance(faces, (list, tuple)) and not faces:
            faces = np.empty((0, 5, 2))
        return align(pixels, faces)

    def _unit_rows(self, embeddings: FloatArray, ages: FloatArray, crops: RGBImage) -> FloatArray:
        """The network's embeddings of the crops without what their ages share, and of the mirror images if asked."""
        means = self.weights.age_means
        rows = centred_by_age(embeddings, ages, means)
        if self.flip:
            rows = _scaled(rows + centred_by_age(*self._network.run(crops[:, :, ::-1]), means))
        if not np.isfinite(rows).all():
            raise WeightsError(f"weights: {self.weights.name} makes embeddings of no length or no finite one")
        return rows


def only_face(faces: Faces, image: str = "image", largest: bool = False) -> Faces:
    """The one face of a photo, as `Faces` of one; with ``largest`` that of the largest box, the surer of equal ones.

    ``image`` is what the photo is called in the error. Raises `FaceCountError` if there is not exactly one, or with
    ``largest`` none at all.
    """
    if not len(faces) or (len(faces) > 1 and not largest):
        raise FaceCountError(image, len(faces))
    sides = faces.boxes[:, 2:].astype(np.float64) - faces.boxes[:, :2]
    return faces[[int(np.argmax(sides.prod(axis=1)))]]


def expected_ages(logits: FloatArray) -> FloatArray:
    """Ages (n,) float32 in years from logits (n, 101): the expectation over 0…100 (DEX, Rothe et al. 2015)."""
    return np.asarray(_probabilities(logits) @ np.arange(AGES), np.float32)


def _probabilities(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Softmax (n, 101) float64 of each row."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf), dtype=np.float64)
    found: npt.NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return found


def centred_by_age(embeddings: FloatArray, logits: FloatArray, means: FloatArray | None) -> FloatArray:
    """Embeddings (n, D) of length 1, without what faces of their ages have in common.

    Faces of one age are more alike than faces of two, most of all children's, though they are different people. So the
    mean embedding of the age, from ``means`` (101, D) by the probabilities of the logits (n, 101), is taken from each
    embedding, which is scaled to length 1 before and after. Without ``means`` it is only scaled.
    """
    rows = _scaled(embeddings)
    if means is None:
        return rows
    return _scaled(rows - np.asarray(_probabilities(logits) @ means, np.float32))


class _Network:
    """The network in C, and the threads that run it."""

    def __init__(self, weights: RecognizerWeights, threads: int) -> None:
        graph = weights.graph
        if graph.input_size != TEMPLATE_SIZE:
            raise WeightsError(f"weights: {weights.path} takes crops of {graph.input_size} pixels, not {TEMPLATE_SIZE}")
        self._graph = _native.Graph(weights.nodes(), graph.input_size, [graph.outputs[name] for name in OUTPUTS])
        self.dimension, ages = self._graph.outputs
        if ages != AGES:
            raise WeightsError(f"weights: {weights.path} has {ages} ages, expected {AGES}, one a year from 0 to 100")
        self._workers = Threads(threads)

    def run(self, crops: RGBImage) -> tuple[FloatArray, FloatArray]:
        """What it makes of crops (n, 112, 112, 3): embeddings (n, D) of any length, and logits of ages (n, 101)."""

        embeddings, ages = self._graph.run(np.ascontiguousarray(crops), self._workers.pool)
        return embeddings, ages


def _operating_point(weights: RecognizerWeights) -> OperatingPoint | None:
    """What the weight file says of verification, None if nothing. Raises `WeightsError` for what cannot be."""
    stated: Any = weights.metadata.get("verification")
    if stated is None:
        return None
    try:
        point = OperatingPoint(
            float(stated["threshold"]),
            float(stated["false_accept_rate"]),
            float(stated["true_accept_rate"]),
            str(stated["measured_on"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(f"weights: {weights.path} states its verification threshold wrongly ({error!r})") from error
    rates = (point.false_accept_rate, point.true_accept_rate)
    if not (-1 <= point.threshold <= 1 and all(0 <= rate <= 1 for rate in rates)):
        raise WeightsError(f"weights: {weights.path} states an impossible verification threshold or rate: {stated}")
    return point


def _checked_crops(crops: Any) -> RGBImage:
    if not isinstance(crops, np.ndarray):
        raise TypeError(f"crops: expected a numpy array, got {type(crops).__name__}")
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (TEMPLATE_SIZE, TEMPLATE_SIZE, 3):
        hint = "; for one crop pass crop[None]" if crops.ndim == 3 else ""
        raise ValueError(
            f"crops: expected uint8 (n, {TEMPLATE_SIZE}, {TEMPLATE_SIZE}, 3), got {crops.dtype} {crops.shape}{hint}"
        )
    return crops


def _scaled(rows: FloatArray) -> FloatArray:
    """Rows (n, D) scaled to length 1; NaN where a row has no direction."""
    lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(rows / lengths, np.float32)
