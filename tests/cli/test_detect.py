"""The command line: what it writes, where, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import csv
import errno
import inspect
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cascade.detect
from cascade.cli import batch, console, detect, main, results
from cascade.cli.photos import find_photos, name_results
from cascade.faces import LANDMARK_NAMES, Faces
from cascade.imaging.reading import read_image
from cascade.models.detector import save_stage, shipped_detectors
from cascade.nn.architectures import ARCHITECTURES
from cascade.version import __version__
from tests.photos import PORTRAIT, portrait

SIZE = (80, 60)  # width, height of the test photos
CSV_COLUMNS = "path,face,x1,y1,x2,y2,score," + ",".join(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals, pipes or devices of POSIX")


def untrained(folder: Path) -> Path:
    """Write a set of weights that has learned nothing, but takes most windows for faces."""
    rng = np.random.default_rng(5)
    for stage, architecture in ARCHITECTURES["default"].items():
        tensors, channels = {}, 3
        for index, layer in enumerate(architecture.layers):
            shape = (layer.channels, channels, layer.kernel, layer.kernel)
            scale = np.sqrt(2 / (channels * layer.kernel**2))
            tensors[f"{index}.weight"] = (rng.normal(size=shape) * scale).astype(np.float32)
            tensors[f"{index}.bias"] = np.zeros(layer.channels, np.float32)
            channels = layer.channels
        tensors[f"{index}.weight"] *= 0.01
        tensors[f"{index}.bias"][:6] = 0, 2, 0.02, 0.03, -0.04, 0.05
        tensors[f"{index}.bias"][6:] = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.3, 0.8], [0.7, 0.8]]).ravel()
        metadata = {"licence": "CC0", "data": f"nothing at all ({stage})"}
        save_stage(folder / f"{stage}.safetensors", architecture, tensors, metadata)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(untrained(tmp_path_factory.mktemp("weights") / "untrained"))


@pytest.fixture
def run(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run ``cascade detect`` with the untrained weights, in tmp_path."""
    monkeypatch.chdir(tmp_path)
    return lambda *argv: main(["detect", "--weights", weights, "--min-face", "30", *map(str, argv)])


