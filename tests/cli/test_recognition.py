"""Options of ``cascade embed``, ``verify`` and ``gallery``: help and wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cascade.cli
import cascade.detect
from cascade.cli import console, main
from tests.cli.helpers import (
    names,
    portrait_photo,
)
from tests.random_recognizer import save_random_recognizer


@pytest.mark.parametrize(
    "argv",
    [["embed"], ["verify"], ["gallery"], *(["gallery", action] for action in ("add", "list", "remove", "identify"))],
)
def test_help(argv, capsys):
    assert main([*argv, "--help"]) == 0
    assert f"usage: cascade {' '.join(argv)}" in capsys.readouterr().out


def test_a_gallery_alone_prints_help(capsys):
    assert main(["gallery"]) == 0
    assert "identify" in capsys.readouterr().out


def test_help_is_quick():
    package = str(Path(cascade.cli.gallery.__file__).parents[1])
    code = (
        "import sys, types; sys.modules['cascade'] = package = types.ModuleType('cascade');"
        f"package.__path__ = [{package!r}]; from cascade.cli import main\n"
        "for argv in (['embed'], ['verify'], ['gallery', 'identify']): assert main([*argv, '--help']) == 0\n"
        "heavy = {'numpy', 'cv2', 'torch', 'tqdm', 'safetensors'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["embed"], "name a photo or a folder"),
        (["embed", "a.jpg", "--out", "faces.csv"], ".npz"),
        (["embed", "a.jpg", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["embed", "nothing.jpg"], "nothing.jpg: there is no such file or folder"),
        (["verify"], "name two photos, got 0"),
        (["verify", "a.jpg"], "name two photos, got 1"),
        (["verify", "a.jpg", "b.jpg", "c.jpg"], "name two photos, got 3"),
        (["verify", "a.jpg", "nothing.jpg"], "nothing.jpg: "),
        (["verify", "a.jpg", "a.jpg", "--threshold", "2"], "--threshold: expected -1 to 1"),
        (["verify", "a.jpg", "a.jpg", "--threshold", "nan"], "--threshold: expected -1 to 1"),
        (["verify", "a.jpg", "a.jpg", "--threads", "0"], "--threads: expected"),
        (["verify", "a.jpg", "a.jpg", "--min-face", "1"], "--min-face: expected"),
        (["verify", "a.jpg", "a.jpg", "--weights", "nothing"], "nothing"),
        (["verify", "a.jpg", "a.jpg", "--recognizer", "nothing"], "--recognizer: expected a safetensors file"),
        (["gallery", "frobnicate"], "invalid choice"),
        (["gallery", "add"], "GALLERY"),
        (["gallery", "add", "g"], "give a name and photos"),
        (["gallery", "add", "g", "Ann"], "give a name and photos"),
        (["gallery", "add", "g", "Ann", "--folder", "people"], "give a name and photos"),
        (["gallery", "add", "g", "--folder", "nothing"], "--folder nothing: No such file"),
        (["gallery", "add", "g", "Ann", "nothing.jpg"], "nothing.jpg: there is no such file"),
        (["gallery", "add", "g", "a\nb", "a.jpg"], "name: expected no control characters"),
        (["gallery", "add", "nowhere/g", "Ann", "a.jpg"], "cannot write there"),
        (["gallery", "add", ".", "Ann", "a.jpg"], "this is a folder"),
        (["gallery", "list", "nothing"], "nothing: there is no such gallery"),
        (["gallery", "list", "a.jpg"], "a.jpg: not a gallery"),
        (["gallery", "remove", "nothing"], "name a person"),
        (["gallery", "identify", "nothing"], "name a photo"),
        (["gallery", "identify", "nothing", "a.jpg"], "nothing: there is no such gallery"),
        (["gallery", "identify", "nothing", "a.jpg", "--top", "0"], "--top: expected"),
        (["gallery", "identify", "nothing", "a.jpg", "--threshold", "-7"], "--threshold: expected"),
    ],
)
def test_bad_usage(argv, message, recognizer_weights, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    portrait_photo("a.jpg")
    takes_options = argv[0] != "gallery" or argv[1:2] in (["add"], ["identify"])
    named = "--recognizer" in argv or not takes_options
    assert main([*argv, *([] if named else ["--recognizer", recognizer_weights])]) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert names(tmp_path) == ["a.jpg"]


def test_weights_without_a_threshold(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    silent = ["--recognizer", str(save_random_recognizer(tmp_path / "silent.safetensors", verification=None))]
    portrait_photo("a.jpg")
    assert main(["gallery", "add", "g", "Ann", "a.jpg", *silent]) == 0
    for argv in (["verify", "a.jpg", "a.jpg"], ["gallery", "identify", "g", "a.jpg"]):
        assert main([*argv, *silent]) == console.BAD_USAGE
        assert "give one with --threshold" in capsys.readouterr().err
        assert main([*argv, *silent, "--threshold", "0.5"]) == 0
