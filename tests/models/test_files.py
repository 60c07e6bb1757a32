"""Files of weights that were made to do harm, or were changed after they were shipped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cascade import Detector, Recognizer, WeightsError
from cascade.aging import AgeSynthesizer
from cascade.anonymize import FaceFinder
from cascade.attributes import AttributeEstimator
from cascade.landmarks import LandmarkEstimator
from cascade.models import files
from cascade.models.detector import FORMAT as DETECTOR
from cascade.models.detector import load_detector, load_stage
from cascade.models.files import LARGEST, METADATA_ENTRY, SHIPPED, SUMS, read_tensors, write_tensors
from cascade.models.recognizer import FORMAT as RECOGNIZER
from cascade.models.recognizer import load_recognizer
from cascade.nn.architectures import DEFAULT
from tests.random_networks import save_random_weights
from tests.random_recognizer import save_random_recognizer

NESTED = "[" * 100_000 + "]" * 100_000


def save(path: Path, header: str) -> Path:
    save_file({"0.bias": np.zeros(3, np.float32)}, str(path), metadata={METADATA_ENTRY: header})
    return path


def refused(load: Callable[[], Any], *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load()
    message = str(caught.value)
    assert len(message) <= 300
    for word in words:
        assert word in message


@pytest.mark.parametrize("load", [load_stage, load_recognizer])
@pytest.mark.parametrize("header", [NESTED, '{"format": ' + NESTED + "}", "[]", "null", "3", '"words"', "{" * 5000])
def test_metadata_of_any_form(tmp_path: Path, load: Callable[[Path], Any], header: str) -> None:
    path = save(tmp_path / "x.safetensors", header)
    refused(lambda: load(path), "x.safetensors", "metadata")


@pytest.mark.parametrize("value", [[[1]], {"a": 1}, 3, "x" * 10_000])
def test_formats_of_any_kind(tmp_path: Path, value: Any) -> None:
    path = save(tmp_path / "x.safetensors", json.dumps({"format": value}))
    refused(lambda: load_stage(path), "x.safetensors", "format")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES = [
    float("inf"), float("-inf"), float("nan"), 1e308, 10**400, -1, 0, 0.5, True, None, "", "9" * 5000, "x" * 100_000,
    [], {}, [[]], [None] * 100, {"a": {}}, nested(900),
]  # fmt: skip


def replaced(value: Any, by: Any) -> list[Any]:
    """``value`` with each one of its parts replaced, once each."""
    found = [by]
    if isinstance(value, dict):
        for key, part in value.items():
            found += [{**value, key: each} for each in replaced(part, by)]
    elif isinstance(value, list):
        for at, part in enumerate(value[:3]):
            found += [[*value[:at], each, *value[at + 1 :]] for each in replaced(part, by)]
    return found


@pytest.mark.parametrize("by", VALUES, ids=lambda value: repr(value)[:12])
def test_architectures_of_any_values(tmp_path: Path, by: Any) -> None:
    good = DEFAULT["pnet"].to_dict() | {"heads": [{"name": "face", "width": 6, "loss": "l2", "weight": 1.0}]}
    for architecture in replaced(json.loads(json.dumps(good)), by):
        path = save(tmp_path / "x.safetensors", json.dumps({"format": DETECTOR, "architecture": architecture}))
        refused(lambda: load_stage(path), "safetensors")  # noqa: B023


@pytest.mark.parametrize("by", VALUES, ids=lambda value: repr(value)[:12])
def test_graphs_of_any_values(tmp_path: Path, by: Any) -> None:
    good = load_recognizer().graph.to_dict()
    good["nodes"] = good["nodes"][:3]
    good["outputs"] = {"embedding": 2, "age": 1}
    for graph in replaced(json.loads(json.dumps(good)), by):
        path = save(tmp_path / "x.safetensors", json.dumps({"format": RECOGNIZER, "graph": graph}))
        refused(lambda: load_recognizer(path), "safetensors")  # noqa: B023


@pytest.mark.parametrize("name", ["x" * 300, "x" * 100_000, "a/" * 5000, "nul\0", "\udc80", "~nobody/x", "\x1b[31m"])
def test_names_that_no_file_can_have(name: str) -> None:
    for make in (load_detector, load_stage, load_recognizer, lambda name: Detector(weights=name), Recognizer):
        refused(lambda: make(name), "weights: ")  # noqa: B023


def test_files_that_are_too_large_or_no_files(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as sparse:
        sparse.truncate(LARGEST + 1)
    refused(lambda: load_stage(path), "1024 MiB")
    refused(lambda: load_stage(tmp_path), "cannot be read")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
        refused(lambda: load_recognizer(tmp_path / "pipe.safetensors"), "expected a file")


@pytest.mark.parametrize("values", [np.zeros(2, bool), np.zeros(2, np.complex64)])
def test_tensors_that_are_no_numbers(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"0.bias": values}, str(path), metadata={METADATA_ENTRY: json.dumps({"format": DETECTOR})})
    refused(lambda: load_stage(path), "0.bias")


def test_numbers_beyond_float32(tmp_path: Path) -> None:
    sha256 = write_tensors(tmp_path / "x.safetensors", {"0.bias": np.array([1e300, 1.0])}, {"format": DETECTOR})
    tensors, _, again = read_tensors(tmp_path / "x.safetensors", DETECTOR)
    assert np.isinf(tensors["0.bias"][0])
    assert again == sha256


def test_arrays_belong_to_the_caller(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", {"0.bias": np.ones(3, np.float32)}, {"format": DETECTOR})
    tensors, _, _ = read_tensors(tmp_path / "x.safetensors", DETECTOR)
    assert tensors["0.bias"].flags.writeable


# What is shipped


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped weights that takes their place."""
    copy = tmp_path / "weights"
    shutil.copytree(SHIPPED, copy)
    monkeypatch.setattr(files, "SHIPPED", copy)
    return copy


