"""What a face looks like: age, gender, expression and smile, and ethnicity where it is asked for by name.

All of it is as perceived from the photo, not what a person is. It errs more on some groups than on others; the model
card of the weights has the figures. The EU AI Act forbids inferring race from biometric data, and emotions at work and
in schools.

>>> from cascade.attributes import AttributeEstimator
>>> AttributeEstimator().predict("photo.jpg").age  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.checks import FixedSettings, number, thread_count
from cascade.detect import Detector
from cascade.engines.threads import Threads
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE, align, similarity_transforms
from cascade.imaging.reading import ImageInput, RGBImage, read_image
from cascade.models.attributes import AttributeTask, AttributeWeights, load_attributes
from cascade.models.files import WeightsError
from cascade.nn.graphs import native_nodes

__all__ = ["BY_NAME", "AttributeEstimator", "Attributes"]

BY_NAME = ("ethnicity",)
"""Tasks that are computed only where they are asked for by name."""

FACE = 0.7
"""Side of a detector's box over that of the aligned crop."""


@dataclass(frozen=True, eq=False)
class Attributes:
    """What the network says of N faces, in their order. A face too small to tell has NaN in every array."""

    classes: Mapping[str, tuple[str, ...]]
    """The classes of each classification."""
    probabilities: Mapping[str, FloatArray]
    """(N, classes) float32 for each classification."""
    values: Mapping[str, FloatArray]
    """(N,) float32 for each task with numbers: the expected age in years as "age"."""
    told: npt.NDArray[np.bool_]
    """(N,) whether the face was large enough."""

    def __len__(self) -> int:
        return len(self.told)

    @property
    def age(self) -> FloatArray:
        """(N,) float32, the expected age in years. Raises KeyError where it was not asked for."""
        return self.values["age"]

    def labels(self, task: str) -> list[str | None]:
        """The most probable class of each face; None for one too small. Raises KeyError for another task."""
        names, told = self.classes[task], self.told.tolist()
        best = np.nan_to_num(self.probabilities[task]).argmax(axis=1)
        return [names[at] if tells else None for at, tells in zip(best.tolist(), told, strict=True)]

    def data(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for `Faces.with_data`: numbers by their task, labels as text ("" for a face too small)."""
        found: dict[str, npt.NDArray[Any]] = dict(self.values)
        for task in self.classes:
            found[task] = np.array([label or "" for label in self.labels(task)], np.str_)
            found[f"{task}_probability"] = self.probabilities[task].max(axis=1, initial=-np.inf)
        return found


class AttributeEstimator(FixedSettings):
    """Says how faces look, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : name of shipped weights (`cascade.models.attributes.shipped_attributes`), a safetensors file, or the
        result of `load_attributes`. None: the network that comes with the package.
    tasks : what to compute, by name. None: all that the network can but those in `BY_NAME`.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it.
    min_face : side of a face in pixels of the photo, 0 to 1000, below which nothing is said of it.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, created on first use.

    It can be used from several threads at once and after a fork. Raises ValueError or TypeError naming a wrong setting,
    and `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | Path | AttributeWeights | None = None,
        tasks: Iterable[str] | None = None,
        threads: int | None = None,
        *,
        min_face: float = 24,
        detector: Detector | None = None,
    ) -> None:
        if detector is not None and not isinstance(detector, Detector):
            raise TypeError(f"detector: expected a Detector, got {type(detector).__name__}")
        self.weights = weights if isinstance(weights, AttributeWeights) else load_attributes(weights)
        self.tasks = _chosen(self.weights, tasks)
        self.threads = thread_count(threads)
        self.min_face = number("min_face", min_face, 0, 1000)
        graph, tensors = self.weights.part(self.tasks)
        if graph.input_size != TEMPLATE_SIZE:
            path = self.weights.path
            raise WeightsError(f"weights: {path} takes crops of {graph.input_size} pixels, not {TEMPLATE_SIZE}")
        self._graph = _native.Graph(
            native_nodes(graph, tensors), graph.input_size, [graph.outputs[name] for name in self.tasks]
        )
        self._threads = Threads(self.threads)
        self._detector = detector
        self._fix_settings()

    @property
    def detector(self) -> Detector:
        """The detector that finds the faces where none are given."""
        if self._detector is None:
            self._detector = Detector(threads=self.threads)
        return self._detector

    def predict(
        self, image: ImageInput, faces: Faces | npt.ArrayLike | None = None, *, color: Literal["rgb", "bgr"] = "rgb"
    ) -> Attributes:
        """What the faces of one image look like, in the order of the faces.

        ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their landmarks (N, 5, 2) in pixels
        of the image as displayed; without them, the ``detector`` finds the faces.

        Raises `ImageError` if the image cannot be used, and `AlignError` naming the face whose landmarks are not
        finite, coincide or are of the wrong shape.
        """
        pixels = read_image(image, color=color)
        if faces is None:
            faces = self.detector.detect(pixels)
        points = faces.landmarks if isinstance(faces, Faces) else np.asarray(faces, np.float32)
        points = points.reshape(-1, 5, 2) if points.size == 0 else points
        crops = align(pixels, points)
        scale = similarity_transforms(points, ARCFACE_TEMPLATE)[:, :, 0]
        sides = FACE * TEMPLATE_SIZE / np.maximum(np.hypot(scale[:, 0], scale[:, 1]), 1e-9)
        return self._answers(crops, sides >= self.min_face)

    def predict_crops(self, crops: RGBImage) -> Attributes:
        """The same of aligned crops (n, 112, 112, 3) uint8 RGB: see `cascade.imaging.alignment.align`.

        Raises ValueError or TypeError for another shape or type.
        """
        if not isinstance(crops, np.ndarray):
            raise TypeError(f"crops: expected a numpy array, got {type(crops).__name__}")
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (TEMPLATE_SIZE, TEMPLATE_SIZE, 3):
            raise ValueError(f"crops: expected uint8 (n, 112, 112, 3), got {crops.dtype} {crops.shape}")
        return self._answers(crops, np.ones(len(crops), bool))

    def _answers(self, crops: RGBImage, told: npt.NDArray[np.bool_]) -> Attributes:
        """What the network says of the crops that are large enough."""
        outputs = self._graph.run(np.ascontiguousarray(crops[told]), self._threads.pool)
        classes: dict[str, tuple[str, ...]] = {}
        probabilities: dict[str, FloatArray] = {}
        values: dict[str, FloatArray] = {}
        described = {task.name: task for task in self.weights.tasks}
        for name, output in zip(self.tasks, outputs, strict=True):
            task = described[name]
            answer = np.full((len(told), *(() if task.kind != "classification" else (task.outputs,))), np.nan)
            answer[told] = _answer(task, output.astype(np.float64))
            if task.kind == "classification":
                classes[name], probabilities[name] = task.classes, answer.astype(np.float32)
            else:
                values[name] = answer.astype(np.float32)
        return Attributes(classes, probabilities, values, told)


def _answer(task: AttributeTask, output: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities (n, classes), or the expected number (n,)."""
    if task.kind == "regression":
        return np.asarray(np.clip(output[:, 0], 0, 1) * (task.high - task.low) + task.low)
    shares = np.exp(output - output.max(axis=1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares if task.kind == "classification" else np.asarray(shares @ (task.low + np.arange(task.outputs)))


def _chosen(weights: AttributeWeights, tasks: Iterable[str] | None) -> tuple[str, ...]:
    """The names of the tasks to compute, in the order asked for."""
    known = [task.name for task in weights.tasks]
    if tasks is None:
        tasks = [name for name in known if name not in BY_NAME]
    chosen = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    for name in chosen:
        if name not in known:
            raise ValueError(f"tasks: expected some of {', '.join(known)}, got {name!r}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"tasks: expected different ones of {', '.join(known)}, got {list(chosen)}")
    return chosen
