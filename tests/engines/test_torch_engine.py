"""The torch engine against the native one: levels and crops to the byte, networks to the last digits."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import portrait

from cascade import _native
from cascade.align import similarity_transforms
from cascade.detect import landmark_template
from cascade.engines.native import NativeEngine, crop_sources
from cascade.pyramid import Pyramid, level_sizes
from cascade.weights import load_detector

torch = pytest.importorskip("torch")

from cascade.engines import torch as module  # noqa: E402
from cascade.engines.torch import TorchEngine  # noqa: E402

FAMILIES = ["default", "paper"]
without_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
Engines = Callable[[str, str], tuple[NativeEngine, TorchEngine]]

on_every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=without_cuda)])
for_both_families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def engines(random_weights: Callable[[str], Path]) -> Engines:
    """A function from a family and a device to both engines with the same weights."""

    def pair(family: str, device: str) -> tuple[NativeEngine, TorchEngine]:
        weights = load_detector(random_weights(family))
        return NativeEngine(weights), TorchEngine(weights, device)

    return pair


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def assert_same_pyramids(one: Pyramid, other: Pyramid) -> None:
    np.testing.assert_array_equal(one.scales, other.scales)
    for image, tensor in zip(one.images, other.images, strict=True):
        assert tensor.dtype == torch.uint8
        np.testing.assert_array_equal(image, tensor.cpu().numpy())


# Pyramids


@on_every_device
@pytest.mark.parametrize("shape", [(512, 512), (37, 301), (301, 37), (12, 12), (1, 1), (1, 90), (480, 640)])
def test_pyramids_are_equal_to_the_byte(engines: Engines, device: str, shape: tuple[int, int]) -> None:
    image = portrait() if shape == (512, 512) else noise(*shape)
    sizes = level_sizes(shape[1], shape[0], 12, None, 12, 0.709)
    native, other = engines("default", device)
    assert_same_pyramids(native.pyramid(image, sizes), other.pyramid(image, sizes))


@on_every_device
def test_pyramids_of_any_sizes_are_equal(engines: Engines, device: str) -> None:
    """Up and down, by little and by much."""
    native, other = engines("default", device)
    sizes = [(50, 40), (51, 80), (3, 2), (1, 1), (7, 5), (256, 256), (2, 2)]
    assert_same_pyramids(native.pyramid(noise(60, 90), sizes), other.pyramid(noise(60, 90), sizes))


@given(*[st.integers(1, 90)] * 4, st.integers(0, 9))
def test_any_resampling_is_equal_to_the_byte(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    image = noise(height, width, seed)
    found = module._resample(torch.tensor(image), columns, rows)
    np.testing.assert_array_equal(found, _native.resample(image, (0, 0, width, height), columns, rows))


def test_the_photo_is_not_touched(engines: Engines) -> None:
    image = noise(40, 40)
    pyramid = engines("default", "cpu")[1].pyramid(image, [(20, 20)])
    with torch.inference_mode():
        pyramid.images[0].zero_()
    np.testing.assert_array_equal(image, noise(40, 40))


# Sliding


@on_every_device
@for_both_families
@pytest.mark.parametrize("shape", [(90, 130), (23, 23), (12, 70), (61, 38), (5, 5), (1, 1), (300, 9)])
def test_sliding_finds_the_same_windows_in_the_same_order(
    engines: Engines, family: str, device: str, shape: tuple[int, int]
) -> None:
    native, other = engines(family, device)
    image = noise(*shape)
    everything = native.slide(image, -np.inf)
    found = other.slide(torch.tensor(image, device=device), -np.inf)
    assert found.dtype == np.float32
    assert found.shape == (len(everything), 17)
    if len(everything):
        np.testing.assert_allclose(found, everything, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found[:, :2], everything[:, :2])


@on_every_device
@for_both_families
def test_sliding_over_a_photo_passes_the_same_windows(engines: Engines, family: str, device: str) -> None:
    native, other = engines(family, device)
    level = _native.resample(portrait(), (0, 0, 512, 512), 300, 300)
    expected, found = native.slide(level, 0.0), other.slide(torch.tensor(level, device=device), 0.0)
    assert len(expected) > 20
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@for_both_families
def test_strips_of_windows_joined_are_the_whole(engines: Engines, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other, level = engines(family, "cpu")[1], torch.tensor(noise(83, 64))
    whole = other.slide(level, 0.0)
    for pixels in (1, 1000, 3000):
        monkeypatch.setattr(module, "STRIP_PIXELS", pixels)
        np.testing.assert_allclose(other.slide(level, 0.0), whole, rtol=0, atol=1e-5)


# Crops


def photo_pyramids(engines: Engines, device: str = "cpu") -> tuple[Pyramid, Pyramid]:
    image = noise(120, 150)
    sizes = level_sizes(150, 120, 20, None, 12, 0.709)
    native, other = engines("default", device)
    return native.pyramid(image, sizes), other.pyramid(image, sizes)


def boxes_of_all_kinds(count: int = 60) -> np.ndarray:
    """Within, across the border and beyond it, tiny and larger than the image."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(-80, 200, (count, 2))
    sides = np.exp(rng.uniform(0, 6, (count, 1))) * rng.uniform(0.8, 1.2, (count, 2))
    return np.hstack([corners, corners + sides])


@on_every_device
@pytest.mark.parametrize("size", [1, 24, 48])
def test_crops_are_equal_to_the_byte(engines: Engines, device: str, size: int) -> None:
    one, other = photo_pyramids(engines, device)
    expected = _native.cut(*crop_sources(one), boxes_of_all_kinds(), size)
    found = torch.cat(list(module._cut(other, boxes_of_all_kinds(), size)))
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.cpu(), expected)


