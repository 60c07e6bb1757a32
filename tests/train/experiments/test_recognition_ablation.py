"""The ablation: every arm once and from the same start, results that are used again, and differences seed by seed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import torch

from tests.train.packed_faces import SETTINGS, embedded, packed, tiny_teacher
from train.experiments import recognition_ablation as ablation
from train.experiments.recognition_ablation import ARMS, LABELS, evaluate_model, run_arms, summary
from train.recognition.architectures import ARCHITECTURES
from train.recognition.model import RecognitionModel
from train.recognition.teacher import Teacher
from train.recognition.trainer import train_recognition

BANDS = ["0-5", "5-10", "10-20", "20-30", "30+", "20+"]


def faces_of_ages():
    """Crops, people and ages of an FG-NET in small: four people, each every seven years."""
    faces = packed(people=4, photos=6, aged=0, nameless=0)
    people = np.array([str(person) for person in faces.persons])
    return faces.crops, people, np.tile(np.arange(0.0, 42.0, 7.0), 4)


def row(arm, seed, rank1, tar):
    return {"arm": arm, "seed": seed, "rank1": rank1, "eer": 1 - rank1, "tar": dict.fromkeys(BANDS, tar)}


def test_differences_are_taken_seed_by_seed():
    rows = [row("plain", 1, 0.5, 0.1), row("plain", 2, 0.7, 0.3)]
    rows += [row("decomposition", 1, 0.6, 0.1), row("decomposition", 2, 0.8, 0.3)]
    rows += [row("adversary", 1, 0.5, 0.2), row("adversary", 2, 0.7, 0.2)]
    rows += [row("age-mean subtraction", 1, 0.9, 0.9), row("age-mean subtraction", 2, 0.9, 0.9)]
    found = summary(rows)
    assert found["plain"]["rank1"]["mean"] == pytest.approx(0.6)
    assert found["decomposition"]["rank1"]["gain"] == {"mean": pytest.approx(0.1), "std": pytest.approx(0, abs=1e-9)}
    assert found["adversary"]["tar_20+"]["gain"]["mean"] == pytest.approx(0)
    assert found["adversary"]["tar_20+"]["gain"]["std"] == pytest.approx(np.std([0.1, -0.1], ddof=1))


def test_a_model_is_evaluated_by_years_between_photos(tiny_architecture):
    torch.manual_seed(0)
    found = evaluate_model(RecognitionModel(ARCHITECTURES["light"](True), 0, False), *faces_of_ages())
    assert list(found["tar"]) == [band for band in BANDS if band != "0-5"]  # which no pair has
    assert 0 <= found["eer"] <= 1
    assert found["rank1"] > 0.5  # the patterns differ, which even a network of chance sees
    assert found["age_mae"] >= 0
    plain = evaluate_model(RecognitionModel(ARCHITECTURES["light"](False), 0, False), *faces_of_ages())
    assert "age_mae" not in plain


def test_all_arms_start_alike_and_are_trained_once(tiny_architecture, tmp_path, monkeypatch):
    faces = packed()
    plain = replace(SETTINGS, decomposed=False, lambda_age=0.0, lambda_adversary=0.0)
    train_recognition(plain, faces, tmp_path / "plain")
    base = replace(SETTINGS, start=str(tmp_path / "plain/checkpoint.pt"), frozen=1, steps=3)
    out = tmp_path / "out"
    out.mkdir()
    crops, people, ages = faces_of_ages()
    np.savez(out / "fgnet.npz", crops=crops, people=people, ages=ages)
    rows = run_arms(base, [1, 2], faces, tmp_path / "no-fgnet", out)
    assert [(r["arm"], r["seed"]) for r in rows] == [(arm, seed) for seed in (1, 2) for arm in LABELS]
    with (out / "ablation.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8
    assert set(json.loads((out / "ablation.json").read_text())) == set(LABELS)
    assert (out / "ablation.png").stat().st_size > 5000
    weights = [torch.load(out / f"{arm}-1/checkpoint.pt", weights_only=True)["averaged"] for arm in ARMS]
    first = "network.blocks.0.0.weight"  # the frozen stage
    assert all(torch.equal(w[first], weights[0][first]) for w in weights)

    monkeypatch.setattr(ablation, "train_recognition", lambda *_, **__: pytest.fail("trained again"))
    assert run_arms(base, [1, 2], faces, tmp_path / "no-fgnet", out) == rows
    with pytest.raises(pytest.fail.Exception):
        run_arms(replace(base, learning_rate=1e-5), [1], faces, tmp_path / "no-fgnet", out)


def test_every_arm_is_taught(tiny_architecture, tmp_path, monkeypatch):
    """A teacher at hand is asked in every arm."""
    teacher = Teacher(*tiny_teacher(tmp_path))
    crops, people, ages = faces_of_ages()
    np.savez(tmp_path / "fgnet.npz", crops=crops, people=people, ages=ages)
    base = replace(SETTINGS, lambda_maps=1.0, steps=1)
    run_arms(base, [1], embedded(packed(), teacher), tmp_path / "no-fgnet", tmp_path, teacher)
    for arm in ARMS:
        (line,) = (tmp_path / f"{arm}-1/metrics.jsonl").read_text().splitlines()
        assert json.loads(line)["maps"] > 0
