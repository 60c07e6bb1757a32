"""What JSON and CSV say of faces: rows of attributes and of landmarks, and cells of tables.

The command line and the local page write the same of a face.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cascade.csv_text import text_cell

if TYPE_CHECKING:
    from cascade.attributes import AttributeEstimator, Attributes
    from cascade.faces import Faces

__all__ = ["ANGLES", "attributes_of", "columns_of", "csv_header", "csv_rows", "landmarks_of"]

ANGLES = ("yaw", "pitch", "roll")


def columns_of(estimator: AttributeEstimator) -> list[str]:
    """The names of what is said of a face, in their order."""
    columns = []
    for task in estimator.weights.tasks:
        if task.name in estimator.tasks:
            columns.append(task.name)
            if task.kind == "classification":
                columns.append(f"{task.name}_probability")
            elif (task.name, task.kind) == ("age", "ordinal"):
                columns.append("age_group")
    return columns


def attributes_of(found: Attributes, groups: str) -> Iterator[dict[str, Any]]:
    """What JSON says of each face: null where it is not known, and then why."""
    names, shares = found.age_groups(groups) if "age" in found.classes and "age" in found.values else ((), None)
    labels = {task: found.labels(task) for task in found.classes if task not in found.values}
    for at, reason in enumerate(found.unknown):
        row: dict[str, Any] = {}
        for task in found.tasks:
            if task in found.values:
                row[task] = None if reason else round(float(found.values[task][at]), 1)
            else:
                row[task] = labels[task][at]
                row[f"{task}_probability"] = None if reason else round(float(found.probabilities[task][at].max()), 4)
            if task == "age" and shares is not None:
                row["age_group"] = None if reason else names[int(shares[at].argmax())]
        yield row | {"unknown": reason or None}


def landmarks_of(faces: Faces) -> Iterator[dict[str, Any]]:
    """The same of 68 points and the head's pose, from what `LandmarkEstimator.analyze` gives."""
    for face in faces:
        reason = str(face.data["points_unknown"])
        points, angles = face.data["points"].tolist(), face.data["pose"].tolist()
        row: dict[str, Any] = {"points": None if reason else [[round(x, 2), round(y, 2)] for x, y in points]}
        row |= {name: None if reason else round(angle, 1) + 0.0 for name, angle in zip(ANGLES, angles, strict=True)}
        yield row | {"unknown": reason or None}


def csv_header(columns: Sequence[str] = ()) -> list[str]:
    """The names of the columns of `csv_rows`."""
    from cascade.faces import LANDMARK_NAMES

    points = [f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"]
    return ["path", "face", "x1", "y1", "x2", "y2", "score", *points, *columns]


def csv_rows(
    path: str, faces: Faces, further: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()
) -> list[list[Any]]:
    """A row for each face of a photo; ``further`` has the values of the ``columns`` for each."""
    rows: list[list[Any]] = []
    for number, face in enumerate(faces, start=1):
        numbers = [*face.box, face.score, *face.landmarks.ravel()]
        cells = [_cell(further[number - 1].get(column)) for column in columns]
        rows.append([text_cell(path), number, *(f"{value:.7g}" for value in numbers), *cells])
    return rows


def _cell(value: Any) -> str:
    return "" if value is None else text_cell(value) if isinstance(value, str) else f"{value:.7g}"
