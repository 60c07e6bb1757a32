"""``cascade verify``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageFilter

from cascade.cli import console, main
from cascade.recognize import Recognizer
from tests.cli.helpers import (
    portrait_photo,
    truncated_portrait,
)
from tests.photos import PORTRAIT, portrait
from tests.random_recognizer import FIGURES, save_random_recognizer


def test_the_same_person(run_recognition, capsys):
    portrait_photo("a.jpg")
    portrait_photo("b.png", brightness=0.8)
    assert run_recognition("verify", "a.jpg", "b.png") == 0
    out, err = capsys.readouterr()
    assert "the same person" in out
    assert "threshold   0.5000" in out
    assert "1 % of pairs of different people" in out
    assert f"measured on {FIGURES['measured_on']}" in out
    assert err == ""


def test_the_probability(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    portrait_photo("a.jpg")
    stated = {"curves": [{"oldest": None, "slope": 10.0, "offset": -8.0}], "measured_on": "nobody"}
    weights = str(save_random_recognizer(tmp_path / "w.safetensors", calibration=stated))
    options = ["--recognizer", weights, "--min-face", "40", "--threads", "1"]
    assert main(["verify", "a.jpg", "a.jpg", *options]) == 0
    assert "probability 88.1 % that it is one person, if half of all pairs compared are" in capsys.readouterr().out
    assert main(["verify", "a.jpg", "a.jpg", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["probability"] == pytest.approx(0.8808, abs=1e-3)


def test_different_people(run_recognition, capsys):
    portrait_photo("a.jpg")
    portrait_photo("b.jpg", brightness=0.5)
    assert run_recognition("verify", "a.jpg", "--threshold", "1", "b.jpg") == 1
    out = capsys.readouterr().out
    assert "different people" in out
    assert "not measured for this threshold" in out


def test_the_number_of_faces(run_recognition, capsys):
    portrait_photo("one.jpg")
    portrait_photo("two.jpg", people=2)
    portrait_photo("none.jpg", people=0)
    assert run_recognition("verify", "one.jpg", "two.jpg") == console.BAD_USAGE
    assert "two.jpg: expected one face, found 2; --largest takes the largest" in capsys.readouterr().err
    assert run_recognition("verify", "none.jpg", "one.jpg", "--largest") == console.BAD_USAGE
    assert "none.jpg: expected one face, found 0\n" in capsys.readouterr().err
    assert run_recognition("verify", "one.jpg", "two.jpg", "--largest") == 0


def test_photos_that_cannot_be_compared(run_recognition, capsys, monkeypatch):
    portrait_photo("a.jpg")
    truncated_portrait("cut.jpg")
    Image.new("RGB", (1, 1)).save("tiny.png")
    for name, message in (("cut.jpg", "cut short"), ("tiny.png", "found 0"), (".", "directory")):
        assert run_recognition("verify", "a.jpg", name) == console.BAD_USAGE
        err = capsys.readouterr().err
        assert f"cascade: {name}: " in err
        assert message in err
    monkeypatch.setattr(Recognizer, "verify", lambda *args, **options: 1 / 0)
    assert run_recognition("verify", "a.jpg", "a.jpg") == console.BAD_USAGE  # not 1, which would mean different people
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_not_a_decision(recognizer_weights):
    argv = ["verify", str(PORTRAIT), str(PORTRAIT), "--recognizer", recognizer_weights]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cascade", *argv], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == console.BAD_USAGE
    assert b"cannot write to standard output" in done.stderr


def test_a_poor_photo_gives_a_warning(run_recognition, capsys):
    portrait_photo("a.jpg")
    Image.fromarray(portrait()).filter(ImageFilter.GaussianBlur(5)).save("b.png")
    assert run_recognition("verify", "a.jpg", "b.png") in (0, 1)
    out, err = capsys.readouterr()
    assert err == "warning: second face: blurred\n"
    assert "1 % of pairs of different people reach this threshold" in out
    assert run_recognition("verify", "a.jpg", "b.png", "--json") in (0, 1)
    assert json.loads(capsys.readouterr().out)["problems"] == [[], ["blurred"]]


def test_a_face_upside_down_gives_a_warning(capsys, tmp_path):
    upright, upside = (str(tmp_path / f"{name}.jpg") for name in ("upright", "upside"))
    photo = Image.fromarray(portrait()).resize((300, 300))
    photo.save(upright)
    photo.rotate(180).save(upside)
    main(["verify", upright, upside, "--json"])
    out, err = capsys.readouterr()
    first, second = json.loads(out)["problems"]
    assert first == [] and second[0].startswith("rotated by 1")
    assert err == f"warning: second face: {second[0]}; rotate the photo, or search with rotations\n"
    assert main(["verify", upright, upside, "--rotations", "0", "180"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["verify", upright, upside, "--rotations", "45"]) == console.BAD_USAGE
    assert "--rotations: expected one or more of 0, 90, 180, 270" in capsys.readouterr().err


def test_verify_with_the_shipped_weights(capsys, tmp_path):
    Image.fromarray(portrait()[:, ::-1]).save(tmp_path / "mirrored.jpg")
    assert main(["verify", str(PORTRAIT), str(tmp_path / "mirrored.jpg")]) == 0
    assert "the same person" in capsys.readouterr().out


def test_a_comparison_as_json(run_recognition, capsys):
    portrait_photo("a.jpg")
    assert run_recognition("verify", "a.jpg", "a.jpg", "--json") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["paths"], found["similarity"], found["same"]) == (["a.jpg", "a.jpg"], 1.0, True)
    assert (found["threshold"], found["false_accept_rate"], found["true_accept_rate"]) == (0.5, 0.01, 0.9)
    assert found["face_sizes"] == pytest.approx([99, 99], abs=10)
    assert found["warning"] is None
    assert err == ""
    assert run_recognition("verify", "a.jpg", "a.jpg", "--json", "--threshold", "0.7") == 0
    assert json.loads(capsys.readouterr().out)["false_accept_rate"] is None


def shrunk_portrait(name: str, face: float) -> str:
    """The portrait with a face of about that many pixels."""
    side = round(512 * face / 99)
    Image.fromarray(portrait()).resize((side, side), Image.Resampling.LANCZOS).save(name)
    return name


def test_small_faces_with_the_shipped_weights(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    large = portrait_photo("large.png")
    small, tiny = shrunk_portrait("small.png", 22), shrunk_portrait("tiny.png", 15)
    stated = Recognizer().operating_point.false_accept_rate
    assert main(["verify", small, small]) == 0
    out, err = capsys.readouterr()
    assert "with faces of that size reach this threshold" in out
    assert err.startswith("warning: the faces have 2")
    assert main(["verify", small, small, "--json"]) == 0
    assert 2 * stated < json.loads(capsys.readouterr().out)["false_accept_rate"] <= 10 * stated
    assert main(["verify", tiny, tiny, "--min-face", "12", "--json"]) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert json.loads(out)["same"] is None
    assert "too small to tell" in err
    assert main(["verify", tiny, tiny, "--min-face", "12"]) == console.BAD_USAGE
    assert "decision    too small to tell" in capsys.readouterr().out
    assert main(["verify", tiny, tiny, "--min-face", "12", "--threshold", "0.3"]) == 0  # one's own always decides
    out, err = capsys.readouterr()
    assert "decision    the same person" in out and err.startswith("warning: the faces have 1")
    assert main(["verify", str(large), small]) == 0
    assert "% of pairs of different people with faces of that size reach" in capsys.readouterr().out
    assert main(["verify", str(large), str(large)]) == 0
    assert "0.1 % of pairs of different people reach this threshold" in capsys.readouterr().out
