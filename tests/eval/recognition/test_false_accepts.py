"""Accepted pairs of different people, against cases worked by hand and a plain count."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eval.recognition import false_accepts
from eval.recognition.false_accepts import NEAR_DUPLICATE, evaluate
from eval.recognition.similarity import ProtocolError
from eval.report.bootstrap import times_drawn

NEAR = float(np.cos(np.radians(15)))  # pairs less than 15 degrees apart are near-duplicates


def at(*degrees):
    """Embeddings on a circle; None is a missed face."""
    turn = np.radians([np.nan if each is None else each for each in degrees])
    return np.column_stack([np.cos(turn), np.sin(turn)]) * 3


def within(degrees):
    return float(np.cos(np.radians(degrees)))


def test_four_photos_by_hand():
    # Apart: 0–20 20, 0–90 90, 0–100 100, 20–90 70, 20–100 80, 90–100 10: the last pair is a near-duplicate.
    groups = {
        "left": np.array([True, True, False, False, False]),
        "right": np.array([False, False, True, True, False]),
        "wide": np.array([True, False, True, False, True]),
        "one": np.array([True, False, False, False, True]),
    }
    whole, parts = evaluate(at(0, 20, 90, 100, None), within(75), groups, near_duplicate=NEAR)
    assert (whole.pairs, whole.accepted, whole.near_duplicates) == (5, 2, 1)
    assert (whole.photos, whole.missed, whole.rate, whole.ratio) == (4, 1, 0.4, 1)
    assert whole.ratio_interval is None
    left, right, wide, one = parts.values()
    assert (left.pairs, left.accepted, left.rate, left.ratio) == (1, 1, 1, 2.5)
    assert left.interval is None
    assert (right.pairs, right.near_duplicates, right.rate, right.ratio) == (0, 1, None, None)
    assert (wide.pairs, wide.accepted, wide.rate, wide.ratio) == (1, 0, 0, 0)
    assert (wide.photos, wide.missed, wide.interval, wide.ratio_interval) == (2, 1, None, None)
    assert (one.photos, one.missed, one.pairs, one.rate) == (1, 1, 0, None)


def test_a_pair_at_the_threshold_is_accepted_and_one_at_the_limit_counts():
    whole, _ = evaluate([[1, 0], [0.6, 0.8]], 0.6, {})
    assert (whole.pairs, whole.accepted) == (1, 1)
    whole, _ = evaluate([[1, 0], [0.6, 0.8]], 0.6, {}, near_duplicate=0.6)
    assert (whole.pairs, whole.accepted, whole.near_duplicates) == (1, 1, 0)


def test_nothing_accepted_gives_no_ratio():
    whole, parts = evaluate(at(0, 90, 180), 0.9, {"all": np.ones(3, bool)})
    assert (whole.rate, whole.interval, whole.ratio) == (0, None, None)
    assert (parts["all"].ratio, parts["all"].ratio_interval) == (None, None)


def plain(rows, kept, threshold):
    """Return the evaluated pairs (a, b, accepted), and how many near-duplicates there are."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    chosen = np.flatnonzero(kept & np.isfinite(rows[:, 0])).tolist()
    pairs = [(a, b, round(float(units[a] @ units[b]), 9)) for a, b in combinations(chosen, 2)]
    evaluated = [(a, b, each >= threshold) for a, b, each in pairs if each <= NEAR_DUPLICATE]
    return evaluated, len(pairs) - len(evaluated)


def plain_interval(evaluated, drawn):
    rates = []
    for times in drawn.astype(int):
        weights = [(times[a] * times[b], taken) for a, b, taken in evaluated]
        if total := sum(weight for weight, _ in weights):
            rates.append(sum(weight for weight, taken in weights if taken) / total)
    return np.quantile(rates, [0.025, 0.975])


@given(st.integers(2, 40), st.integers(0, 1000), st.integers(1, 7))
def test_a_plain_count_gives_the_same(count, seed, block):
    rng = np.random.default_rng(seed)
    rows, members, everybody = rng.normal(size=(count, 3)), rng.random(count) < 0.6, np.ones(count, bool)
    rows[rng.random(count) < 0.1] = np.nan
    assume(plain(rows, everybody, 0.3)[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(false_accepts, "BLOCK", block)
        whole, parts = evaluate(rows, 0.3, {"some": members}, draws=30)
    for result, kept in ((whole, everybody), (parts["some"], members)):
        evaluated, near = plain(rows, kept, 0.3)
        assert result.photos + result.missed == kept.sum()
        assert (result.pairs, result.near_duplicates) == (len(evaluated), near)
        assert result.accepted == sum(taken for *_, taken in evaluated)
        if result.interval is not None:
            np.testing.assert_allclose(result.interval, plain_interval(evaluated, times_drawn(count, 30)))


def test_intervals_hold_the_rate_of_many_photos():
    rng = np.random.default_rng(3)
    group = np.arange(3000) % 2 == 1
    rows = rng.normal(size=(3000, 8)) + np.outer(group, [1, *[0] * 7])
    truth, parts = evaluate(rows, 0.5, {"odd": group}, draws=2)
    whole, few = evaluate(rows[:200], 0.5, {"odd": group[:200]})
    assert whole.interval[0] < truth.rate < whole.interval[1]
    assert few["odd"].interval[0] < parts["odd"].rate < few["odd"].interval[1]
    assert few["odd"].ratio_interval[0] < parts["odd"].ratio < few["odd"].ratio_interval[1]
    assert few["odd"].interval[0] > whole.rate  # the odd ones are more alike
    assert whole.interval[1] - whole.interval[0] < whole.rate


@pytest.mark.parametrize(
    ("rows", "threshold", "groups", "message"),
    [
        (at(0, 90), 0.96, {}, "threshold"),
        (at(0, 90), -1.1, {}, "threshold"),
        (at(0, 90), np.nan, {}, "threshold"),
        (at(0, None), 0.5, {}, "two faces"),
        (at(0, 1), 0.5, {}, "none is left"),
        ([1, 2], 0.5, {}, "embeddings"),
        (at(0, 90), 0.5, {"x": np.array([True])}, "groups: x"),
        (at(0, 90), 0.5, {"x": np.array([1, 0])}, "groups: x"),
    ],
)
def test_what_does_not_fit_is_refused(rows, threshold, groups, message):
    with pytest.raises(ProtocolError, match=message):
        evaluate(rows, threshold, groups)
