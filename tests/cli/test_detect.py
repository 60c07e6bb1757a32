"""``cascade detect``: what it writes, and where."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cascade.cli
import cascade.detect
from cascade.cli import console, main, results
from cascade.faces import LANDMARK_NAMES, Faces
from cascade.imaging.reading import read_image
from tests.cli.helpers import (
    SIZE,
    names,
    photo,
    posix_only,
    records,
    truncated,
)
from tests.photos import PORTRAIT

CSV_COLUMNS = "path,face,x1,y1,x2,y2,score," + ",".join(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")


def test_records_are_what_the_detector_finds(run, weights, capsys, tmp_path):
    path = photo(tmp_path / "a.jpg")
    assert run(path) == 0
    out, err = capsys.readouterr()
    faces = cascade.detect.detect(path, weights=weights, min_face=30)
    assert len(faces) > 0
    width, height = SIZE
    assert records(out) == [{"path": str(path), "width": width, "height": height, "faces": faces.to_dicts()}]
    assert err == f"1 photo, {len(faces)} face{'s' * (len(faces) > 1)}\n"


def test_settings_reach_the_detector(run, capsys, tmp_path):
    path = photo(tmp_path / "a.jpg")
    assert run(path, "--thresholds", "0.5", "0.5", "1") == 0
    assert records(capsys.readouterr().out)[0]["faces"] == []
    assert run(path, "--min-face", "100", "--max-face", "200", "--scale-factor", "0.8", "--threads", "1") == 0
    assert records(capsys.readouterr().out)[0]["faces"] == []


def test_precision_reaches_the_detector(capsys):
    found = []
    for precision in ("int8", "float32"):
        assert main(["detect", str(PORTRAIT), "--precision", precision, "--threads", "1"]) == 0
        found.append(records(capsys.readouterr().out)[0]["faces"])
        assert found[-1] == cascade.detect.Detector(precision=precision, threads=1).detect(PORTRAIT).to_dicts()
    assert found[0] != found[1]


def test_a_precision_that_cannot_be_is_told(run, capsys, tmp_path):
    path = photo(tmp_path / "a.jpg")
    assert run(path, "--precision", "float32") == 0
    capsys.readouterr()
    assert run(path, "--precision", "int8") == console.BAD_USAGE
    assert "there are no activation ranges, which int8 needs" in capsys.readouterr().err
    assert run(path, "--precision", "int8", "--engine", "torch") == console.BAD_USAGE
    assert "--precision: the torch engine computes in float32" in capsys.readouterr().err


def test_torch_engine(run, capsys, tmp_path):
    path = photo(tmp_path / "a.jpg")
    assert run(path) == 0
    native = records(capsys.readouterr().out)[0]["faces"]
    assert run(path, "--engine", "torch", "--device", "cpu") == 0
    assert len(records(capsys.readouterr().out)[0]["faces"]) == len(native)
    assert run(path, "--engine", "torch", "--device", "abacus") == console.BAD_USAGE
    assert "--device: " in capsys.readouterr().err


def test_torch_engine_without_torch(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cascade.engines.torch.engine", raising=False)
    assert run(photo(tmp_path / "a.jpg"), "--engine", "torch") == console.BAD_USAGE
    err = capsys.readouterr().err
    assert "--engine torch: " in err
    assert "pip install" in err


def test_order_is_that_of_the_paths_and_by_name_in_a_folder(run, capsys, tmp_path):
    for name in ("z/b.png", "z/a.jpg", "z/sub/c.JPG", "z/.hidden.jpg", "z/.cache/d.jpg", "y.bmp"):
        photo(tmp_path / name)
    (tmp_path / "z/notes.txt").write_text("no photo")
    assert run("z", "y.bmp", "--no-progress", "z/a.jpg", "./y.bmp") == 0
    out, err = capsys.readouterr()
    assert [r["path"] for r in records(out)] == ["z/a.jpg", "z/b.png", "z/sub/c.JPG", "y.bmp"]
    assert err == ""


def test_jsonl_comes_photo_by_photo(run, tmp_path, monkeypatch):
    for name in "abc":
        photo(tmp_path / f"in/{name}.jpg")
    seen = []
    original = cascade.detect.Detector.detect

    def spying(self, image):
        seen.append((tmp_path / "out/faces.jsonl").read_text().count("\n"))
        return original(self, image)

    monkeypatch.setattr(cascade.detect.Detector, "detect", spying)
    assert run("in", "--out", "out") == 0
    assert seen == [0, 1, 2]


def test_json_is_one_array(run, capsys, tmp_path):
    for name in "ab":
        photo(tmp_path / f"in/{name}.jpg")
    assert run("in") == 0
    lines = records(capsys.readouterr().out)
    assert run("in", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == lines
    assert run("in", "--format", "json", "--out", "out") == 0
    assert json.loads((tmp_path / "out/faces.json").read_text()) == lines
    assert names(tmp_path / "out") == ["faces.json"]


def test_csv_has_a_row_per_face(run, capsys, tmp_path):
    path = photo(tmp_path / 'a, "b".jpg')
    assert run(path) == 0
    faces = Faces.from_dicts(records(capsys.readouterr().out)[0]["faces"])
    assert run(path, "--format", "csv") == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == CSV_COLUMNS
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(faces)
    for number, (row, face) in enumerate(zip(rows, faces, strict=True), start=1):
        assert row.pop("path") == str(path)
        assert row.pop("face") == str(number)
        values = np.array(list(row.values()), float)
        np.testing.assert_allclose(values, [*face.box, face.score, *face.landmarks.ravel()], rtol=1e-6)


def test_json_objects_by_an_option_of_that_name(run, capsys, tmp_path):
    path = photo(tmp_path / "a.jpg")
    assert run(path) == 0
    expected = capsys.readouterr().out
    assert run(path, "--json") == 0
    assert capsys.readouterr().out == expected
    assert run(path, "--json", "--format", "jsonl") == 0
    assert run(path, "--json", "--format", "csv") == console.BAD_USAGE
    assert "--json is --format jsonl, not csv" in capsys.readouterr().err


class Input:
    """Standard input that holds bytes."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.isatty = lambda: terminal


