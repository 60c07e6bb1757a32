"""Leave-one-out, MF1 and gallery-probe ranks, against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.recognition.identification import NEVER, gallery_probe, leave_one_out, megaface
from eval.recognition.similarity import ProtocolError


def at(*degrees):
    """Embeddings on a circle: the nearer two angles, the more alike; None is a missed face."""
    turn = np.radians([np.nan if each is None else each for each in degrees])
    return np.column_stack([np.cos(turn), np.sin(turn)])


def test_leave_one_out_of_four():
    # A at 0 and 9, B at 20 and 60. A's photos are 9 apart, B's first is 11 from A's second and 40 from its mate.
    result = leave_one_out(at(0, 9, 20, 60), ["A", "A", "B", "B"])
    assert result.ranks.tolist() == [1, 1, 2, 1]
    assert result.rank1 == 0.75
    assert result.cmc(3).tolist() == [0.75, 1, 1]
    assert (result.people, result.probes.tolist(), result.gaps) == (2, [0, 1, 2, 3], ())


def test_ties_count_against_the_probe():
    # The second photo of A is as far from its mate as from B's first.
    result = leave_one_out(at(0, 10, 20, 60), ["A", "A", "B", "B"])
    assert result.ranks.tolist() == [1, 2, 2, 1]
    # All alike: nobody can be told from anybody.
    assert leave_one_out(at(5, 5, 5, 5, 5), ["A", "A", "B", "B", "C"]).ranks.tolist() == [3, 3, 3, 3]


def test_a_person_with_one_photo_is_no_probe_but_stands_in_the_way():
    result = leave_one_out(at(0, 9, 20, 60, 59), ["A", "A", "B", "B", "C"])
    assert result.probes.tolist() == [0, 1, 2, 3]
    assert result.ranks.tolist() == [1, 1, 3, 2]
    assert result.people == 3


def test_rank_counts_people_not_photos():
    # Three photos of B lie between A's two; still B is one person.
    result = leave_one_out(at(0, 40, 10, 15, 20), ["A", "A", "B", "B", "B"])
    assert result.ranks[0] == 2


def test_missed_faces_fail():
    # B's second face is missed: it fails, and so does B's first, which has no other mate.
    result = leave_one_out(at(0, 9, 20, None), ["A", "A", "B", "B"])
    assert result.ranks.tolist() == [1, 1, NEVER, NEVER]
    assert result.cmc(20)[-1] == 0.5
    # A missed face stands in nobody's way.
    assert leave_one_out(at(0, 30, None), ["A", "A", "B"]).ranks.tolist() == [1, 1]


def test_rank1_by_age_gap():
    # Probe 0 is at age 1; its mates at 3 years (near) and 40 (far away); B sits in between.
    people, ages = ["A", "A", "A", "B", "B"], [1, 3, 40, 10, 12]
    result = leave_one_out(at(0, 5, 50, 20, 24), people, ages)
    gaps = {gap.name: (gap.probes, gap.rank1) for gap in result.gaps}
    # 0–5: photos 0 and 1 find each other, B's find each other. 30+: photos 0, 1 and 2 cannot.
    assert gaps == {"0-5": (4, 1.0), "5-10": (0, None), "10-20": (0, None), "20-30": (0, None), "30+": (3, 0.0)}
    assert result.ranks.tolist() == [1, 1, 2, 1, 1]


def test_ages_that_nobody_knows():
    assert leave_one_out(at(0, 9), ["A", "A"], [np.nan, np.nan]).gaps == ()


def test_many_blocks_give_what_one_comparison_gives():
    rng = np.random.default_rng(0)
    people = rng.integers(0, 12, 90).tolist()
    rows = rng.normal(size=(90, 8))
    result = leave_one_out(rows, people)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for probe, rank in zip(result.probes, result.ranks, strict=True):
        alike = unit @ unit[probe]
        alike[probe] = -2
        best = {person: max(alike[k] for k in range(90) if people[k] == person) for person in set(people)}
        own = best.pop(people[probe])
        assert rank == 1 + sum(value >= own for value in best.values())


def test_mf1():
    # Strangers at 4, 30 and 90. From 0 the mate at 5 comes after the stranger at 4, that at 20 too.
    result = megaface(at(0, 5, 20, 70), ["A", "A", "A", "B"], at(4, 30, 90))
    assert result.probes.tolist() == [0, 0, 1, 1, 2, 2]
    # From 0: 5 (after 4), 20 (after 4). From 5: 0 (after 4), 20 (after 4). From 20: 0 (after 30, 4), 5 (after 30).
    assert result.ranks.tolist() == [2, 2, 2, 2, 3, 2]
    assert result.people == 4
    # Other people of the set are not in the gallery: B at 1 changes nothing.
    assert megaface(at(0, 5, 20, 1), ["A", "A", "A", "B"], at(4, 30, 90)).ranks.tolist() == [2, 2, 2, 2, 3, 2]


def test_mf1_ties_and_missed_faces():
    assert megaface(at(0, 10), ["A", "A"], at(20)).ranks.tolist() == [1, 2]
    result = megaface(at(0, 10, None), ["A", "A", "A"], at(90, None))
    assert result.ranks.tolist() == [1, NEVER, 1, NEVER, NEVER, NEVER]


def test_gallery_probe():
    # Gallery: A at 0, B at 40 and 80. Probes: A at 10, B at 22, C (not in the gallery), A missed.
    result = gallery_probe(at(0, 40, 80), ["A", "B", "B"], at(10, 22, 5, None), ["A", "B", "C", "A"])
    assert result.probes.tolist() == [0, 1, 3]
    assert result.ranks.tolist() == [1, 1, NEVER]
    assert result.people == 2
    more = gallery_probe(at(0, 40, 80), ["A", "B", "B"], at(10, 22), ["A", "B"], at(25, 26, 90))
    assert more.ranks.tolist() == [1, 3]
    assert more.people == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leave_one_out(at(0, 1), ["A", "B"]), "nobody has two photos"),
        (lambda: leave_one_out(at(0, 1), ["A"]), "people: 2 expected"),
        (lambda: leave_one_out(at(0, 1), ["A", "A"], [1]), "ages"),
        (lambda: leave_one_out(np.zeros((0, 2)), []), "embeddings"),
        (lambda: megaface(at(0, 1), ["A", "B"], at(3)), "nobody has two photos"),
        (lambda: megaface(at(0, 1), ["A", "A"], np.zeros((0, 2))), "distractors"),
        (lambda: megaface(at(0, 1), ["A", "A"], np.ones((1, 3))), "distractors: 2 numbers"),
        (lambda: gallery_probe(at(0), ["A"], at(1), ["B"]), "none of them has a photo in the gallery"),
        (lambda: gallery_probe(at(0), ["A", "B"], at(1), ["A"]), "gallery_people"),
        (lambda: gallery_probe(at(0), ["A"], np.ones((1, 3)), ["A"]), "probes: 2 numbers"),
    ],
)
def test_unfit_input_is_refused(call, message):
    with pytest.raises(ProtocolError, match=message):
        call()
