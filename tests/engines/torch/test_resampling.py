"""Levels and crops of the torch engine are those of the native one to the byte."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from cascade.engines.native import NativeEngine
from cascade.engines.torch import crops as torch_crops
from cascade.engines.torch import resampling as torch_resample
from cascade.engines.torch.canvas import StoredPyramid
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.alignment import similarity_transforms
from cascade.imaging.pyramid import Pyramid, crop_sources, level_sizes
from tests.engines.torch.cases import (
    boxes_of_all_kinds,
    faces_of_all_kinds,
    noise,
    on_every_device,
    photo_pyramids,
    stored,
)
from tests.photos import portrait

Engines = Callable[[str, str], tuple[NativeEngine, TorchEngine]]


def assert_same_pyramids(one: Pyramid, other: Pyramid) -> None:
    np.testing.assert_array_equal(one.scales, other.scales)
    for image, tensor in zip(one.images, other.images, strict=True):
        assert tensor.dtype == torch.uint8
        np.testing.assert_array_equal(image, tensor.cpu().numpy())


def resampled(images: np.ndarray, width: int, height: int) -> np.ndarray:
    """Images (..., h, w, 3) as (..., height, width, 3)."""
    planes = torch.tensor(images).reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2)
    found = torch_resample.resample(planes, width, height).permute(0, 2, 3, 1)
    assert (found == found.to(torch.uint8)).all()
    return found.to(torch.uint8).numpy().reshape(*images.shape[:-3], height, width, 3)


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
    np.testing.assert_array_equal(
        resampled(image, columns, rows), _native.resample(image, (0, 0, width, height), columns, rows)
    )


def test_the_photo_is_not_touched(engines: Engines) -> None:
    image = noise(40, 40)
    pyramid = engines("default", "cpu")[1].pyramid(image, [(20, 20)])
    with torch.inference_mode():
        pyramid.images[0].zero_()
    np.testing.assert_array_equal(image, noise(40, 40))


def switches_of_products() -> list[contextlib.AbstractContextManager[Any]]:
    """All that a program can tell torch to make products of float32 faster, as far as this torch knows it."""

    @contextlib.contextmanager
    def matmul_precision(name: str) -> Iterator[None]:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(name)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    return [matmul_precision("medium"), torch.autocast("cpu", torch.bfloat16)]


@pytest.mark.parametrize("switch", [0, 1], ids=["medium", "autocast"])
def test_no_switch_of_torch_changes_a_level(engines: Engines, switch: int) -> None:
    native, other = engines("default", "cpu")
    sizes = level_sizes(512, 512, 12, None, 12, 0.709)
    with switches_of_products()[switch]:
        found = other.pyramid(portrait(), sizes)
        windows = other.dense_scan(found.images[2], 0.0)
    assert_same_pyramids(native.pyramid(portrait(), sizes), found)
    if switch:  # convolutions in bfloat16 would be off by hundredths
        np.testing.assert_allclose(windows, native.dense_scan(np.asarray(found.images[2]), 0.0), rtol=0, atol=1e-4)


@given(st.integers(1, 400), st.integers(1, 300))
def test_weights_are_exact_in_eight_bits(source: int, size: int) -> None:
    taps, whole = _native.triangle_taps([0], [source], [source], size), np.zeros((size, source))
    np.add.at(whole, (np.arange(size)[:, None], taps[0][0]), taps[1][0])
    found = np.zeros((size, source))
    for at, (first, end, weights) in zip(
        range(0, size, torch_resample.BLOCK_PIXELS["cpu"]),
        torch_resample._blocks(source, size, torch.device("cpu")),
        strict=True,
    ):
        assert (weights.to(torch.bfloat16).float() == weights).all()
        found[at : at + len(weights), first:end] = weights
    np.testing.assert_array_equal(found * (1 << torch_resample.WEIGHT_BITS), whole)


# Crops


@on_every_device
@pytest.mark.parametrize("size", [1, 24, 48])
def test_crops_are_equal_to_the_byte(engines: Engines, device: str, size: int) -> None:
    one, other = photo_pyramids(*engines("default", device))
    expected = _native.cut(*crop_sources(one), boxes_of_all_kinds(), size)
    found = torch.cat(list(torch_crops.cut([other], [boxes_of_all_kinds()], size)))
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.cpu(), expected)


@given(st.lists(st.tuples(*[st.floats(-99, 199)] * 2, *[st.floats(0.1, 300)] * 2), min_size=1, max_size=5))
@settings(max_examples=50)
def test_any_crop_is_equal_to_the_byte(rows: list[tuple[float, ...]]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows])
    images, scales = [noise(70, 90), noise(49, 63, 1)], np.array([(1.0, 1.0), (0.7, 0.7)])
    found = torch_crops.cut([stored(images, scales)], [boxes], 12)
    np.testing.assert_array_equal(torch.cat(list(found)), _native.cut(images, scales, boxes, 12))


def test_crops_without_any_smaller_level_are_equal(engines: Engines) -> None:
    """The photo alone, so that large boxes shrink by much in one step."""
    image = noise(400, 500)
    boxes = np.array([(0, 0, 500, 400), (-100, -100, 600, 500), (3, 3, 30, 30.0)])
    found = torch.cat(list(torch_crops.cut([stored([image], np.ones((1, 2)))], [boxes], 24)))
    np.testing.assert_array_equal(found, _native.cut([image], [(1, 1)], boxes, 24))


@on_every_device
@pytest.mark.parametrize("size", [1, 24, 56])
def test_turned_crops_are_equal_to_the_byte(engines: Engines, device: str, size: int) -> None:
    one, other = photo_pyramids(*engines("default", device))
    matrices = similarity_transforms(faces_of_all_kinds(), np.random.default_rng(2).uniform(0, size, (5, 2)))
    found = torch.cat(list(torch_crops.warp([other], [matrices], size)))
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.cpu(), _native.warp(*crop_sources(one), matrices, size))


@given(st.floats(-3.2, 3.2), st.floats(0.01, 50), st.tuples(*[st.floats(-99, 99)] * 2), st.integers(1, 20))
@settings(max_examples=50)
def test_any_turned_crop_is_equal_to_the_byte(
    angle: float, scale: float, shift: tuple[float, float], size: int
) -> None:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    matrices = np.array([[[cosine, -sine, shift[0]], [sine, cosine, shift[1]]]])
    images, scales = [noise(70, 90), noise(49, 63, 1), noise(1, 2, 2)], np.array([(1.0, 1.0), (0.7, 0.7), (0.02, 0.01)])
    found = torch_crops.warp([stored(images, scales)], [matrices], size)
    np.testing.assert_array_equal(torch.cat(list(found)), _native.warp(images, scales, matrices, size))


@pytest.mark.parametrize("value", [0.0, np.nan, 1e-9])
def test_both_refuse_the_same_transforms(value: float) -> None:
    matrices = np.array([[[1, 0, 2], [0, 1, 2]], [[value, 0, 2], [0, value, 2]]])
    matrices[1, 1, 2] = value
    image = noise(20, 20)
    for refusing in (
        lambda: _native.warp([image], [(1.0, 1.0)], matrices, 9),
        lambda: list(torch_crops.warp([stored([image], np.ones((1, 2)))], [matrices], 9)),
    ):
        with pytest.raises(ValueError, match=r"matrices: expected .* of a crop to within"):
            refusing()


def test_crops_are_the_same_in_pieces_of_any_size(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to a crop and a row of the filter at a time, also where a crop shrinks by much."""
    image = noise(400, 500)
    boxes = np.array([(0, 0, 500, 400), (-100, -100, 600, 500), (3, 3, 30, 30.0)])
    expected = _native.cut([image], [(1, 1)], boxes, 24)
    for values in (1, 100_000, 1_000_000):
        monkeypatch.setitem(torch_crops.CHUNK_VALUES, "cpu", values)
        found = torch.cat(list(torch_crops.cut([stored([image], np.ones((1, 2)))], [boxes], 24)))
        np.testing.assert_array_equal(found, expected)


