"""Figures of a network, and their differences between arms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cascade.nn.architectures import PAPER
from cascade.nn.torch_network import CascadeNetwork
from tests.train.easy_samples import MARKS
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.sample_store import Samples
from train.detection.settings import PAPER_HEADS
from train.experiments.comparison import compare, paired
from train.experiments.definitions import landmark_arm, mining_arm
from train.experiments.measures import Meaning, area_under_roc, evaluate, ranked_precision
from train.experiments.runs import Run


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
