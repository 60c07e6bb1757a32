"""What the quality of faces is worth, measured on people held out of training.

    python -m train face-quality --data DATA --out runs/quality

Two questions: how many pairs of one person are still missed when the worst faces are refused (an error-versus-reject
curve), and how best to compare a face with somebody of whom there are several photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade.gallery_search import pooled
from cascade.recognize import Recognizer
from train.recognition.held_out import NAMED, HeldOutFaces, held_out_faces

FALSE_ACCEPT_RATE = 1e-3
REFUSED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the pairs of one person that are refused, those with the worst faces first."""

PHOTOS = (2, 5, 9)
"""Photos of each person in the gallery."""

ROUNDS = 20

Floats = NDArray[np.floating]
Curves = dict[str, list[float]]


def measures_of(faces: HeldOutFaces) -> dict[str, Floats]:
    """What faces are refused by: each measure by itself, the score of all, and chance."""
    quality = faces.quality
    chance = np.random.default_rng(0).random(len(faces.persons))
    return {
        "score": quality.score,
        "size": quality.size,
        "sharpness": quality.sharpness,
        "frontal": -np.abs(quality.yaw),
        "exposure": quality.exposure,
        "chance": chance,
    }


def reject_curves(faces: HeldOutFaces, false_accept_rate: float = FALSE_ACCEPT_RATE) -> Curves:
    """Shares of the pairs of one person that are missed, by measure and for each of `REFUSED`.

    The threshold accepts that share of all pairs of different people. A pair is as good as its worse face.
    """
    first, second = np.triu_indices(len(faces.persons), 1)
    same = faces.persons[first] == faces.persons[second]
    similarities = (faces.embeddings @ faces.embeddings.T)[first, second]
    missed = similarities[same] < np.quantile(similarities[~same], 1 - false_accept_rate)
    found: Curves = {}
    for name, values in measures_of(faces).items():
        worst_first = np.argsort(np.minimum(values[first], values[second])[same], kind="stable")
        found[name] = [float(missed[worst_first[round(share * len(missed)) :]].mean()) for share in REFUSED]
    return found


def gallery_rates(faces: HeldOutFaces, photos: int, rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """True accept rate at a false accept rate of 1e-3 and rank-1 rate of probes, by how people are compared.

    Of each person with enough photos (more than twice that, or than eight, and some to probe with), ``photos`` at
    random are in the gallery and the others are probes; means over the rounds. "best": the most similar photo; "mean":
    the mean direction of the photos; "by quality": that weighted by the photos' quality.
    """
    rng = np.random.default_rng(0)
    counts = np.bincount(faces.persons)
    people = np.flatnonzero(counts > 2 * min(photos, 4))
    people = people[counts[people] > photos]
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        held = [rng.permutation(np.flatnonzero(faces.persons == person)) for person in people]
        probes = np.concatenate([rows[photos:] for rows in held])
        mine = people[None] == faces.persons[probes, None]
        for name, similarities in _compared(faces, [rows[:photos] for rows in held], probes).items():
            threshold = np.quantile(similarities[~mine], 1 - FALSE_ACCEPT_RATE)
            first = people[similarities.argmax(axis=1)] == faces.persons[probes]
            found.setdefault(name, []).append((float((similarities[mine] >= threshold).mean()), float(first.mean())))
    means = {name: np.mean(rows, axis=0) for name, rows in found.items()}
    return {name: (float(accepted), float(first)) for name, (accepted, first) in means.items()}


def _compared(
    faces: HeldOutFaces, held: Sequence[NDArray[np.intp]], probes: NDArray[np.intp]
) -> dict[str, NDArray[np.float32]]:
    """Similarities (probes, people) by how they are computed."""
    asked, quality = faces.embeddings[probes], faces.quality.score
    best = [(asked @ faces.embeddings[rows].T).max(axis=1) for rows in held]
    mean = [asked @ pooled(faces.embeddings[rows]) for rows in held]
    weighted = [asked @ pooled(faces.embeddings[rows], quality[rows] + 1e-3) for rows in held]
    return {"best": np.stack(best, 1), "mean": np.stack(mean, 1), "by quality": np.stack(weighted, 1)}


def measure_quality(data: Path, weights: str | None, out: Path, threads: int | None = None) -> list[str]:
    """Measures both on the held-out people of each named set, draws the curves, and returns lines to print."""
    sets = dict(zip(NAMED, held_out_faces(data, NAMED, Recognizer(weights, threads)), strict=True))
    curves = {name: reject_curves(faces) for name, faces in sets.items()}
    lines = []
    for name, of_set in curves.items():
        refused = ", ".join(f"{share:.0%}" for share in REFUSED)
        lines.append(f"{name}: pairs of one person missed when the worst {refused} are refused")
        lines += [
            f"  {measure:10s} " + " ".join(f"{100 * each:5.1f}" for each in row) for measure, row in of_set.items()
        ]
    faces = sets[NAMED[-1]]
    lines.append(f"{NAMED[-1]}: true accept rate at {FALSE_ACCEPT_RATE:g}, and rank 1, of faces against galleries")
    for photos in PHOTOS:
        rates = ", ".join(f"{way} {t:.1%} {r:.1%}" for way, (t, r) in gallery_rates(faces, photos).items())
        lines.append(f"  {photos} photos a person: {rates}")
    out.mkdir(parents=True, exist_ok=True)
    draw_curves(out / "quality.png", curves)
    return lines


def draw_curves(file: Path, curves: Mapping[str, Curves]) -> None:
    """Draws the shares missed over the shares refused, a panel for each set."""
    from matplotlib.figure import Figure

    chart = Figure(figsize=(4.6 * len(curves), 3.8), layout="constrained")
    for place, (name, of_set) in zip(chart.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for measure, row in of_set.items():
            style = {"color": "0.6", "linestyle": "--"} if measure == "chance" else {}
            place.plot(100 * np.array(REFUSED), 100 * np.array(row), label=measure, marker=".", **style)
        place.set(xlabel="pairs refused, %", ylabel="pairs of one person missed, %", title=name)
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
        place.legend(fontsize=8)
    chart.savefig(file, dpi=110)
