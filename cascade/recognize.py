"""Embeddings and ages of faces, and whether two photos show the same person.

A network computes an embedding of an aligned crop of 112×112 pixels (`cascade.imaging.alignment`): a point on the unit
sphere, near the points of other photos of the person at any age. The cosine of two embeddings is their similarity.

>>> from cascade.recognize import Recognizer
>>> Recognizer().verify("then.jpg", "now.jpg").same  # doctest: +SKIP
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.calibration import Calibration, calibration_of
from cascade.checks import boolean, number
from cascade.detect import Detector
from cascade.engines.threads import Threads
from cascade.enrolment import FaceCountError, FaceSizeError, check_enrolment, only_face, suitability
from cascade.face_model import TOO_SMALL, UsesDetector, check_crops, landmarks_of, recreated
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import TEMPLATE_SIZE, align
from cascade.imaging.errors import ImageError
from cascade.imaging.reading import ImageInput, RGBImage, read_image
from cascade.models.files import WeightsError
from cascade.models.recognizer import OUTPUTS, RecognizerWeights, load_recognizer
from cascade.operating_point import OperatingPoint, SizeRate, face_sizes, operating_point_of
from cascade.quality import ROTATED_HINT, FaceQualityError, is_rotated

__all__ = [
    "Analysis",
    "Calibration",
    "FaceCountError",
    "FaceQualityError",
    "FaceSizeError",
    "OperatingPoint",
    "Recognizer",
    "SizeRate",
    "Verification",
    "face_sizes",
    "only_face",
]

AGES = 101
"""Logits of the age output, one for each year from 0 to 100."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Embeddings and ages of n faces, in their order."""

    embeddings: FloatArray
    """(n, D) float32, rows of length 1."""
    ages: FloatArray
    """(n,) float32, years."""


@dataclass(frozen=True)
class Verification:
    """Whether two photos show one person: a measurement with a known error rate, not proof."""

    similarity: float
    """Cosine of the two embeddings, −1 to 1."""
    same: bool | None
    """Whether the similarity reaches the threshold; None if the faces are too small to tell, see `warning`."""
    threshold: float
    false_accept_rate: float | None
    """Share of pairs of different people, with faces of these sizes, that reach the threshold; None if unknown."""
    true_accept_rate: float | None = None
    """The same of pairs of one person."""
    face_sizes: tuple[float, float] | None = None
    """Pixels: the geometric mean of width and height of each face's box."""
    warning: str | None = None
    """What to heed if the faces are small, or if there are `problems`."""
    probability: float | None = None
    """That both are one person's, if as many pairs of one person are compared as of two; None for small faces, and for
    weights without a `Calibration`, which has it for other shares."""
    problems: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """What is wrong with each face: any of "too small", "blurred", "profile", "badly lit" and "rotated by 180°"."""


