"""``python -m benchmarks video`` on a short clip."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("av")

from benchmarks.__main__ import main
from benchmarks.video import make_clip
from cascade.detect import Detector
from cascade.video import read_video


def test_clips_show_so_many_faces(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 1, (640, 480), 3)
    frames = list(read_video(tmp_path / "a.mp4"))
    assert [frame.image.shape for frame in frames] == [(480, 640, 3)] * 3
    assert len(Detector(min_face=40, threads=1).detect(frames[1].image)) == 1


def test_measures_each_way_of_working(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "320x240", "--faces", "1", "--frames", "7", "--runs", "1", "--out", str(tmp_path / "out")]
    assert main(["video", *options]) == 0
    assert "following, every 3, identities, attributes" in capsys.readouterr().out
    with open(tmp_path / "out" / "video.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 4
    assert all(float(row["fps"]) > 0 and float(row["p95_ms"]) >= float(row["median_ms"]) for row in rows)
