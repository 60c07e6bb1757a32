"""Answers against labels: words of sets, ranges of ages, groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import FAIRFACE_AGES, LabelledPhoto
from eval.attributes.evaluation import evaluate_attributes, groups_of
from eval.attributes.predictions import Predictions
from eval.attributes.protocols import PROTOCOLS


def photos(*labels: dict[str, str]) -> list[LabelledPhoto]:
    return [LabelledPhoto(Path(f"{at}.jpg"), f"{at}.jpg", each) for at, each in enumerate(labels)]


def predictions(count: int, ages=None, **labels) -> Predictions:
    years = None if ages is None else np.array(ages, float)
    return Predictions(tuple(f"{at}.jpg" for at in range(count)), labels, ages=years)


def test_seven_ethnicities_answer_utkfaces_five() -> None:
    faces = photos({"ethnicity": "Asian"}, {"ethnicity": "other"}, {"ethnicity": "Indian"}, {"ethnicity": "White"})
    told = predictions(4, ethnicity=["Southeast Asian", "Latino_Hispanic", "Indian", "Black"])
    result = evaluate_attributes(faces, told, PROTOCOLS["utkface"])
    assert result.classes["ethnicity"].accuracy == 0.75
    assert result.classes["ethnicity"].classes == ("White", "Black", "Asian", "Indian", "other")


def test_ages_have_errors_in_years_and_groups() -> None:
    faces = photos({"age": "5", "gender": "male"}, {"age": "37", "gender": "female"}, {"gender": "male"})
    result = evaluate_attributes(faces, predictions(3, [8, 36, 50], gender=["male"] * 3), PROTOCOLS["utkface"])
    assert result.ages.overall.mae == pytest.approx(2) and result.ages.overall.photos == 2
    assert result.ages.groups["age"]["0-9"].bias == pytest.approx(3)
    assert result.ages.groups["gender"]["female"].mae == pytest.approx(1)
    assert result.classes["age_six"].accuracy == 1.0 and len(result.classes["age_six"].truth) == 2
    assert result.classes["gender"].accuracy == pytest.approx(2 / 3)
    by_group = {(kind, name): part for kind, name, part in result.by_group("gender")}
    assert by_group["age", "0-9"].accuracy == 1 and by_group["age", "30-39"].accuracy == 0
    assert not any(kind == "gender" for kind, _ in by_group)
    assert not any(kind == "age" for kind, _, _ in result.by_group("age_six"))


def test_ranges_of_ages_are_classes() -> None:
    faces = photos(*({"age": label} for label in FAIRFACE_AGES))
    result = evaluate_attributes(faces, predictions(9, [1, 5, 15, 25, 35, 45, 55, 65, 20]), PROTOCOLS["fairface"])
    assert result.ages is None and set(result.classes) == {"age_nine"}
    assert result.classes["age_nine"].accuracy == pytest.approx(8 / 9)
    assert list(groups_of(faces)["age"]) == list(FAIRFACE_AGES)


def test_tasks_of_ones_own_take_their_classes_from_the_data() -> None:
    faces = photos({"helmet": "yes"}, {"helmet": "no"})
    result = evaluate_attributes(faces, predictions(2, helmet=["yes", "yes"]), PROTOCOLS["folder"])
    assert result.classes["helmet"].classes == ("no", "yes") and result.classes["helmet"].accuracy == 0.5


def test_nothing_in_common_is_said() -> None:
    faces = photos({"smile": "yes"})
    with pytest.raises(ValueError, match="no task in common: the photos have smile, the model mood"):
        evaluate_attributes(faces, predictions(1, mood=["glad"]), PROTOCOLS["folder"])
    with pytest.raises(ValueError, match="smile: no class in common: the set has no, yes, the model grin"):
        evaluate_attributes(faces, predictions(1, smile=["grin"]), PROTOCOLS["genki4k"])
