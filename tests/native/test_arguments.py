"""Whatever the native core is handed, it answers or raises an error naming the argument, never crashes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native

IMAGE = np.zeros((30, 40, 3), np.uint8)
BOX = (0.0, 0.0, 40.0, 30.0)
BOXES = [(1.0, 2.0, 20.0, 21.0)]
SCALES = [(1.0, 1.0)]
POINTS = [[(3.0, 4.0), (17.0, 5.0), (10.0, 12.0), (4.0, 18.0), (16.0, 19.0)]]
MATRICES = [[(1.0, 0.0, 2.0), (0.0, 1.0, 3.0)]]
NAN, INF = float("nan"), float("inf")
TYPED = (ValueError, TypeError)


def convolution(channels: int = 2, inputs: int = 3, kernel: int = 4, stride: int = 1) -> dict[str, Any]:
    weight = np.zeros((channels, inputs, kernel, kernel), np.float32)
    return {
        "kind": "conv",
        "stride": stride,
        "weight": weight,
        "bias": weight[:, 0, 0, 0],
        "slope": weight[:, 0, 0, 0],
    }


def pool(kernel: Any = 2, stride: Any = 2) -> dict[str, Any]:
    return {"kind": "pool", "kernel": kernel, "stride": stride}


def network() -> _native.Network:
    return _native.Network([convolution()], 4)


def refuses(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TYPED, match=message):
        call()


# Images

WRONG_IMAGES = {
    "none": None,
    "list": [[[0, 0, 0]]],
    "gray": np.zeros((9, 9), np.uint8),
    "alpha": np.zeros((9, 9, 4), np.uint8),
    "batch": np.zeros((1, 9, 9, 3), np.uint8),
    "float": np.zeros((9, 9, 3), np.float32),
    "signed": np.zeros((9, 9, 3), np.int8),
    "no rows": np.zeros((0, 9, 3), np.uint8),
    "no columns": np.zeros((9, 0, 3), np.uint8),
    "too long": np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (1, (1 << 20) + 1, 3)),
}


@pytest.mark.parametrize("image", WRONG_IMAGES.values(), ids=WRONG_IMAGES.keys())
def test_wrong_images(image: Any) -> None:
    refuses(lambda: _native.resample(image, BOX, 5, 5), "^image: expected .*, got ")
    refuses(lambda: _native.cut([image], SCALES, BOXES, 24), "^image: expected .*, got ")
    refuses(lambda: network().dense_scan(image, 0, 0.0), "^image: expected .*, got ")


def test_wrong_lists_of_images() -> None:
    for images in (None, 3, [], (), "ab", IMAGE[None]):
        refuses(lambda images=images: _native.cut(images, SCALES, BOXES, 24), "^images: expected a list of arrays")


# Boxes

WRONG_BOXES = {
    "none": None,
    "text": "abcd",
    "words": [("a", "b", "c", "d")],
    "flat": (0, 0, 5, 5),
    "empty list": [],
    "three edges": [(0, 0, 5)],
    "five edges": [(0, 0, 5, 5, 5)],
    "ragged": [(0, 0, 5, 5), (0, 0, 5)],
    "too deep": [[(0, 0, 5, 5)]],
}
WRONG_PLACES = {
    "nan": (NAN, 0, 5, 5),
    "nan last": (0, 0, 5, NAN),
    "infinite": (0, 0, INF, 5),
    "minus infinite": (-INF, 0, 5, 5),
    "no width": (5, 0, 5, 5),
    "no height": (0, 5, 5, 5),
    "inside out": (9, 9, 2, 2),
    "far away": (2**20, 0, 2**20 + 5, 5),
    "far too large": (-1e30, -1e30, 1e30, 1e30),
    "beyond float32": (0, 0, 1e300, 1e300),
}


@pytest.mark.parametrize("boxes", WRONG_BOXES.values(), ids=WRONG_BOXES.keys())
def test_wrong_arrays_of_boxes(boxes: Any) -> None:
    for call in (
        lambda: _native.cut([IMAGE], SCALES, boxes, 24),
        lambda: _native.choose_levels(SCALES, boxes, 24),
        lambda: _native.clip(boxes, 10, 10),
        lambda: _native.square(boxes),
        lambda: _native.expand(boxes, 1.0),
    ):
        refuses(call, "^boxes: expected ")
    refuses(lambda: _native.candidates(boxes, BOXES, [0.5], 0, []), "^windows: expected ")
    refuses(lambda: _native.framing_logits(boxes, 10, 10, 0.3, 5, 1, 2), "^windows: expected ")
    refuses(lambda: _native.candidates(BOXES, boxes, [0.5], 0, []), "^offsets: expected ")
    refuses(lambda: _native.window_points(boxes, POINTS), "^windows: expected ")


@pytest.mark.parametrize("box", WRONG_PLACES.values(), ids=WRONG_PLACES.keys())
def test_wrong_places(box: tuple[float, ...]) -> None:
    refuses(lambda: _native.resample(IMAGE, box, 5, 5), "^box: expected finite x1 < x2 and y1 < y2")
    refuses(
        lambda: _native.cut([IMAGE], SCALES, [BOXES[0], box], 24),
        "^boxes: expected finite x1 < x2 and y1 < y2",
    )


@pytest.mark.parametrize("box", [None, "abcd", 5, (0, 0, 5), (0, 0, 5, 5, 5), [BOX], (0, 0, "a", 5), {}])
def test_wrong_boxes_to_resample(box: Any) -> None:
    refuses(lambda: _native.resample(IMAGE, box, 5, 5), "^box: expected ")


def test_a_box_that_snaps_to_nothing() -> None:
    refuses(lambda: _native.cut([IMAGE], SCALES, [(5, 5, 5.01, 9)], 24), "^boxes: expected finite x1 < x2")


@pytest.mark.parametrize("scores", [None, 0.5, [], [0.1, 0.2], [[0.1]], "a", ["a"]])
def test_wrong_scores(scores: Any) -> None:
    refuses(lambda: _native.candidates(BOXES, BOXES, scores, 0, []), "^logits: expected ")
    refuses(lambda: _native.fuse_logits([(1, 2)], scores, 0.5), "^before: expected ")


def test_offsets_of_another_length() -> None:
    message = r"^offsets: expected shape \(2, 4\), got \(1, 4\)"
    refuses(lambda: _native.candidates(BOXES * 2, BOXES, [1, 2], 0, []), message)


@pytest.mark.parametrize("outputs", [None, 3, [], [1, 2], [(1,)], [[(1, 2)]], "ab", [("a", 2)], [(1, 2), (1,)]])
def test_wrong_outputs(outputs: Any) -> None:
    refuses(lambda: _native.fuse_logits(outputs, [0.5], 0.5), "^outputs: expected ")


WRONG_OVERLAPS = {
    "none": None,
    "a number": 0.5,
    "one of them": (0.5, "union"),
    "no mode": [(0.5,)],
    "three": [(0.5, "union", "min")],
    "text": "ab",
    "a word": [("a", "union")],
    "nan": [(NAN, "union")],
    "nothing": [(None, "min")],
}


@pytest.mark.parametrize("overlaps", WRONG_OVERLAPS.values(), ids=WRONG_OVERLAPS.keys())
def test_wrong_overlaps(overlaps: Any) -> None:
    refuses(lambda: _native.candidates(BOXES, BOXES, [0.5], 0, overlaps), "^overlaps: ")


# Windows of a grid

WRONG_LEVELS_OF_WINDOWS = {
    "none": None,
    "a number": 3,
    "none in it": [None],
    "a number in it": [3],
    "one level": [(0, 1)],
    "only columns": [[(0,)]],
    "too deep": [[[(0, 1)]]],
    "words": [[("a", "b")]],
    "ragged": [[(0, 1), (0,)]],
    "flat": np.zeros(4),
}


@pytest.mark.parametrize("found", WRONG_LEVELS_OF_WINDOWS.values(), ids=WRONG_LEVELS_OF_WINDOWS.keys())
def test_wrong_levels_of_windows(found: Any) -> None:
    scales = np.ones((len(found) if hasattr(found, "__len__") else 1, 2))
    refuses(lambda: _native.window_boxes(found, scales, 2, 0, 12), "^found: expected ")


def test_as_many_scales_as_levels_of_windows() -> None:
    levels = [np.zeros((3, 2))] * 2
    refuses(lambda: _native.window_boxes(levels, SCALES, 2, 0, 12), r"^scales: expected shape \(2, 2\), got \(1, 2\)")
    refuses(lambda: _native.window_boxes([], SCALES, 2, 0, 12), r"^scales: expected shape \(0, 2\), got \(1, 2\)")
    refuses(lambda: _native.window_boxes([], np.empty((0, 2)), 2, 0, 12), r"^scales: expected shape \(levels, 2\)")


# Landmarks

WRONG_POINTS = {
    "none": None,
    "text": "ab",
    "words": [[("a", "b")]],
    "one point": (1, 2),
    "one face": [(1, 2)] * 5,
    "three coordinates": [[(1, 2, 3)] * 5],
    "no points": np.empty((1, 0, 2)),
    "ragged": [[(1, 2)], [(1, 2), (3, 4)]],
    "too deep": [[[(1, 2)]]],
}


@pytest.mark.parametrize("points", WRONG_POINTS.values(), ids=WRONG_POINTS.keys())
def test_wrong_points(points: Any) -> None:
    refuses(lambda: _native.window_points(BOXES, points), "^shares: expected ")
    refuses(lambda: _native.similarity_transforms(points, POINTS[0], 0), "^points: expected ")
    refuses(lambda: _native.can_align(points, MATRICES, 32), "^points: expected ")
    refuses(lambda: _native.inverse_transform(points, MATRICES), "^points: expected ")


@pytest.mark.parametrize("template", [None, 3, "ab", [], [(1, 2)] * 4, [1, 2], [(1, 2, 3)] * 5, POINTS, [("a", 2)] * 5])
def test_wrong_templates(template: Any) -> None:
    refuses(lambda: _native.similarity_transforms(POINTS, template, 0), "^template: expected ")


WRONG_MATRICES = {
    "none": None,
    "text": "ab",
    "one": [(1, 0, 0), (0, 1, 0)],
    "whole": [np.eye(3)],
    "without a shift": [np.eye(2)],
    "flat": np.zeros((1, 6)),
    "words": [[("a", 0, 0), (0, 1, 0)]],
    "too deep": [MATRICES],
}


@pytest.mark.parametrize("matrices", WRONG_MATRICES.values(), ids=WRONG_MATRICES.keys())
def test_wrong_matrices(matrices: Any) -> None:
    refuses(lambda: _native.can_align(POINTS, matrices, 32), "^matrices: expected ")
    refuses(lambda: _native.inverse_transform(POINTS, matrices), "^matrices: expected ")


def test_faces_of_another_number() -> None:
    matrices = r"^matrices: expected shape \(2, 2, 3\), got \(1, 2, 3\)"
    refuses(lambda: _native.can_align(POINTS * 2, MATRICES, 32), matrices)
    refuses(lambda: _native.inverse_transform(POINTS * 2, MATRICES), matrices)
    refuses(lambda: _native.window_points(BOXES * 2, POINTS), r"^shares: expected shape \(2, k, 2\), got \(1, 5, 2\)")


# Places in a pyramid


@pytest.mark.parametrize(
    "scales",
    [
        None,
        [],
        [(1.0,)],
        (1.0, 1.0),
        [(1.0, 1.0)] * 2,
        [(NAN, 1)],
        [(0, 1)],
        [(1, -1)],
        [(INF, 1)],
        [("a", 1)],
    ],
)
def test_wrong_scales(scales: Any) -> None:
    refuses(lambda: _native.cut([IMAGE], scales, BOXES, 24), "^scales: expected ")
    refuses(lambda: _native.window_boxes([np.zeros((3, 2))], scales, 2, 0, 12), "^scales: expected ")


def test_scales_that_throw_boxes_too_far() -> None:
    refuses(lambda: _native.cut([IMAGE], [(1e300, 1.0)], BOXES, 24), "^boxes: expected ")
    refuses(lambda: _native.cut([IMAGE], [(5e-324, 1.0)], [(0, 0, 0.25, 5)], 24), "^boxes: expected ")
    assert _native.cut([IMAGE], [(1e-300, 1.0)], BOXES, 24).shape == (1, 24, 24, 3)


# Axes


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[
            (name, wrong)
            for name in ("start", "extent")
            for wrong in (None, "a", ["a"], [NAN], [INF], [-INF], [1 << 40])
        ],
        *[(name, wrong) for name in ("extent", "source") for wrong in (3, [], [1, 2], [[5]], [0], [-1])],
        *[("start", wrong) for wrong in (3, [[5]], [[]], [1 << 20], [-(1 << 20)], [(1,), (1, 2)])],
        ("extent", [(1 << 21) + 1]),
        *[
            ("source", wrong)
            for wrong in (None, "a", ["a"], [1.5], [NAN], [True], [None], [(1 << 20) + 1], [(1,), (1, 2)])
        ],
        *[("source", wrong) for wrong in ([1 << 62], [(1 << 64) - 1], [1 << 64], [-(1 << 70)])],
    ],
)
def test_wrong_axes(name: str, wrong: Any) -> None:
    axes = {"start": [0.0], "extent": [5.0], "source": [5], name: wrong}
    refuses(lambda: _native.triangle_taps(**axes, size=5), f"^{name}: expected ")


# Numbers


@pytest.mark.parametrize("size", [0, -1, 1.5, None, "5", NAN, 1 << 62, 1 << 64, -(1 << 70), [5]])
def test_wrong_sizes(size: Any) -> None:
    refuses(lambda: _native.resample(IMAGE, BOX, size, 5), "^width: expected ")
    refuses(lambda: _native.resample(IMAGE, BOX, 5, size), "^height: expected ")
    refuses(lambda: _native.cut([IMAGE], SCALES, BOXES, size), "^size: expected ")
    refuses(lambda: _native.choose_levels(SCALES, BOXES, size), "^size: expected ")
    refuses(lambda: _native.triangle_taps([0.0], [5.0], [5], size), "^size: expected ")
    refuses(lambda: _native.Network([convolution()], size), "^input_size: expected ")
    refuses(lambda: network().grid(size, 5, 0), "^width: expected ")
    refuses(lambda: network().grid(5, size, 0), "^height: expected ")


@pytest.mark.parametrize("number", [-1, 1.5, "5", 1 << 62, 1 << 64])
def test_wrong_rows_and_paddings(number: Any) -> None:
    refuses(lambda: network().grid(5, 5, number), "^padding: expected ")
    refuses(lambda: network().dense_scan(IMAGE, number, 0.0), "^padding: expected ")
    refuses(lambda: network().dense_scan(IMAGE, 0, 0.0, None, number), "^first: expected ")
    refuses(lambda: network().dense_scan(IMAGE, 0, 0.0, None, 0, number), "^rows: expected ")


@pytest.mark.parametrize("number", [NAN, None, "a", [1, 2]])
def test_wrong_thresholds(number: Any) -> None:
    refuses(lambda: network().dense_scan(IMAGE, 0, number), "^threshold: expected ")
    refuses(lambda: network().dense_scan_levels([IMAGE, IMAGE], 0, [0.0, number]), "^threshold: expected ")
    refuses(lambda: network().dense_scan_levels([IMAGE, IMAGE], 0, [0.0]), "^threshold: expected ")
    refuses(lambda: _native.clip(BOXES, number, 5), "^width: expected ")
    refuses(lambda: _native.framing_logits(BOXES, number, 5, 0.3, 3, 1, 2), "^width: expected ")
    refuses(lambda: _native.framing_logits(BOXES, 5, number, 0.3, 3, 1, 2), "^height: expected ")
    refuses(lambda: _native.framing_logits(BOXES, 5, 5, number, 3, 1, 2), "^gap: expected ")
    refuses(lambda: _native.framing_logits(BOXES, 5, 5, 0.3, number, 1, 2), "^close_up_side: expected ")
    refuses(lambda: _native.framing_logits(BOXES, 5, 5, 0.3, 3, number, 2), "^at_border: expected ")
    refuses(lambda: _native.framing_logits(BOXES, 5, 5, 0.3, 3, 1, number), "^close_up: expected ")
    refuses(lambda: _native.clip(BOXES, 5, number), "^height: expected ")
    refuses(lambda: _native.expand(BOXES, number), "^context: expected ")
    refuses(lambda: _native.fuse_logits([(1, 2)], [3], number), "^share: expected ")
    refuses(lambda: _native.candidates(BOXES, BOXES, [0.5], number, []), "^threshold: expected ")
    refuses(lambda: _native.window_boxes([[(0, 1)]], SCALES, number, 0, 12), "^stride: expected ")
    refuses(lambda: _native.window_boxes([[(0, 1)]], SCALES, 2, number, 12), "^margin: expected ")
    refuses(lambda: _native.window_boxes([[(0, 1)]], SCALES, 2, 0, number), "^window: expected ")
    refuses(lambda: _native.similarity_transforms(POINTS, POINTS[0], number), "^rounding: expected ")
    refuses(lambda: _native.can_align(POINTS, MATRICES, number), "^size: expected ")


def test_numbers_below_their_least() -> None:
    refuses(lambda: _native.clip(BOXES, -1, 5), "^width: expected a number of at least 0, got -1")
    refuses(lambda: _native.fuse_logits([(1, 2)], [3], -1), "^share: expected a number of at least 0, got -1")
    refuses(
        lambda: _native.similarity_transforms(POINTS, POINTS[0], -1e-9),
        "^rounding: expected a number of at least 0, got -1e-09",
    )
    refuses(lambda: _native.can_align(POINTS, MATRICES, 0.5), "^size: expected a number of at least 1, got 0.5")


@pytest.mark.parametrize("mode", ["iou", "", None, 1, ["union"]])
def test_wrong_modes(mode: Any) -> None:
    overlaps = [(0.5, "union"), (0.5, mode)]
    refuses(lambda: _native.candidates(BOXES, BOXES, [0.5], 0, overlaps), "mode: expected 'union' or 'min', got ")


@pytest.mark.parametrize("level", ["altivec", "AVX2", 3, b"scalar", ["scalar"]])
def test_wrong_levels(level: Any) -> None:
    message = "^level: expected one of .*scalar on this machine, got "
    refuses(lambda: _native.resample(IMAGE, BOX, 5, 5, level=level), message)
    refuses(lambda: _native.cut([IMAGE], SCALES, BOXES, 24, level=level), message)
    refuses(lambda: _native.Network([convolution()], 4, level), message)
    refuses(lambda: _native.candidates(BOXES, BOXES, [0.5], 0, [], level), message)
    refuses(lambda: _native.candidates(np.empty((0, 4)), np.empty((0, 4)), [], 0, [], level), message)


def test_wrong_pools() -> None:
    for call in (
        lambda: _native.resample(IMAGE, BOX, 5, 5, 3),
        lambda: _native.cut([IMAGE], SCALES, BOXES, 24, 3),
        lambda: network().forward(np.zeros((1, 4, 4, 3), np.uint8), 3),
        lambda: network().classify_crops(_native.Crops([IMAGE], SCALES, BOXES, 4), 3),
        lambda: network().dense_scan(IMAGE, 0, 0.0, 3),
        lambda: network().dense_scan_levels([IMAGE], 0, 0.0, 3),
    ):
        refuses(call, "pool")


@pytest.mark.parametrize("size", [(1 << 20, 1 << 20), (1 << 20, 1)])
def test_sizes_at_the_limit_answer_or_lack_memory(size: tuple[int, int]) -> None:
    try:
        found = _native.resample(IMAGE[:2, :2], (0, 0, 2, 2), *size)
    except MemoryError:
        return
    assert found.shape == (size[1], size[0], 3)


def test_the_longest_image_is_resampled() -> None:
    image = np.zeros((1, 1 << 20, 3), np.uint8)
    assert (_native.resample(image, (0, 0, (1 << 20) - 1, 1), 2, 2) == 0).all()
    assert (_native.resample(image, (-((1 << 20) - 1), -1e6, (1 << 20) - 1, 1e6), 1, 1) >= 0).all()


# Layers

WRONG_LAYERS: dict[str, tuple[Any, str]] = {
    "none": (None, "^layers: expected a list of 1 to 60 layers"),
    "no layers": ([], "^layers: expected a list of 1 to 60 layers"),
    "too many": ([pool(1, 1)] * 61, "^layers: expected a list of 1 to 60 layers"),
    "a dict": (convolution(), "^layers: expected a list of 1 to 60 layers"),
    "not a layer": ([3], "^layers: layer 0 cannot be read"),
    "none in it": ([None], "^layers: layer 0 cannot be read"),
    "an empty one": ([convolution(kernel=2), {}], "^layers: layer 1 cannot be read"),
    "no weight": ([{"kind": "conv", "stride": 1}], "^layers: layer 0 cannot be read"),
    "another kind": (
        [{"kind": "norm", "stride": 1}],
        "^layers: layer 0 is 'norm', expected 'conv' or 'pool'",
    ),
    "another dtype": ([{**convolution(), "dtype": "int16"}], "^layers: expected the dtype 'float32' or 'int8' of all"),
    "a dtype of a list": (
        [{**convolution(), "dtype": ["int8"]}],
        "^layers: expected the dtype 'float32' or 'int8' of all",
    ),
    "two dtypes": (
        [convolution(kernel=2), {**convolution(), "dtype": "int8"}],
        "^layers: expected the dtype 'float32' or 'int8' of all",
    ),
    "pool of 0": ([pool(0)], "^layers: kernel of layer 0: expected 1 to 16, got 0"),
    "pool of 17": ([pool(17)], "^layers: kernel of layer 0: expected 1 to 16, got 17"),
    "stride 0": ([pool(2, 0)], "^layers: stride of layer 0: expected 1 to 16, got 0"),
    "stride -1": ([convolution(stride=-1)], "^layers: stride of layer 0: expected 1 to 16, got -1"),
    "half a stride": (
        [pool(2, 1.5)],
        "^layers: layer 0 cannot be read.*stride of layer 0: expected a whole number",
    ),
    "other inputs": (
        [convolution(inputs=4)],
        r"^layers: layer 0 has a weight of shape .*expected \(out, 3, k, k\)",
    ),
    "other inputs later": (
        [convolution(5), convolution(2, 6)],
        r"^layers: layer 1 has a weight .*\(out, 5, k, k\)",
    ),
    "no outputs": ([convolution(0)], "^layers: layer 0 has a weight of shape"),
    "too many outputs": (
        [{**convolution(), "weight": np.broadcast_to(np.float32(0), ((1 << 14) + 1, 3, 1, 1))}],
        "^layers: layer 0 has a weight of shape",
    ),
    "kernel of 17": ([convolution(kernel=17)], "^layers: layer 0 has a weight of shape"),
    "oblong kernel": (
        [{**convolution(), "weight": np.zeros((2, 3, 4, 3), np.float32)}],
        "^layers: layer 0 has a weight of shape",
    ),
    "flat weight": ([{**convolution(), "weight": np.zeros(96)}], "^layers: layer 0 has a weight of shape"),
    "weight of words": ([{**convolution(), "weight": "abc"}], "^layers: weight of layer 0: expected numbers"),
    "short bias": ([{**convolution(), "bias": [0.0]}], r"^layers: layer 0 has bias \(1,\)"),
    "short slope": ([{**convolution(), "slope": [0.0]}], r"^layers: layer 0 has .*slope \(1,\)"),
    "no bias": ([{**convolution(), "bias": None}], "^layers: "),
    "larger than the crop": ([convolution(kernel=5)], "^layers: layer 0 does not fit its input"),
    "later larger": (
        [convolution(kernel=3), convolution(2, 2, 3)],
        "^layers: layer 1 does not fit its input",
    ),
    "too small": (
        [convolution(kernel=2)],
        r"^layers: a crop of 4 pixels ends on 3 \* 3 positions, expected 1",
    ),
}


@pytest.mark.parametrize(("layers", "message"), WRONG_LAYERS.values(), ids=WRONG_LAYERS.keys())
def test_layers_that_do_not_fit(layers: Any, message: str) -> None:
    refuses(lambda: _native.Network(layers, 4), message)


def test_a_network_cannot_be_had_without_layers_or_made_anew() -> None:
    refuses(lambda: _native.Network.__new__(_native.Network), "layers|argument")
    usable, crops = network(), np.zeros((2, 4, 4, 3), np.uint8)
    before = usable.forward(crops)
    with suppress(TypeError):
        usable.__init__([pool()], 2)  # type: ignore[misc]
    np.testing.assert_array_equal(usable.forward(crops), before)


@pytest.mark.parametrize(
    "crops",
    [
        None,
        [],
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 3, 4, 4), np.uint8),
        np.zeros((1, 5, 5, 3), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.float32),
    ],
)
def test_wrong_crops(crops: Any) -> None:
    refuses(lambda: network().forward(crops), r"^crops: expected uint8 \(n, 4, 4, 3\), got ")


def test_a_dense_scan_needs_two_outputs() -> None:
    refuses(
        lambda: _native.Network([convolution(1)], 4).dense_scan(IMAGE, 0, 0.0),
        "^layers: expected at least 2 outputs",
    )


def test_a_dense_scan_needs_a_bounded_stride() -> None:
    layers = [pool(1, 16), pool(1, 16), convolution(2, 3, 1)]
    refuses(
        lambda: _native.Network(layers, 1).dense_scan(IMAGE, 0, 0.0), "^layers: this network cannot run over an image"
    )


# Anything at all


def answer(call: Callable[[], Any], beginnings: tuple[str, ...]) -> Any:
    """What the call returns, or None if it raised an error that begins as it should."""
    try:
        return call()
    except TYPED as error:
        if not str(error).startswith(beginnings):
            raise
        return None


numbers = st.one_of(st.integers(-(2**65), 2**65), st.integers(-3, 40), st.floats(), st.none(), st.text(max_size=2))


@given(st.lists(numbers, min_size=3, max_size=5), numbers, numbers)
@settings(max_examples=200)
def test_resample_never_crashes(box: list[Any], width: Any, height: Any) -> None:
    if isinstance(width, int) and isinstance(height, int) and width * height > 1 << 14:
        width = height = 0
    found = answer(lambda: _native.resample(IMAGE, box, width, height), ("box:", "width:", "height:"))
    assert found is None or found.shape == (height, width, 3)


@given(st.lists(st.tuples(*[st.floats()] * 4), max_size=4), st.lists(st.tuples(*[st.floats()] * 2), max_size=2))
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_cut_never_crashes(boxes: list[Any], scales: list[Any]) -> None:
    edges = np.array(boxes, np.float64).reshape(-1, 4)
    crops = answer(lambda: _native.cut([IMAGE] * 2, scales, edges, 8), ("boxes:", "scales:"))
    assert crops is None or crops.shape == (len(boxes), 8, 8, 3)


@given(st.lists(st.tuples(*[st.floats(width=32)] * 5), max_size=6), st.floats(), st.floats())
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_box_functions_never_crash(rows: list[Any], threshold: float, other: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 5)
    boxes, scores, overlaps = table[:, :4], table[:, 4], [(threshold, "min"), (other, "union")]
    names = [
        "threshold",
        "sigma",
        "width",
        "height",
        "gap",
        "context",
        "share",
        "overlaps",
        "stride",
        "margin",
        "window",
    ]
    for call in (
        lambda: _native.square(boxes),
        lambda: _native.expand(boxes, threshold),
        lambda: _native.clip(boxes, threshold, other),
        lambda: _native.framing_logits(boxes, threshold, other, other, threshold, other, threshold),
        lambda: _native.fuse_logits(boxes, scores, other),
        lambda: _native.candidates(boxes, boxes[::-1], scores, threshold, overlaps),
        lambda: _native.window_boxes([boxes[:3], table[3:]], [(1, 1), (0.1, 1e-300)], threshold, other, threshold),
    ):
        found = answer(call, tuple(f"{name}:" for name in names))
        assert found is None or len(found[0] if isinstance(found, tuple) else found) <= len(boxes)


@given(st.lists(st.tuples(*[st.floats()] * 10), max_size=4), st.floats(), st.floats())
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_landmark_functions_never_crash(rows: list[Any], rounding: float, size: float) -> None:
    points = np.array(rows, np.float64).reshape(-1, 5, 2)
    matrices = points.reshape(-1, 10)[:, :6].reshape(-1, 2, 3)
    for call in (
        lambda: _native.window_points(points[:, :2].reshape(-1, 4), points),
        lambda: _native.similarity_transforms(points, POINTS[0], rounding),
        lambda: _native.similarity_transforms(POINTS * 2, np.full((5, 2), size), rounding)[: len(points)],
        lambda: _native.can_align(points, matrices, size),
        lambda: _native.inverse_transform(points, matrices),
    ):
        found = answer(call, ("rounding:", "size:"))
        assert found is None or len(found) <= len(points)


# Any numbers, wherever they lie


def inside_a_wider_one(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, array], axis=-1)[..., : array.shape[-1]]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "list": np.ndarray.tolist,
    "float64": lambda array: array.astype(np.float64),
    "float16": lambda array: array.astype(np.float16),
    "int16": lambda array: array.astype(np.int16),
    "uint64": lambda array: array.astype(np.uint64),
    "other byte order": lambda array: array.astype(">f4"),
    "by column": np.asfortranarray,
    "backwards": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "every other": lambda array: np.repeat(array, 2, axis=0)[::2],
    "inside a wider one": inside_a_wider_one,
    "read only": read_only,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_number_type_and_layout_will_do(layout: Callable[[np.ndarray], Any]) -> None:
    rng = np.random.default_rng(0)
    boxes, moves = rng.integers(0, 100, (9, 4)).astype(np.float32), rng.integers(0, 3, (9, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores, shares = rng.integers(0, 9, 9).astype(np.float32), rng.integers(0, 100, (9, 5, 2)).astype(np.float32)
    matrices, template = rng.integers(1, 9, (9, 2, 3)).astype(np.float32), shares[0]
    scales = matrices[:2, :, 0]
    calls: list[tuple[Callable[..., Any], list[np.ndarray]]] = [
        (lambda a, b: _native.window_boxes([a, b], scales, 2, 0, 12), [boxes, moves]),
        (lambda a: _native.window_boxes([boxes, moves], a, 2, 0, 12), [scales]),
        (_native.square, [boxes]),
        (lambda a: _native.expand(a, 1.5), [boxes]),
        (lambda a: _native.clip(a, 50, 40), [boxes]),
        (lambda a: _native.framing_logits(a, 50, 40, -0.1, 20, 1, 2), [boxes]),
        (lambda a, b: _native.fuse_logits(a, b, 0.5), [boxes, scores]),
        (lambda a, b, c: _native.candidates(a, b, c, 1, [(0.5, "union")]), [boxes, moves, scores]),
        (_native.window_points, [boxes, shares]),
        (lambda a, b: _native.similarity_transforms(a, b, 0), [shares, template]),
        (lambda a, b: _native.can_align(a, b, 9), [shares, matrices]),
        (_native.inverse_transform, [shares, matrices]),
    ]
    for call, arrays in calls:
        expected, found = call(*arrays), call(*(layout(array) for array in arrays))
        for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (expected, found)), strict=True):
            assert one.size > 0
            np.testing.assert_array_equal(one, other)


# Arguments that change after they were checked, as another thread may change them


class Meanwhile:
    """A whole number that does something when it is asked for its value."""

    def __init__(self, value: int, action: Callable[[], Any]) -> None:
        self.value, self.action = value, action

    def __index__(self) -> int:
        self.action()
        return self.value


def test_a_box_that_changes_meanwhile() -> None:
    box = np.array(BOX)
    expected = _native.resample(IMAGE + 7, box, 5, 5)
    later = Meanwhile(0, lambda: box.fill(1e300))
    np.testing.assert_array_equal(_native.resample(IMAGE + 7, box, 5, 5, top=later), expected)


@pytest.mark.parametrize("shape", [(20, 5, 3), (5, 60, 1), (300, 1, 1)])
def test_an_output_whose_shape_changes_meanwhile(shape: tuple[int, ...]) -> None:
    out = np.zeros((5, 20, 3), np.uint8)
    later = Meanwhile(0, lambda: setattr(out, "shape", shape))
    with suppress(ValueError):
        _native.resample(IMAGE + 7, BOX, 20, 5, out=out, first=later)
    with suppress(ValueError):
        _native.resample(IMAGE + 7, BOX, 20, 5, out=out.reshape(5, 20, 3), top=later)


def test_an_image_whose_shape_changes_meanwhile() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    later = Meanwhile(5, lambda: setattr(image, "shape", (30, 120, 1)))
    with suppress(ValueError):
        _native.resample(image, BOX, later, 5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_network_keeps_its_own_weights(dtype: str) -> None:
    layer: dict[str, Any] = {**convolution(), "slope": np.zeros(2, np.float32)}
    if dtype == "int8":
        weight = np.ones((2, 1, 4, 4, 4), np.int8)
        layer = {"kind": "conv", "dtype": "int8", "stride": 1, "weight": weight}
        layer |= {"bias": np.ones(2, np.int32), "factor": np.ones(2, np.float32)}
    usable, crops = _native.Network([layer], 4), np.full((3, 4, 4, 3), 9, np.uint8)
    before = usable.forward(crops)
    for name in ("weight", "bias", "slope", "factor"):
        if name in layer:
            layer[name][...] = 100
    np.testing.assert_array_equal(usable.forward(crops), before)


def test_a_layer_is_read_once() -> None:
    """A second reading could find other weights than those that were checked."""

    class Fickle(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            value = super().__getitem__(name)
            if name == "weight":
                self["weight"] = np.zeros((1, 1, 1, 1), np.float32)
            return value

    usable = _native.Network([Fickle(convolution(16))], 4)
    assert usable.forward(np.zeros((1, 4, 4, 3), np.uint8)).shape == (1, 16)
