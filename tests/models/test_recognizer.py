"""Weight files of recognition networks: what was saved is what is loaded, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.random_graph import random_tensors
from cascade import _native
from cascade.models import recognizer as recognition_weights
from cascade.models.files import METADATA_ENTRY, WeightsError
from cascade.models.recognizer import FORMAT, load_recognizer, save_recognizer, shipped_recognizers
from cascade.nn.graphs import IMAGE, Graph, Node

NODES = (
    Node("conv", IMAGE, 3, 2, 1, 8, "prelu"),
    Node("depthwise", 0, 4),
    Node("conv", 1, channels=5),
    Node("conv", 1, channels=3),
)
TINY = Graph("tiny", 8, NODES, {"embedding": 2, "age": 3})
RECORD = {"format": FORMAT, "graph": TINY.to_dict()}


def tensors() -> dict[str, np.ndarray]:
    return random_tensors(TINY)


def save(path: Path, record: Any = None, **changes: Any) -> Path:
    """A file as `save_recognizer` writes it, but with the changes; a tensor of None is left out."""
    kept = {name: value for name, value in {**tensors(), **changes}.items() if value is not None}
    save_file(kept, str(path), metadata={METADATA_ENTRY: json.dumps(RECORD if record is None else record)})
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "some.safetensors"
    written = save_recognizer(path, TINY, tensors(), {"licence": "MIT", "figures": {"lfw": 0.99}}, half=False)
    for given in (path, str(path)):
        weights = load_recognizer(given)
        assert (weights.path, weights.name, weights.graph, weights.sha256) == (path, "some", TINY, written)
        assert (weights.metadata["licence"], weights.metadata["figures"]) == ("MIT", {"lfw": 0.99})
        assert weights.tensors.keys() == tensors().keys()
        for name, value in tensors().items():
            assert weights.tensors[name].dtype == np.float32
            np.testing.assert_array_equal(weights.tensors[name], value)
    assert [file.name for file in path.parent.iterdir()] == ["some.safetensors"]


def test_half_precision_is_the_default_and_widened(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_recognizer(path, TINY, tensors(), {})
    halves = path.stat().st_size
    for name, value in load_recognizer(path).tensors.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, tensors()[name].astype(np.float16).astype(np.float32))
    save_recognizer(path, TINY, tensors(), {}, half=False)
    assert path.stat().st_size - halves == pytest.approx(2 * TINY.weights(), abs=64)


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    assert save_recognizer(paths[0], TINY, tensors(), {"x": 1}) == save_recognizer(paths[1], TINY, tensors(), {"x": 1})


def test_nodes_are_what_the_native_engine_takes(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_recognizer(path, TINY, tensors(), {})
    weights = load_recognizer(path)
    network = _native.Graph(weights.nodes(), TINY.input_size, [TINY.outputs["embedding"], TINY.outputs["age"]])
    assert network.outputs == (5, 3)
    found = network.run(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8))
    assert found[0].std() > 0


# Finding


def test_shipped_networks_load() -> None:
    for name in shipped_recognizers():
        assert load_recognizer(name).name == name


def test_a_name_is_a_shipped_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition_weights, "FOLDER", tmp_path / "recognition")
    assert shipped_recognizers() == []
    for name in ("heavy", "light", "another"):
        save_recognizer(tmp_path / "recognition" / f"{name}.safetensors", replace(TINY, name=name), tensors(), {})
    assert shipped_recognizers() == ["light", "another", "heavy"]
    assert load_recognizer().name == load_recognizer(None).graph.name == "light"
    assert load_recognizer("heavy").graph.name == "heavy"
    with pytest.raises(WeightsError, match=r"expected a safetensors file or one of light, another, heavy, got 'huge'"):
        load_recognizer("huge")


@pytest.mark.parametrize("weights", [3, [], b"light"])
def test_weights_of_other_types(weights: Any) -> None:
    with pytest.raises(TypeError, match=r"^weights: expected a name, a path or loaded weights, got "):
        load_recognizer(weights)


# Files that are not


def refused(path: Path, message: str) -> None:
    """Loading the file names it and says what is wrong."""
    with pytest.raises(WeightsError) as caught:
        load_recognizer(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "expected a safetensors file")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"PK\x03\x04 a pickle in a zip", b"\x80\x04\x95."])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(content)
    refused(path, "cannot be read as safetensors")


def test_truncated_files(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "some.safetensors"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "cannot be read as safetensors")


@pytest.mark.parametrize("format", ["", "cascade-detector-1", None])
def test_other_formats(tmp_path: Path, format: Any) -> None:
    path = save(tmp_path / "some.safetensors", {**RECORD, "format": format})
    refused(path, f"has format {format!r}, expected {FORMAT!r}")


def test_no_metadata(tmp_path: Path) -> None:
    save_file(tensors(), str(tmp_path / "some.safetensors"))
    refused(tmp_path / "some.safetensors", "has format None")


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    save_file(tensors(), str(tmp_path / "some.safetensors"), metadata={METADATA_ENTRY: "{"})
    refused(tmp_path / "some.safetensors", "is not a JSON object")


NONSENSE: dict[str, Any] = {
    "none": None,
    "a list": [1],
    "words": "graph",
    "no nodes": {**TINY.to_dict(), "nodes": []},
    "a node of words": {**TINY.to_dict(), "nodes": ["conv"]},
    "outputs of a list": {**TINY.to_dict(), "outputs": [2, 3]},
    "no embedding": {**TINY.to_dict(), "outputs": {"age": 3}},
    "no age": {**TINY.to_dict(), "outputs": {"embedding": 2}},
    "an embedding of many positions": {**TINY.to_dict(), "outputs": {"embedding": 0, "age": 3}},
}


@pytest.mark.parametrize("graph", NONSENSE.values(), ids=NONSENSE.keys())
def test_metadata_that_is_no_graph(tmp_path: Path, graph: Any) -> None:
    refused(save(tmp_path / "some.safetensors", {**RECORD, "graph": graph}), "describes no valid graph")


def test_metadata_without_a_graph(tmp_path: Path) -> None:
    refused(save(tmp_path / "some.safetensors", {"format": FORMAT}), "describes no valid graph")


@pytest.mark.parametrize("name", list(TINY.tensor_shapes()))
def test_a_tensor_is_wrong(tmp_path: Path, name: str) -> None:
    path, value = tmp_path / "some.safetensors", tensors()[name]
    for wrong in (None, value[:-1], value[..., None], value.reshape(-1)[:1]):
        refused(save(path, **{name: wrong}), f"tensor {name} expected shape")
    for bad in (np.nan, np.inf):
        value.flat[-1] = bad
        refused(save(path, **{name: value}), f"tensor {name} is not finite")


# Saving what could not be loaded


def test_saving_refuses_what_could_not_be_loaded(tmp_path: Path) -> None:
    path, values = tmp_path / "some.safetensors", tensors()
    with pytest.raises(WeightsError, match=r"tensor 3\.bias expected shape"):
        save_recognizer(path, TINY, {name: value for name, value in values.items() if name != "3.bias"}, {})
    values["3.bias"][0] = 1e9  # beyond half precision
    with pytest.raises(WeightsError, match=r"tensor 3\.bias is not finite"):
        save_recognizer(path, TINY, values, {})
    with pytest.raises(WeightsError, match="no output 'age', but embedding"):
        save_recognizer(path, replace(TINY, outputs={"embedding": 2}), tensors(), {})
    assert not path.exists()
    save_recognizer(path, TINY, values, {}, half=False)
    assert load_recognizer(path).tensors["3.bias"][0] == np.float32(1e9)
