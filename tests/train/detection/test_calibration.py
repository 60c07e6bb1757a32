"""Measuring the ranges of a detector's layers, and writing them into its weight files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.photos import PORTRAIT, portrait
from tests.random_networks import random_network

pytest.importorskip("torch")

import torch

from cascade import stages
from cascade.detect import Detector
from cascade.engines.torch.engine import TorchEngine
from cascade.imaging.pyramid import level_sizes
from cascade.imaging.reading import read_image
from cascade.models.detector import DetectorWeights, load_detector, save_stage
from cascade.nn.architectures import ARCHITECTURES
from cascade.nn.quantization import range_name
from cascade.nn.torch_network import export_tensors
from train.__main__ import main
from train.detection.calibration import find_photos, lower_scores, measure_ranges, write_ranges

LICENCE = {"licence": "none, random weights"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of random weights with cards."""
    made = tmp_path_factory.mktemp("small")
    for number, (stage, architecture) in enumerate(ARCHITECTURES["small"].items()):
        arrays = {name: tensor.numpy() for name, tensor in export_tensors(random_network(architecture, number)).items()}
        sha256 = save_stage(made / f"{stage}.safetensors", architecture, arrays, LICENCE)
        (made / f"{stage}.md").write_text(f"# {stage}\n\nSHA-256: {sha256}\n")
    return made


