"""What labels mean for a task."""

from __future__ import annotations

import numpy as np
import pytest

from train.attributes.tasks import Task, TaskError, label_table, read_tasks

AGE = Task("age", "ordinal", low=0, high=100, spread=2)
RACE = Task(
    "ethnicity",
    "classification",
    classes=("White", "East Asian", "Southeast Asian"),
    aliases={"Asian": ("East Asian", "Southeast Asian"), "other": ()},
)


def test_numbers_and_ranges():
    assert AGE.limits("37") == (37, 37)
    assert AGE.limits("20-29") == (20, 29)
    assert AGE.limits("70+") == (70, 100)
    assert AGE.limits("116") == (100, 100)
    allowed = AGE.allowed("20-29")
    assert allowed.sum() == 10 and allowed[20] == allowed[29] == 1 and allowed[30] == 0
    bell = AGE.allowed("37")
    assert bell.argmax() == 37 and bell[37] == 1 and bell[35] == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("label", ["", "old", "29-20", "3 0", "+", "1e3"])
def test_what_is_no_number_is_refused(label):
    with pytest.raises(TaskError, match="age"):
        AGE.limits(label)


def test_a_label_may_stand_for_several_classes_or_none():
    assert RACE.allowed("Asian").tolist() == [0, 1, 1]
    assert RACE.allowed("White").tolist() == [1, 0, 0]
    assert RACE.allowed("other") is None
    with pytest.raises(TaskError, match="'Martian': expected one of White"):
        RACE.allowed("Martian")


def test_balance_lets_rare_classes_count_more():
    task = Task("mood", "classification", classes=("good", "bad"), balance=1.0)
    table = label_table(task, {"good": 90, "bad": 10})
    weights = dict(zip(table.texts, table.weights, strict=True))
    assert 90 * weights["good"] == pytest.approx(10 * weights["bad"], rel=1e-5)
    assert 90 * weights["good"] + 10 * weights["bad"] == pytest.approx(100)
    assert label_table(Task("mood", "classification", classes=("good", "bad")), {"good": 9}).weights.tolist() == [1]


def test_faces_of_a_range_count_for_the_ages_in_it():
    task = Task("age", "ordinal", balance=0.5)
    table = label_table(task, {"1": 10, "20-29": 1000, "24": 10})
    weights = dict(zip(table.texts, table.weights, strict=True))
    assert weights["1"] > 2 * weights["24"]


def test_labels_that_say_nothing_are_left_out_of_the_table():
    assert label_table(RACE, {"other": 5, "White": 1}).texts == ("White",)
    with pytest.raises(TaskError, match="no face has a label"):
        label_table(RACE, {"other": 5})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "Age", "kind": "ordinal"}, "task 1: name"),
        ({"name": "age", "kind": "number"}, "task 1: kind: expected one of classification"),
        ({"name": "mood", "kind": "classification", "classes": ["good"]}, "classes: expected two"),
        ({"name": "age", "kind": "ordinal", "low": 5, "high": 5}, "low, high"),
        ({"name": "age", "kind": "ordinal", "weigth": 5}, "weigth"),
        ({"name": "m", "kind": "classification", "classes": ["a", "b"], "aliases": {"x": "c"}}, "x stands for c"),
    ],
)
def test_a_wrong_task_is_named(entry, message):
    with pytest.raises(TaskError, match=message):
        read_tasks([entry])


def test_a_task_may_not_be_called_as_other_results():
    with pytest.raises(TaskError, match="task 1: name: 'unknown' has another meaning in results"):
        read_tasks([{"name": "unknown", "kind": "classification", "classes": ["no", "yes"]}])
