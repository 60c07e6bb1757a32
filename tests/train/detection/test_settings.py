"""Settings of a training run: learning rates, the paper's recipe, heads."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from train.detection.settings import TrainSettings, paper_preset


def test_the_schedule_with_warm_up():
    settings = TrainSettings("pnet", steps=200, learning_rate=0.5)
    rates = [settings.rate(step) for step in range(200)]
    np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11))  # a twentieth of the run, in even steps
    assert rates[10] == pytest.approx(0.5)
    assert rates[105] == pytest.approx(0.5 * (0.001 + 0.999 / 2))  # half of the cosine
    assert settings.rate(200) == pytest.approx(0.0005)
    assert all(a > b > 0 for a, b in pairwise(rates[10:]))
    short = TrainSettings("pnet", steps=1, learning_rate=0.5)
    assert short.rate(0) == 0.5


def test_the_papers_recipe_is_constant():
    settings = paper_preset("rnet", 3200)
    assert [settings.rate(step) for step in (0, 5, 9999)] == [1e-3] * 3
    assert (settings.steps, settings.batch, settings.family) == (10_000, 32, "paper")
    assert (settings.batch_norm, settings.augment, settings.ema_decay, settings.weight_decay) == (False, False, 0, 0)
    assert settings.mining_ratio == 0.7


@pytest.mark.parametrize("name", ["steps", "batch"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_run_has_a_step_and_a_batch_a_sample(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected at least 1, got {value}$"):
        TrainSettings("pnet", **{name: value})
