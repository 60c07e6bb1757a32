"""Files that a command did not write stay as they are, also behind links; its own are replaced."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.cli import main, outputs, results
from cascade.imaging.reading import read_image
from tests.cli.helpers import names, photo, portrait_photo, posix_only, records


def test_pictures_of_others_stay(run, tmp_path):
    source = photo(tmp_path / "photos/IMG.jpg")
    theirs = [photo(tmp_path / f"photos/{name}.jpg", seed=1) for name in ("IMG_faces", "IMG_face1", "IMG-2_faces")]
    before = [path.read_bytes() for path in theirs]
    for _ in range(2):  # the second run replaces what the first one wrote
        assert run(source, "--out", "photos", "--draw", "--crop") == 0
        [record] = records((tmp_path / "photos/faces.jsonl").read_text())
        crops = [f"IMG-3_face{number}.jpg" for number in range(1, len(record["faces"]) + 1)]
        expected = ["IMG.jpg", "IMG_faces.jpg", "IMG_face1.jpg", "IMG-2_faces.jpg", "faces.jsonl", "IMG-3_faces.jpg"]
        assert names(tmp_path / "photos") == sorted(expected + crops)
    assert [path.read_bytes() for path in theirs] == before


def test_a_picture_that_was_edited_stays(run, tmp_path):
    source = photo(tmp_path / "x.jpg")
    assert run(source, "--out", "out", "--draw") == 0
    drawn = tmp_path / "out/x_faces.jpg"
    edited = drawn.read_bytes()[:-2] + b"\xff\xfe\x00\x06rose\xff\xd9"  # a comment, as an editor adds one
    drawn.write_bytes(edited)
    assert run(source, "--out", "out", "--draw") == 0
    assert drawn.read_bytes() == edited
    assert names(tmp_path / "out") == ["faces.jsonl", "x-2_faces.jpg", "x_faces.jpg"]


@pytest.mark.parametrize("kind", results.FORMATS)
@pytest.mark.parametrize(
    "content", [b"my notes\n", b"\xff\xd8\xff\xe0", b'{"path": "mine"}\n', b"path,face\n", b"[\n]\n", b'["a"]\n']
)
def test_other_files_of_the_name_of_the_results_stay(content, kind, run, capsys, tmp_path):
    source = photo(tmp_path / "a.jpg")
    theirs = tmp_path / f"out/faces.{kind}"
    theirs.parent.mkdir()
    theirs.write_bytes(content)
    for _ in range(2):
        assert run(source, "--out", "out", "--format", kind) == 0
        assert theirs.read_bytes() == content
        assert names(theirs.parent) == sorted([f"faces-2.{kind}", f"faces.{kind}"])
        err = capsys.readouterr().err
        assert f"out/faces.{kind}: left as it is, since it holds no results of cascade" in err
        assert err.endswith(f"results in out/faces-2.{kind}\n")


@pytest.mark.parametrize("kind", results.FORMATS)
def test_results_of_an_earlier_run_are_replaced(kind, run, tmp_path):
    for name in "ab":
        photo(tmp_path / f"in/{name}.jpg")
    nothing = ["--thresholds", "1", "1", "1"]
    for paths in (["in/a.jpg"], ["in"], ["in", *nothing], ["in/b.jpg"]):
        assert run(*paths, "--out", "out", "--format", kind) == 0
        assert names(tmp_path / "out") == [f"faces.{kind}"]
    assert "a.jpg" not in (tmp_path / f"out/faces.{kind}").read_text()


def test_results_that_a_killed_run_left_are_replaced(run, tmp_path):
    source = photo(tmp_path / "a.jpg")
    assert run(source, source, "--out", "out") == 0
    text = (tmp_path / "out/faces.jsonl").read_text()
    for left in ("", text + text[: len(text) // 2]):
        (tmp_path / "out/faces.jsonl").write_text(left)
        assert run(source, "--out", "out") == 0
        assert names(tmp_path / "out") == ["faces.jsonl"]
        assert (tmp_path / "out/faces.jsonl").read_text() == text


@posix_only
@pytest.mark.parametrize("kind", results.FORMATS)
def test_links_are_not_followed(kind, run, tmp_path):
    source, precious = photo(tmp_path / "a.jpg"), photo(tmp_path / "precious.jpg", seed=1)
    before = precious.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    for name in (f"faces.{kind}", "a_faces.jpg", "a_face1.jpg"):
        (out / name).symlink_to(precious)
    (out / f"faces-2.{kind}").symlink_to(tmp_path / "nowhere")
    os.link(precious, out / "a-2_faces.jpg")
    assert run(source, "--out", "out", "--format", kind, "--draw", "--crop") == 0
    assert precious.read_bytes() == before
    assert (out / f"faces.{kind}").is_symlink()
    assert not (tmp_path / "nowhere").exists()
    assert (out / f"faces-3.{kind}").is_file()
    assert (out / "a-3_faces.jpg").is_file()


@posix_only
def test_a_link_to_results_of_another_run_is_not_followed(run, tmp_path):
    source = photo(tmp_path / "a.jpg")
    assert run(source, "--out", "first", "--draw") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    (tmp_path / "second").mkdir()
    for path in before:
        (tmp_path / "second" / path.name).symlink_to(path)
    assert run(source, "--out", "second", "--draw", "--thresholds", "1", "1", "1") == 0
    assert {path: path.read_bytes() for path in before} == before
    assert names(tmp_path / "second") == ["a-2_faces.jpg", "a_faces.jpg", "faces-2.jsonl", "faces.jsonl"]


@posix_only
@pytest.mark.timeout(60)
def test_a_pipe_of_that_name_is_left_alone(run, tmp_path):
    source = photo(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    for name in ("faces.jsonl", "a_faces.jpg"):
        os.mkfifo(tmp_path / "out" / name)
    assert run(source, "--out", "out", "--draw") == 0
    assert {"faces-2.jsonl", "a-2_faces.jpg"} <= set(os.listdir(tmp_path / "out"))


def test_the_demo_leaves_pictures_of_others(run, capsys, tmp_path):
    theirs = photo(tmp_path / "cascade-demo.jpg")
    before = theirs.read_bytes()
    for _ in range(2):
        assert run("--demo", "--min-face", "200") == 0
        assert str(tmp_path / "cascade-demo-2.jpg") in capsys.readouterr().out
        assert names(tmp_path) == ["cascade-demo-2.jpg", "cascade-demo.jpg"]
    assert theirs.read_bytes() == before


def test_names_on_pictures_of_others(run_recognition, tmp_path):
    portrait_photo("in/a.jpg")
    theirs = portrait_photo("found/a_faces.jpg")
    before = theirs.read_bytes()
    assert run_recognition("gallery", "add", "crew", "Ann", "in/a.jpg") == 0
    for _ in range(2):
        assert main(["gallery", "identify", "--help"]) == 0
        run_recognition("gallery", "identify", "crew", "in/a.jpg", "--draw", "found", "--threshold", "0.1")
        assert names(tmp_path / "found") == ["a-2_faces.jpg", "a_faces.jpg"]
    assert theirs.read_bytes() == before


def test_the_mark_changes_no_pixel_and_every_program_reads_it(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    results.save_jpeg(tmp_path / "a.jpg", image)
    data = (tmp_path / "a.jpg").read_bytes()
    assert outputs.is_our_picture(io.BytesIO(data))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.info["comment"].startswith(b"written by cascade")
        assert np.array_equal(np.asarray(picture), read_image(tmp_path / "a.jpg"))
    for at in range(0, len(data), 97):
        changed = bytearray(data)
        changed[at] ^= 1
        assert not outputs.is_our_picture(io.BytesIO(changed))
        assert not outputs.is_our_picture(io.BytesIO(data[:at]))


@posix_only
def test_permissions_are_those_of_new_files(run, tmp_path):
    source = photo(tmp_path / "a.jpg")
    before = os.umask(0o027)
    try:
        for kind in results.FORMATS:
            assert run(source, "--out", "out", "--format", kind, "--draw") == 0
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o640}


@posix_only
def test_partial_files_of_killed_runs_are_deleted(run, tmp_path):
    source = photo(tmp_path / "a.jpg")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "out").mkdir()
    (tmp_path / f"out/.cascade-{ended.pid}-0123456789ab.partial").write_text("half")
    assert run(source, "--out", "out") == 0
    assert names(tmp_path / "out") == ["faces.jsonl"]


def test_records_of_any_name_are_known_again(tmp_path):
    for name in ('a"b', "日本", "\x1b[31m", "x" * 9000, "new\nline"):
        line = json.dumps({"path": name, "width": 3, "height": 4, "faces": []}) + "\n"
        assert outputs.is_our_jsonl(io.BytesIO(line.encode() * 2))
        assert outputs.is_our_json(io.BytesIO(f"[\n{line[:-1]},\n{line}]\n".encode()))
        assert not outputs.is_our_jsonl(io.BytesIO(line.encode() + b"note\n"))
    assert not outputs.is_our_json(io.BytesIO(b""))


def test_the_folder_may_be_missing(tmp_path):
    path = Path(tmp_path / "nowhere/a.jpg")
    assert outputs.usable(path, outputs.is_our_picture)


@pytest.mark.parametrize("paths", [("photos",), ("photos/a", "photos/b")])
def test_a_second_run_into_the_folder_of_the_photos_changes_nothing(paths, run, capsys, tmp_path):
    for name in ("a/x.jpg", "b/y.jpg"):
        photo(tmp_path / "photos" / name)
    photo(tmp_path / "photos" / "a" / "theirs_faces.jpg")  # not ours, though of such a name
    arguments = (*paths, "--out", "photos", "--draw", "--crop", "--no-progress")
    assert run(*arguments) == 0
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "photos").rglob("*.jpg")}
    text = (tmp_path / "photos" / "faces.jsonl").read_text()
    capsys.readouterr()
    assert run(*arguments) == 0
    assert set((tmp_path / "photos").rglob("*.jpg")) == set(first)
    assert (tmp_path / "photos" / "faces.jsonl").read_text() == text
    assert "of an earlier run, since results go there" in capsys.readouterr().err
    # elsewhere they are photos like others: crops may be what is wanted
    assert run("photos", "--out", "elsewhere", "--no-progress") == 0
    assert len((tmp_path / "elsewhere" / "faces.jsonl").read_text().splitlines()) == len(first)
