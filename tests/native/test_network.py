"""Networks in C, over crops and over images, against the same layers in torch."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import _native
from cascade.models.detector import StageWeights
from cascade.nn.architectures import ARCHITECTURES, STAGES, Architecture, Layer
from tests.random_networks import receptive

torch = pytest.importorskip("torch")

from cascade.nn.torch_network import CascadeNetwork, export_tensors  # noqa: E402

LEVELS = _native.simd_levels()
ALL_LEVELS = ("avx512vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "neon", "scalar")
FAMILIES = list(ARCHITECTURES)
TOLERANCE = 1e-4


def pair(architecture: Architecture, level: str, seed: int = 0) -> tuple[CascadeNetwork, _native.Network]:
    """The same random network in torch and in C. Outputs are of the order of 1."""
    torch.manual_seed(seed)
    network = CascadeNetwork(architecture).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.bias.normal_(0, 0.3)
        elif isinstance(module, torch.nn.PReLU):
            module.weight.uniform_(-0.2, 0.6)
    arrays = {name: tensor.numpy() for name, tensor in export_tensors(network).items()}
    layers = StageWeights(Path(), architecture, arrays, {}, "").layers()
    return network, _native.Network(layers, architecture.input_size, level)


@cache
def named(family: str, stage: str, level: str) -> tuple[CascadeNetwork, _native.Network]:
    return pair(ARCHITECTURES[family][stage], level)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def normalised(crops: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125


def classified(network: CascadeNetwork, crops: np.ndarray) -> np.ndarray:
    """torch's outputs (n, outputs) for crops."""
    return network(normalised(crops))[:, :, 0, 0].numpy()


def scanned(network: CascadeNetwork, image: np.ndarray, padding: int) -> np.ndarray:
    """torch's answer to `Network.dense_scan` at a threshold of minus infinity."""
    architecture = network.architecture
    window, stride = architecture.input_size, architecture.stride
    room = [side + 2 * padding - window for side in image.shape[:2]]
    if min(room) < 0:
        return np.empty((0, architecture.outputs + 1), np.float32)
    # the last windows may reach beyond the padding, so that all of the image is seen
    rows, columns = (math.ceil(each / stride) + 1 for each in room)
    after = [padding + -each % stride for each in room]
    padded = np.pad(image, ((padding, after[0]), (padding, after[1]), (0, 0)), constant_values=128)
    output = network(normalised(padded[None]))[0].numpy()
    assert output.shape[1:] == (rows, columns)
    y, x = np.divmod(np.arange(rows * columns), columns)
    head = np.stack([x, y, (output[1] - output[0]).ravel()])
    return np.concatenate([head, output[2:].reshape(-1, rows * columns)]).T.astype(np.float32)


