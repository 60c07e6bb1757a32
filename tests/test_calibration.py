"""Probabilities of similarities: curves, fitting, and what weight files may state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.calibration import AgeCurve, Calibration, calibration_of, fit_curve
from cascade.models.files import WeightsError
from cascade.recognize import Recognizer
from tests.photos import PORTRAIT
from tests.random_recognizer import save_random_recognizer

CURVES = Calibration((AgeCurve(15, 10.0, -6.0), AgeCurve(math.inf, 12.0, -4.0)), "nobody")
COSINES = st.floats(-1, 1)


def test_probabilities_by_age_and_prior():
    assert CURVES.probability(4 / 12) == pytest.approx(0.5)
    assert CURVES.probability(0.6, 8, 15) == pytest.approx(0.5)
    assert CURVES.probability(0.6, 8, 16) == CURVES.probability(0.6) > 0.9
    # odds times those of the prior
    odds = CURVES.probability(0.5) / (1 - CURVES.probability(0.5))
    assert CURVES.probability(0.5, prior=0.01) == pytest.approx(odds / 99 / (1 + odds / 99))
    assert CURVES.probability(0.5, prior=0.0) == 0.0
    assert CURVES.probability(0.5, prior=1.0) == 1.0
    for wrong in (1.1, math.nan, "0.5"):
        with pytest.raises((ValueError, TypeError), match="similarity"):
            CURVES.probability(wrong)
    with pytest.raises(ValueError, match="prior"):
        CURVES.probability(0.5, prior=2.0)
    for ages in ((8, math.nan), (math.nan, 8), (-1,), ("8", 9), ([8, 9],)):
        for prior in (0.0, 0.5):
            with pytest.raises((ValueError, TypeError), match="ages"):
                CURVES.probability(0.5, *ages, prior=prior)


@given(COSINES, COSINES, st.floats(0.001, 0.999))
def test_probabilities_rise_with_the_similarity(one, other, prior):
    low, high = sorted((one, other))
    assert 0 <= CURVES.probability(low, prior=prior) <= CURVES.probability(high, prior=prior) <= 1


@given(st.floats(-3, 3), st.floats(1, 30), st.integers(0, 2**32 - 1))
def test_the_curve_that_made_the_pairs_is_found(offset, slope, seed):
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-1, 1, 4000)
    chances = 1 / (1 + np.exp(-(slope * cosines + offset)))
    same = rng.random(len(cosines)) < chances
    # pairs of both kinds count alike in the fit, which moves the offset by the logarithm of their ratio
    found_slope, found_offset = fit_curve(cosines, same)
    moved = found_offset + math.log(same.sum() / (~same).sum())
    assert found_slope == pytest.approx(slope, rel=0.35, abs=0.5)
    assert moved == pytest.approx(offset, abs=0.15 * slope + 0.4)


def test_weights_are_as_good_as_copies():
    rng = np.random.default_rng(1)
    cosines, same = rng.normal(size=60) / 3, rng.random(60) < 0.5
    counts = rng.integers(1, 4, 60)
    copied = fit_curve(np.repeat(cosines, counts), np.repeat(same, counts))
    assert fit_curve(cosines, same, counts) == pytest.approx(copied, rel=1e-6)


def test_pairs_that_a_threshold_separates_have_a_curve():
    slope, offset = fit_curve(np.array([-0.2, 0.0, 0.6, 0.9]), np.array([False, False, True, True]))
    assert np.isfinite([slope, offset]).all()
    assert slope > 0
    assert 0 < -offset / slope < 0.6
    with pytest.raises(ValueError, match="expected pairs of one person and of two"):
        fit_curve(np.array([0.1, 0.2]), np.array([True, True]))


def test_what_a_weight_file_states():
    assert calibration_of({"calibration": CURVES.to_dict()}, "x") == CURVES
    assert calibration_of({}, "x") is None
    row = {"oldest": None, "slope": 10, "offset": -3}
    for wrong in (
        [],
        {"curves": [], "measured_on": ""},
        {"curves": [{**row, "oldest": 15}], "measured_on": ""},
        {"curves": [row, row], "measured_on": ""},
        {"curves": [{**row, "slope": -1}], "measured_on": ""},
        {"curves": [{**row, "offset": math.nan}], "measured_on": ""},
        {"curves": [{**row, "slope": "steep"}], "measured_on": ""},
        {"curves": [row]},
    ):
        with pytest.raises(WeightsError, match="x has an invalid calibration"):
            calibration_of({"calibration": wrong}, "x")


def test_verification_states_the_probability(tmp_path):
    stated = {"curves": [{"oldest": None, "slope": 10.0, "offset": -4.0}], "measured_on": "nobody"}
    recognizer = Recognizer(save_random_recognizer(tmp_path / "a.safetensors", calibration=stated), threads=1)
    found = recognizer.verify(PORTRAIT, PORTRAIT)
    assert found.probability == pytest.approx(1 / (1 + math.exp(-6)), abs=1e-4)
    plain = Recognizer(save_random_recognizer(tmp_path / "b.safetensors"), threads=1)
    assert plain.calibration is None
    assert plain.verify(PORTRAIT, PORTRAIT).probability is None
