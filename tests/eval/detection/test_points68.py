"""68 landmarks against the truth: the measure, missed faces, parts, yaw, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.datasets import DatasetError, PointsPhoto
from eval.detection.points68 import evaluate_points
from tests.eval.helpers import is_picture, run_eval, summary
from tests.photos import portrait, portrait_faces
from tests.random_attributes import drawn_shape, save_still_landmarks


def face(scale: float = 200.0) -> np.ndarray:
    return drawn_shape() * scale + 10


def photo(points: np.ndarray, name: str = "a.jpg") -> PointsPhoto:
    return PointsPhoto(Path(name), name, points)


def test_the_error_is_over_the_distance_of_the_outer_corners() -> None:
    truth = face()
    across = np.linalg.norm(truth[36] - truth[45])
    moved = truth + np.array([0.05 * across, 0])
    far = truth + np.array([0, 0.2 * across])
    result = evaluate_points([photo(truth)] * 4, [moved, far, None, truth])
    assert result.nme == pytest.approx((0.05 + 0.2 + 0) / 3, abs=1e-4)
    assert result.found.tolist() == [True, True, False, True]
    assert result.failure_rate == pytest.approx(1 / 3) and result.failure_rate_of_all == pytest.approx(2 / 4)
    assert result.cumulative(np.array([0.01, 0.06, 0.3])).tolist() == [0.25, 0.5, 0.75]
    assert result.auc == pytest.approx(0.25 + 0.25 * 0.5, abs=1e-2)


def test_parts_have_their_own_errors() -> None:
    truth = face()
    moved = truth.copy()
    moved[48:68] += (0.1 * np.linalg.norm(truth[36] - truth[45]), 0)
    by_part = evaluate_points([photo(truth)], [moved]).by_part()
    assert by_part["mouth"] == pytest.approx(0.1, abs=1e-4)
    assert all(by_part[name] == pytest.approx(0, abs=1e-4) for name in ("jaw", "brows", "nose", "eyes"))


def test_faces_are_told_by_how_they_are_turned() -> None:
    turned = face()
    turned[30, 0] += 40
    result = evaluate_points([photo(face()), photo(turned)], [face(), None])
    assert list(result.by_yaw()) == ["0-15", "30-60"]
    assert result.by_yaw()["30-60"].nme is None and len(result.by_yaw()["30-60"].errors) == 1


def test_eyes_in_one_place_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"a\.jpg: expected eyes in two places"):
        evaluate_points([photo(np.ones((68, 2)))], [None])


@pytest.fixture
def helen(tmp_path: Path) -> Path:
    """The portrait with points of its own, and a photo without a face."""
    folder = tmp_path / "set"
    folder.mkdir()
    eyes = portrait_faces().landmarks[0, :2]
    scale = np.linalg.norm(eyes[1] - eyes[0]) / np.linalg.norm(
        drawn_shape()[42:48].mean(0) - drawn_shape()[36:42].mean(0)
    )
    points = (drawn_shape() - drawn_shape()[36:48].mean(axis=0)) * scale + eyes.mean(axis=0)
    for name, pixels in (("face", portrait()), ("none", np.zeros((300, 300, 3), np.uint8))):
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.pts").write_text("\n".join(f"{x + 0.5} {y + 0.5}" for x, y in points))
    return folder


def test_the_command_evaluates_our_network_and_files(helen: Path, tmp_path: Path, capsys) -> None:
    weights, out = save_still_landmarks(tmp_path / "still.safetensors"), tmp_path / "out"
    options = ("landmarks", "--points", "68", "--data", helen, "--out", out)
    assert run_eval(*options, "--landmark-weights", weights, "--threads", "1") == 0
    report = summary(out)
    assert (report["faces"], report["found"], report["failure_rate_of_all"]) == (2, 1, 0.5)
    assert report["nme_outer_corners"] < 0.1 and report["points"] == 68 and is_picture(out / "curves.png")
    again = ("--predictions", out / "points.npz", "--name", "again", "--compare", f"same={out / 'points.npz'}")
    assert run_eval(*options[:-1], tmp_path / "again", *again) == 0
    second = summary(tmp_path / "again")
    assert second["nme_outer_corners"] == pytest.approx(report["nme_outer_corners"])
    assert second["compared"]["same"]["found"] == 1
    np.savez(tmp_path / "bad.npz", names=np.array(["face"]), points=np.zeros((1, 5, 2)))
    assert run_eval(*options, "--predictions", tmp_path / "bad.npz") == 1
    assert "expected names (N,) and points (N, 68, 2)" in capsys.readouterr().err
    named = ("--predictions", out / "points.npz", "--name", "same", "--compare", f"same={out / 'points.npz'}")
    assert run_eval(*options, *named) == 1
    assert "two have the same name" in capsys.readouterr().err


def test_the_options_of_the_detector_are_taken_or_refused(helen: Path, tmp_path: Path, capsys) -> None:
    weights, out = save_still_landmarks(tmp_path / "still.safetensors"), tmp_path / "out"
    options = ("landmarks", "--points", "68", "--data", helen, "--landmark-weights", weights, "--threads", "1")
    assert run_eval(*options, "--thresholds", 0.7, 0.3, 1, "--exposure", "none", "--out", out) == 0
    report = summary(out)
    assert report["found"] == 0
    assert (report["settings"]["thresholds"], report["settings"]["exposure"]) == ([0.7, 0.3, 1.0], "none")
    for refused in (("--input", "vga"), ("--scales", 1, 2), ("--score-floor", 0.1)):
        assert run_eval(*options, *refused, "--out", out) == 1
        assert "68 points are found in photos as they are" in capsys.readouterr().err
