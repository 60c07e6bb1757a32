"""A model's answers against a set's labels: every task that both have, all faces and by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cascade.age_groups import AGE_GROUPS, group_numbers
from cascade.datasets import LabelledPhoto
from eval.attributes.classification import ClassResult, evaluate_classes
from eval.attributes.predictions import AGE, Predictions, task_of_groups
from eval.attributes.protocols import Protocol
from eval.recognition.ages import AgeResult
from eval.recognition.ages import evaluate as evaluate_ages
from eval.recognition.groups import in_bands
from eval.recognition.similarity import ProtocolError

__all__ = ["AttributeResult", "evaluate_attributes", "groups_of"]

BoolArray = NDArray[np.bool_]
GROUPED = ("gender", "ethnicity")
"""Attributes whose labels make groups, beside age."""
GROUPS_OF_AGES = ("twelve", "six", "three")


@dataclass(frozen=True, slots=True, eq=False)
class AttributeResult:
    """What a model reached.

    classes  by task with classes, age groups included: the faces with a label
    members  by task, (N,) bool: which photos these are
    ages     errors in years where the set has ages; groups as `groups_of`
    groups   (N,) bool of each group of each kind
    """

    classes: Mapping[str, ClassResult]
    members: Mapping[str, BoolArray]
    ages: AgeResult | None
    groups: Mapping[str, Mapping[str, BoolArray]] = field(default_factory=dict)

    def by_group(self, task: str) -> Iterator[tuple[str, str, ClassResult]]:
        """Kind and name of each group with a face, and the figures of a task on it; not by the task itself."""
        members = self.members[task]
        for kind, parts in self.groups.items():
            if kind in (task, task.partition("_")[0]):
                continue
            for name, photos in parts.items():
                inside = photos[members]
                if inside.any():
                    yield kind, name, self.classes[task].of(inside)


def evaluate_attributes(
    photos: Sequence[LabelledPhoto], predictions: Predictions, protocol: Protocol
) -> AttributeResult:
    """Compare answers, in the order of the photos, with their labels.

    Raises ValueError where the labels and the answers have no task in common, and for a set's unknown class.
    """
    classes: dict[str, ClassResult] = {}
    members: dict[str, BoolArray] = {}
    groups = groups_of(photos)
    for task in predictions.tasks():
        there = _there(photos, task)
        if task != AGE and there.any():
            members[task] = there
            classes[task] = _class_result(photos, predictions, protocol, task, there)
    numbers = _numbers(photos)
    ages = None
    if predictions.ages is not None and np.isfinite(numbers).any():
        ages = _age_result(numbers, predictions.ages, groups)
    for name, texts in _age_truths(photos, numbers).items():
        task, there = task_of_groups(name), np.array([text is not None for text in texts])
        try:
            answers, confidence = predictions.age_groups(name)
        except KeyError:
            continue
        members[task] = there
        known = [text for text in texts if text is not None]
        names = [group for group, _, _ in AGE_GROUPS[name]]
        classes[task] = evaluate_classes(names, known, _of(answers, there), confidence[there])
    if not classes and ages is None:
        told = sorted({name for photo in photos for name in photo.labels})
        given = [*predictions.tasks(), *([AGE] if predictions.ages is not None else [])]
        raise ValueError(f"no task in common: the photos have {', '.join(told[:12])}, the model {', '.join(given)}")
    return AttributeResult(classes, members, ages, groups)


def groups_of(photos: Sequence[LabelledPhoto]) -> dict[str, dict[str, BoolArray]]:
    """Kind → group → which photos are in it: decades of age, or the set's age groups, gender and ethnicity."""
    numbers = _numbers(photos)
    found: dict[str, dict[str, BoolArray]] = {}
    if np.isfinite(numbers).any():
        bands = [(first, last) for _, first, last in AGE_GROUPS["twelve"]]
        found[AGE] = {name: there for name, there in in_bands(numbers, bands).items() if there.any()}
    kinds = GROUPED if AGE in found else (AGE, *GROUPED)
    for kind in kinds:
        labels = np.array([photo.labels.get(kind, "") for photo in photos])
        names = sorted(set(labels.tolist()) - {""}, key=_age_or_name)
        if names:
            found[kind] = {name: labels == name for name in names}
    return found


def _age_or_name(label: str) -> tuple[int, str]:
    """Ages in their order, and names in theirs."""
    digits = label.partition("-")[0].rstrip("+")
    return (int(digits), "") if digits.isdigit() else (0, label)


def _there(photos: Sequence[LabelledPhoto], task: str) -> BoolArray:
    return np.array([task in photo.labels for photo in photos])


def _of(answers: Sequence[str | None], there: BoolArray) -> list[str | None]:
    return [answer for answer, known in zip(answers, there.tolist(), strict=True) if known]


def _class_result(
    photos: Sequence[LabelledPhoto], predictions: Predictions, protocol: Protocol, task: str, there: BoolArray
) -> ClassResult:
    """The figures of one task."""
    truth = [photo.labels[task] for photo in photos if task in photo.labels]
    answers, confidence = predictions.answers(task, protocol.merged.get(task, {}))
    names = protocol.classes.get(task)
    if names is None:
        told = set(truth)
        own = predictions.probabilities[task][0] if task in predictions.probabilities else ()
        names = tuple(dict.fromkeys((*(name for name in own if name in told), *sorted(told))))
    given = {answer for answer in answers if answer is not None}
    if given and not given & set(names):
        raise ValueError(
            f"{task}: no class in common: the set has {', '.join(names)}, the model {', '.join(sorted(given)[:9])}"
        )
    return evaluate_classes(names, truth, _of(answers, there), confidence[there])


def _numbers(photos: Sequence[LabelledPhoto]) -> NDArray[np.float64]:
    """(N,) ages in years, NaN for a range of ages or an unknown one."""
    return np.array([_number(photo.labels.get(AGE, "")) for photo in photos])


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return np.nan


def _age_truths(photos: Sequence[LabelledPhoto], numbers: NDArray[np.float64]) -> dict[str, list[str | None]]:
    """By the name of age groups, the true one of each photo: of its age, or of a range that is one of them."""
    if np.isfinite(numbers).any():
        found: dict[str, list[str | None]] = {}
        for name in GROUPS_OF_AGES:
            groups = AGE_GROUPS[name]
            found[name] = [groups[at][0] if at >= 0 else None for at in group_numbers(numbers, groups).tolist()]
        return found
    labels = [photo.labels.get(AGE) for photo in photos]
    told = {label for label in labels if label is not None}
    for name, groups in AGE_GROUPS.items():
        if told and told <= {group for group, _, _ in groups}:
            return {name: labels}
    return {}


def _age_result(
    numbers: NDArray[np.float64], estimates: NDArray[np.float64], groups: Mapping[str, Mapping[str, BoolArray]]
) -> AgeResult:
    known = np.isfinite(numbers)
    if not np.isfinite(estimates[known]).any():
        raise ProtocolError(f"age: none of {int(known.sum())} photos has an estimate")
    parts = {kind: {name: there[known] for name, there in each.items()} for kind, each in groups.items()}
    return evaluate_ages(numbers[known].tolist(), estimates[known], parts)
