"""The resampler and the crop cutter in C against the rule at the head of resample.c, in plain loops."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from tests.photos import portrait

LEVELS = _native.simd_levels()
ONE = 1 << 7
PLACES = 1 << 16  # to which places along an axis are rounded


def filter_of(centre: float, support: float, source: int) -> dict[int, int] | None:
    """Fixed-point weights by source pixel of an output pixel at ``centre``; None outside the source."""
    if not 0 <= centre < source:
        return None
    near = range(max(0, math.floor(centre - support) - 1), min(source, math.ceil(centre + support) + 2))
    middle, reach = math.floor(centre * PLACES + 0.5), math.floor(support * PLACES + 0.5)
    shares = {j: reach - abs(j * PLACES + PLACES // 2 - middle) for j in near}
    shares = {j: share for j, share in shares.items() if share > 0}
    scale, ends = ONE / sum(shares.values()), [0]
    for share in accumulate(shares.values()):
        ends.append(math.floor(share * scale + 0.5))
    return {j: end - start for j, (start, end) in zip(shares, pairwise(ends), strict=True)}


def along(image: np.ndarray, axis: int, start: float, end: float, size: int) -> np.ndarray:
    """Resamples one axis of (h, w, 3) uint8."""
    lines = np.moveaxis(image, axis, 0)
    out = np.full((size, *lines.shape[1:]), 128, np.uint8)
    scale = (end - start) / size
    for i in range(size):
        weights = filter_of(start + (i + 0.5) * scale, max(scale, 1.0), len(lines))
        if weights is not None:
            total = sum(weight * lines[j].astype(np.int64) for j, weight in weights.items())
            out[i] = (total + ONE // 2) // ONE
    return np.moveaxis(out, 0, axis)


def slow_resample(image: np.ndarray, box: tuple[float, ...], width: int, height: int) -> np.ndarray:
    x1, y1, x2, y2 = box
    return along(along(image, 0, y1, y2, height), 1, x1, x2, width)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels, with many black and white ones, where an error in the weights shows."""
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([0, 255, *range(256)] + [0, 255] * 64, np.uint8), (height, width, 3))


def both(image: np.ndarray, box: tuple[float, ...], width: int, height: int, level: str) -> None:
    found = _native.resample(image, box, width, height, level=level)
    assert (found.dtype, found.shape) == (np.uint8, (height, width, 3))
    np.testing.assert_array_equal(found, slow_resample(image, box, width, height))


# Resampling


