"""Large photos in bands: the same bytes and the same faces as with whole levels."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.detect import Detector
from cascade.engines import strips as bands
from cascade.engines.native import NativeEngine
from cascade.engines.strips import CachedLevel, Level, is_streamed, levels_when_wanted, whole
from cascade.imaging.pyramid import build_pyramid, level_sizes
from cascade.models.detector import load_detector
from tests.photos import portrait

Folder = Callable[[str], Path]
SIZES = level_sizes(512, 512, 20, None, 12, 0.709)


@pytest.fixture
def in_small_bands(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that lets so many pixels of levels be kept, and makes bands small."""

    def limit(kept: int, fewest: int = 48) -> None:
        monkeypatch.setattr(bands, "CACHED_PIXELS", kept)
        monkeypatch.setattr(bands, "STRIP_PIXELS", 1)
        monkeypatch.setattr(bands, "FEWEST_ROWS", fewest)

    return limit


@pytest.fixture
def engine(random_weights: Folder) -> NativeEngine:
    return NativeEngine(load_detector(random_weights("default")), 2)


@settings(max_examples=60)
@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 400), st.integers(1, 400)), min_size=1, max_size=30),
)
def test_rows_are_those_of_the_whole_whatever_was_asked_before(
    kept_rows: int, asked: list[tuple[int, int, int]]
) -> None:
    sizes = [(40, 400), (28, 284), (20, 201), (14, 142), (10, 101)]
    photo = np.random.default_rng(0).integers(0, 256, (570, 56, 3), np.uint8)
    make = NativeEngine(load_detector())._make_rows
    expected, levels = build_pyramid(photo, sizes).images[1:], list[Level]()
    for width, height in sizes[:3]:
        levels.append(Level(levels[-1] if levels else photo, width, height, make, kept_rows))
    for width, height in sizes[3:]:
        levels.append(CachedLevel(levels[-1], width, height, make))
    for k, start, count in asked:
        first = min(start, sizes[k][1] - 1)
        some = slice(first, min(first + count, sizes[k][1]))
        np.testing.assert_array_equal(levels[k].rows(some.start, some.stop), expected[k][some])


def test_levels_are_kept_from_the_smallest_up(in_small_bands: Callable[[int], None]) -> None:
    def make(*_: object) -> None:
        raise AssertionError("nothing is made before it is asked for")

    pixels = [width * height for width, height in SIZES]
    for kept in range(1, len(SIZES) + 1):
        in_small_bands(sum(pixels[-kept:]))
        levels = levels_when_wanted(portrait(), SIZES, make)
        assert [is_streamed(level) for level in levels] == [True] * (len(SIZES) - kept) + [False] * kept
    assert levels_when_wanted(portrait(), [], make) == []


def outcome(detector: Detector) -> list[np.ndarray]:
    faces = detector.detect(np.hstack([portrait(), portrait()[::-1]]))
    return [faces.boxes, faces.scores, faces.landmarks]


@pytest.mark.parametrize("min_face", [8, 20])
@pytest.mark.parametrize("family", ["default", "paper"])
def test_bands_change_nothing(
    random_weights: Folder, in_small_bands: Callable[[int, int], None], family: str, min_face: float
) -> None:
    """Random weights let through windows and faces everywhere. One level kept, some, or none."""
    expected = outcome(Detector(min_face=min_face, weights=random_weights(family), threads=1))
    assert len(expected[0]) > 20
    for kept, fewest, threads in [(60_000, 48, 1), (60_000, 7, 3), (1_000, 48, 2), (0, 100, 1), (0, 30, 2)]:
        in_small_bands(kept, fewest)
        found = outcome(Detector(min_face=min_face, weights=random_weights(family), threads=threads))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_every_stage_is_the_same_in_bands(engine: NativeEngine, in_small_bands: Callable[[int], None]) -> None:
    """Also a level alone, an empty list of crops, and crops that lie outside the photo."""
    corners = np.random.default_rng(0).uniform(-80, 560, (150, 2))
    boxes = np.hstack([corners, corners + np.geomspace(5, 300, 150)[:, None]])
    maps = np.zeros((150, 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = 56 / np.geomspace(30, 300, 150)
    maps[:, 0, 1], maps[:, 1, 0] = maps[:, 0, 0] / 3, -maps[:, 0, 0] / 3
    maps[:, :, 2] = -(maps[:, :, :2] @ corners[:, :, None])[:, :, 0]
    plain = engine.pyramid(portrait(), SIZES)
    in_small_bands(20_000)
    banded = engine.pyramid(portrait(), SIZES)
    assert is_streamed(banded.images[1]) and not is_streamed(banded.images[-1])
    np.testing.assert_array_equal(banded.scales, plain.scales)

    def same(ask: Callable[..., np.ndarray], one: tuple[object, ...], other: tuple[object, ...]) -> None:
        np.testing.assert_array_equal(ask(*one), ask(*other))

    # crops first, before P-Net has made any level, then afterwards
    for _ in range(2):
        for some in (boxes, boxes[:0]):
            same(engine.judge, ("rnet", banded, some), ("rnet", plain, some))
            same(engine.judge, ("onet", banded, some), ("onet", plain, some))
        same(engine.classify_aligned_crops, ("lnet", banded, maps), ("lnet", plain, maps))
        for one, other in zip(banded.images[1:], plain.images[1:], strict=True):
            same(engine.slide, (one, -1.0), (other, -1.0))
    np.testing.assert_array_equal(whole(banded.images[-1]), plain.images[-1])


def test_levels_in_bands_take_little_memory(engine: NativeEngine, in_small_bands: Callable[[int], None]) -> None:
    photo = np.tile(portrait(), (12, 1, 1))
    detector = Detector(engine=engine, thresholds=(0.999, 0.5, 0.8))
    pixels = sum(width * height for width, height in detector._sizes(photo))

    def peak() -> int:
        tracemalloc.start()
        try:
            detector.detect(photo)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak() > 3 * pixels
    in_small_bands(20_000)
    assert peak() < pixels
