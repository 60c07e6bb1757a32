"""Runs the networks of a paper under one budget, and puts what they reach beside what the paper prints."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from cascade.datasets import DatasetError, read_celeba_attributes
from eval.report.files import markdown_table
from train.attributes.batches import LabelledFaces, LabelledSet
from train.attributes.measures import measure, same_distribution
from train.attributes.networks import FaceNetwork, activation_floats
from train.attributes.pack import pack_source
from train.attributes.settings import AttributeSettings
from train.attributes.sources import AttributeSource, read_attribute_sources
from train.attributes.store import LabelledCrops
from train.attributes.trainer import AttributeRun
from train.common.files import save_json
from train.common.settings import save_settings
from train.experiments.comparison import mean_and_spread
from train.experiments.face_papers import FaceArm, FacePaper, FaceSet

SPLIT_SEED = 1
PEOPLE = 9
TIMED = 30  # passes of one face
MEGABYTE = 2**20

Row = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """What all arms have in common. ``limit`` is of the faces of each set; None takes all."""

    steps: int
    batch: int = 128
    learning_rate: float = 1e-3
    limit: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"

    def settings(self, arm: FaceArm, seed: int) -> AttributeSettings:
        """Adam at 0.001, halved when three validations in a row were no better, as by Li (2025)."""
        common = AttributeSettings(
            "small",
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            schedule="plateau",
            patience=3,
            factor=0.5,
            stop_after=min(10, self.steps),
            warm_up=min(50, self.steps),
            validate_every=max(1, self.steps // 20),
            ema=0.99,
            seed=seed,
            precision=self.precision,
        )
        return replace(common, **arm.changes)


def run_paper(
    paper: FacePaper,
    budget: Budget,
    seeds: Sequence[int],
    root: Path,
    faces: Path,
    out: Path,
    command: str,
    workers: int,
) -> list[Row]:
    """Trains all arms with all seeds; a row for each, which papers.csv, .json and .md in ``out`` sum up.

    Runs that are complete are used again. Raises DatasetError, TrainingError or ValueError for what cannot be used.
    """
    packed = [(each, *_packed(each, budget, root, faces, out, workers)) for each in paper.sets]
    rows: list[Row] = []
    for arm in paper.arms:
        tasks = [paper.tasks[name] for name in arm.tasks]
        sets, tested = _split(packed, {task.attribute for task in tasks}, paper.validation)
        labelled = LabelledFaces(sets, tasks)
        for seed in seeds:
            folder = out / "runs" / arm.name / f"seed-{seed}"
            rows.append({"arm": arm.name, "seed": seed, **_run(arm, labelled, tested, budget, seed, folder, command)})
    agree = same_distribution(labelled)
    _write(paper, rows, out, {"command": command, "same_distribution": agree, **vars(budget)})
    return rows


def _packed(
    each: FaceSet, budget: Budget, root: Path, faces: Path, out: Path, workers: int
) -> tuple[AttributeSource, LabelledCrops]:
    """The packed faces of a set."""
    entry: dict[str, Any] = {"name": each.name}
    if each.name == "celeba_people":
        out.mkdir(parents=True, exist_ok=True)
        labels = nine_people(root / "celeba", out / "people.csv")
        entry |= {"kind": "csv", "images": "celeba/images", "labels": str(labels.resolve())}
    if budget.limit is not None:
        entry["limit"] = budget.limit
    (source,) = read_attribute_sources([entry], root)
    return source, pack_source(source, root, faces / each.name, workers)


def nine_people(celeba: Path, file: Path) -> Path:
    """Writes a CSV file with the photos of the nine people of CelebA that have most: identity, young, gender."""
    identities = celeba / "identity_CelebA.txt"
    listed = [line.split() for line in identities.read_text().splitlines()]
    known = {fields[0]: fields[1] for fields in listed if len(fields) == 2 and fields[1].isdigit()}
    archive = celeba / "list_attr_celeba.zip"
    photos = read_celeba_attributes(archive if archive.exists() else archive.with_suffix(".txt"), celeba / "images")
    counts = Counter(known[photo.name] for photo in photos if photo.name in known)
    if len(counts) < PEOPLE:
        raise DatasetError(f"{identities}: expected {PEOPLE} people with photos, found {len(counts)}")
    numbers = {person: f"{at}" for at, (person, _) in enumerate(counts.most_common(PEOPLE), 1)}
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("image", "identity", "young", "gender"))
        for photo in photos:
            person = known.get(photo.name, "")
            if person in numbers:
                rows.writerow((photo.name, numbers[person], photo.labels["young"], photo.labels["gender"]))
    return file


def _split(
    packed: Sequence[tuple[FaceSet, AttributeSource, LabelledCrops]], attributes: set[str], validation: float
) -> tuple[list[LabelledSet], NDArray[np.int64]]:
    """The sets with a label of the attributes, split in three, and the rows to test on, as LabelledFaces has them."""
    sets, tested, start = [], [], 0
    for each, source, crops in packed:
        if not attributes & set(crops.texts):
            continue
        rows = np.random.default_rng(SPLIT_SEED).permutation(len(crops))
        is_test = np.array([each.fold != "" and text == each.fold for text in crops.label_texts("fold")])[rows]
        if not is_test.any():  # there are no folds, or few faces
            is_test = np.arange(len(rows)) < round(each.test * len(rows))
        rest = rows[~is_test]
        held_out = max(1, round(validation * len(rest)))
        sets.append(LabelledSet(source, crops, None, np.sort(rest[held_out:]), np.sort(rest[:held_out])))
        tested.append(np.sort(rows[is_test]) + start)
        start += len(crops)
    return sets, np.concatenate(tested)


def _run(
    arm: FaceArm,
    labelled: LabelledFaces,
    tested: NDArray[np.int64],
    budget: Budget,
    seed: int,
    folder: Path,
    command: str,
) -> Row:
    """One network: trained, and measured once on the faces to test on."""
    settings = budget.settings(arm, seed)
    torch.manual_seed(seed)
    network = arm.network(labelled.tasks)
    run = AttributeRun(settings, labelled, network, folder)
    save_settings(settings, folder, command=command, tasks=list(arm.tasks))
    run.train()
    best = run.best.cpu().eval()
    return {
        **{name: value for name, value in measure(best, labelled, tested).items() if name != "score"},
        "weights": network.weights(),
        "ms_a_face": _milliseconds(cast(FaceNetwork, best)),
        "weights_mb": 4 * sum(parameter.numel() for parameter in network.parameters()) / MEGABYTE,
        "activations_mb": 4 * activation_floats(network.cpu()) / MEGABYTE,
        "steps": run.step,
    }


@torch.inference_mode()
def _milliseconds(network: FaceNetwork) -> float:
    """Median time of one face on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    crop, times = torch.zeros(1, 3, 112, 112), []
    for _ in range(TIMED):
        started = time.perf_counter()
        network(crop)
        times.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return 1000 * float(np.median(times))