def test_every_shipped_file_is_pinned() -> None:
    listed = {line.split()[1] for line in (SHIPPED / SUMS).read_text().splitlines()}
    hint = "in cascade/models/weights: sha256sum */*.safetensors */*/*.safetensors > SHA256SUMS"
    assert listed == {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*.safetensors")}, hint
    for name in sorted(listed):
        files._check_shipped(SHIPPED / name, files.hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest())


@pytest.mark.parametrize("name", ["detection/default/onet", "recognition/light"])
def test_a_changed_shipped_file(installed: Path, name: str) -> None:
    path = installed / f"{name}.safetensors"
    load = load_recognizer if name.startswith("recognition") else load_stage
    load(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(lambda: load(path), path.name, "not as it was shipped", "install the package again")
    link = installed.parent / "link"
    link.symlink_to(path.parent)
    refused(lambda: load(link / path.name), "not as it was shipped")
    elsewhere = installed.parent / path.name
    shutil.copy(path, elsewhere)
    load(elsewhere)  # what it holds is its owner's business


def test_a_shipped_file_that_is_not_listed(installed: Path) -> None:
    shutil.copy(installed / "detection/default/pnet.safetensors", installed / "detection/pnet.safetensors")
    refused(lambda: load_stage(installed / "detection/pnet.safetensors"), SUMS)


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xff\xfe"])
def test_a_damaged_list(installed: Path, content: bytes) -> None:
    files._shipped_sums.cache_clear()
    (installed / SUMS).write_bytes(content)
    refused(lambda: load_stage(installed / "detection/default/pnet.safetensors"), SUMS)


# --------------------------------------------------------------------------------------------------
# What names them


class Place:
    """A path of somebody else's class."""

    def __init__(self, place: str | bytes) -> None:
        self.place = place

    def __fspath__(self) -> str | bytes:
        return self.place


ALL = (Detector, Recognizer, AttributeEstimator, LandmarkEstimator, AgeSynthesizer, FaceFinder)


@pytest.mark.parametrize("kind", ALL)
def test_an_empty_name_is_not_the_current_folder(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_weights("default", tmp_path)
    monkeypatch.chdir(tmp_path)
    for empty in ("", Place("")):
        with pytest.raises(WeightsError, match=r"^weights: expected a name or a path, got ''$"):
            kind(weights=empty)


@pytest.mark.parametrize("kind", ALL)
def test_what_is_no_name_is_told(kind: Any) -> None:
    for other in (b"default", Place(b"default"), 3, True):
        with pytest.raises(TypeError, match=r"^weights: expected a name, a path or loaded weights, got "):
            kind(weights=other)


def test_paths_of_every_class_are_taken(tmp_path: Path) -> None:
    save_random_weights("default", tmp_path / "set")
    expected = Detector(weights=tmp_path / "set").weights.sha256
    assert Detector(weights=Place(str(tmp_path / "set"))).weights.sha256 == expected  # type: ignore[arg-type]
    (folder,) = (entry for entry in os.scandir(tmp_path) if entry.is_dir())
    assert Detector(weights=folder).weights.sha256 == expected
    file = save_random_recognizer(tmp_path / "mine.safetensors")
    assert Recognizer(Place(str(file))).weights.name == "mine"  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"got '/nowhere/at/all'"):
        Recognizer(Place("/nowhere/at/all"))  # type: ignore[arg-type]
