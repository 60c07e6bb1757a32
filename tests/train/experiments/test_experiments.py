"""python -m train experiment: fair arms, shared runs, figures that are what they say, and Table 1's networks."""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train.__main__ as command_line
from cascade.datasets import read_coco
from cascade.models.detector import load_stage
from cascade.nn.architectures import ARCHITECTURES, PAPER
from cascade.nn.torch_network import CascadeNetwork
from eval.detection.test_sets import TestSet
from tests.train.drawn_faces import save_set
from train.common.checkpoints import TrainingError
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.presets import DEFAULT
from train.detection.sample_store import Samples, SampleWriter
from train.detection.settings import PAPER_HEADS
from train.detection.trainer import DetectorRun
from train.experiments import runs, table_one, timing
from train.experiments.baseline_networks import OLDER, labels_only
from train.experiments.comparison import compare, paired
from train.experiments.definitions import EXPERIMENTS, landmark_arm, mining_arm
from train.experiments.full_cascade import Cascade, without_boxes
from train.experiments.learning_curve import LearningCurve
from train.experiments.measures import FIGURES, Meaning, area_under_roc, evaluate, ranked_precision
from train.experiments.onet import results, run_arms
from train.experiments.runs import Protocol, Run, open_samples

MARKS = (0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8)


def make(folder: Path, stage: str, family: str = "paper", n: int = 160, seed: int = 0) -> Samples:
    """A folder of samples in which a face is a bright middle."""
    side = ARCHITECTURES[family][stage].input_size
    rng = np.random.default_rng(seed)
    kinds = rng.choice(4, n, p=[0.4, 0.2, 0.2, 0.2])
    faces = kinds != NEGATIVE
    crops = rng.integers(40, 90, (n, side, side, 3))
    crops[faces, side // 4 : -side // 4, side // 4 : -side // 4] += 120
    targets = np.full((n, 14), np.nan, np.float32)
    targets[faces, :4] = np.array([0.1, 0.0, 0.9, 1.0]) + rng.normal(0, 0.02, (faces.sum(), 4))
    targets[faces, 4:] = MARKS
    writer = SampleWriter(folder, side)
    writer.add(crops.astype(np.uint8), kinds, targets)
    return writer.finish({"settings": {"stage": stage, "family": family, "seed": seed}, "data": "drawn"})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small batches."""
    monkeypatch.setattr(runs, "BATCH", 28)


@pytest.fixture
def protocol(tmp_path) -> Protocol:
    """Six steps of P-Net, which is the fastest; what is said of arms and runs goes for every stage."""
    return Protocol("pnet", make(tmp_path / "samples", "pnet"), tmp_path / "out", "a command", 6)


def tree(folder: Path) -> dict[str, int]:
    """When each file below a folder was written last."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# --------------------------------------------------------------------------------------------------
# arms


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_arms_start_alike_and_see_the_same_batches(protocol, name):
    experiment = EXPERIMENTS[name]
    assert experiment.reference in [arm.label for arm in experiment.arms]
    assert (
        len({arm.folder for arm in experiment.arms})
        == len({arm.label for arm in experiment.arms})
        == len(experiment.arms)
    )
    trainers = [
        DetectorRun(protocol.settings(arm, 5), protocol.samples, protocol.out / arm.folder) for arm in experiment.arms
    ]
    for one, other in itertools.pairwise(trainers):
        states = one.network.state_dict(), other.network.state_dict()
        assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))
        assert one.validation.tolist() == other.validation.tolist()
        for step in range(6):
            pairs = zip(one.data.ahead(step), other.data.ahead(step), strict=True)
            assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
    again = DetectorRun(protocol.settings(experiment.arms[0], 6), protocol.samples, protocol.out / "again")
    assert not torch.equal(again.data.ahead(0)[0], trainers[0].data.ahead(0)[0])


