"""`Network.dense_scan_levels`: one scan of several images, some of which are resampled on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.random_layers import random_layers
from cascade import _native
from cascade.models.detector import load_detector
from cascade.nn.architectures import ARCHITECTURES

PADDING = 5
ROOM = 4096
"""Detections there is room for at first."""
PHOTO = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
SIZES = [(140, 105), (99, 74), (50, 37), (40, 37), (9, 70), (1, 1), (160, 3)]
"""Levels, width and height; not all of them smaller than the one before."""
TYPED = (ValueError, TypeError)


@cache
def network(kind: str = "default") -> _native.Network:
    """One of a family with random weights, or the shipped one in int8."""
    if kind == "int8":
        shipped = load_detector()["pnet"]
        return _native.Network(shipped.int8_layers(), shipped.architecture.input_size)
    architecture = ARCHITECTURES[kind]["pnet"]
    return _native.Network(random_layers(architecture), architecture.input_size)


@pytest.fixture(params=["default", "paper", "int8"])
def native(request: pytest.FixtureRequest) -> _native.Network:
    return network(request.param)


@pytest.fixture(scope="module", params=[1, 2, 3, 5])
def pool(request: pytest.FixtureRequest) -> Iterator[_native.ThreadPool]:
    """A pool whose workers run."""
    pool = _native.ThreadPool(request.param)
    workers = [threading.Thread(target=pool.work, args=(index,), daemon=True) for index in range(pool.threads - 1)]
    for worker in workers:
        worker.start()
    yield pool
    pool.close()
    for worker in workers:
        worker.join(30)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def middle(found: np.ndarray) -> float:
    """A threshold that half of the windows reach."""
    return float(np.median(found[:, 2]))


def empty() -> list[np.ndarray]:
    return [np.full((height, width, 3), 77, np.uint8) for width, height in SIZES]


@cache
def levels() -> list[np.ndarray]:
    """Each resampled from the one before."""
    made = [PHOTO]
    for width, height in SIZES:
        made.append(_native.resample(made[-1], (0, 0, made[-1].shape[1], made[-1].shape[0]), width, height))
    return made[1:]


# Detections


def test_several_images_are_as_each_alone(native: _native.Network, pool: _native.ThreadPool) -> None:
    images = [*levels(), noise(200, 90, 1), PHOTO, PHOTO, noise(23, 23), noise(22, 400)[:, ::-1]]
    for threshold in (-np.inf, middle(native.dense_scan(PHOTO, PADDING, -np.inf)), np.inf):
        expected = [native.dense_scan(image, PADDING, threshold) for image in images]
        assert_equal(native.dense_scan_levels(images, PADDING, threshold, pool), expected)
        assert_equal(native.dense_scan_levels(tuple(images[::-1]), PADDING, threshold, pool), expected[::-1])
    thresholds = [-np.inf, np.inf, *[0.0] * (len(images) - 2)]
    expected = [native.dense_scan(image, PADDING, one) for image, one in zip(images, thresholds, strict=True)]
    assert_equal(native.dense_scan_levels(images, PADDING, thresholds, pool), expected)
    assert (
        native.dense_scan_levels([], PADDING, 0.0, pool)
        == native.dense_scan_levels([], PADDING, 0.0, pool, PHOTO, 0)
        == []
    )


def test_strips_are_as_each_alone(native: _native.Network, pool: _native.ThreadPool) -> None:
    """Some rows of the grid, of strips that have no more rows than these need; and whole images among them."""
    image = noise(300, 70)
    rows, _, stride, receptive_field = native.grid(70, 300, PADDING)
    strips: list[Any] = [image]
    threshold = middle(native.dense_scan(image, PADDING, -np.inf))
    expected = [native.dense_scan(image, PADDING, threshold)]
    for first, count in [(0, 1), (3, 50), (rows - 60, 60), (7, 0), (rows - 1, 9), (rows, 5)]:
        top = max(0, min(first * stride - PADDING, 299))
        strip = image[top : max(top + 1, (min(first + count, rows) - 1) * stride - PADDING + receptive_field)]
        strips.append((strip, first, count, top, 300))
        everything = expected[0]
        expected.append(everything[(everything[:, 1] >= first) & (everything[:, 1] < first + count)])
    strips.append((image, 10, None, 0, None))
    expected.append(expected[0][expected[0][:, 1] >= 10])
    assert len(expected[2]) > 0
    assert_equal(native.dense_scan_levels(strips, PADDING, threshold, pool), expected)


@pytest.mark.parametrize("size", [(60, 5000), (300, 2500), (250, 2074)])
def test_windows_of_wide_images_come_row_by_row(
    native: _native.Network, pool: _native.ThreadPool, size: tuple[int, int]
) -> None:
    """Wider than a tile, and higher; the part to the right, cut out, shows the same windows."""
    image = noise(*size)
    rows, columns, stride, _ = native.grid(size[1], size[0], 0)
    assert columns > 512
    (everything,) = native.dense_scan_levels([image], 0, -np.inf, pool)
    expected = [(column, row) for row in range(rows) for column in range(columns)]
    np.testing.assert_array_equal(everything[:, :2], expected)
    threshold = middle(everything)
    (some,) = native.dense_scan_levels([image], 0, threshold, pool)
    np.testing.assert_array_equal(some, everything[everything[:, 2] >= threshold])
    (right,) = native.dense_scan_levels([image[:, 400 * stride :]], 0, threshold, pool)
    right[:, 0] += 400
    np.testing.assert_array_equal(right, some[some[:, 0] >= 400])


@pytest.mark.parametrize("beyond", [-1, 0, 1, 2000])
def test_any_number_of_detections_is_returned(pool: _native.ThreadPool, beyond: int) -> None:
    """About as many as there is room for at first, in one image or in several, or far more."""
    image, fresh = noise(340, 460), _native.ThreadPool()
    everything = network().dense_scan(image, PADDING, -np.inf)
    logits = np.sort(everything[:, 2])[::-1]
    threshold = float(logits[ROOM + beyond - 1])
    expected = everything[everything[:, 2] >= threshold]
    assert len(expected) == ROOM + beyond
    assert_equal(network().dense_scan_levels([image], PADDING, threshold, fresh), [expected])
    assert_equal(network().dense_scan_levels([image, PHOTO] * 4, PADDING, threshold, pool)[::2], [expected] * 4)


# Images that are resampled


@pytest.mark.parametrize("threshold", [-np.inf, 0.0, np.inf])
@pytest.mark.parametrize("ready", [0, 1, 3, len(SIZES) - 1, len(SIZES), None])
def test_each_image_is_resampled_from_the_one_before(
    native: _native.Network, pool: _native.ThreadPool, ready: int | None, threshold: float
) -> None:
    """Also where there are too many detections for the room at first."""
    there = len(SIZES) if ready is None else ready
    images, source = [*levels()[:there], *empty()[there:]], PHOTO if ready == 0 else None
    before = [image.copy() for image in images[:there]]
    found = native.dense_scan_levels(images, PADDING, threshold, pool, source, ready)
    assert_equal(images, levels())
    assert_equal(images[:there], before)
    assert_equal(found, [native.dense_scan(level, PADDING, threshold) for level in levels()])


def test_images_are_resampled_whatever_is_scanned(pool: _native.ThreadPool) -> None:
    """Only some rows of them, or none."""
    images = empty()
    strips = [(image, k, k + 3, 0, None if k % 2 else len(image)) for k, image in enumerate(images)]
    found = network().dense_scan_levels(strips, PADDING, 0.0, pool, PHOTO[:, ::-1][:, ::-1], 0)
    assert_equal(images, levels())
    assert_equal(found, [network().dense_scan(level, PADDING, 0.0, None, k, k + 3) for k, level in enumerate(levels())])


def test_more_threads_than_rows() -> None:
    images = [np.empty((side, 9, 3), np.uint8) for side in (40, 5, 3, 2, 1)]
    made = PHOTO
    network().dense_scan_levels(images, PADDING, 0.0, _native.ThreadPool(64), PHOTO, 0)
    for image in images:
        made = _native.resample(made, (0, 0, made.shape[1], made.shape[0]), 9, len(image))
        np.testing.assert_array_equal(image, made)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), max_size=7),
    st.data(),
    st.sampled_from([-np.inf, 0.0, 1.0]),
)
def test_any_images(
    pool: _native.ThreadPool, sizes: list[tuple[int, int]], data: st.DataObject, threshold: float
) -> None:
    ready = data.draw(st.integers(0, len(sizes)))
    images = [noise(height, width, k) for k, (height, width) in enumerate(sizes)]
    expected = [image.copy() for image in images]
    for k in range(ready, len(sizes)):
        one, (height, width) = expected[k - 1] if k else PHOTO, sizes[k]
        expected[k] = _native.resample(one, (0, 0, one.shape[1], one.shape[0]), width, height)
    found = network().dense_scan_levels(images, PADDING, threshold, pool, PHOTO, ready)
    assert_equal(images, expected)
    assert_equal(found, [network().dense_scan(image, PADDING, threshold) for image in expected])


# Wrong arguments


def refuses(message: str, images: Any, ready: Any = None, source: Any = None, **others: Any) -> None:
    """In a message that begins with the name of the argument."""
    arguments = {"padding": PADDING, "threshold": 0.0, **others}
    with pytest.raises(TYPED, match=f"^{message}: expected "):
        network().dense_scan_levels(images, source=source, ready=ready, **arguments)


@pytest.mark.parametrize(
    "images", [None, 3, "ab", {}, PHOTO, PHOTO[None], iter([PHOTO])], ids=lambda x: type(x).__name__
)
def test_what_is_no_list_of_images(images: Any) -> None:
    refuses("images", images)


@pytest.mark.parametrize(
    "image",
    [
        None,
        3,
        [PHOTO],
        PHOTO.tolist(),
        PHOTO.astype(np.float32),
        PHOTO.astype(np.int8),
        PHOTO[:, :, :2],
        PHOTO[:0],
        PHOTO[None],
    ],
    ids=range(9),
)
def test_what_is_no_image(image: Any) -> None:
    for images in ([image], [PHOTO, image], [(image, 0, None, 0, None)]):
        refuses("images?", images)
    refuses("images?", [PHOTO.copy(), image], 1)
    refuses("source", [PHOTO.copy()], 0, image)


@pytest.mark.parametrize("length", [0, 1, 2, 4, 6])
def test_tuples_of_another_length(length: int) -> None:
    refuses("images", [PHOTO, (PHOTO, 0, None, 0, None, 0)[:length]])


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [
        (1, -1, "first"),
        (1, 1.5, "first"),
        (1, None, "first"),
        (2, -1, "rows"),
        (2, "3", "rows"),
        (2, 1 << 21, "rows"),
        (3, -1, "top"),
        (3, 2.0, "top"),
        (3, 1 << 21, "top"),
        (4, 0, "height"),
        (4, 1 << 21, "height"),
        (4, "120", "height"),
        (4, 119, "image"),
        (4, 121, "image"),
        (3, 1, "image"),
    ],
)
def test_wrong_parts_of_a_tuple(place: int, value: Any, name: str) -> None:
    strip: list[Any] = [PHOTO, 0, None, 0, 120]
    strip[place] = value
    refuses(name, [PHOTO, tuple(strip)])


@pytest.mark.parametrize("ready", [-1, 3, 1.0, "1", 1 << 70])
def test_wrong_numbers_of_images_that_are_there(ready: Any) -> None:
    refuses("ready", [PHOTO, PHOTO.copy()], ready, PHOTO)
    refuses("ready", [], ready, PHOTO)


def test_the_first_image_needs_a_source() -> None:
    refuses("source", [PHOTO.copy()], 0)


def read_only() -> np.ndarray:
    image = PHOTO.copy()
    image.flags.writeable = False
    return image


@pytest.mark.parametrize(
    "image",
    [
        PHOTO.copy()[::2],
        PHOTO.copy()[:, ::-1],
        np.asfortranarray(PHOTO),
        read_only(),
        np.frombuffer(bytes(60), np.uint8).reshape(4, 5, 3),
        np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (5, 5, 3)),
        (PHOTO.copy(), 0, None, 0, 121),
        (PHOTO.copy(), 0, None, 1, 121),
    ],
    ids=["rows", "mirrored", "columns", "read-only", "bytes", "broadcast", "above", "below"],
)
def test_what_cannot_be_written_to(image: Any) -> None:
    refuses("images", [image], 0, PHOTO)
    refuses("images", [PHOTO, image], 1)


def test_other_wrong_arguments() -> None:
    for padding in (-1, 1025, 0.5, None):
        refuses("padding", [PHOTO], padding=padding)
    for threshold in (float("nan"), None, "face"):
        refuses("threshold", [PHOTO], threshold=threshold)
    with pytest.raises(TypeError, match="pool"):
        network().dense_scan_levels([PHOTO], PADDING, 0.0, 3)  # type: ignore[arg-type]


def test_a_failed_call_leaves_the_pool_as_it_was(pool: _native.ThreadPool) -> None:
    with pytest.raises(TYPED):
        network().dense_scan_levels([PHOTO, None], PADDING, 0.0, pool)  # type: ignore[list-item]
    assert_equal(network().dense_scan_levels([PHOTO], PADDING, 0.0, pool), [network().dense_scan(PHOTO, PADDING, 0.0)])


GROWING = """
class Growing:
    def __index__(self):
        images.extend([image] * 100_000)
        return 0
