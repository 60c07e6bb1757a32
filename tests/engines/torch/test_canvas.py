"""Levels on a canvas: none overlaps another, and P-Net over the canvas is P-Net over each level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cascade.engines.native import NativeEngine
from cascade.engines.torch import canvas as torch_canvas
from cascade.engines.torch.canvas import canvas_of, layout, shelves, stored_pyramids
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.pyramid import level_sizes
from cascade.nn.architectures import ARCHITECTURES, Architecture
from tests.engines.torch.cases import for_both_families, noise

Engines = Callable[[str, str], tuple[NativeEngine, TorchEngine]]
SIDES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=12)
FAMILIES = st.sampled_from([networks["pnet"] for networks in ARCHITECTURES.values()])


@given(SIDES)
def test_rectangles_on_shelves_are_within_and_apart(sides: list[tuple[int, int]]) -> None:
    places, height, width = shelves(sides)
    taken = np.zeros((height, width), int)
    for (top, left), (rows, columns) in zip(places, sides, strict=True):
        assert top + rows <= height and left + columns <= width
        taken[top : top + rows, left : left + columns] += 1
    assert taken.max(initial=0) <= 1


@pytest.mark.parametrize("pnet", [networks["pnet"] for networks in ARCHITECTURES.values()], ids=lambda p: p.name)
def test_a_canvas_is_hardly_larger_than_its_levels(pnet: Architecture) -> None:
    """By less than a half, for a pyramid of VGA's size."""
    sizes = tuple(level_sizes(640, 480, 20, None, pnet.window, 0.709))
    one = layout(sizes, pnet)
    assert one.height * one.width < 1.5 * sum((w + 2 * pnet.padding) * (h + 2 * pnet.padding) for w, h in sizes)


@given(SIDES, FAMILIES)
def test_every_window_of_a_level_is_one_of_the_canvas(sizes: list[tuple[int, int]], pnet: Architecture) -> None:
    """On the stride, and seeing nothing but its level and the grey around it."""
    one = layout(tuple(sizes), pnet)
    owner = np.full((one.height, one.width), -1)
    for index, ((top, left), (width, height)) in enumerate(zip(one.corners, sizes, strict=True)):
        assert (owner[top : top + height, left : left + width] == -1).all()
        owner[top : top + height, left : left + width] = index
    for index, (width, height) in enumerate(sizes):
        rows, columns = pnet.windows(height), pnet.windows(width)
        found = np.argwhere(one.levels == index)
        assert len(found) == rows * columns
        for row, column in found:
            top, left = row * pnet.stride, column * pnet.stride
            seen = owner[top : top + pnet.input_size, left : left + pnet.input_size]
            assert seen.shape == (pnet.input_size, pnet.input_size)
            assert set(np.unique(seen)) <= {-1, index}
            # where it is in its level, from its level's first window on
            shift = np.array([column, row]) - one.firsts[index]
            assert tuple(shift * pnet.stride - pnet.padding) == (
                left - one.corners[index][1],
                top - one.corners[index][0],
            )


@for_both_families
def test_levels_of_a_canvas_are_scanned_as_each_alone(engines: Engines, family: str) -> None:
    native, engine = engines(family, "cpu")
    levels = [noise(*shape, seed) for seed, shape in enumerate([(90, 130), (90, 130), (61, 38), (5, 5), (23, 200)])]
    found = engine.dense_scan_levels([torch.tensor(level) for level in levels], [0.0] * len(levels))
    assert sum(map(len, found)) > 50
    for some, level in zip(found, levels, strict=True):
        expected = native.dense_scan(level, 0.0)
        np.testing.assert_array_equal(some[:, :2], expected[:, :2])
        np.testing.assert_allclose(some, expected, rtol=0, atol=1e-4)