def test_arms_differ_in_what_they_are_named_after_alone(protocol):
    mined, all_of_them = (protocol.settings(mining_arm(ratio), 1) for ratio in (0.7, 1.0))
    assert (mined.mining_ratio, all_of_them.mining_ratio) == (0.7, 1.0)
    assert replace(mined, mining_ratio=1.0) == all_of_them
    assert (mined.schedule, mined.average) == ("constant", 0)
    assert [head.weight for head in mined.heads] == [1, 0, 0]
    joint, alone = (protocol.settings(landmark_arm(weight), 1) for weight in (2.0, 0.0))
    assert [[head.weight for head in arm.heads] for arm in (joint, alone)] == [[1.0, 0.5, 2.0], [1.0, 0.5, 0.0]]
    assert replace(joint, heads=alone.heads) == alone


def test_faces_alone_are_learned_from_negatives_and_positives(protocol):
    trainer = DetectorRun(protocol.settings(mining_arm(0.7), 1), protocol.samples, protocol.out)
    _, kinds, _ = trainer.data.ahead(0)
    assert np.bincount(kinds, minlength=4).tolist() == [21, 7, 0, 0]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_landmark_weight_switches_the_task(protocol, weight):
    arm = landmark_arm(weight)
    before = DetectorRun(protocol.settings(arm, 1), protocol.samples, protocol.out / "untrained").network.state_dict()
    after = protocol.network(arm, 1).state_dict()
    head = [name for name in before if name.endswith("weight")][-1]
    assert not torch.equal(before[head][:6], after[head][:6])
    assert torch.equal(before[head][6:], after[head][6:]) == (weight == 0)


# --------------------------------------------------------------------------------------------------
# runs


def test_runs_are_shared_and_complete_ones_are_left_alone(protocol, monkeypatch):
    trained = []
    honest = runs.train

    def counting(settings, samples, folder, architecture):
        trained.append(folder.parent.name)
        return honest(settings, samples, folder, architecture)

    monkeypatch.setattr(runs, "train", counting)
    run_arms(EXPERIMENTS["mining"], protocol, [1, 2], None)
    assert trained == ["mining-1", "mining-0.7"] * 2
    before = tree(protocol.out / "runs")
    trained.clear()
    run_arms(EXPERIMENTS["ratio"], protocol, [1], None)
    assert trained == ["mining-0.5", "mining-0.6", "mining-0.8"]
    run_arms(EXPERIMENTS["mining"], protocol, [2, 1], None)
    assert len(trained) == 3
    assert {path: time for path, time in tree(protocol.out / "runs").items() if path in before} == before


def test_a_run_that_was_stopped_ends_as_if_it_was_not(protocol, monkeypatch):
    arm = mining_arm(0.7)
    whole = replace(protocol, out=protocol.out / "whole").run(arm, 1)
    honest = DetectorRun.train_step
    with monkeypatch.context() as patch:
        patch.setattr(DetectorRun, "train_step", lambda self: honest(self) if self.step < 4 else 1 / 0)
        with pytest.raises(ZeroDivisionError):  # the power goes off
            protocol.run(arm, 1)
    resumed = protocol.run(arm, 1)
    assert resumed.figures == whole.figures
    assert resumed.curve(("validation", "face")) == whole.curve(("validation", "face"))
    steps, losses = resumed.curve(("validation", "face"))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert resumed.figures["late_cross_entropy"] == pytest.approx((losses[4] + losses[5]) / 2)
    assert resumed.figures["cross_entropy"] == pytest.approx(losses[5])


def test_a_run_of_other_settings_or_samples_is_refused(protocol, tmp_path):
    arm = mining_arm(1.0)
    protocol.run(arm, 1)
    with pytest.raises(TrainingError, match="other settings"):
        replace(protocol, steps=7).run(arm, 1)
    with pytest.raises(TrainingError, match="other samples"):
        replace(protocol, samples=make(tmp_path / "others", "pnet", seed=3)).run(arm, 1)


