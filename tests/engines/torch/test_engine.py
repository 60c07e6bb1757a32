"""The torch engine against the native one: networks to the last digits."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade import _native
from cascade.engines.native import NativeEngine
from cascade.engines.torch import canvas as torch_canvas
from cascade.engines.torch import crops as torch_crops
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.alignment import similarity_transforms
from cascade.models.detector import load_detector
from cascade.stages import landmark_template
from tests.engines.torch.cases import (
    boxes_of_all_kinds,
    faces_of_all_kinds,
    for_both_families,
    noise,
    on_every_device,
    photo_pyramids,
)
from tests.photos import portrait

Engines = Callable[[str, str], tuple[NativeEngine, TorchEngine]]


# Dense scan


@on_every_device
@for_both_families
@pytest.mark.parametrize("shape", [(90, 130), (23, 23), (12, 70), (61, 38), (5, 5), (1, 1), (300, 9)])
def test_dense_scan_finds_the_same_windows_in_the_same_order(
    engines: Engines, family: str, device: str, shape: tuple[int, int]
) -> None:
    native, other = engines(family, device)
    image = noise(*shape)
    everything = native.dense_scan(image, -np.inf)
    found = other.dense_scan(torch.tensor(image, device=device), -np.inf)
    assert found.dtype == np.float32
    assert found.shape == (len(everything), 17)
    if len(everything):
        np.testing.assert_allclose(found, everything, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found[:, :2], everything[:, :2])


@on_every_device
@for_both_families
def test_dense_scan_of_a_photo_passes_the_same_windows(engines: Engines, family: str, device: str) -> None:
    native, other = engines(family, device)
    level = _native.resample(portrait(), (0, 0, 512, 512), 300, 300)
    expected, found = native.dense_scan(level, 0.0), other.dense_scan(torch.tensor(level, device=device), 0.0)
    assert len(expected) > 20
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@for_both_families
def test_strips_of_windows_joined_are_the_whole(engines: Engines, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other, level = engines(family, "cpu")[1], torch.tensor(noise(83, 64))
    whole = other.dense_scan(level, 0.0)
    for pixels in (1, 1000, 3000):
        monkeypatch.setitem(torch_canvas.STRIP_PIXELS, "cpu", pixels)
        np.testing.assert_allclose(other.dense_scan(level, 0.0), whole, rtol=0, atol=1e-5)


# Crops


@on_every_device
@for_both_families
@pytest.mark.parametrize("stage", ["rnet", "onet"])
def test_outputs_of_crops_agree(engines: Engines, family: str, device: str, stage: str) -> None:
    native, other = engines(family, device)
    one, two = photo_pyramids(native, other)
    expected = native.classify_crops(stage, one, boxes_of_all_kinds())
    found = other.classify_crops(stage, two, boxes_of_all_kinds())
    assert expected.std() > 0.1
    assert (found.dtype, found.shape) == (np.float32, (60, 16))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for engine, pyramid in ((native, one), (other, two)):
        nothing = engine.classify_crops(stage, pyramid, np.empty((0, 4)))
        assert (nothing.dtype, nothing.shape) == (np.float32, (0, 16))


@on_every_device
def test_outputs_of_aligned_crops_agree(engines: Engines, device: str) -> None:
    native, other = engines("default", device)
    one, two = photo_pyramids(native, other)
    template = landmark_template(native.weights["lnet"].architecture)
    matrices = similarity_transforms(faces_of_all_kinds(), template)
    expected = native.classify_aligned_crops("lnet", one, matrices)
    found = other.classify_aligned_crops("lnet", two, matrices)
    assert expected.std() > 0.1
    assert (found.dtype, found.shape) == (np.float32, (70, 16))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for engine, pyramid in ((native, one), (other, two)):
        nothing = engine.classify_aligned_crops("lnet", pyramid, np.empty((0, 2, 3)))
        assert (nothing.dtype, nothing.shape) == (np.float32, (0, 16))


def test_chunks_of_crops_joined_are_the_whole(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    native, engine = engines("default", "cpu")
    pyramid = photo_pyramids(native, engine)[1]
    whole = engine.classify_crops("rnet", pyramid, boxes_of_all_kinds())
    for values in (1, 1 << 18):
        monkeypatch.setitem(torch_crops.CHUNK_VALUES, "cpu", values)
        np.testing.assert_allclose(
            engine.classify_crops("rnet", pyramid, boxes_of_all_kinds()), whole, rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(
    "box", [(0, 0, np.nan, 9), (0, 0, np.inf, 9), (9, 9, 3, 3), (5, 5, 5.01, 9), (0, 0, 2.0**21, 2.0**21)]
)
def test_both_engines_refuse_the_same_boxes(engines: Engines, box: tuple[float, ...]) -> None:
    native, other = engines("default", "cpu")
    one, two = photo_pyramids(native, other)
    for engine, pyramid in ((native, one), (other, two)):
        pyramid = replace(pyramid, images=pyramid.images[:1], scales=pyramid.scales[:1])  # noqa: PLW2901
        with pytest.raises(ValueError, match="boxes: expected finite x1 < x2"):
            engine.classify_crops("rnet", pyramid, np.array([(0, 0, 30, 30), box]))


# The engine itself


def test_threads_share_an_engine(engines: Engines) -> None:
    native, engine = engines("default", "cpu")
    pyramid = photo_pyramids(native, engine)[1]
    expected = engine.classify_crops("onet", pyramid, boxes_of_all_kinds())
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: engine.classify_crops("onet", pyramid, boxes_of_all_kinds()), range(8)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "a toaster", "", None, 3.5])
def test_devices_that_cannot_compute_are_named(random_weights: Callable[[str], Path], device: str) -> None:
    with pytest.raises(ValueError, match=r"^device: "):
        TorchEngine(load_detector(random_weights("default")), device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_named(random_weights: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"device: 'cuda' is not available: torch .* finds 0 CUDA devices"):
        TorchEngine(load_detector(random_weights("default")), "cuda")


def test_a_missing_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cascade.engines.torch.engine")
    with pytest.raises(ImportError, match=r'pip install "cascade-faces\[torch\]"'):
        importlib.import_module("cascade.engines.torch.engine")
