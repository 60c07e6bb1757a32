"""Large photos in strips: the same pixels and the same faces as with all levels in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from cascade.imaging import strips
from cascade.imaging.pyramid import build_pyramid, level_sizes
from cascade.imaging.strips import CachedLevel, LazyLevel, StreamedLevel, all_rows, is_streamed, lazy_levels
from cascade.models.detector import load_detector
from cascade.nn.architectures import ARCHITECTURES
from tests.photos import portrait

Folder = Callable[[str], Path]
SIZES = level_sizes(512, 512, 20, None, 12, 0.709)


@pytest.fixture
def in_small_strips(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that limits the pixels of cached levels, and makes strips small."""

    def limit(cached_pixels: int, rows: int = 48) -> None:
        monkeypatch.setattr(strips, "CACHED_PIXELS", cached_pixels)
        monkeypatch.setattr(strips, "STRIP_PIXELS", 1)
        monkeypatch.setattr(strips, "MIN_STRIP_ROWS", rows)

    return limit


@pytest.fixture
def engine(random_weights: Folder) -> NativeEngine:
    return NativeEngine(load_detector(random_weights("default")), 2)


@settings(max_examples=60)
@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 400), st.integers(1, 400)), min_size=1, max_size=30),
)
def test_rows_do_not_depend_on_the_rows_read_before(strip_rows: int, asked: list[tuple[int, int, int]]) -> None:
    sizes = [(40, 400), (28, 284), (20, 201), (14, 142), (10, 101)]
    photo = np.random.default_rng(0).integers(0, 256, (570, 56, 3), np.uint8)
    resample = NativeEngine(load_detector())._resample_rows
    expected, levels = build_pyramid(photo, sizes).images[1:], list[LazyLevel]()
    for width, height in sizes[:3]:
        levels.append(StreamedLevel(levels[-1] if levels else photo, width, height, resample, strip_rows))
    for width, height in sizes[3:]:
        levels.append(CachedLevel(levels[-1], width, height, resample))
    for k, start, count in asked:
        first = min(start, sizes[k][1] - 1)
        some = slice(first, min(first + count, sizes[k][1]))
        np.testing.assert_array_equal(levels[k].rows(some.start, some.stop), expected[k][some])


def test_levels_are_cached_from_the_smallest_up(in_small_strips: Callable[[int], None]) -> None:
    def resample(*_: object) -> None:
        raise AssertionError("rows were computed before they were asked for")

    pixels = [width * height for width, height in SIZES]
    for cached in range(1, len(SIZES) + 1):
        in_small_strips(sum(pixels[-cached:]))
        levels = lazy_levels(portrait(), SIZES, resample)
        assert [is_streamed(level) for level in levels] == [True] * (len(SIZES) - cached) + [False] * cached
    assert lazy_levels(portrait(), [], resample) == []


def outcome(detector: Detector) -> list[np.ndarray]:
    faces = detector.detect(np.hstack([portrait(), portrait()[::-1]]))
    return [faces.boxes, faces.scores, faces.landmarks]


@pytest.mark.parametrize(("family", "min_face"), [("default", 8), *((family, 20) for family in ARCHITECTURES)])
def test_strips_change_nothing(
    random_weights: Folder, in_small_strips: Callable[[int, int], None], family: str, min_face: float
) -> None:
    """Random weights let through windows and faces everywhere. Some levels are cached, one, or none."""
    expected = outcome(Detector(min_face=min_face, weights=random_weights(family), threads=1))
    assert len(expected[0]) > 20
    for cached_pixels, rows, threads in [(60_000, 7, 3), (1_000, 48, 2), (0, 30, 1)]:
        in_small_strips(cached_pixels, rows)
        found = outcome(Detector(min_face=min_face, weights=random_weights(family), threads=threads))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_every_stage_is_the_same_in_strips(engine: NativeEngine, in_small_strips: Callable[[int], None]) -> None:
    """Also a level alone, an empty list of crops, and crops that lie outside the photo."""
    corners = np.random.default_rng(0).uniform(-80, 560, (150, 2))
    boxes = np.hstack([corners, corners + np.geomspace(5, 300, 150)[:, None]])
    matrices = np.zeros((150, 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = 56 / np.geomspace(30, 300, 150)
    matrices[:, 0, 1], matrices[:, 1, 0] = matrices[:, 0, 0] / 3, -matrices[:, 0, 0] / 3
    matrices[:, :, 2] = -(matrices[:, :, :2] @ corners[:, :, None])[:, :, 0]
    plain = engine.pyramid(portrait(), SIZES)
    in_small_strips(20_000)
    streamed = engine.pyramid(portrait(), SIZES)
    assert is_streamed(streamed.images[1])
    assert not is_streamed(streamed.images[-1])
    np.testing.assert_array_equal(streamed.scales, plain.scales)

    def same(ask: Callable[..., np.ndarray], one: tuple[object, ...], other: tuple[object, ...]) -> None:
        np.testing.assert_array_equal(ask(*one), ask(*other))

    # crops first, before P-Net has scanned any level, then afterwards
    for _ in range(2):
        for some in (boxes, boxes[:0]):
            same(engine.classify_crops, ("rnet", streamed, some), ("rnet", plain, some))
            same(engine.classify_crops, ("onet", streamed, some), ("onet", plain, some))
        same(engine.classify_aligned_crops, ("lnet", streamed, matrices), ("lnet", plain, matrices))
        for one, other in zip(streamed.images[1:], plain.images[1:], strict=True):
            same(engine.dense_scan, (one, -1.0), (other, -1.0))
    np.testing.assert_array_equal(all_rows(streamed.images[-1]), plain.images[-1])


def test_levels_in_strips_take_little_memory(engine: NativeEngine, in_small_strips: Callable[[int], None]) -> None:
    photo = np.tile(portrait(), (12, 1, 1))
    detector = Detector(engine=engine, thresholds=(0.999, 0.5, 0.8))
    pixels = sum(width * height for width, height in detector._sizes(photo, 1))

    def peak() -> int:
        tracemalloc.start()
        try:
            detector.detect(photo)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak() > 3 * pixels
    in_small_strips(20_000)
    assert peak() < pixels
