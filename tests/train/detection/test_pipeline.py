"""python -m train from end to end: from a folder of drawn photos to weights that find the faces in them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train.__main__ as command_line
from cascade import _native
from cascade.detect import Detector
from cascade.models.detector import DEFAULT as SHIPPED
from cascade.models.detector import FOLDER, load_detector
from cascade.nn.architectures import ARCHITECTURES, LANDMARK_STAGE, STAGES
from cascade.nn.torch_network import CascadeNetwork, fold, from_tensors
from tests.train.drawn_faces import iou
from tests.train.drawn_sets import cascade, of_data
from train.common.checkpoints import TrainingError, read_checkpoint
from train.detection.batches import network_inputs
from train.detection.pipeline import Pipeline
from train.detection.presets import DEFAULT, StagePreset
from train.detection.sample_store import load_samples
from train.detection.samples import SampleSettings
from train.detection.sources import read_sources

REPOSITORY = Path(command_line.__file__).parents[1]


EVERY = (*STAGES, LANDMARK_STAGE)


@pytest.fixture(scope="module")
def short(request):
    """The presets, but with a row of metrics every 10 steps and fewer windows of each photo."""
    patch = pytest.MonkeyPatch()
    for stage, preset in DEFAULT.items():
        samples = replace(preset.samples, negatives_per_photo=40)
        training = replace(preset.training, log_every=10, checkpoint_every=20, ema_decay=0.95)
        patch.setitem(DEFAULT, stage, replace(preset, samples=samples, training=training))
    yield
    patch.undo()


FEW = ("--batch", "56", "--limit", "16", "--passes", "1", "--stage-steps", "40", "30", "10", "10")
MANY = ("--batch", "112", "--passes", "1", "--stage-steps", "100", "60", "60", "60")


@pytest.fixture(scope="module")
def run(data, short, tmp_path_factory) -> Path:
    """The folder of a complete run of the pipeline, too short to learn much."""
    out = tmp_path_factory.mktemp("run") / "deep" / "run"
    assert command_line.main(cascade(data, out, *FEW)) == 0
    return out


@pytest.fixture(scope="module")
def trained(data, short, tmp_path_factory) -> Path:
    """The folder of a run that finds faces."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert command_line.main(cascade(data, out, *MANY)) == 0
    return out


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_pipeline_leaves_weights_curves_and_records(run, data):
    assert {path.name for path in run.iterdir()} == {
        "weights",
        *EVERY,
        *(f"{stage}-samples" for stage in EVERY),
    }
    assert {path.name for path in (run / "weights").iterdir()} == {
        f"{s}.{e}" for s in EVERY for e in ("md", "safetensors")
    }
    for stage in EVERY:
        assert {path.name for path in (run / stage).iterdir()} == {
            "settings.json",
            "checkpoint.pt",
            "metrics.jsonl",
            "losses.png",
        }
        height, width, _ = cv2.imread(str(run / stage / "losses.png")).shape
        assert min(height, width) > 200
        record = json.loads((run / stage / "settings.json").read_text())
        assert record["settings"]["stage"] == stage
        assert record["settings"]["batch"] == 56
        assert record["command"].startswith("python -m train cascade --data ")
        assert record["samples"]["photos"] == 16
        assert record["samples"]["data"] == "coco faces; folder none"
        assert len(record["samples"]["annotations_sha256"]) == 64
        assert (record["samples"]["weights"] is None) == (stage in ("pnet", "lnet"))


@pytest.mark.slow
def test_the_losses_fall(trained):
    for stage, steps in zip(EVERY, (100, 60, 60, 60), strict=True):
        found = metrics(trained / stage)
        record = json.loads((trained / stage / "settings.json").read_text())
        photos = 36 if stage == "lnet" else 44  # L-Net needs faces with landmarks
        assert record["samples"]["photos"] == photos, "the photos of the exclude list take no part"
        assert [row["step"] for row in found] == list(range(10, steps + 1, 10))
        for name in ("total", "landmarks") if stage == "lnet" else ("total", "face", "box", "landmarks"):
            assert found[-1][name] < 0.8 * found[0][name], (stage, name)
        assert [row["step"] for row in found if "validation" in row] == list(range(20, steps + 1, 20))


def test_the_cards_tell_what_the_weights_are(run):
    for stage, weights in load_detector(run / "weights").stages.items():
        card = (run / "weights" / f"{stage}.md").read_text()
        samples = load_samples(run / f"{stage}-samples")
        for fact in (
            weights.sha256,
            "coco faces; folder none",
            "non-commercial research",
            "python -m train cascade",
            "**Seed**: 1",
            f"{samples.counts()['negative']:,} negative",
        ):
            assert fact in card, (stage, fact)
        assert weights.metadata["annotations_sha256"] == samples.meta["annotations_sha256"]
        assert weights.metadata["stage"] == stage
        assert weights.metadata["seed"] == "1"
        assert weights.architecture.outputs == (16 if stage in ("onet", "lnet") else 6)


