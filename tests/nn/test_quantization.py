"""int8 networks: the C of every SIMD level against numpy bit for bit, and how near they are to float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from cascade.detect import Detector
from cascade.engines.native import NativeEngine
from cascade.models.detector import DetectorWeights, StageWeights, load_detector
from cascade.models.files import WeightsError
from cascade.nn.architectures import ARCHITECTURES, Architecture, Layer
from cascade.nn.quantization import GROUP_TAPS, LARGEST_GROUP, PACKED, range_name
from tests.photos import portrait
from tests.random_networks import receptive

LEVELS = _native.simd_levels()
STAGES = ("pnet", "rnet", "onet", "lnet")

Layers = list[dict[str, Any]]


def random_stage(architecture: Architecture, seed: int = 0) -> StageWeights:
    """Random weights and ranges: in each hidden layer some channels saturate at 255, and some are never above 0."""
    rng = np.random.default_rng(seed)
    tensors, inputs = {}, 3
    for index, layer in enumerate(architecture.layers):
        if layer.kind == "pool":
            continue
        taps = inputs * layer.kernel**2
        tensors[f"{index}.weight"] = rng.normal(
            0, math.sqrt(2 / taps), (layer.channels, inputs, layer.kernel, layer.kernel)
        )
        tensors[f"{index}.bias"] = rng.choice([0.0, 0.3, -0.3, -9.0], layer.channels, p=[0.3, 0.3, 0.3, 0.1])
        tensors[range_name(index)] = rng.choice([0.0, 0.1, 1.0, 3.0], layer.channels, p=[0.05, 0.15, 0.3, 0.5])
        inputs = layer.channels
    del tensors[range_name(len(architecture.layers) - 1)]
    return StageWeights(Path("random"), architecture, {k: v.astype(np.float32) for k, v in tensors.items()}, {}, "")


def convolved(layers: Layers, image: np.ndarray) -> list[np.ndarray]:
    """The outputs (rows, columns, channels) of each layer for an image (height, width, 3), in numpy."""
    maps, made = [], np.pad(image, ((0, 0), (0, 0), (0, 1))).astype(np.float64)
    for number, layer in enumerate(layers):
        weight = layer["weight"].astype(np.float64)
        side, stride = weight.shape[2], layer["stride"]
        windows = np.lib.stride_tricks.sliding_window_view(made, (side, side), (0, 1))[::stride, ::stride]
        rows, columns = windows.shape[:2]
        # integers below 2**53: sums in float64 are exact in any order
        filters = weight.transpose(0, 1, 4, 2, 3).reshape(len(weight), -1)
        sums = windows.reshape(rows * columns, -1) @ filters.T + layer["bias"]
        assert np.abs(sums).max(initial=0) < 2**31
        values = sums.astype(np.int64).astype(np.float32) * layer["factor"]
        if number < len(layers) - 1:
            values = np.floor(np.clip(values, 0, 255))
        made = values.reshape(rows, columns, -1).astype(np.float64)
        maps.append(made)
    return maps


def classified(layers: Layers, crops: np.ndarray) -> np.ndarray:
    return np.array([convolved(layers, crop)[-1][0, 0] for crop in crops], np.float32)


def scanned(layers: Layers, image: np.ndarray, padding: int, architecture: Architecture) -> np.ndarray:
    """Numpy's answer to `Network.dense_scan` at a threshold of minus infinity."""
    field, stride = architecture.input_size, architecture.stride
    room = [side + 2 * padding - field for side in image.shape[:2]]
    if min(room) < 0:
        return np.empty((0, architecture.outputs + 1), np.float32)
    rows, columns = (math.ceil(each / stride) + 1 for each in room)
    after = [padding + -each % stride for each in room]
    padded = np.pad(image, ((padding, after[0]), (padding, after[1]), (0, 0)), constant_values=128)
    output = convolved(layers, padded)[-1].astype(np.float32).reshape(rows * columns, -1)
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([x, y, output[:, 1] - output[:, 0], output[:, 2:]]).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@cache
def shipped_set() -> DetectorWeights:
    return load_detector()


