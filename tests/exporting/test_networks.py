"""Exported networks in ONNX Runtime against the native engine in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the extra [onnx]")

from benchmarks.random_graph import light_graph, random_tensors
from cascade import WeightsError, _native
from cascade.attributes import AttributeEstimator
from cascade.exporting import networks
from cascade.exporting.layers import write_graph
from cascade.exporting.writer import IR_VERSION, OPSET, GraphWriter
from cascade.landmarks import LandmarkEstimator
from cascade.models.attributes import AttributeTask, AttributeWeights, load_attributes
from cascade.models.detector import StageWeights, load_detector, shipped_detectors
from cascade.models.landmarks import load_landmarks
from cascade.models.recognizer import load_recognizer
from cascade.nn.graphs import Graph, GraphBuilder, native_nodes
from cascade.recognize import Recognizer
from tests.exporting.models import noise, outputs_of
from tests.photos import portrait

TOLERANCE = 1e-4

STAGES = [(name, stage) for name in shipped_detectors() for stage in load_detector(name).stages]


def metadata(model: Any) -> dict[str, Any]:
    """Text as it is, JSON as its values."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {entry.key: value(entry.value) for entry in model.metadata_props}


def agrees(stored: StageWeights, seed: int = 0, count: int = 3) -> None:
    side = stored.architecture.input_size
    crops = noise(count, side, side, 3, seed=seed)
    expected = _native.Network(stored.layers(), side).forward(crops)
    found = outputs_of(networks.stage_model(stored, "any"), crops)
    assert list(found) == [head.name for head in stored.architecture.heads]
    joined = np.concatenate([each.reshape(count, -1) for each in found.values()], axis=1)
    np.testing.assert_allclose(joined, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_stages_give_the_native_outputs(name: str, stage: Any) -> None:
    agrees(load_detector(name)[stage])


@pytest.mark.parametrize("family", ["default", "paper"])
def test_random_stages_give_the_native_outputs(family: str, random_weights: Callable[[str], Path]) -> None:
    """The paper's networks have PReLU, and pools whose last window is partial."""
    for stored in load_detector(random_weights(family)).stages.values():
        agrees(stored, seed=1, count=1)


@settings(max_examples=15)
@given(width=st.integers(23, 70), height=st.integers(23, 70), seed=st.integers(0, 1000))
def test_pnet_scans_images_of_any_size(width: int, height: int, seed: int) -> None:
    stored = load_detector()["pnet"]
    image = noise(height, width, 3, seed=seed)
    native = _native.Network(stored.layers(), stored.architecture.input_size)
    expected = native.dense_scan(image, 0, -np.inf)
    found = outputs_of(networks.stage_model(stored, "default"), image[None])
    face, box = (found[name][0].transpose(1, 2, 0) for name in ("face", "box"))
    # the engine's last windows may reach beyond the image, which the network has to be given padded for that
    rows, columns = face.shape[:2]
    expected = expected.reshape(*native.grid(width, height, 0)[:2], -1)[:rows, :columns]
    assert expected.shape[:2] == (rows, columns)
    np.testing.assert_allclose(face[..., 1] - face[..., 0], expected[..., 2], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(box, expected[..., 3:], rtol=0, atol=TOLERANCE)


def test_recognition_gives_the_recognizers_embeddings() -> None:
    weights = load_recognizer()
    crops = noise(3, 112, 112, 3)
    found = outputs_of(networks.recognizer_model(weights), crops)
    expected = Recognizer(weights, threads=1).embed_crops(crops)
    np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=TOLERANCE)


def test_recognition_without_age_means() -> None:
    weights = load_recognizer()
    tensors = {name: array for name, array in weights.tensors.items() if name != "age_means"}
    plain = type(weights)(**{**vars(weights), "tensors": tensors})
    crops = noise(2, 112, 112, 3)
    found = outputs_of(networks.recognizer_model(plain), crops)["embedding"]
    np.testing.assert_allclose(found, Recognizer(plain, threads=1).embed_crops(crops), rtol=0, atol=TOLERANCE)
    assert np.abs(found - outputs_of(networks.recognizer_model(weights), crops)["embedding"]).max() > 0.01


def test_attributes_give_the_estimators_answers() -> None:
    weights = load_attributes()
    crops = noise(3, 112, 112, 3)
    tasks = [task.name for task in weights.tasks]
    model = networks.attributes_model(weights, tasks)
    found = outputs_of(model, crops)
    expected = AttributeEstimator(weights, tasks, threads=1).predict_crops(crops)
    names = [f"{task}_probabilities" for task in expected.probabilities]
    assert sorted(found) == sorted([*names, *expected.values])
    for task, shares in expected.probabilities.items():
        np.testing.assert_allclose(found[f"{task}_probabilities"], shares, rtol=0, atol=TOLERANCE)
    for task, numbers in expected.values.items():
        np.testing.assert_allclose(found[task], numbers, rtol=0, atol=1e-3)  # years
    assert metadata(model)["classes"] == {task: list(classes) for task, classes in expected.classes.items()}


def test_numbers_between_whole_ones_have_the_estimators_names() -> None:
    """No shipped network has them."""
    weights = load_attributes()
    tasks = tuple(
        replace(task, low=0.5, high=task.outputs - 0.5) if task.kind == "ordinal" else task for task in weights.tasks
    )
    weights = replace(weights, tasks=tasks)
    classes = metadata(networks.attributes_model(weights, ["age"]))["classes"]["age"]
    found = AttributeEstimator(weights, ["age"], threads=1).predict_crops(noise(1, 112, 112, 3))
    assert classes == list(found.classes["age"])
    assert classes[:2] == ["0.5", "1.5"]


def test_a_regression_is_clipped_to_its_range() -> None:
    """No shipped network has one."""
    task = AttributeTask("lean", "regression", low=-90, high=90)
    builder = GraphBuilder()
    builder.conv(1, kernel=16, stride=16)
    builder.conv(1, kernel=7)
    graph = builder.build("any", 112, {task.name: 1})
    tensors = {"0.weight": np.full((1, 3, 16, 16), 2e-3, np.float32), "0.bias": np.zeros(1, np.float32)}
    tensors |= {"1.weight": np.full((1, 1, 7, 7), 1 / 49, np.float32), "1.bias": np.full(1, 0.5, np.float32)}
    weights = AttributeWeights(Path("any"), "any", graph, (task,), tensors, {}, "0" * 64)
    crops = np.stack([np.full((112, 112, 3), value, np.uint8) for value in (0, 127, 140, 255)])
    found = outputs_of(networks.attributes_model(weights, [task.name]), crops)[task.name]
    estimator = AttributeEstimator(weights, [task.name], threads=1)
    np.testing.assert_allclose(found, estimator.predict_crops(crops).values[task.name], rtol=0, atol=1e-3)
    assert (found[0], found[-1]) == (-90, 90)


def test_68_landmarks_are_the_estimators() -> None:
    weights = load_landmarks()
    side = weights.graph.input_size
    crops = noise(3, side, side, 3)
    found = outputs_of(networks.landmarks_model(weights), crops)["points"]
    expected = LandmarkEstimator(weights, threads=1).predict_crops(crops)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)  # pixels


