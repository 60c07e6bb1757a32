"""Counting the networks' arithmetic: by hand, against the sizes of torch's maps, and in the detector."""

from __future__ import annotations

import math

import pytest
import torch

from cascade import stages
from cascade.detect import Detector
from cascade.engines.base import run
from cascade.imaging.pyramid import level_sizes
from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer
from cascade.stages import run_pnet, run_rnet
from eval.detection.operations import CountingDetector, dense_scan_multiply_adds
from tests.photos import portrait


def test_sliding_by_hand():
    layers = (Layer("conv", 3, 1, 4), Layer("pool", 2, 2), Layer("conv", 2, 1, 6))
    network = Architecture("tiny", "pnet", 6, 6, layers)
    # On 8 × 6 pixels two windows: 2 × 1 outputs of 2·2·4 values, from 3 × 2 of the pool, from 6 × 4 of 3·3·3.
    assert dense_scan_multiply_adds(network, 8, 6) == 2 * 1 * 4 * 4 * 6 + 6 * 4 * 27 * 4
    # the last windows reach beyond the image by less than a stride: 3 × 2 of them
    assert dense_scan_multiply_adds(network, 9, 7) == dense_scan_multiply_adds(network, 10, 8)
    assert dense_scan_multiply_adds(network, 10, 8) == 3 * 2 * 4 * 4 * 6 + 8 * 6 * 27 * 4
    assert dense_scan_multiply_adds(network, 5, 60) == 0


@pytest.mark.parametrize("family", ["default", "paper"])
def test_one_window_is_the_network_itself(family):
    network = ARCHITECTURES[family]["pnet"]
    side = network.input_size - 2 * network.padding
    assert dense_scan_multiply_adds(network, side, side) == network.multiply_adds()


def test_maps_are_as_large_as_torch_s():
    from cascade.nn.torch_network import CascadeNetwork

    network = ARCHITECTURES["default"]["pnet"]
    width, height = (network.input_size + network.stride * steps - 2 * network.padding for steps in (9, 4))
    model, counted = CascadeNetwork(network).eval(), []

    def count(module, inputs, output):
        counted.append(output[0, 0].numel() * module.weight.numel())

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        model(torch.zeros(1, 3, height + 2 * network.padding, width + 2 * network.padding))
    assert dense_scan_multiply_adds(network, width, height) == sum(counted)


def test_detector_counts_what_each_stage_is_given(random_weights, monkeypatch):
    folder, image = random_weights("paper"), portrait()[:300, :200]
    settings = {"weights": folder, "threads": 1, "min_face": 40, "thresholds": (0.5, 0.65, 0.8)}
    plain = Detector(**settings)
    networks = {stage: plain.weights[stage].architecture for stage in ("pnet", "rnet", "onet")}
    sizes = level_sizes(200, 300, 40, None, networks["pnet"].window, 0.709)
    pyramid = plain.engine.pyramid(image, sizes)
    (first,) = run(plain.engine, [run_pnet(plain.weights, pyramid, 0.5)])
    (second,) = run(plain.engine, [run_rnet(plain.weights, pyramid, first, 0.65)])
    looking_twice = CountingDetector(**settings)
    looking_twice.detect(image)
    monkeypatch.setattr(stages, "SURE", -math.inf)  # so that O-Net looks at nothing again
    counting = CountingDetector(**settings)
    faces = counting.detect(image)
    assert faces.boxes.tolist() == plain.detect(image).boxes.tolist()
    assert len(first) > len(second) > 0
    expected = {
        "pnet": sum(dense_scan_multiply_adds(networks["pnet"], *size) for size in sizes),
        "rnet": len(first) * networks["rnet"].multiply_adds(),
        "onet": len(second) * networks["onet"].multiply_adds(),
        "lnet": 0,
    }
    assert counting.multiply_adds == expected
    assert {**looking_twice.multiply_adds, "onet": expected["onet"]} == expected
    assert expected["onet"] < looking_twice.multiply_adds["onet"] <= 2 * expected["onet"]
    assert counting.gflop == pytest.approx(2e-9 * sum(expected.values()))
