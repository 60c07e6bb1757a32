"""``python -m eval attributes``: reports of our network and of files, and bad input refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.eval.helpers import is_picture, rows_of, run_eval, summary
from tests.photos import portrait
from tests.random_attributes import save_random_attributes

NAMES = ("5_0_2_201.jpg", "37_1_0_202.jpg", "62_1_3_203.jpg", "40_0_4_204.jpg")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_attributes(tmp_path_factory.mktemp("attributes") / "small.safetensors")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Crops of the portrait under names of UTKFace: three with the face, one without."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for at, name in enumerate(NAMES):
        crop = portrait()[40 + 2 * at : 190, 150:300]
        Image.fromarray(crop if at < 3 else portrait()[380:, 380:]).save(folder / name, quality=95)
    return folder


def arguments(faces: Path, *more: object) -> tuple[object, ...]:
    return ("attributes", "--images", faces, "--protocol", "utkface", "--out", faces.parent / "out", *more)


def test_our_network_is_evaluated_and_its_answers_again(faces: Path, weights: Path, tmp_path: Path, capsys) -> None:
    assert run_eval(*arguments(faces, "--weights", weights)) == 0
    report = summary(tmp_path / "out")
    assert set(report["tasks"]) == {"gender", "ethnicity", "age_twelve", "age_six", "age_three"}
    assert report["photos"] == 4 and report["settings"]["aligned_as_usual"] == 1 and report["broken_photos"] == 0
    assert report["tasks"]["gender"]["faces"] == 4 and report["tasks"]["gender"]["calibration_error"] is not None
    assert {"by_age", "by_ethnicity"} <= report["tasks"]["gender"].keys()
    assert report["age"]["mae"] > 0 and set(report["age"]["by_age"]) == {"0-9", "30-39", "40-49", "60-69"}
    assert len(report["weights_sha256"]) == 64 and report["command"].startswith("python -m eval attributes")
    for picture in ("gender.png", "age_six.png", "ages.png"):
        assert is_picture(tmp_path / "out" / picture)
    matrix = rows_of(tmp_path / "out" / "confusion_gender.csv")
    assert sum(int(row[name]) for row in matrix for name in ("male", "female")) == 4
    assert "by groups" not in capsys.readouterr().err

    again = tmp_path / "again"
    file = tmp_path / "out" / "predictions.csv"
    options = ("attributes", "--images", faces, "--protocol", "utkface", "--predictions", file, "--out", again)
    assert run_eval(*options) == 0
    second = summary(again)
    for task, figures in report["tasks"].items():
        assert second["tasks"][task]["accuracy"] == figures["accuracy"]
    assert second["age"]["mae"] == pytest.approx(report["age"]["mae"], abs=1e-3)


def test_other_models_stand_beside(faces: Path, tmp_path: Path, capsys) -> None:
    right = "name,age,gender\n5_0_2_201,5,male\n37_1_0_202,37,female\n62_1_3_203,62,female\n40_0_4_204,40,male\n"
    (tmp_path / "right.csv").write_text(right)
    (tmp_path / "part.csv").write_text("name,gender\n5_0_2_201,female\nother,male\n")
    given = ("--predictions", tmp_path / "right.csv", "--compare", f"part={tmp_path / 'part.csv'}")
    assert run_eval(*arguments(faces, *given)) == 0
    report = summary(tmp_path / "out")
    assert report["tasks"]["gender"]["accuracy"] == 1 and report["age"]["mae"] == 0
    part = report["compared"]["part"]["tasks"]["gender"]
    assert (part["accuracy"], part["accuracy_of_all"], part["without_answer"]) == (0, 0, 3)
    assert "no row for 3 photos" in capsys.readouterr().err
    assert run_eval(*arguments(faces, *given, "--name", "part")) == 1
    assert "two have the same name" in capsys.readouterr().err
    assert (tmp_path / "out" / "part" / "confusion_gender.csv").is_file()


def test_folders_and_parts_of_a_set(weights: Path, tmp_path: Path) -> None:
    for name in ("yes", "no"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(2):
            Image.fromarray(portrait()).save(tmp_path / "set" / name / f"{at}.png")
    options = ("attributes", "--images", tmp_path / "set", "--protocol", "folder", "--out", tmp_path / "out")
    given = ("--weights", weights, "--attribute", "smile", "--limit", "3")
    assert run_eval(*options, *given) == 0
    report = summary(tmp_path / "out")
    assert report["photos"] == 3 and report["subset"] == "3 of 4 photos" and set(report["tasks"]) == {"smile"}
    assert run_eval(*options, *given[:4], "--where", "smile=yes") == 0
    assert summary(tmp_path / "out")["photos"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--limit", "0"), "--limit: expected at least 1"),
        (("--where", "gender=none"), "--where: no photo has gender=none"),
        (("--predictions", "none.csv"), "none.csv: cannot be read"),
    ],
)
def test_bad_input_is_refused(faces: Path, weights: Path, capsys, more: tuple, message: str) -> None:
    assert run_eval(*arguments(faces, "--weights", weights, *more)) == 1
    assert message in capsys.readouterr().err


def test_a_broken_photo_is_counted(faces: Path, weights: Path, tmp_path: Path) -> None:
    (faces / NAMES[1]).write_bytes(b"no photo")
    assert run_eval(*arguments(faces, "--weights", weights)) == 0
    report = summary(tmp_path / "out")
    assert report["broken_photos"] == 1 and report["tasks"]["gender"]["without_answer"] == 1
    assert report["tasks"]["gender"]["accuracy"] is not None
