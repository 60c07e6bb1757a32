"""``python -m benchmarks archive``: photos made by varying others, and an index beside bare loops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from benchmarks.archive import SIDES, Round, measure, summary, vary
from cascade import Detector, Recognizer
from cascade.archive import Index
from cascade.archive.photos import PhotoIndexer
from tests.photos import PORTRAIT
from tests.random_recognizer import save_random_recognizer


def test_photos_are_varied_and_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    for out in ("a", "b"):
        vary([tmp_path / "bad.jpg", PORTRAIT], tmp_path / out, 11)
    made = sorted((tmp_path / "a").rglob("*.jpg"))
    assert len(made) == 11
    sizes = {Image.open(path).size for path in made}
    assert len(sizes) > 5
    assert all(max(size) <= SIDES[1] for size in sizes)
    for path in made:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_without_a_photo_to_vary(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none"):
        vary([], tmp_path, 3)


def test_the_summary_compares_round_by_round() -> None:
    rounds = [
        Round(10, 10, 0.2, 0.19, [100.0, 110.0]),
        Round(5, 10, 0.2, 0.19, [120.0]),
        Round(9, 10, 0.2, 0.19, [115.0]),
    ]
    told = summary(rounds, 300, 2)
    assert "9 photos/s (median of 3 rounds)" in told
    assert "bare loops: 0.90; by processor time: 0.95" in told
    assert "105 MB in the first round, 115 MB in the last, at most 15 MB more" in told


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_it_measures(tmp_path: Path) -> None:
    vary([PORTRAIT], tmp_path / "photos", 80)
    weights = save_random_recognizer(tmp_path / "small.safetensors")
    indexer = PhotoIndexer(Recognizer(weights, 1, detector=Detector(min_face=60, threads=1)))
    photos = [os.fsencode(path) for path in sorted((tmp_path / "photos").rglob("*.jpg"))]
    rounds = list(measure(photos, tmp_path / "index", indexer, 1, 2))
    assert len(rounds) == 2
    assert all(each.index > 0 and each.loops > 0 and each.index_cpu > 0 and each.loops_cpu > 0 for each in rounds)
    assert Index.open(tmp_path / "index").counts()["photos"] == 80
