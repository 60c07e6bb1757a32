"""The area under a precision-recall curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.detection.average_precision import average_precision


@pytest.mark.parametrize(
    ("recall", "precision", "area"),
    [
        ([], [], 0.0),
        ([1.0], [1.0], 1.0),
        ([0.5, 0.5, 1.0], [1.0, 0.5, 2 / 3], 0.5 + 0.5 * 2 / 3),
        ([0.0, 0.5], [0.0, 0.5], 0.25),  # the envelope lifts what comes before
        ([0.25, 0.25], [1.0, 0.1], 0.25),  # nothing is found beyond: no area there
    ],
)
def test_average_precision_by_hand(recall, precision, area):
    assert average_precision(recall, precision) == pytest.approx(area, abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_average_precision_is_the_mean_of_the_best_precision_from_each_face_on(hits, missed):
    hits = np.array(hits)
    faces = int(hits.sum()) + missed
    if faces == 0:
        return
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = [precision[k:].max() for k in np.flatnonzero(hits)]
    assert average_precision(np.cumsum(hits) / faces, precision) == pytest.approx(sum(best) / faces)
