"""``python -m eval synthesis``: a report of a few faces, by networks that stand in for those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade.imaging.alignment import AlignError, align
from eval.commands import synthesis
from eval.synthesis import evaluation
from eval.synthesis.sheets import SIDE
from tests.eval.helpers import run_eval, summary
from tests.photos import portrait

NAMES = ("4_0_2_201.jpg", "33_1_0_202.jpg", "34_0_4_203.jpg", "50_0_0_204.jpg", "52_1_1_205.jpg", "62_1_3_206.jpg")
FACES = 5


class AgeByLight:
    """The brighter the face, the older and the more female."""

    name = "light"

    def ages(self, image: Any, landmarks: Any) -> Any:
        return align(image, landmarks, 32).mean((1, 2, 3)) / 2.55

    def female(self, image: Any, landmarks: Any) -> Any:
        return self.ages(image, landmarks) / 100


class IdentityByPixels:
    """Small pictures of the faces."""

    name = "pixels"

    def __init__(self, folder: Path) -> None:
        assert folder.name == "face-api"

    def embed(self, image: Any, landmarks: Any) -> Any:
        pixels = align(image, landmarks, 16).reshape(len(landmarks), -1).astype(np.float32) - 128
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Crops of the portrait as UTKFace names them, one of them without a face."""
    folder = tmp_path / "data" / "utkface" / "test"
    folder.mkdir(parents=True)
    for at, name in enumerate(NAMES):
        crop = portrait()[40 + 2 * at : 190, 150:300] if at < FACES else portrait()[380:, 380:]
        Image.fromarray((crop * (1 - 0.15 * at)).astype(np.uint8)).save(folder / name, quality=95)
    monkeypatch.setattr(synthesis, "AgeEstimator", AgeByLight)
    monkeypatch.setattr(synthesis, "IdentityNetwork", IdentityByPixels)
    monkeypatch.setattr(evaluation, "FAR", 0.2)  # of ten pairs
    return tmp_path / "data"


def arguments(data: Path, *more: object) -> tuple[object, ...]:
    return ("synthesis", "--data", data, "--face-api", data.parent / "face-api", "--out", data.parent / "out", *more)


def test_faces_are_evaluated_at_nine_ages(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_eval(*arguments(data, "--set", "utkface_test", "--faces", 4, "--sheet")) == 0
    report = summary(data.parent / "out")
    assert (report["real_faces"], report["sources"], report["left_as_they_are"]) == (FACES, 4, 0)
    assert report["evaluators"] == {"age, gender": "light", "identity, features": "pixels"}
    assert report["problems"] == [f"{NAMES[FACES]}: no face"]
    rows = {row["group"]: row for row in report["by_target"]}
    assert [row["target"] for row in rows.values()] == list(evaluation.TARGETS)
    assert {name: row["real_faces"] for name, row in rows.items() if row["real_faces"]} == {
        "3-9": 1,
        "30-39": 2,
        "50-59": 2,
    }
    assert rows["30-39"]["difference"] == pytest.approx(rows["30-39"]["synthesised"] - rows["30-39"]["real"])
    assert rows["0-2"]["real"] is None and rows["0-2"]["difference"] is None
    assert sum(each["pairs"] for each in report["verified"].values()) == 4 * len(evaluation.TARGETS)
    assert sum(each["pairs"] for each in report["cosine_by_gap"]) == 4 * len(evaluation.TARGETS)
    assert report["command"].startswith("python -m eval synthesis") and len(report["weights_sha256"]) == 64
    with Image.open(data.parent / "out" / "sheet.png") as sheet:
        assert sheet.width > 10 * SIDE and 4 * SIDE < sheet.height < 5 * SIDE  # each face once
    assert not (data.parent / "out" / "later.png").exists()  # of UTKFace nobody is known by two photos
    assert "utkface_test: 4 faces at nine ages beside 5 real ones" in capsys.readouterr().out


def test_photos_that_cannot_be_used_are_told_and_left_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = evaluation.find_single_face
    (data / "utkface" / "test" / NAMES[1]).write_bytes(b"broken")

    def refuse_one(path: Path, is_crop: bool) -> Any:
        if path.name == NAMES[0]:
            raise AlignError("landmarks[0]: points: expected points apart from each other")
        return find(path, is_crop)

    monkeypatch.setattr(evaluation, "find_single_face", refuse_one)
    faces, problems = evaluation.read_faces(data, ["utkface_test"], 5, lambda photos: photos)
    assert sorted(face.name for face in faces) == list(NAMES[2:FACES])
    assert len(problems) == 3
    assert {problem.partition(":")[0] for problem in problems} == {NAMES[0], NAMES[1], NAMES[FACES]}


def test_sets_that_are_unfit_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES[:FACES]:
        (data / "utkface" / "test" / name).unlink()
    assert run_eval(*arguments(data, "--set", "utkface_test")) != 0
    assert "--set: no face in utkface_test" in capsys.readouterr().err
    assert not (data.parent / "out" / "summary.json").exists()
