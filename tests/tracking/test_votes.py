"""Votes of the faces of a track: who it is, how the person looks, and "unknown"."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.attributes import Attributes
from cascade.gallery import EmbeddingModel, Gallery
from cascade.imaging.alignment import align
from cascade.tracking import AttributeVotes, IdentityVotes, quality
from tests.photos import FACE_LANDMARKS, portrait

ANNA, BERT = np.eye(2, 8, dtype=np.float32)
NOBODY = np.eye(1, 8, 5, dtype=np.float32)[0]


@pytest.fixture
def votes() -> IdentityVotes:
    gallery = Gallery(EmbeddingModel("test", "0" * 64, 8))
    gallery.add("Anna", ANNA)
    gallery.add("Bert", BERT)
    return IdentityVotes(gallery, 0.4)


def test_the_majority_by_weight_says_who_it_is(votes: IdentityVotes) -> None:
    votes.add(BERT, 0.2)
    votes.add(BERT, 0.2)
    votes.add(ANNA, 0.9)
    assert votes.result is not None
    assert votes.result.name == "Anna"
    assert votes.result.similarity == pytest.approx(1)


def test_it_is_unknown_where_most_faces_are_like_nobody_or_votes_differ(votes: IdentityVotes) -> None:
    assert votes.result is None
    votes.add(ANNA, 0.3)
    votes.add(NOBODY, 0.5)
    assert votes.result is None
    votes.add(ANNA, 0.3)
    assert votes.result is not None
    votes.add(BERT, 0.6)
    assert votes.result is None


def test_old_votes_can_be_outvoted(votes: IdentityVotes) -> None:
    for _ in range(1000):
        votes.add(NOBODY, 1.0)
    for _ in range(100):
        votes.add(ANNA, 1.0)
    assert votes.result is not None


def some_attributes(age: float, happy: float, unknown: str = "") -> Attributes:
    shares = np.array([[happy, 1 - happy]], np.float32)
    return Attributes({"expression": ("happy", "sad")}, {"expression": shares}, {"age": np.array([age])}, (unknown,))


def test_looks_are_weighted_means() -> None:
    looks = AttributeVotes()
    assert looks.result == {}
    looks.add(some_attributes(30, 0.9), 0, 3.0)
    looks.add(some_attributes(50, 0.2), 0, 1.0)
    looks.add(some_attributes(float("nan"), float("nan"), "too small"), 0, 5.0)
    assert looks.result["age"] == pytest.approx(35)
    assert looks.result["expression"] == "happy"


def test_looks_of_two_tracks_are_joined_by_weight() -> None:
    looks, same, empty = AttributeVotes(), AttributeVotes(), AttributeVotes()
    looks.add(some_attributes(30, 0.9), 0, 3.0)
    for _ in range(2):
        same.add(some_attributes(50, 0.0), 0, 1.5)
    looks.join(same)
    looks.join(empty)
    assert looks.result == {"age": pytest.approx(40), "expression": "sad"}
    looks.add(some_attributes(100, 0.0), 0, 6.0)
    assert looks.result["age"] == pytest.approx(70)
    empty.join(looks)
    assert empty.result == looks.result


def test_small_and_blurred_faces_have_less_quality() -> None:
    crop = align(portrait(), [FACE_LANDMARKS])
    blurred = crop.copy()
    for _ in range(12):
        blurred = ((blurred.astype(np.uint16) + np.roll(blurred, 1, 1) + np.roll(blurred, 1, 2)) // 3).astype(np.uint8)
    (good,), (small,), (soft,) = quality(crop, [112]), quality(crop, [40]), quality(blurred, [112])
    assert 0.6 < good <= 1
    assert small < 0.5 * good
    assert soft < 0.75 * good
