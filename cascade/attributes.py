"""What a face looks like: age, gender, expression and smile, and ethnicity where it is asked for by name.

All of it is as perceived from the photo, not what a person is. It errs more on some groups than on others; the model
card of the weights has the figures. The EU AI Act forbids inferring race from biometric data, and emotions at work and
in schools.

>>> from cascade.attributes import AttributeEstimator
>>> AttributeEstimator().predict("photo.jpg").age  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.age_groups import age_groups, group_numbers
from cascade.detect import Detector
from cascade.face_model import CHUNK, FaceModel, check_crops, checked_images, recreated
from cascade.faces import Faces, FloatArray
from cascade.imaging.alignment import TEMPLATE_SIZE, align
from cascade.imaging.reading import ImageInput, RGBImage
from cascade.models.attributes import AttributeWeights, load_attributes
from cascade.models.files import WeightsError
from cascade.nn.graphs import native_nodes

__all__ = ["BY_NAME", "AttributeEstimator", "Attributes"]

BY_NAME = ("ethnicity",)
"""Tasks that are computed only where they are asked for by name."""


@dataclass(frozen=True, eq=False)
class Attributes:
    """What the network says of N faces, in their order. A face that is not known has NaN in every array.

    All arrays are read-only.
    """

    classes: Mapping[str, tuple[str, ...]]
    """By task, the classes of its probabilities. Those of an ordinal task are its numbers: "0", "1" … years of age."""
    probabilities: Mapping[str, FloatArray]
    """By task, (N, classes) float32; a task with one number for each face has none."""
    values: Mapping[str, FloatArray]
    """By task with numbers, (N,) float32: the expected age in years as "age"."""
    unknown: tuple[str, ...]
    """Why a face is not known, "too small" or "profile"; "" where it is."""

    def __post_init__(self) -> None:
        for name in ("classes", "probabilities", "values"):
            for array in getattr(self, name).values():
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        return Attributes, (dict(self.classes), dict(self.probabilities), dict(self.values), self.unknown)

    def __len__(self) -> int:
        return len(self.unknown)

    def __repr__(self) -> str:
        told = [self._in_words(at) for at in range(min(len(self), 3))]
        more = [f"{len(self) - 3} more"] * (len(self) > 3)
        return f"<Attributes: {'; '.join([str(len(self)), *told, *more]) if len(self) else 'none'}>"

    def _in_words(self, at: int) -> str:
        """What is said of one face."""
        if self.unknown[at]:
            return f"not known ({self.unknown[at]})"
        words = [f"{task} {values[at]:.1f}" for task, values in self.values.items()]
        return ", ".join(
            words + [f"{task} {self.labels(task)[at]}" for task in self.classes if task not in self.values]
        )

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the attributes of the face are known."""
        return np.array([not reason for reason in self.unknown], bool)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What was computed."""
        return tuple(dict.fromkeys((*self.values, *self.classes)))

    @property
    def age(self) -> FloatArray:
        """(N,) float32, the expected age in years. Raises KeyError where it was not asked for."""
        return self.values["age"]

    def age_groups(self, groups: str = "twelve") -> tuple[tuple[str, ...], FloatArray]:
        """Names of age groups, and their probabilities (N, groups) float32.

        ``groups`` is one of `cascade.age_groups.AGE_GROUPS`: "twelve" decades, "nine", "six" or "three". Raises
        ValueError for another name, and KeyError where the age was not asked for.
        """
        chosen = age_groups(groups)
        years = np.array(self.classes["age"], np.float64)
        belongs = group_numbers(years, chosen)[:, None] == np.arange(len(chosen))
        shares = self.probabilities["age"].astype(np.float64) @ belongs
        return tuple(name for name, _, _ in chosen), shares.astype(np.float32)

    def labels(self, task: str) -> list[str | None]:
        """The most probable class of each face; None where it is not known. Raises KeyError for another task."""
        return _best(self.classes[task], self.probabilities[task])

    def data(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for `Faces.with_data`: numbers and labels by their task, and a label's probability beside it.

        A face that is not known has NaN and "", and the reason in "unknown".
        """
        found: dict[str, npt.NDArray[Any]] = dict(self.values)
        for task in self.classes:
            if task not in self.values:
                found[task] = np.array([label or "" for label in self.labels(task)], np.str_)
                found[f"{task}_probability"] = self.probabilities[task].max(axis=1)
        return {**found, "unknown": np.array(self.unknown, np.str_)}