@pytest.mark.slow
def test_the_detector_finds_faces_it_has_not_seen(trained, data):
    """60 steps are no training, but the eyes and skin of drawn faces are easy."""
    listing = json.loads((data / "faces/annotations.json").read_text())
    detector = Detector(weights=trained / "weights", thresholds=(0.3, 0.3, 0.5), min_face=16, threads=1)
    found = total = 0
    distances = []
    for entry in listing["images"][36:]:
        faces = detector.detect(data / "faces" / entry["file_name"])
        truth = [a for a in listing["annotations"] if a["image_id"] == entry["id"]]
        for annotation in truth:
            x, y, wide, high = annotation["bbox"]
            total += 1
            overlap = [iou(box, (x, y, x + wide, y + high)) for box in faces.boxes.astype(float)]
            if overlap and max(overlap) > 0.4:
                found += 1
                marks = faces.landmarks[int(np.argmax(overlap))]
                distances.append(np.abs(marks - np.reshape(annotation["keypoints"], (5, 3))[:, :2]).mean() / wide)
    assert total >= 4
    assert found >= 0.7 * total
    assert np.median(distances) < 0.12
    torch_engine = Detector(weights=trained / "weights", engine="torch", thresholds=(0.3, 0.3, 0.5), min_face=16)
    path = data / "faces" / "036.png"
    native, reference = Detector.detect(detector, path), torch_engine.detect(path)
    np.testing.assert_allclose(native.boxes, reference.boxes, atol=1e-2)
    np.testing.assert_allclose(native.scores, reference.scores, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("stage", EVERY)
def test_export_equals_the_network_that_learned(trained, stage):
    """Checkpoint with batch normalisation → folded file → native engine, and the same in torch."""
    architecture = ARCHITECTURES["default"][stage]
    learned = CascadeNetwork(architecture, batch_norm=True).eval()
    learned.load_state_dict(torch.load(trained / stage / "checkpoint.pt", weights_only=True)["averaged"])
    samples = load_samples(trained / f"{stage}-samples")
    margin = (samples.crops.shape[1] - architecture.input_size) // 2
    crops = samples.crops[:200, margin : margin + architecture.input_size, margin : margin + architecture.input_size]
    inputs, _ = network_inputs(
        torch.from_numpy(np.array(samples.crops[:200])), torch.zeros(200, 14), architecture, None
    )
    weights = load_detector(trained / "weights")[stage]
    outputs = weights.architecture.outputs
    with torch.no_grad():
        expected = learned(inputs).flatten(1)[:, :outputs].numpy()
        folded = fold(learned)(inputs).flatten(1)[:, :outputs].numpy()
        tensors = {name: torch.from_numpy(values) for name, values in weights.tensors.items()}
        loaded = from_tensors(weights.architecture, tensors)(inputs).flatten(1).numpy()
    native = _native.Network(weights.layers(), architecture.input_size).forward(np.ascontiguousarray(crops))
    assert np.ptp(expected, axis=0).max() > 0.1, "a network that says the same of all crops proves nothing"
    for found in (folded, loaded, native):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_same_command_again_changes_nothing(run, data, short, capsys):
    before = contents(run)
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert command_line.main(cascade(data, run, *FEW)) == 0
    assert contents(run) == before
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == times
    assert capsys.readouterr().out == f"weights: {run / 'weights'}\n"


def test_a_lost_weight_file_is_written_again_from_the_checkpoint(run, data, short):
    lost = run / "weights" / "onet.safetensors"
    kept = load_detector(run / "weights")["onet"].tensors
    checkpoint = contents(run / "onet")["checkpoint.pt"]
    lost.unlink()
    assert command_line.main(cascade(data, run, *FEW)) == 0
    for name, values in load_detector(run / "weights")["onet"].tensors.items():
        np.testing.assert_array_equal(values, kept[name])
    assert contents(run / "onet")["checkpoint.pt"] == checkpoint


def test_other_settings_in_the_same_folder_are_refused(run, data, short, capsys):
    """And leave the record of the run that is there as it was."""
    (run / "weights" / "onet.safetensors").rename(run / "onet.aside")
    try:
        before = contents(run)
        options = (*FEW, "--learning-rate", "0.1")
        assert command_line.main(cascade(data, run, *options)) == 1
        assert "other settings" in capsys.readouterr().err
        assert contents(run) == before
    finally:
        (run / "onet.aside").rename(run / "weights" / "onet.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "2"), "pnet-samples was made with other settings"),
        (("--learning-rate", "0.1"), "checkpoint.pt was made with other settings"),
        (("--limit", "5"), "pnet-samples was made with another --limit"),
    ],
)
def test_a_finished_run_of_other_settings_is_refused(run, data, short, capsys, options, message):
    before = contents(run)
    assert command_line.main(cascade(data, run, *FEW, *options)) == 1
    assert message in capsys.readouterr().err
    assert contents(run) == before


