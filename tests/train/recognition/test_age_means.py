"""Mean embeddings of ages: what is found again from faces whose ages are distributions."""

from __future__ import annotations

import numpy as np

from train.recognition.age_means import RIDGE, age_means


def test_means_are_found_again():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(101, 6)).astype(np.float32)
    ages = np.repeat(np.arange(101), 400)
    probabilities = np.eye(101)[ages]
    embeddings = (truth[ages] + 0.1 * rng.normal(size=(len(ages), 6))).astype(np.float32)
    found = age_means(embeddings, probabilities)
    assert found.shape == (101, 6) and found.dtype == np.float32
    np.testing.assert_allclose(found, truth * 400 / (400 + RIDGE), atol=0.03)


def test_an_age_without_faces_has_no_mean():
    probabilities = np.eye(101)[np.full(50, 30)]
    found = age_means(np.ones((50, 3), np.float32), probabilities)
    np.testing.assert_allclose(found[30], 50 / (50 + RIDGE), rtol=1e-5)
    assert not np.delete(found, 30, axis=0).any()
