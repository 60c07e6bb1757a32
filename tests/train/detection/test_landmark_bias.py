"""Centring L-Net's landmarks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.photos import PORTRAIT

pytest.importorskip("torch")

from cascade.datasets import Photo
from cascade.detect import Detector
from cascade.models.detector import DetectorWeights, load_detector
from train.__main__ import main
from train.detection.landmark_bias import centre_landmarks


@pytest.fixture(scope="module")
def weights() -> DetectorWeights:
    return load_detector()


@pytest.fixture(scope="module")
def photo(weights: DetectorWeights) -> Photo:
    """A portrait, with the landmarks that the shipped weights find."""
    faces = Detector(weights=weights, threads=1).detect(PORTRAIT)
    return Photo(PORTRAIT, "portrait", faces.boxes[:1], np.zeros(1, bool), faces.landmarks[:1], fully_labelled=True)


def moved(weights: DetectorWeights, by: float) -> DetectorWeights:
    """The set with all landmarks moved to the right, in widths of L-Net's window."""
    stage = weights["lnet"]
    name = f"{len(stage.architecture.layers) - 1}.bias"
    bias = stage.tensors[name].copy()
    bias[stage.architecture.output("landmarks")][0::2] += by
    return replace(weights, stages={**weights.stages, "lnet": replace(stage, tensors={**stage.tensors, name: bias})})


def test_what_all_faces_have_in_common_is_taken_off(weights: DetectorWeights, photo: Photo) -> None:
    off = moved(weights, 0.05)
    centred, shift = centre_landmarks(off, [photo, photo])
    # what the shipped weights are off by in this photo comes on top; a little rotated: crops are aligned by O-Net's
    # points, errors are taken in crops aligned by L-Net's
    _, own = centre_landmarks(weights, [photo, photo])
    np.testing.assert_allclose(shift - own, np.tile([0.05 * 56, 0], (5, 1)), atol=0.3)
    before, after = (Detector(weights=each, threads=1).detect(PORTRAIT).landmarks[0] for each in (off, centred))
    errors = [np.linalg.norm(points - photo.landmarks[0], axis=1).mean() for points in (before, after)]
    assert errors[1] < 0.2 * errors[0]
    assert all(centred[stage] is off[stage] for stage in ("pnet", "rnet", "onet"))


def test_a_set_without_lnet_and_photos_without_faces(weights: DetectorWeights, photo: Photo) -> None:
    with pytest.raises(ValueError, match="expected a set with lnet, got pnet, rnet, onet"):
        centre_landmarks(replace(weights, stages={each: weights[each] for each in ("pnet", "rnet", "onet")}), [photo])
    unknown = replace(photo, landmarks=np.full((1, 5, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="none of the faces"):
        centre_landmarks(weights, [unknown])


def test_the_command(photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box, points = photo.boxes[0].tolist(), photo.landmarks[0]
    face = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        "keypoints": np.c_[points, np.full(5, 2)].ravel().tolist(),
        "num_keypoints": 5,
    }
    images = [{"id": 1, "file_name": "train/a.jpg", "width": 1, "height": 1}]
    folder = tmp_path / "net7876"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a.jpg").write_bytes(Path(PORTRAIT).read_bytes())
    content = {"images": images, "annotations": [face], "categories": [{"id": 1, "name": "face"}]}
    (folder / "train.json").write_text(json.dumps(content))
    shipped = load_detector()["pnet"].path.parent
    arguments = ["centre-landmarks", "--weights", str(shipped), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) in (0, None)
    assert "pixels of 56" in capsys.readouterr().out
    assert (tmp_path / "out" / "lnet.safetensors").stat().st_size == (shipped / "lnet.safetensors").stat().st_size
    assert main([*arguments, "--set", "wider_val"]) == 1
