"""Packed faces that were never photos, and a recognition network small enough to train in a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from cascade.nn.graphs import IMAGE, GraphBuilder
from train.common.device import Processes
from train.recognition.age import AGES
from train.recognition.architectures import RecognitionNetwork
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.decomposition import decompose
from train.recognition.settings import RecognitionSettings
from train.recognition.teacher import Teacher

DIMENSION = 8


SETTINGS = RecognitionSettings(steps=6, batch=16, validation=0.2, warm_up=0.1, threads=1)


KINDS = ("identities", "utkface", "photos")


# A layer of a network in ncnn's format: its line, and what the file of weights holds for it.
Layer = tuple[str, tuple[np.ndarray, ...]]


IN_FLOAT32 = np.zeros(1, np.float32)  # a word of zeros says that the weights after it are float32


READS_CROPS: tuple[Layer, ...] = (
    ("Input data 0 1 data 0=112 1=112 2=3", ()),
    ("BinaryOp minus 1 1 data minus 0=1 1=1 2=127.500000", ()),
    ("BinaryOp times 1 1 minus crop 0=2 1=1 2=0.007813", ()),
)


"""The crop of 112 pixels as the blob "crop", normalised."""


def tiny(decomposed: bool = True) -> RecognitionNetwork:
    """One convolution to 7×7 positions in 16 channels, and a little more."""
    builder = GraphBuilder()
    skips = (builder.conv(16, 16, 16, activation="prelu", after=IMAGE), builder.conv(16, activation="prelu"))
    return finished(builder, "tiny", skips, decomposed)


def finished(builder: GraphBuilder, name: str, skips: tuple[int, ...], decomposed: bool) -> RecognitionNetwork:
    """An encoder to 7×7 positions in 16 channels with the rest of a network behind it."""
    age, identity = decompose(builder, skips[-1], 16) if decomposed else (None, skips[-1])
    builder.depthwise(7, after=identity)
    outputs = {"embedding": builder.conv(DIMENSION)}
    if age is not None:
        builder.pyramid_pool((1,), after=age)
        builder.conv(16, activation="relu")
        outputs["age"] = builder.conv(AGES)
    return RecognitionNetwork(builder.build(name, SIDE, outputs), skips, identity, 16)


def save_ncnn(folder: Path, name: str, layers: Sequence[Layer]) -> tuple[Path, Path]:
    """Writes a network in ncnn's format: the paths of its layers and of their weights."""
    blobs = {blob for line, _ in layers for blob in _outputs(line.split())}
    lines = ["7767517", f"{len(layers)} {len(blobs)}", *(line for line, _ in layers)]
    param, weights = folder / f"{name}.param", folder / f"{name}.bin"
    param.write_text("\n".join(lines) + "\n")
    weights.write_bytes(b"".join(array.astype(np.float32).tobytes() for _, arrays in layers for array in arrays))
    return param, weights


def _outputs(words: list[str]) -> list[str]:
    first = 4 + int(words[2])
    return words[first : first + int(words[3])]


def tiny_teacher(folder: Path) -> tuple[Path, Path]:
    """A network in ncnn's format with a map as `tiny` has it, 7×7 positions in 16 channels, and its dimension."""
    rng = np.random.default_rng(11)
    first, each, last = (rng.normal(size=size) for size in ((16, 3, 16, 16), (16, 7, 7), (DIMENSION, 16)))
    layers: list[Layer] = [
        *READS_CROPS,
        ("Convolution first 1 1 crop first 0=16 1=16 3=16 5=0 6=12288", (IN_FLOAT32, first / 28)),
        ("ConvolutionDepthWise each 1 1 first each 0=16 1=7 5=0 6=784 7=16", (IN_FLOAT32, each)),
        ("InnerProduct fc1 1 1 each fc1 0=8 1=0 2=128", (IN_FLOAT32, last)),
    ]
    return save_ncnn(folder, "tiny_teacher", layers)


def embedded(faces: FaceCrops, teacher: Teacher) -> FaceCrops:
    """The faces with that teacher's embeddings."""
    about = {"network": teacher.name, "sha256": teacher.sha256}
    return replace(faces, embeddings=teacher.embed(faces.crops), teacher=about)


def packed(people: int = 10, photos: int = 4, aged: int = 24, nameless: int = 16, teacher: bool = True) -> FaceCrops:
    """Faces whose person is a pattern of coarse colours, and whose age is how bright a corner is.

    In the order of KINDS: people with names, ages without names, and neither.
    """
    rng = np.random.default_rng(7)
    count = people * photos + aged + nameless
    persons = np.full(count, -1, np.int32)
    persons[: people * photos] = np.repeat(np.arange(people), photos)
    ages = np.full(count, np.nan, np.float32)
    ages[people * photos : people * photos + aged] = rng.integers(0, 101, aged)
    patterns = rng.uniform(40, 215, (people, 4, 4, 3))
    crops = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for row, (person, age) in enumerate(zip(persons, ages, strict=True)):
        pattern = patterns[person] if person >= 0 else rng.uniform(40, 215, (4, 4, 3))
        image = cv2.resize(pattern, (SIDE, SIDE)) + rng.normal(0, 12, (SIDE, SIDE, 3))
        if not np.isnan(age):
            image[:32, :32] = 2.5 * age
        crops[row] = image.clip(0, 255)
    embeddings = None
    if teacher:
        small = crops[:, 8::16, 8::16].reshape(count, 7 * 7 * 3) / 128.0 - 1
        vectors = small @ rng.normal(size=(small.shape[1], DIMENSION))
        embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    sources = np.repeat(np.arange(3), (people * photos, aged, nameless)).astype(np.uint8)
    about: dict[str, Any] | None = {"network": "patterns", "sha256": "0" * 64} if teacher else None
    names = [f"person {number}" for number in range(people)]
    meta = {"kinds": list(KINDS), "sources": [f"some {kind}" for kind in KINDS], "persons": names}
    return FaceCrops(crops, persons, ages, sources, meta, embeddings, about)


ALONE = Processes(0, 1, torch.device("cpu"))


PLAIN = {"decomposed": False, "lambda_age": 0.0, "lambda_adversary": 0.0}


def wider(decomposed: bool = True, name: str = "wider") -> RecognitionNetwork:
    """Tiny with maps of 12 channels."""
    builder = GraphBuilder()
    skips = (builder.conv(12, 16, 16, activation="prelu", after=IMAGE),)
    builder.depthwise(7)
    return RecognitionNetwork(builder.build(name, SIDE, {"embedding": builder.conv(DIMENSION)}), skips, skips[0], 12)