images = [(image, Growing(), None, 0, None)]
"""
LYING = """
class Lying(list):
    def __len__(self):
        return 1
    def __iter__(self):
        return iter([image] * 100_000)
images = Lying()
"""


@pytest.mark.parametrize("images", [GROWING, LYING], ids=["growing", "lying"])
def test_lists_that_are_longer_than_they_say(images: str) -> None:
    """In a process of its own, which might not survive it."""
    code = f"""
import numpy as np
from cascade import _native
from cascade.models.detector import load_detector
weights = load_detector()["pnet"]
network = _native.Network(weights.layers(), weights.architecture.input_size)
image = np.zeros((30, 30, 3), np.uint8)
{images}
try:
    network.dense_scan_levels(images, 5, 0.0)
except (TypeError, ValueError) as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("level", _native.simd_levels())
@pytest.mark.parametrize("layers", [20, 50])
def test_many_layers_before_a_large_stride(level: str, layers: int) -> None:
    """Each layer needs one more column of the map before it, which takes a whole one at the last stride."""
    random, windows, side = np.random.default_rng(0), 14, layers + 16
    shapes = [(4, 3, 2, 2), *[(4, 4, 2, 2)] * (layers - 1), (6, 4, 16, 16)]
    net = []
    for number, shape in enumerate(shapes):
        weight = random.random(shape, np.float32)
        weight /= weight.sum(axis=(1, 2, 3), keepdims=True)  # means of what is before
        bias = np.zeros(shape[0], np.float32)
        bias[0] = 1000.0  # what spills into another channel is seen
        stride = 16 if number == layers else 1
        net.append({"kind": "conv", "stride": stride, "weight": weight, "bias": bias, "slope": bias * 0 + 1})
    deep = _native.Network(net, side, level)
    image = noise(side, side + 16 * (windows - 1), 3)
    found = deep.dense_scan(image, 0, -np.inf)
    alone = deep.forward(np.stack([image[:, 16 * at : 16 * at + side] for at in range(windows)]))
    np.testing.assert_array_equal(found[:, 0], np.arange(windows))
    np.testing.assert_allclose(found[:, 3:], alone[:, 2:], rtol=1e-4)