@cache
def shipped_layers(stage: Any) -> Layers:
    return shipped_set()[stage].int8_layers()


def native(layers: Layers, architecture: Architecture, level: str) -> _native.Network:
    return _native.Network(layers, architecture.input_size, level)


# Against numpy


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Up to four convolutions of any kernel and stride, whose window is exactly the receptive field."""
    layers = [
        Layer("conv", draw(st.integers(1, 4)), draw(st.integers(1, 4)), PACKED * draw(st.integers(1, 10)), "relu")
        for _ in range(draw(st.integers(0, 3)))
    ]
    return receptive([*layers, Layer("conv", draw(st.integers(1, 3)), 1, draw(st.integers(1, 16)))])


@given(
    architectures(),
    st.sampled_from(LEVELS),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(0, 9),
    st.integers(0, 1000),
)
@settings(max_examples=80)
def test_any_layers_give_the_outputs_of_numpy(
    architecture: Architecture, level: str, shape: tuple[int, int], padding: int, seed: int
) -> None:
    layers = random_stage(architecture, seed).int8_layers()
    network = native(layers, architecture, level)
    crops = noise(1 + seed % 37, architecture.input_size, architecture.input_size, 3, seed=seed)
    np.testing.assert_array_equal(network.forward(crops), classified(layers, crops))
    if architecture.outputs > 1:
        image = noise(*shape, 3, seed=seed)
        np.testing.assert_array_equal(
            network.dense_scan(image, padding, -np.inf), scanned(layers, image, padding, architecture)
        )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", STAGES)
def test_forward_is_numpys_for_the_shipped_weights(stage: str, level: str) -> None:
    layers, architecture = shipped_layers(stage), shipped_set()[stage].architecture  # type: ignore[index]
    network, side = native(layers, architecture, level), architecture.input_size
    crops = np.concatenate([noise(15, side, side, 3), portrait()[80 : 80 + side, 190 : 190 + side][None]])
    crops = np.concatenate([crops, np.zeros_like(crops[:1]), np.full_like(crops[:1], 255)])
    expected = classified(layers, crops)
    assert expected.std() > 0.1
    for count in (0, 1, 2, 15, 16, 17, 18):
        found = network.forward(crops[:count])
        assert (found.dtype, found.shape) == (np.float32, (count, network.outputs))
        np.testing.assert_array_equal(found, expected[:count])
    np.testing.assert_array_equal(np.concatenate([network.forward(crop[None]) for crop in crops]), expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (12, 12), (13, 40), (23, 23), (24, 57), (100, 3), (3, 100), (97, 131), (9, 900)]
)
def test_dense_scan_is_numpys_for_the_shipped_weights(level: str, shape: tuple[int, int]) -> None:
    layers, architecture = shipped_layers("pnet"), shipped_set()["pnet"].architecture
    assert architecture.stride == 4
    network, image = native(layers, architecture, level), noise(*shape, 3)
    for padding in {0, architecture.padding, 7, 40}:
        expected = scanned(layers, image, padding, architecture)
        np.testing.assert_array_equal(network.dense_scan(image, padding, -np.inf), expected)


@pytest.mark.parametrize("level", LEVELS)
def test_parts_of_a_dense_scan_joined_are_all_of_it(level: str) -> None:
    network, image = native(shipped_layers("pnet"), shipped_set()["pnet"].architecture, level), noise(150, 70, 3)
    whole, rows = network.dense_scan(image, 4, -np.inf), network.grid(70, 150, 4)[0]
    for step in (1, 5, rows - 1):
        strips = [network.dense_scan(image, 4, -np.inf, None, first, step) for first in range(0, rows, step)]
        np.testing.assert_array_equal(np.concatenate(strips), whole)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", STAGES[1:])
def test_classify_crops_is_forward_of_the_crops(stage: str, level: str) -> None:
    layers, architecture = shipped_layers(stage), shipped_set()[stage].architecture  # type: ignore[index]
    network, side = native(layers, architecture, level), architecture.input_size
    corners = np.random.default_rng(0).uniform(-30, 480, (21, 2))
    boxes = np.hstack([corners, corners + np.linspace(9, 120, 21)[:, None]])
    places = [portrait()], [(1.0, 1.0)], boxes, side
    crops, expected = _native.Crops(*places), network.forward(_native.cut(*places))
    np.testing.assert_array_equal(network.classify_crops(crops), expected)
    np.testing.assert_array_equal(network.classify_crops(crops, _native.ThreadPool(), 3, 7), expected[3:10])


# Rounding and limits


def one_layer(weight: np.ndarray, bias: np.ndarray, factor: np.ndarray, last: np.ndarray | None = None) -> Layers:
    """A layer of one pixel, and one that hands its channels on as they are."""
    channels = len(weight)
    last = np.eye(channels, dtype=np.int8) if last is None else last
    last = last.reshape(len(last), channels // PACKED, 1, 1, PACKED)
    ones = {"bias": np.zeros(len(last), np.int32), "factor": np.ones(len(last), np.float32)}
    first = {"weight": weight.reshape(channels, 1, 1, 1, PACKED).astype(np.int8), "bias": bias.astype(np.int32)}
    return [
        {"kind": "conv", "dtype": "int8", "stride": 1, **first, "factor": factor.astype(np.float32)},
        {"kind": "conv", "dtype": "int8", "stride": 1, "weight": last, **ones},
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_activations_saturate_at_both_ends(level: str) -> None:
    """Sums of -2, 0.5, 254.9, 255, 256 and far beyond, of any sign."""
    sums = np.array([-2, -(2**30), 1, 5098, 5100, 5120, 2**30, 0])
    factor = np.array([1, 1, 0.5, 0.05, 0.05, 0.05, 3e38, 1])
    layers = one_layer(np.zeros((8, PACKED)), sums, factor)
    found = _native.Network(layers, 1, level).forward(np.zeros((1, 1, 1, 3), np.uint8))
    np.testing.assert_array_equal(found[0], [0, 0, 0, 254, 255, 255, 255, 0])


@pytest.mark.parametrize("level", LEVELS)
def test_each_colour_has_its_weight(level: str) -> None:
    weight = np.array([[1, 0, 0, 99], [0, 1, 0, 99], [0, 0, 1, 99], [-128, 0, 127, -128]])
    layers = one_layer(weight, np.zeros(4), np.ones(4))
    for red, green, blue in ((1, 2, 3), (255, 0, 255), (0, 255, 1)):
        found = _native.Network(layers, 1, level).forward(np.array([red, green, blue], np.uint8).reshape(1, 1, 1, 3))
        expected = [red, green, blue, min(max(127 * blue - 128 * red, 0), 255)]
        np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("outputs", range(1, 17))
def test_a_last_layer_has_any_number_of_outputs(outputs: int) -> None:
    last = noise(outputs, 8).view(np.int8) // 4  # within the limit of a group
    layers = one_layer(noise(8, PACKED).view(np.int8) // 4, np.zeros(8), np.full(8, 0.01), last)
    crops = noise(19, 1, 1, 3)
    for level in LEVELS:
        np.testing.assert_array_equal(_native.Network(layers, 1, level).forward(crops), classified(layers, crops))


# Groups of taps, whose products levels without dot products sum in 16 bits


def group_sums(weight: np.ndarray) -> np.ndarray:
    """The positive, then the negative weights (2, out, groups, pairs) of weights (out, elements, k, k, 4), summed."""
    taps = weight.astype(int).transpose(0, 2, 3, 1, 4).reshape(len(weight), -1, 2, 2)
    taps = np.pad(taps, ((0, 0), (0, -taps.shape[1] % GROUP_TAPS), (0, 0), (0, 0)))
    groups = taps.reshape(len(weight), -1, GROUP_TAPS, 2, 2)
    return np.stack([clip(groups, 0).sum(axis=(2, 4)) for clip in (np.maximum, np.minimum)])


@pytest.mark.parametrize("stage", STAGES)
def test_the_shipped_weights_use_the_limit_of_a_group_and_stay_within(stage: Any) -> None:
    for layer in shipped_layers(stage):
        sums = np.abs(group_sums(layer["weight"])).max(axis=(0, 2, 3))
        assert sums.max() <= LARGEST_GROUP
        full = (sums > 0.95 * LARGEST_GROUP) | (np.abs(layer["weight"]).max(axis=(1, 2, 3, 4)) > 120)
        assert full.mean() > 0.9


@pytest.mark.parametrize("stage", STAGES)
def test_rounding_errors_of_neighbours_cancel(stage: Any) -> None:
    """So those of all weights of a filter sum to half a step at most."""
    tensors, layer = shipped_set()[stage].tensors, shipped_layers(stage)[0]
    filters = np.asarray(tensors["0.weight"], np.float64) / 128
    scale = layer["factor"] * np.maximum(tensors[range_name(0)], 1e-6) / 255
    errors = layer["weight"].sum(axis=(1, 2, 3, 4)) - filters.sum(axis=(1, 2, 3)) / scale
    assert np.abs(errors).max() < 0.501


@pytest.mark.parametrize("level", LEVELS)
def test_groups_at_their_limit_do_not_overflow(level: str) -> None:
    """All activations are 255, and the weights of a sign sum to 128 in a pair of channels of one tap or of several."""
    first = one_layer(np.ones((16, PACKED)), np.zeros(16), np.ones(16))[0]
    first = {**first, "bias": np.full(16, 255, np.int32)}
    rows = np.zeros((16, 4, PACKED), np.int8)
    rows[0, 0, :2], rows[1, :3, 0], rows[2, :3, 2], rows[3] = (127, 1), (43, 43, 42), (-43, -43, -42), 21
    rows[4, 3, 2:], rows[5, 2], rows[6, :, ::2], rows[7] = (-1, -127), (1, 127, -128, 0), -42, -21
    rows[8, :, 0], rows[8, :, 1], rows[9, 1, 1], rows[10, 2, 2] = 42, -42, 127, -128
    ones = {"bias": np.zeros(16, np.int32), "factor": np.ones(16, np.float32)}
    last = {"kind": "conv", "dtype": "int8", "stride": 1, "weight": rows.reshape(16, 4, 1, 1, PACKED), **ones}
    for crops in (np.full((19, 1, 1, 3), 255, np.uint8), np.zeros((1, 1, 1, 3), np.uint8)):
        found = _native.Network([first, last], 1, level).forward(crops)
        np.testing.assert_array_equal(found, np.broadcast_to(255 * rows.sum(axis=(1, 2), dtype=int), found.shape))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("places", "size", "fits"),
    [
        ([(0, 0), (0, 1)], 64, True),
        ([(0, 0), (0, 1)], 65, False),
        ([(0, 1), (0, 2)], 65, True),
        ([(0, 2), (2, 3)], 65, False),
        ([(2, 0), (3, 0)], 65, True),
        ([(3, 0), (4, 1), (5, 0)], 43, False),
        ([(3, 0), (4, 1), (5, 0)], 42, True),
        ([(5, 0), (6, 0)], 65, True),
        ([(6, 1), (7, 0)], 65, False),
    ],
)
def test_weights_that_could_leave_16_bits_are_refused(
    places: list[tuple[int, int]], size: int, fits: bool, sign: int
) -> None:
    """Places are taps and channels; taps run over rows, columns and int8x4, here two rows of two int8x4 each."""
    taps = np.zeros((8, PACKED), np.int8)
    for place in places:
        taps[place] = sign * size
    weight = np.zeros((4, 2, 2, 2, PACKED), np.int8)
    weight[2] = taps.reshape(2, 2, 2, PACKED).transpose(2, 0, 1, 3)
    common = {"kind": "conv", "dtype": "int8", "stride": 1}
    first = {"weight": np.ones((8, 1, 1, 1, PACKED), np.int8), "bias": np.zeros(8, np.int32)}
    layers = [
        {**common, **first, "factor": np.ones(8, np.float32)},
        {**common, "weight": weight, "bias": np.zeros(4, np.int32), "factor": np.ones(4, np.float32)},
    ]
    if fits:
        _native.Network(layers, 2)
    else:
        with pytest.raises(ValueError, match=r"^layers: weights of layer 1 can leave 16 bits"):
            _native.Network(layers, 2)


# Wrong layers


def good() -> Layers:
    return one_layer(np.ones((4, PACKED)), np.zeros(4), np.ones(4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": np.ones((4, 1, 1, 1, 4), np.float32)},
        {"weight": np.ones((4, 1, 1, 1, 4), np.uint8)},
        {"weight": np.ones((4, 1, 1, 1, 3), np.int8)},
        {"weight": np.ones((4, 2, 1, 1, 4), np.int8)},
        {"weight": np.ones((4, 1, 1, 2, 4), np.int8)},
        {"weight": np.ones((4, 1, 1, 1), np.int8)},
        {"weight": np.ones((0, 1, 1, 1, 4), np.int8)},
        {"weight": np.ones((4, 1, 17, 17, 4), np.int8)},
        {"weight": np.ones((6, 1, 1, 1, 4), np.int8), "bias": np.zeros(6, np.int32), "factor": np.ones(6, np.float32)},
        {"weight": None},
        {"weight": [[1]]},
        {"bias": np.zeros(4, np.int64)},
        {"bias": np.zeros(4, np.float32)},
        {"bias": np.zeros(3, np.int32)},
        {"bias": np.full(4, 2**31 - 1, np.int32)},
        {"bias": np.full(4, -(2**31), np.int32)},
        {"factor": np.ones(4)},
        {"factor": np.ones((4, 1), np.float32)},
        {"factor": np.full(4, np.inf, np.float32)},
        {"factor": np.full(4, np.nan, np.float32)},
        {"stride": 0},
        {"stride": 17},
        {"dtype": "float32"},
        {"dtype": "uint8"},
        {"kind": "pool", "kernel": 1},
    ],
)
def test_wrong_layers_are_named(wrong: dict[str, Any]) -> None:
    first, last = good()
    _native.Network([first, last], 1)
    with pytest.raises(ValueError, match=r"^layers: "):
        _native.Network([{**first, **wrong}, last], 1)


@pytest.mark.parametrize("missing", ["weight", "bias", "factor", "stride"])
def test_missing_entries_are_named(missing: str) -> None:
    first, last = good()
    del first[missing]
    with pytest.raises(ValueError, match=f"^layers: layer 0 cannot be read.*{missing}"):
        _native.Network([first, last], 1)


def test_sums_beyond_32_bits_are_refused() -> None:
    """SIMD levels could not agree on them."""
    channels, side = 2100, 4
    common = {"kind": "conv", "dtype": "int8", "stride": 1}
    wide = {**common, "weight": np.full((4, channels // PACKED, side, side, PACKED), 127, np.int8)}
    first = {**common, "weight": np.ones((channels, 1, 1, 1, PACKED), np.int8)}
    layers = [
        {**layer, "bias": np.full(count, bias, np.int32), "factor": np.ones(count, np.float32)}
        for layer, count, bias in ((first, channels, 0), (wide, 4, 2**30))
    ]
    with pytest.raises(ValueError, match=r"^layers: sums of layer 1 .* too large for 32 bits"):
        _native.Network(layers, side)


def test_a_huge_bias_is_limited_so_that_no_sum_overflows() -> None:
    architecture = Architecture("any", "rnet", 3, 3, (Layer("conv", 3, 1, 8, "relu"), Layer("conv", 1, 1, 6)))
    stage = random_stage(architecture)
    for huge in (3e38, -3e38):
        stage.tensors["0.bias"][:] = stage.tensors["1.bias"][:] = huge
        layers, crops = stage.int8_layers(), noise(5, 3, 3, 3)
        for level in LEVELS:
            np.testing.assert_array_equal(native(layers, architecture, level).forward(crops), classified(layers, crops))
    stage.tensors["0.weight"][:] = 3e38
    _native.Network(stage.int8_layers(), 3)


@pytest.mark.parametrize(
    ("layers", "number"),
    [
        ((Layer("conv", 1, 1, 8, "prelu"), Layer("conv", 1, 1, 6)), 0),
        ((Layer("conv", 1, 1, 8, "none"), Layer("conv", 1, 1, 6)), 0),
        ((Layer("conv", 1, 1, 8, "relu"), Layer("pool", 1, 1), Layer("conv", 1, 1, 6)), 1),
        ((Layer("conv", 1, 1, 8, "relu"), Layer("conv", 1, 1, 10, "relu"), Layer("conv", 1, 1, 6)), 1),
        ((Layer("conv", 1, 1, 8, "relu"), Layer("conv", 1, 1, 6, "relu")), 1),
    ],
)
def test_networks_that_int8_is_not_for_are_named(layers: tuple[Layer, ...], number: int) -> None:
    architecture = Architecture("any", "pnet", 1, 1, layers)
    with pytest.raises(WeightsError, match=f"int8 is for convolutions with ReLU .* layer {number} is not"):
        random_stage(replace(architecture, layers=layers)).int8_layers()


def test_weights_without_ranges_are_named() -> None:
    stage = random_stage(ARCHITECTURES["default"]["pnet"])
    del stage.tensors[range_name(1)]
    with pytest.raises(WeightsError, match=r"there are no activation ranges, .* run `python -m train calibrate`"):
        stage.int8_layers()


# Detectors


@pytest.mark.parametrize("level", LEVELS)
def test_the_default_set_is_for_int8_and_so_is_its_detector(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where int8 is faster; elsewhere it must be asked for."""
    monkeypatch.setenv("CASCADE_SIMD", level)
    assert shipped_set().calibrated
    usual = "int8" if _native.int8_is_fast(level) else "float32"
    for precision, expected in ((None, usual), ("int8", "int8"), ("float32", "float32")):
        engine = Detector(precision=precision, threads=1).engine  # type: ignore[arg-type]
        assert isinstance(engine, NativeEngine)
        assert (engine.precision, engine.level) == (expected, level)