class Recognizer(UsesDetector):
    """Computes embeddings and ages of faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : name of shipped weights (`cascade.models.recognizer.shipped_recognizers`), a safetensors file, or the
        result of `load_recognizer`. None: the "light" network that comes with the package.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, created on first
        use.
    flip : embed the mirror image of each crop too and take the normalised sum of both. A little more accurate, for
        twice the time. Embeddings with and without it can be compared.

    A Recognizer can be used from several threads at once and after a fork, and it can be copied and pickled, with its
    weights. Raises ValueError or TypeError naming the
    setting that is wrong, and `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | RecognizerWeights | None = None,
        threads: int | None = None,
        *,
        detector: Detector | None = None,
        flip: bool = False,
    ) -> None:
        self._set_detector(threads, detector)
        self.weights = weights if isinstance(weights, RecognizerWeights) else load_recognizer(weights)
        self.flip = boolean("flip", flip)
        self.operating_point = operating_point_of(self.weights.metadata, self.weights.path)
        self.calibration = calibration_of(self.weights.metadata, self.weights.path)
        self._network = _Network(self.weights, self.threads)
        self.dimension = self._network.dimension
        self._fix_settings()

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {"weights": self.weights, "threads": self.threads, "flip": self.flip}
        return recreated, (type(self), {**settings, "detector": self._given_detector})

    def embed(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> FloatArray:
        """Embeddings of the faces of one image: (N, D) float32, rows of length 1, in the order of the faces.

        ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their landmarks (N, 5, 2) in pixels
        of the image as displayed; without them, the ``detector`` finds the faces. No face gives (0, D).

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
        """Deprecated: use `cascade.attributes.AttributeEstimator`, which has a network for ages.

        These are the ages by which the recogniser compares people, see `analyze`: (N,) float32 in years, 0 to 100.
        """
        warnings.warn(
            "Recognizer.age is deprecated: use cascade.attributes.AttributeEstimator(tasks=('age',))",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.age_crops(self._crops(image, faces, color))

    def analyze(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> Analysis:
        """Embeddings in one pass with the ages that they were compared by. See `embed`.

        For the ages themselves use `cascade.attributes.AttributeEstimator`, which is more accurate.
        """
        crops = self._crops(image, faces, color)
        embeddings, ages = self._network.run(crops)
        return Analysis(self._unit_rows(embeddings, ages, crops), expected_ages(ages))

    def embed_crops(self, crops: RGBImage) -> FloatArray:
        """Embeddings (n, D) float32 of aligned crops (n, 112, 112, 3) uint8 RGB: see `cascade.imaging.alignment.align`.

        Raises ValueError or TypeError for another shape or type.
        """
        check_crops(crops, TEMPLATE_SIZE)
        return self._unit_rows(*self._network.run(crops), crops)

    def age_crops(self, crops: RGBImage) -> FloatArray:
        """Apparent ages (n,) float32 in years of aligned crops (n, 112, 112, 3) uint8 RGB. See `embed_crops`."""
        check_crops(crops, TEMPLATE_SIZE)
        return expected_ages(self._network.run(crops)[1])

    def enrol(
        self,
        image: ImageInput,
        largest: bool = False,
        *,
        allow_small: bool = False,
        allow_poor: bool = False,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> FloatArray:
        """The embedding (D,) of the one face of a photo, to store a person by, as in a `cascade.Gallery`.

        With ``largest`` the largest face is taken. Raises `FaceCountError` for a photo without a face, or with several
        and not ``largest``; `FaceSizeError` for a face that is small by the weights' operating point and not
        ``allow_small``; `FaceQualityError` for one that is blurred, a profile, badly lit or rotated and not
        ``allow_poor``; otherwise as `embed`.
        """
        pixels = read_image(image, color=color)
        name = str(image) if isinstance(image, (str, Path)) else "image"
        face = only_face(self.detector.detect(pixels), name, largest)
        allowed = {"allow_small": allow_small, "allow_poor": allow_poor}
        check_enrolment(pixels, face, self.operating_point, name, **allowed, rotations=self.detector.rotations)
        embedding: FloatArray = self.embed(pixels, face)[0]
        return embedding

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

        They do if the similarity reaches ``threshold``, −1 to 1. Without it, the threshold in the weight file is used,
        whose false accept rate was measured, for small faces too. Small faces give a warning, and where the rate is
        more than ten times that for large faces, ``same`` is None. Faces that `enrol` would refuse give a warning, too,
        and ``problems`` says what is wrong with each. ``probability`` says what the similarity means for
        faces that look so old. With ``largest`` the largest face of each photo is taken.

        Raises `FaceCountError` for a photo without a face, or with several and not ``largest``; `WeightsError` if no
        threshold is given and the weights have none; `ImageError`, naming ``image_a`` or ``image_b``; otherwise as
        `embed`.
        """
        point = self.operating_point
        if threshold is not None:
            limit = number("threshold", threshold, -1.0, 1.0)
        elif point is not None:
            limit = point.threshold
        else:
            raise WeightsError(f"weights: {self.weights.name} has no measured threshold; give threshold=")
        rows, measured, ages = [], [], []
        for name, image in (("image_a", image_a), ("image_b", image_b)):
            pixels = _named_image(name, image, color)
            face = only_face(self.detector.detect(pixels), name, largest)
            found = self.analyze(pixels, face)
            rows.append(found.embeddings[0])
            ages.append(float(found.ages[0]))
            measured.append(suitability(pixels, face, point, self.detector.rotations))
        similarity = float(np.clip(rows[0] @ rows[1], -1.0, 1.0))
        first, second = measured
        result = Verification(similarity, similarity >= limit, limit, None, None, (first.size, second.size))
        if point is not None:
            result = _with_rates(result, point, threshold is None)
        if self.calibration is not None and result.warning is None:
            result = replace(result, probability=self.calibration.probability(similarity, *ages))
        return _with_problems(result, first.problems, second.problems)

    def _crops(self, image: ImageInput, faces: Faces | npt.ArrayLike | None, color: Literal["rgb", "bgr"]) -> RGBImage:
        pixels, faces = self._read(image, faces, color)
        return align(pixels, landmarks_of(faces))

    def _unit_rows(self, embeddings: FloatArray, ages: FloatArray, crops: RGBImage) -> FloatArray:
        """Embeddings after age-mean subtraction, with those of the mirror images if ``flip`` is set."""
        means = self.weights.age_means
        rows = centred_by_age(embeddings, ages, means)
        if self.flip:
            rows = _scaled(rows + centred_by_age(*self._network.run(crops[:, :, ::-1]), means))
        if not np.isfinite(rows).all():
            raise WeightsError(f"weights: {self.weights.name} gives an embedding that is zero or not finite")
        return rows


def expected_ages(logits: FloatArray) -> FloatArray:
    """Ages (n,) float32 in years from logits (n, 101): the expectation over 0…100 (DEX, Rothe et al. 2015)."""
    return np.asarray(_probabilities(logits) @ np.arange(AGES), np.float32)


def _probabilities(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Softmax (n, 101) float64 of each row."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf), dtype=np.float64)
    found: npt.NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return found


def centred_by_age(embeddings: FloatArray, logits: FloatArray, means: FloatArray | None) -> FloatArray:
    """Embeddings (n, D) of length 1 after age-mean subtraction.

    Different people of the same age are more alike than people of different ages, children most of all. So the mean
    embedding of the age, which is ``means`` (101, D) weighted by the probabilities of the logits (n, 101), is
    subtracted from each embedding. Embeddings are scaled to length 1 before and after. Without ``means`` they are only
    scaled.
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
        self._threads = Threads(threads)

    def run(self, crops: RGBImage) -> tuple[FloatArray, FloatArray]:
        """Embeddings (n, D), not normalised, and logits of ages (n, 101) of crops (n, 112, 112, 3)."""
        embeddings, ages = self._graph.run(np.ascontiguousarray(crops), self._threads.pool)
        return embeddings, ages


def _named_image(name: str, image: ImageInput, color: Literal["rgb", "bgr"]) -> RGBImage:
    """The pixels of an argument. Raises `ImageError` naming it."""
    try:
        return read_image(image, color=color)
    except ImageError as error:
        raise ImageError(f"{name}: {str(error).removeprefix('image: ')}") from error


def _with_rates(result: Verification, point: OperatingPoint, own_threshold: bool) -> Verification:
    """The result with the rates for faces of its sizes, if its threshold is the operating point's, and a warning."""
    assert result.face_sizes is not None
    small, too_small = point.is_small(*result.face_sizes), point.is_too_small(*result.face_sizes)
    first, second = result.face_sizes
    of_size = f"the faces have {first:.0f} and {second:.0f} pixels"
    if own_threshold and too_small:
        warning = (
            f"{of_size}, which is too small to tell: use photos with faces of {point.smallest_good_face:.0f} pixels"
        )
        return replace(result, same=None, **_rates(point, result.face_sizes), warning=warning)
    warning = f"{of_size}: faces below {point.smallest_good_face:.0f} pixels are more often taken for other people's"
    rates = _rates(point, result.face_sizes) if own_threshold else {}
    return replace(result, **rates, warning=warning if small else None)


def _with_problems(result: Verification, first: tuple[str, ...], second: tuple[str, ...]) -> Verification:
    """The result with what is wrong with either face, also in its warning, which may tell of small ones already."""
    told = [] if result.warning is None else [result.warning]
    for place, found in (("first", first), ("second", second)):
        others = [problem for problem in found if problem != TOO_SMALL or result.warning is None]
        if others:
            told.append(f"{place} face: {', '.join(others)}")
    if is_rotated(first + second):
        told.append(ROTATED_HINT)
    warning = "; ".join(told)
    return replace(result, warning=warning or None, problems=(first, second))


def _rates(point: OperatingPoint, sizes: tuple[float, float]) -> dict[str, Any]:
    false, true = point.rates_at(*sizes) or (None, None)
    return {"false_accept_rate": false, "true_accept_rate": true}


def _scaled(rows: FloatArray) -> FloatArray:
    """Rows (n, D) scaled to length 1; NaN for a row of zeros."""
    lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(rows / lengths, np.float32)