def test_pyramids_of_one_call_share_a_store_and_those_of_a_size_a_canvas(engines: Engines) -> None:
    engine = engines("default", "cpu")[1]
    images = [noise(60, 90), noise(33, 44), noise(60, 90, 1)]
    first, second, third = engine.pyramids(images, [[(40, 30)], [(9, 8)], [(40, 30)]])
    assert first.store is second.store is third.store
    assert first.canvas is third.canvas is not second.canvas
    assert (first.place, second.place, third.place) == (0, 0, 1)
    covered = sorted(
        (image.storage_offset(), image.storage_offset() + (len(image) - 1) * image.stride(0) + 3 * image.shape[1])
        for image in (first.images[0], second.images[0], third.images[0])
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(covered))


def test_crops_of_pyramids_of_different_calls_are_those_of_each(engines: Engines) -> None:
    """Each call has a store of its own."""
    native, engine = engines("default", "cpu")
    images, boxes = [noise(60, 90), noise(80, 70, 1)], np.array([(5.0, 6, 40, 41), (-9, 3, 20, 32)])
    pyramids = [engine.pyramid(image, [(40, 30)]) for image in images]
    found = engine.classify_crops_of_pyramids("rnet", pyramids, [boxes, boxes])
    for image, some in zip(images, found, strict=True):
        np.testing.assert_allclose(
            some, native.classify_crops("rnet", native.pyramid(image, [(40, 30)]), boxes), atol=1e-4
        )


def test_a_photo_without_levels_has_no_windows(engines: Engines) -> None:
    engine = engines("default", "cpu")[1]
    pyramids = engine.pyramids([noise(3, 3), noise(60, 90)], [[], [(40, 30)]])
    nothing, some = engine.dense_scan_pyramids(list(pyramids), [[-np.inf] * len(p.images[1:]) for p in pyramids])
    assert nothing == []
    assert [len(level) > 0 for level in some] == [True]
    assert engine.dense_scan_levels([], []) == []


def test_between_levels_is_the_padding_value(random_weights: Callable[[str], Path]) -> None:
    pnet = ARCHITECTURES["default"]["pnet"]
    (pyramid,) = stored_pyramids([np.zeros((60, 90, 3), np.uint8)], [[(40, 30), (20, 15)]], pnet, torch.device("cpu"))
    canvas = pyramid.canvas.pixels[0].numpy()
    assert (canvas == 0).sum() == 3 * (40 * 30 + 20 * 15)
    assert (canvas == 128).sum() == canvas.size - (canvas == 0).sum()
    assert (canvas_of([torch.zeros(30, 40, 3)], pnet).pixels.numpy()[0] == 0).sum() == 3 * 40 * 30


def test_photos_of_a_canvas_can_be_scanned_by_themselves(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines("default", "cpu")[1]
    pyramids = list(engine.pyramids([noise(60, 90, seed) for seed in range(3)], [[(40, 30), (20, 15)]] * 3))
    expected = engine.dense_scan_pyramids(pyramids, [[0.0] * len(p.images[1:]) for p in pyramids])
    inputs: list[int] = []
    network = engine._networks["pnet"]
    monkeypatch.setitem(engine._networks, "pnet", lambda pixels: inputs.append(len(pixels)) or network(pixels))
    for some in ([2], [2, 0]):
        found = engine.dense_scan_pyramids(
            [pyramids[index] for index in some], [[0.0] * len(pyramids[index].images[1:]) for index in some]
        )
        for levels, index in zip(found, some, strict=True):
            for one, other in zip(levels, expected[index], strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert inputs == [1, 2]


def test_a_pyramid_that_has_lost_levels_is_refused(engines: Engines) -> None:
    engine = engines("default", "cpu")[1]
    pyramid = engine.pyramid(noise(60, 90), [(40, 30), (20, 15)])
    less = replace(pyramid, images=pyramid.images[:2], scales=pyramid.scales[:2])
    with pytest.raises(ValueError, match=r"^pyramids: expected pyramids of this engine"):
        engine.dense_scan_pyramids([less], [[0.0] * len(less.images[1:])])


def test_layouts_are_kept_for_frames_of_one_size() -> None:
    pnet = ARCHITECTURES["default"]["pnet"]
    assert torch_canvas.layout(((40, 30),), pnet) is torch_canvas.layout(((40, 30),), pnet)
