"""Protected templates: what they cost and what they hide."""

from __future__ import annotations

import numpy as np
import pytest

from eval.recognition.similarity import ProtocolError, unit_rows
from eval.recognition.templates import Kind, known_pairs_attack, projections, protect, reconstruct

KEY = bytes(range(32))
ROWS = unit_rows(np.random.default_rng(0).normal(size=(200, 16)))


def test_signs_differ_by_the_angle():
    """As many as the angle is of a half turn, on average."""
    matrix = projections(Kind(4096), KEY, 16)
    assert matrix.shape == (16, 4096)
    templates = protect(Kind(4096), ROWS, matrix)
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1)
    expected = 1 - 2 * np.arccos(np.clip(ROWS[:50] @ ROWS[50:100].T, -1, 1)) / np.pi
    np.testing.assert_allclose(templates[:50] @ templates[50:100].T, expected, atol=0.08)


def test_what_the_key_gives_back():
    for kind, least in ((Kind(), 1 - 1e-9), (Kind(512), 0.95), (Kind(16), 0.7)):
        matrix = projections(kind, KEY, 16)
        found = (reconstruct(protect(kind, ROWS, matrix), matrix) * ROWS).sum(axis=1)
        assert found.mean() >= least
        if kind.bits:
            assert found.mean() < 0.999


def test_what_known_pairs_give():
    rotated = protect(Kind(), ROWS, projections(Kind(), KEY, 16))
    assert known_pairs_attack(ROWS, rotated, 16) == pytest.approx(1)
    assert known_pairs_attack(ROWS, rotated, 4) < 0.8
    for known in (0, 200):
        with pytest.raises(ProtocolError, match="known: 1 to 199"):
            known_pairs_attack(ROWS, rotated, known)


def test_missed_faces_stay_missed():
    rows = np.vstack([ROWS[:1], np.full((1, 16), np.nan)])
    for kind in (Kind(), Kind(32)):
        templates = protect(kind, rows, projections(kind, KEY, 16))
        assert np.isnan(templates).any(axis=1).tolist() == [False, True]


def test_kinds_have_names():
    assert [Kind().name, Kind(1024).name] == ["rotation", "1,024 signs"]
    with pytest.raises(ProtocolError, match="bits: at least 1"):
        Kind(0)
