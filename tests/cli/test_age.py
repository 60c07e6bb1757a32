"""``cascade age``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.cli import main
from cascade.imaging import marking
from cascade.imaging.marking import DIGITAL_SOURCE
from tests.cli.helpers import names, photo, portrait_photo, truncated_portrait
from tests.random_aging import save_random_aging


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_aging(tmp_path_factory.mktemp("aging") / "small.safetensors"))


@pytest.fixture
def age(generator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return lambda *argv: main(["age", *map(str, argv), "--aging-weights", generator, "--threads", "1"])


def test_a_picture_for_each_age_and_a_sheet(age, tmp_path: Path, capsys) -> None:
    portrait_photo("a.jpg")
    assert age("a.jpg", "--to", 10, 52.5, "--sheet") == 0
    assert names(tmp_path / "aged") == ["a_age10.jpg", "a_age52.5.jpg", "a_ages.jpg"]
    assert "1 photo, 1 face; pictures in aged" in capsys.readouterr().err
    with Image.open("a.jpg") as before, Image.open("aged/a_age10.jpg") as after, Image.open("aged/a_ages.jpg") as sheet:
        assert before.size == after.size and sheet.width > 3 * 224
        assert np.abs(np.asarray(before, int) - np.asarray(after, int)).max() > 20


def test_every_picture_says_that_it_is_synthetic(age, tmp_path: Path) -> None:
    portrait_photo("a.jpg")
    assert age("a.jpg", "--to", 30, "--sheet", "--out", "out") == 0
    for name in names(tmp_path / "out"):
        with Image.open(io.BytesIO((tmp_path / "out" / name).read_bytes())) as picture:
            assert DIGITAL_SOURCE.encode() in picture.info["xmp"]


def test_bad_photos_are_told_and_the_others_go_on(age, tmp_path: Path, capsys) -> None:
    portrait_photo("in/good.jpg")
    portrait_photo("in/two.jpg", people=2)
    photo(tmp_path / "in/none.png")
    truncated_portrait("in/truncated.jpg")
    assert age("in", "--to", 40) == 1
    err = capsys.readouterr().err
    assert "two.jpg: expected one face, found 2; --largest takes the largest" in err
    assert "none.png: expected one face, found 0" in err and "truncated.jpg:" in err
    assert "good_age40.jpg" in names(tmp_path / "aged")
    assert age("in/two.jpg", "--to", 40, "--largest") == 0 == age("in/two.jpg", "--to", 40, "--all")


def test_a_face_too_small_is_told(age, tmp_path: Path, capsys) -> None:
    small = np.asarray(Image.open(portrait_photo("a.jpg")).resize((128, 128)))
    canvas = np.full((300, 300, 3), 128, np.uint8)
    canvas[80:208, 80:208] = small
    Image.fromarray(canvas).save("small.png")
    assert age("small.png", "--to", 40) == 1
    assert "small.png: the face is too small, so it stays as it is" in capsys.readouterr().err


def test_of_several_faces_those_that_stay_are_told(age, capsys) -> None:
    photo = np.asarray(Image.open(portrait_photo("a.jpg")))
    canvas = np.full((512, 700, 3), 128, np.uint8)
    canvas[:, :512] = photo
    canvas[80:208, 540:668] = photo[::4, ::4]
    Image.fromarray(canvas).save("both.png")
    assert age("both.png", "--to", 40, "--all") == 1
    err = capsys.readouterr().err
    assert "both.png: 1 of 2 faces stays as it is: too small" in err and "1 photo, 1 face, 1 problem" in err


def test_ages_that_were_not_learned_are_told(age, capsys) -> None:
    portrait_photo("a.jpg")
    assert age("a.jpg", "--to", 60, 100) == 0
    err = capsys.readouterr().err
    assert "--to 100: the generator has learned 0 to 60 years, so this shows 60" in err and "--to 60:" not in err


def test_what_is_stated_is_the_age_shown(age, tmp_path: Path, monkeypatch) -> None:
    stamps: list[str] = []
    monkeypatch.setattr(marking, "mark_synthetic", lambda image, more: stamps.append(more) or image)
    portrait_photo("a.jpg")
    assert age("a.jpg", "--to", 80, 20, 100, 60, "--sheet") == 0  # one picture where two ages become one
    assert stamps == ["age 60", "age 20"]
    assert names(tmp_path / "aged") == ["a_age20.jpg", "a_age60.jpg", "a_ages.jpg"]
    for name, told in (("a_age20", "at age 20,"), ("a_age60", "at age 60,"), ("a_ages", "at ages 60, 20,")):
        with Image.open(tmp_path / f"aged/{name}.jpg") as picture:
            assert told.encode() in picture.info["xmp"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--to", "101"], "--to: expected 0 to 100"),
        (["--to", "-1"], "--to: expected 0 to 100"),
        (["--to", "nan"], "--to: expected 0 to 100"),
        (["--to", "old"], "argument --to: invalid float value"),
        (["--largest", "--all"], "not allowed with argument"),
    ],
)
def test_wrong_options(age, tmp_path: Path, capsys, argv: list[str], message: str) -> None:
    portrait_photo("a.jpg")
    assert age("a.jpg", *argv) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "aged").exists()


def test_help_says_what_it_is_not_for(capsys) -> None:
    assert main(["age", "--help"]) == 0
    told = capsys.readouterr().out
    assert "what it is not for" in told and "missing people" in told and "synthetic" in told
