"""Layers in ncnn's format: each computes in a graph what it says."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn import functional

from cascade.nn.graphs import IMAGE
from tests.train.ncnn_layers import COLOURS, close, computed, crops, numbers, positive, read, tensor
from tests.train.packed_faces import IN_FLOAT32, READS_CROPS, Layer, save_ncnn
from train.recognition.ncnn_format import read_ncnn

"""A convolution of one position to two channels, with bias."""


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
