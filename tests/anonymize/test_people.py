"""Whose faces are hidden: what is uncertain is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from cascade import Faces, Gallery, GalleryError, Recognizer
from cascade.anonymize.people import People
from tests.galleries import MODEL
from tests.photos import portrait, portrait_faces


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(threads=1)


@pytest.fixture(scope="module")
def gallery(recognizer: Recognizer) -> Gallery:
    found = Gallery(recognizer)
    found.add("Eileen Collins", recognizer.embed(portrait(), portrait_faces()))
    return found


@pytest.mark.parametrize(
    ("rule", "similarity", "small", "status"),
    [
        ("keep", float("nan"), False, "doubtful"),
        ("only", float("nan"), False, "doubtful"),
        ("keep", 0.9, False, "keep"),
        ("keep", 0.9, True, "doubtful"),
        ("keep", 0.4, False, "doubtful"),
        ("keep", 0.1, False, "hide"),
        ("keep", 0.1, True, "hide"),
        ("only", 0.9, False, "hide"),
        ("only", 0.9, True, "hide"),
        ("only", 0.4, False, "doubtful"),
        ("only", 0.1, True, "doubtful"),
        ("only", 0.1, False, "keep"),
    ],
)
def test_the_uncertain_is_hidden(gallery, recognizer, rule, similarity, small, status):
    people = People(gallery, rule, recognizer, threshold=0.5)
    assert people.decision(similarity, small).status == status


@pytest.mark.parametrize(("rule", "status"), [("keep", "keep"), ("only", "hide")])
def test_a_known_face_follows_the_rule(gallery, recognizer, rule, status):
    (decision,) = People(gallery, rule, recognizer).decide(portrait(), portrait_faces())
    assert decision.status == status
    assert People(gallery, rule, recognizer).decide(portrait(), Faces.empty()) == []


def test_a_face_of_few_pixels_is_small(gallery, recognizer):
    people = People(gallery, "keep", recognizer)
    assert [people.is_small(size) for size in (8.0, 200.0)] == [True, False]
    small = portrait_faces()
    small = Faces(np.array([[10, 10, 18, 18]]), small.scores, small.landmarks)
    assert people.decide(portrait(), small)[0].reason == "too small to tell who it is"


def test_a_face_that_cannot_be_aligned_is_doubtful(gallery, recognizer):
    face = portrait_faces()
    both = Faces(np.repeat(face.boxes, 2, 0), [0.9, 0.5], np.concatenate([face.landmarks, 0 * face.landmarks]))
    decisions = People(gallery, "keep", recognizer).decide(portrait(), both)
    assert [each.status for each in decisions] == ["keep", "doubtful"]


def test_nobody_stays_visible_twice_in_a_photo(gallery, recognizer):
    twice = np.hstack([portrait(), portrait()])
    faces = portrait_faces()
    both = Faces(
        np.concatenate([faces.boxes, faces.boxes + np.array([512, 0, 512, 0])]),
        [0.9, 0.9],
        np.concatenate([faces.landmarks, faces.landmarks + np.array([512, 0])]),
    )
    statuses = [each.status for each in People(gallery, "keep", recognizer).decide(twice, both)]
    assert sorted(statuses) == ["hide", "keep"]


def test_wrong_settings_are_named(gallery, recognizer):
    with pytest.raises(ValueError, match=r"^rule: expected 'keep' or 'only'"):
        People(gallery, "blur", recognizer)
    with pytest.raises(ValueError, match=r"^threshold: expected"):
        People(gallery, "keep", recognizer, threshold=2)
    with pytest.raises(GalleryError, match="not comparable"):
        People(Gallery(MODEL), "keep", recognizer)
