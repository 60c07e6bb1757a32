"""The torch networks: shapes, folding, and what they export."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer
from tests.random_networks import random_network

torch = pytest.importorskip("torch")

from cascade.nn.torch_network import CascadeNetwork, export_tensors, fold, from_tensors  # noqa: E402

EVERY = [architecture for family in ARCHITECTURES.values() for architecture in family.values()]
every_architecture = pytest.mark.parametrize("architecture", EVERY, ids=lambda a: f"{a.name}-{a.stage}")


# the tests only read them
network_of = cache(random_network)


def noise(architecture: Architecture, count: int = 4, extra: int = 0) -> torch.Tensor:
    side = architecture.input_size + extra
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@every_architecture
def test_a_crop_gives_one_position_with_all_outputs(architecture: Architecture) -> None:
    assert CascadeNetwork(architecture)(noise(architecture)).shape == (4, 16, 1, 1)
    assert architecture.outputs == 16


@every_architecture
def test_a_network_has_as_many_weights_as_its_architecture_says(architecture: Architecture) -> None:
    assert sum(p.numel() for p in CascadeNetwork(architecture).parameters()) == architecture.weights()


def test_the_papers_networks_have_the_papers_size() -> None:
    paper = ARCHITECTURES["paper"]
    assert paper["pnet"].without_landmarks().weights() == 6632
    assert paper["rnet"].without_landmarks().weights() == 100178
    assert paper["onet"].weights() == 389040


@every_architecture
def test_a_network_slides_by_its_stride(architecture: Architecture) -> None:
    """Four strides more of image give four positions more."""
    longer = CascadeNetwork(architecture).eval()(noise(architecture, 1, 4 * architecture.stride))
    assert longer.shape == (1, 16, 5, 5)


@every_architecture
def test_folding_changes_no_output(architecture: Architecture) -> None:
    network = network_of(architecture)
    folded = fold(network)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    for extra in (0, 9):
        expected = network(noise(architecture, extra=extra))
        assert expected.std() > 0.05
        torch.testing.assert_close(folded(noise(architecture, extra=extra)), expected, rtol=1e-4, atol=1e-4)


@every_architecture
def test_folding_leaves_the_network_alone(architecture: Architecture) -> None:
    network = network_of(architecture)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_tensors(network)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@every_architecture
def test_folding_what_has_no_norm_copies_it(architecture: Architecture) -> None:
    network = CascadeNetwork(architecture).eval()
    pairs = zip(fold(network).state_dict().items(), network.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(value, same) for (name, value), (other, same) in pairs)


@every_architecture
def test_exported_tensors_make_the_same_network(architecture: Architecture) -> None:
    network = network_of(architecture)
    again = from_tensors(architecture, export_tensors(network))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(again(noise(architecture)), network(noise(architecture)), rtol=1e-4, atol=1e-4)


@every_architecture
def test_exported_tensors_are_those_of_the_architecture(architecture: Architecture) -> None:
    tensors = export_tensors(network_of(architecture))
    expected, channels = {}, 3
    for index, layer in enumerate(architecture.layers):
        if layer.kind == "conv":
            expected[f"{index}.weight"] = (layer.channels, channels, layer.kernel, layer.kernel)
            expected[f"{index}.bias"] = (layer.channels,)
            if layer.activation == "prelu":
                expected[f"{index}.slope"] = (layer.channels,)
            channels = layer.channels
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected
    for one, other in pairwise(tensors.values()):
        assert one.is_contiguous()
        assert one.data_ptr() != other.data_ptr()


@every_architecture
def test_landmarks_can_be_left_out(architecture: Architecture) -> None:
    network = network_of(architecture)
    short = architecture.without_landmarks()
    assert (short.outputs, short.name, short.stage) == (6, architecture.name, architecture.stage)
    again = from_tensors(short, export_tensors(network, outputs=6))
    torch.testing.assert_close(again(noise(architecture)), network(noise(architecture))[:, :6], rtol=1e-4, atol=1e-4)


def test_half_precision_tensors_are_widened() -> None:
    architecture = ARCHITECTURES["paper"]["pnet"]
    tensors = {name: tensor.half() for name, tensor in export_tensors(network_of(architecture)).items()}
    assert from_tensors(architecture, tensors)(noise(architecture)).dtype == torch.float32


# Architectures


@every_architecture
def test_an_architecture_survives_json(architecture: Architecture) -> None:
    assert Architecture.from_dict(architecture.to_dict()) == architecture


@pytest.mark.parametrize("values", [{}, [], None, {"layers": 3}, {"layers": [{"kind": "conv", "size": 3}]}])
def test_anything_else_is_no_architecture(values: object) -> None:
    with pytest.raises((KeyError, TypeError)):
        Architecture.from_dict(values)  # type: ignore[arg-type]


def test_the_arithmetic_of_an_architecture_by_hand() -> None:
    layers = (Layer("conv", 3, 2, 8, "prelu"), Layer("pool", 2, 2), Layer("conv", 2, 1, 6))
    architecture = Architecture("hand", "rnet", 9, 6, layers)
    assert (architecture.stride, architecture.padding, architecture.context) == (4, 1, 1.5)
    assert architecture.multiply_adds() == 4 * 4 * 8 * 27 + 6 * 32
    assert architecture.weights() == 8 * 27 + 16 + 6 * 32 + 6


def test_the_papers_multiply_adds_are_known() -> None:
    paper = ARCHITECTURES["paper"]
    assert paper["rnet"].multiply_adds() == pytest.approx(1.53e6, rel=0.02)
    assert paper["onet"].multiply_adds() == pytest.approx(12.9e6, rel=0.02)


def test_the_small_networks_have_half_the_work_of_the_default_ones() -> None:
    default, small = ARCHITECTURES["default"], ARCHITECTURES["small"]
    assert list(small) == list(default)
    for stage, architecture in small.items():
        other = default[stage]
        for name in ("stage", "input_size", "window", "stride", "context", "outputs"):
            assert getattr(architecture, name) == getattr(other, name)
        assert 0.45 < architecture.multiply_adds() / other.multiply_adds() < 0.6
        assert all(layer.channels % 8 == 0 for layer in architecture.layers)


def test_random_weights_repeat_themselves() -> None:
    one, other = (export_tensors(random_network(ARCHITECTURES["default"]["pnet"], 3)) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