def one_stage(run: Path, out: Path, stage: str, *options: str) -> list[str]:
    folder = str(run / f"{stage}-samples")
    return [stage, "--samples", folder, "--out", str(out), "--steps", "2", "--batch", "28", *options]


def test_one_stage_with_its_ablations(run, short, tmp_path, capsys):
    rows = {}
    for name, options in {
        "plain": (),
        "no mining": ("--mining-ratio", "1.0"),
        "no landmarks": ("--no-landmarks",),
        "weights": ("--task-weights", "2", "1", "0.25", "--landmark-loss", "wing"),
    }.items():
        assert command_line.main(one_stage(run, tmp_path / name, "rnet", *options)) == 0
        rows[name] = metrics(tmp_path / name)[0]
        weights = load_detector(tmp_path / name, ("rnet",))
        assert weights["rnet"].sha256 in capsys.readouterr().out
        assert weights["rnet"].metadata["data"] == "coco faces; folder none"
    settings = {name: json.loads((tmp_path / name / "settings.json").read_text())["settings"] for name in rows}
    assert settings["plain"]["mining_ratio"] == 0.7
    assert settings["no mining"]["mining_ratio"] == 1.0
    assert [head["weight"] for head in settings["no landmarks"]["heads"]] == [1.0, 0.5, 0.0]
    assert settings["no landmarks"]["ratio"] == [3, 1, 1, 0]
    assert [head["loss"] for head in settings["weights"]["heads"]] == ["cross_entropy", "l2", "wing"]
    assert [head["weight"] for head in settings["weights"]["heads"]] == [2.0, 1.0, 0.25]
    assert rows["no mining"]["face"] < rows["plain"]["face"], "the mean of the hardest is above the mean of all"
    assert rows["no landmarks"]["landmarks"] == 0 < rows["plain"]["landmarks"]
    expected = sum(a * rows["weights"][name] for a, name in ((2, "face"), (1, "box"), (0.25, "landmarks")))
    assert rows["weights"]["total"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_the_papers_preset(data, tmp_path):
    """Its networks, its overlaps and its recipe; --passes and --seed hold for its samples, too."""
    out = tmp_path / "paper"
    options = ("--preset", "paper", "--stage-steps", "60", "30", "15", "--seed", "3", "--passes", "2")
    assert command_line.main(["cascade", *of_data(data), "--out", str(out), "--limit", "5", *options]) == 0
    weights = load_detector(out / "weights")
    for stage in STAGES:
        assert weights[stage].architecture.name == "paper"
        made = load_samples(out / f"{stage}-samples").meta["settings"]
        assert (made["family"], made["passes"], made["seed"]) == ("paper", 2, 3)
        assert (made["positive_iou"], made["negative_iou"], made["part_iou"]) == (0.65, 0.3, 0.4)
        settings = json.loads((out / stage / "settings.json").read_text())["settings"]
        assert (settings["batch"], settings["learning_rate"], settings["schedule"]) == (32, 1e-3, "constant")
        assert (settings["seed"], settings["batch_norm"], settings["augment"]) == (3, False, False)
    faces = Detector(weights=out / "weights", threads=1).detect(np.zeros((60, 80, 3), np.uint8))
    assert faces.landmarks.shape[1:] == (5, 2)


def test_samples_of_one_stage_by_themselves(run, data, short, tmp_path, capsys):
    out = tmp_path / "s"
    weights = ["--weights", str(run / "weights")]
    arguments = ["samples", *of_data(data), "--stage", "rnet", "--limit", "6", "--passes", "1", "--out", str(out)]
    assert command_line.main([*arguments, *weights]) == 0
    samples = load_samples(out)
    assert f"{samples.counts()['negative']:,} negative" in capsys.readouterr().out
    assert samples.meta["photos"] == 6
    assert command_line.main([*arguments[:-1], str(tmp_path / "t")]) == 1
    assert "need the weights" in capsys.readouterr().err
    assert command_line.main([*arguments[:-1], str(tmp_path / "u"), *weights, "--family", "small"]) == 0
    settings = load_samples(tmp_path / "u").meta["settings"]
    assert settings == samples.meta["settings"] | {"family": "small"}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["paper", "small"])
