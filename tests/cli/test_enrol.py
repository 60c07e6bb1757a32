"""``cascade gallery add``: what it refuses, and what others do to the gallery meanwhile."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cascade.cli import console, main
from cascade.gallery import Gallery
from cascade.recognize import Recognizer
from tests.cli.helpers import command, portrait_photo, posix_only
from tests.photos import portrait


def meanwhile(monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
    """Lets another process run ``cascade`` while the first photo is embedded."""
    original, ran = Recognizer.enrol, []

    def enrol(self, *args, **options):
        if not ran:
            ran.append(1)
            subprocess.run([sys.executable, "-m", "cascade", *argv], check=True, capture_output=True)
        return original(self, *args, **options)

    monkeypatch.setattr(Recognizer, "enrol", enrol)


def test_a_person_removed_meanwhile_stays_removed(run_recognition, monkeypatch, capsys):
    portrait_photo("a.jpg")
    for name in ("Ann", "Bob"):
        assert run_recognition("gallery", "add", "g", name, "a.jpg") == 0
    meanwhile(monkeypatch, "gallery", "remove", "g", "Ann")
    assert run_recognition("gallery", "add", "g", "Zoë", "a.jpg") == 0
    assert Gallery.load("g").names == ("Bob", "Zoë")
    assert "1 added or extended, g holds 2" in capsys.readouterr().err


def test_a_person_to_extend_who_is_removed_meanwhile(run_recognition, monkeypatch, capsys):
    portrait_photo("a.jpg")
    for name in ("Ann", "Bob"):
        assert run_recognition("gallery", "add", "g", name, "a.jpg") == 0
    meanwhile(monkeypatch, "gallery", "remove", "g", "Ann")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg", "--extend") == console.SOME_FAILED
    assert "Ann: not added, since somebody has removed this person meanwhile" in capsys.readouterr().err
    assert Gallery.load("g").names == ("Bob",)


def test_a_person_of_that_name_added_meanwhile(run_recognition, recognizer_weights, monkeypatch, capsys):
    portrait_photo("a.jpg")
    portrait_photo("b.jpg", brightness=0.8)
    meanwhile(monkeypatch, "gallery", "add", "g", "Ann", "b.jpg", "--recognizer", recognizer_weights)
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == console.SOME_FAILED
    assert "Ann: not added, since somebody has added this person meanwhile" in capsys.readouterr().err
    assert Gallery.load("g").counts == {"Ann": 1}


def test_many_commands_at_once_lose_nobody(recognizer_weights, tmp_path):
    photo = portrait_photo(str(tmp_path / "a.jpg"))
    options = ["--recognizer", recognizer_weights, "--min-face", "40", "--threads", "1"]
    names = [f"Person {number}" for number in range(4)]
    processes = [command("gallery", "add", str(tmp_path / "g"), name, str(photo), *options) for name in names]
    assert [process.communicate() and process.returncode for process in processes] == [0] * 4
    assert sorted(Gallery.load(tmp_path / "g").names) == names
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "g"]


@posix_only
def test_a_gallery_is_its_owners(run_recognition):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    assert stat.S_IMODE(Path("g").stat().st_mode) == 0o600


def test_small_faces_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(portrait()).resize((115, 115), Image.Resampling.LANCZOS).save("small.png")
    assert main(["gallery", "add", "g", "Ann", "small.png"]) == console.SOME_FAILED
    assert "small.png: expected a face of at least 25 pixels" in (err := capsys.readouterr().err)
    assert "--allow-small takes it" in err
    assert not Path("g").exists()
    assert main(["gallery", "add", "g", "Ann", "small.png", "--allow-small"]) == 0
    portrait_photo("large.png")
    assert main(["gallery", "add", "g", "Bob", "large.png"]) == 0


def test_blurred_faces_are_refused(run_recognition, capsys):
    Image.fromarray(portrait()).filter(ImageFilter.GaussianBlur(5)).save("blurred.png")
    assert run_recognition("gallery", "add", "g", "Ann", "blurred.png") == console.SOME_FAILED
    assert "blurred.png: the face is blurred (quality 0.0" in (err := capsys.readouterr().err)
    assert "--allow-poor takes it" in err
    assert run_recognition("gallery", "add", "g", "Ann", "blurred.png", "--allow-poor") == 0
    assert run_recognition("gallery", "identify", "g", "blurred.png", "--pooled") == 0
    assert "Ann (1.00)" in capsys.readouterr().out


def test_faces_upside_down_are_refused_unless_the_photo_is_searched_so(recognizer_weights, tmp_path, capsys):
    upside, gallery = str(tmp_path / "upside.png"), str(tmp_path / "g")
    Image.fromarray(portrait()).resize((450, 450)).rotate(180).save(upside)
    options = ["--recognizer", recognizer_weights, "--threads", "1"]
    assert main(["gallery", "add", gallery, "Ann", upside, *options]) == console.SOME_FAILED
    err = capsys.readouterr().err
    assert "upside.png: the face is " in err and "rotated by 1" in err
    assert "rotate the photo, or search with rotations; --allow-poor takes it" in err
    options += ["--rotations", "0", "180"]
    assert main(["gallery", "add", gallery, "Ann", upside, *options]) == 0
    assert main(["gallery", "identify", gallery, upside, *options]) == 0
    assert "Ann (1.00)" in capsys.readouterr().out


def two_people(self: Recognizer, photo: str, *args: object, **options: object) -> np.ndarray:
    """Embeddings as of two people, by the first letter of the photo's name."""
    embedding = np.zeros(self.dimension, np.float32)
    embedding[ord(Path(photo).name[0]) - ord("a")] = 1
    return embedding


