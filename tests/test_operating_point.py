"""Error rates by the size of the faces."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.models.files import WeightsError
from cascade.operating_point import OperatingPoint, SizeRate, face_sizes, operating_point_of

STATED = {"threshold": 0.3, "false_accept_rate": 0.001, "true_accept_rate": 0.9, "measured_on": "some"}
BY_SIZE = [
    {"face_size": 16, "false_accept_rate": 0.08, "true_accept_rate": 0.7, "pairs": 1000},
    {"face_size": 20, "false_accept_rate": 0.02, "true_accept_rate": 0.75},
    {"face_size": 40, "false_accept_rate": 0.0015, "true_accept_rate": 0.88},
    {"face_size": 80, "false_accept_rate": 0.0009, "true_accept_rate": 0.91},
]


@pytest.fixture(scope="module")
def point() -> OperatingPoint:
    found = operating_point_of({"verification": {**STATED, "by_face_size": BY_SIZE}}, "file")
    assert found is not None
    return found


def test_rates_that_were_measured(point):
    assert point.by_face_size[0] == SizeRate(16, 0.08, 0.7)
    assert point.rates_at(16) == pytest.approx((0.08, 0.7))
    assert point.rates_at(20, 20) == pytest.approx((0.02, 0.75))
    assert point.rates_at(200) == (0.001, 0.9)
    assert point.rates_at(80) == pytest.approx((0.001, 0.9))  # never better than stated for large faces


def test_rates_between(point):
    assert point.rates_at(np.sqrt(20 * 40)) == pytest.approx((np.sqrt(0.02 * 0.0015), 0.815))
    assert point.rates_at(20, 40) == point.rates_at(40, 20)
    assert point.rates_at(20, 40) == pytest.approx((np.sqrt(0.02 * 0.0015), 0.75))  # one person: the smaller face
    assert point.rates_at(20, 400) == pytest.approx((0.001, 0.75))
    falling = [point.rates_at(size)[0] for size in range(16, 100)]
    assert falling == sorted(falling, reverse=True)
    assert point.rates_at(12) is None
    assert point.rates_at(0) is None


def test_small_and_too_small(point):
    assert [point.is_too_small(size) for size in (5, 16, 20, 26, 40, 100)] == [True, True, True, False, False, False]
    assert [point.is_small(size) for size in (5, 20, 26, 38, 40, 100)] == [True, True, True, False, False, False]
    assert not point.is_small(20, 200)
    assert point.is_too_small(12, 200) and point.rates_at(200, 12) is None  # either below what was measured
    good = point.smallest_good_face
    assert not point.is_small(good)
    assert point.is_small(good - 1)


def test_without_rates_by_size():
    point = operating_point_of({"verification": STATED}, "file")
    assert point == OperatingPoint(*STATED.values())
    assert point.rates_at(5) == (0.001, 0.9)
    assert not point.is_small(5)
    assert point.smallest_good_face == 0
    assert operating_point_of({}, "file") is None


@pytest.mark.parametrize("sizes", [(), (float("nan"),), (24, float("nan")), (-1,), ("24",), (True,), (24, 30, 40)])
def test_sizes_without_a_rate(point, sizes):
    for ask in (point.rates_at, point.is_small, point.is_too_small):
        with pytest.raises((ValueError, TypeError), match="sizes: expected"):
            ask(*sizes)


def test_a_rate_of_zero():
    point = OperatingPoint(0.3, 0.0, 0.9, "some", (SizeRate(16, 0.0, 0.7), SizeRate(40, 0.0, 0.9)))
    assert point.rates_at(20)[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    "by_size",
    [
        7,
        [7],
        [{"face_size": 16}],
        BY_SIZE[::-1],
        [{**BY_SIZE[0], "false_accept_rate": 2}],
        [{**BY_SIZE[0], "true_accept_rate": float("nan")}],
        [{**BY_SIZE[0], "face_size": float("nan")}],
        [{**BY_SIZE[0], "face_size": 10**400}],
    ],
)
def test_wrong_rates(by_size):
    with pytest.raises(WeightsError, match="verification threshold"):
        operating_point_of({"verification": {**STATED, "by_face_size": by_size}}, "file")


def test_sizes_of_boxes():
    assert face_sizes([[0, 0, 20, 45], [5, 5, 5, 9]]).tolist() == [30, 0]
    assert face_sizes(np.empty((0, 4))).shape == (0,)
