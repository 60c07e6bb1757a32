"""``cascade video`` on clips of the bundled portrait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from cascade.cli import main
from cascade.gallery import Gallery
from cascade.recognize import Recognizer
from cascade.video import VideoWriter, read_video
from tests.photos import portrait
from tests.video.clips import beeps, write_beeps

ROOT = Path(__file__).parents[2]
QUICK = ["--threads", "1", "--min-face", "40", "--no-progress"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    sound = write_beeps(folder / "sound.mp4", "aac", seconds=2)
    with VideoWriter(folder / "clip.mp4", sound_of=sound) as writer:
        for at in range(30):
            writer.write(np.roll(portrait()[:320, 60:380], 2 * at, axis=1), at / 15)
    return folder / "clip.mp4"


def test_says_who_was_there_and_when(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["video", str(clip), *QUICK, "--attributes"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("person 1: unknown; 0:00:00.0 to 0:00:01.9, 30 frames; age ")
    assert "gender female" in out


def test_prints_an_object_for_each_frame(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["video", str(clip), *QUICK, "--json", "--every", "auto"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["index"] for row in rows] == list(range(30))
    assert all(row["faces"][0]["data"]["track"] == 1 for row in rows)


def test_writes_results_best_shots_and_a_video_with_sound(clip: Path, tmp_path: Path) -> None:
    drawn, out = tmp_path / "drawn.mp4", tmp_path / "out"
    assert main(["video", str(clip), *QUICK, "--draw", str(drawn), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["frames.jsonl", "people.json", "person_1.jpg"]
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    (person,) = json.loads((out / "people.json").read_text())["people"]
    assert (person["track"], person["best"], person["frames"]) == (1, "person_1.jpg", 30)
    frames = list(read_video(drawn))
    assert len(frames) == 30
    assert np.abs(frames[5].image.astype(int) - next(read_video(clip, start=5 / 15)).image).max() > 60
    assert len(beeps(drawn)) == 2
    (out / "frames.jsonl").unlink()
    before = (out / "people.json").read_bytes()
    assert main(["video", str(clip), *QUICK, "--out", str(out)]) == 2  # nothing is overwritten, nor joined
    assert (out / "people.json").read_bytes() == before


def test_reads_a_gallery_that_is_encrypted_with_a_key(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key, file = tmp_path / "key", tmp_path / "crew.gallery"
    assert main(["gallery", "new-key", str(key)]) == 0
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    gallery.add("Ada", recognizer.enrol(portrait()))
    gallery.encrypt(key=bytes.fromhex(key.read_text()))
    gallery.save(file)
    out = tmp_path / "out"
    known = ["--gallery", str(file), "--key-file", str(key), "--out", str(out)]
    assert main(["video", str(clip), *QUICK, "--stop", "0.4", *known]) == 0
    (person,) = json.loads((out / "people.json").read_text())["people"]
    assert person["name"] == "Ada"


def test_goes_on_where_a_run_was_stopped(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["video", str(clip), *QUICK, "--out", str(out), "--stop", "1"]) == 0
    with open(out / "frames.jsonl", "a") as file:
        file.write('{"time": 1.0, "ind')  # as a killed run leaves it
    assert main(["video", str(clip), *QUICK, "--out", str(out), "--resume"]) == 0
    rows = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    assert np.allclose([row["time"] for row in rows], np.arange(30) / 15, atol=1e-3)
    assert [row["faces"][0]["data"]["track"] for row in rows] == [1] * 15 + [2] * 15
    people = json.loads((out / "people.json").read_text())["people"]
    assert [person["track"] for person in people] == [1, 2]
    assert main(["video", str(clip), *QUICK, "--out", str(tmp_path / "none"), "--resume"]) == 2


def test_a_finished_run_that_goes_on_still_has_its_people(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    told = [arg for arg in QUICK if arg != "--no-progress"]
    assert main(["video", str(clip), *told, "--out", str(out)]) == 0
    assert "1 person seen, 0 known" in capsys.readouterr().err
    before = (out / "people.json").read_text()
    assert main(["video", str(clip), *told, "--out", str(out), "--resume"]) == 0
    assert "1 person seen, 0 known" in capsys.readouterr().err
    assert (out / "people.json").read_text() == before


def test_a_start_beyond_the_end_is_refused(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for further in ([], ["--stop", "200"]):
        assert main(["video", str(clip), *QUICK, "--start", "100", "--out", str(out), *further]) == 2
        assert "--start: expected a second of the video, which is 2 s long, got 100" in capsys.readouterr().err
        assert not list(out.iterdir())
    assert main(["video", str(clip), *QUICK, "--start", "1.5"]) == 0
    assert "0:00:01.5 to 0:00:01.9" in capsys.readouterr().out


def test_a_drawn_video_is_replaced_only_when_told(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "drawn.mp4"
    drawn.write_bytes(b"mine")
    wanted = ["video", str(clip), *QUICK, "--stop", "0.4", "--draw"]
    assert main([*wanted, str(drawn)]) == 2
    assert "drawn.mp4' exists already; --overwrite replaces it" in capsys.readouterr().err
    assert drawn.read_bytes() == b"mine"
    assert main([*wanted, str(drawn), "--overwrite"]) == 0
    assert len(list(read_video(drawn))) == 6
    before = clip.read_bytes()
    for silent in ([], ["--no-sound"]):
        assert main([*wanted, str(clip), "--overwrite", *silent]) == 2
        assert "--draw: expected another file than the video that is read" in capsys.readouterr().err
    assert clip.read_bytes() == before


def test_ctrl_c_leaves_results_and_a_video_that_plays(clip: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    with VideoWriter(long) as writer:
        for at in range(800):
            writer.write(np.roll(portrait()[:320, 60:380], at, axis=1), at / 15)
    drawn, out = tmp_path / "drawn.mp4", tmp_path / "out"
    command = [sys.executable, "-m", "cascade", "video", str(long), *QUICK, "--json", "--draw", str(drawn)]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for number, _ in enumerate(process.stdout):
        if number == 20:
            os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    written = len((out / "frames.jsonl").read_text().splitlines())
    assert 20 < written < 800
    assert abs(len(list(read_video(drawn))) - written) <= 1
    assert json.loads((out / "people.json").read_text())["people"]


def test_names_what_is_wrong(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video\n" * 30)
    for arguments, message in (
        ([str(text)], "is none that FFmpeg knows"),
        ([str(tmp_path / "none.mp4")], "there is none at"),
        (["77"], "there is no camera 77"),
        ([str(clip), "--every", "few"], "--every: expected a number of frames or auto"),
        ([str(clip), "--every", "0"], "--every: expected 1"),
        ([str(clip), "--draw", str(text)], "--draw: "),
        ([str(clip), "--draw", "a.txt"], "--draw: expected a name with one of"),
        ([str(clip), "--overwrite"], "--overwrite is for --draw"),
        ([str(clip), "--gallery", str(tmp_path / "none")], "there is no such gallery"),
        ([str(clip), "--start", "-1"], "--start: expected 0"),
        ([str(clip), "--resume"], "--resume needs --out"),
        ([str(clip), "--key-file", "key"], "--key-file is for --gallery"),
    ):
        assert main(["video", *arguments, *QUICK]) == 2
        assert message in capsys.readouterr().err
    assert text.read_text() == "no video\n" * 30
