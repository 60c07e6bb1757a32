"""Weights of age synthesis: mixed by age, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.models.aging import DEFAULT, FOLDER, OUTPUT, anchor_shares, load_aging, save_aging
from cascade.models.files import WeightsError
from tests.random_aging import ANCHORS, save_random_aging, small_graph


@given(st.floats(-50, 150), st.lists(st.integers(0, 100), min_size=2, max_size=9, unique=True))
def test_shares_are_of_the_two_nearest_anchors(age: float, anchors: list[int]) -> None:
    ages = tuple(map(float, sorted(anchors)))
    (shares,) = anchor_shares([age], ages)
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    assert shares @ np.array(ages) == pytest.approx(np.clip(age, ages[0], ages[-1]), abs=1e-3)
    assert np.diff(np.flatnonzero(shares)).tolist() in ([], [1])


@pytest.mark.parametrize("own_filters", [True, False])
def test_a_file_gives_the_weights_of_every_age(tmp_path: Path, own_filters: bool) -> None:
    weights = load_aging(save_random_aging(tmp_path / "a.safetensors", own_filters=own_filters))
    (node,) = weights.conditioned
    assert weights.anchors == ANCHORS and weights.mixed() == (
        [f"{node}.{name}" for name in ("weight", "bias")] if own_filters else [f"{node}.bias"]
    )
    assert [weights.nearest_age(age) for age in (-5, 33, 100)] == [ANCHORS[0], 33, ANCHORS[-1]]
    first, second = (weights.tensors[f"{node}.bias"][at] for at in (0, 1))
    np.testing.assert_allclose(weights.at_age(5)[f"{node}.bias"], 0.75 * first + 0.25 * second, rtol=1e-5)
    for age in (0, 33, 100):
        assert {n: a.shape for n, a in weights.at_age(age).items()} == weights.graph.tensor_shapes()


def test_changes_are_as_strong_as_the_file_says_for_the_age(tmp_path: Path) -> None:
    plain = load_aging(save_random_aging(tmp_path / "a.safetensors"))
    strengths = (0.5, 1.5, *(1.0 for _ in ANCHORS[2:]))
    again = load_aging(save_random_aging(tmp_path / "b.safetensors", strengths=strengths))
    between = 0.75 * ANCHORS[0] + 0.25 * ANCHORS[1]
    for age, strength in ((ANCHORS[0], 0.5), (ANCHORS[1], 1.5), (between, 0.75), (ANCHORS[-1], 1.0)):
        before, after = plain.at_age(age), again.at_age(age)
        for name, array in before.items():
            last = name.startswith(f"{plain.graph.outputs[OUTPUT]}.")
            np.testing.assert_allclose(after[name], array * (strength if last else 1), rtol=1e-5, atol=1e-7)


def test_what_is_no_generator_is_refused(tmp_path: Path) -> None:
    graph, conditioned = small_graph()
    weights = load_aging(save_random_aging(tmp_path / "a.safetensors"))
    even = (1.0,) * len(ANCHORS)
    for anchors, nodes, strengths, changes, message in (
        ((3.0, 1.0, 9.0), conditioned, even, {}, "rising ages"),
        (ANCHORS, (99,), even, {}, "conditioned node 99"),
        (ANCHORS, (4,), even, {}, "conditioned node 4"),
        (ANCHORS, conditioned, even[1:], {}, "one above 0, up to 10, for each anchor"),
        (ANCHORS, conditioned, (*even[1:], 0.0), {}, "one above 0, up to 10, for each anchor"),
        (ANCHORS, conditioned, (*even[1:], float("nan")), {}, "one above 0, up to 10, for each anchor"),
        ((0.0, 9.0), conditioned, (1.0, 1.0), {}, "expected shape"),
        (ANCHORS, conditioned, even, {"0.bias": np.full(4, np.nan)}, "not finite"),
    ):
        with pytest.raises(WeightsError, match=message):
            save_aging(tmp_path / "b.safetensors", graph, anchors, nodes, strengths, {**weights.tensors, **changes}, {})
    with pytest.raises(WeightsError, match="cascade-aging-1"):
        load_aging(Path(__file__).parents[2] / "cascade/models/weights/recognition/light.safetensors")
    with pytest.raises(WeightsError, match=r"is missing|expected a safetensors file"):
        load_aging(tmp_path / "none.safetensors")


def test_the_shipped_generator_loads() -> None:
    weights = load_aging()
    assert weights.path == FOLDER / f"{DEFAULT}.safetensors" and len(weights.anchors) == 9
    assert weights.path.stat().st_size < 900_000
    assert "research" in weights.metadata["licence"] and weights.metadata["data"]
