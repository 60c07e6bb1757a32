"""python -m train from photos to a recogniser that can be loaded, with its card."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train.__main__ as command_line
from cascade.models.recognizer import load_recognizer
from cascade.nn.torch_graph import from_tensors
from cascade.recognize import Recognizer, centred_by_age
from tests.photos import portrait
from tests.train.drawn_faces import save_photo
from tests.train.packed_faces import DIMENSION, SETTINGS, packed, tiny, tiny_teacher
from train.experiments import recognition_ablation as ablation
from train.recognition.age import expected_age
from train.recognition.command import add_recognition, settings_of
from train.recognition.crops import FaceCrops, load_crops, save_crops
from train.recognition.export import export_recognizer
from train.recognition.measures import outputs
from train.recognition.model import RecognitionModel
from train.recognition.settings import DENSE, LIGHT, PAPER, RecognitionSettings
from train.recognition.teacher import Teacher

TINY_RUN = ("--steps", "2", "--batch", "8", "--threads", "1")

DATA = """
[[source]]
kind = "lfw"
images = "lfw"
about = "people of two photos"

[[source]]
kind = "utkface"
images = "utk"

[[source]]
kind = "photos"
images = "photos"
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `faces` makes of a few portraits."""
    root = tmp_path_factory.mktemp("data")
    astronaut = portrait()[32:224, 128:320]
    for number, name in enumerate(("Ann", "Bob", "Cat")):
        for photo in range(2):
            image = (portrait()[32 + 8 * photo : 224, 128:320] * (1 - 0.05 * number)).astype(np.uint8)
            save_photo(root / f"lfw/{name}/{name}_{photo + 1:04}.png", image)
    for age in (30, 41, 52):
        save_photo(root / f"utk/{age}_1_0_2017.png", (astronaut * (age / 60)).astype(np.uint8))
    save_photo(root / "photos/one.png", astronaut[:, ::-1])
    (root / "lfw/Ann/Ann_0003.png").write_bytes(b"nothing")
    (root / "data.toml").write_text(DATA)
    out = root / "faces"
    command = ["faces", "--data", str(root / "data.toml"), "--root", str(root), "--out", str(out), "--workers", "1"]
    assert command_line.main(command) == 0
    return out


def test_faces(faces):
    made = load_crops(faces)
    assert [count["faces"] for count in made.meta["counts"]] == [6, 3, 1]
    assert made.persons[:6].tolist() == [0, 0, 1, 1, 2, 2]
    assert made.ages[6:9].tolist() == [30, 41, 52]
    assert len(made.meta["problems"]) == 1


def test_from_photos_to_a_recogniser(faces, tmp_path, capsys):
    out = tmp_path / "deep/run"
    command = ["recognition", "--config", "dense", "--faces", str(faces), "--out", str(out), *TINY_RUN]
    command += ["--lambda-distillation", "0"]
    assert command_line.main(command) == 0
    file = out / "dense.safetensors"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"{file}  SHA-256 {sha256}" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "checkpoint.pt",
        "metrics.jsonl",
        "losses.png",
        "dense.safetensors",
        "dense.md",
    }
    weights = load_recognizer(file)
    assert weights.sha256 == sha256
    assert weights.metadata["data"] == "people of two photos; utkface; photos"
    assert weights.metadata["teacher"] is None
    assert weights.metadata["verification"] is None
    assert weights.metadata["settings"]["steps"] == 2
    assert weights.metadata["command"].startswith("python -m train recognition --config dense")
    card = (out / "dense.md").read_text()
    assert card.startswith("# Recognition (dense)\n")
    numbers = "**Faces**: 10, among them 3 people with a name"
    for fact in (sha256, weights.metadata["command"], numbers, "no threshold was measured", "non-commercial research"):
        assert fact in card
    recognizer = Recognizer(file)
    assert recognizer.operating_point is None
    assert recognizer.embed_crops(load_crops(faces).crops).shape == (10, 128)

    # the same command again has nothing left to do
    before = (out / "metrics.jsonl").read_bytes()
    assert command_line.main(command) == 0
    assert (out / "metrics.jsonl").read_bytes() == before
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    assert command_line.main([*command, "--seed", "5"]) == 1
    assert "checkpoint.pt was made with other settings" in capsys.readouterr().err


def test_a_plain_run_writes_no_weight_file(faces, tmp_path, capsys, tiny_architecture):
    command = ["recognition", "--faces", str(faces), "--out", str(tmp_path), *TINY_RUN]
    assert command_line.main([*command, "--lambda-distillation", "0", "--no-decomposition"]) == 0
    assert "without an age head" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.safetensors"))
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_run_with_a_teacher_at_hand(tmp_path, capsys, tiny_architecture):
    param, weights = tiny_teacher(tmp_path)
    save_crops(tmp_path / "faces", packed(teacher=False))
    embeddings = ["embeddings", "--faces", tmp_path / "faces", "--param", param, "--bin", weights]
    assert command_line.main([str(word) for word in embeddings]) == 0
    command = ["recognition", "--faces", str(tmp_path / "faces"), "--out", str(tmp_path / "run"), *TINY_RUN]
    assert command_line.main([*command, "--lambda-maps", "3", "--teacher", str(param), str(weights)]) == 0
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text())
    assert row["maps"] > 0 and row["distillation"] > 0
    found = load_recognizer(tmp_path / "run/light.safetensors").metadata
    assert found["settings"]["lambda_maps"] == 3
    assert found["teacher"]["network"] == "tiny_teacher"
    assert "3 maps" in (tmp_path / "run/light.md").read_text()
    capsys.readouterr()
    assert "none.bin" in errors_of(capsys, *command, "--teacher", param, tmp_path / "none.bin")


def errors_of(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    assert command_line.main([str(part) for part in command]) == 1
    return capsys.readouterr().err


def test_what_cannot_be_done_is_told(faces, tmp_path, capsys):
    missing, out = tmp_path / "none", tmp_path / "out"
    assert "none" in errors_of(capsys, "recognition", "--faces", missing, "--out", out)
    assert "run `embeddings` first" in errors_of(capsys, "recognition", "--faces", faces, "--out", out, *TINY_RUN)
    negative = errors_of(capsys, "recognition", "--faces", faces, "--out", out, "--lambda-age", "-1")
    assert "error: lambda_age: expected at least 0, got -1.0" in negative
    assert "none.toml" in errors_of(capsys, "faces", "--data", missing / "none.toml", "--root", faces, "--out", out)
    (tmp_path / "wrong.toml").write_text('[[source]]\nkind = "photos"\n')
    wrong = errors_of(capsys, "faces", "--data", tmp_path / "wrong.toml", "--root", faces, "--out", out)
    assert "wrong.toml: source 1: images: expected a path" in wrong
    assert not out.exists()


def options(*command: str) -> RecognitionSettings:
    parser = argparse.ArgumentParser()
    add_recognition(parser.add_subparsers())
    return settings_of(parser.parse_args(["recognition", "--faces", "f", "--out", "o", *command]))


def test_options_change_the_preset():
    assert options("--teacher", "a.param", "a.bin") == LIGHT
    assert options("--config", "dense") == DENSE
    assert options("--config", "paper") == PAPER
    assert options("--steps", "7", "--lambda-age", "0.5", "--seed", "3", "--no-augment") == replace(
        LIGHT, lambda_maps=0.0, steps=7, lambda_age=0.5, seed=3, augment=False
    )
    assert options("--precision", "float32").precision == "float32"
    assert options("--config", "dense", "--compile") == replace(DENSE, compiled=True)
    assert options("--lambda-adversary", "0").lambda_adversary == 0
    assert type(options("--batch", "12").batch) is int


def test_without_a_teacher_at_hand_there_are_no_maps_to_match():
    assert LIGHT.lambda_maps > 0
    assert options() == replace(LIGHT, lambda_maps=0.0)
    assert options("--teacher", "a.param", "a.bin", "--lambda-maps", "0.5").lambda_maps == 0.5


def test_maps_that_are_asked_for_need_a_teacher_at_hand(faces, tmp_path, capsys, tiny_architecture):
    assert options("--lambda-maps", "0.5").lambda_maps == 0.5
    command = ("recognition", "--faces", faces, "--out", tmp_path / "out", *TINY_RUN, "--lambda-distillation", "0")
    assert "error: lambda_maps: needs the teacher's network" in errors_of(capsys, *command, "--lambda-maps", "1")
    assert not (tmp_path / "out").exists()


def test_without_decomposition_there_are_no_losses_of_age():
    plain = options("--no-decomposition")
    assert plain == replace(LIGHT, lambda_maps=0.0, decomposed=False, lambda_age=0.0, lambda_adversary=0.0)
    with pytest.raises(ValueError, match="lambda_adversary: expected 0 without decomposition"):
        options("--no-decomposition", "--lambda-adversary", "0.1")


def ablation_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *command: object) -> tuple:
    """The settings and the teacher that the arms are run with."""
    found = []

    def run_arms(base, seeds, faces, fgnet, out, teacher):
        found.append((base, seeds, len(faces), teacher))
        return []

    monkeypatch.setattr(ablation, "run_arms", run_arms)
    if not (folder / "faces").exists():
        save_crops(folder / "faces", packed(people=1, aged=0, nameless=0, teacher=False))
    words = ["ablation", "--faces", folder / "faces", "--initial", "c.pt", "--fgnet", "fgnet", "--out", folder / "out"]
    assert command_line.main([str(word) for word in (*words, *command)]) == 0
    return found[0]


def test_options_of_the_ablation(tmp_path, monkeypatch):
    base, seeds, faces, teacher = ablation_of(tmp_path, monkeypatch)
    changes = {"start": "c.pt", "steps": 250, "learning_rate": 5e-4, "frozen": 2}
    assert base == replace(LIGHT, lambda_maps=0.0, **changes)
    assert (seeds, faces, teacher) == ([1, 2, 3], 4, None)
    base, seeds, _, _ = ablation_of(
        tmp_path, monkeypatch, "--config", "dense", "--batch", 16, "--steps", 3, "--frozen", 1, "--seeds", 4, 5
    )
    assert base == replace(DENSE, start="c.pt", batch=16, steps=3, learning_rate=5e-4, frozen=1)
    assert seeds == [4, 5]


def test_an_ablation_with_a_teacher(tmp_path, monkeypatch):
    base, _, _, teacher = ablation_of(tmp_path, monkeypatch, "--teacher", *tiny_teacher(tmp_path))
    assert base.lambda_maps == LIGHT.lambda_maps
    assert isinstance(teacher, Teacher) and teacher.name == "tiny_teacher"
    base, _, _, _ = ablation_of(tmp_path, monkeypatch, "--config", "dense", "--teacher", *tiny_teacher(tmp_path))
    assert base.lambda_maps == 0


# --------------------------------------------------------------------------------------------------
# the weight file


def exported(folder: Path, faces: FaceCrops, settings: RecognitionSettings) -> RecognitionModel:
    torch.manual_seed(2)
    model = RecognitionModel(tiny(), persons=3, adversarial=True).eval()
    export_recognizer(model, settings, faces, folder, "a command")
    return model


def test_what_a_file_says_of_verification(tmp_path):
    faces = packed()
    exported(tmp_path, faces, replace(SETTINGS, validation=0.4))
    weights = load_recognizer(tmp_path / "light.safetensors")
    point = weights.metadata["verification"]
    # 4 people with a name, and those of the nameless faces of a known age
    assert point["measured_on"].endswith("people of all ages held out of training")
    assert point["false_accept_rate"] <= 1e-3 and 0 <= point["true_accept_rate"] <= 1
    found = Recognizer(weights).operating_point
    assert (found.threshold, found.false_accept_rate) == (point["threshold"], point["false_accept_rate"])
    assert set(weights.metadata["validation"]) == {"teacher_cosine", "eer", "age_mae"}
    assert weights.metadata["teacher"] == faces.teacher
    assert weights.metadata["settings"]["lambda_age"] == asdict(SETTINGS)["lambda_age"]
    card = (tmp_path / "light.md").read_text()
    assert f"threshold {point['threshold']:.3f}: {point['false_accept_rate']:.2%} false" in card
    assert f"over {point['measured_on']}" in card
    assert "embeddings of patterns (SHA-256 `000000000000…`)" in card
    # of 80 faces 16 of known people and 16 of the others are held out
    assert "**Faces**: 48, among them 6 people with a name" in card
    assert f"{weights.graph.weights():,} weights" in card


def test_what_is_not_used_is_not_told_of(tmp_path):
    exported(tmp_path, packed(people=0), replace(SETTINGS, lambda_distillation=0.0, lambda_adversary=0.0))
    card = (tmp_path / "light.md").read_text()
    assert "**Teacher**: none" in card
    assert "adversary" not in card and "distillation" not in card
    assert "no threshold was measured: too few people were held out of training" in card
    Recognizer(tmp_path / "light.safetensors")


def test_a_teacher_of_maps_is_told_of(tmp_path):
    faces = packed()
    exported(tmp_path, faces, replace(SETTINGS, lambda_maps=1.0))
    assert "embeddings and maps of patterns (SHA-256 `000000000000…`)" in (tmp_path / "light.md").read_text()
    exported(tmp_path, faces, replace(SETTINGS, lambda_distillation=0.0, lambda_maps=1.0))
    assert load_recognizer(tmp_path / "light.safetensors").metadata["teacher"] == faces.teacher
    assert "maps of patterns (SHA-256" in (tmp_path / "light.md").read_text()


def test_the_file_computes_what_the_model_does(tmp_path):
    faces = packed()
    model = exported(tmp_path, faces, SETTINGS)
    weights = load_recognizer(tmp_path / "light.safetensors")
    expected, logits = outputs(model, faces.crops[:8])
    ages = expected_age(logits)
    found = Recognizer(weights).embed_crops(faces.crops[:8])
    assert found.shape == (8, DIMENSION)
    means = weights.age_means
    assert means.shape == (101, DIMENSION)
    centred = centred_by_age(expected.numpy(), logits.numpy(), means)
    np.testing.assert_allclose(found, centred, atol=2e-2)  # half precision in the file
    read = from_tensors(weights.graph, {name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    with torch.no_grad():
        maps = read((torch.from_numpy(faces.crops[:8]).permute(0, 3, 1, 2).float() - 127.5) / 128)
    embeddings, logits = (maps[weights.graph.outputs[name]].flatten(1).numpy() for name in ("embedding", "age"))
    np.testing.assert_allclose(found, centred_by_age(embeddings, logits, means), atol=1e-4)
    years = (maps[weights.graph.outputs["age"]].flatten(1).softmax(1) * torch.arange(101)).sum(1)
    np.testing.assert_allclose(years, ages, atol=0.2)
