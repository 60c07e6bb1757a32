"""How far a run is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import re
import sys

from cascade.cli import batch
from tests.cli.helpers import photo


def test_a_log_gets_a_line_now_and_then(run, capsys, tmp_path, monkeypatch):
    for number in range(4):
        photo(tmp_path / f"in/{number}.jpg")
    (tmp_path / "in/1.jpg").write_bytes(b"no photo")
    for options, seconds, expected in (
        (["--out", "out"], 0.0, 3),
        ([], 0.0, 3),
        (["--no-progress"], 0.0, 0),
        (["--out", "out"], 30.0, 0),
    ):
        monkeypatch.setattr(batch, "LINE_SECONDS", seconds)
        run("in", *options)
        lines = [line for line in capsys.readouterr().err.splitlines() if " photos/s, " in line]
        assert len(lines) == expected
        for number, line in enumerate(lines, start=1):
            bad = ", 1 problem" if number > 1 else ""
            assert re.fullmatch(rf"{number} of 4 photos, \d+ faces?{bad}; [\d.e+]+ photos/s, about \d+ s left", line)


def test_one_photo_needs_no_progress(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "LINE_SECONDS", 0.0)
    assert run(photo(tmp_path / "a.jpg")) == 0
    assert "photos/s" not in capsys.readouterr().err


def test_a_terminal_gets_no_lines(run, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(batch, "LINE_SECONDS", 0.0)
    for name in "ab":
        photo(tmp_path / f"in/{name}.jpg")
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    assert run("in", "--out", "out") == 0
    assert "photo/s" in err.getvalue()
    assert " left\n" not in err.getvalue()


def test_the_time_left_is_in_words():
    tally = batch.Tally(photos=1000, faces=5)
    assert batch.progress_line(10, 100.0, tally) == "10 of 1,000 photos, 5 faces; 0.1 photos/s, about 165 min left"
    assert batch.progress_line(999, 100.0, tally).endswith("about 0 s left")


def test_the_closing_line_names_what_was_left_out() -> None:
    tally = batch.Tally(photos=3, done=2, faces=1, problems=1, left_out={".jxl": 2, ".dng": 1})
    assert tally.summary() == "2 of 3 photos, 1 face, 1 problem, 3 left out (.dng, .jxl)"
    assert tally.status() == 1, "for the problem: what is left out is none"
    videos = batch.Tally(photos=3, videos=2)
    videos.add(2, video=True)
    videos.add(1)
    assert videos.summary() == "1 photo, 1 of 2 videos, 3 faces"
    assert batch.progress_line(2, 4.0, videos) == "2 of 3 files, 3 faces; 0.5 files/s, about 2 s left"
    videos.add(1, kept=4, video=True)
    assert videos.summary() == "1 photo, 2 videos, 4 faces hidden, 4 kept"
    assert batch.Tally(photos=1, done=1, left_out={".dng": 1}).status() == 0
