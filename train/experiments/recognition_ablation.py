"""What taking age out is worth: plain embedding, + decomposition and age head, + adversary, + age-mean subtraction.

    python -m train ablation --faces runs/faces --initial runs/plain/checkpoint.pt --fgnet FGNET --out runs/ablation

Every arm goes on from the same plain run, for the same steps over the same batches, in the last stages of the encoder
and in the heads, and is evaluated on FG-NET: leave-one-out rank-1, equal error rate and TAR at a false accept rate of
1e-3 by the years between two photos. The last arm is the model of the one before, with the mean embedding of each age
subtracted from its embeddings. Finished runs in --out are used again.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from cascade.datasets import read_fgnet
from cascade.imaging.alignment import align
from cascade.imaging.reading import read_image
from cascade.recognize import centred_by_age
from eval.recognition.identification import leave_one_out
from eval.recognition.verification import AGE_GAPS, evaluate, gap_name
from train.common.files import new_file, save_json
from train.common.settings import plain_values
from train.recognition.age import AGES, expected_age
from train.recognition.age_means import model_age_means
from train.recognition.batches import split
from train.recognition.crops import FaceCrops
from train.recognition.measures import measure, outputs
from train.recognition.model import RecognitionModel
from train.recognition.settings import RecognitionSettings
from train.recognition.teacher import Teacher
from train.recognition.trainer import train_recognition

ARMS: dict[str, dict[str, Any]] = {
    "plain": {"decomposed": False, "lambda_age": 0.0, "lambda_adversary": 0.0},
    "decomposition": {"lambda_adversary": 0.0},
    "adversary": {},
}
SUBTRACTION = "age-mean subtraction"
LABELS = {
    "plain": "plain embedding",
    "decomposition": "+ decomposition, age head",
    "adversary": "+ adversary",
    SUBTRACTION: "+ age-mean subtraction",
}
FAR = "1e-3"
TITLES = {"rank1": "leave-one-out rank-1", "eer": "equal error rate"}
WIDE = (20.0, math.inf)
"""Years between two photos from which on the paper's claim is tested."""


def run_arms(
    base: RecognitionSettings,
    seeds: Sequence[int],
    faces: FaceCrops,
    fgnet: Path,
    out: Path,
    teacher: Teacher | None = None,
) -> list[dict[str, Any]]:
    """Trains and evaluates every arm with every seed, and writes ablation.csv, ablation.json and ablation.png."""
    crops, people, ages = _fgnet_crops(fgnet, out / "fgnet.npz")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for arm, changes in ARMS.items():
            folder = out / f"{arm}-{seed}"
            done = folder / "fgnet.json"
            settings = replace(base, seed=seed, **changes)
            if not done.exists() or json.loads(done.read_text())["settings"] != plain_values(settings):
                model = train_recognition(settings, faces, folder, teacher=teacher)
                learned, measured = split(faces, settings.validation)
                found = evaluate_model(model, crops, people, ages) | {"validation": measure(model, faces, measured)}
                if settings.lambda_adversary:
                    means = model_age_means(model, faces, learned)
                    found[SUBTRACTION] = evaluate_model(model, crops, people, ages, means)
                found["settings"] = plain_values(settings)
                save_json(done, found)
            found = json.loads(done.read_text())
            rows.append({"arm": arm, "seed": seed, **found})
            if SUBTRACTION in found:
                rows.append({"arm": SUBTRACTION, "seed": seed, **found[SUBTRACTION]})
    _write(rows, out)
    return rows


def _fgnet_crops(folder: Path, cache: Path) -> tuple[NDArray[np.uint8], NDArray[np.str_], NDArray[np.float64]]:
    """FG-NET's faces (n, 112, 112, 3) aligned by its own landmarks, who they are, and their ages."""
    if not cache.exists():
        photos = [photo for photo in read_fgnet(folder) if photo.landmarks is not None]
        crops = np.concatenate([align(read_image(p.path), np.asarray(p.landmarks)[None]) for p in photos])
        cache.parent.mkdir(parents=True, exist_ok=True)
        with new_file(cache) as stream:
            np.savez(stream, crops=crops, people=[str(p.person) for p in photos], ages=[p.age for p in photos])
    with np.load(cache) as stored:
        return stored["crops"], stored["people"], stored["ages"]


