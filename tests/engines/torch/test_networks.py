"""How networks run in torch: layout, precision, compilation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from cascade.engines.torch import engine as torch_engine
from cascade.engines.torch import networks as torch_networks
from cascade.engines.torch.engine import TorchEngine
from cascade.faces import Faces
from cascade.models.detector import DetectorWeights, load_detector
from tests.engines.torch.cases import boxes_of_all_kinds, for_both_families, noise, on_every_device
from tests.photos import portrait

Engines = Callable[[str, str], tuple[NativeEngine, TorchEngine]]
CHANNELS_LAST = torch.channels_last


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Path]) -> Callable[[str], DetectorWeights]:
    return lambda family: load_detector(random_weights(family))


# Layout


@pytest.mark.parametrize("half", [False, True])
@for_both_families
def test_all_maps_lie_channels_last(weights: Callable[[str], DetectorWeights], family: str, half: bool) -> None:
    """Those of crops and of strips of levels, so that no layer has to permute its input."""
    engine = TorchEngine(weights(family), half=half)
    seen: list[torch.Tensor] = []
    for network in engine._networks.values():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                assert module.weight.is_contiguous(memory_format=CHANNELS_LAST)
                module.register_forward_hook(lambda _, inputs, output: seen.extend([*inputs, output]))
    pyramid = engine.pyramid(noise(90, 120), [(60, 45), (50, 37)])
    engine.dense_scan(pyramid.images[1], 0.0)
    engine.classify_crops("onet", pyramid, boxes_of_all_kinds(3))
    assert len(seen) > 10
    assert all(maps.is_contiguous(memory_format=CHANNELS_LAST) for maps in seen)


# Precision


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_inputs_are_exact_in_every_precision(precision: torch.dtype) -> None:
    """A pixel's value less 127.5 takes 8 bits."""
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    seen: list[torch.Tensor] = []

    class Looking(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x

    network = torch_networks.PixelNetwork(_Blocks([Looking(), torch.nn.Identity()]), precision)
    assert network(pixels).dtype == torch.float32
    assert seen[0].dtype == precision
    np.testing.assert_array_equal(seen[0].double(), (pixels.double() - 127.5) / 128)


class _Blocks:
    def __init__(self, blocks: list[torch.nn.Module]) -> None:
        self.blocks = blocks


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
@for_both_families
def test_only_the_last_layer_is_computed_in_full(
    weights: Callable[[str], DetectorWeights], family: str, precision: torch.dtype
) -> None:
    network = torch_engine._network(weights(family)["rnet"], precision)
    kinds = {name.partition(".")[0]: parameter.dtype for name, parameter in network.named_parameters()}
    assert kinds == {"body": precision, "head": torch.float32}
    size = weights(family)["rnet"].architecture.input_size
    crops = torch.tensor(noise(40 * size, size)).reshape(40, size, size, 3).permute(0, 3, 1, 2)
    try:
        found = torch_networks.run(network, crops)
    except RuntimeError as error:
        pytest.skip(f"this CPU does not convolve in {precision}: {error}")
    full = torch_networks.run(torch_engine._network(weights(family)["rnet"], torch.float32), crops)
    assert found.dtype == full.dtype == torch.float32
    assert (found.to(precision) != found).any()  # not rounded to the lower precision in the end
    np.testing.assert_allclose(found, full, rtol=0, atol=0.01 if precision == torch.float16 else 0.08)


def assert_close(found: Faces, expected: Faces) -> None:
    """Within 1 pixel and 0.02 in score."""
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=0.02)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=1)


@on_every_device
def test_half_precision_finds_the_same_face(device: str) -> None:
    half = Detector(engine=TorchEngine(load_detector(), device, half=True))
    full = Detector(engine="torch", device=device)
    assert_close(half.detect(portrait()), full.detect(portrait()))
    photos = [portrait(), portrait()[::2, ::2], portrait()]
    for found, photo in zip(half.detect_batch(photos), photos, strict=True):
        assert_close(found, full.detect(photo))


def test_the_precision_of_gpus_finds_the_same_face_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_engine, "half_precision", lambda device: torch.float16)
    try:
        found = Detector(engine=TorchEngine(load_detector(), half=True)).detect(portrait())
    except RuntimeError as error:
        pytest.skip(f"this CPU does not convolve in float16: {error}")
    assert_close(found, Detector(engine="torch").detect(portrait()))


def test_half_precision_is_what_the_device_is_fast_in() -> None:
    assert torch_networks.half_precision(torch.device("cpu")) == torch.bfloat16
    assert torch_networks.half_precision(torch.device("cuda", 1)) == torch.float16


def test_the_precision_switch_is_turned_back() -> None:
    """On a GPU convolutions run in full float32, whatever the switch said, and it says so again afterwards."""
    cudnn = torch.backends.cudnn
    switch, name = (cudnn.conv, "fp32_precision") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32")
    before = getattr(switch, name)
    with torch_networks.full_precision(torch.device("cpu")):
        assert getattr(switch, name) == before
    with suppress(KeyError), torch_networks.full_precision(torch.device("cuda")):
        assert getattr(switch, name) in ("ieee", False)
        raise KeyError
    assert getattr(switch, name) == before


# Compilation


def compiler_is_missing() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is None


@pytest.mark.slow
@pytest.mark.skipif(compiler_is_missing(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_gives_the_same(weights: Callable[[str], DetectorWeights]) -> None:
    """P-Net alone, on levels of several sizes and in strips: compiling takes long."""
    alone = DetectorWeights("P-Net alone", {"pnet": weights("default")["pnet"]})
    plain, compiled = TorchEngine(alone), TorchEngine(alone, compile=True)
    levels = [torch.tensor(noise(*shape)) for shape in ((90, 130), (90, 130), (61, 38), (5, 5))]
    for some in (levels[:1], levels):
        for found, expected in zip(
            compiled.dense_scan_levels(some, [0.0] * len(some)),
            plain.dense_scan_levels(some, [0.0] * len(some)),
            strict=True,
        ):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_where_compiling_fails_the_setting_is_named(
    weights: Callable[[str], DetectorWeights], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no compiler here\nand more that nobody reads")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    with pytest.raises(ValueError, match=r"^compile: torch.compile does not work on 'cpu' here \(no compiler here\)$"):
        TorchEngine(weights("default"), compile=True)