def test_samples_of_another_family_or_stage_are_refused(tmp_path):
    make(tmp_path / "default", "onet", "default", n=4)
    make(tmp_path / "pnet", "pnet", n=4)
    with pytest.raises(TrainingError, match="made for family 'default', expected 'paper'"):
        open_samples(tmp_path / "default", "onet")
    with pytest.raises(TrainingError, match="made for stage 'pnet', expected 'onet'"):
        open_samples(tmp_path / "pnet", "onet")
    assert len(open_samples(tmp_path / "pnet", "pnet")) == 4


# --------------------------------------------------------------------------------------------------
# figures


def test_ranking_figures_by_hand():
    scores, faces = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert ranked_precision(scores, faces) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert area_under_roc(scores, faces) == pytest.approx(3 / 4)
    assert area_under_roc(np.zeros(4), faces) == 0.5
    assert ranked_precision(np.zeros(2), np.array([True, False])) == 0.5, "a tie is no success"


def constant(outputs: list[float]) -> CascadeNetwork:
    """A P-Net that says the same of every window."""
    network = CascadeNetwork(PAPER["pnet"]).eval()
    with torch.no_grad():
        network.blocks[-1][0].weight.zero_()
        network.blocks[-1][0].bias.copy_(torch.tensor(outputs))
    return network


def test_figures_of_a_network_that_is_known():
    kinds = np.array([NEGATIVE, NEGATIVE, POSITIVE, PART, LANDMARK], np.uint8)
    targets = np.full((5, 14), np.nan, np.float32)
    targets[2, :4], targets[3, :4] = (0, 0, 1, 1), (0, 0, 1, 0.5)
    targets[4, 4:] = MARKS
    samples = Samples(np.zeros((5, 12, 12, 3), np.uint8), kinds, targets, {})
    # the face at 0.75, the lower edge up by half a window, landmarks all off by (0.3, 0.4)
    off = (np.reshape(MARKS, (5, 2)) + np.array([0.3, 0.4])).ravel()
    network = constant([0.0, math.log(3), 0.0, 0.0, 0.0, -0.5, *off])
    figures = evaluate(network, samples, np.arange(5), PAPER_HEADS["onet"], batch=2)
    assert figures["cross_entropy"] == pytest.approx(-(2 * math.log(0.25) + math.log(0.75)) / 3)
    assert figures["accuracy"] == pytest.approx(1 / 3)
    assert figures["auc"] == 0.5
    assert figures["box_error"] == pytest.approx((0.25 + 0) / 2)
    assert figures["iou"] == pytest.approx((0.5 + 1) / 2)
    assert figures["window_iou"] == pytest.approx((1 + 0.5) / 2)
    assert figures["landmark_error"] == pytest.approx(0.5)
    untaught = evaluate(network, samples, np.arange(5), mining_arm(1.0).changes["heads"])
    assert [untaught[name] for name in ("box_error", "iou", "landmark_error")] == [None] * 3
    assert untaught["accuracy"] == figures["accuracy"]
    assert set(evaluate(network, samples, np.arange(2), PAPER_HEADS["onet"]).values()) == {None}, "there is no positive"
    assert set(evaluate(network, samples, np.arange(0), PAPER_HEADS["onet"]).values()) == {None}


def test_paired_differences_by_hand():
    result = paired({1: 2.0, 2: 4.0, 3: 6.0, 9: 0.0}, {3: 3.0, 2: 2.0, 1: 1.0}, Meaning("error", lower_is_better=True))
    assert (result["seeds"], result["differences"]) == ([1, 2, 3], [1.0, 2.0, 3.0])
    assert (result["mean"], result["std"], result["better"]) == (2.0, 1.0, 0)
    assert result["t"] == pytest.approx(2 * math.sqrt(3))
    assert result["p"] == pytest.approx(0.0742, abs=1e-4)
    assert paired({1: 2.0}, {1: 1.0}, Meaning("share"))["better"] == 1
    assert paired({1: 2.0}, {1: 1.0}, Meaning("share"))["t"] is None
    assert paired({1: 2.0}, {2: 1.0}, Meaning("share")) is None