# Crops


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_is_torchs_for_every_batch(family: str, stage: str, level: str) -> None:
    network, native = named(family, stage, level)
    crops = noise(33, native.input_size, native.input_size, 3)
    expected = classified(network, crops)
    assert expected.std() > 0.1
    for count in (0, 1, 15, 16, 17, 33):
        found = native.forward(crops[:count])
        assert (found.dtype, found.shape) == (np.float32, (count, native.outputs))
        np.testing.assert_allclose(found, expected[:count], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("level", LEVELS)
def test_a_crops_outputs_do_not_depend_on_its_neighbours(level: str) -> None:
    native = named("default", "rnet", level)[1]
    crops = noise(20, 32, 32, 3)
    together = native.forward(crops)
    alone = np.concatenate([native.forward(crop[None]) for crop in crops])
    np.testing.assert_array_equal(together, alone)


def test_crops_of_any_layout_will_do() -> None:
    native = named("default", "rnet", LEVELS[0])[1]
    crops = noise(5, 32, 32, 3)
    crops.flags.writeable = False
    for view in (crops[::-1], crops[:, ::-1], crops[:, :, :, ::-1], crops[::2]):
        np.testing.assert_array_equal(native.forward(view), native.forward(view.copy()))


def test_extreme_crops_stay_finite() -> None:
    native = named("paper", "onet", LEVELS[0])[1]
    for value in (0, 255):
        assert np.isfinite(native.forward(np.full((2, 48, 48, 3), value, np.uint8))).all()


# Dense scan


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (5, 5),
        (12, 12),
        (13, 40),
        (23, 23),
        (22, 24),
        (24, 57),
        (61, 38),
        (100, 3),
        (3, 100),
        (97, 131),
    ],
)
def test_dense_scan_is_torchs_for_any_size(family: str, level: str, shape: tuple[int, int]) -> None:
    network, native = named(family, "pnet", level)
    image = noise(*shape, 3)
    for padding in {0, network.architecture.padding, 7, 40}:
        expected = scanned(network, image, padding)
        found = native.dense_scan(image, padding, -np.inf)
        rows, columns, stride, receptive_field = native.grid(shape[1], shape[0], padding)
        assert (stride, receptive_field) == (network.architecture.stride, native.input_size)
        assert rows * columns == len(expected)
        assert (found.dtype, found.shape) == (np.float32, expected.shape)
        np.testing.assert_array_equal(found[:, :2], expected[:, :2])
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_dense_scan_sees_what_a_crop_of_the_same_window_shows(family: str, level: str) -> None:
    native = named(family, "pnet", level)[1]
    image, padding = noise(45, 60, 3), 5
    padded = np.pad(image, ((5, 9), (5, 9), (0, 0)), constant_values=128)
    found = native.dense_scan(image, padding, -np.inf)
    _, _, stride, receptive_field = native.grid(60, 45, padding)
    windows = [
        padded[y * stride :, x * stride :][:receptive_field, :receptive_field] for x, y in found[:, :2].astype(int)
    ]
    outputs = native.forward(np.array(windows))
    np.testing.assert_allclose(found[:, 2], outputs[:, 1] - outputs[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, 3:], outputs[:, 2:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_strips_of_rows_joined_are_all_rows(family: str, level: str) -> None:
    native = named(family, "pnet", level)[1]
    image = noise(150, 70, 3)
    everything = native.dense_scan(image, 4, 0.0)
    rows = native.grid(70, 150, 4)[0]
    for step in (1, 5, rows - 1, rows + 9):
        strips = [native.dense_scan(image, 4, 0.0, None, first, step) for first in range(0, rows, step)]
        np.testing.assert_array_equal(np.concatenate(strips), everything)
    assert native.dense_scan(image, 4, 0.0, None, rows, 5).shape == (0, native.outputs + 1)
    assert native.dense_scan(image, 4, 0.0, None, 0, 0).shape == (0, native.outputs + 1)
    np.testing.assert_array_equal(native.dense_scan(image, 4, 0.0, None, 3), everything[everything[:, 1] >= 3])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_dense_scan_needs_no_more_rows_than_its_windows_cover(family: str, level: str) -> None:
    native, image = named(family, "pnet", level)[1], noise(100, 40, 3)
    rows, _, stride, receptive_field = native.grid(40, 100, 4)
    for first in range(0, rows, 3):
        last = min(first + 3, rows) - 1
        top, bottom = max(0, first * stride - 4), min(100, last * stride - 4 + receptive_field)
        found = native.dense_scan(image[top:bottom], 4, -np.inf, None, first, 3, top, 100)
        np.testing.assert_array_equal(found, native.dense_scan(image, 4, -np.inf, None, first, 3))
    for some in (slice(top + 1, bottom), slice(top, bottom - 1)):
        with pytest.raises(ValueError, match=f"^image: expected rows {top} to {bottom}"):
            native.dense_scan(image[some], 4, -np.inf, None, first, 3, some.start, 100)


def test_a_long_row_needs_no_more_memory_than_a_tile() -> None:
    native, pools = named("default", "pnet", LEVELS[0])[1], [_native.ThreadPool() for _ in range(2)]
    for width, pool in zip((2_040, 60_000), pools, strict=True):
        native.dense_scan(np.zeros((30, width, 3), np.uint8), 5, np.inf, pool)
    assert pools[1].nbytes <= 1.1 * pools[0].nbytes


@pytest.mark.parametrize("level", LEVELS)
def test_dense_scan_returns_the_windows_that_reach_the_threshold(level: str) -> None:
    native = named("default", "pnet", level)[1]
    image = noise(80, 90, 3)
    everything = native.dense_scan(image, 5, -np.inf)
    for threshold in (*np.quantile(everything[:, 2], [0.1, 0.9]), everything[:, 2].max(), np.inf):
        np.testing.assert_array_equal(
            native.dense_scan(image, 5, threshold), everything[everything[:, 2] >= np.float32(threshold)]
        )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(9, 9000), (9000, 9)])
def test_dense_scan_of_very_long_images(level: str, shape: tuple[int, int]) -> None:
    """Wider than a tile, and higher than many tiles."""
    network, native = named("default", "pnet", level)
    image = noise(*shape, 3)
    np.testing.assert_allclose(native.dense_scan(image, 8, -np.inf), scanned(network, image, 8), rtol=0, atol=TOLERANCE)


def test_dense_scan_takes_views() -> None:
    native = named("default", "pnet", LEVELS[0])[1]
    image = noise(60, 60, 3)
    image.flags.writeable = False
    np.testing.assert_array_equal(native.dense_scan(image[::-1], 5, 0.0), native.dense_scan(image[::-1].copy(), 5, 0.0))


def test_one_pool_serves_every_network_and_size() -> None:
    pool = _native.ThreadPool()
    pnet, onet = (named("paper", stage, LEVELS[0])[1] for stage in ("pnet", "onet"))
    crops = noise(3, 48, 48, 3)
    for shape in [(12, 12), (90, 200), (40, 30), (13, 900)]:
        image = noise(*shape, 3)
        np.testing.assert_array_equal(pnet.dense_scan(image, 0, 0.0, pool), pnet.dense_scan(image, 0, 0.0))
        np.testing.assert_array_equal(onet.forward(crops, pool), onet.forward(crops))


