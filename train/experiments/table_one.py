"""Table 1 of the paper: its networks beside those of the older cascade, in accuracy and in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cascade.nn.architectures import Stage
from cascade.nn.torch_network import CascadeNetwork
from eval.report.files import plain, table, write_csv
from train.common.files import save_json
from train.common.settings import revision
from train.experiments.baseline_networks import (
    FAMILIES,
    OLDER_FAMILY,
    PAPER_FAMILY,
    PUBLISHED,
    labels_only,
)
from train.experiments.comparison import compare
from train.experiments.definitions import FACES_ALONE, Arm
from train.experiments.onet import spread
from train.experiments.plots import curve_panel, draw
from train.experiments.runs import Protocol, Run
from train.experiments.timing import PASSES, forward_seconds

CURVE = ("validation", "accuracy")
LARGE_BATCH, LARGE_PASSES = 64, 10
FIGURE_COLUMNS = ("accuracy", "cross_entropy", "average_precision", "auc")


def arm_of(family: str, stage: Stage) -> Arm:
    """A network of Table 1 learns faces alone; without mining, which belongs to the training and not to the network."""
    name = PUBLISHED[family, stage].name
    return Arm(
        name,
        f"table-1-{name}",
        {**FACES_ALONE, "heads": FACES_ALONE["heads"][:2], "mining_ratio": 1.0, "family": family},
    )


def run_table(protocols: Mapping[Stage, Protocol], seeds: Sequence[int], rounds: int = 7) -> dict[str, Any]:
    """Trains the two networks of each stage that there are samples for, times all six, and writes what came of it.

    Returns what architectures.json holds.
    """
    out = next(iter(protocols.values())).out
    groups = {stage: _train(protocol, seeds) for stage, protocol in protocols.items()}
    timings = measure(rounds)
    runs = [run for group in groups.values() for run in group]
    _write_runs(runs, timings, out / "architectures.csv")
    panels = [
        curve_panel(" and ".join(dict.fromkeys(run.arm.label for run in group)), "accuracy", CURVE, group)
        for group in groups.values()
    ]
    draw(out / "architectures.png", f"validation accuracy, faces alone; seeds {' '.join(map(str, seeds))}", panels)
    record = {
        "experiment": "architectures",
        "command": next(iter(protocols.values())).command,
        "revision": revision(),
        "samples": {stage: protocol.samples.meta for stage, protocol in protocols.items()},
        "steps": {stage: protocol.steps for stage, protocol in protocols.items()},
        "batch_norm": {stage: protocol.batch_norm for stage, protocol in protocols.items()},
        "seeds": list(seeds),
        "groups": {s: compare(group, PUBLISHED[OLDER_FAMILY, s].name) for s, group in groups.items()},
        "timings": timings,
    }
    save_json(out / "architectures.json", plain(record))
    return record


def _train(protocol: Protocol, seeds: Sequence[int]) -> list[Run]:
    arms = [arm_of(family, protocol.stage) for family in (OLDER_FAMILY, PAPER_FAMILY)]
    wanted = [(seed, arm) for seed in seeds for arm in arms]
    return [protocol.run(arm, seed) for seed, arm in tqdm(wanted, desc=f"table 1, {protocol.stage}", unit="run")]


def measure(rounds: int, passes: int = PASSES, large_passes: int = LARGE_PASSES) -> dict[str, dict[str, Any]]:
    """Times of the six networks by name, of one crop a pass and of a batch, and what the paper says.

    ``ratio`` is the older network's time over the paper's, the median over the rounds. The networks have two outputs
    and random weights, on which the time does not depend.
    """
    torch.manual_seed(0)
    chosen = {row.name: labels_only(FAMILIES[family][stage]) for (family, stage), row in PUBLISHED.items()}
    networks = {name: CascadeNetwork(architecture).eval() for name, architecture in chosen.items()}
    single = forward_seconds(networks, 1, passes, rounds)
    large = forward_seconds(networks, LARGE_BATCH, large_passes, rounds)
    timings = {}
    for (_, stage), row in PUBLISHED.items():
        older = PUBLISHED[OLDER_FAMILY, stage].name
        timings[row.name] = {
            "stage": stage,
            "multiply_adds": chosen[row.name].multiply_adds(),
            "seconds": float(np.median(single[row.name])) * PASSES / passes,
            "ratio": float(np.median(single[older] / single[row.name])),
            f"crops_a_second_of_{LARGE_BATCH}": LARGE_BATCH * large_passes / float(np.median(large[row.name])),
            f"ratio_of_{LARGE_BATCH}": float(np.median(large[older] / large[row.name])),
            "rounds": single[row.name],
            "paper_seconds": row.seconds,
            "paper_accuracy": row.accuracy,
        }
    return timings


def _write_runs(runs: Sequence[Run], timings: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    columns = ("stage", "multiply_adds", "seconds", f"crops_a_second_of_{LARGE_BATCH}")
    header = ["network", "seed", "steps", *FIGURE_COLUMNS, *columns, "paper_seconds", "paper_accuracy"]
    rows = []
    for run in runs:
        timing = timings[run.arm.label]
        figures = [run.figures[name] for name in FIGURE_COLUMNS]
        rest = [timing[name] for name in (*columns, "paper_seconds", "paper_accuracy")]
        rows.append([run.arm.label, run.seed, run.steps, *figures, *rest])
    write_csv(file, header, rows)


def results(record: dict[str, Any]) -> str:
    """Table 1: measured here on the left, what the paper has on the right."""
    header = [
        "network",
        "multiply-adds",
        "accuracy",
        f"{PASSES} passes, s",
        "older / paper's",
        f"{LARGE_BATCH} crops/s",
    ]
    header += ["paper: accuracy", "paper: s"]
    rows = []
    for name, timing in record["timings"].items():
        arms = record["groups"].get(timing["stage"], {"arms": {}})["arms"]
        accuracy = spread(arms.get(name, {}).get("accuracy"))
        large = round(timing[f"crops_a_second_of_{LARGE_BATCH}"])
        measured = [timing["multiply_adds"], accuracy, timing["seconds"], timing["ratio"], large]
        rows.append([name, *measured, timing["paper_accuracy"], timing["paper_seconds"]])
    note = "The paper's accuracies and seconds are of its own samples and hardware; compare the pairs of each."
    return f"{table(header, rows)}\n{note}"