def test_photos_of_several_people_are_not_one_person(run_recognition, capsys, monkeypatch):
    monkeypatch.setattr(Recognizer, "enrol", two_people)
    for name in ("a1", "a2", "a3", "b1"):
        portrait_photo(f"in/{name}.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "in", "--largest") == console.SOME_FAILED
    err = capsys.readouterr().err
    assert "Ann: not added, since 1 of 4 faces are unlike the others, as other people's are: in/b1.jpg" in err
    assert not Path("g").exists()
    assert run_recognition("gallery", "add", "g", "Ann", "in", "--allow-unlike") == 0
    assert Gallery.load("g").counts == {"Ann": 4}
    Path("g").unlink()
    assert run_recognition("gallery", "add", "g", "Ann", "in/a1.jpg", "in/a2.jpg") == 0
    assert run_recognition("gallery", "add", "g", "Ann", "in/b1.jpg", "--extend") == console.SOME_FAILED
    assert "1 of 1 face are unlike" in capsys.readouterr().err
    assert Gallery.load("g").counts == {"Ann": 2}


def test_naming_nobody_twice_in_a_photo(run_recognition, capsys):
    portrait_photo("ann.jpg")
    portrait_photo("group.jpg", people=3)
    assert run_recognition("gallery", "add", "g", "Ann", "ann.jpg") == 0
    capsys.readouterr()
    assert run_recognition("gallery", "identify", "g", "group.jpg", "--threshold", "-1") == 0
    assert capsys.readouterr().out.count("Ann (") == 3
    assert run_recognition("gallery", "identify", "g", "group.jpg", "--threshold", "-1", "--once") == 0
    out = capsys.readouterr().out
    assert (out.count("Ann ("), out.count("unknown")) == (1, 2)


def test_a_photo_in_place_of_a_gallery(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    portrait_photo("a.jpg")
    for argv in (["list", "a.jpg"], ["remove", "a.jpg", "Ann"], ["identify", "a.jpg", "a.jpg"]):
        assert main(["gallery", *argv]) == console.BAD_USAGE
        err = capsys.readouterr().err
        assert "a.jpg: not a gallery" in err
        assert "pickle" not in err
        assert len(err) < 300


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_list_that_cannot_be_written(run_recognition):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    with open("/dev/full", "w") as full:
        process = command("gallery", "list", "g", stdout=full)
        _, err = process.communicate()
    assert process.returncode == console.SOME_FAILED
    assert err.count("\n") <= 2
    assert "cannot write to standard output" in err
