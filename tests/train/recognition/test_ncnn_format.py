"""Networks in ncnn's format: each kind of layer by hand or against torch, whole networks against ncnn, errors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cascade.imaging.alignment import align
from cascade.nn.graphs import IMAGE, Graph
from cascade.nn.torch_graph import from_tensors
from tests.photos import portrait, portrait_faces
from tests.train.packed_faces import IN_FLOAT32, READS_CROPS, Layer, save_ncnn, tiny_teacher
from train.detection.augment import normalise
from train.recognition.ncnn_format import NcnnError, read_ncnn
from train.recognition.teacher import Teacher

SHARED = Path(__file__).parents[3] / "shared"
MOBILEFACENET = "peers/mobilefacenet/mobilefacenet"

COLOURS: Layer = ("Convolution colours 1 1 crop colours 0=2 1=1 5=1 6=6", (IN_FLOAT32, np.arange(6), np.ones(2)))
"""A convolution of one position to two channels, with bias."""


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Random weights whose sums over an input are about 1."""
    return np.random.default_rng([seed, *shape]).normal(size=shape) / np.prod(shape[1:]) ** 0.5


def positive(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, count]).uniform(0.5, 2, count)


def read(folder: Path, *layers: Layer, output: str = "out") -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph and arrays of these layers over the normalised crop."""
    return read_ncnn(*save_ncnn(folder, "network", (*READS_CROPS, *layers)), output)


def crops(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def computed(folder: Path, x: torch.Tensor, *layers: Layer) -> torch.Tensor:
    """What the network that is read makes of x."""
    graph, arrays = read(folder, *layers)
    assert {name: array.shape for name, array in arrays.items()} == graph.tensor_shapes()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    network = from_tensors(graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
    return network(x)[graph.outputs["embedding"]]


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------------------------------------
# layers


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (5, 3, 2), (4, 4, 0)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_convolution(tmp_path, kernel, stride, padding, biased):
    weight, bias = numbers(4, 3, kernel, kernel), numbers(4)
    values = f"0=4 1={kernel} 2=1 3={stride} 4={padding} 5={int(biased)} 6={weight.size}"
    arrays = (IN_FLOAT32, weight, bias) if biased else (IN_FLOAT32, weight)
    found = computed(tmp_path, crops(), (f"Convolution c 1 1 crop out {values}", arrays))
    expected = functional.conv2d(crops(), tensor(weight), tensor(bias) if biased else None, stride, padding)
    close(found, expected)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (7, 1, 0)])
def test_a_depthwise_convolution(tmp_path, kernel, stride, padding):
    weight, bias = numbers(3, kernel, kernel), numbers(3)
    values = f"0=3 1={kernel} 3={stride} 4={padding} 5=1 6={weight.size} 7=3"
    found = computed(tmp_path, crops(), (f"ConvolutionDepthWise c 1 1 crop out {values}", (IN_FLOAT32, weight, bias)))
    close(found, functional.conv2d(crops(), tensor(weight)[:, None], tensor(bias), stride, padding, groups=3))


def test_numbers_that_are_not_given_have_defaults(tmp_path):
    """A stride of 1, no padding and no bias."""
    graph, arrays = read(tmp_path, ("Convolution c 1 1 crop out 0=2 1=3 6=54", (IN_FLOAT32, numbers(2, 3, 3, 3))))
    (node,) = graph.nodes
    assert (node.kernel, node.stride, node.padding, node.channels, node.input) == (3, 1, 0, 2, IMAGE)
    assert arrays["0.bias"].tolist() == [0, 0]


def test_a_batch_normalisation_by_hand(tmp_path):
    """Slope 2 over a deviation of √(0.9375 + 0.0625), mean 0.25, bias 1; without epsilon √0.25."""
    one: Layer = ("Convolution c 1 1 crop c 0=1 1=1 5=1 6=3", (IN_FLOAT32, np.array([1, 0, -3]), np.array([0.5])))
    values = tuple(np.array([value]) for value in (2, 0.25, 0.9375, 1))
    _, arrays = read(tmp_path, one, ("BatchNorm n 1 1 c out 0=1 1=0.0625", values))
    assert arrays["0.weight"].ravel().tolist() == [2, 0, -6]
    assert arrays["0.bias"].tolist() == [(0.5 - 0.25) * 2 + 1]
    values = tuple(np.array([value]) for value in (2, 0.25, 0.25, 1))
    _, arrays = read(tmp_path, one, ("BatchNorm n 1 1 c out 0=1", values))
    assert arrays["0.weight"].ravel().tolist() == [4, 0, -12]
    assert arrays["0.bias"].tolist() == [(0.5 - 0.25) * 4 + 1]


def test_batch_normalisation_behind_each_kind_of_convolution(tmp_path):
    weights = [numbers(4, 3, 16, 16), numbers(4, 3, 3), numbers(5, 4, 5, 5)]
    norms = [(positive(n, 1), numbers(n, seed=2), positive(n, 3), numbers(n, seed=4)) for n in (4, 4, 5)]
    found = computed(
        tmp_path,
        crops(),
        ("Convolution a 1 1 crop a 0=4 1=16 3=16 5=0 6=3072", (IN_FLOAT32, weights[0])),
        ("BatchNorm b 1 1 a b 0=4 1=0.01", norms[0]),
        ("ConvolutionDepthWise c 1 1 b c 0=4 1=3 5=0 6=36 7=4", (IN_FLOAT32, weights[1])),
        ("BatchNorm d 1 1 c d 0=4 1=0.01", norms[1]),
        ("InnerProduct e 1 1 d e 0=5 1=0 2=500", (IN_FLOAT32, weights[2])),
        ("BatchNorm f 1 1 e out 0=5 1=0.01", norms[2]),
    )
    x = crops()
    for weight, (slope, mean, variance, bias), options in zip(
        weights, norms, ({"stride": 16}, {"groups": 4}, {}), strict=True
    ):
        x = functional.conv2d(x, tensor(weight).reshape(len(weight), -1, *weight.shape[-2:]), **options)
        x = functional.batch_norm(x, tensor(mean), tensor(variance), tensor(slope), tensor(bias), eps=0.01)
    close(found, x)


def test_a_prelu_with_a_slope_for_each_channel(tmp_path):
    weight, slopes = numbers(4, 3, 3, 3), np.array([0.25, -0.5, 0, 1])
    found = computed(
        tmp_path,
        crops(),
        ("Convolution c 1 1 crop c 0=4 1=3 5=0 6=108", (IN_FLOAT32, weight)),
        ("PReLU p 1 1 c out 0=4", (slopes,)),
    )
    close(found, functional.prelu(functional.conv2d(crops(), tensor(weight)), tensor(slopes)))


def test_the_sum_of_two_maps(tmp_path):
    """A shortcut around two convolutions, and one around that."""
    weights = [numbers(4, 3, 8, 8), numbers(6, 4, 1, 1), numbers(4, 6, 1, 1), numbers(4, 4, 1, 1)]
    slopes = numbers(6)
    found = computed(
        tmp_path,
        crops(),
        ("Convolution a 1 1 crop a 0=4 1=8 3=8 5=0 6=768", (IN_FLOAT32, weights[0])),
        ("Split s 1 2 a a1 a2", ()),
        ("Convolution b 1 1 a1 b 0=6 1=1 5=0 6=24", (IN_FLOAT32, weights[1])),
        ("PReLU p 1 1 b p 0=6", (slopes,)),
        ("Convolution c 1 1 p c 0=4 1=1 5=0 6=24", (IN_FLOAT32, weights[2])),
        ("BinaryOp plus 2 1 c a2 sum 0=0", ()),
        ("Split t 1 2 sum t1 t2", ()),
        ("Convolution d 1 1 t1 d 0=4 1=1 5=0 6=16", (IN_FLOAT32, weights[3])),
        ("BinaryOp again 2 1 d t2 out", ()),  # a sum, if no operation is named
    )
    a = functional.conv2d(crops(), tensor(weights[0]), stride=8)
    b = functional.prelu(functional.conv2d(a, tensor(weights[1])), tensor(slopes))
    total = functional.conv2d(b, tensor(weights[2])) + a
    close(found, functional.conv2d(total, tensor(weights[3])) + total)


def test_an_inner_product_goes_through_channels_then_rows(tmp_path):
    first, weight, bias = numbers(4, 3, 16, 16), numbers(5, 4 * 7 * 7), numbers(5)
    found = computed(
        tmp_path,
        crops(),
        ("Convolution a 1 1 crop a 0=4 1=16 3=16 5=0 6=3072", (IN_FLOAT32, first)),
        ("InnerProduct f 1 1 a out 0=5 1=1 2=980", (IN_FLOAT32, weight, bias)),
    )
    maps = functional.conv2d(crops(), tensor(first), stride=16)
    close(found.flatten(1), functional.linear(maps.flatten(1), tensor(weight), tensor(bias)))


def test_the_output_is_the_blob_of_that_name(tmp_path):
    second: Layer = ("Convolution d 1 1 colours d 0=3 1=1 5=0 6=6", (IN_FLOAT32, np.arange(6)))
    graph, _ = read(tmp_path, COLOURS, second, output="colours")
    assert (graph.outputs, graph.input_size, graph.name) == ({"embedding": 0}, 112, "network")
    graph, _ = read(tmp_path, COLOURS, second, output="d")
    assert graph.outputs == {"embedding": 1}


def test_heights_may_be_told_beside_widths(tmp_path):
    weight = numbers(4, 3, 3, 3)
    alike = "0=4 1=3 11=3 2=1 3=2 13=2 4=1 14=1 6=108 9=0"
    found = computed(tmp_path, crops(), (f"Convolution c 1 1 crop out {alike}", (IN_FLOAT32, weight)))
    close(found, functional.conv2d(crops(), tensor(weight), stride=2, padding=1))


def test_empty_lines_do_not_count(tmp_path):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    param.write_text(param.read_text().replace("\n", "\n\n").replace("\n\n", "\n", 1))
    assert len(read_ncnn(param, weights, "colours")[0].nodes) == 1


# --------------------------------------------------------------------------------------------------
# errors


SQUARE: Layer = ("Convolution c 1 1 crop c 0=3 1=1 5=0 6=9", (IN_FLOAT32, np.ones(9)))
SHARED_MAP: tuple[Layer, ...] = (SQUARE, ("Split s 1 2 c left right", ()))
UNLIKE_A_GRAPHS = "layer c is not square, is dilated or has an activation of its own"


def dense(values: str, count: int) -> tuple[Layer, ...]:
    """One convolution."""
    return ((f"Convolution c 1 1 crop out {values}", (IN_FLOAT32, np.ones(count))),)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((("Pooling pool 1 1 crop out 0=1 4=1", ()),), "layer pool is a Pooling, expected one of Input, Split"),
        ((("Convolution c 1 1 crop out zero=1", ()),), "a line that is no layer"),
        ((("Convolution c 1 1 crop out 0=1=2", ()),), "a line that is no layer"),
        ((("Convolution c 1 1 crop out -23310=1,0.1", ()),), "a line that is no layer"),
        ((("Split s 1 1 nothing out", ()),), "layer s reads 'nothing', which no layer before it makes"),
        ((("Convolution c 0 1 out 0=2 1=1 6=6", ()),), "layer c reads .*which no layer before it makes"),
        (dense("0=2 1=1 3=inf 6=6", 6), "a line that is no layer"),
        (dense("0=nan 1=1 6=6", 6), "a line that is no layer"),
        (dense("0=2 1=3 11=1 6=18", 18), UNLIKE_A_GRAPHS),
        (dense("0=2 1=1 3=2 13=1 6=6", 6), UNLIKE_A_GRAPHS),
        (dense("0=2 1=1 13=2 3=1 6=6", 6), UNLIKE_A_GRAPHS),
        (dense("0=2 1=3 4=1 14=0 6=54", 54), UNLIKE_A_GRAPHS),
        (dense("0=2 1=3 2=2 6=54", 54), UNLIKE_A_GRAPHS),
        (dense("0=2 1=1 6=6 9=1", 6), UNLIKE_A_GRAPHS),
        (
            (("ConvolutionDepthWise c 1 1 crop out 0=3 1=1 6=3 7=3 9=2", (IN_FLOAT32, np.ones(3))),),
            UNLIKE_A_GRAPHS,
        ),
        (dense("0=2 1=1 6=5", 5), "layer c has 5 weights, which do not fit its shape"),
        (dense("0=0 1=1 6=0", 0), "channels 0, expected 1"),
        (dense("0=2 1=17 6=1734", 1734), "a conv with kernel 17, expected 1 to 16"),
        (dense("0=2 1=1 3=0 6=6", 6), "a conv with stride 0"),
        (dense("0=2 1=1 4=-233 6=6", 6), "a conv with padding -233"),
        (
            (("ConvolutionDepthWise c 1 1 crop out 0=6 1=1 6=6 7=3", (IN_FLOAT32, np.ones(6))),),
            "layer c is in groups of several channels",
        ),
        (
            (("ConvolutionDepthWise c 1 1 crop out 0=3 1=1 6=9 7=1", (IN_FLOAT32, np.ones(9))),),
            "layer c is in groups of several channels",
        ),
        (
            (SQUARE, ("InnerProduct f 1 1 c out 0=2 1=0 2=6", (IN_FLOAT32, np.ones(6)))),
            "layer f has 6 weights, which do not fit its shape",
        ),
        ((("BatchNorm n 1 1 crop out 0=3", (np.ones(12),)),), "layer n does not come behind a convolution"),
        ((("PReLU p 1 1 crop out 0=3", (np.ones(3),)),), "layer p does not come behind a convolution"),
        (
            (SQUARE, ("PReLU p 1 1 c p 0=3", (np.ones(3),)), ("BatchNorm n 1 1 p out 0=3", (np.ones(12),))),
            "layer n does not come behind a convolution",
        ),
        (
            (SQUARE, ("PReLU p 1 1 c p 0=3", (np.ones(3),)), ("BinaryOp b 2 1 p crop out 0=0", ())),
            "layer b does not come behind a convolution",
        ),
        (
            (SQUARE, ("BinaryOp b 2 1 c crop d 0=0", ()), ("PReLU p 1 1 d out 0=3", (np.ones(3),))),
            "layer p does not come behind a convolution",
        ),
        ((*SHARED_MAP, ("PReLU p 1 1 left out 0=3", (np.ones(3),))), "layer p does not come behind a convolution"),
        ((*SHARED_MAP, ("BatchNorm n 1 1 right out 0=3", (np.ones(12),))), "layer n does not come behind"),
        ((*SHARED_MAP, ("BinaryOp b 2 1 left crop out 0=0", ())), "layer b does not come behind a convolution"),
        ((SQUARE, ("BatchNorm n 1 1 c out 0=2", (np.ones(8),))), "layer n is for 2 channels, expected 3"),
        ((SQUARE, ("BatchNorm n 1 1 c out 0=4", (np.ones(16),))), "layer n is for 4 channels, expected 3"),
        ((SQUARE, ("PReLU p 1 1 c out 0=1", (np.ones(1),))), "layer p is for 1 channels, expected 3"),
        ((COLOURS, ("BinaryOp b 2 1 colours crop out 0=0", ())), "adds a map of 112 × 112 × 3 to one of 112 × 112 × 2"),
        ((SQUARE, ("BinaryOp b 2 1 c crop out 0=2", ())), "layer b is neither the sum of two maps nor the usual"),
        ((SQUARE, ("BinaryOp b 1 1 c out 0=2 1=1 2=0.0078125", ())), "layer b is neither the sum"),
        ((COLOURS,), "expected a blob 'out'"),
        ((("Split s 1 1 crop out", ()),), "nodes"),
        ((COLOURS, ("Split s 1 1 crop out", ())), "output 'embedding' of node -1"),
    ],
)
def test_networks_that_no_graph_is(tmp_path, layers, message):
    with pytest.raises(NcnnError, match=rf"network\.param: .*{message}"):
        read(tmp_path, *layers)


@pytest.mark.parametrize("line", ["Convolution c 1", "Convolution c one 1 crop out 0=1", "Convolution"])
def test_a_line_without_its_numbers_is_shown(tmp_path, line):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    param.write_text(f"{param.read_text()}{line}\n")
    with pytest.raises(NcnnError, match=f"network\\.param: a line that is no layer: '{line}'"):
        read_ncnn(param, weights, "colours")


@pytest.mark.parametrize("values", ["0=1 1=1 2=128", "0=2 1=1 2=0.00392", "0=2 1=1 2=127.5", "0=0 1=1 2=-127.5", "0=3"])
def test_another_normalisation_is_refused(tmp_path, values):
    layers: list[Layer] = [READS_CROPS[0], (f"BinaryOp other 1 1 data crop {values}", ()), COLOURS]
    with pytest.raises(NcnnError, match="layer other is neither the sum of two maps nor the usual normalisation"):
        read_ncnn(*save_ncnn(tmp_path, "network", layers), "colours")


@pytest.mark.parametrize("kept", [(), (1,), (2,)])
def test_the_whole_normalisation_is_expected(tmp_path, kept):
    """Neither the difference nor the scale alone will do."""
    layers: list[Layer] = [("Input data 0 1 data", ())]
    layers += [(READS_CROPS[at][0].replace("1 1 minus", "1 1 data"), ()) for at in kept]
    layers.append(("Convolution c 1 1 data out 0=2 1=1 6=6", (IN_FLOAT32, np.ones(6))))
    with pytest.raises(NcnnError, match=r"network\.param: expected the normalisation \(pixel - 127\.5\) / 128"):
        read_ncnn(*save_ncnn(tmp_path, "network", layers), "out")


@pytest.mark.parametrize("text", ["", "7767518\n1 1\n", "\n7767517\n", "nothing"])
def test_another_format_is_refused(tmp_path, text):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    param.write_text(text)
    with pytest.raises(NcnnError, match=r"network\.param: not of ncnn's format"):
        read_ncnn(param, weights, "colours")
    param.write_bytes(bytes(range(256)))
    with pytest.raises(NcnnError, match="not of ncnn's format"):
        read_ncnn(param, weights, "colours")


def test_weights_of_another_length_are_refused(tmp_path):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    whole = weights.read_bytes()
    assert len(whole) == 4 * (1 + 6 + 2)
    for length in range(len(whole)):
        weights.write_bytes(whole[:length])
        with pytest.raises(NcnnError, match="the weights end too early"):
            read_ncnn(param, weights, "colours")
    for more in (b"\0", b"\0" * 4):
        weights.write_bytes(whole + more)
        with pytest.raises(NcnnError, match=r"network\.bin: longer than the layers of network\.param need"):
            read_ncnn(param, weights, "colours")


@pytest.mark.parametrize("flag", [0x01306B47, 0x000D4B38, 0x0002C056, 1])
def test_weights_in_another_precision_are_refused(tmp_path, flag):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    weights.write_bytes(np.uint32(flag).tobytes() + weights.read_bytes()[4:])
    with pytest.raises(NcnnError, match="weights in another precision than float32"):
        read_ncnn(param, weights, "colours")


def test_files_that_are_missing(tmp_path):
    param, weights = save_ncnn(tmp_path, "network", [*READS_CROPS, COLOURS])
    for pair in ((tmp_path / "none", weights), (param, tmp_path / "none"), (tmp_path, weights)):
        with pytest.raises(OSError, match=r"none|directory"):
            read_ncnn(*pair, "colours")


# --------------------------------------------------------------------------------------------------
# whole networks


def of_ncnn(param: Path, weights: Path, crops: np.ndarray, output: str = "fc1") -> np.ndarray:
    """What the package ncnn makes of crops (n, 112, 112, 3), or a skipped test."""
    ncnn: Any = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(param)) == net.load_model(str(weights)) == 0
    found, kind = [], ncnn.Mat.PixelType.PIXEL_RGB
    for crop in crops:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat.from_pixels(np.ascontiguousarray(crop), kind, 112, 112))
        _, out = extractor.extract(output)
        found.append(np.array(out, np.float32).ravel())
    return np.stack(found)


def bottlenecks(folder: Path) -> tuple[Path, Path]:
    """A network of all kinds of layers."""
    layers: list[Layer] = [*READS_CROPS]

    def normalised(name: str, channels: int, slopes: bool) -> None:
        values = (positive(channels, 1), numbers(channels, seed=2), positive(channels, 3), numbers(channels, seed=4))
        layers.append((f"BatchNorm {name}_n 1 1 {name} {name}_n 0={channels} 1=0.001", values))
        if slopes:
            layers.append((f"PReLU {name}_p 1 1 {name}_n {name}_p 0={channels}", (numbers(channels, seed=5),)))

    def window(name: str, before: str, channels: int, each: int, values: str, groups: bool = False) -> None:
        weight = numbers(channels, each)
        kind, more = ("ConvolutionDepthWise", f" 7={channels}") if groups else ("Convolution", "")
        line = f"{kind} {name} 1 1 {before} {name} 0={channels} {values} 6={weight.size}{more}"
        layers.append((line, (IN_FLOAT32, weight, numbers(channels, seed=6))))

    window("first", "crop", 8, 27, "1=3 3=2 4=1 5=1")
    normalised("first", 8, slopes=True)
    layers.append(("Split s 1 2 first_p left right", ()))
    window("wide", "left", 12, 8, "1=1 5=1")
    normalised("wide", 12, slopes=True)
    window("each", "wide_p", 12, 9, "1=3 3=1 4=1 5=1", groups=True)
    normalised("each", 12, slopes=True)
    window("back", "each_p", 8, 12, "1=1 5=1")
    normalised("back", 8, slopes=False)
    layers.append(("BinaryOp plus 2 1 back_n right plus 0=0", ()))
    window("small", "plus", 10, 8 * 64, "1=8 3=8 5=1")
    normalised("small", 10, slopes=True)
    layers.append(("InnerProduct full 1 1 small_p full 0=6 1=1 2=2940", (IN_FLOAT32, numbers(6, 490), numbers(6))))
    values = (positive(6, 1), numbers(6, seed=2), positive(6, 3), numbers(6, seed=4))
    layers.append(("BatchNorm fc1 1 1 full fc1 0=6 1=0.001", values))
    return save_ncnn(folder, "bottlenecks", layers)


@pytest.mark.parametrize("network", [tiny_teacher, bottlenecks])
def test_a_network_computes_what_ncnn_does(tmp_path, network: Callable[[Path], tuple[Path, Path]]):
    files, pixels = network(tmp_path), np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    expected = of_ncnn(*files, pixels)
    teacher = Teacher(*files)
    inputs = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    found = teacher.network(inputs)[teacher.embedding].flatten(1)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.fixture(scope="module")
def mobilefacenet() -> tuple[Path, Path]:
    """The public network, or a skipped test."""
    param, weights = (SHARED / f"{MOBILEFACENET}.{kind}" for kind in ("param", "bin"))
    if not (param.exists() and weights.exists()):
        pytest.skip(f"reference data not here: ../shared/{MOBILEFACENET}.param and .bin")
    return param, weights


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """A face, the same darker, the same moved by a pixel, and noise."""
    face = align(portrait(), portrait_faces().landmarks)[0]
    noise = np.random.default_rng(0).integers(0, 256, face.shape, np.uint8)
    return np.stack([face, face // 2, np.roll(face, 1, axis=1), noise])


def test_a_public_network(mobilefacenet, faces):
    teacher = Teacher(*mobilefacenet)
    assert teacher.dimension == 128
    assert teacher.network.graph.weights() == pytest.approx(1e6, rel=0.1)
    stages = teacher.last_of([(56, 64), (28, 64), (14, 128), (7, 128), (7, 320)])
    assert stages[0] is None and stages[4] is None
    assert all(a < b for a, b in pairwise(stages[1:4]))
    similarity = teacher.embed(faces) @ teacher.embed(faces).T
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
    assert similarity[0, 1] > 0.8 and similarity[0, 2] > 0.8
    assert similarity[0, 3] < 0.4


def test_a_public_network_computes_what_ncnn_does(mobilefacenet, faces):
    expected = of_ncnn(*mobilefacenet, faces)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found, _ = Teacher(*mobilefacenet)(normalise(torch.from_numpy(faces).permute(0, 3, 1, 2).float()))
    np.testing.assert_allclose((found.numpy() * expected).sum(1), 1, atol=1e-4)
