"""Cosines of embeddings, and missed faces among them."""

from __future__ import annotations

import numpy as np
import pytest

from eval.recognition.similarity import ProtocolError, pair_scores, similarities, unit_rows


def test_rows_are_scaled_and_missed_faces_become_nan():
    rows = unit_rows([[3, 4], [0, 0], [np.nan, 1], [1e300, 0]])
    np.testing.assert_allclose(rows[0], [0.6, 0.8])
    assert np.isnan(rows[1:3]).all()
    np.testing.assert_allclose(rows[3], [1, 0])


@pytest.mark.parametrize("embeddings", [[1, 2], [[np.inf, 1]], [["a"]], np.zeros((0, 4)), np.zeros((4, 0))])
def test_other_shapes_and_values_are_refused(embeddings):
    with pytest.raises(ProtocolError, match="gallery"):
        unit_rows(embeddings, "gallery")


def test_cosines():
    rows = unit_rows([[1, 0], [0, 2], [3, 3], [np.nan, 0]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        similarities(rows, rows),
        [[1, 0, half, -np.inf], [0, 1, half, -np.inf], [half, half, 1, -np.inf], [-np.inf] * 4],
        atol=1e-9,
    )
    scores = pair_scores(rows, np.array([0, 2, 0]), np.array([1, 0, 3]))
    np.testing.assert_allclose(scores, [0, half, np.nan], atol=1e-9)


def test_equal_embeddings_are_equally_alike_wherever_they_stand():
    rng = np.random.default_rng(0)
    rows = unit_rows(np.repeat(rng.normal(size=(1, 128)), 301, axis=0).astype(np.float32))
    assert len(np.unique(similarities(rows[:7], rows))) == 1
    pairs = rng.integers(0, 301, (2, 70000))
    assert len(np.unique(pair_scores(rows, *pairs))) == 1
