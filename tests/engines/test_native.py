"""The native engine: the same numbers whatever the threads, the SIMD level and the calls before."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cascade import _native
from cascade.engines.native import NativeEngine
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.models.detector import DetectorWeights, load_detector
from tests.photos import portrait

SIZES = level_sizes(512, 512, 20, None, 12, 0.709)


@pytest.fixture(scope="module", params=["default", "paper"])
def weights(request: pytest.FixtureRequest, random_weights: Callable[[str], Path]) -> DetectorWeights:
    return load_detector(random_weights(request.param))


def boxes(count: int) -> np.ndarray:
    corners = np.random.default_rng(0).uniform(-20, 480, (count, 2))
    return np.hstack([corners, corners + np.linspace(5, 200, count)[:, None]])


def run(engine: NativeEngine) -> list[np.ndarray]:
    """Levels, windows and outputs of crops."""
    pyramid = engine.pyramid(portrait(), SIZES)
    windows = [engine.dense_scan(level, 0.0) for level in pyramid.images[1:]]
    classified = [engine.classify_crops(stage, pyramid, boxes(70)) for stage in ("rnet", "onet")]
    return [*map(np.asarray, pyramid.images), *windows, *classified]


def assert_equal(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_change_nothing(weights: DetectorWeights) -> None:
    expected = run(NativeEngine(weights, 1))
    for threads in (2, 3, 8):
        engine = NativeEngine(weights, threads)
        assert_equal(run(engine), expected)
        assert_equal(run(engine), expected)


def test_simd_levels_agree(weights: DetectorWeights) -> None:
    """Pyramid levels byte for byte, outputs but for rounding."""
    expected = run(NativeEngine(weights, level="scalar"))
    for level in _native.simd_levels():
        for one, other in zip(run(NativeEngine(weights, level=level)), expected, strict=True):
            if one.dtype == np.uint8:
                np.testing.assert_array_equal(one, other)
            else:
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_one_engine_serves_many_threads(weights: DetectorWeights) -> None:
    engine = NativeEngine(weights, 2)
    expected = run(NativeEngine(weights, 1))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: run(engine), range(8)):
            assert_equal(found, expected)


def _in_child(engine: NativeEngine, answers: multiprocessing.SimpleQueue) -> None:
    answers.put(run(engine)[-1])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_an_engine_survives_a_fork(weights: DetectorWeights, threads: int) -> None:
    engine = NativeEngine(weights, threads)
    expected = run(engine)[-1]
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(engine, answers))
    child.start()
    np.testing.assert_array_equal(answers.get(), expected)
    child.join(30)
    assert child.exitcode == 0
    np.testing.assert_array_equal(run(engine)[-1], expected)


def test_threads_change_nothing_where_levels_are_resampled_while_others_are_scanned(weights: DetectorWeights) -> None:
    one = NativeEngine(weights, 1)
    expected = one.dense_scan_levels(one.pyramid(portrait(), SIZES).images[1:], [0.0] * len(SIZES))
    for threads in (2, 3, 8):
        engine = NativeEngine(weights, threads)
        assert_equal(
            engine.dense_scan_levels(engine.pyramid(portrait(), SIZES).images[1:], [0.0] * len(SIZES)), expected
        )


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 5, 15, 16, 17, 40, 153])
def test_crops_are_classified_whatever_their_number(weights: DetectorWeights, threads: int, count: int) -> None:
    engine, scales = NativeEngine(weights, threads), np.ones((1, 2))
    network = engine._networks["rnet"]
    expected = network.forward(_native.cut([portrait()], scales, boxes(count), network.input_size))
    found = engine.classify_crops("rnet", Pyramid([portrait()], scales), boxes(count))
    assert found.shape == (count, network.outputs)
    np.testing.assert_array_equal(found, expected)


def test_nothing_in_nothing_out(weights: DetectorWeights) -> None:
    engine = NativeEngine(weights, 2)
    pyramid = engine.pyramid(np.zeros((1, 1, 3), np.uint8), [])
    assert pyramid.scales.tolist() == [[1, 1]]
    assert engine.classify_crops("onet", pyramid, np.empty((0, 4))).shape == (0, 16)
    assert len(engine.dense_scan(np.zeros((1, 1, 3), np.uint8), 0.0)) == 0