def test_a_photo_from_standard_input(run, capsys, tmp_path, monkeypatch):
    path = photo(tmp_path / "a.jpg")
    assert run(path) == 0
    [expected] = records(capsys.readouterr().out)
    for argv in (["-"], ["--json", "-"], ["-", "-"]):
        monkeypatch.setattr(sys, "stdin", Input(path.read_bytes()))
        assert run(*argv) == 0
        assert records(capsys.readouterr().out) == [{**expected, "path": "-"}]
    monkeypatch.setattr(sys, "stdin", Input(path.read_bytes()))
    assert run("a.jpg", "-", "--out", "out", "--draw") == 0
    assert names(tmp_path / "out") == ["a_faces.jpg", "faces.jsonl", "stdin_faces.jpg"]


@pytest.mark.parametrize("stdin", [None, Input(b"", terminal=True), Input(b""), Input(b"no photo")])
def test_no_photo_on_standard_input(stdin, run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("-") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("-: expected ")


def test_a_file_called_minus(run, capsys, tmp_path, monkeypatch):
    os.rename(photo(tmp_path / "a.jpg"), tmp_path / "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert run("./-") == 0
    assert records(capsys.readouterr().out)[0]["path"] == "./-"


@pytest.mark.parametrize("kind", results.FORMATS)
def test_results_of_photos_without_faces_and_of_none(kind, run, capsys, tmp_path):
    truncated(tmp_path / "bad/a.jpg")
    assert run("bad", "--format", kind) == console.SOME_FAILED
    empty = {"jsonl": "", "json": "[]\n", "csv": CSV_COLUMNS + "\n"}[kind]
    assert capsys.readouterr().out == empty
    photo(tmp_path / "good/a.jpg")
    assert run("good", "--format", kind, "--thresholds", "1", "1", "1") == 0
    out = capsys.readouterr().out
    if kind == "csv":
        assert out == empty
    else:
        found = json.loads(out) if kind == "json" else records(out)
        assert [r["faces"] for r in found] == [[]]


def test_every_kind_of_photo(run, capsys, tmp_path):
    picture = Image.open(photo(tmp_path / "source.png"))
    folder = tmp_path / "in"
    folder.mkdir()
    picture.convert("L").save(folder / "gray.png")
    alpha = picture.copy()
    alpha.putalpha(100)
    alpha.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "rotated.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    Image.new("RGB", SIZE).save(folder / "black.webp")
    assert run("in", "--out", "out", "--draw", "--crop") == 0
    width, height = SIZE
    found = {r["path"]: r for r in records((tmp_path / "out/faces.jsonl").read_text())}
    sizes = {Path(path).name: (r["width"], r["height"]) for path, r in found.items()}
    assert sizes == {
        "alpha.png": SIZE,
        "black.webp": SIZE,
        "gray.png": SIZE,
        "tiny.png": (1, 1),
        "rotated.jpg": (height, width),
    }
    assert read_image(tmp_path / "out/rotated_faces.jpg").shape == (width, height, 3)
    assert capsys.readouterr().err.startswith("5 photos, ")


def test_unusual_names(run, capsys, tmp_path):
    unusual = ["été à la plage.jpg", "日本 語.png", "-dash.jpg", "new\nline.jpg", "50%{x}.jpg"]
    for name in unusual:
        photo(tmp_path / "in dir" / name)
    assert run("in dir", "--out", "out ö", "--draw") == 0
    found = records((tmp_path / "out ö/faces.jsonl").read_text())
    assert {Path(r["path"]).name for r in found} == set(unusual)
    for name in unusual:
        assert (tmp_path / "out ö" / f"{Path(name).stem}_faces.jpg").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
@pytest.mark.parametrize("kind", results.FORMATS)
def test_a_name_that_is_not_unicode(kind, run, capsys, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    os.rename(photo(tmp_path / "a.png"), path)
    assert run(path, "--format", kind) == 0
    assert "xff" in capsys.readouterr().out.replace("udcff", "xff")
    assert run(path, "--format", kind, "--out", "out", "--draw") == 0
    assert os.path.exists(os.fsencode(tmp_path / "out") + b"/\xff_faces.jpg")
    text = (tmp_path / f"out/faces.{kind}").read_text(encoding="utf-8", errors="surrogateescape")
    if kind == "csv":
        assert next(csv.DictReader(io.StringIO(text)))["path"] == path
    else:
        assert json.loads(text if kind == "jsonl" else text[2:-2])["path"] == path


def test_annotated_copies_and_crops(run, tmp_path):
    source = photo(tmp_path / "in/sub/a.png")
    before = source.read_bytes()
    assert run("in", "--out", "out", "--draw", "--crop") == 0
    [record] = records((tmp_path / "out/faces.jsonl").read_text())
    faces = Faces.from_dicts(record["faces"])
    crops = [f"sub/a_face{number}.jpg" for number in range(1, len(faces) + 1)]
    assert names(tmp_path / "out") == sorted(["faces.jsonl", "sub/a_faces.jpg", *crops])
    drawn = read_image(tmp_path / "out/sub/a_faces.jpg").astype(int)
    assert np.abs(drawn - faces.draw(source)).mean() < 4
    for name, crop in zip(crops, faces.crop(source), strict=True):
        written = read_image(tmp_path / "out" / name)
        assert written.shape == crop.shape
        assert np.abs(written.astype(int) - crop).mean() < 8
    assert source.read_bytes() == before


def test_photos_of_one_name_do_not_meet(run, tmp_path):
    for seed, name in enumerate(["p/a/x.jpg", "p/b/x.jpg", "p/b/x.png", "p/b/X.webp", "p/b/x-2.jpg", "q/x.jpg"]):
        photo(tmp_path / name, seed)
    assert run("p/a", "p/b", "q/x.jpg", "--out", "out", "--draw") == 0
    drawn = [name for name in names(tmp_path / "out") if name.endswith("_faces.jpg")]
    assert drawn == sorted(f"{name}_faces.jpg" for name in ("p/a/x", "p/b/X", "p/b/x-2", "p/b/x-3", "p/b/x-4", "q/x"))


def test_photos_are_never_overwritten(run, tmp_path):
    for name in ("x.jpg", "x_faces.jpg", "x_face1.jpg", "y.png", "deep/Z_FACES.jpg", "deep/z.jpg"):
        photo(tmp_path / "in" / name)
    for _ in range(3):  # the second time its own pictures are among the photos
        before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*.*") if path.suffix != ".jsonl"}
        assert run("in", "--out", "in", "--draw", "--crop") == 0
        for path, content in before.items():
            assert path.read_bytes() == content
        assert len(names(tmp_path / "in")) > len(before)


@posix_only
def test_photos_are_not_overwritten_through_links(run, tmp_path):
    real = photo(tmp_path / "real/x_faces.jpg")
    photo(tmp_path / "real/x.jpg")
    before = real.read_bytes()
    (tmp_path / "view").symlink_to("real")
    (tmp_path / "link.jpg").symlink_to(real)
    assert run("link.jpg", "real/x.jpg", "--out", "out", "--draw") == 0
    assert run("real", "--out", "view", "--draw") == 0
    (tmp_path / "out2/real").mkdir(parents=True)
    (tmp_path / "out2/real/x_faces.jpg").symlink_to(real)
    assert run("real/x.jpg", "link.jpg", "--out", "out2", "--draw") == 0
    assert real.read_bytes() == before


def test_the_results_folder_is_not_searched(run, capsys, tmp_path):
    photo(tmp_path / "in/a.jpg")
    for _ in range(2):
        assert run("in", "--out", "in/found", "--draw") == 0
        assert len(records((tmp_path / "in/found/faces.jsonl").read_text())) == 1
    assert "in/found: left out" in capsys.readouterr().err
    assert run("in/found", "--thresholds", "1", "1", "1") == 0  # unless it is what was asked for
    assert [r["path"] for r in records(capsys.readouterr().out)] == ["in/found/a_faces.jpg"]


def test_a_picture_that_cannot_be_written(run, capsys, tmp_path):
    photo(tmp_path / "in" / f"{'n' * 248}.jpg")
    photo(tmp_path / "in/z.jpg")
    assert run("in", "--out", "out", "--draw") == console.SOME_FAILED
    assert "cannot write a picture" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["faces.jsonl", "z_faces.jpg"]
    assert len(records((tmp_path / "out/faces.jsonl").read_text())) == 2


def test_a_file_is_taken_whatever_its_suffix(run, capsys, tmp_path):
    os.rename(photo(tmp_path / "a.jpg"), tmp_path / "no suffix")
    assert run("no suffix", "--out", "out", "--draw") == 0
    assert names(tmp_path / "out") == ["faces.jsonl", "no suffix_faces.jpg"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("options", "bar"),
    [(["--out", "out"], True), (["--out", "out", "--no-progress"], False), ([], False)],
)
def test_progress_bar(options, bar, run, tmp_path, monkeypatch):
    photo(tmp_path / "in/a.jpg")
    truncated(tmp_path / "in/b.jpg")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run("in", *options) == console.SOME_FAILED
    assert ("photo/s" in err.getvalue()) == bar
    assert "in/b.jpg: expected complete JPEG data" in err.getvalue()


def test_photos_read_at_a_fraction_of_their_size_have_their_own_pixels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    portrait = Image.open(PORTRAIT).resize((1501, 1501))
    portrait.save(tmp_path / "a.jpg")
    boxes, sizes = [], []
    for decode in ("full", "reduced"):
        options = ["--min-face", "160", "--decode", decode, "--out", decode, "--draw", "--crop"]
        assert main(["detect", "a.jpg", *options]) == 0
        (found,) = records((tmp_path / decode / "faces.jsonl").read_text())
        assert (found["width"], found["height"]) == (1501, 1501)
        boxes.append(found["faces"][0]["box"])
        sizes.append([Image.open(path).size for path in sorted((tmp_path / decode).glob("*.jpg"))])
    assert np.abs(np.subtract(*boxes)).max() < 16
    assert boxes[0] != boxes[1]
    assert sizes[0][1] == sizes[1][1] == (1501, 1501)  # a_face1.jpg, a_faces.jpg
