"""Pictures for the eye: the best beside the worst, and people beside their own later photos."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from cascade.aging import AgeSynthesizer
from cascade.imaging.alignment import align
from cascade.imaging.marking import contact_sheet
from cascade.imaging.pasting import HEAD_TEMPLATE
from cascade.imaging.reading import RGBImage
from eval.synthesis import evaluation
from eval.synthesis.evaluation import Face, Results

SIDE = 112  # pixels of a face
EXTREMES, PEOPLE = 6, 16  # faces at either end; people with later photos
BETWEEN = 12.0  # years at least between a person's two photos

Cell = tuple[RGBImage, str]


def extremes(synthesizer: AgeSynthesizer, results: Results) -> RGBImage:
    """The faces that came out best and worst: by the error of the age, and by how unlike they are to themselves."""
    errors = np.abs(results.aged_ages() - np.array(evaluation.TARGETS)).mean(axis=1) / 10
    order = np.argsort(errors + 5 * (1 - evaluation.similarities(results)).mean(axis=1), kind="stable")
    rows = []
    for title, chosen in (("best", order[:EXTREMES]), ("worst", order[EXTREMES:][::-1][:EXTREMES])):
        for number in chosen.tolist():
            face = results.faces[results.sources[number]]
            aged = synthesizer.synthesize(face.image, face.landmarks, evaluation.TARGETS)
            later = zip(aged.images, map("{:g}".format, aged.ages), strict=True)
            rows.append([_cell(face, face.image, f"{title}: {face.age:g}"), *(_cell(face, *each) for each in later)])
    return contact_sheet(rows)


def beside_later(synthesizer: AgeSynthesizer, faces: list[Face]) -> RGBImage | None:
    """People as they are, synthesised at the age of a later photo of theirs, and that photo; None if there are none.

    Of each person the photos are taken that are furthest apart.
    """
    rows = [_beside(synthesizer, *pair) for pair in pairs_apart(faces)]
    found = [row for row in rows if row is not None][:PEOPLE]
    halves = [found[::2], found[1::2]]
    return contact_sheet([[*a, *b] for a, b in zip(halves[0], [*halves[1], []], strict=False)]) if found else None


def pairs_apart(faces: list[Face]) -> list[tuple[Face, Face]]:
    """Of each person the youngest and the oldest face, if they are far enough apart."""
    ordered = sorted(faces, key=lambda face: (face.person, face.age))
    people = [list(photos) for _, photos in groupby(ordered, key=lambda face: face.person)]
    return [(photos[0], photos[-1]) for photos in people if photos[-1].age - photos[0].age >= BETWEEN]


def _beside(synthesizer: AgeSynthesizer, first: Face, later: Face) -> list[Cell] | None:
    aged = synthesizer.synthesize(first.image, first.landmarks, [later.age])
    if aged.unknown[0]:
        return None
    return [
        _cell(first, first.image, f"{first.age:g}"),
        _cell(first, aged.images[0], f"synthetic {later.age:g}"),
        _cell(later, later.image, f"real {later.age:g}"),
    ]


def _cell(face: Face, image: Any, text: str) -> Cell:
    return align(image, face.landmarks, SIDE, HEAD_TEMPLATE)[0], text