def test_a_set_without_ranges_computes_in_float32(random_weights: Callable[[str], Path]) -> None:
    for family in ("default", "paper"):
        weights = load_detector(random_weights(family))
        assert not weights.calibrated
        engine = Detector(weights=weights, threads=1).engine
        assert isinstance(engine, NativeEngine)
        assert engine.precision == "float32"
        with pytest.raises(WeightsError, match=r"int8"):
            Detector(weights=weights, precision="int8")


def test_a_wrong_precision_is_named() -> None:
    for wrong in ("float16", "", 8):
        with pytest.raises(ValueError, match=r"^precision: expected 'float32' or 'int8'"):
            Detector(precision=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^precision: the engine that is given has its own"):
        Detector(engine=NativeEngine(shipped_set()), precision="int8")
    with pytest.raises(ValueError, match=r"^precision: the torch engine computes in float32"):
        Detector(engine="torch", precision="int8")
    Detector(engine="torch", precision="float32")


def test_threads_and_levels_give_the_same_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.tile(portrait()[:280, :400], (2, 2, 1))
    expected = Detector(precision="int8", threads=1).detect(photo)
    assert len(expected) == 4
    for level in LEVELS:
        monkeypatch.setenv("CASCADE_SIMD", level)
        for threads in (1, 2):
            found = Detector(precision="int8", threads=threads).detect(photo)
            for name in ("boxes", "scores", "landmarks"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("zoom", [1, 2, 4])
def test_int8_is_near_float32(zoom: int) -> None:
    """Boxes and landmarks within a pixel of a face of 90, and its score within 0.03."""
    photo = portrait()[::zoom, ::zoom]
    found, expected = (Detector(precision=name, threads=1).detect(photo) for name in ("int8", "float32"))  # type: ignore[arg-type]
    assert len(found) == len(expected) == 1
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1.8)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=1.8)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=0.03)