def in_both(graph: Graph, crops: np.ndarray) -> None:
    tensors = random_tensors(graph)
    writer = GraphWriter()
    shapes = graph.output_shapes()
    for name, x in write_graph(writer, graph, tensors, writer.normalised_pixels("pixels")).items():
        writer.add("Identity", x, outputs=[name])
    sizes = {name: ["batch", channels, side, side] for name, (side, channels) in shapes.items()}
    model = writer.model("any", {"pixels": ["batch", 3, *crops.shape[1:3]]}, sizes, {}, "")
    native = _native.Graph(native_nodes(graph, tensors), graph.input_size, list(graph.outputs.values()))
    for found, expected in zip(outputs_of(model, crops).values(), native.run(crops), strict=True):
        rows = found.transpose(0, 2, 3, 1).reshape(len(crops), -1)
        np.testing.assert_allclose(rows, expected, rtol=0, atol=TOLERANCE * max(1, np.abs(expected).max()))


def test_all_kinds_of_nodes_give_the_native_outputs() -> None:
    in_both(light_graph(), noise(1, 112, 112, 3))


@settings(max_examples=20)
@given(side=st.integers(5, 17), bins=st.lists(st.integers(1, 5), min_size=1, max_size=3), rest=st.booleans())
def test_pools_of_any_side_and_gates(side: int, bins: list[int], rest: bool) -> None:
    """Windows of a pool overlap where its bins do not divide the side."""
    builder = GraphBuilder()
    first = builder.conv(6, 3, padding=1, activation="relu")
    pooled = builder.pyramid_pool(tuple(bins))
    channel = builder.conv(6, activation="sigmoid")
    spatial = builder.spatial_gate(3, after=first)
    gated = builder.gate(first, channel, spatial, rest)
    in_both(builder.build("any", side, {"pooled": pooled, "gated": gated}), noise(2, side, side, 3))