class AttributeEstimator(FaceModel):
    """Says how faces look, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : name of shipped weights (`cascade.models.attributes.shipped_attributes`), a safetensors file, or the
        result of `load_attributes`. None: the network that comes with the package.
    tasks : what to compute, by name. None: all that the network can but those in `BY_NAME`.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it.
    min_face : side of a face in pixels of the photo, 0 to 1000, below which nothing is said of it.
    max_yaw : degrees, 0 to 90, the largest yaw to either side; beyond, nothing is said of the face.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, created on first use.

    It can be used from several threads at once and after a fork, and it can be copied and pickled, with its weights.
    Raises ValueError or TypeError naming a wrong setting, and `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | AttributeWeights | None = None,
        tasks: Iterable[str] | None = None,
        threads: int | None = None,
        *,
        min_face: float = 24,
        max_yaw: float = 75,
        detector: Detector | None = None,
    ) -> None:
        self._set_common(threads, min_face, max_yaw, detector)
        self.weights = weights if isinstance(weights, AttributeWeights) else load_attributes(weights)
        self.tasks = _chosen(self.weights, tasks)
        graph, tensors = self.weights.part(self.tasks)
        if graph.input_size != TEMPLATE_SIZE:
            path = self.weights.path
            raise WeightsError(f"weights: {path} takes crops of {graph.input_size} pixels, not {TEMPLATE_SIZE}")
        self._graph = _native.Graph(
            native_nodes(graph, tensors), graph.input_size, [graph.outputs[name] for name in self.tasks]
        )
        self._fix_settings()

    def __reduce__(self) -> tuple[Any, ...]:
        return recreated, (type(self), {"weights": self.weights, "tasks": self.tasks, **self._common()})

    def predict(
        self, image: ImageInput, faces: Faces | npt.ArrayLike | None = None, *, color: Literal["rgb", "bgr"] = "rgb"
    ) -> Attributes:
        """What the faces of one image look like, in the order of the faces.

        ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their landmarks (N, 5, 2) in pixels
        of the image as displayed; without them, the ``detector`` finds the faces.

        Raises `ImageError` if the image cannot be used, and `AlignError` naming the face whose landmarks are not
        finite, coincide or are of the wrong shape.
        """
        pixels, points, _ = self._located(image, faces, color)
        return self._predict(pixels, points)

    def predict_batch(
        self, images: Iterable[ImageInput], *, color: Literal["rgb", "bgr"] = "rgb"
    ) -> list[tuple[Faces, Attributes]]:
        """The faces of several images, and what they look like: the same as the detector and `predict` on each.

        Raises as `predict`, and TypeError where ``images`` is one image.
        """
        found = []
        for image in checked_images(images):
            pixels, points, faces = self._located(image, None, color)
            assert faces is not None
            found.append((faces, self._predict(pixels, points)))
        return found

    def analyze(self, image: ImageInput, faces: Faces | None = None, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """The faces, found or given, with what they look like in ``data``: see `Attributes.data` and `predict`."""
        pixels, points, located = self._located(image, faces, color)
        if located is None:
            raise TypeError(f"faces: expected Faces, got {type(faces).__name__}")
        return located.with_data(self._predict(pixels, points).data())

    def predict_crops(self, crops: RGBImage) -> Attributes:
        """The same of aligned crops (n, 112, 112, 3) uint8 RGB: see `cascade.imaging.alignment.align`.

        Raises ValueError or TypeError for another shape or type.
        """
        check_crops(crops, TEMPLATE_SIZE)
        return self._attributes(self._outputs(crops), ("",) * len(crops))

    def _predict(self, pixels: RGBImage, points: npt.NDArray[np.float32]) -> Attributes:
        unknown = self._unknown(pixels, points)
        chosen = np.flatnonzero([not reason for reason in unknown])
        parts = [
            self._outputs(align(pixels, points[chosen[first : first + CHUNK]]))
            for first in range(0, max(1, len(chosen)), CHUNK)
        ]
        return self._attributes([np.concatenate(each) for each in zip(*parts, strict=True)], unknown)

    def _outputs(self, crops: RGBImage) -> list[FloatArray]:
        """The outputs of each task for aligned crops."""
        return list(self._graph.run(np.ascontiguousarray(crops), self._threads.pool))

    def _attributes(self, outputs: list[FloatArray], unknown: tuple[str, ...]) -> Attributes:
        """The answers of all faces from the outputs of those that are known."""
        known = np.array([not reason for reason in unknown], bool)
        classes: dict[str, tuple[str, ...]] = {}
        probabilities: dict[str, FloatArray] = {}
        values: dict[str, FloatArray] = {}
        described = {task.name: task for task in self.weights.tasks}
        for name, output in zip(self.tasks, outputs, strict=True):
            task = described[name]
            if task.kind == "regression":
                share = np.clip(output[:, 0].astype(np.float64), 0, 1)
                values[name] = _of_all(share * (task.high - task.low) + task.low, known)
                continue
            shares = _softmax(output.astype(np.float64))
            classes[name], probabilities[name] = task.class_names, _of_all(shares, known)
            if task.kind == "ordinal":
                values[name] = _of_all(shares @ (task.low + np.arange(task.outputs)), known)
        return Attributes(classes, probabilities, values, unknown)


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _of_all(rows: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> FloatArray:
    """The rows of the faces that are known in the place of each, and NaN for the others, float32."""
    found = np.full((len(known), *rows.shape[1:]), np.nan, np.float32)
    found[known] = rows
    return found


def _best(classes: tuple[str, ...], probabilities: FloatArray) -> list[str | None]:
    """The most probable class of each row; None for NaN."""
    known = np.isfinite(probabilities).all(axis=1)
    best = np.where(known, np.nan_to_num(probabilities).argmax(axis=1), -1)
    return [classes[at] if at >= 0 else None for at in best.tolist()]


def _chosen(weights: AttributeWeights, tasks: Iterable[str] | None) -> tuple[str, ...]:
    """The names of the tasks to compute, in the order asked for."""
    known = [task.name for task in weights.tasks]
    if tasks is None:
        tasks = [name for name in known if name not in BY_NAME]
    try:
        chosen = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    except TypeError:
        raise TypeError(f"tasks: expected names of {', '.join(known)}, got {type(tasks).__name__}") from None
    for name in chosen:
        if name not in known:
            raise ValueError(f"tasks: expected some of {', '.join(known)}, got {name!r}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"tasks: expected different ones of {', '.join(known)}, got {list(chosen)}")
    return chosen