def test_what_is_gathered_at_a_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a pixel of such a crop reads 84 by 84 pixels."""
    boxes = np.array([(0, 0, 1000, 1000.0)] * 2)
    monkeypatch.setitem(torch_crops.CHUNK_VALUES, "cpu", 1 << 19)
    largest = 0

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            found = function(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and "view" not in str(function):
                largest = max(largest, found.numel())
            return found

    pyramid = stored([noise(1000, 1000)], np.ones((1, 2)))
    with Watching():
        list(torch_crops.cut([pyramid], [boxes], 24))
    assert largest <= 1 << 19


# Several images


def test_images_of_equal_size_are_resampled_together() -> None:
    images = [noise(30, 50, seed) for seed in range(3)]
    found = resampled(np.stack(images), 21, 40)
    for image, level in zip(images, found, strict=True):
        np.testing.assert_array_equal(level, _native.resample(image, (0, 0, 50, 30), 21, 40))


@on_every_device
def test_pyramids_of_several_images_are_those_of_each(engines: Engines, device: str) -> None:
    native, other = engines("default", device)
    images = [noise(60, 90), noise(33, 44), noise(60, 90, 1), noise(90, 60), noise(60, 90, 2)]
    sizes = [[(40, 30), (20, 15)], [(9, 8)], [(40, 30), (20, 15)], [], [(40, 30)]]
    for image, some, found in zip(images, sizes, other.pyramids(images, sizes), strict=True):
        assert_same_pyramids(native.pyramid(image, some), found)


@on_every_device
def test_crops_of_several_pyramids_follow_one_another(engines: Engines, device: str) -> None:
    """For boxes and transforms, whatever falls into one chunk, and also where a pyramid has none."""
    native, other = engines("default", device)
    images, sizes = [noise(60, 90), noise(200, 30, 1), noise(90, 90, 2)], [(40, 30), (20, 15)]
    boxes = [boxes_of_all_kinds(30), np.empty((0, 4)), boxes_of_all_kinds(50)]
    matrices = [similarity_transforms(faces_of_all_kinds(n), np.arange(10.0).reshape(5, 2) ** 1.5) for n in (9, 0, 7)]
    ones, others = [native.pyramid(image, sizes) for image in images], other.pyramids(images, [sizes] * 3)
    for ours, theirs, places in ((_native.cut, torch_crops.cut, boxes), (_native.warp, torch_crops.warp, matrices)):
        expected = [ours(*crop_sources(one), some, 24) for one, some in zip(ones, places, strict=True)]
        found = torch.cat(list(theirs(others, places, 24)))
        np.testing.assert_array_equal(found.cpu(), np.concatenate(expected))


# Devices


def test_uploads_to_a_gpu_go_through_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played through without a GPU: what is staged, and that nothing waits for the copy."""
    made, copies = [], []

    class Staged:
        def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
            self.tensor = torch.zeros(shape, dtype=dtype)
            made.append(self.tensor)

        def numpy(self) -> np.ndarray:
            return self.tensor.numpy()

        def to(self, device: torch.device, non_blocking: bool) -> torch.Tensor:
            copies.append((device.type, non_blocking))
            return self.tensor

    monkeypatch.setattr(torch_resample, "_page_locked", Staged)
    for array in (noise(4, 5), np.array([1, -2]), np.array([True, False]), np.zeros((0, 3), np.int32)):
        array.flags.writeable = False
        np.testing.assert_array_equal(torch_resample.upload(array, torch.device("cuda")), array)
        assert made[-1].numpy().dtype == array.dtype
    assert copies == [("cuda", True)] * 4
    torch_resample.upload(array, torch.device("cpu"))
    assert len(made) == 4


