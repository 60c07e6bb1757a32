"""The weight files of attributes and 68 landmarks: the shipped ones, and files that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cascade import _native
from cascade.models.attributes import AttributeTask, load_attributes, save_attributes
from cascade.models.files import WeightsError
from cascade.models.landmarks import load_landmarks
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder, native_nodes
from cascade.nn.torch_graph import from_tensors

MOST_BYTES = 3_000_000  # of all that says something of a face


def tiny() -> Graph:
    builder = GraphBuilder()
    builder.conv(4, 3, 4, 1, "relu", after=IMAGE)
    pooled = builder.pyramid_pool((1,))
    outputs = {"mood": builder.conv(2, after=pooled), "age": builder.conv(11, after=pooled)}
    return builder.build("tiny", 112, outputs)


TASKS = (AttributeTask("mood", "classification", ("good", "bad")), AttributeTask("age", "ordinal", (), 0, 10))


def tensors(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.3, shape).astype(np.float16) for name, shape in graph.tensor_shapes().items()}


def test_what_is_saved_is_loaded_again(tmp_path):
    graph = tiny()
    sha256 = save_attributes(tmp_path / "x.safetensors", graph, TASKS, tensors(graph), {"licence": "none"})
    found = load_attributes(tmp_path / "x.safetensors")
    assert (found.graph, found.tasks, found.sha256, found.metadata["licence"]) == (graph, TASKS, sha256, "none")
    part, arrays = found.part(["age"])
    assert list(part.outputs) == ["age"] and set(arrays) == set(part.tensor_shapes())


def test_classes_of_a_task_have_names():
    assert TASKS[0].class_names == ("good", "bad")
    assert AttributeTask("age", "ordinal", (), 0, 2).class_names == ("0", "1", "2")
    assert AttributeTask("rating", "ordinal", (), 0.5, 2.5).class_names == ("0.5", "1.5", "2.5")
    assert AttributeTask("lean", "regression", (), 0, 1).class_names == ()


@pytest.mark.parametrize(
    "tasks",
    [
        TASKS[:1],
        (*TASKS, AttributeTask("smile", "classification", ("no", "yes"))),
        (TASKS[0], AttributeTask("age", "ordinal", (), 0, 20)),
    ],
)
def test_tasks_and_outputs_must_agree(tmp_path, tasks):
    with pytest.raises(WeightsError, match="output"):
        save_attributes(tmp_path / "x.safetensors", tiny(), tasks, tensors(tiny()), {})


def test_weights_that_are_none(tmp_path):
    with pytest.raises(WeightsError, match="expected a safetensors file or one of"):
        load_attributes("nothing")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    for load in (load_attributes, load_landmarks):
        with pytest.raises(WeightsError, match="cannot be read"):
            load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("load", [load_attributes, load_landmarks])
def test_the_shipped_networks_give_in_c_what_they_give_in_torch(load):
    weights = load()
    graph = weights.graph
    crops = np.random.default_rng(1).integers(0, 256, (3, graph.input_size, graph.input_size, 3)).astype(np.uint8)
    native = _native.Graph(native_nodes(graph, weights.tensors), graph.input_size, list(graph.outputs.values()))
    network = from_tensors(graph, {name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    inputs = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128
    expected = network(inputs)
    for (name, node), found in zip(graph.outputs.items(), native.run(crops), strict=True):
        np.testing.assert_allclose(found, expected[node].flatten(1).numpy(), atol=1e-4, rtol=1e-4, err_msg=name)


def test_the_shipped_networks_are_small():
    attributes, landmarks = load_attributes(), load_landmarks()
    assert attributes.path.stat().st_size + landmarks.path.stat().st_size <= MOST_BYTES
    assert [task.name for task in attributes.tasks] == ["age", "gender", "ethnicity", "expression", "smile"]
    for weights in (attributes, landmarks):
        assert weights.path.with_suffix(".md").read_text().count(weights.sha256) == 1
        assert weights.metadata["licence"] and weights.metadata["command"]
