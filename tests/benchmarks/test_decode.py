"""What reduced photos cost: faces of both ways are told apart and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.decode import Decoded
from cascade.faces import Faces
from tests.benchmarks.helpers import run
from tests.photos import PORTRAIT

POINTS = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float32)


def face(x: float, shift: float = 0.0) -> Faces:
    return Faces([[x, 0, x + 40, 40]], [0.9], [POINTS + np.float32([x + shift, 0])])


def test_faces_are_paired_by_overlap() -> None:
    decoded = Decoded(80, 2, [1.0], [1.0])
    full = Faces([[0, 0, 40, 40], [100, 0, 140, 40]], [0.9, 0.8], np.stack([POINTS, POINTS + np.float32([100, 0])]))
    decoded.compare(full, face(104, shift=-2))
    decoded.compare(face(0), Faces.empty())
    decoded.compare(Faces.empty(), face(300))
    assert (decoded.faces, len(decoded.overlaps), decoded.only_reduced) == (3, 1, 1)
    assert decoded.overlaps == [pytest.approx(36 / 44)]
    assert decoded.shifts == [pytest.approx(2 / 20)]


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.open(PORTRAIT).resize((1024, 1024)).save(tmp_path / "a.jpg")
    Image.open(PORTRAIT).save(tmp_path / "b.png")
    status, out, _ = run(capsys, "decode", "--photos", tmp_path, "--min-faces", 80, "--out", tmp_path / "report")
    assert status == 0
    assert out[-1].split()[:3] == ["80.0000", "2", "1"]
    assert (tmp_path / "report/decode.csv").exists()
    (tmp_path / "a.jpg").unlink()
    status, _, err = run(capsys, "decode", "--photos", tmp_path)
    assert status == 2
    assert "expected folders with JPEG files" in err[-1]
