"""The experiments on O-Net: results, the learning curve, the complete cascade."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import train.__main__ as command_line
from cascade.datasets import read_coco
from cascade.models.detector import FOLDER, load_stage
from cascade.nn.architectures import PAPER
from cascade.nn.torch_network import CascadeNetwork
from eval.detection.test_sets import TestSet
from tests.train.drawn_faces import save_set
from tests.train.experiment_runs import make
from train.detection.presets import DEFAULT
from train.experiments.definitions import EXPERIMENTS, mining_arm
from train.experiments.full_cascade import Cascade, without_boxes
from train.experiments.learning_curve import LearningCurve
from train.experiments.measures import FIGURES
from train.experiments.onet import results, run_arms
from train.experiments.runs import Protocol


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
    assert [len(share) for share in shares] == [49, 98, 196, 392]  # 8 are held out for validation
    for share in shares:
        assert np.array_equal(share.crops, samples.crops[: len(share)])
        assert np.array_equal(share.kinds, samples.kinds[: len(share)])
        assert np.array_equal(share.targets, samples.targets[: len(share)], equal_nan=True)
    assert len({protocol.settings(arm, 1) for arm in arms}) == 1
    preset = DEFAULT["onet"].training
    changed = replace(protocol.settings(arms[0], 1), steps=preset.steps, log_every=100, checkpoint_every=1000)
    assert changed == preset
    half = LearningCurve("onet", samples, tmp_path / "out", "a command", 3, precision="bfloat16").settings(arms[0], 1)
    assert half == replace(protocol.settings(arms[0], 1), precision="bfloat16")


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
        (["--precision", "bfloat16"], "--precision: expected float32 for mining, got bfloat16"),
        (["--seeds", "1", "2", "1"], "--seeds: expected different ones"),
    ):
        assert command_line.main([*command, *options]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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


@pytest.mark.slow
def test_the_other_networks_of_a_shipped_set_are_found(tmp_path):
    protocol = Protocol("onet", make(tmp_path / "samples", "onet", n=60), tmp_path / "out", "a command", 2)
    run_arms(EXPERIMENTS["mining"], protocol, [1], None)
    folder = Cascade(FOLDER / "accurate", TestSet("none", "faces", "none", "", 12.0, ()))._assemble(
        protocol, mining_arm(0.7), 1
    )
    assert (folder / "rnet.safetensors").read_bytes() == (FOLDER / "default/rnet.safetensors").read_bytes()
