"""Table 1: the paper's networks beside those of the older cascade."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
import torch

from cascade.nn.architectures import ARCHITECTURES, PAPER
from cascade.nn.torch_network import CascadeNetwork
from tests.train.experiment_runs import make
from train.common.checkpoints import TrainingError
from train.detection.trainer import DetectorRun
from train.experiments import table_one, timing
from train.experiments.baseline_networks import OLDER, labels_only
from train.experiments.runs import Protocol


@pytest.mark.parametrize(
    ("stage", "multiply_adds"),
    [
        # 12-net: 10² places of 3·3·3 → 16, pooled to 5²; 5·5·16 → 16; 16 → 2
        ("pnet", 100 * 27 * 16 + 400 * 16 + 16 * 2),
        # 24-net: 20² places of 5·5·3 → 64, pooled to 10²; 10·10·64 → 128; 128 → 2
        ("rnet", 400 * 75 * 64 + 6400 * 128 + 128 * 2),
        # 48-net: 44² places of 5·5·3 → 64, pooled to 22²; 18² of 5·5·64 → 64, pooled to 9²; 9·9·64 → 256; 256 → 2
        ("onet", 1936 * 75 * 64 + 324 * 1600 * 64 + 5184 * 256 + 256 * 2),
    ],
)
def test_the_older_networks_are_those_of_li_and_others(stage, multiply_adds):
    architecture = labels_only(OLDER[stage])
    assert architecture.multiply_adds() == multiply_adds
    assert architecture.input_size == PAPER[stage].input_size
    crops = torch.zeros(1, 3, *[architecture.input_size] * 2)
    assert CascadeNetwork(architecture)(crops).shape == (1, 2, 1, 1)


def test_table_one_trains_and_times_both_families(tmp_path, monkeypatch):
    monkeypatch.setattr(table_one, "LARGE_BATCH", 2)
    honest = table_one.measure
    monkeypatch.setattr(table_one, "measure", lambda rounds: honest(rounds, passes=2, large_passes=1))
    protocols = {"pnet": Protocol("pnet", make(tmp_path / "samples", "pnet"), tmp_path / "out", "a command", 4)}
    known = set(ARCHITECTURES)
    record = table_one.run_table(protocols, [1, 2], rounds=2)
    assert set(ARCHITECTURES) == known, "they are no families for a detector"
    with open(tmp_path / "out/architectures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] + row["seed"] for row in rows] == ["12-Net1", "P-Net1", "12-Net2", "P-Net2"]
    assert record["groups"]["pnet"]["differences"]["P-Net"]["accuracy"]["seeds"] == [1, 2]
    older = torch.load(tmp_path / "out/runs/table-1-12-Net/seed-1/checkpoint.pt", weights_only=True)
    shapes = [tuple(tensor.shape) for name, tensor in older["network"].items() if name.endswith("weight")]
    assert shapes == [(16, 3, 3, 3), (16, 16, 5, 5), (6, 16, 1, 1)]
    timings = json.loads((tmp_path / "out/architectures.json").read_text())["timings"]
    assert list(timings) == ["12-Net", "P-Net", "24-Net", "R-Net", "48-Net", "O-Net"]
    assert timings["12-Net"]["ratio"] == 1
    assert timings["48-Net"]["seconds"] > timings["12-Net"]["seconds"] > 0
    text = table_one.results(record)
    assert "0.9440" in text and "3.5770" in text, "the paper's own numbers stand beside"
    assert (tmp_path / "out/architectures.png").exists()


def test_networks_take_turns_on_one_thread(monkeypatch):
    networks = {stage: CascadeNetwork(labels_only(OLDER[stage])).eval() for stage in ("rnet", "pnet")}
    calls = []

    def clock(network, crops, passes):
        assert torch.get_num_threads() == 1
        calls.append((network.architecture.stage, tuple(crops.shape), passes))
        return float(len(calls))

    monkeypatch.setattr(timing, "_seconds", clock)
    times = timing.forward_seconds(networks, batch=3, passes=5, rounds=2)
    measured = [call for call in calls if call[2] == 5]
    assert [call[0] for call in measured] == ["rnet", "pnet", "rnet", "pnet"]
    assert {call[1] for call in measured} == {(3, 3, 24, 24), (3, 3, 12, 12)}
    assert times["rnet"].tolist() == [3, 5] and times["pnet"].tolist() == [4, 6]


def test_networks_of_table_one_are_in_no_family(protocol):
    settings = protocol.settings(table_one.arm_of("older-cascade", "pnet"), 1)
    with pytest.raises(TrainingError, match="family: expected default, accurate, small, paper, got 'older-cascade'"):
        DetectorRun(settings, replace(protocol.samples, meta={}), protocol.out)
    trainer = DetectorRun(settings, protocol.samples, protocol.out, OLDER["pnet"])
    assert trainer.network.architecture == OLDER["pnet"]
