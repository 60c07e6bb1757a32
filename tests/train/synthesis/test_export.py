"""The strengths that an export chooses."""

from __future__ import annotations

import numpy as np
import pytest

from train.synthesis.export import ALIKE, STRENGTHS, chosen_strengths
from train.synthesis.settings import ANCHORS


class Measured:
    """A run whose faces lose ``costs`` (anchors,) of likeness with each strength, and come nearer by ``gains``."""

    def __init__(self, costs: np.ndarray, gains: np.ndarray) -> None:
        self.costs, self.gains = costs, gains

    def by_anchor(self, strengths: tuple[float, ...], most: int) -> dict[str, np.ndarray]:
        assert set(strengths) >= set(STRENGTHS) and most > 0
        each = np.array(strengths)[:, None]
        errors = 20 - self.gains * each
        return {"age_error": errors.copy(), "group_error": errors.copy(), "alike": 1 - self.costs * each}


def test_likeness_is_spent_where_it_brings_the_age_nearest() -> None:
    costs, gains = np.full(len(ANCHORS), 0.25), np.ones(len(ANCHORS))
    gains[-1] = 5.0
    strengths, measured = chosen_strengths(Measured(costs, gains))
    assert strengths[-1] == STRENGTHS[-1] and max(strengths[:-1]) < STRENGTHS[-1]
    assert measured["alike"] >= ALIKE


def test_ages_are_as_near_as_can_be_where_faces_stay_alike() -> None:
    strengths, measured = chosen_strengths(Measured(np.full(len(ANCHORS), 0.05), np.ones(len(ANCHORS))))
    assert strengths == (STRENGTHS[-1],) * len(ANCHORS)
    assert measured["age_error"] == pytest.approx(20 - STRENGTHS[-1])


def test_changes_stay_as_they_are_where_none_leaves_faces_alike() -> None:
    strengths, measured = chosen_strengths(Measured(np.full(len(ANCHORS), 0.5), np.ones(len(ANCHORS))))
    assert strengths == (1.0,) * len(ANCHORS)
    assert measured["alike"] == pytest.approx(0.5)


def test_a_given_strength_stays_and_the_other_ages_save_what_it_costs() -> None:
    costs, gains = np.linspace(0.1, 0.25, len(ANCHORS)), np.ones(len(ANCHORS))
    plain, _ = chosen_strengths(Measured(costs, gains))
    strengths, measured = chosen_strengths(Measured(costs, gains), {75.0: 1.97})
    assert strengths[-1] == 1.97 and set(strengths[:-1]) <= set(STRENGTHS)
    assert sum(strengths[:-1]) < sum(plain[:-1]) and measured["alike"] >= ALIKE


def test_a_given_strength_is_none_that_other_ages_may_choose() -> None:
    strengths, _ = chosen_strengths(Measured(np.full(len(ANCHORS), 0.05), np.ones(len(ANCHORS))), {75.0: 3.0})
    assert strengths == (*(STRENGTHS[-1],) * (len(ANCHORS) - 1), 3.0)


def test_a_given_strength_stays_where_none_leaves_faces_alike() -> None:
    strengths, _ = chosen_strengths(Measured(np.full(len(ANCHORS), 0.5), np.ones(len(ANCHORS))), {6.0: 0.9})
    assert strengths == (1.0, 0.9, *(1.0,) * (len(ANCHORS) - 2))
