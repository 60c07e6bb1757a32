"""A public network as a teacher, here small ones in ncnn's format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import train.__main__ as command_line
from tests.train.packed_faces import DIMENSION, IN_FLOAT32, READS_CROPS, Layer, packed, save_ncnn, tiny_teacher
from train.detection.augment import normalise
from train.recognition.crops import load_crops, save_crops
from train.recognition.teacher import Teacher, embed_faces

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, Path]:
    """The mean of each colour, and one fully connected layer."""
    means = np.broadcast_to(np.eye(3)[:, :, None, None] / 16**2, (3, 3, 16, 16))
    connected = np.broadcast_to(WEIGHTS[:, :, None] / 7**2, (4, 3, 7**2))
    layers: list[Layer] = [
        *READS_CROPS,
        ("Convolution means 1 1 crop means 0=3 1=16 3=16 5=0 6=2304", (IN_FLOAT32, means)),
        ("InnerProduct fc1 1 1 means fc1 0=4 1=0 2=588", (IN_FLOAT32, connected)),
    ]
    return save_ncnn(tmp_path, "means", layers)


def by_hand(crops: np.ndarray) -> np.ndarray:
    vectors = (crops.mean(axis=(1, 2)) - 127.5) / 128 @ WEIGHTS.T
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def inputs_of(crops: np.ndarray) -> torch.Tensor:
    return normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())


def test_embeddings_by_hand(network):
    teacher, crops = Teacher(*network), packed().crops[:5]
    found = teacher.embed(crops)
    assert (found.shape, found.dtype) == ((5, 4), np.float32)
    np.testing.assert_allclose(found, by_hand(crops), atol=1e-4)
    embeddings, maps = teacher(inputs_of(crops))
    np.testing.assert_allclose(embeddings, by_hand(crops), atol=1e-4)
    assert list(maps) == [teacher.embedding]
    assert (teacher.name, teacher.dimension) == ("means", 4)
    assert teacher.embed(crops[:0]).shape == (0, 4)


def test_embeddings_are_averaged_with_those_of_mirror_images(tmp_path):
    teacher, crops = Teacher(*tiny_teacher(tmp_path)), packed().crops[:3]
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    both = [teacher(inputs_of(each))[0] for each in (crops, mirrored)]
    assert not torch.allclose(*both, atol=0.05)
    expected = torch.nn.functional.normalize(sum(both)).numpy()
    np.testing.assert_allclose(teacher.embed(crops), expected, atol=1e-5)
    np.testing.assert_allclose(teacher.embed(mirrored), expected, atol=1e-5)


def test_maps_that_are_kept(tmp_path):
    teacher, crops = Teacher(*tiny_teacher(tmp_path)), packed().crops[:2]
    _, maps = teacher(inputs_of(crops), (0,))
    assert set(maps) == {0, teacher.embedding}
    assert maps[0].shape == (2, 16, 7, 7)
    first = teacher.network.blocks[0][0]
    torch.testing.assert_close(maps[0], torch.nn.functional.conv2d(inputs_of(crops), first.weight, stride=16))


def test_it_does_not_learn(tmp_path):
    teacher = Teacher(*tiny_teacher(tmp_path))
    assert not any(p.requires_grad for p in teacher.parameters())
    embeddings, maps = teacher(inputs_of(packed().crops[:1]).requires_grad_(), (0,))
    assert not embeddings.requires_grad and not maps[0].requires_grad


def test_the_last_map_of_each_shape_that_ends_a_block(tmp_path):
    """Of two blocks behind each other the second; what goes through an activation or is depthwise ends none."""
    ones, slopes = np.ones(16), (np.full(4, 0.25),)

    def back(name: str, before: str) -> Layer:
        return f"Convolution {name} 1 1 {before} {name} 0=4 1=1 5=0 6=16", (IN_FLOAT32, ones)

    layers: list[Layer] = [
        *READS_CROPS,
        ("Convolution a 1 1 crop a 0=4 1=2 3=2 5=0 6=48", (IN_FLOAT32, np.ones(48))),  # node 0: 56 positions
        back("b", "a"),  # node 1
        back("c", "b"),  # node 2: the last end of a block
        back("d", "c"),
        ("PReLU e 1 1 d e 0=4", slopes),  # node 3
        ("ConvolutionDepthWise f 1 1 e f 0=4 1=1 5=0 6=4 7=4", (IN_FLOAT32, np.ones(4))),  # node 4
        ("Convolution g 1 1 f g 0=2 1=16 3=8 5=0 6=2048", (IN_FLOAT32, np.ones(2048))),  # node 5: 6 positions
        ("InnerProduct fc1 1 1 g fc1 0=3 1=0 2=216", (IN_FLOAT32, np.ones(216))),
    ]
    teacher = Teacher(*save_ncnn(tmp_path, "blocks", layers))
    assert teacher.last_of([(56, 4), (6, 2), (6, 4), (56, 3), (56, 4)]) == [2, 5, None, None, 2]
    assert teacher.last_of([]) == []


def test_files_that_are_missing_or_wrong(network, tmp_path):
    param, weights = network
    with pytest.raises(ValueError, match=r"teacher: .*none\.param and .*means\.bin are missing or not of ncnn"):
        Teacher(tmp_path / "none.param", weights)
    with pytest.raises(ValueError, match=r"teacher: .*none\.bin are missing or not of ncnn's format"):
        Teacher(param, tmp_path / "none.bin")
    (tmp_path / "text.param").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"teacher: .*text\.param .* missing or not of ncnn's format"):
        Teacher(tmp_path / "text.param", weights)
    param.write_text(param.read_text().replace("fc1 fc1", "fc1 out").replace("means fc1", "means out"))
    with pytest.raises(ValueError, match="expected a blob 'fc1'"):
        Teacher(param, weights)


@pytest.mark.parametrize("chunk", [1000, 33])
def test_all_faces_of_a_folder(network, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("train.recognition.teacher.CHUNK", chunk)
    made = packed(teacher=False)
    save_crops(tmp_path / "faces", made)
    embed_faces(tmp_path / "faces", *network)
    read = load_crops(tmp_path / "faces")
    np.testing.assert_allclose(read.embeddings, by_hand(made.crops), atol=1e-4)
    sha256 = hashlib.sha256(network[0].read_bytes() + network[1].read_bytes()).hexdigest()
    assert read.teacher == {"network": "means", "sha256": sha256, "mirrored": True}


def test_embeddings_that_are_broken_off_are_nobodys(network, tmp_path, monkeypatch):
    save_crops(tmp_path / "faces", packed(teacher=False))
    embed_faces(tmp_path / "faces", *network)

    def break_off(file, array):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("train.recognition.teacher.np.save", break_off)
    with pytest.raises(OSError, match="no space left"):
        embed_faces(tmp_path / "faces", *network)
    read = load_crops(tmp_path / "faces")
    assert read.embeddings is None and read.teacher is None


def test_a_folder_without_faces(network, tmp_path):
    save_crops(tmp_path, packed(people=0, aged=0, nameless=0, teacher=False))
    embed_faces(tmp_path, *network)
    assert load_crops(tmp_path).embeddings.shape == (0, 4)


def test_the_command(tmp_path, capsys):
    param, weights = tiny_teacher(tmp_path)
    save_crops(tmp_path / "faces", packed(people=1, photos=2, aged=0, nameless=0, teacher=False))
    command = ["embeddings", "--faces", str(tmp_path / "faces"), "--param", str(param)]
    assert command_line.main([*command, "--bin", str(weights)]) == 0
    assert json.loads((tmp_path / "faces/teacher.json").read_text())["network"] == "tiny_teacher"
    assert load_crops(tmp_path / "faces").embeddings.shape == (2, DIMENSION)
    assert command_line.main([*command, "--bin", str(tmp_path / "none.bin")]) == 1
    assert "none.bin are missing" in capsys.readouterr().err