def test_levels_and_crops_stay_on_the_device() -> None:
    """On a device that computes nothing but notices where tensors of two devices meet."""
    fake = importlib.import_module("torch._subclasses.fake_tensor")
    matrices = np.array([[(1, 0.1, 2), (-0.1, 1, 3.0)]])
    with fake.FakeTensorMode():
        store = torch.empty(2 * (60 * 80 + 30 * 40), 3, dtype=torch.uint8, device="meta")
        parts = store.split([60 * 80, 30 * 40] * 2)
        images = [part.view(*shape, 3) for part, shape in zip(parts, [(60, 80), (30, 40)] * 2, strict=True)]
        levels = torch_resample.resample(torch.stack(images[::2]).permute(0, 3, 1, 2), 40, 30)
        with pytest.raises(RuntimeError, match="device"):
            levels + torch.zeros(30, 40)
        scales, nothing = np.array([(1, 1), (0.5, 0.5)]), stored([noise(1, 1)], np.ones((1, 2))).canvas
        pyramids = [StoredPyramid(some, scales, store, nothing, 0) for some in (images[:2], images[2:])]
        crops = [*torch_crops.cut(pyramids, [boxes_of_all_kinds(5)] * 2, 24)]
        crops += torch_crops.warp(pyramids, [matrices, matrices], 24)
    assert {crop.device.type for crop in crops} == {levels.device.type} == {"meta"}
    assert sum(len(crop) for crop in crops) == 12
