"""Beginning from a weight file: the same function, with batch normalisation back in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cascade.models.detector import DEFAULT, FOLDER, load_stage
from cascade.nn.architectures import ARCHITECTURES, Architecture
from cascade.nn.torch_network import CascadeNetwork, fold, from_tensors
from tests.train.easy_samples import SETTINGS, samples
from tests.train.runs import rows
from train.common.checkpoints import TrainingError
from train.detection.trainer import DetectorRun, train
from train.detection.warm_start import warm_start

SHIPPED = FOLDER / DEFAULT


def stored_network(file: Path) -> CascadeNetwork:
    stored = load_stage(file)
    return from_tensors(stored.architecture, {name: torch.from_numpy(v) for name, v in stored.tensors.items()})


def with_window_of(file: Path, architecture: Architecture) -> Architecture:
    return replace(architecture, window=load_stage(file).architecture.window)


@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet", "lnet"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_function_is_that_of_the_file(stage, batch_norm):
    architecture = with_window_of(SHIPPED / f"{stage}.safetensors", ARCHITECTURES["default"][stage])
    torch.manual_seed(0)
    network = CascadeNetwork(architecture, batch_norm)
    inputs = torch.rand(64, 3, architecture.input_size, architecture.input_size) * 2 - 1
    untouched = network.blocks[-1][0].weight.clone()
    warm_start(network, SHIPPED / f"{stage}.safetensors", inputs)
    assert network.training
    with torch.no_grad():
        expected = stored_network(SHIPPED / f"{stage}.safetensors")(inputs).flatten(1)
        outputs = expected.shape[1]
        evaluated, folded = (of(inputs).flatten(1) for of in (network.eval(), fold(network)))
        learning = network.train()(inputs).flatten(1)  # by the statistics of the batch, and last: it moves those kept
    for found in (evaluated, folded, learning):
        torch.testing.assert_close(found[:, :outputs], expected, atol=1e-3, rtol=1e-3)
    # P-Net and R-Net are stored without the head for landmarks
    assert torch.equal(network.blocks[-1][0].weight[outputs:], untouched[outputs:])
    assert (outputs < architecture.outputs) == (stage in ("pnet", "rnet"))


def test_a_network_of_more_channels_and_layers_begins_with_nearly_the_function_of_the_file():
    """In the middle of its larger input."""
    stage = "onet"
    size = ARCHITECTURES["default"][stage].input_size
    architecture = with_window_of(SHIPPED / f"{stage}.safetensors", ARCHITECTURES["accurate"][stage])
    network, margin = CascadeNetwork(architecture, True), (architecture.input_size - size) // 2
    inputs = torch.rand(64, 3, architecture.input_size, architecture.input_size) * 2 - 1
    warm_start(network, SHIPPED / f"{stage}.safetensors", inputs)
    with torch.no_grad():
        middle = inputs[:, :, margin:-margin, margin:-margin]
        expected = stored_network(SHIPPED / f"{stage}.safetensors")(middle).flatten(1)
        found = network.eval()(inputs).flatten(1)[:, : expected.shape[1]]
    # the noise on the copies is not nothing, and small beside what the inputs differ by
    assert 0 < (found - expected).std() < 0.25 * expected.std(dim=0).mean()
    filters = network.blocks[1][0].weight.flatten(1)
    assert len(torch.unique(filters, dim=0)) == len(filters)


def test_further_layers_alone_change_nothing():
    wide = with_window_of(SHIPPED / "onet.safetensors", ARCHITECTURES["default"]["onet"])
    architecture = replace(wide, input_size=72, layers=(*wide.layers[:-1], wide.layers[-2], wide.layers[-1]))
    network, inputs = CascadeNetwork(architecture, True), torch.rand(16, 3, 72, 72) * 2 - 1
    warm_start(network, SHIPPED / "onet.safetensors", inputs)
    with torch.no_grad():
        expected = stored_network(SHIPPED / "onet.safetensors")(inputs[:, :, 8:-8, 8:-8]).flatten(1)
        torch.testing.assert_close(network.eval()(inputs).flatten(1), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("window", [20.0, 40.0])
def test_with_another_window_boxes_and_landmarks_stay_where_they_are(window):
    """In pixels of the input: the heads answer in units of the window, from its corner and for boxes its edges on."""
    file = SHIPPED / "onet.safetensors"
    old, network = stored_network(file), CascadeNetwork(replace(ARCHITECTURES["default"]["onet"], window=window), True)
    inputs = torch.rand(16, 3, 56, 56) * 2 - 1
    warm_start(network, file, inputs)

    def in_pixels(outputs, architecture):
        edges = outputs[:, architecture.output("box")] + torch.tensor([0.0, 0.0, 1.0, 1.0])
        points = torch.cat([edges, outputs[:, architecture.output("landmarks")]], dim=1)
        return points * architecture.window + (architecture.input_size - architecture.window) / 2

    with torch.no_grad():
        found, expected = network.eval()(inputs).flatten(1), old(inputs).flatten(1)
    torch.testing.assert_close(found[:, :2], expected[:, :2], atol=1e-3, rtol=1e-3)
    expected = in_pixels(expected, load_stage(file).architecture)
    torch.testing.assert_close(in_pixels(found, network.architecture), expected, atol=0.05, rtol=1e-3)


def test_a_narrower_network_is_refused(random_weights):
    network = CascadeNetwork(ARCHITECTURES["small"]["onet"], True)
    with pytest.raises(TrainingError, match=r"start: .*another network"):
        warm_start(network, SHIPPED / "onet.safetensors", torch.zeros(2, 3, 56, 56))


def test_prelu_slopes_come_along(random_weights):
    file = random_weights("paper") / "pnet.safetensors"
    architecture = ARCHITECTURES["paper"]["pnet"]
    network, inputs = CascadeNetwork(architecture, True), torch.rand(16, 3, 12, 12)
    warm_start(network, file, inputs)
    with torch.no_grad():
        expected = stored_network(file)(inputs).flatten(1)
        torch.testing.assert_close(
            network.eval()(inputs).flatten(1)[:, : expected.shape[1]], expected, atol=1e-4, rtol=1e-4
        )


def test_a_run_begins_from_a_weight_file(tmp_path):
    made = samples()
    settings = replace(SETTINGS, start=str(SHIPPED / "pnet.safetensors"), learning_rate=1e-4)
    run = DetectorRun(settings, made, tmp_path / "a")
    inputs, _, _ = run.next_batch()
    expected = stored_network(SHIPPED / "pnet.safetensors")
    with torch.no_grad():
        for network in (run.averaged, run.network):
            torch.testing.assert_close(network(inputs)[:, :6], expected(inputs), atol=1e-3, rtol=1e-3)
    run.batches.close()
    train(settings, made, tmp_path / "b")
    assert len(rows(tmp_path / "b")) == SETTINGS.steps


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (SHIPPED / "rnet.safetensors", "start: .*holds rnet, expected pnet"),
        (SHIPPED / "none.safetensors", "start: .*is missing"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path, file, message):
    with pytest.raises(TrainingError, match=message):
        DetectorRun(replace(SETTINGS, start=str(file)), samples(), tmp_path)


def test_a_network_of_another_family_is_refused(random_weights):
    network = CascadeNetwork(ARCHITECTURES["default"]["pnet"], True)
    with pytest.raises(TrainingError, match="another network than the pnet to train"):
        warm_start(network, random_weights("paper") / "pnet.safetensors", torch.zeros(2, 3, 23, 23))


def test_bfloat16_learns(tmp_path):
    settings = replace(SETTINGS, steps=80, log_every=10, ema_decay=0.9, learning_rate=3e-3, precision="bfloat16")
    network = train(settings, samples(), tmp_path)
    found = rows(tmp_path)
    assert found[-1]["total"] < 0.5 * found[0]["total"]
    assert found[-1]["validation"]["accuracy"] > 0.95
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32, torch.int64}


def test_the_precision_is_that_of_the_products(tmp_path):
    names = ("float32", "bfloat16")
    one, two = (train(replace(SETTINGS, steps=1, precision=name), samples(), tmp_path / name) for name in names)
    assert not torch.equal(one.blocks[0][0].weight, two.blocks[0][0].weight)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision: expected float32 or bfloat16, got 'half'"):
        replace(SETTINGS, precision="half")
