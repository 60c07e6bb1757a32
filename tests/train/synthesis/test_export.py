"""The strengths that an export chooses."""

from __future__ import annotations

import numpy as np
import pytest

from train.synthesis.export import ALIKE, STRENGTHS, chosen_strengths
from train.synthesis.settings import ANCHORS


class Measured:
    """A run whose faces lose ``costs`` (anchors,) of likeness with each strength, and come nearer by ``gains``."""

    def __init__(self, costs: np.ndarray, gains: np.ndarray) -> None:
        strengths = np.array(STRENGTHS)[:, None]
        self.found = {
            "age_error": 20 - gains * strengths,
            "group_error": 20 - gains * strengths,
            "alike": 1 - costs * strengths,
        }

    def by_anchor(self, strengths: tuple[float, ...], most: int) -> dict[str, np.ndarray]:
        assert strengths == STRENGTHS and most > 0
        return self.found


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
