"""Embeddings of a public network, here one of twelve weights in ncnn's format."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from packed_faces import packed

import train.__main__ as command_line
from train.recognition.crops import load_crops, save_crops
from train.recognition.teacher import Teacher, embed_faces

PARAM = """7767517
3 3
Input data 0 1 data 0=112 1=112 2=3
Pooling pool 1 1 data pooled 0=1 4=1
InnerProduct fc1 1 1 pooled fc1 0=4 1=0 2=12
"""

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, Path]:
    """The mean of each colour, and one fully connected layer."""
    (tmp_path / "means.param").write_text(PARAM)
    (tmp_path / "means.bin").write_bytes(np.int32(0).tobytes() + WEIGHTS.tobytes())
    return tmp_path / "means.param", tmp_path / "means.bin"


def test_without_ncnn_it_is_asked_for(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(ValueError, match="teacher: needs the package ncnn"):
        Teacher(*network)


class TestTeacher:
    """With the package ncnn."""

    @pytest.fixture(autouse=True)
    def _ncnn(self) -> None:
        pytest.importorskip("ncnn")

    def test_an_embedding_by_hand(self, network):
        crop = packed().crops[3]
        expected = WEIGHTS @ crop.mean(axis=(0, 1))
        expected /= np.linalg.norm(expected)
        found = Teacher(*network).embed(crop)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-3)
        np.testing.assert_allclose(Teacher(*network).embed(crop[:, ::-1]), found, atol=1e-6)

    def test_files_that_are_missing_or_wrong(self, network, tmp_path):
        param, weights = network
        with pytest.raises(ValueError, match=r"teacher: .*none\.param is missing or not of ncnn's format"):
            Teacher(tmp_path / "none.param", weights)
        with pytest.raises(ValueError, match=r"teacher: .*none\.bin is missing or not of ncnn's format"):
            Teacher(param, tmp_path / "none.bin")
        (tmp_path / "text.param").write_text("nothing\n")
        with pytest.raises(ValueError, match=r"teacher: .*text\.param is missing or not of ncnn's format"):
            Teacher(tmp_path / "text.param", weights)

    def test_all_faces_of_a_folder(self, network, tmp_path, monkeypatch):
        monkeypatch.setattr("train.recognition.teacher.CHUNK", 40)
        made = packed(teacher=False)
        save_crops(tmp_path / "faces", made)
        embed_faces(tmp_path / "faces", *network, workers=1)
        read = load_crops(tmp_path / "faces")
        expected = made.crops.mean(axis=(1, 2)) @ WEIGHTS.T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(read.embeddings, expected, atol=1e-3)
        sha256 = hashlib.sha256(network[0].read_bytes() + network[1].read_bytes()).hexdigest()
        assert read.teacher == {"network": "means", "sha256": sha256, "mirrored": True}

    def test_the_command(self, network, tmp_path, capsys):
        save_crops(tmp_path / "faces", packed(people=1, photos=2, aged=0, nameless=0, blends=0, teacher=False))
        command = ["embeddings", "--faces", str(tmp_path / "faces"), "--param", str(network[0]), "--workers", "1"]
        assert command_line.main([*command, "--bin", str(network[1])]) == 0
        assert json.loads((tmp_path / "faces/teacher.json").read_text())["network"] == "means"
        assert command_line.main([*command, "--bin", str(tmp_path / "none.bin")]) == 1
        assert "none.bin is missing" in capsys.readouterr().err
