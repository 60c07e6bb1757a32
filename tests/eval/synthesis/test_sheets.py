"""Pictures of people beside their later photos."""

from __future__ import annotations

import numpy as np

from cascade.aging import AgeSynthesizer
from eval.synthesis.evaluation import Face
from eval.synthesis.sheets import SIDE, beside_later, pairs_apart
from tests.photos import portrait

FIVE = np.array([[[200, 100], [260, 102], [231, 135], [207, 168], [256, 169]]], np.float32)


def face(age: float, person: str) -> Face:
    return Face(f"{person}{age:g}", portrait(), FIVE, age, person)


def test_a_person_is_paired_with_the_photo_furthest_in_time() -> None:
    faces = [face(40, "a"), face(20, "b"), face(3, "a"), face(25, "b"), face(18, "a"), face(50, "c")]
    assert [(first.name, later.name) for first, later in pairs_apart(faces)] == [("a3", "a40")]


def test_the_sheet_shows_each_person_as_they_are_synthesised_and_later() -> None:
    synthesizer = AgeSynthesizer(threads=1)
    sheet = beside_later(synthesizer, [face(5, "a"), face(60, "a"), face(50, "b"), face(20, "b")])
    assert sheet is not None and SIDE < sheet.shape[0] < 2 * SIDE and sheet.shape[1] > 6 * SIDE
    first, synthesised, later = (sheet[4 : 4 + SIDE, 4 + n * (SIDE + 4) :][:, :SIDE] for n in range(3))
    assert np.array_equal(first, later) and not np.array_equal(first, synthesised)  # both are the portrait
    odd = beside_later(synthesizer, [face(5, "a"), face(60, "a")])
    assert odd is not None and odd.shape[1] < 4 * SIDE
    assert beside_later(synthesizer, [face(5, "a"), face(60, "c")]) is None