@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet", "lnet"])
def test_int8_is_as_near_to_float32_as_the_native_int8(stage: Any) -> None:
    stored = load_detector()[stage]
    side = stored.architecture.input_size
    corners = np.random.default_rng(0).uniform(0, 300, (40, 2))
    boxes = np.hstack([corners, corners + np.linspace(20, 200, 40)[:, None]])
    crops = _native.cut([portrait()], [(1, 1)], boxes, side)
    exact = _native.Network(stored.layers(), side).forward(crops)
    native = _native.Network(stored.int8_layers(), side).forward(crops)
    model = networks.stage_model(stored, "default", "int8")
    found = np.concatenate([each.reshape(40, -1) for each in outputs_of(model, crops).values()], axis=1)
    assert 0 < np.abs(found - exact)[:, 2:].mean() < 2 * np.abs(native - exact)[:, 2:].mean()
    assert np.abs(found - exact)[:, :2].mean() < 0.15  # logits
    assert len(model.SerializeToString()) < 0.4 * len(networks.stage_model(stored, "default").SerializeToString())


def test_weights_of_int8_cannot_overflow_16_bits() -> None:
    from onnx import numpy_helper

    for stored in load_detector().stages.values():
        arrays = networks.stage_model(stored, "default", "int8").graph.initializer
        weights = [numpy_helper.to_array(array) for array in arrays if array.name.endswith(".weight")]
        assert all(array.dtype == np.int8 and np.abs(array.astype(int)).max() <= 64 for array in weights)


def test_int8_needs_activation_ranges() -> None:
    stored = load_detector()["pnet"]
    tensors = {name: array for name, array in stored.tensors.items() if not name.endswith(".range")}
    for weights in (load_detector("paper")["pnet"], type(stored)(**{**vars(stored), "tensors": tensors})):
        with pytest.raises(WeightsError, match=r"int8 is for convolutions|there are no activation ranges"):
            networks.stage_model(weights, "any", "int8")


def test_metadata_says_what_a_port_needs() -> None:
    weights = load_detector()
    model = networks.stage_model(weights["pnet"], "default")
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    found = metadata(model)
    assert found["network"] == "detector/default/pnet"
    assert found["weights_sha256"] == weights["pnet"].sha256
    assert found["licence"] == weights["pnet"].metadata["licence"]
    assert found["normalisation"] == "in the model: (pixel - 127.5) / 128"
    assert (found["input_size"], found["window"], found["stride"], found["padding"]) == (23, 12, 4, 5)
    assert np.shape(metadata(networks.stage_model(weights["lnet"], "default"))["template"]) == (5, 2)


def test_damaged_weights_are_refused_before_they_become_a_model(tmp_path: Path) -> None:
    file = tmp_path / "light.safetensors"
    file.write_bytes(load_recognizer().path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        networks.recognizer_model(load_recognizer(file))
