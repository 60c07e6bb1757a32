"""The protocol: faces of a test set at nine ages, and what evaluators say of them beside real faces of these ages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.age_groups import AGE_GROUPS, group_numbers
from cascade.aging import AgeSynthesizer
from cascade.datasets import REGISTRY, LabelledPhoto
from cascade.imaging.alignment import AlignError
from cascade.imaging.reading import ImageError, RGBImage, read_image
from cascade.single_face import enlarged, find_single_face
from eval.synthesis import measures
from eval.synthesis.evaluators import AgeEstimator, IdentityNetwork

GROUPS = AGE_GROUPS["nine"]
TARGETS = (1.0, 6.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0)
"""Years asked for: the anchors, one in each group."""

COARSE = (3, 5, 7)  # of TARGETS: 25, 45, 65
ADULT = 20.0  # years
FAR = 1e-3
LEAST = 8  # people on each side of a distance
GAPS = ((0, 10), (10, 20), (20, 30), (30, 45), (45, 100))

Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Face:
    """A real face: its photo, its five points (1, 5, 2), its age in years and whose it is."""

    name: str
    image: RGBImage
    landmarks: npt.NDArray[np.float32]
    age: float
    person: str


@dataclass(eq=False)
class Estimates:
    """What evaluators say of some faces: rows fit each other.

    ages        (n,) years
    female      (n,) 0 to 1
    embeddings  (n, 128)
    """

    ages: list[float] = field(default_factory=list)
    female: list[float] = field(default_factory=list)
    embeddings: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(
        self, image: RGBImage, landmarks: npt.NDArray[np.floating], age: AgeEstimator, identity: IdentityNetwork
    ) -> None:
        """One more face."""
        self.ages.append(float(age.ages(image, landmarks)[0]))
        self.female.append(float(age.female(image, landmarks)[0]))
        self.embeddings.append(identity.embed(image, landmarks)[0])


@dataclass(frozen=True, eq=False)
class Results:
    """All that figures are made of: ``faces`` with what is said of them, and of each at every target age."""

    faces: list[Face]
    real: Estimates
    sources: list[int]
    aged: Estimates
    unknown: list[str]

    def people(self) -> npt.NDArray[np.intp]:
        """(faces,) the same number for faces of one person."""
        return np.unique([face.person for face in self.faces], return_inverse=True)[1]

    def aged_ages(self) -> npt.NDArray[np.float64]:
        """(sources, targets) estimated ages."""
        return np.array(self.aged.ages).reshape(len(self.sources), len(TARGETS))

    def aged_embeddings(self) -> npt.NDArray[np.float32]:
        """(sources, targets, 128)."""
        return np.array(self.aged.embeddings).reshape(len(self.sources), len(TARGETS), -1)


def read_faces(data: Path, names: Sequence[str], most: int, progress: Progress) -> tuple[list[Face], list[str]]:
    """Real faces of registered test sets, at most so many a group and set, always the same; and problems.

    Raises ValueError for a set that is for training, or DatasetError.
    """
    faces, problems = [], []
    for name in names:
        entry = REGISTRY.get(name)
        if entry is None or entry.split == "train" or "age" not in entry.labels:
            raise ValueError(f"--set: expected a test set with ages, got {name!r}")
        photos = [photo for photo in entry.read_labels(data) if "age" in photo.labels]
        for photo in progress(_some_of_each(photos, most)):
            try:
                found = _face(photo, entry.crops, name)
            except (ImageError, AlignError) as error:
                problems.append(f"{photo.name}: {error}")
                continue
            problems += [f"{photo.name}: no face"] if found is None else []
            faces += [] if found is None else [found]
    return faces, problems


def _some_of_each(photos: Sequence[LabelledPhoto], most: int) -> list[LabelledPhoto]:
    rows = np.random.default_rng(0).permutation(len(photos))
    groups = group_numbers([years_of(photos[row].labels["age"]) for row in rows], GROUPS)
    chosen = [row for number in range(len(GROUPS)) for row in rows[groups == number][:most]]
    return [photos[row] for row in chosen]


def years_of(label: str) -> float:
    """The years of a label: a number, or the target age in the group that it names."""
    for (name, _, _), target in zip(GROUPS, TARGETS, strict=True):
        if label == name:
            return target
    return float(label)


def _face(photo: LabelledPhoto, crops: bool, name: str) -> Face | None:
    found = find_single_face(photo.path, crops)
    if found is None:
        return None
    image = read_image(photo.path)
    image = enlarged(image) if crops else image
    landmarks = found.landmarks[None] * np.array(image.shape[1::-1], np.float32)
    # FG-NET's file names begin with the person; in the other sets every photo is of somebody else
    person = photo.path.name[:3] if name == "fgnet" else photo.name
    return Face(photo.name, image, landmarks, years_of(photo.labels["age"]), f"{name}/{person}")


def evaluate(
    synthesizer: AgeSynthesizer,
    faces: list[Face],
    age: AgeEstimator,
    identity: IdentityNetwork,
    most: int,
    progress: Progress,
) -> Results:
    """Has the evaluators look at all real faces, and at ``most`` of them, one a person, at all target ages."""
    real, aged, unknown, sources = Estimates(), Estimates(), [], []
    for face in progress(faces):
        real.add(face.image, face.landmarks, age, identity)
    for number in progress(_sources(faces, most)):
        face = faces[number]
        found = synthesizer.synthesize(face.image, face.landmarks, TARGETS)
        if found.unknown[0]:
            unknown.append(f"{face.name}: {found.unknown[0]}")
            continue
        sources.append(number)
        for image in found.images:
            aged.add(image, face.landmarks, age, identity)
    return Results(faces, real, sources, aged, unknown)


def _sources(faces: Sequence[Face], most: int) -> list[int]:
    """One face a person, drawn evenly over the ages."""
    rows = np.random.default_rng(1).permutation(len(faces))
    first = {faces[row].person: int(row) for row in rows[::-1]}
    return sorted(first.values(), key=list(rows).index)[:most]


def figures(results: Results) -> dict[str, Any]:
    """The figures as summary.json has them."""
    faces, aged = results.faces, results.aged_ages()
    embeddings = np.array(results.real.embeddings)
    threshold = measures.threshold_at(measures.different_people(embeddings, results.people()), FAR)
    return {
        "sources": len(results.sources),
        "real_faces": len(faces),
        "left_as_they_are": len(results.unknown),
        "threshold": threshold,
        "far": FAR,
        "by_target": _by_target(results),
        "verified": _verified(results, threshold),
        "cosine_by_gap": _by_gap(results),
        "rising_all": float(measures.rising(aged).mean()),
        "rising_all_3_years": float(measures.rising(aged, 3.0).mean()),
        "rising_25_45_65": float(measures.rising(aged[:, COARSE]).mean()),
        "gender_kept": _gender_kept(results),
    }


def _by_target(results: Results) -> list[dict[str, Any]]:
    """Of each target age: estimated ages of real and synthesised faces, distances of their features, diversity."""
    groups = group_numbers([face.age for face in results.faces], GROUPS)
    real, ages, people = np.array(results.real.embeddings), np.array(results.real.ages), results.people()
    aged, embeddings, sources = results.aged_ages(), results.aged_embeddings(), people[results.sources]
    rows = []
    for number, (name, _, _) in enumerate(GROUPS):
        own = groups == number
        row: dict[str, Any] = {"group": name, "target": TARGETS[number], "real_faces": int(own.sum())}
        row["real"] = float(ages[own].mean()) if own.any() else None
        row["synthesised"] = float(aged[:, number].mean())
        row["difference"] = None if row["real"] is None else row["synthesised"] - row["real"]
        row["diversity"] = measures.diversity(embeddings[:, number], sources)
        if own.any():
            row["diversity_real"] = measures.diversity(real[own], people[own])
            row |= _distances(embeddings[:, number], sources, real[own], people[own])
        rows.append(row)
    return rows


def _distances(
    synthesised: npt.NDArray[np.float32],
    sources: npt.NDArray[np.intp],
    real: npt.NDArray[np.float32],
    people: npt.NDArray[np.intp],
) -> dict[str, float]:
    """KID and FID of synthesised faces of ``sources``, and of real ones, each to other real ones of ``people``.

    Nobody is on both sides, and nobody is on a side twice: a face beside itself, or beside another photo of the same
    person, would look too good. Empty for fewer than `LEAST` people on a side.
    """
    one_each = np.random.default_rng(0).permutation(np.unique(people, return_index=True)[1])
    size = len(one_each) // 2
    reference, others = one_each[:size], one_each[size : 2 * size]
    apart = synthesised[~np.isin(sources, people[reference])]
    size = min(size, len(apart))
    if size < LEAST:
        return {}
    near, far = real[reference[:size]], real[others[:size]]
    return {
        "kid": measures.kernel_distance(apart, near),
        "kid_real": measures.kernel_distance(far, near),
        "fid": measures.frechet_distance(apart[:size], near),
        "fid_real": measures.frechet_distance(far, near),
    }


def similarities(results: Results) -> npt.NDArray[np.float64]:
    """(sources, targets) cosine between a face and itself at each age."""
    before = np.array(results.real.embeddings)[results.sources]
    return np.asarray(np.einsum("nd,ntd->nt", before, results.aged_embeddings()), np.float64)


def _verified(results: Results, threshold: float) -> dict[str, Any]:
    """Shares that reach the threshold, by whether the face and the target are of adults."""
    adult = np.array([results.faces[at].age >= ADULT for at in results.sources])
    to = np.array(TARGETS) >= ADULT
    same, found = similarities(results) >= threshold, {}
    for first, rows in (("adults", adult), ("children", ~adult)):
        for second, columns in (("adults", to), ("children", ~to)):
            part = same[np.ix_(rows, columns)]
            found[f"{first}_to_{second}"] = {"pairs": part.size, "share": float(part.mean()) if part.size else None}
    return found


def _by_gap(results: Results) -> list[dict[str, Any]]:
    ages = np.array([results.faces[at].age for at in results.sources])
    gap, alike = np.abs(np.array(TARGETS)[None] - ages[:, None]), similarities(results)
    chosen = [(low, high, (gap >= low) & (gap < high)) for low, high in GAPS]
    return [
        {
            "from": low,
            "below": high,
            "pairs": int(rows.sum()),
            "cosine": float(alike[rows].mean()) if rows.any() else None,
        }
        for low, high, rows in chosen
    ]


def _gender_kept(results: Results) -> float:
    """How often the estimator says the same gender of a face as it is and at another age."""
    before = np.array(results.real.female)[results.sources] > 0.5
    after = np.array(results.aged.female).reshape(len(before), len(TARGETS)) > 0.5
    return float((before[:, None] == after).mean())
