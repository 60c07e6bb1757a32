"""Packed faces that were never photos, and a recognition network small enough to train in a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from cascade.graphs import IMAGE, GraphBuilder
from train.recognition.age import AGES
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.decomposition import decompose
from train.recognition.designs import DESIGNS, Design
from train.recognition.settings import RecognitionSettings

DIMENSION = 8

SETTINGS = RecognitionSettings(steps=6, batch=16, validation=0.2, warm_up=0.1, threads=1)

KINDS = ("identities", "utkface", "photos", "blends")


def tiny(decomposed: bool = True) -> Design:
    """One convolution to 7×7 positions in 16 channels, and a little more."""
    builder = GraphBuilder()
    skips = (builder.conv(16, 16, 16, activation="prelu", after=IMAGE), builder.conv(16, activation="prelu"))
    age, identity = decompose(builder, skips[-1], 16) if decomposed else (None, skips[-1])
    builder.depthwise(7, after=identity)
    outputs = {"embedding": builder.conv(DIMENSION)}
    if age is not None:
        builder.pyramid_pool((1,), after=age)
        builder.conv(16, activation="relu")
        outputs["age"] = builder.conv(AGES)
    return Design(builder.build("tiny", SIDE, outputs), skips, identity, 16)


@pytest.fixture
def tiny_design(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Design]:
    """The design "light" is tiny."""
    monkeypatch.setitem(DESIGNS, "light", tiny)
    return tiny


def packed(
    people: int = 10, photos: int = 4, aged: int = 24, nameless: int = 16, blends: int = 12, teacher: bool = True
) -> FaceCrops:
    """Faces whose person is a pattern of coarse colours, and whose age is how bright a corner is.

    In the order of KINDS: people with names, ages without names, neither, and blends, which are patterns too.
    """
    rng = np.random.default_rng(7)
    count = people * photos + aged + nameless + blends
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
    sources = np.repeat(np.arange(4), (people * photos, aged, nameless, blends)).astype(np.uint8)
    about: dict[str, Any] | None = {"network": "patterns", "sha256": "0" * 64} if teacher else None
    names = [f"person {number}" for number in range(people)]
    meta = {"kinds": list(KINDS), "sources": [f"some {kind}" for kind in KINDS], "persons": names}
    return FaceCrops(crops, persons, ages, sources, meta, embeddings, about)
