"""Learning rates of a recognition run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.train.packed_faces import SETTINGS
from train.recognition.settings import PAPER


def test_the_cosine_schedule():
    settings = replace(SETTINGS, steps=200, learning_rate=0.5, warm_up=0.05)
    rates = [settings.rate(step) for step in range(201)]
    np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11))
    assert rates[10] == pytest.approx(0.5)
    assert rates[105] == pytest.approx(0.5 * (0.001 + 0.999 / 2))
    assert rates[200] == pytest.approx(0.0005)
    assert (np.diff(rates[10:]) < 0).all()


def test_the_papers_schedule_goes_down_in_tenths():
    found = [PAPER.rate(step) for step in (0, 999, 1000, 19_998, 20_001, 23_001, 32_001, 35_999)]
    np.testing.assert_allclose(found, [1e-4, 0.1, 0.1, 0.1, 1e-2, 1e-3, 1e-4, 1e-4])


def test_a_short_run_begins_at_its_rate():
    assert replace(SETTINGS, steps=1, learning_rate=0.5).rate(0) == 0.5
    assert replace(SETTINGS, warm_up=0.0, learning_rate=0.5).rate(0) == 0.5
