"""`Tracker`: numbers of people by boxes and embeddings, on faces made up for it."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.faces import Faces
from cascade.tracking import Tracker
from cascade.tracking.motion import Motion

RATE = 25
PEOPLE = np.eye(4, 8, dtype=np.float32)
"""Embeddings of four people who are not alike."""


def faces_at(*places: tuple[float, float], size: float = 50, score: float = 0.99) -> Faces:
    """Faces around these centres."""
    boxes = [(x - size / 2, y - size / 2, x + size / 2, y + size / 2) for x, y in places]
    points = [[(x, y)] * 5 for x, y in places]
    return Faces(np.reshape(boxes, (-1, 4)), [score] * len(places), np.reshape(points, (-1, 5, 2)))


def embedder(*people: int, quality: float = 0.8):  # type: ignore[no-untyped-def]
    """What embeds the faces of a frame, which show these people."""

    def embed(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return PEOPLE[np.array(people)[chosen]], np.full(len(chosen), quality, np.float32)

    return embed


def test_a_moving_face_has_one_number() -> None:
    tracker = Tracker()
    numbers = [tracker.update(faces_at((100 + 8 * at, 100 + 3 * at)), at / RATE).tolist() for at in range(50)]
    assert numbers == [[1]] * 50


def test_people_who_cross_have_their_own_numbers() -> None:
    tracker = Tracker()
    for at in range(60):
        left, right = (100 + 6 * at, 200), (460 - 6 * at, 200)
        numbers = tracker.update(faces_at(left, right), at / RATE, embedder(0, 1))
    assert numbers.tolist() == [1, 2]


def test_somebody_who_comes_back_elsewhere_has_the_same_number() -> None:
    tracker = Tracker()
    for at in range(10):
        tracker.update(faces_at((100, 100)), at / RATE, embedder(0))
    for at in range(10, 100):
        tracker.update(Faces.empty(), at / RATE, embedder())
    assert tracker.update(faces_at((400, 300)), 4.0, embedder(0)).tolist() == [1]
    assert tracker.update(faces_at((400, 300), (100, 100)), 4.04, embedder(0, 2)).tolist() == [1, 2]


def test_another_person_in_the_same_place_has_another_number() -> None:
    tracker = Tracker()
    tracker.update(faces_at((100, 100)), 0.0, embedder(0))
    tracker.update(Faces.empty(), 0.1, embedder())
    assert tracker.update(faces_at((100, 100)), 0.2, embedder(1)).tolist() == [2]


def test_numbers_stay_through_a_cut() -> None:
    tracker = Tracker()
    tracker.update(faces_at((100, 100), (300, 100)), 0.0, embedder(0, 1))
    numbers = tracker.update(faces_at((100, 100), (300, 100)), 0.04, embedder(1, 0), cut=True)
    assert numbers.tolist() == [2, 1]


def test_a_cut_without_embeddings_begins_anew() -> None:
    tracker = Tracker()
    tracker.update(faces_at((100, 100)), 0.0)
    assert tracker.update(faces_at((100, 100)), 0.04, cut=True).tolist() == [2]


def test_a_blurred_face_is_followed_but_recognises_nobody() -> None:
    tracker = Tracker()
    tracker.update(faces_at((100, 100)), 0.0, embedder(0))
    assert tracker.update(faces_at((102, 100)), 2.0, embedder(0, quality=0.01)).tolist() == [2]


def test_a_track_that_was_never_embedded_joins_its_person_later() -> None:
    tracker = Tracker(embed_every=0.5)
    tracker.update(faces_at((100, 100)), 0.0, embedder(0))
    tracker.update(Faces.empty(), 2.0, embedder())
    assert tracker.update(faces_at((300, 300)), 2.04, embedder(0, quality=0.01)).tolist() == [2]
    assert tracker.update(faces_at((300, 300)), 2.6, embedder(0)).tolist() == [1]
    assert tracker.merged == {2: 1}


def test_faces_of_low_score_only_continue_tracks() -> None:
    tracker = Tracker()
    assert tracker.update(faces_at((100, 100), score=0.5), 0.0).tolist() == [0]
    assert tracker.update(faces_at((100, 100)), 0.04).tolist() == [1]
    assert tracker.update(faces_at((101, 100), score=0.5), 0.08).tolist() == [1]


def test_follows_what_is_found_at_its_predictions() -> None:
    tracker = Tracker()
    for at in range(6):
        tracker.update(faces_at((100 + 10 * at, 100)), at / RATE)
    tracks, boxes = tracker.predictions(6 / RATE)
    assert np.allclose(boxes[0], faces_at((160, 100)).boxes[0], atol=3)
    tracker.follow(tracks, faces_at((160, 100)).boxes, 6 / RATE)
    assert tracker.active[0].seen == 7


def test_remembers_no_more_people_than_asked_for() -> None:
    tracker = Tracker(memory=1)
    tracker.update(faces_at((100, 100)), 0.0, embedder(0))
    tracker.update(faces_at((400, 100)), 2.0, embedder(1))
    tracker.update(Faces.empty(), 4.0, embedder())
    assert tracker.update(faces_at((100, 300), (300, 300)), 6.0, embedder(0, 1)).tolist() == [3, 2]


def test_motion_predicts_a_constant_velocity_at_uneven_times() -> None:
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.54]
    motion = Motion((0, 0, 50, 60), 0.0)
    for time in times[1:]:
        motion.update((100 * time, 50 * time, 50 + 100 * time, 60 + 50 * time), time)
    assert np.allclose(motion.predicted(0.6), (60, 30, 110, 90), atol=1.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"same": 2}, "same: expected -1 to 1"), ({"overlap": 0}, "overlap"), ({"memory": -1}, "memory")],
)
def test_refuses_wrong_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tracker(**settings)  # type: ignore[arg-type]
