"""``cascade export``: each format from results, conversions, options that do not fit, photos that cannot be written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from cascade.cli import main
from cascade.cli.export_faces import FORMATS as ACTIONS
from cascade.cli.export_faces import INDEX, READABLE
from cascade.cli.results import open_results
from cascade.datasets import FORMATS, read_coco, read_xmp, read_yolo
from tests.photos import PORTRAIT, portrait_faces


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with photos/1.jpg, photos/2.jpg and their faces in found/faces.jsonl and .csv."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Path("photos", name).write_bytes(PORTRAIT.read_bytes())
    for kind in ("jsonl", "csv", "json"):
        Path("found").mkdir(exist_ok=True)
        with open_results(Path("found"), kind) as writer:
            for name in ("1.jpg", "2.jpg"):
                writer.add(f"photos/{name}", 512, 512, portrait_faces())
    return tmp_path


def out_of(kind: str) -> list[str]:
    return [] if kind == "xmp" else ["--out", "written"]


def test_every_format_has_an_action():
    assert list(ACTIONS) == list(FORMATS)
    assert all((FORMATS[name].photos is not None) for name in READABLE if name != INDEX)
    assert all(FORMATS[name].folder == (target == "DIR") for name, (_, target) in ACTIONS.items())


@pytest.mark.parametrize("source", ["found/faces.jsonl", "found/faces.csv", "found/faces.json"])
@pytest.mark.parametrize("kind", FORMATS)
def test_results_are_written_in_every_format(kind, source, folder, capsys):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    assert main(["export", kind, source, "--images", "photos", *out_of(kind)]) == 0
    assert "2 photos, 2 faces; written" in capsys.readouterr().err
    assert Path("photos/1.jpg.xmp" if kind == "xmp" else "written").exists()


def test_one_format_becomes_another(folder, capsys):
    assert main(["export", "cvat", "found/faces.jsonl", "--images", "photos", "--out", "a.xml"]) == 0
    assert main(["export", "coco", "a.xml", "--images", "photos", "--out", "a.json"]) == 0
    assert main(["export", "yolo-pose", "a.json", "--images", "photos", "--out", "set", "--photos", "copy"]) == 0
    face = portrait_faces()
    assert read_coco("a.json", "photos", strict=True)[1].boxes == pytest.approx(face.boxes, abs=0.01)
    (one, _) = read_yolo("set", strict=True)
    assert one.boxes == pytest.approx(face.boxes, abs=0.01)
    assert one.landmarks == pytest.approx(face.landmarks, abs=0.01)


def test_regions_go_into_files_only_when_told(folder):
    before = Path("photos/1.jpg").read_bytes()
    assert main(["export", "xmp", "found/faces.jsonl"]) == 0
    assert Path("photos/1.jpg").read_bytes() == before
    assert main(["export", "xmp", "found/faces.jsonl", "--out", "elsewhere", "--sidecars", "photo.xmp"]) == 0
    assert Path("elsewhere/photos/1.xmp").exists()
    Path("photos/1.jpg.xmp").unlink()
    assert main(["export", "xmp", "found/faces.jsonl", "--into-files"]) == 0
    assert Path("photos/1.jpg").read_bytes() != before
    assert Image.open("photos/1.jpg").tobytes() == Image.open(PORTRAIT).tobytes()
    assert read_xmp("photos")[0].boxes == pytest.approx(portrait_faces().boxes, abs=0.01)


def test_faces_of_low_scores_are_left_out(folder, capsys):
    assert main(["export", "json", "found/faces.jsonl", "--min-score", "0.999", "--out", "a.json"]) == 0
    assert "2 photos, 0 faces" in capsys.readouterr().err
    assert [record["faces"] for record in json.loads(Path("a.json").read_text())] == [[], []]


def test_label_studio_gets_its_interface(folder):
    options = ["--images", "photos", "--image-prefix", "s3://photos/", "--interface", "interface.xml"]
    assert main(["export", "labelstudio", "found/faces.jsonl", *options, "--out", "tasks.json"]) == 0
    assert json.loads(Path("tasks.json").read_text())[0]["data"]["image"] == "s3://photos/1.jpg"
    assert "<RectangleLabels" in Path("interface.xml").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gif"], "invalid choice"),
        (["coco"], "--out"),
        (["coco", "--out", "a.json"], "name one SOURCE"),
        (["coco", "a", "b", "--out", "a.json"], "name one SOURCE"),
        (["coco", "nothing.jsonl", "--out", "a.json"], "no such file"),
        (["coco", "photos/1.jpg", "--out", "a.json"], "not to be told"),
        (["coco", "photos/1.jpg", "--from", "jsonl", "--out", "a.json"], "not JSON"),
        (["coco", "found/faces.jsonl", "--from", "cvat", "--out", "a.json"], "not XML"),
        (["coco", "found/faces.jsonl", "--out", "photos"], "this is a folder"),
        (["yolo", "found/faces.jsonl", "--out", "photos/1.jpg"], "this is a file"),
        (["voc", "found/faces.jsonl", "--out", "photos"], "--overwrite"),
        (["coco", "found/faces.jsonl", "--out", "photos/1.jpg"], "--overwrite"),
        (["coco", "found/faces.jsonl", "--min-score", "2", "--out", "a.json"], "--min-score: expected 0 to 1"),
        (["xmp", "found/faces.jsonl", "--into-files", "--out", "a"], "--into-files"),
    ],
)
def test_what_cannot_be_done(argv, message, folder, capsys):
    before = sorted(path.as_posix() for path in folder.rglob("*"))
    assert main(["export", *argv]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.as_posix() for path in folder.rglob("*")) == before


def test_what_is_there_is_replaced_when_told(folder):
    Path("a.json").write_text("mine")
    assert main(["export", "coco", "found/faces.jsonl", "--out", "a.json"]) == 2
    assert Path("a.json").read_text() == "mine"
    assert main(["export", "coco", "found/faces.jsonl", "--out", "a.json", "--overwrite"]) == 0
    assert len(json.loads(Path("a.json").read_text())["images"]) == 2


def test_photos_that_are_gone_are_named_and_the_others_written(folder, capsys):
    Path("photos/1.jpg").unlink()
    assert main(["export", "xmp", "found/faces.jsonl"]) == 1
    err = capsys.readouterr().err
    assert "photos/1.jpg: expected an image file, but there is none" in err
    assert "1 of 2 photos, 1 face, 1 problem" in err
    assert Path("photos/2.jpg.xmp").exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_folders_that_cannot_be_written(folder, capsys):
    Path("photos").chmod(0o555)
    try:
        assert main(["export", "xmp", "found/faces.jsonl"]) == 1
    finally:
        Path("photos").chmod(0o755)
    assert "cannot write" in capsys.readouterr().err
