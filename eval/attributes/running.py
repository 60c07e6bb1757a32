"""Our own network on photos of one face each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.age_groups import AGE_GROUPS
from cascade.attributes import AttributeEstimator, Attributes
from cascade.datasets import LabelledPhoto
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, RGBImage
from cascade.single_face import align_as_usual, find_single_face
from eval.attributes.predictions import AGE, Predictions, task_of_groups

__all__ = ["run_on_photos"]

BATCH = 64


def run_on_photos(
    photos: Sequence[LabelledPhoto], read: Iterable[LabelledPhoto], estimator: AttributeEstimator, crops: bool
) -> Predictions:
    """The answers for the one face of each photo; ``read`` are the photos again, perhaps with a progress bar.

    In ``crops`` of one face the detector need not be sure, and where it finds none, the crop is aligned by the median
    landmarks of the others; of photos as taken the largest face is meant, and one without a face has no answer.
    """
    broken: dict[str, str] = {}
    cut: list[RGBImage | None] = []
    landmarks: list[NDArray[np.float32]] = []
    for photo in read:
        try:
            face = find_single_face(photo.path, crops)
        except (ImageError, AlignError) as error:
            broken[photo.name] = str(error)
            face = None
        cut.append(None if face is None else face.crop)
        if face is not None:
            landmarks.append(face.landmarks)
    faceless = [at for at, crop in enumerate(cut) if crop is None and photos[at].name not in broken]
    if crops and landmarks:
        usual = np.median(landmarks, axis=0)
        for at in faceless:
            cut[at] = align_as_usual(photos[at].path, usual)
    there = [at for at, crop in enumerate(cut) if crop is not None]
    parts = [
        estimator.predict_crops(
            np.stack([crop for at in there[first : first + BATCH] if (crop := cut[at]) is not None])
        )
        for first in range(0, len(there), BATCH)
    ]
    about = {
        "model": estimator.weights.name,
        "weights_sha256": estimator.weights.sha256,
        "tasks": list(estimator.tasks),
        "crops": crops,
        "faces_not_found": len(faceless),
        "aligned_as_usual": len(faceless) if crops and landmarks else 0,
    }
    return _gathered(photos, there, parts, about, broken)


def _gathered(
    photos: Sequence[LabelledPhoto],
    there: Sequence[int],
    parts: Sequence[Attributes],
    about: dict[str, Any],
    broken: dict[str, str],
) -> Predictions:
    """The answers of all photos from those of some."""
    if not parts:
        raise ValueError("there is no photo with a face")

    def spread(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        found = np.full((len(photos), *rows[0].shape[1:]), np.nan)
        found[list(there)] = np.concatenate(rows)
        return found

    probabilities = {}
    for task in parts[0].classes:
        if task not in parts[0].values:
            probabilities[task] = (parts[0].classes[task], spread([part.probabilities[task] for part in parts]))
    ages = spread([part.values[AGE] for part in parts]) if AGE in parts[0].values else None
    if AGE in parts[0].classes:
        for groups in AGE_GROUPS:
            names = parts[0].age_groups(groups)[0]
            probabilities[task_of_groups(groups)] = (names, spread([part.age_groups(groups)[1] for part in parts]))
    return Predictions(tuple(photo.name for photo in photos), {}, {}, probabilities, ages, about, broken)