@pytest.mark.parametrize("stage", ["rnet", "onet"])
def test_networks_with_partial_windows_cannot_scan(stage: str) -> None:
    with pytest.raises(ValueError, match=r"layers: the receptive field is \d+ pixels, expected"):
        named("paper", stage, LEVELS[0])[1].dense_scan(noise(99, 99, 3), 0, 0.0)


# Levels


@pytest.mark.parametrize("level", LEVELS)
def test_a_network_knows_its_level(level: str) -> None:
    native = named("default", "pnet", level)[1]
    assert (native.level, native.input_size, native.outputs) == (level, 23, 16)


def test_levels_end_with_the_one_that_every_machine_has() -> None:
    assert LEVELS[-1] == "scalar"
    assert set(LEVELS) <= set(ALL_LEVELS)
    assert sorted(LEVELS, key=ALL_LEVELS.index) == LEVELS


def test_the_environment_chooses_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASCADE_SIMD", raising=False)
    assert _native.default_simd_level() == LEVELS[0]
    for level in LEVELS:
        monkeypatch.setenv("CASCADE_SIMD", level)
        assert _native.default_simd_level() == level
        assert pair(ARCHITECTURES["default"]["pnet"], "")[1].level == level
    monkeypatch.setenv("CASCADE_SIMD", "altivec")
    with pytest.raises(ValueError, match=r"CASCADE_SIMD: expected one of .*scalar on this machine, got 'altivec'"):
        _native.default_simd_level()


# Any layers


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Up to four layers of any kernel, stride and channels, whose window is exactly the receptive field."""
    layers = []
    for _ in range(draw(st.integers(0, 3))):
        kernel, step = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        if draw(st.booleans()):
            layers.append(Layer("pool", kernel, step))
        else:
            activation = draw(st.sampled_from(["relu", "prelu", "none"]))
            layers.append(Layer("conv", kernel, step, draw(st.integers(1, 21)), activation))
    return receptive([*layers, Layer("conv", draw(st.integers(1, 3)), 1, draw(st.integers(2, 19)))])


@given(
    architectures(),
    st.sampled_from(LEVELS),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_any_layers_run_as_in_torch(
    architecture: Architecture, level: str, shape: tuple[int, int], padding: int
) -> None:
    network, native = pair(architecture, level)
    size = architecture.input_size
    crops = noise(native.outputs, size, size, 3)
    np.testing.assert_allclose(native.forward(crops), classified(network, crops), rtol=1e-4, atol=TOLERANCE)
    image = noise(*shape, 3)
    found = native.dense_scan(image, padding, -np.inf)
    np.testing.assert_allclose(found, scanned(network, image, padding), rtol=1e-4, atol=TOLERANCE)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 30), st.sampled_from(LEVELS))
def test_pools_end_where_torchs_do(kernel: int, stride: int, size: int, level: str) -> None:
    """The last window may be partial, but must begin inside, even where the pool skips pixels."""
    if size < kernel:
        return
    pool = torch.nn.MaxPool2d(kernel, stride, ceil_mode=True)
    side = pool(torch.zeros(1, 1, size, size)).shape[-1]
    if side > 16:
        return
    layers = (Layer("pool", kernel, stride), Layer("conv", side, 1, 5))
    network, native = pair(Architecture("pool", "rnet", size, size, layers), level)
    crops = noise(3, size, size, 3)
    np.testing.assert_allclose(native.forward(crops), classified(network, crops), rtol=1e-4, atol=TOLERANCE)


# Small batches


@pytest.mark.parametrize("level", _native.simd_levels())
def test_a_crop_gets_the_same_outputs_in_any_company(level: str) -> None:
    """Alone, in a small batch, in a group and behind a group: the lanes are channels or crops, the sums the same."""
    rng = np.random.default_rng(5)
    layers = [
        {
            "kind": "conv",
            "stride": stride,
            "weight": rng.normal(0, 0.1, (out, before, kernel, kernel)).astype(np.float32),
            "bias": rng.normal(0, 0.1, out).astype(np.float32),
            "slope": rng.uniform(0, 1, out).astype(np.float32),
        }
        for before, out, kernel, stride in (
            (3, 16, 3, 2),
            (16, 48, 3, 1),
            (48, 64, 3, 1),
            (64, 32, 9, 1),
            (32, 16, 1, 1),
        )
    ]
    network = _native.Network(layers, 27, level)
    crops = rng.integers(0, 256, (35, 27, 27, 3), np.uint8)
    together = network.forward(crops)
    assert together.std() > 0.01
    for count in (1, 2, 3, 5, 7, 11, 12, 13, 15, 16, 17, 33):
        np.testing.assert_array_equal(network.forward(crops[:count]), together[:count])
        np.testing.assert_array_equal(network.forward(crops[35 - count :]), together[35 - count :])
