"""Weight files: what was saved is what is loaded, and nothing else is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from cascade import _native
from cascade.models.detector import (
    FOLDER,
    FORMAT,
    DetectorWeights,
    load_detector,
    load_stage,
    save_stage,
    shipped_detectors,
)
from cascade.models.files import METADATA_ENTRY, SHIPPED, WeightsError
from cascade.nn.architectures import ARCHITECTURES, STAGES, Architecture, Layer
from cascade.nn.torch_network import export_tensors, from_tensors

TINY = Architecture(
    "tiny", "rnet", 9, 6, (Layer("conv", 3, 2, 8, "prelu"), Layer("pool", 2, 2), Layer("conv", 2, 1, 6))
)


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (8, 3, 3, 3), "0.bias": 8, "0.slope": 8, "2.weight": (6, 8, 2, 2), "2.bias": 6}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def save(path: Path, architecture: Any = None, format: str = FORMAT, **changes: Any) -> Path:
    """A file as `save_stage` writes it, but with the changes; a tensor of None is left out."""
    metadata = {METADATA_ENTRY: json.dumps({"format": format, "architecture": architecture or TINY.to_dict()})}
    kept = {name: value for name, value in {**tensors(), **changes}.items() if value is not None}
    save_file(kept, str(path), metadata=metadata)
    return path


# Round trips


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rnet.safetensors"
    written = save_stage(path, TINY, tensors(), {"licence": "MIT", "data": "none"})
    stage = load_stage(path, "rnet")
    assert (stage.path, stage.architecture, stage.sha256) == (path, TINY, written)
    assert (stage.metadata["licence"], stage.metadata["data"]) == ("MIT", "none")
    assert stage.tensors.keys() == tensors().keys()
    for name, value in tensors().items():
        assert stage.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(stage.tensors[name], value)
    assert [file.name for file in path.parent.iterdir()] == ["rnet.safetensors"]


def test_saving_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rnet.safetensors"
    path.write_bytes(b"something else")
    save_stage(path, TINY, tensors(), {})
    assert load_stage(path).architecture == TINY


def test_half_precision_is_widened_on_loading(tmp_path: Path) -> None:
    halves = {name: value.astype(np.float16) for name, value in tensors().items()}
    save_stage(tmp_path / "rnet.safetensors", TINY, halves, {})
    stage = load_stage(tmp_path / "rnet.safetensors")
    for name, value in halves.items():
        assert stage.tensors[name].dtype == np.float32
        np.testing.assert_array_equal(stage.tensors[name], value.astype(np.float32))


def test_layers_are_what_the_native_engine_takes(tmp_path: Path) -> None:
    save_stage(tmp_path / "rnet.safetensors", TINY, tensors(), {})
    layers = load_stage(tmp_path / "rnet.safetensors").layers()
    assert [layer["kind"] for layer in layers] == ["conv", "pool", "conv"]
    np.testing.assert_array_equal(layers[0]["slope"], tensors()["0.slope"])
    np.testing.assert_array_equal(layers[2]["slope"], np.ones(6))
    network = _native.Network(layers, 9)
    assert (network.outputs, network.input_size) == (6, 9)


def test_relu_has_no_slope(tmp_path: Path) -> None:
    relu = replace(TINY, layers=(replace(TINY.layers[0], activation="relu"), *TINY.layers[1:]))
    values = tensors()
    del values["0.slope"]
    save_stage(tmp_path / "rnet.safetensors", relu, values, {})
    np.testing.assert_array_equal(load_stage(tmp_path / "rnet.safetensors").layers()[0]["slope"], np.zeros(8))


@pytest.mark.parametrize("family", list(ARCHITECTURES))
def test_every_network_survives_its_file(family: str, random_weights: Callable[[str], Path]) -> None:
    weights = load_detector(random_weights(family))
    for stage in STAGES:
        architecture = weights[stage].architecture
        assert architecture == ARCHITECTURES[family][stage]
        loaded = {name: torch.tensor(value) for name, value in weights[stage].tensors.items()}
        again = export_tensors(from_tensors(architecture, loaded))
        for name, value in weights[stage].tensors.items():
            np.testing.assert_array_equal(again[name].numpy(), value)


# Sets


def test_a_folder_is_a_set(random_weights: Callable[[str], Path]) -> None:
    folder = random_weights("default")
    for given in (folder, str(folder)):
        weights = load_detector(given)
        assert isinstance(weights, DetectorWeights)
        assert weights.name == folder.name
        assert tuple(weights.stages) == tuple(ARCHITECTURES["default"]) == (*STAGES, "lnet")
        assert len(weights.sha256) == 64
    assert tuple(load_detector(random_weights("paper")).stages) == STAGES
    assert load_detector(folder).sha256 != load_detector(random_weights("paper")).sha256


def test_a_set_in_training_holds_its_first_stages(tmp_path: Path) -> None:
    save_stage(tmp_path / "pnet.safetensors", replace(TINY, stage="pnet"), tensors(), {})
    assert tuple(load_detector(tmp_path, ("pnet",)).stages) == ("pnet",)
    with pytest.raises(WeightsError, match=r"rnet\.safetensors is missing"):
        load_detector(tmp_path)


@pytest.mark.parametrize("name", ["no such set", "", "/nowhere/at/all"])
def test_a_set_that_is_not_there(name: str) -> None:
    with pytest.raises(WeightsError, match=r"weights: .*" + name):
        load_detector(name) if name else load_detector(Path(name) / "nowhere")


def test_shipped_sets_load() -> None:
    assert shipped_detectors()[0] == "default"
    for name in shipped_detectors():
        assert tuple(load_detector(name).stages)[:3] == STAGES
    assert load_detector().sha256 == load_detector("default").sha256


def test_a_shipped_set_uses_the_files_of_the_default_one() -> None:
    """No network is stored twice; a set keeps its own name and hash."""
    default, accurate = load_detector(), load_detector("accurate")
    assert [stage for stage in accurate.stages if accurate[stage].path != default[stage].path] == ["onet"]
    assert accurate.name == "accurate" and accurate.sha256 != default.sha256
    assert load_detector(FOLDER / "accurate").sha256 == accurate.sha256
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in SHIPPED.rglob("*.safetensors")]
    assert len(hashes) == len(set(hashes))


def test_only_shipped_sets_share_files(tmp_path: Path) -> None:
    save_stage(tmp_path / "accurate/onet.safetensors", replace(TINY, stage="onet"), tensors(), {})
    with pytest.raises(WeightsError, match=r"pnet\.safetensors is missing; the shipped set accurate has that of def"):
        load_detector(tmp_path / "accurate")


def test_weights_errors_are_value_errors() -> None:
    assert issubclass(WeightsError, ValueError)


# Files that are not


def refused(path: Path, message: str, stage: Any = None) -> None:
    """Loading the file names it and says what is wrong."""
    with pytest.raises(WeightsError) as caught:
        load_stage(path, stage)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "pnet.safetensors", "is missing")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"\xff" * 64, b"PK\x03\x04 a pickle in a zip", b"\x80\x04\x95.", b"{}" * 99]
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pnet.safetensors"
    path.write_bytes(content)
    refused(path, "cannot be read as safetensors")


def test_truncated_files(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "rnet.safetensors"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "cannot be read as safetensors")


def test_files_with_something_appended(tmp_path: Path) -> None:
    path = save(tmp_path / "rnet.safetensors")
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "cannot be read as safetensors")


def test_flipped_bytes_are_noticed_or_harmless(tmp_path: Path) -> None:
    """Damage to the header never gets past; damage to the numbers changes the hash."""
    path = save(tmp_path / "rnet.safetensors")
    whole, before = path.read_bytes(), load_stage(path).sha256
    for at in range(0, len(whole), 61):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert load_stage(path).sha256 != before
        except WeightsError as error:
            assert str(path) in str(error)  # noqa: PT017  (either outcome will do)


@pytest.mark.parametrize("format", ["", "cascade-detector-2", "pt"])
def test_other_formats(tmp_path: Path, format: str) -> None:
    refused(save(tmp_path / "rnet.safetensors", format=format), f"has format {format!r}, expected {FORMAT!r}")


def test_no_metadata(tmp_path: Path) -> None:
    save_file(tensors(), str(tmp_path / "rnet.safetensors"))
    refused(tmp_path / "rnet.safetensors", "has format None")


def test_another_stage(tmp_path: Path) -> None:
    refused(save(tmp_path / "pnet.safetensors"), "holds rnet, expected pnet", "pnet")


@pytest.mark.parametrize(
    "architecture",
    [[1], {"layers": []}, {**TINY.to_dict(), "layers": 3}, {**TINY.to_dict(), "layers": [{"size": 3}]}, "words"],
)
def test_metadata_that_is_no_architecture(tmp_path: Path, architecture: Any) -> None:
    refused(save(tmp_path / "rnet.safetensors", architecture), "describes no valid architecture")


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "rnet.safetensors"
    save_file(tensors(), str(path), metadata={METADATA_ENTRY: "{"})
    refused(path, "is not a JSON object")


def with_layer(index: int, **changes: Any) -> dict[str, Any]:
    layers = [dict(layer) for layer in TINY.to_dict()["layers"]]
    layers[index].update(changes)
    return {"layers": layers}


NONSENSE: dict[str, dict[str, Any]] = {
    "no layers": {"layers": []},
    "another kind": with_layer(1, kind="norm"),
    "another activation": with_layer(2, activation="tanh"),
    "a pool of nothing": with_layer(1, kernel=0),
    "a stride of nothing": with_layer(0, stride=0),
    "half a stride": with_layer(0, stride=1.5),
    "a pool in words": with_layer(1, kernel="2"),
    "layers that end on many positions": {"input_size": 99},
    "no input": {"input_size": -1},
    "no window": {"window": 0},
    "a window of nan": {"window": float("nan")},
    "another stage": {"stage": "qnet"},
}


@pytest.mark.parametrize("changes", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_architecture_that_makes_no_sense(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(save(tmp_path / "rnet.safetensors", {**TINY.to_dict(), **changes}), "architecture")


def test_a_number_type_that_numpy_lacks(tmp_path: Path) -> None:
    halves = {name: torch.tensor(value).bfloat16() for name, value in tensors().items()}
    metadata = {METADATA_ENTRY: json.dumps({"format": FORMAT, "architecture": TINY.to_dict()})}
    save_torch_file(halves, str(tmp_path / "rnet.safetensors"), metadata=metadata)
    refused(tmp_path / "rnet.safetensors", "")


@pytest.mark.parametrize("name", list(tensors()))
def test_a_tensor_is_missing(tmp_path: Path, name: str) -> None:
    refused(save(tmp_path / "rnet.safetensors", **{name: None}), f"tensor {name} expected shape")


@pytest.mark.parametrize("name", list(tensors()))
def test_a_tensor_has_another_shape(tmp_path: Path, name: str) -> None:
    value = tensors()[name]
    for wrong in (value[:-1], value[..., None], value.reshape(-1)[:1]):
        refused(save(tmp_path / "rnet.safetensors", **{name: wrong}), f"tensor {name} expected shape")


@pytest.mark.parametrize("name", list(tensors()))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tensor_is_not_finite(tmp_path: Path, name: str, bad: float) -> None:
    value = tensors()[name]
    value.flat[-1] = bad
    refused(save(tmp_path / "rnet.safetensors", **{name: value}), f"tensor {name} is not finite")
