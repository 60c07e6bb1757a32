"""What a model says of photos, by name: our own network's answers, or those in a CSV or JSON file."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cascade.age_groups import AGE_GROUPS, group_numbers
from cascade.datasets import DatasetError
from eval.detection.predictions import match_names

__all__ = ["AGE", "Predictions", "read_attribute_predictions", "task_of_groups"]

AGE = "age"
NAME_KEYS = ("name", "path", "image", "file")
SHARE = "_probability"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Answers for N photos.

    names          of the photos
    labels         by task, the class of each, None where there is no answer
    confidence     by task, (N,) float64 probability of that class; NaN where it is not known
    probabilities  by task, its classes and (N, classes) float64, where they are known
    ages           (N,) float64 years; NaN where there is no answer
    about          plain values, such as "model" and "weights_sha256"
    broken         why photos could not be read, by name
    """

    names: tuple[str, ...]
    labels: Mapping[str, Sequence[str | None]]
    confidence: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    probabilities: Mapping[str, tuple[tuple[str, ...], NDArray[np.float64]]] = field(default_factory=dict)
    ages: NDArray[np.float64] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.names)
        lengths = {len(each) for each in self.labels.values()} | {len(each) for each in self.confidence.values()}
        lengths |= {len(rows) for _, rows in self.probabilities.values()} | (
            {len(self.ages)} if self.ages is not None else set()
        )
        if lengths - {count}:
            raise DatasetError(f"predictions: expected {count} answers for each task")
        if len(set(self.names)) < count:
            raise DatasetError("predictions: two rows have the same name")

    def of(self, photos: Sequence[str]) -> tuple[Predictions, tuple[str, ...]]:
        """The answers for these photos in their order, none where there is no row; and the names without a row.

        A name is found as written, else without image suffix and leading folders. Raises DatasetError where two names
        mean one photo.
        """
        rows = {name: at for at, name in enumerate(self.names)}
        matched = match_names(photos, cast(Any, rows))
        places = [cast(int, matched.found.get(name, -1)) for name in photos]
        there = np.array(places) >= 0

        def taken(array: NDArray[np.float64]) -> NDArray[np.float64]:
            found = np.full((len(places), *array.shape[1:]), np.nan)
            found[there] = array[np.array(places)[there]]
            return found

        return (
            Predictions(
                tuple(photos),
                {task: [each[at] if at >= 0 else None for at in places] for task, each in self.labels.items()},
                {task: taken(each) for task, each in self.confidence.items()},
                {task: (classes, taken(each)) for task, (classes, each) in self.probabilities.items()},
                None if self.ages is None else taken(self.ages),
                self.about,
                self.broken,
            ),
            matched.missing,
        )

    def answers(self, task: str, merged: Mapping[str, str]) -> tuple[list[str | None], NDArray[np.float64]]:
        """The classes of a task and their confidence, in other words: ``merged`` gives the new name of a class.

        Where all probabilities are known, those of classes that become one are summed first.
        """
        if task in self.probabilities:
            classes, rows = self.probabilities[task]
            named = [merged.get(name, name) for name in classes]
            names = list(dict.fromkeys(named))
            sums = np.stack([rows[:, [each == name for each in named]].sum(axis=1) for name in names], axis=1)
            known = np.isfinite(sums).all(axis=1)
            best = np.where(known, np.nan_to_num(sums).argmax(axis=1), -1)
            confidence = np.where(known, sums.max(axis=1), np.nan)
            return [names[at] if at >= 0 else None for at in best.tolist()], confidence
        labels = [None if label is None else merged.get(label, label) for label in self.labels[task]]
        return labels, self.confidence.get(task, np.full(len(self.names), np.nan))

    def age_groups(self, groups: str) -> tuple[list[str | None], NDArray[np.float64]]:
        """The age group of each, as the model states it, else that of its age. Raises KeyError without any age."""
        task = task_of_groups(groups)
        if task in self.labels or task in self.probabilities:
            return self.answers(task, {})
        if self.ages is None:
            raise KeyError(AGE)
        names = [name for name, _, _ in AGE_GROUPS[groups]]
        numbers = group_numbers(self.ages, AGE_GROUPS[groups]).tolist()
        return [names[at] if at >= 0 else None for at in numbers], np.full(len(self.names), np.nan)

    def tasks(self) -> tuple[str, ...]:
        """The tasks with classes, without age groups."""
        found = dict.fromkeys((*self.labels, *self.probabilities))
        return tuple(task for task in found if not task.startswith(f"{AGE}_"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row for each photo as `read_attribute_predictions` reads it."""
        tasks = dict.fromkeys((*self.labels, *self.probabilities))
        answers = {task: self.answers(task, {}) for task in tasks}
        labels = {task: each for task, (each, _) in answers.items()}
        confidence = {task: each for task, (_, each) in answers.items()}
        for at, name in enumerate(self.names):
            row: dict[str, Any] = {"name": name}
            if self.ages is not None:
                row[AGE] = "" if np.isnan(self.ages[at]) else round(float(self.ages[at]), 3)
            for task in tasks:
                row[task] = labels[task][at] or ""
                if task in self.probabilities and not task.startswith(f"{AGE}_"):
                    classes, shares = self.probabilities[task]
                    row |= {f"{task}:{each}": _shown(share) for each, share in zip(classes, shares[at], strict=True)}
                elif np.isfinite(confidence[task]).any():
                    row[task + SHARE] = _shown(confidence[task][at])
            yield row


def task_of_groups(groups: str) -> str:
    """The name of the task that age groups are."""
    return f"{AGE}_{groups}"


def _shown(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.5f}"


def read_attribute_predictions(file: str | Path) -> Predictions:
    """Read the answers of any model.

    A CSV file has a heading: "name" (or "path", "image", "file"), the photo's path below the folder of the photos;
    "age", a number; and for any other task a column with its class. Beside it "<task>:<class>" columns may hold
    probabilities, or "<task>_probability" that of the class alone. An empty cell is no answer. A JSON file is a list of
    objects with the same keys, or has one object on each line; "probabilities" may hold {task: {class: number}}.
    ``about["predictions_sha256"]`` is the file's hash.

    Raises DatasetError naming the file, and the line where one is wrong.
    """
    file = Path(file)
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
        records = _csv_records(text) if file.suffix.lower() == ".csv" else _json_records(text)
        found = _predictions(list(records))
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise DatasetError(f"{file}: no predictions of attributes: {str(error)[:200]}") from error
    about = {"model": file.stem, "predictions_sha256": hashlib.sha256(content).hexdigest()}
    return Predictions(found.names, found.labels, found.confidence, found.probabilities, found.ages, about)


def _csv_records(text: str) -> Iterator[tuple[int, Record]]:
    rows = csv.reader(text.splitlines(keepends=True))
    heading = [name.strip() for name in next(rows, [])]
    if len(set(heading)) < len(heading) or not set(NAME_KEYS) & set(heading) or len(heading) < 2:
        raise ValueError(f"line 1: expected columns name and tasks, got {', '.join(heading)[:100]!r}")
    for cells in rows:
        if not cells:
            continue
        if len(cells) != len(heading):
            raise ValueError(f"line {rows.line_num}: expected {len(heading)} fields, got {len(cells)}")
        yield rows.line_num, dict(zip(heading, (cell.strip() for cell in cells), strict=True))


def _json_records(text: str) -> Iterator[tuple[int, Record]]:
    stripped = text.lstrip()
    if stripped.startswith("["):
        records = json.loads(stripped)
    else:
        records = [json.loads(line) for line in stripped.splitlines() if line.strip()]
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise ValueError(f"entry {number}: expected an object, got {type(record).__name__}")
        flat = {key: value for key, value in record.items() if key != "probabilities"}
        for task, shares in (record.get("probabilities") or {}).items():
            flat |= {f"{task}:{name}": share for name, share in shares.items()}
        yield number, {key: value for key, value in flat.items() if not isinstance(value, (list, dict))}


def _predictions(records: Sequence[tuple[int, Record]]) -> Predictions:
    """The answers in records, which are numbered for errors."""
    if not records:
        raise ValueError("there is no row")
    keys = list(dict.fromkeys(key for _, record in records for key in record))
    name_key = next(key for key in (*NAME_KEYS, None) if key in keys or key is None)
    if name_key is None:
        raise ValueError("expected a name in each entry")
    names = tuple(str(record[name_key]) for _, record in records)
    numeric = {key for key in keys if key == AGE or key.endswith(SHARE) or ":" in key}
    columns = {key: np.array([_number(at, key, record.get(key)) for at, record in records]) for key in numeric}
    labels = {
        key: [_text(record.get(key)) for _, record in records] for key in keys if key not in numeric and key != name_key
    }
    shares = {key: values for key, values in columns.items() if ":" in key}
    tasks = dict.fromkeys(key.partition(":")[0] for key in keys if ":" in key)
    probabilities = {}
    for task in tasks:
        classes = tuple(key.partition(":")[2] for key in keys if key.startswith(f"{task}:"))
        probabilities[task] = (classes, np.stack([shares[f"{task}:{name}"] for name in classes], axis=1))
    confidence = {key.removesuffix(SHARE): values for key, values in columns.items() if key.endswith(SHARE)}
    return Predictions(names, labels, confidence, probabilities, columns.get(AGE))


def _number(at: int, key: str, value: Any) -> float:
    if value is None or value == "":
        return np.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"line {at}: {key} {value!r} is not a number") from None
    if not np.isfinite(number):
        raise ValueError(f"line {at}: {key} {value!r} is not finite")
    return number


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None or value == "" else str(value)
