"""Maps of changed faces that are computed once, and runs that learn from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade.nn.graphs import IMAGE
from tests.train.packed_faces import SETTINGS, embedded, packed, tiny_teacher
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.detection.augment import normalise
from train.recognition import feature_cache
from train.recognition.architectures import ARCHITECTURES
from train.recognition.augment import augment_pixels
from train.recognition.batches import split
from train.recognition.feature_cache import CachedFeatures, CachedNetwork, cache_maps, to_maps
from train.recognition.model import RecognitionModel
from train.recognition.teacher import Teacher
from train.recognition.trainer import RecognitionRun, train_recognition

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    return Teacher(*tiny_teacher(tmp_path))


@pytest.fixture
def start(tmp_path: Path, tiny_architecture) -> str:
    """The checkpoint of a short run."""
    train_recognition(replace(SETTINGS, steps=3), packed(), tmp_path / "start", ALONE)
    return str(tmp_path / "start/checkpoint.pt")


def load(folder: Path, name: str) -> torch.Tensor:
    return to_maps(np.load(folder / f"{name}.npy"))


def test_maps_are_those_of_the_crops_beside_them(tmp_path, teacher):
    rows = np.arange(70)
    cached = CachedNetwork("teacher", teacher.network, (IMAGE, 0, teacher.embedding))
    cache_maps(packed(), rows, [cached], tmp_path / "features", 3)
    crops = np.load(tmp_path / "features/crops.npy")
    assert (crops.dtype, crops.shape) == (np.uint8, (70, 112, 112, 3))
    with torch.no_grad():
        maps = teacher.network(normalise(to_maps(crops)), keep=(0,))
    for node in (0, teacher.embedding):
        found = load(tmp_path / "features", f"teacher-{node}")
        torch.testing.assert_close(found, maps[node], rtol=2e-3, atol=2e-3)
    # each of its face, changed
    originals = torch.from_numpy(packed().crops[rows]).float()
    unlike = (torch.from_numpy(crops).float() - originals).abs().mean((1, 2, 3))
    assert (unlike > 0.5).all() and unlike.median() < 60


def test_maps_are_computed_again_only_when_something_differs(tmp_path, teacher, monkeypatch):
    computed = []

    def count(crops, seed):
        computed.append(seed)
        return augment_pixels(crops, seed)

    monkeypatch.setattr(feature_cache, "augment_pixels", count)
    faces, rows = packed(), np.arange(20)

    def keep(**changes) -> np.ndarray:
        given = {"faces": faces, "rows": rows, "seed": 0, "nodes": (IMAGE, 0)} | changes
        cached = CachedNetwork("t", teacher.network, given["nodes"])
        cache_maps(given["faces"], given["rows"], [cached], tmp_path / "k", given["seed"])
        return np.load(tmp_path / "k/crops.npy")

    first = keep()
    assert len(computed) == 1
    assert np.array_equal(keep(), first) and len(computed) == 1
    assert not np.array_equal(keep(seed=1), first) and len(computed) == 2
    assert np.array_equal(keep(), first) and len(computed) == 3
    keep(rows=rows[::-1].copy())
    keep(nodes=(IMAGE, teacher.embedding))
    assert len(computed) == 5
    with torch.no_grad():
        teacher.network.blocks[0][0].weight += 0.1
    keep(nodes=(IMAGE, teacher.embedding))
    assert len(computed) == 6
    # as many faces of the same sources, packed again: one pixel of one crop differs
    crops = faces.crops.copy()
    crops[3, 50, 50] ^= 255
    again = keep(faces=replace(faces, crops=crops), nodes=(IMAGE, teacher.embedding))
    assert len(computed) == 7 and np.any(again[3] != first[3])
    crops[30] ^= 255  # not of these rows
    keep(faces=replace(faces, crops=crops), nodes=(IMAGE, teacher.embedding))
    assert len(computed) == 7


def test_what_was_broken_off_is_computed_again(tmp_path, teacher, monkeypatch):
    cached = CachedNetwork("t", teacher.network, (0,))
    monkeypatch.setattr(feature_cache, "augment_pixels", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache_maps(packed(), np.arange(20), [cached], tmp_path / "k", 0)
    assert not (tmp_path / "k/cache.json").exists()
    monkeypatch.undo()
    cache_maps(packed(), np.arange(20), [cached], tmp_path / "k", 0)
    assert json.loads((tmp_path / "k/cache.json").read_text())["seed"] == 0
    assert np.load(tmp_path / "k/t-0.npy").any(axis=(1, 2, 3)).all()


def test_features_and_answers_are_of_the_same_view(tmp_path, tiny_architecture, teacher, monkeypatch):
    seen = {}
    faces = packed()
    row_of = {crop.tobytes(): row for row, crop in enumerate(faces.crops)}

    def remember(crops, seed):
        changed = augment_pixels(crops, seed)
        for crop, other in zip(crops, changed, strict=True):
            seen.setdefault(row_of[crop.tobytes()], []).append(other)
        return changed

    monkeypatch.setattr(feature_cache, "augment_pixels", remember)
    rows = split(faces, 0.2)[0]
    model = RecognitionModel(ARCHITECTURES["light"](True), 0, False).eval()
    model.freeze(1)
    features = CachedFeatures(faces, rows, model, teacher, [0], tmp_path / "k", views=3, seed=0)
    asked = rows[[5, 2, 40, 5, 11, 5, 5, 5, 5, 5]]
    inputs, answer = features.take(asked, np.random.default_rng(1))
    views = set()
    for number, row in enumerate(asked):
        crops = normalise(to_maps(np.stack(seen[int(row)])))
        with torch.no_grad():
            own = model.network.part(crops, 0, 0)
        embeddings, maps = teacher(crops, (0,))
        (view,) = [v for v in range(3) if torch.allclose(own[v], inputs[number], rtol=2e-3, atol=2e-3)]
        torch.testing.assert_close(answer.embeddings[number], embeddings[view], rtol=0, atol=2e-3)
        torch.testing.assert_close(answer.maps[0][number], maps[0][view], rtol=2e-3, atol=2e-3)
        views.add((int(row), view))
    assert len([view for row, view in views if row == rows[5]]) == 3


def test_a_run_over_features_learns_what_is_not_frozen_and_resumes(tmp_path, teacher, start):
    faces = embedded(packed(), teacher)
    settings = replace(SETTINGS, steps=8, start=start, frozen=1, views=2, learning_rate=1e-2)
    one, parts = tmp_path / "one", tmp_path / "parts"
    model = train_recognition(settings, faces, one, ALONE, teacher)
    before = torch.load(start, weights_only=True)["averaged"]
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("network.blocks.0."))
    assert not torch.equal(after["network.blocks.1.0.weight"], before["network.blocks.1.0.weight"])
    assert model.after == IMAGE  # from crops again
    validation = [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()][-1]["validation"]
    assert validation["teacher_cosine"] > -1

    trainer = RecognitionRun(settings, faces, parts, ALONE, teacher)
    for _ in range(4):
        trainer.train_step()
    trainer.save()
    trainer.batches.close()
    resumed = train_recognition(settings, faces, parts, ALONE, teacher)
    assert all(torch.equal(tensor, after[name]) for name, tensor in resumed.state_dict().items())


def test_a_run_over_features_does_what_one_over_crops_does(tmp_path, teacher, start, monkeypatch):
    """With one view of faces that are not changed, both learn the same."""
    monkeypatch.setattr(feature_cache, "augment_pixels", lambda crops, seed: crops)
    faces = embedded(packed(), teacher)
    common = replace(SETTINGS, steps=4, start=start, frozen=1, optimiser="sgd", shares=(3, 3, 2, 0))
    over_features = train_recognition(replace(common, views=1), faces, tmp_path / "a", ALONE, teacher)
    over_crops = train_recognition(replace(common, augment=False), faces, tmp_path / "b", ALONE, teacher)
    found = dict(over_features.named_parameters())
    for name, tensor in over_crops.named_parameters():
        torch.testing.assert_close(found[name], tensor, rtol=0.02, atol=2e-3, msg=name)


def test_runs_that_cannot_be_over_features(tmp_path, teacher, start):
    faces = embedded(packed(), teacher)
    settings = replace(SETTINGS, start=start, frozen=1, views=1)
    with pytest.raises(TrainingError, match="views: need one process"):
        RecognitionRun(settings, faces, tmp_path / "run", replace(ALONE, world=2))
    with pytest.raises(ValueError, match="views: expected 0 without frozen stages"):
        replace(SETTINGS, views=1)
    with pytest.raises(ValueError, match="views: expected 0 without frozen stages or without changes"):
        replace(settings, augment=False)


def test_a_teachers_embeddings_do_without_its_network(tmp_path, teacher, start):
    faces = embedded(packed(), teacher)
    settings = replace(SETTINGS, start=start, frozen=1, views=2, steps=3)
    run = RecognitionRun(settings, faces, tmp_path / "run", ALONE)
    assert run.data.features is not None
    features, answer = run.data.features.take(np.array([0, 1]) + run.data.pools[0][0], np.random.default_rng(0))
    assert answer is None
    assert len(features) == 2
    run.train()
    assert not list((tmp_path / "run/features").glob("teacher*"))
    assert run.step == 3