def evaluate_model(
    model: RecognitionModel,
    crops: NDArray[np.uint8],
    people: NDArray[np.str_],
    ages: NDArray[np.float64],
    means: NDArray[np.float32] | None = None,
) -> dict[str, Any]:
    """Rank-1, EER, TAR at FAR 1e-3 by years between the photos, and the age error, of a model on FG-NET.

    The ``means`` (101, D) of the ages are subtracted from the embeddings, if given.
    """
    embeddings, logits = outputs(model.eval(), crops)
    of_ages = np.empty((0, AGES), np.float32) if logits is None else logits.numpy()
    vectors = centred_by_age(embeddings.numpy(), of_ages, means)
    first, second = np.triu_indices(len(people), 1)
    scores = (vectors @ vectors.T)[first, second]
    pairs = evaluate(scores, people[first] == people[second], gaps=ages[first] - ages[second], bands=(*AGE_GAPS, WIDE))
    found = {
        "rank1": leave_one_out(vectors, people.tolist()).rank1,
        "eer": pairs.roc.eer,
        "tar": {gap.name: gap.tar_at_far[FAR] for gap in pairs.gaps if gap.genuine},
    }
    if logits is not None:
        found["age_mae"] = float(np.abs(expected_age(logits).numpy() - ages).mean())
    return found


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    bands = list(rows[0]["tar"])
    with (out / "ablation.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["arm", "seed", "rank1", "eer", *(f"tar_{band}" for band in bands), "age_mae"])
        for row in rows:
            tars = [row["tar"][band] for band in bands]
            table.writerow([row["arm"], row["seed"], row["rank1"], row["eer"], *tars, row.get("age_mae", "")])
    save_json(out / "ablation.json", summary(rows))
    draw(rows, out / "ablation.png")


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of every arm, and of its differences to the plain one, by seed."""
    figures = [
        {"rank1": row["rank1"], "eer": row["eer"]} | {f"tar_{k}": v for k, v in row["tar"].items()} for row in rows
    ]
    found: dict[str, Any] = {}
    for arm in LABELS:
        found[arm] = {}
        for name in figures[0]:
            both = list(zip(rows, figures, strict=True))
            ours = {row["seed"]: values[name] for row, values in both if row["arm"] == arm}
            plain = {row["seed"]: values[name] for row, values in both if row["arm"] == "plain"}
            gains = [ours[seed] - plain[seed] for seed in ours if seed in plain]
            found[arm][name] = {**_spread(list(ours.values())), "gain": _spread(gains)}
    return found


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": std}


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Bars of the means over the seeds with a point for each seed: TAR by years between the photos, rank-1 and EER."""
    bands = [name for name in rows[0]["tar"] if name != gap_name(*WIDE)]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), width_ratios=(5, 1.4, 1.4), constrained_layout=True)
    panels = {f"TAR at FAR {FAR} by years between photos": bands, "rank1": [""], "eer": [""]}
    for axis, (title, ticks) in zip(axes, panels.items(), strict=True):
        for number, arm in enumerate(LABELS):
            of_arm = [row for row in rows if row["arm"] == arm]
            found = np.array(
                [[row["tar"][band] for band in bands] if ticks == bands else [row[title]] for row in of_arm]
            )
            places = np.arange(len(ticks)) + 0.21 * (number - 1.5)
            axis.bar(places, found.mean(0), 0.19, label=LABELS[arm], alpha=0.75)
            axis.plot(np.tile(places, (len(found), 1)).T, found.T, "k.", markersize=4)
        axis.set(title=TITLES.get(title, title), xticks=range(len(ticks)), xticklabels=ticks)
        axis.grid(axis="y", alpha=0.3)
    axes[1].set_ylim(bottom=max(0.0, min(row["rank1"] for row in rows) - 0.05))
    axes[0].legend()
    figure.suptitle(f"FG-NET, {len({row['seed'] for row in rows})} seeds (points), means (bars)")
    figure.savefig(file, dpi=110)
    plt.close(figure)