@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 40)),
    corner=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    sides=st.tuples(st.floats(0.01, 90), st.floats(0.01, 90)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
def test_resample_follows_the_rule_on_every_level(
    shape: tuple[int, int],
    corner: tuple[float, float],
    sides: tuple[float, float],
    size: tuple[int, int],
    seed: int,
) -> None:
    image, box = noise(*shape, seed), (*corner, corner[0] + sides[0], corner[1] + sides[1])
    expected = slow_resample(image, box, *size)
    for level in LEVELS:
        np.testing.assert_array_equal(_native.resample(image, box, *size, level=level), expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("shape", "box", "size"),
    [
        ((1, 1), (0, 0, 1, 1), (1, 1)),
        ((1, 1), (0, 0, 1, 1), (7, 5)),
        ((1, 1), (-1, -1, 2, 2), (3, 3)),
        ((9, 11), (0, 0, 11, 9), (33, 27)),  # three times larger
        ((20, 30), (0, 0, 30, 20), (30, 20)),  # the same
        ((40, 60), (0, 0, 60, 40), (43, 28)),  # a pyramid's step
        ((50, 200), (0, 0, 200, 50), (3, 2)),
        ((300, 40), (0, 0, 40, 300), (1, 1)),
        ((64, 64), (0, 0, 64, 64), (32, 64)),  # one axis only
        ((30, 30), (2.5, 3.25, 20.75, 28.0625), (24, 24)),
        ((30, 30), (-10, -10, 15, 15), (24, 24)),  # corners and sides that stick out
        ((30, 30), (20, -9, 45.5, 40), (24, 24)),
        ((30, 30), (-30, -30, 60, 60), (24, 24)),
        ((30, 30), (40, 0, 70, 30), (24, 24)),  # wholly outside, on each side
        ((30, 30), (0, 40, 30, 70), (24, 24)),
        ((30, 30), (-50, -50, -20, -20), (24, 24)),
        ((30, 30), (30, 30, 31, 31), (2, 2)),
        ((30, 30), (-5e5, -5e5, 5e5, 5e5), (3, 3)),  # a box very much larger than the image
        ((30, 30), (14.99, 14.99, 15.01, 15.01), (4, 4)),  # and one within a pixel
    ],
)
def test_resample_by_cases(level: str, shape: tuple[int, int], box: tuple[float, ...], size: tuple[int, int]) -> None:
    both(noise(*shape), box, *size, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", [20, 21, 22, 42, 43, 64, 65])
def test_rows_of_any_length_are_complete(level: str, width: int) -> None:
    """Around multiples of 64 bytes, where the loop over whole vectors ends and its rest begins."""
    both(noise(9, width), (0, 0, width, 9), width // 2, 4, level)


@pytest.mark.parametrize("level", LEVELS)
def test_an_image_at_its_own_size_is_itself(level: str) -> None:
    image = noise(23, 31)
    np.testing.assert_array_equal(_native.resample(image, (0, 0, 31, 23), 31, 23, level=level), image)


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("size", [(3, 5), (17, 13), (64, 40)])
def test_one_colour_stays_itself_up_to_the_border(value: int, size: tuple[int, int]) -> None:
    image = np.full((37, 29, 3), value, np.uint8)
    assert (_native.resample(image, (0, 0, 29, 37), *size) == value).all()


def test_pixels_outside_are_grey() -> None:
    found = _native.resample(np.zeros((10, 10, 3), np.uint8), (-5, -5, 15, 15), 20, 20)
    assert (found[5:15, 5:15] == 0).all()
    outside = np.ones((20, 20), bool)
    outside[5:15, 5:15] = False
    assert (found[outside] == 128).all()


def test_half_pixels_are_where_they_belong() -> None:
    """The mean of two pixels, not one of them: a pixel's centre is at + 0.5."""
    ramp = np.repeat(np.arange(0, 160, 20, dtype=np.uint8)[None, :, None], 3, 2)
    assert _native.resample(ramp, (0, 0, 8, 1), 4, 1)[0, 1, 0] == 50
    assert _native.resample(ramp, (2.5, 0, 3.5, 1), 1, 1)[0, 0, 0] == 50


@pytest.mark.parametrize("level", LEVELS)
def test_views_and_read_only_images_will_do(level: str) -> None:
    image = noise(40, 50)
    image.flags.writeable = False
    for view in (image[::-1], image[:, ::2], image[5:20, 7:30], image[:, :, ::-1], image.transpose(1, 0, 2)):
        height, width = view.shape[:2]
        np.testing.assert_array_equal(
            _native.resample(view, (0, 0, width, height), 9, 8, level=level),
            _native.resample(view.copy(), (0, 0, width, height), 9, 8, level=level),
        )


@pytest.mark.parametrize("level", _native.simd_levels())
def test_strips_joined_are_the_image(level: str) -> None:
    image = portrait()
    everything = _native.resample(image, (3, 5, 400, 410), 211, 173, level=level)
    joined = np.zeros_like(everything)
    for first in range(0, 173, 50):
        some = joined[first : first + 50]
        assert _native.resample(image, (3, 5, 400, 410), 211, 173, None, level, some, first) is some
    np.testing.assert_array_equal(joined, everything)
    np.testing.assert_array_equal(
        _native.resample(image, (3, 5, 400, 410), 211, 173, None, level, None, 100), everything[100:]
    )


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 79), st.integers(1, 80))
@settings(max_examples=100)
def test_rows_come_from_the_rows_that_they_read(source: int, height: int, first: int, count: int) -> None:
    first = min(first, height - 1)
    end = min(height, first + count)
    image = noise(source, 9)
    top, bottom = _native.rows_read(source, height, first, end)
    assert 0 <= top < bottom <= source
    some = np.empty((end - first, 7, 3), np.uint8)
    _native.resample(image[top:bottom], (0, 0, 9, source), 7, height, None, None, some, first, top, source)
    np.testing.assert_array_equal(some, _native.resample(image, (0, 0, 9, source), 7, height)[first:end])


def test_rows_that_are_missing_are_named() -> None:
    image, out = noise(50, 9), np.empty((5, 9, 3), np.uint8)
    top, bottom = _native.rows_read(50, 25, 10, 15)
    for some in (slice(top + 1, bottom), slice(top, bottom - 1)):
        with pytest.raises(ValueError, match=f"^image: expected rows {top} to {bottom}"):
            _native.resample(image[some], (0, 0, 9, 50), 9, 25, None, None, out, 10, some.start, 50)
    with pytest.raises(ValueError, match=r"^image: expected at most 50 rows"):
        _native.resample(image, (0, 0, 9, 50), 9, 25, None, None, out, 10, 1, 50)
    with pytest.raises(ValueError, match=r"^out: expected at most 3 rows"):
        _native.resample(image, (0, 0, 9, 50), 9, 25, None, None, out, 22)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((5, 4, 3), np.uint8),
        np.zeros((5, 5, 3), np.uint8),
        np.zeros((4, 10, 3), np.uint8)[:, ::2],
        np.frombuffer(bytes(60), np.uint8).reshape(4, 5, 3),
        "out",
    ],
)
def test_what_cannot_be_written_to_is_named(out: object) -> None:
    with pytest.raises(ValueError, match=r"out|image"):
        _native.resample(portrait(), (0, 0, 50, 40), 5, 4, out=out)  # type: ignore[arg-type]