def photo(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def truncated(path: Path) -> Path:
    photo(path)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def command(*argv: str, **options: object) -> subprocess.Popen[str]:
    """Start ``python -m cascade`` on its own, with output to be read from it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen([sys.executable, "-m", "cascade", *argv], env=environment, **pipes)


# --------------------------------------------------------------------------------------------------
# Help, version, bad usage


def test_alone_it_prints_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "detect" in out
    assert "models" in out
    assert "examples:" in out


@pytest.mark.parametrize("argv", [["--help"], ["detect", "--help"], ["models", "--help"]])
def test_help(argv, capsys):
    assert main(argv) == 0
    assert "usage: cascade" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cascade {__version__}\n"


def test_runs_as_a_module():
    process = command("--version")
    assert process.communicate()[0] == f"cascade {__version__}\n"
    assert process.returncode == 0


def test_help_names_the_detectors_defaults(capsys):
    main(["detect", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    defaults = {n: p.default for n, p in inspect.signature(cascade.detect.Detector).parameters.items()}
    assert set(detect.SETTINGS) == set(defaults)
    for name in ("min_face", "scale_factor"):
        assert f"(default: {defaults[name]})" in text
    assert f"(default: {' '.join(map(str, defaults['thresholds']))})" in text
    assert f"default: {defaults['engine']}" in text
    assert defaults["precision"] is None and "default: int8 if the weights are made for it and" in text


def test_commands_import_nothing_heavy_before_they_run():
    code = (
        "import sys, types; sys.modules['cascade'] = package = types.ModuleType('cascade');"
        f"package.__path__ = [{str(Path(cascade.detect.__file__).parent)!r}];"
        "from cascade.cli import main; main(['detect', '--help']);"
        "heavy = {'numpy', 'cv2', 'torch', 'tqdm', 'safetensors'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["frobnicate"], "invalid choice"),
        (["models", "default"], "unrecognized arguments: default"),
        (["detect"], "name a photo or a folder"),
        (["detect", "a.jpg", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["detect", "a.jpg", "--draw"], "--out DIR"),
        (["detect", "a.jpg", "--crop"], "--out DIR"),
        (["detect", "a.jpg", "--demo"], "--demo takes no PATH"),
        (["detect", "a.jpg", "--format", "xml"], "--format"),
        (["detect", "a.jpg", "--thresholds", "0.5", "0.5"], "expected 3 arguments"),
        (["detect", "a.jpg", "--device", "cuda"], "--engine torch"),
        (["detect", "a.jpg", "--precision", "float16"], "--precision"),
        (["detect", "a.jpg"], "a.jpg: there is no such file or folder"),
        (["detect", ""], "'': there is no such file or folder"),
    ],
)
def test_bad_usage(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-face", "2"], "--min-face: expected 4 to"),
        (["--min-face", "nan"], "--min-face: expected 4 to"),
        (["--max-face", "5"], "--max-face: expected"),
        (["--scale-factor", "2"], "--scale-factor: expected"),
        (["--thresholds", "0.5", "7", "0.5"], "--thresholds: expected 0 to 1, got 7.0"),
        (["--threads", "0"], "--threads: expected"),
        (["--weights", "no such set"], "no such set"),
    ],
)
def test_bad_settings_are_named_as_options(options, message, run, capsys, tmp_path):
    assert run(photo(tmp_path / "a.jpg"), *options) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_damaged_weights(run, weights, capsys, tmp_path):
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    (copy / "rnet.safetensors").write_bytes(b"no")
    assert run(photo(tmp_path / "a.jpg"), "--weights", copy) == console.BAD_USAGE
    assert "rnet.safetensors" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------
# Results


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
    assert "has no ranges, which int8 needs" in capsys.readouterr().err
    pytest.importorskip("torch")
    assert run(path, "--precision", "int8", "--engine", "torch") == console.BAD_USAGE
    assert "--precision: the torch engine computes in float32" in capsys.readouterr().err


def test_torch_engine(run, capsys, tmp_path):
    pytest.importorskip("torch")
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
    picture.save(folder / "turned.jpg", exif=exif)
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
        "turned.jpg": (height, width),
    }
    assert read_image(tmp_path / "out/turned_faces.jpg").shape == (width, height, 3)
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


# --------------------------------------------------------------------------------------------------
# Pictures


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
    assert "in/found: not searched" in capsys.readouterr().err
    assert run("in/found", "--thresholds", "1", "1", "1") == 0  # unless it is what was asked for
    assert [r["path"] for r in records(capsys.readouterr().out)] == ["in/found/a_faces.jpg"]


def test_a_picture_that_cannot_be_written(run, capsys, tmp_path):
    photo(tmp_path / "in" / f"{'n' * 248}.jpg")
    photo(tmp_path / "in/z.jpg")
    assert run("in", "--out", "out", "--draw") == console.SOME_FAILED
    assert "cannot write a picture" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["faces.jsonl", "z_faces.jpg"]
    assert len(records((tmp_path / "out/faces.jsonl").read_text())) == 2


def test_names_for_results_are_found_without_looking_at_files(tmp_path):
    photos = ["/p/a.jpg", "/p/sub/a.jpg"]
    out = tmp_path / "out"
    assert name_results(photos, "/p", out) == {"/p/a.jpg": out / "a", "/p/sub/a.jpg": out / "sub/a"}


# --------------------------------------------------------------------------------------------------
# What goes wrong


def test_a_bad_file_among_good_ones(run, capsys, tmp_path):
    for name in "ac":
        photo(tmp_path / f"in/{name}.jpg")
    truncated(tmp_path / "in/b.jpg")
    (tmp_path / "in/d.jpg").write_bytes(b"")
    assert run("in", "--out", "out", "--draw") == console.SOME_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("in/b.jpg: expected whole JPEG data, but it is cut short")
    assert lines[1].startswith("in/d.jpg: ")
    assert lines[2].startswith("2 of 4 photos, ")
    assert "2 problems" in lines[2]
    assert [r["path"] for r in records((tmp_path / "out/faces.jsonl").read_text())] == [
        "in/a.jpg",
        "in/c.jpg",
    ]
    assert names(tmp_path / "out") == ["a_faces.jpg", "c_faces.jpg", "faces.jsonl"]


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "not enough memory"), (RuntimeError("odd"), "RuntimeError: odd")]
)
def test_one_photo_does_not_end_a_run(error, words, run, capsys, monkeypatch):
    tmp_path = Path.cwd()
    photo(tmp_path / "in/a.jpg")
    photo(tmp_path / "in/b.jpg", size=(30, 20))
    original = cascade.detect.Detector.detect

    def failing(self, image):
        if image.shape[1] == SIZE[0]:
            raise error
        return original(self, image)

    monkeypatch.setattr(cascade.detect.Detector, "detect", failing)
    assert run("in") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert f"in/a.jpg: {words}\n" in err
    assert [r["path"] for r in records(out)] == ["in/b.jpg"]


def test_a_missing_path_among_good_ones(run, capsys, tmp_path):
    photo(tmp_path / "a.jpg")
    assert run("a.jpg", "b.jpg") == console.SOME_FAILED
    out, err = capsys.readouterr()
    assert len(records(out)) == 1
    assert "b.jpg: there is no such file or folder" in err


def test_a_broken_link_is_reported(run, capsys, tmp_path):
    photo(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.jpg").symlink_to("nowhere")
    assert run("in") == console.SOME_FAILED
    assert "in/b.jpg: " in capsys.readouterr().err


def test_an_empty_folder(run, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("empty", "--out", "out") == console.BAD_USAGE
    assert "no photos found in empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    photo(tmp_path / "a.jpg")
    assert run("empty", "a.jpg") == 0
    assert "empty: no photos in this folder" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read and write anywhere")
def test_folders_without_permission(run, capsys, tmp_path):
    for name in ("in/a.jpg", "in/closed/b.jpg"):
        photo(tmp_path / name)
    (tmp_path / "in/closed").chmod(0)
    (tmp_path / "read only").mkdir(mode=0o555)
    try:
        assert run("in") == console.SOME_FAILED
        assert "in/closed: Permission denied" in capsys.readouterr().err
        assert run("in/a.jpg", "--out", "read only") == console.BAD_USAGE
        assert "--out read only: cannot write there" in capsys.readouterr().err
    finally:
        (tmp_path / "in/closed").chmod(0o755)


@pytest.mark.parametrize("out", ["file", "file/below", ""])
def test_an_out_that_cannot_be_written(out, run, capsys, tmp_path, monkeypatch):
    photo(tmp_path / "a.jpg")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cascade.detect.Detector, "detect", lambda self, image: pytest.fail("work was done"))
    assert run("a.jpg", "--out", out) == console.BAD_USAGE
    assert "--out" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg", "file"]


def test_an_out_on_a_read_only_file_system(run, capsys, tmp_path, monkeypatch):
    def read_only(**options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    photo(tmp_path / "a.jpg")
    monkeypatch.setattr(console.tempfile, "TemporaryFile", read_only)
    assert run("a.jpg", "--out", "out") == console.BAD_USAGE
    assert "--out out: cannot write there: Read-only file system" in capsys.readouterr().err
    assert main(["detect", "--demo", "--out", "out"]) == console.BAD_USAGE


@pytest.mark.parametrize("kind", results.FORMATS)
def test_a_folder_where_the_results_should_go(kind, run, capsys, tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / f"out/faces.{kind}").mkdir(parents=True)
    assert run("a.jpg", "--out", "out", "--format", kind) == console.BAD_USAGE
    assert f"faces.{kind}" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("argv", [["--help"], ["detect"]])
def test_a_full_disk(argv, weights, tmp_path):
    if argv == ["detect"]:
        argv = ["detect", str(photo(tmp_path / "a.jpg")), "--weights", weights]
    with open("/dev/full", "w") as full:
        process = command(*argv, stdout=full)
        _, err = process.communicate()
    assert process.returncode == console.SOME_FAILED
    assert "cannot write to standard output" in err
    assert "Traceback" not in err


@posix_only
@pytest.mark.parametrize("kind", results.FORMATS)
def test_a_closed_pipe(kind, weights, tmp_path):
    for number in range(12):
        photo(tmp_path / f"in/{number}.jpg")
    process = command("detect", str(tmp_path / "in"), "--weights", weights, "--format", kind, bufsize=1)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == console.BROKEN_PIPE
    assert err == ""


@posix_only
def test_help_into_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    process = command("--help", stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == ""
    assert process.returncode == console.BROKEN_PIPE


# --------------------------------------------------------------------------------------------------
# Ctrl-C


@posix_only
def test_ctrl_c(weights, tmp_path):
    first, waiting, out = photo(tmp_path / "a.jpg"), tmp_path / "b.jpg", tmp_path / "out"
    os.mkfifo(waiting)  # nobody writes to it, so that reading it lasts
    process = command(
        "detect",
        str(first),
        str(waiting),
        str(first.parent / "a.jpg"),
        "--weights",
        weights,
        "--out",
        str(out),
    )
    while process.poll() is None and not ((out / "faces.jsonl").exists() and (out / "faces.jsonl").read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == console.INTERRUPTED
    assert err.startswith("stopped: 1 of 2 photos, ")
    assert [r["path"] for r in records((out / "faces.jsonl").read_text())] == [str(first)]
    assert names(out) == ["faces.jsonl"]


@pytest.mark.parametrize("kind", results.FORMATS)
def test_ctrl_c_leaves_valid_files(kind, run, capsys, tmp_path, monkeypatch):
    for name in "abc":
        photo(tmp_path / f"in/{name}.jpg")
    original, calls = cascade.detect.Detector.detect, []

    def interrupted(self, image):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, image)

    monkeypatch.setattr(cascade.detect.Detector, "detect", interrupted)
    assert run("in", "--out", "out", "--format", kind, "--no-progress") == console.INTERRUPTED
    assert "stopped: 2 of 3 photos" in capsys.readouterr().err
    text = (tmp_path / f"out/faces.{kind}").read_text()
    if kind == "csv":
        paths = {row["path"] for row in csv.DictReader(io.StringIO(text))}
    else:
        paths = {r["path"] for r in (json.loads(text) if kind == "json" else records(text))}
    assert paths == {"in/a.jpg", "in/b.jpg"}
    assert names(tmp_path / "out") == [f"faces.{kind}"]


@posix_only
def test_ctrl_c_waits_for_what_is_being_written():
    done = []

    def write():
        with results.interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_wait_in_other_threads_and_with_other_handlers(monkeypatch):
    def block():
        with results.interrupts_wait():
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        block()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == [True, True]


def test_ctrl_c_before_the_work(run, capsys, tmp_path, monkeypatch):
    def pressed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "find_photos", pressed)
    assert run("in") == console.INTERRUPTED
    assert capsys.readouterr().err == "cascade: stopped\n"


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with contextlib.suppress(RuntimeError), results.replacing(path, "w") as stream:
        stream.write("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["a.txt"]


# --------------------------------------------------------------------------------------------------
# The progress bar


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
    assert "in/b.jpg: expected whole JPEG data" in err.getvalue()


# --------------------------------------------------------------------------------------------------
# Finding photos


def test_find_photos_gives_the_folder_that_holds_them(tmp_path):
    for name in ("p/a/x.jpg", "p/b/y.jpg"):
        photo(tmp_path / name)
    assert find_photos([str(tmp_path / "p")]).base == str(tmp_path / "p")
    assert find_photos([str(tmp_path / "p/a/x.jpg")]).base == str(tmp_path / "p/a")
    assert find_photos([str(tmp_path / "p/a"), str(tmp_path / "p/b/y.jpg")]).base == str(tmp_path / "p")


@posix_only
def test_a_pipe_in_a_folder_is_left_alone(tmp_path):
    path = photo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert find_photos([str(tmp_path)]).photos == [str(path)]


def test_a_file_is_taken_whatever_its_suffix(run, capsys, tmp_path):
    os.rename(photo(tmp_path / "a.jpg"), tmp_path / "no suffix")
    assert run("no suffix", "--out", "out", "--draw") == 0
    assert names(tmp_path / "out") == ["faces.jsonl", "no suffix_faces.jpg"]


# --------------------------------------------------------------------------------------------------
# models and the demo


def test_models_without_any(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cascade.models.detector.FOLDER", tmp_path)
    assert main(["models"]) == 0
    assert "No weights come with this installation" in capsys.readouterr().out


def test_models(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cascade.models.detector.FOLDER", tmp_path)
    for name in ("paper", "default"):
        untrained(tmp_path / name)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert out.index("default") < out.index("paper")
    for stage, architecture in ARCHITECTURES["default"].items():
        assert f"{stage}.safetensors" in out
        assert f"{architecture.weights():,}" in out
        assert f"{architecture.multiply_adds() / 1e6:.2f}" in out
        assert f"learned from ({stage}): nothing at all ({stage})" in out
    assert out.count("licence: CC0") == 2
    (tmp_path / "paper/onet.safetensors").write_bytes(b"no")
    assert main(["models"]) == console.SOME_FAILED
    assert "damaged: " in capsys.readouterr().out


def test_models_that_are_shipped(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in shipped_detectors())
    assert "not stated" not in out


def test_demo_with_weights_of_ones_own(run, capsys, tmp_path):
    assert run("--demo", "--min-face", "200", "--out", "out") == 0
    out = capsys.readouterr().out
    assert "public domain" in out
    assert "score 0." in out
    assert names(tmp_path) == ["out/cascade-demo.jpg"]
    assert run("--demo", "--thresholds", "1", "1", "1") == 0
    out = capsys.readouterr().out
    assert "Found 0 faces.\n" in out
    assert str(tmp_path / "cascade-demo.jpg") in out
    assert read_image(tmp_path / "cascade-demo.jpg").shape == portrait().shape


def test_demo(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["detect", "--demo"]) == 0
    assert "Found 1 face:\n" in capsys.readouterr().out
    drawn = read_image(tmp_path / "cascade-demo.jpg").astype(int)
    assert np.abs(drawn - portrait()).max() > 100


def test_the_portrait_with_the_shipped_weights(capsys):
    assert main(["detect", str(PORTRAIT)]) == 0
    [record] = records(capsys.readouterr().out)
    assert len(record["faces"]) == 1
