"""The recipe for Spark in the guide runs, where pyspark is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pyspark", reason="pyspark is not installed")
pytest.importorskip("pandas", reason="pandas is not installed")

from cascade.archive import Index
from tests.docs.blocks import ROOT, blocks

PORTRAIT = ROOT / "cascade" / "data" / "astronaut.jpg"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_the_recipe_indexes_photos_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With shards of two photos, also for a run with nothing to do and one with a changed photo."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        shutil.copy(PORTRAIT, photos / f"{number}.jpg")
    (photos / "bad.jpg").write_bytes(b"no photo")
    (block,) = (each for each in blocks("docs/clusters.md") if each.needs == "Spark")
    text = block.text.replace("/archive-index", str(tmp_path / "faces.index")).replace("/archive", str(photos))
    script = tmp_path / "recipe.py"
    script.write_text(text.replace("1024", "2"), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    for told, changes in (("bad.jpg", False), ("[]", False), ("[]", True)):
        if changes:
            shutil.copy(PORTRAIT, photos / "0.jpg")  # another time of change
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert told in done.stdout
        assert Index.open(tmp_path / "faces.index").counts() == {"photos": 6, "faces": 5, "errors": 1}
    assert len(list((tmp_path / "faces.index" / "photos").iterdir())) == 4