def test_memory_of_a_pool_grows_and_is_reused() -> None:
    pool, big, small = _native.ThreadPool(), noise(300, 400), noise(5, 5)
    assert pool.nbytes == 0
    for image in (small, big, small, big):
        height, width = image.shape[:2]
        np.testing.assert_array_equal(
            _native.resample(image, (0, 0, width, height), 3, 3, pool),
            _native.resample(image, (0, 0, width, height), 3, 3),
        )
    held = pool.nbytes
    _native.resample(big, (0, 0, 400, 300), 3, 3, pool)
    assert pool.nbytes == held > 0


# Crops


def pyramid(sizes: list[tuple[int, int]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Images of (width, height), noise all, and their scales."""
    images = [noise(height, width, seed) for seed, (width, height) in enumerate(sizes)]
    return images, np.array([(w / sizes[0][0], h / sizes[0][1]) for w, h in sizes])


SIZES = [(90, 70), (64, 50), (45, 35), (32, 25), (9, 7)]


@given(
    st.lists(st.tuples(*[st.floats(-60, 150)] * 2, *[st.floats(0.1, 120)] * 2), max_size=4),
    st.sampled_from([1, 8, 24]),
)
@settings(max_examples=40)
def test_cut_follows_the_rule_on_every_level(rows: list[tuple[float, ...]], size: int) -> None:
    images, scales = pyramid(SIZES)
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows]).reshape(-1, 4)
    expected = []
    for box in np.floor(boxes * 16 + 0.5) / 16:
        sides = box[2:] - box[:2]
        fitting = [k for k in range(len(images)) if min(sides * scales[k]) >= size]
        k = max(fitting, default=0)
        expected.append(slow_resample(images[k], tuple(box * np.tile(scales[k], 2)), size, size))
    for level in LEVELS:
        crops = _native.cut(images, scales, boxes, size, level=level)
        assert (crops.dtype, crops.shape) == (np.uint8, (len(boxes), size, size, 3))
        np.testing.assert_array_equal(crops, np.array(expected, np.uint8).reshape(crops.shape))


@pytest.mark.parametrize("level", LEVELS)
def test_one_workspace_serves_crops_of_every_size_at_once(level: str) -> None:
    """The widest box and the widest level may belong to different crops."""
    images, scales = pyramid([(200, 30), (20, 28)])
    scales[1] = 0.9
    boxes = np.array([(-400, 0, 500, 30), (0, 0, 200, 8), (0, -300, 20, 300), (3, 3, 4, 4.5), (10, 10, 40, 40)])
    together = _native.cut(images, scales, boxes, 16, level=level)
    for box, crop in zip(boxes, together, strict=True):
        np.testing.assert_array_equal(_native.cut(images, scales, box[None], 16, level=level)[0], crop)


def test_boxes_that_differ_in_their_last_bits_cut_the_same_crop() -> None:
    image, box = noise(50, 50), np.array([(10.03, 10.2, 40.1, 40.4)])
    np.testing.assert_array_equal(
        _native.cut([image], [(1, 1)], box, 24), _native.cut([image], [(1, 1)], box + 1e-5, 24)
    )


# Filters by themselves


def slow_taps(
    start: np.ndarray, extent: np.ndarray, source: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `_native.triangle_taps` gives, in numpy."""
    start, extent, source = (a.astype(np.float64)[:, None] for a in (start, extent, source))
    scale = extent / size
    support = np.maximum(scale, 1.0)
    centre = start + (np.arange(size) + 0.5) * scale
    inside = (centre >= 0.0) & (centre < source)
    middle, reach = (np.floor(np.where(inside, a, 1.0) * PLACES + 0.5) for a in (centre, support))
    low = np.where(inside, np.maximum(np.floor((middle - reach) / PLACES - 0.5) + 1.0, 0.0), 0.0)
    high = np.minimum(np.ceil((middle + reach) / PLACES - 0.5) - 1.0, source - 1.0)
    count = np.where(inside, high - low + 1.0, 0.0)

    steps = np.arange(max(1, int(count.max(initial=0.0))))
    pixels = low[..., None] + steps
    used = steps < count[..., None]
    shares = np.where(used, reach[..., None] - np.abs((pixels + 0.5) * PLACES - middle[..., None]), 0.0)
    sums = np.cumsum(shares, axis=2)
    ends = np.floor(sums * (ONE / np.where(inside, sums[..., -1], 1.0))[..., None] + 0.5)
    weights = np.diff(ends, axis=2, prepend=0.0)
    return np.minimum(pixels, source[..., None] - 1.0), weights, inside


def assert_taps(axes: list[tuple[float, float, int]], size: int) -> None:
    start, extent, source = np.array(axes, np.float64).reshape(-1, 3).T
    found = _native.triangle_taps(start, extent, source.astype(np.int64), size)
    assert [array.dtype for array in found] == [np.int64, np.int64, np.bool_]
    for one, expected in zip(found, slow_taps(start, extent, source, size), strict=True):
        np.testing.assert_array_equal(one, expected)
    pixels, weights, inside = found
    assert pixels.shape == weights.shape == (*inside.shape, pixels.shape[2]) and inside.shape == (len(axes), size)
    assert (pixels >= 0).all() and (pixels < source[:, None, None]).all()
    np.testing.assert_array_equal(weights.sum(axis=2), ONE * inside)


@given(st.data(), st.integers(1, 60))
def test_filters_of_any_axes_follow_the_rule(data: st.DataObject, size: int) -> None:
    """Shrinking by up to 50 and growing, partly and wholly outside."""
    starts = st.one_of(st.floats(-200, 200), st.integers(-3200, 3200).map(lambda number: number / 16))
    extents = st.one_of(st.floats(1e-3, 50 * size), st.integers(1, 50 * size))
    assert_taps(data.draw(st.lists(st.tuples(starts, extents, st.integers(1, 300)), max_size=6)), size)


@pytest.mark.parametrize(
    "axis",
    [
        (0, 1, 1),
        (-5, 4, 9),  # wholly outside, on either side
        (9, 4, 9),
        (-1048575.9, 2097151.8, 1),
        (-1048575.9, 2097152, 1 << 20),
        (1048575.9, 2097152, 1 << 20),
        (3, 5e-324, 9),
        (-5e-324, 1e-300, 9),
    ],
)
def test_filters_by_cases(axis: tuple[float, float, int]) -> None:
    assert_taps([axis], 1)
    assert_taps([axis] * 2, 7)


def test_filters_of_no_axis() -> None:
    assert_taps([], 5)


# Places in a pyramid


def test_snap_rounds_to_sixteenths() -> None:
    np.testing.assert_array_equal(_native.snap([(0.03, 0.04, -0.03, 1 / 32)]), [(0, 1 / 16, 0, 1 / 16)])


def test_choose_levels_takes_the_smallest_that_is_large_enough() -> None:
    scales = [(1, 1), (0.5, 0.5), (0.25, 0.2)]
    boxes = [
        (0, 0, 96, 96),
        (0, 0, 120, 120),
        (0, 0, 48, 200),
        (0, 0, 47, 200),
        (0, 0, 5, 5),
        (0, 0, 500, 500),
    ]
    assert _native.choose_levels(scales, boxes, 24).tolist() == [1, 2, 1, 0, 0, 2]
    assert _native.choose_levels(scales, np.empty((0, 4)), 24).shape == (0,)


def test_crops_from_the_rows_that_they_read_are_those_from_whole_images() -> None:
    """Boxes and transforms alike; rows that were not given are never read."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    layers = [{"kind": "conv", "stride": 1, "weight": weight, "bias": np.zeros(4), "slope": np.ones(4)}]
    network, (images, scales), rng = _native.Network(layers, 8), pyramid(SIZES), np.random.default_rng(0)
    boxes = rng.uniform(-30, 90, (40, 4))
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(1, 60, (40, 1))
    maps = np.concatenate([rng.uniform(-1, 1, (40, 2, 2)), rng.uniform(-20, 20, (40, 2, 1))], axis=2)
    for places in (boxes, maps):
        expected = network.classify_crops(_native.Crops(images, scales, places, 8))
        parts = _native.Crops([image.shape[:2] for image in images], scales, places, 8)
        with pytest.raises(ValueError, match=r"^image: expected rows"):
            network.classify_crops(parts)
        for i, (k, top, bottom) in enumerate(parts.reads.tolist()):
            assert 0 <= top < bottom <= len(images[k])
            parts.give(k, images[k][top:bottom], top)
            np.testing.assert_array_equal(network.classify_crops(parts, None, i, 1)[0], expected[i])
            if bottom - top > 1:
                parts.give(k, images[k][top : bottom - 1], top)
                with pytest.raises(ValueError, match=f"^image: expected rows {top} to {bottom}"):
                    network.classify_crops(parts, None, i, 1)
    with pytest.raises(ValueError, match=r"^image: expected a width of 90"):
        parts.give(0, images[1], 0)
    with pytest.raises(ValueError, match=r"^k: expected 0 to 4"):
        parts.give(5, images[1], 0)
