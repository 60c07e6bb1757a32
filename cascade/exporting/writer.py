"""Writes ONNX graphs operator by operator. Each method adds operators and returns the name of what they compute.

`OPSET` is the oldest version of the operators in which all that the networks need exists. Older runtimes read older
versions, and newer ones read all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError("ONNX files need the package onnx: python -m pip install 'cascade-faces[onnx]'") from error

from cascade.nn.quantization import PIXEL_SCALE, PIXEL_ZERO
from cascade.version import __version__

OPSET, IR_VERSION = 13, 7
"""The versions of the operators and of the file format that are written."""

Size = int | str
"""A size of an input or output; a name where it is free."""


class GraphWriter:
    """An ONNX graph in the making. Its tensors are float32; the first axis is the batch."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Adds an operator; returns the name of its first output, which is made up unless ``outputs`` names it."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        named = list(outputs) or [name]
        self._nodes.append(helper.make_node(operator, list(inputs), named, name, **attributes))
        return named[0]

    def constant(self, name: str, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """Adds an array under that name, or finds it if it was added before."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values, dtype), name)
        return name

    def reshape(self, x: str, *sizes: int) -> str:
        """The values in another shape; 0 is the size that the axis has, -1 what is left."""
        name = f"shape_{'_'.join(map(str, sizes))}".replace("-", "m")
        return self.add("Reshape", x, self.constant(name, sizes, np.int64))

    def part(self, x: str, axis: int, first: int, end: int) -> str:
        """The values from ``first`` on and before ``end`` along an axis."""
        limits = [self.constant(f"index_{value}", [value], np.int64) for value in (first, end, axis)]
        return self.add("Slice", x, *limits)

    def activation(self, x: str, kind: str, slope: np.ndarray | None, name: str) -> str:
        """An activation of `cascade.nn`; PReLU has a slope for each channel of a feature map."""
        if kind == "prelu":
            assert slope is not None
            return self.add("PRelu", x, self.constant(f"{name}.slope", slope.reshape(-1, 1, 1)))
        return x if kind == "none" else self.add({"relu": "Relu", "sigmoid": "Sigmoid"}[kind], x)

    def convolution(
        self,
        x: str,
        name: str,
        weight: np.ndarray,
        bias: np.ndarray,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> str:
        """A convolution of a weight (out, in, k, k), with zero padding."""
        kernel = weight.shape[-1]
        arrays = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        sizes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.add("Conv", x, *arrays, group=groups, **sizes)

    def normalised_pixels(self, x: str) -> str:
        """Pixels 0 to 255 as the networks take them; float32 holds all values exactly."""
        centred = self.add("Sub", x, self.constant("pixel_zero", PIXEL_ZERO))
        return self.add("Mul", centred, self.constant("pixel_scale", PIXEL_SCALE))

    def quantize(self, x: str, step: float) -> str:
        """Values as uint8, in steps from 0 on."""
        return self.add("QuantizeLinear", x, *self._steps(step, 0))

    def dequantize(self, x: str, step: float, zero: int = 0) -> str:
        """uint8 as values; ``zero`` is the integer that stands for 0."""
        return self.add("DequantizeLinear", x, *self._steps(step, zero))

    def filters(self, x: str, name: str, scales: np.ndarray) -> str:
        """Integers (out, …) as values, with a scale for each filter."""
        return self.add("DequantizeLinear", x, self.constant(name, scales), axis=0)

    def _steps(self, step: float, zero: int) -> list[str]:
        return [self.constant(f"step_{step:.6g}", step), self.constant(f"zero_{zero}", zero, np.uint8)]

    def unit_rows(self, x: str) -> str:
        """Rows (n, d) scaled to length 1."""
        return self.add("Div", x, self.add("ReduceL2", x, axes=[1], keepdims=1))

    def model(
        self,
        name: str,
        inputs: Mapping[str, Sequence[Size]],
        outputs: Mapping[str, Sequence[Size]],
        properties: Mapping[str, str],
        description: str,
    ) -> onnx.ModelProto:
        """The graph as a checked model, with metadata. All inputs and outputs are float32."""
        before, after = (
            [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, list(shape)) for tensor, shape in some.items()]
            for some in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, before, after, list(self._constants.values()))
        found = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="cascade",
            producer_version=__version__,
            doc_string=description,
        )
        helper.set_model_props(found, dict(properties))
        onnx.checker.check_model(found, full_check=True)
        return found