def test_a_figure_that_an_arm_lacks_is_not_compared(protocol):
    def run(arm, seed, error):
        return Run(arm, seed, protocol.out, 1, {"accuracy": 0.5 + seed / 10, "landmark_error": error}, [])

    without, joint = landmark_arm(0.0), landmark_arm(1.0)
    result = compare([run(a, s, e) for s in (1, 2) for a, e in ((without, None), (joint, 0.1))], without.label)
    assert result["arms"][joint.label]["landmark_error"]["mean"] == pytest.approx(0.1)
    assert "landmark_error" not in result["arms"][without.label]
    assert list(result["differences"]) == [joint.label]
    assert list(result["differences"][joint.label]) == ["accuracy"]


# --------------------------------------------------------------------------------------------------
# results


def test_one_command_leaves_csv_json_and_curves(tmp_path, capsys):
    make(tmp_path / "samples", "onet", n=120)
    command = ["experiment", "landmarks", "--samples", str(tmp_path / "samples"), "--out", str(tmp_path / "out")]
    assert command_line.main([*command, "--steps", "3", "--seeds", "4", "7"]) == 0
    with open(tmp_path / "out/landmarks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"], row["steps"]) for row in rows] == [
        (label, seed, "3") for seed in "47" for label in ("no landmarks", "landmarks × 1")
    ]
    assert [row["landmark_error"] != "" for row in rows] == [False, True] * 2
    record = json.loads((tmp_path / "out/landmarks.json").read_text())
    joint, alone = ([float(row["iou"]) for row in rows[first::2]] for first in (1, 0))
    assert record["arms"]["landmarks × 1"]["iou"]["mean"] == pytest.approx(np.mean(joint))
    difference = record["differences"]["landmarks × 1"]["iou"]
    assert difference["differences"] == pytest.approx(np.subtract(joint, alone))
    assert record["settings"]["no landmarks"]["heads"][2]["weight"] == 0
    assert record["samples"]["data"] == "drawn"
    assert record["command"].startswith("python -m train experiment landmarks --samples ")
    assert min(cv2.imread(str(tmp_path / "out/landmarks.png")).shape[:2]) > 200
    assert "no landmarks: " + difference["verdict"] in capsys.readouterr().out


def test_the_learning_curve_differs_in_its_photos_alone(tmp_path):
    samples = make(tmp_path / "samples", "onet", "default", n=400)
    protocol = LearningCurve("onet", samples, tmp_path / "out", "a command", 3)
    arms = EXPERIMENTS["photos"].arms
    shares = [protocol.samples_of(arm) for arm in arms]
    assert [len(share) for share in shares] == [49, 98, 196, 392]  # 8 are kept for validation
    for share in shares:
        assert np.array_equal(share.crops, samples.crops[: len(share)])
        assert np.array_equal(share.kinds, samples.kinds[: len(share)])
        assert np.array_equal(share.targets, samples.targets[: len(share)], equal_nan=True)
    assert len({protocol.settings(arm, 1) for arm in arms}) == 1
    preset = DEFAULT["onet"].training
    changed = replace(protocol.settings(arms[0], 1), steps=preset.steps, log_every=100, checkpoint_every=1000)
    assert changed == preset