def _write(paper: FacePaper, rows: Sequence[Row], out: Path, about: Mapping[str, Any]) -> None:
    """Writes runs.csv with a row for each run; table.json and table.md have the means and the printed figures."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (out / "runs.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    arms = {arm.name: _figures([row for row in rows if row["arm"] == arm.name]) for arm in paper.arms}
    printed = {arm.name: dict(arm.printed) for arm in paper.arms}
    save_json(out / "table.json", {"title": paper.title, **about, "arms": arms, "printed": printed})
    (out / "table.md").write_text(f"{table(paper, arms)}\n\n{paper.different}\n", encoding="utf-8")


def _figures(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    names = [name for name in rows[0] if name not in ("arm", "seed")]
    return {name: mean_and_spread([float(row[name]) for row in rows]) for name in names}


def table(paper: FacePaper, arms: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """The means of all arms in Markdown, each beside what is printed: "0.912 ± 0.003 (0.932)"."""
    figures = list(dict.fromkeys(name for arm in arms.values() for name in arm if name != "steps"))
    rows = []
    for arm in paper.arms:
        cells = [_cell(name, arms[arm.name].get(name), arm.printed.get(name)) for name in figures]
        rows.append([arm.name, *cells])
    header = [f"{paper.title} (printed in brackets)", *(name.replace("_", " ") for name in figures)]
    return markdown_table(header, rows)


def _cell(name: str, value: Mapping[str, float | None] | None, printed: float | None) -> str:
    if value is None or value["mean"] is None:
        return "–"
    form = ",.0f" if name == "weights" else ".2f" if name.endswith(("_mb", "_a_face", "_mae")) else ".3f"
    text = f"{value['mean']:{form}}"
    if value["std"] and name != "weights":
        text += f" ± {value['std']:{form}}"
    return text if printed is None else f"{text} ({printed:{form}})"
