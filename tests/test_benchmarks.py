"""The speed benchmark measures what it says, on the bundled portrait."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from photos import PORTRAIT

from benchmarks.__main__ import main
from benchmarks.fps import Timing, report, shared_faces
from cascade.weights import shipped


def timing(name: str, times: list[float], boxes: list[list[float]]) -> Timing:
    return Timing(name, times, np.array(boxes, np.float32).reshape(-1, 4))


def test_a_face_is_shared_from_half_overlap_on() -> None:
    ours = timing("cascade", [1.0], [[0, 0, 10, 10], [100, 100, 120, 120]])
    assert shared_faces(ours, timing("peer", [1.0], [[0, 0, 10, 10], [50, 50, 60, 60]])) == 1
    assert shared_faces(ours, timing("peer", [1.0], [[0, 0, 10, 5.1]])) == 1
    assert shared_faces(ours, timing("peer", [1.0], [[0, 0, 10, 4.9]])) == 0
    assert shared_faces(ours, timing("peer", [1.0], [])) == 0


def test_ratio_is_the_median_of_pairs() -> None:
    ours, peer = timing("cascade", [1.0, 2.0, 1.0], []), timing("peer", [10.0, 40.0, 30.0], [])
    row = report(PORTRAIT, [ours, peer]).splitlines()[-1]
    assert "20.0x" in row


@pytest.mark.skipif(not shipped(), reason="no weights are shipped")
def test_fps_on_the_portrait(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fps", "--runs", "2"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[0] == "cascade" and float(row[1]) > 0 and row[4] == "1"


def test_a_failing_peer_is_named(tmp_path: object) -> None:
    if not shipped():
        pytest.skip("no weights are shipped")
    with pytest.raises(RuntimeError, match="mtcnn-runtime"):
        main(["fps", "--runs", "1", "--peer", f"mtcnn-runtime={sys.executable}"])
