"""``cascade duplicates``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.cli import batch, main
from tests.archive.test_duplicates import scene
from tests.cli.helpers import truncated
from tests.photos import PORTRAIT, portrait


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The portrait, a copy of the file, a smaller one, and two photos of other things."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PORTRAIT, photos / "a.jpg")
    shutil.copy(PORTRAIT, photos / "b.jpg")
    Image.fromarray(portrait()).resize((200, 200)).save(photos / "<c>.png")
    scene(1).save(photos / "d.png")
    scene(2).save(photos / "e.png")
    return tmp_path


def test_sets_are_printed_and_nothing_changes(folder: Path, capsys) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "photos").iterdir()}
    assert main(["duplicates", "photos"]) == 0
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.splitlines()]
    assert [(row[0], row[1], Path(row[3]).name) for row in rows] == [
        ("1", "identical", "a.jpg"), ("1", "identical", "b.jpg"), ("1", "near-identical", "<c>.png"),
    ]  # fmt: skip
    assert printed.err.endswith("5 photos, 1 set, 3 photos in them\n")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "photos").iterdir()} == before


def test_reports(folder: Path) -> None:
    for name in ("same.csv", "same.json", "same.html"):
        assert main(["duplicates", "photos", "--out", name]) == 0
    with open("same.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [Path(row["path"]).name for row in rows] == ["a.jpg", "b.jpg", "<c>.png"]
    assert (rows[0]["width"], rows[2]["width"]) == ("512", "200")
    (photos,) = json.loads(Path("same.json").read_text())
    assert [each["kind"] for each in photos] == ["identical", "identical", "near-identical"]
    page = Path("same.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert "&lt;c&gt;.png" in page
    assert "<c>" not in page
    assert main(["duplicates", "photos", "--out", "same.csv"]) == 2  # never replaced


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_page_is_utf_8_where_names_are_not(folder: Path) -> None:
    os.rename(b"photos/b.jpg", b"photos/caf\xe9.jpg")
    assert main(["duplicates", "photos", "--out", "same.html"]) == 0
    assert "caf\\udce9.jpg" in Path("same.html").read_text(encoding="utf-8")
    assert main(["duplicates", "photos", "--out", "same.csv"]) == 0
    assert b"caf\xe9.jpg" in Path("same.csv").read_bytes()


def test_progress_is_told_without_faces(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "LINE_SECONDS", 0.0)
    assert main(["duplicates", "photos", "--out", "same.csv"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " photos/s, " in line]
    assert len(lines) == 4
    assert all(line.startswith(f"{number} of 5 photos; ") for number, line in enumerate(lines, start=1))


def test_a_bad_photo_is_reported_and_the_others_go_on(folder: Path, capsys) -> None:
    truncated(folder / "photos" / "bad.jpg")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "photos" / "one.png")
    assert main(["duplicates", "photos"]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert "bad.jpg" in printed.err
    assert "1 problem" in printed.err


def test_an_index_also_has_faces(folder: Path, capsys) -> None:
    pytest.importorskip("pyarrow")
    Image.fromarray(portrait()[20:240, 130:330]).save(folder / "photos" / "cut.png")
    assert main(["index", "photos", "--out", "index", "--processes", "1", "--min-face", "40"]) == 0
    capsys.readouterr()
    assert main(["duplicates", "index"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {(row[1], Path(row[3]).name) for row in rows} == {
        ("identical", "a.jpg"), ("identical", "b.jpg"), ("near-identical", "<c>.png"), ("same face picture", "cut.png"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name an index, a photo or a folder"),
        (["photos", "--out", "same.txt"], "expected a file that ends in .csv, .json, .html"),
        (["photos", "--likeness", "2"], "--likeness: expected 0 to 1"),
        (["nowhere"], "there is no such file or folder"),
    ],
)
def test_wrong_options(folder: Path, capsys, words: list[str], says: str) -> None:
    assert main(["duplicates", *words]) == 2
    assert says in capsys.readouterr().err
