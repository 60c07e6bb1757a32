"""Tasks: what a label text means for a head, and what the head's outputs mean.

- ``classification``: a label is a class, or an alias that stands for one of several classes.
- ``ordinal``: the classes are the integers from ``low`` to ``high``; a label is a number ("37") or a range
  ("20-29", "70+"). The answer is the expected number.
- ``regression``: one output; labels as for ordinal tasks.

A label is a set of classes: the truth is one of them. A range of ages and UTKFace's Asian, which is East or Southeast
Asian in FairFace, are learned from in the same way as a single class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade.models.attributes import check_task_name

Kind = Literal["classification", "ordinal", "regression"]
KINDS = ("classification", "ordinal", "regression")
NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({NUMBER})(?:-({NUMBER})|(\+))?")


class TaskError(ValueError):
    """A task that is described wrongly, or a label that it does not know."""


@dataclass(frozen=True)
class Task:
    """One task; the fields are those of the TOML file.

    attribute   the attribute of the sets that it learns; its own name if left out
    classes     of a classification, in the order of the outputs
    aliases     further labels of a classification: each stands for some classes, or none of them, as ""
    low, high   the range of an ordinal task or a regression; labels beyond are moved to its ends
    spread      of an ordinal task: standard deviation, in numbers, of the Gaussian that counts as right around a label
    weight      of its loss
    balance     0: every face counts the same; 1: every class does, however few faces it has
    focal       γ of the focal loss; 0: none
    smoothing   share of the loss that asks for all classes alike
    """

    name: str
    kind: Kind
    attribute: str = ""
    classes: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    low: float = 0.0
    high: float = 100.0
    spread: float = 2.0
    weight: float = 1.0
    balance: float = 0.0
    focal: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise TaskError(f"name: expected lower-case letters, digits and _, got {self.name!r}")
        try:
            check_task_name(self.name)
        except ValueError as error:
            raise TaskError(str(error)) from error
        if self.kind not in KINDS:
            raise TaskError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "classification":
            self._check_classes()
        elif not self.low < self.high or (self.kind == "ordinal" and self.high - self.low > 1000):
            raise TaskError(f"low, high: expected a range of at most 1,000, got {self.low:g} to {self.high:g}")
        for name, low in (("weight", 0), ("balance", 0), ("focal", 0), ("smoothing", 0)):
            if not getattr(self, name) >= low:
                raise TaskError(f"{name}: expected at least {low}, got {getattr(self, name)!r}")
        if not self.attribute:
            object.__setattr__(self, "attribute", self.name)

    def _check_classes(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise TaskError(f"classes: expected two different ones or more, got {list(self.classes)}")
        for alias, classes in self.aliases.items():
            unknown = set(classes) - set(self.classes)
            if unknown:
                raise TaskError(f"aliases: {alias} stands for {', '.join(sorted(unknown))}, which are no classes")

    @property
    def outputs(self) -> int:
        """Outputs of its head."""
        return {"classification": len(self.classes), "ordinal": int(self.high - self.low) + 1, "regression": 1}[
            self.kind
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes by name; none for a regression."""
        if self.kind == "ordinal":
            return tuple(f"{self.low + i:g}" for i in range(self.outputs))
        return self.classes

    def limits(self, label: str) -> tuple[float, float]:
        """The lowest and highest number that a label allows. Raises TaskError if it is none."""
        match = _RANGE.fullmatch(label.strip())
        if match is None:
            raise TaskError(f'{self.attribute} {label!r}: expected a number, or a range as "20-29" or "70+"')
        first = float(match[1])
        last = self.high if match[3] else float(match[2] or first)
        if last < first and not match[3]:
            raise TaskError(f"{self.attribute} {label!r}: the range is empty")
        low, high = np.clip([first, max(first, last)], self.low, self.high).tolist()
        return low, high

    def allowed(self, label: str) -> NDArray[np.float32] | None:
        """(outputs,) how far each class counts as right, 0 to 1; None where the label says nothing.

        Raises TaskError for an unknown label.
        """
        if self.kind == "ordinal":
            low, high = self.limits(label)
            numbers = self.low + np.arange(self.outputs)
            beyond = np.maximum(0, np.maximum(low - numbers, numbers - high))
            if low < high or not self.spread:
                return np.asarray(beyond < 0.5, np.float32)
            return np.asarray(np.exp(-0.5 * (beyond / self.spread) ** 2), np.float32)
        classes = (label,) if label in self.classes else self.aliases.get(label)
        if classes is None:
            known = ", ".join((*self.classes, *self.aliases))
            raise TaskError(f"{self.attribute} {label!r}: expected one of {known}")
        return np.isin(self.classes, classes).astype(np.float32) if classes else None


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The T label texts of a task that occur in the data, as arrays.

    allowed  (T, outputs) float32, see `Task.allowed`; no columns for a regression
    limits   (T, 2) float32, the numbers that each allows; NaN for classes
    weights  (T,) float32, how much a face of this label counts
    """

    texts: tuple[str, ...]
    allowed: NDArray[np.float32]
    limits: NDArray[np.float32]
    weights: NDArray[np.float32]


MOST = 5.0  # largest weight of a face over the mean


def label_table(task: Task, counts: Mapping[str, int]) -> LabelTable:
    """The table of the labels that occur so often; those that say nothing are left out. Raises TaskError."""
    texts, allowed, limits = [], [], []
    for text in sorted(counts):
        row = np.empty(0, np.float32) if task.kind == "regression" else task.allowed(text)
        if row is None:
            continue
        texts.append(text)
        allowed.append(row)
        limits.append((np.nan, np.nan) if task.kind == "classification" else task.limits(text))
    if not texts:
        raise TaskError(f"task {task.name}: no face has a label of {task.attribute}")
    numbers = np.array([counts[text] for text in texts], np.float64)
    matrix = np.array(allowed, np.float32).reshape(len(texts), -1)
    return LabelTable(tuple(texts), matrix, np.array(limits, np.float32), _balanced(task, matrix, numbers))


def _balanced(task: Task, allowed: NDArray[np.float32], counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights of the labels, of mean 1 over the faces: a power of how many faces their classes have.

    A label of several classes is shared among them.
    """
    if not task.balance or not allowed.shape[1]:
        return np.ones(len(counts), np.float32)
    shares = allowed / allowed.sum(axis=1, keepdims=True)
    per_class = counts @ shares
    density = shares @ per_class
    weights = density**-task.balance
    weights /= (weights * counts).sum() / counts.sum()
    return np.asarray(np.minimum(weights, MOST), np.float32)


def read_tasks(entries: Any) -> tuple[Task, ...]:
    """The tasks of the [[task]] entries of a TOML file. Raises TaskError naming the entry that is wrong."""
    if not isinstance(entries, list) or not entries:
        raise TaskError("expected [[task]] entries")
    tasks = []
    for number, entry in enumerate(entries, 1):
        try:
            values = {**entry, "classes": tuple(entry.get("classes", ()))}
            values["aliases"] = {name: _names(classes) for name, classes in entry.get("aliases", {}).items()}
            tasks.append(Task(**values))
        except (TaskError, TypeError) as error:
            raise TaskError(f"task {number}: {error}") from error
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise TaskError(f"expected tasks of different names, got {', '.join(names)}")
    return tuple(tasks)


def _names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """One class, several, or none."""
    if isinstance(classes, str):
        return (classes,) if classes else ()
    return tuple(classes)
