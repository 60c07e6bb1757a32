"""``cascade gallery``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cascade.cli import console, main
from cascade.faces import Faces
from cascade.gallery import Gallery
from cascade.imaging.reading import read_image
from cascade.recognize import Recognizer
from tests.cli.helpers import (
    names,
    portrait_photo,
    truncated_portrait,
)


def test_a_gallery_from_beginning_to_end(run_recognition, capsys):
    portrait_photo("ann.jpg")
    portrait_photo("ann2.jpg", brightness=0.9)
    assert run_recognition("gallery", "add", "crew.gallery", "Ann Smith", "ann.jpg") == 0
    assert "1 photo, 1 face; 1 added or extended, crew.gallery holds 1" in capsys.readouterr().err
    assert run_recognition("gallery", "add", "crew.gallery", "Ann Smith", "ann2.jpg") == console.BAD_USAGE
    assert "Ann Smith: is in the gallery already; --extend" in capsys.readouterr().err
    assert run_recognition("gallery", "add", "crew.gallery", "Ann Smith", "ann2.jpg", "--extend") == 0
    assert run_recognition("gallery", "add", "crew.gallery", "--extend", "Zoë", "ann.jpg", "ann2.jpg") == 0
    capsys.readouterr()
    assert main(["gallery", "list", "crew.gallery"]) == 0
    out, err = capsys.readouterr()
    assert out == "Ann Smith\t2\nZoë\t2\n"
    assert err.startswith("2 people; embeddings of small (")
    assert run_recognition("gallery", "identify", "crew.gallery", "ann.jpg", "--top", "1") == 0
    out, err = capsys.readouterr()
    assert out.startswith("ann.jpg: face 1 at (22")
    assert out.endswith("): Ann Smith (1.00)\n")
    assert err == "1 photo, 1 face; threshold 0.5000\n"
    assert main(["gallery", "remove", "crew.gallery", "Zoë", "Eve"]) == console.BAD_USAGE
    assert "crew.gallery: there is no 'Eve'" in capsys.readouterr().err
    assert main(["gallery", "remove", "crew.gallery", "Zoë"]) == 0
    assert Gallery.load("crew.gallery").names == ("Ann Smith",)


def test_a_folder_of_people(run_recognition, capsys):
    portrait_photo("people/Ann/a.jpg")
    portrait_photo("people/Ann/deep/b.png", brightness=0.9)
    portrait_photo("people/Bob/group.jpg", people=2)
    portrait_photo("people/Zoë/a.png", brightness=0.7)
    portrait_photo("people/.hidden/a.jpg")
    truncated_portrait("people/Cut/a.jpg")
    Path("people/Empty").mkdir()
    portrait_photo("people/stray.jpg")
    assert run_recognition("gallery", "add", "g", "--folder", "people") == console.SOME_FAILED
    err = capsys.readouterr().err
    assert "Empty: no photos in this folder" in err
    assert "group.jpg: expected one face, found 2; --largest" in err
    assert "Bob: not added, since there is no usable photo" in err
    assert "Cut/a.jpg: " in err
    assert Gallery.load("g").counts == {"Ann": 2, "Zoë": 1}
    assert run_recognition("gallery", "add", "g", "--folder", "people", "--largest") == console.SOME_FAILED
    assert "Ann: is in the gallery already" in capsys.readouterr().err
    assert Gallery.load("g").counts == {"Ann": 2, "Zoë": 1, "Bob": 1}
    Path("nobody").mkdir()
    assert run_recognition("gallery", "add", "g", "--folder", "nobody") == console.BAD_USAGE
    assert "expected a subfolder for each person" in capsys.readouterr().err


def test_no_usable_photo_makes_no_gallery(run_recognition, tmp_path):
    portrait_photo("none.jpg", people=0)
    assert run_recognition("gallery", "add", "g", "Ann", "none.jpg") == console.SOME_FAILED
    assert names(tmp_path) == ["none.jpg"]


def test_identifying(run_recognition, capsys, tmp_path):
    portrait_photo("ann.jpg")
    portrait_photo("in/group.jpg", people=2)
    portrait_photo("in/none.jpg", people=0)
    truncated_portrait("in/cut.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "ann.jpg") == 0
    capsys.readouterr()
    assert (
        run_recognition("gallery", "identify", "g", "in", "--threshold", "-1", "--draw", "out") == console.SOME_FAILED
    )
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.partition(" at ")[0] for line in lines[:2]] == ["in/group.jpg: face 1", "in/group.jpg: face 2"]
    assert all("Ann (" in line for line in lines[:2])
    assert lines[2:] == ["in/none.jpg: no face"]
    assert "in/cut.jpg: expected complete JPEG" in err
    assert err.endswith("2 of 3 photos, 2 faces, 1 problem; threshold -1.0000; pictures in out\n")
    assert names(tmp_path / "out") == ["group_faces.jpg", "none_faces.jpg"]
    drawn = read_image("out/group_faces.jpg").astype(int)
    assert np.abs(drawn - read_image("in/group.jpg")).max() > 100


def test_identifying_as_json(run_recognition, capsys):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    capsys.readouterr()
    assert run_recognition("gallery", "identify", "g", "a.jpg", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["path"], record["width"], record["height"]) == ("a.jpg", 512, 512)
    [face] = record["faces"]
    assert face["matches"] == [{"name": "Ann", "similarity": 1.0}]
    assert len(Faces.from_dicts(record["faces"])) == 1


def test_an_empty_gallery(run_recognition, recognizer_weights, capsys):
    portrait_photo("a.jpg")
    Gallery(Recognizer(recognizer_weights)).save("g")
    assert main(["gallery", "list", "g"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nobody; ")
    assert run_recognition("gallery", "identify", "g", "a.jpg") == 0
    assert capsys.readouterr().out.endswith(": unknown\n")


def test_a_gallery_of_another_model(run_recognition, other_recognizer_weights, capsys):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()
    for argv in (["identify", "g", "a.jpg"], ["add", "g", "Bob", "a.jpg"]):
        assert main(["gallery", *argv, "--recognizer", other_recognizer_weights]) == console.BAD_USAGE
        err = capsys.readouterr().err
        assert "not comparable" in err
        assert Recognizer(other_recognizer_weights).weights.sha256 in err
    assert Path("g").read_bytes() == before


def test_a_damaged_gallery_is_kept(run_recognition, capsys):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    damaged = Path("g").read_bytes()[:-40]
    Path("g").write_bytes(damaged)
    capsys.readouterr()
    for argv in (["add", "g", "Bob", "a.jpg"], ["identify", "g", "a.jpg"]):
        assert run_recognition("gallery", *argv) == console.BAD_USAGE
        assert "g: not a gallery: damaged or cut short (File is not a zip file);" in capsys.readouterr().err
    assert main(["gallery", "remove", "g", "Ann"]) == console.BAD_USAGE
    assert Path("g").read_bytes() == damaged


def test_a_gallery_that_cannot_be_replaced(run_recognition, capsys, monkeypatch):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()

    def failing(*args):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("os.fsync", failing)
    assert run_recognition("gallery", "add", "g", "Bob", "a.jpg") == console.BAD_USAGE
    assert "g: the gallery cannot be written: Read-only file system" in capsys.readouterr().err
    assert Path("g").read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(run_recognition, capsys):
    portrait_photo("a.jpg")
    Path("closed").mkdir(mode=0o555)
    assert run_recognition("gallery", "add", "closed/g", "Ann", "a.jpg") == console.BAD_USAGE
    assert "closed/g: cannot write there" in capsys.readouterr().err


def test_ctrl_c_leaves_a_gallery_as_it_was(run_recognition, capsys, monkeypatch):
    portrait_photo("a.jpg")
    assert run_recognition("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()
    for name in "bc":
        portrait_photo(f"in/{name}.jpg")
    original, calls = Recognizer.embed, []

    def interrupted(self, image, faces):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, image, faces)

    monkeypatch.setattr(Recognizer, "embed", interrupted)
    assert run_recognition("gallery", "add", "g", "Bob", "in") == console.INTERRUPTED
    assert "stopped: 1 of 2 photos" in capsys.readouterr().err
    assert Path("g").read_bytes() == before
