"""Each kind of network as an ONNX model: what goes in, what comes out, and what its metadata says.

All networks take the same input ``pixels``, float32 (batch, 3, height, width): RGB values 0 to 255, not normalised.
Normalisation is a part of the model, and so is what follows the last layer: softmax, expected age, subtraction of the
mean embedding of the age, scaling to length 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cascade.exporting.layers import write_graph, write_layers
from cascade.exporting.quantized import write_int8_layers
from cascade.exporting.writer import OPSET, GraphWriter, Size
from cascade.imaging.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from cascade.imaging.pyramid import PADDING_VALUE
from cascade.landmarks import TEMPLATE
from cascade.models.attributes import AttributeTask, AttributeWeights
from cascade.models.detector import StageWeights
from cascade.models.files import WeightsError
from cascade.models.landmarks import OUTPUT, POINTS, LandmarkWeights
from cascade.models.recognizer import RecognizerWeights
from cascade.nn.architectures import LANDMARK_STAGE
from cascade.stages import landmark_template
from cascade.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

Precision = Literal["float32", "int8"]

INPUT, BATCH = "pixels", "batch"
NORMALISATION = "in the model: (pixel - 127.5) / 128"
COLOUR = "RGB, 0 to 255, float32, channels first"


def stage_model(weights: StageWeights, name: str, precision: Precision = "float32") -> ModelProto:
    """P-, R-, O- or L-Net: an output for each head, named after it. Logits, box deltas and landmarks as the heads are.

    P-Net takes images of any size from its input size on and gives a map (batch, width of the head, rows, columns);
    the others take crops and give (batch, width of the head). Input and outputs are float32 in "int8" too. Raises
    `cascade.WeightsError` for a network that int8 is not for, or not calibrated.
    """
    architecture = weights.architecture
    writer, scans = GraphWriter(), architecture.stage == "pnet"
    if precision == "int8":
        try:
            maps = write_int8_layers(writer, architecture, weights.tensors, INPUT)
        except ValueError as error:
            raise WeightsError(f"weights: {weights.path}: {error}") from None
    else:
        maps = write_layers(writer, architecture, weights.tensors, writer.normalised_pixels(INPUT))
    if not scans:
        maps = writer.add("Flatten", maps, axis=1)
    heads = {head.name: head.width for head in architecture.heads}
    if len(heads) > 1:
        widths = writer.constant("widths", list(heads.values()), np.int64)
        writer.add("Split", maps, widths, outputs=list(heads), axis=1)
    else:
        writer.add("Identity", maps, outputs=list(heads))
    sizes: list[Size] = ["rows", "columns"] if scans else []
    side: list[Size] = ["height", "width"] if scans else [architecture.input_size] * 2
    facts = {
        "input_size": architecture.input_size,
        "window": architecture.window,
        "context": architecture.context,
        "heads": heads,
        "precision": precision,
    }
    if scans:
        facts |= {"stride": architecture.stride, "padding": architecture.padding, "padding_value": PADDING_VALUE}
    if architecture.stage == LANDMARK_STAGE:
        facts["template"] = landmark_template(architecture).tolist()
    return writer.model(
        f"{name}_{architecture.stage}",
        {INPUT: [BATCH, 3, *side]},
        {head: [BATCH, width, *sizes] for head, width in heads.items()},
        _properties(f"detector/{name}/{architecture.stage}", weights, facts),
        f"cascade {__version__}, {architecture.stage} of the detector {name}",
    )


def recognizer_model(weights: RecognizerWeights) -> ModelProto:
    """Recognition: ``embedding`` (batch, D) of length 1, as `cascade.Recognizer.embed_crops` gives it without flip."""
    writer = GraphWriter()
    graph = weights.graph
    maps = write_graph(writer, graph, weights.tensors, writer.normalised_pixels(INPUT))
    rows = writer.unit_rows(writer.add("Flatten", maps["embedding"], axis=1))
    if weights.age_means is not None:
        ages = writer.add("Softmax", writer.add("Flatten", maps["age"], axis=1), axis=1)
        mean = writer.add("MatMul", ages, writer.constant("age_means", weights.age_means))
        rows = writer.unit_rows(writer.add("Sub", rows, mean))
    writer.add("Identity", rows, outputs=["embedding"])
    dimension = graph.output_shapes()["embedding"][1]
    facts: dict[str, Any] = {**_crops(graph.input_size, ARCFACE_TEMPLATE), "dimension": dimension}
    if "verification" in weights.metadata:
        facts["verification"] = weights.metadata["verification"]
    return writer.model(
        f"recognizer_{weights.name}",
        {INPUT: [BATCH, 3, graph.input_size, graph.input_size]},
        {"embedding": [BATCH, dimension]},
        _properties(f"recognizer/{weights.name}", weights, facts),
        f"cascade {__version__}, recogniser {weights.name}",
    )


def attributes_model(weights: AttributeWeights, tasks: Iterable[str]) -> ModelProto:
    """Attributes: for each task with classes ``TASK_probabilities`` (batch, classes), for one with numbers ``TASK``.

    A number, (batch,), is what `cascade.attributes.Attributes.values` holds: the expected age in years as ``age``.
    """
    graph, tensors = weights.part(list(tasks))
    described = {task.name: task for task in weights.tasks}
    writer, outputs, classes = GraphWriter(), dict[str, list[Size]](), dict[str, Any]()
    maps = write_graph(writer, graph, tensors, writer.normalised_pixels(INPUT))
    for name, x in maps.items():
        task = described[name]
        outputs |= _write_task(writer, task, writer.add("Flatten", x, axis=1))
        if task.kind != "regression":
            classes[name] = list(task.class_names)
    facts = {**_crops(graph.input_size, ARCFACE_TEMPLATE), "classes": classes}
    return writer.model(
        f"attributes_{weights.name}",
        {INPUT: [BATCH, 3, graph.input_size, graph.input_size]},
        outputs,
        _properties(f"attributes/{weights.name}", weights, facts),
        f"cascade {__version__}, attributes {weights.name}: as perceived from the photo",
    )


def _write_task(writer: GraphWriter, task: AttributeTask, x: str) -> dict[str, list[Size]]:
    """What follows the last layer of a task; returns its outputs and their shapes."""
    if task.kind == "regression":
        share = writer.add("Clip", x, writer.constant("zero", 0.0), writer.constant("one", 1.0))
        scaled = writer.add("Mul", share, writer.constant(f"{task.name}.range", task.high - task.low))
        moved = writer.add("Add", scaled, writer.constant(f"{task.name}.low", task.low))
        writer.add("Reshape", moved, writer.constant("flat", [-1], np.int64), outputs=[task.name])
        return {task.name: [BATCH]}
    probabilities = f"{task.name}_probabilities"
    writer.add("Softmax", x, outputs=[probabilities], axis=1)
    found: dict[str, list[Size]] = {probabilities: [BATCH, task.outputs]}
    if task.kind == "ordinal":
        numbers = writer.constant(f"{task.name}.numbers", (task.low + np.arange(task.outputs))[:, None])
        expected = writer.add("MatMul", probabilities, numbers)
        writer.add("Reshape", expected, writer.constant("flat", [-1], np.int64), outputs=[task.name])
        found[task.name] = [BATCH]
    return found


def landmarks_model(weights: LandmarkWeights) -> ModelProto:
    """68 landmarks: ``points`` (batch, 68, 2) in pixels of the crop."""
    writer, side = GraphWriter(), weights.graph.input_size
    maps = write_graph(writer, weights.graph, weights.tensors, writer.normalised_pixels(INPUT))
    shares = writer.add("Add", writer.reshape(maps[OUTPUT], 0, POINTS, 2), _mean_shape(writer, weights))
    writer.add("Mul", shares, writer.constant("side", side), outputs=[OUTPUT])
    name = weights.path.stem
    return writer.model(
        f"landmarks_{name}",
        {INPUT: [BATCH, 3, side, side]},
        {OUTPUT: [BATCH, POINTS, 2]},
        _properties(f"landmarks/{name}", weights, _crops(side, TEMPLATE * (side / TEMPLATE_SIZE))),
        f"cascade {__version__}, {POINTS} landmarks",
    )


def _mean_shape(writer: GraphWriter, weights: LandmarkWeights) -> str:
    return writer.constant("mean_shape", weights.tensors["mean_shape"])


def _crops(side: int, template: np.ndarray) -> dict[str, Any]:
    """What a network for aligned crops says of them."""
    return {"input_size": side, "template": np.round(template, 4).tolist()}


def _properties(
    network: str,
    weights: StageWeights | RecognizerWeights | AttributeWeights | LandmarkWeights,
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """The metadata of a model: text as it is, all else as JSON."""
    found: dict[str, Any] = {
        "network": network,
        "version": __version__,
        "licence": str(weights.metadata.get("licence", "not stated")),
        "data": str(weights.metadata.get("data", "not stated")),
        "weights_sha256": weights.sha256,
        "opset": OPSET,
        "pixels": COLOUR,
        "normalisation": NORMALISATION,
        **facts,
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
