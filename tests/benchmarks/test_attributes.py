"""``python -m benchmarks attributes``: every set of tasks is timed, and photos and faces are counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks.attributes import Cost
from tests.benchmarks.helpers import run
from tests.photos import PORTRAIT


def test_times_are_for_a_photo_and_for_a_face() -> None:
    cost = Cost("age", (0.4, 0.2, 0.3), 2, 6, True)
    assert cost.row() == pytest.approx(("age", 150.0, 50.0, 1e3 / 150))
    assert Cost("detection", (0.2,), 2, 6, False).milliseconds_a_face is None
    assert Cost("age", (0.2,), 2, 0, True).milliseconds_a_face is None


def test_every_set_of_tasks_is_timed(tmp_path: Path, capsys) -> None:
    options = ["--image", PORTRAIT, "--image", PORTRAIT, "--runs", "1", "--out", tmp_path / "out"]
    status, said, _ = run(capsys, "attributes", *options, "--min-face", "40")
    assert status == 0 and said[0].startswith("2 photos with 2 faces")
    rows = {row["of"]: row for row in csv.DictReader((tmp_path / "out" / "attributes.csv").read_text().splitlines())}
    assert {"detection", "alignment", "alignment, age", "alignment, all tasks", "alignment, 68 points"} < rows.keys()
    assert float(rows["alignment, age"]["ms_a_face"]) > float(rows["alignment"]["ms_a_face"]) > 0
    assert rows["detection"]["ms_a_face"] == ""
    content = json.loads((tmp_path / "out" / "attributes.json").read_text())
    assert len(content["costs"]) == len(rows) and content["attribute_weights"]["name"] == "face"


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.jpg").write_bytes(b"none")
    status, _, errors = run(capsys, "attributes", "--image", tmp_path / "a.jpg")
    assert status == 2 and "a.jpg" in errors[-1]