@pytest.fixture(scope="module")
def weights(folder: Path) -> DetectorWeights:
    return load_detector(folder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos small enough that all positions count, and what is none."""
    made = tmp_path_factory.mktemp("photos")
    (made / "sub").mkdir()
    Image.fromarray(portrait()[60:180, 170:290]).save(made / "a.png")
    Image.fromarray(portrait()[200:300, 100:220]).save(made / "sub" / "b.JPG")
    (made / "notes.txt").write_text("no photo")
    return made


def largest(weights: DetectorWeights, paths: list[Path]) -> dict[str, np.ndarray]:
    """The largest value of each channel of P-Net's hidden layers over whole pyramids, by another way."""
    engine = TorchEngine(weights)
    found: dict[str, np.ndarray] = {}
    body = engine.network("pnet").body

    def look(index: int) -> object:
        def hook(module: torch.nn.Module, inputs: object, made: torch.Tensor) -> None:
            most = made.amax(dim=(0, 2, 3)).numpy()
            name = range_name(index)
            found[name] = np.maximum(found[name], most) if name in found else most

        return body[index].register_forward_hook(hook)

    for index in range(len(body)):
        look(index)
    for path in paths:
        photo = read_image(path)
        height, width = photo.shape[:2]
        sizes = level_sizes(width, height, 20, None, weights["pnet"].architecture.window, 0.709)
        for level in engine.pyramid(photo, sizes).images[1:]:
            engine.dense_scan(level, math.inf)
    return found


def test_ranges_are_the_largest_values(weights: DetectorWeights, photos: Path) -> None:
    paths = find_photos([photos], None)
    ranges = measure_ranges(weights, paths)
    assert list(ranges) == list(weights.stages)
    for stage, stored in weights.stages.items():
        layers = stored.architecture.layers[:-1]
        assert {name: found.shape for name, found in ranges[stage].items()} == {
            range_name(index): (layer.channels,) for index, layer in enumerate(layers)
        }
        for found in ranges[stage].values():
            assert found.dtype == np.float32 and np.isfinite(found).all() and (found >= 0).all() and found.max() > 0
    for name, expected in largest(weights, paths).items():
        np.testing.assert_allclose(ranges["pnet"][name], expected, rtol=1e-3, atol=1e-6)


def test_a_quantile_cuts_the_largest_off(weights: DetectorWeights, photos: Path) -> None:
    paths = find_photos([photos], None)
    whole, part = (measure_ranges(weights, paths, quantile) for quantile in (1.0, 0.9))
    for name, found in part["pnet"].items():
        assert (found <= whole["pnet"][name]).all() and found.sum() < whole["pnet"][name].sum()


def test_photos_that_cannot_be_read_are_left_out(
    weights: DetectorWeights, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    paths = find_photos([photos], None)
    expected, found = measure_ranges(weights, paths), measure_ranges(weights, [broken, *paths, tmp_path / "none.jpg"])
    said = capsys.readouterr()
    assert "broken.jpg" in said.out + said.err and "none.jpg" in said.out + said.err
    for stage, arrays in expected.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[stage][name], array)


def test_photos_are_found_below_the_folders(photos: Path) -> None:
    assert find_photos([photos], None) == find_photos([photos], 2) == [photos / "a.png", photos / "sub" / "b.JPG"]
    assert find_photos([photos], 1) == find_photos([photos], 1)
    assert len(find_photos([photos], 1)) == 1
    assert PORTRAIT in find_photos([PORTRAIT.parent], None)


def test_all_but_the_ranges_is_only_rounded(weights: DetectorWeights, photos: Path, tmp_path: Path) -> None:
    ranges = measure_ranges(weights, find_photos([photos], None))
    sums = write_ranges(weights, ranges, tmp_path / "deep" / "int8")
    again = load_detector(tmp_path / "deep" / "int8")
    assert again.calibrated and not weights.calibrated
    for stage, stored in weights.stages.items():
        written = again[stage]
        assert written.sha256 == sums[stage] != stored.sha256
        assert (written.architecture, written.metadata) == (stored.architecture, stored.metadata)
        assert set(written.tensors) == set(stored.tensors) | set(ranges[stage])
        for name, array in (stored.tensors | ranges[stage]).items():
            np.testing.assert_array_equal(written.tensors[name], array.astype(np.float16))
        card = written.path.with_suffix(".md").read_text()
        assert card == f"# {stage}\n\nSHA-256: {written.sha256}\n"


def test_the_command_writes_a_set_for_int8(
    folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The random set has PReLU nowhere, so that int8 can run it."""
    out = tmp_path / "int8"
    arguments = ["calibrate", "--weights", str(folder), "--photos", str(photos), "--limit", "2", "--out", str(out)]
    assert main(arguments) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    made = load_detector(out)
    assert [line.split()[-1] for line in lines] == [stored.sha256 for stored in made.stages.values()]
    detector = Detector(weights=out, threads=1, precision="int8")
    assert detector.engine.precision == "int8"  # type: ignore[attr-defined]
    detector.detect(portrait())


def test_lowered_proposals(weights: DetectorWeights) -> None:
    """Every window's log-odds fall by as much; nothing else changes."""
    lowered = lower_scores(weights, "pnet", 0.5)
    level = torch.from_numpy(np.ascontiguousarray(portrait()[100:180, 100:180]))
    before, after = (TorchEngine(each).dense_scan(level, -math.inf) for each in (weights, lowered))
    np.testing.assert_allclose(after[:, 2], before[:, 2] - 0.5, atol=1e-4)
    np.testing.assert_array_equal(after[:, 5:], before[:, 5:])
    assert all(lowered[stage] is weights[stage] for stage in ("rnet", "onet", "lnet"))
    assert weights["pnet"].tensors is not lowered["pnet"].tensors


@pytest.mark.usefixtures("one_look")  # lower scores change which boxes are looked at again
def test_lowered_scores_of_onet(weights: DetectorWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A face's log-odds are a mean, in which O-Net's own count 1 and those of the stages before 0.5; but for votes."""
    monkeypatch.setattr(stages, "AGREEMENT_WEIGHT", 0.0)
    lowered = lower_scores(weights, "onet", 0.5)
    settings = {"threads": 1, "precision": "float32", "thresholds": (0.7, 0.3, 0.0)}
    before, after = (Detector(weights=each, **settings).detect(portrait()) for each in (weights, lowered))
    assert len(before)
    log_odds = [np.log(faces.scores / (1 - faces.scores)) for faces in (before, after)]
    np.testing.assert_allclose(log_odds[1], log_odds[0] - 0.5 / 1.5, atol=1e-3)
    sides = (before.boxes[:, 2:] - before.boxes[:, :2]).min(axis=1)
    # votes weigh as much as their probabilities, so the boxes move a little
    assert (np.abs(after.boxes - before.boxes).max(axis=1) < 0.02 * sides).all()
    assert all(lowered[stage] is weights[stage] for stage in ("pnet", "rnet", "lnet"))