def test_the_learning_curve_is_one_command(tmp_path, monkeypatch):
    make(tmp_path / "samples", "onet", "default", n=240)
    few = replace(DEFAULT["onet"], training=replace(DEFAULT["onet"].training, batch=14, validation_share=0.1))
    monkeypatch.setitem(DEFAULT, "onet", few)
    command = ["experiment", "photos", "--samples", str(tmp_path / "samples"), "--out", str(tmp_path / "out")]
    assert command_line.main([*command, "--steps", "2", "--seeds", "1"]) == 0
    with open(tmp_path / "out/photos.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["0.125", "0.25", "0.5", "1"]
    assert (tmp_path / "out/photos.png").exists()


def test_options_that_do_not_fit_are_refused(tmp_path, capsys):
    make(tmp_path / "default", "onet", "default", n=4)
    command = ["experiment", "mining", "--samples", str(tmp_path / "default"), "--out", str(tmp_path / "out")]
    for options, message in (
        ([], "made for family 'default', expected 'paper'"),
        (["--weights", str(tmp_path)], "--weights and --data: expected both or none"),
        (["--photos", "3"], "--photos: expected --weights"),
        (["--steps", "0"], "--steps: expected at least 1, got 0"),
        (["--seeds", "1", "2", "1"], "--seeds: expected different ones"),
    ):
        assert command_line.main([*command, *options]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------
# the whole cascade


def test_the_cascade_is_evaluated_with_the_o_net_of_a_run(tmp_path, random_weights, monkeypatch):
    protocol = Protocol("onet", make(tmp_path / "samples", "onet", n=60), tmp_path / "out", "a command", 2)
    save_set(tmp_path / "photos", 2, seed=1)
    photos = tuple(read_coco(tmp_path / "photos/annotations.json"))
    cascade = Cascade(random_weights("paper"), TestSet("drawn", "faces", "drawn", "", 12.0, photos))
    arm = mining_arm(0.7)
    record = run_arms(EXPERIMENTS["mining"], protocol, [1], cascade)
    made = json.loads((protocol.folder(arm, 1) / "cascade.json").read_text())
    assert record["photos"] == 2
    assert set(made["figures"]) == {name for name in FIGURES if name.startswith("cascade")}
    assert all(0 <= value <= 1 for value in made["figures"].values())
    assert record["arms"][arm.label]["cascade_ap"]["mean"] == made["figures"]["cascade_ap"]
    assert FIGURES["cascade_ap"].title in results(EXPERIMENTS["mining"], record)
    folder = protocol.folder(arm, 1) / "cascade"
    exported = load_stage(folder / "onet.safetensors").tensors
    last = f"{len(PAPER['onet'].layers) - 1}"
    trained = protocol.network(arm, 1).blocks[-1][0]
    assert not exported[f"{last}.weight"][2:6].any() and not exported[f"{last}.bias"][2:6].any()
    assert np.array_equal(exported[f"{last}.weight"][:2], trained.weight[:2].detach().numpy())
    assert (folder / "rnet.safetensors").read_bytes() == (random_weights("paper") / "rnet.safetensors").read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(Cascade, "_evaluate", lambda *_: pytest.fail("it was evaluated already"))
        assert cascade.evaluate(protocol, arm, 1) == made["figures"]
    fewer = replace(cascade, test_set=replace(cascade.test_set, photos=photos[:1]))
    fewer.evaluate(protocol, arm, 1)
    assert len(json.loads((protocol.folder(arm, 1) / "cascade.json").read_text())["photos"]) == 1


def test_only_the_boxes_of_an_o_net_are_taken_away():
    network = CascadeNetwork(PAPER["onet"]).eval()
    crops = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        before, after = network(crops).flatten(1), without_boxes(network)(crops).flatten(1)
    assert torch.equal(after[:, 2:6], torch.zeros(2, 4))
    assert torch.equal(before[:, :2], after[:, :2]) and torch.equal(before[:, 6:], after[:, 6:])
    assert before[:, 2:6].any(), "the network itself keeps its boxes"


# --------------------------------------------------------------------------------------------------
# table 1


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
    with pytest.raises(TrainingError, match="family: expected default, small, paper, got 'older-cascade'"):
        DetectorRun(settings, replace(protocol.samples, meta={}), protocol.out)
    trainer = DetectorRun(settings, protocol.samples, protocol.out, OLDER["pnet"])
    assert trainer.network.architecture == OLDER["pnet"]