def test_other_networks_by_the_default_recipe(data, short, tmp_path, family):
    """Only the networks differ; without an L-Net, landmarks are O-Net's own."""
    out = tmp_path / family
    steps = ("40", "30", "10", "10")[: len(ARCHITECTURES[family])]
    options = ("--family", family, "--limit", "8", "--passes", "1", "--stage-steps", *steps)
    assert command_line.main(cascade(data, out, "--batch", "56", *options)) == 0
    weights = load_detector(out / "weights")
    assert list(weights.stages) == list(ARCHITECTURES[family])
    for stage, part in weights.stages.items():
        outputs = ARCHITECTURES[family][stage]
        assert part.architecture == (outputs if stage in ("onet", "lnet") else outputs.without_landmarks())
        assert part.metadata["family"] == family
        made = load_samples(out / f"{stage}-samples").meta["settings"]
        assert made == json.loads(json.dumps(asdict(samples_of(stage, family=family, passes=1))))
        settings = json.loads((out / stage / "settings.json").read_text())["settings"]
        assert (settings["family"], settings["batch_norm"]) == (family, True)
    faces = Detector(weights=out / "weights", threads=1, min_face=16).detect(data / "faces/000.png")
    assert faces.landmarks.shape[1:] == (5, 2)
    assert np.isfinite(faces.landmarks).all()


def tiny_pipeline(data: Path, out: Path, **changes) -> Pipeline:
    sources = read_sources(data / "data.toml", data, data)
    return replace(Pipeline(sources, out, "x", "x", limit=4), **changes)


def test_samples_of_other_data_are_refused(data, tmp_path):
    """Annotations, number of photos, and the networks whose proposals they are."""
    out = tmp_path / "run"
    shutil.copytree(FOLDER / SHIPPED, out / "weights")
    preset = StagePreset(samples_of("rnet", passes=1), DEFAULT["rnet"].training)
    pipeline = tiny_pipeline(data, out)
    made = pipeline.samples(preset)
    assert set(made.meta["weights_sha256"]) == {"pnet"}
    assert len(pipeline.samples(preset)) == len(made)
    with pytest.raises(TrainingError, match="another --limit"):
        replace(pipeline, limit=5).samples(preset)
    with pytest.raises(TrainingError, match="other annotations"):
        replace(pipeline, sources=pipeline.sources[1:]).samples(preset)
    with pytest.raises(TrainingError, match="other settings"):
        pipeline.samples(replace(preset, samples=replace(preset.samples, passes=2)))
    (out / "weights/pnet.safetensors").write_bytes(b"another network")
    with pytest.raises(TrainingError, match="other weights of the stages before it"):
        pipeline.samples(preset)
    (out / "weights/pnet.safetensors").unlink()  # to be exported again
    assert len(pipeline.samples(preset)) == len(made)
    # a folder from before these were recorded
    file = out / "rnet-samples/meta.json"
    meta = json.loads(file.read_text())
    del meta["limit"], meta["weights_sha256"]
    file.write_text(json.dumps(meta))
    assert len(replace(pipeline, limit=5).samples(preset)) == len(made)


def samples_of(stage: str, **changes) -> SampleSettings:
    return replace(DEFAULT[stage].samples, **changes)


def test_the_ratio_of_the_kinds_is_an_option(run, short, tmp_path, capsys):
    assert command_line.main(one_stage(run, tmp_path / "x", "pnet", "--ratio", "1", "2", "1", "0")) == 0
    assert tuple(read_checkpoint(tmp_path / "x/checkpoint.pt")["settings"]["ratio"]) == (1, 2, 1, 0)
    capsys.readouterr()
    assert command_line.main(one_stage(run, tmp_path / "y", "pnet", "--ratio", "1", "-2", "1", "0")) == 1
    assert "ratio: expected 4 numbers from 0 on" in capsys.readouterr().err


def test_a_wrong_mining_ratio_is_told(run, short, tmp_path, capsys):
    assert command_line.main(one_stage(run, tmp_path / "x", "pnet", "--mining-ratio", "0")) == 1
    assert "mining_ratio" in capsys.readouterr().err


@pytest.mark.slow
def test_in_a_process_of_its_own_with_two_workers(data, tmp_path):
    """The weights' folder is all of its standard output."""
    options = ("--batch", "56", "--limit", "16", "--passes", "1", "--stage-steps", "60", "30", "10", "10")
    command = [sys.executable, "-m", "train", *cascade(data, tmp_path / "run", *options)]
    command[command.index("--workers") + 1] = "2"
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"weights: {tmp_path / 'run/weights'}\n"
    for stage in EVERY:
        assert f"{stage} samples: 100%" in done.stderr
        assert f"train {stage}: 100%" in done.stderr
    assert "Warning" not in done.stderr
    faces = Detector(weights=tmp_path / "run/weights", threads=1).detect(data / "faces/000.png")
    assert faces.boxes.shape[1:] == (4,)