@given(st.lists(st.tuples(*[st.floats(-99, 199)] * 2, *[st.floats(0.1, 300)] * 2), min_size=1, max_size=5))
@settings(max_examples=50)
def test_any_crop_is_equal_to_the_byte(rows: list[tuple[float, ...]]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows])
    images, scales = [noise(70, 90), noise(49, 63, 1)], np.array([(1.0, 1.0), (0.7, 0.7)])
    found = module._cut(Pyramid([torch.tensor(image) for image in images], scales), boxes, 12)
    np.testing.assert_array_equal(torch.cat(list(found)), _native.cut(images, scales, boxes, 12))


def test_crops_without_any_smaller_level_are_equal(engines: Engines) -> None:
    """The photo alone, so that large boxes shrink by much in one step."""
    image = noise(400, 500)
    boxes = np.array([(0, 0, 500, 400), (-100, -100, 600, 500), (3, 3, 30, 30.0)])
    found = torch.cat(list(module._cut(Pyramid([torch.tensor(image)], np.ones((1, 2))), boxes, 24)))
    np.testing.assert_array_equal(found, _native.cut([image], [(1, 1)], boxes, 24))


@on_every_device
@for_both_families
@pytest.mark.parametrize("stage", ["rnet", "onet"])
def test_judgements_agree(engines: Engines, family: str, device: str, stage: str) -> None:
    native, other = engines(family, device)
    one, two = photo_pyramids(engines, device)
    expected, found = native.judge(stage, one, boxes_of_all_kinds()), other.judge(stage, two, boxes_of_all_kinds())
    assert expected.std() > 0.1
    assert (found.dtype, found.shape) == (np.float32, (60, 16))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for engine, pyramid in ((native, one), (other, two)):
        nothing = engine.judge(stage, pyramid, np.empty((0, 4)))
        assert (nothing.dtype, nothing.shape) == (np.float32, (0, 16))


@on_every_device
def test_judgements_of_turned_crops_agree(engines: Engines, device: str) -> None:
    native, other = engines("default", device)
    one, two = photo_pyramids(engines, device)
    rng = np.random.default_rng(1)
    faces = rng.uniform(-20, 150, (70, 1, 2)) + rng.uniform(5, 90, (70, 1, 1)) * rng.uniform(size=(70, 5, 2))
    template = landmark_template(native.weights["lnet"].architecture)
    matrices = similarity_transforms(faces, template)
    expected, found = native.judge_turned("lnet", one, matrices), other.judge_turned("lnet", two, matrices)
    assert expected.std() > 0.1
    assert (found.dtype, found.shape) == (np.float32, (70, 16))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for engine, pyramid in ((native, one), (other, two)):
        nothing = engine.judge_turned("lnet", pyramid, np.empty((0, 2, 3)))
        assert (nothing.dtype, nothing.shape) == (np.float32, (0, 16))


def test_chunks_of_crops_joined_are_the_whole(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, (_, pyramid) = engines("default", "cpu")[1], photo_pyramids(engines)
    whole = engine.judge("rnet", pyramid, boxes_of_all_kinds())
    for values in (1, 1 << 18):
        monkeypatch.setattr(module, "CHUNK_VALUES", values)
        np.testing.assert_allclose(engine.judge("rnet", pyramid, boxes_of_all_kinds()), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "box", [(0, 0, np.nan, 9), (0, 0, np.inf, 9), (9, 9, 3, 3), (5, 5, 5.01, 9), (0, 0, 2.0**21, 2.0**21)]
)
def test_both_engines_refuse_the_same_boxes(engines: Engines, box: tuple[float, ...]) -> None:
    native, other = engines("default", "cpu")
    one, two = photo_pyramids(engines)
    for engine, pyramid in ((native, one), (other, two)):
        pyramid = Pyramid(pyramid.images[:1], pyramid.scales[:1])  # noqa: PLW2901
        with pytest.raises(ValueError, match="boxes: expected finite x1 < x2"):
            engine.judge("rnet", pyramid, np.array([(0, 0, 30, 30), box]))


# The engine itself


def test_threads_share_an_engine(engines: Engines) -> None:
    engine, (_, pyramid) = engines("default", "cpu")[1], photo_pyramids(engines)
    expected = engine.judge("onet", pyramid, boxes_of_all_kinds())
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: engine.judge("onet", pyramid, boxes_of_all_kinds()), range(8)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "a toaster", "", None, 3.5])
def test_devices_that_cannot_compute_are_named(random_weights: Callable[[str], Path], device: str) -> None:
    with pytest.raises(ValueError, match=r"^device: "):
        TorchEngine(load_detector(random_weights("default")), device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_named(random_weights: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"device: 'cuda' is not there, torch .* sees 0 CUDA devices"):
        TorchEngine(load_detector(random_weights("default")), "cuda")


def test_a_missing_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cascade.engines.torch")
    with pytest.raises(ImportError, match=r'pip install "cascade-faces\[train\]"'):
        importlib.import_module("cascade.engines.torch")


def test_the_precision_switch_is_turned_back() -> None:
    """On a GPU convolutions run in full float32, whatever the switch said, and it says so again afterwards."""
    cudnn = torch.backends.cudnn
    switch, name = (cudnn.conv, "fp32_precision") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32")
    before = getattr(switch, name)
    with module._full_precision(torch.device("cpu")):
        assert getattr(switch, name) == before
    with suppress(KeyError), module._full_precision(torch.device("cuda")):
        assert getattr(switch, name) in ("ieee", False)
        raise KeyError
    assert getattr(switch, name) == before
