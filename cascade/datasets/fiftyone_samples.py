"""Photos and their faces as a dataset of FiftyOne, to look through them there."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

from ._listing import FACE, NAME, SCORE, LabelledFace, faces_of, short_labels, size_of
from .photo import Photo

__all__ = ["to_fiftyone"]


def to_fiftyone(photos: Iterable[Photo], name: str | None = None) -> Any:
    """Return a ``fiftyone.Dataset`` with a sample for each photo.

    photos  photos with faces: a data set, or results by `photos_from_faces`
    name    the name of the dataset, which must be new; None: FiftyOne makes one up

    The field "faces" has the boxes as Detections of the label "face", with the score as confidence, the tag "ignored"
    for those that are, and names and other labels of one value as attributes. "landmarks" has the five points as
    Keypoints, NaN where unknown. Coordinates are in parts of the upright photo. Raises ImportError without fiftyone,
    and ValueError for a photo whose size is not known.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError("to_fiftyone needs the package fiftyone: python -m pip install fiftyone") from error
    samples = []
    for photo in photos:
        size = size_of(photo)
        faces = list(faces_of(photo))
        sample = fiftyone.Sample(filepath=os.path.abspath(photo.path))
        sample["faces"] = fiftyone.Detections(detections=[_detection(fiftyone, face, size) for face in faces])
        points = [_keypoint(fiftyone, face, size) for face in faces if face.landmarks is not None]
        sample["landmarks"] = fiftyone.Keypoints(keypoints=points)
        samples.append(sample)
    dataset = fiftyone.Dataset(name)
    dataset.add_samples(samples)
    return dataset


def _detection(fiftyone: Any, face: LabelledFace, size: tuple[int, int]) -> Any:
    x1, y1, x2, y2 = face.box
    box = [x1 / size[0], y1 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1]]
    labels = short_labels(face)
    if NAME in labels:
        labels["person"] = labels.pop(NAME)  # "name" is FiftyOne's own
    confidence = labels.pop(SCORE, None)
    tags = ["ignored"] if face.ignored else []
    return fiftyone.Detection(label=FACE, bounding_box=box, confidence=confidence, tags=tags, **labels)


def _keypoint(fiftyone: Any, face: LabelledFace, size: tuple[int, int]) -> Any:
    points = [(x / size[0], y / size[1]) if math.isfinite(x) else (math.nan, math.nan) for x, y in face.landmarks or ()]
    return fiftyone.Keypoint(label=FACE, points=points)
