"""Writing networks as ONNX files, and the manifest about them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra [onnx]")

import onnx

from cascade import WeightsError
from cascade.detect import Detector
from cascade.exporting.files import MANIFEST, export_onnx
from cascade.models.detector import load_detector
from tests.exporting.models import noise, outputs_of
from tests.photos import portrait
from tests.random_attributes import save_random_attributes
from tests.random_recognizer import save_random_recognizer

FILES = ["attributes.onnx", "landmarks.onnx", "lnet.onnx", "onet.onnx", "pnet.onnx", "recognizer.onnx", "rnet.onnx"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_networks_and_a_manifest_of_them(tmp_path: Path) -> None:
    written = export_onnx(tmp_path / "models")
    assert names(tmp_path / "models") == sorted([*FILES, MANIFEST])
    manifest = json.loads((tmp_path / "models" / MANIFEST).read_text("utf-8"))
    assert sorted(manifest["files"]) == FILES
    for file in written:
        data = file.path.read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.bytes)
        if file.path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load(file.path), full_check=True)
            entry = manifest["files"][file.path.name]
            assert (entry["sha256"], entry["bytes"]) == (file.sha256, file.bytes)
            assert list(entry["inputs"]) == ["pixels"]
            assert {"network", "version", "licence", "weights_sha256", "input_size"} <= set(entry["metadata"])
    pnet = manifest["files"]["pnet.onnx"]
    assert pnet["inputs"]["pixels"] == ["batch", 3, "height", "width"]
    assert pnet["outputs"]["box"] == ["batch", 4, "rows", "columns"]
    assert manifest["detector"]["thresholds"] == list(Detector(threads=1).thresholds)
    assert "ethnicity_probabilities" not in manifest["files"]["attributes.onnx"]["outputs"]


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (export_onnx(tmp_path / name, ["landmarks"]) for name in ("one", "other"))
    assert [file.sha256 for file in one] == [file.sha256 for file in other]


def test_some_networks_of_other_weights(tmp_path: Path) -> None:
    recognizer = save_random_recognizer(tmp_path / "small.safetensors")
    attributes = save_random_attributes(tmp_path / "looks.safetensors")
    out = tmp_path / "out"
    files = export_onnx(
        out, ["attributes", "recognizer"], recognizer=recognizer, attributes=attributes, tasks=["ethnicity", "age"]
    )
    assert names(out) == ["attributes.onnx", MANIFEST, "recognizer.onnx"]
    manifest = json.loads((out / MANIFEST).read_text("utf-8"))
    assert "detector" not in manifest
    assert manifest["files"]["recognizer.onnx"]["metadata"]["network"] == "recognizer/small"
    found = outputs_of(files[0].path.read_bytes(), noise(2, 112, 112, 3))
    assert set(found) == {"age", "age_probabilities", "ethnicity_probabilities"}


def test_files_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "landmarks.onnx").write_bytes(b"old")
    export_onnx(tmp_path, ["landmarks"])
    onnx.checker.check_model(onnx.load(tmp_path / "landmarks.onnx"))
    assert names(tmp_path) == ["landmarks.onnx", MANIFEST]


@pytest.mark.parametrize(
    ("networks", "options", "message"),
    [
        (["pnet"], {}, "^networks: expected some of detector, recognizer, attributes, landmarks, got 'pnet'"),
        ([], {}, "^networks: expected some of .*, got none"),
        (["attributes"], {"tasks": ["agee"]}, "^tasks: expected some of age, gender, .*, got 'agee'"),
        (["detector"], {"detector": "nope"}, "^weights: expected a folder or one of default"),
        (["recognizer"], {"recognizer": "nope"}, "^weights: expected a safetensors file or one of light"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path: Path, networks: list[str], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(tmp_path / "out", networks, **options)
    assert not (tmp_path / "out").exists()


def test_a_string_is_no_list_of_networks(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^networks: expected a list of names, got 'detector'"):
        export_onnx(tmp_path, "detector")


def test_damaged_weights_write_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "light.safetensors"
    damaged.write_bytes(save_random_recognizer(tmp_path / "good.safetensors").read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"light\.safetensors cannot be read"):
        export_onnx(tmp_path / "out", ["landmarks", "recognizer"], recognizer=damaged)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="out"):
        export_onnx(tmp_path / "out", ["landmarks"])
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "landmarks.onnx").mkdir()
    with pytest.raises(OSError, match=r"landmarks\.onnx"):
        export_onnx(tmp_path, ["landmarks"])
    assert names(tmp_path) == ["landmarks.onnx"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who may not write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        export_onnx(tmp_path, ["landmarks"])
    tmp_path.chmod(0o700)


def test_without_the_extra_the_error_names_it() -> None:
    code = "import sys; sys.modules['onnx'] = None; import cascade.exporting.files"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "ImportError: ONNX files need the package onnx" in done.stderr
    assert "cascade-faces[onnx]" in done.stderr


def test_nothing_of_torch_is_needed() -> None:
    code = "import sys; sys.modules['torch'] = None; import cascade.engines.onnx, cascade.exporting.files"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_opencv_reads_the_files(tmp_path: Path) -> None:
    """A reader of its own: OpenCV's networks give what the native engine gives."""
    cv2 = pytest.importorskip("cv2")
    files = {file.path.stem: file.path for file in export_onnx(tmp_path, ["detector"])}
    for stage, stored in load_detector().stages.items():
        side = stored.architecture.input_size
        crop = portrait()[100 : 100 + side, 200 : 200 + side]
        network = cv2.dnn.readNetFromONNX(str(files[stage]))
        network.setInput(np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32), "pixels")
        found = dict(zip(heads := [h.name for h in stored.architecture.heads], network.forward(heads), strict=True))
        for name, expected in outputs_of(files[stage].read_bytes(), crop[None]).items():
            np.testing.assert_allclose(found[name].ravel(), expected.ravel(), rtol=0, atol=1e-4)
