"""Files in ncnn's format that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.ncnn_layers import COLOURS, read
from tests.train.packed_faces import IN_FLOAT32, READS_CROPS, Layer, save_ncnn
from train.recognition.ncnn_format import NcnnError, read_ncnn

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
        ((("Split s 1 1 nothing out", ()),), "layer s reads 'nothing', which no layer before it computes"),
        ((("Convolution c 0 1 out 0=2 1=1 6=6", ()),), "layer c reads .*which no layer before it computes"),
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
