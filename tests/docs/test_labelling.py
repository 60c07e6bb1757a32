"""The labelling loop of the guide: proposed, corrected as somebody would, trained on."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cascade.cli import main
from cascade.datasets import read_cvat, read_label_studio
from tests.docs.blocks import blocks
from tests.photos import PORTRAIT
from train.detection.sources import fingerprint, photos, read_sources

PAGE = "docs/labelling.md"


@pytest.fixture
def corrected(tmp_path, monkeypatch) -> Path:
    """The current folder, in which the commands of the guide were run and export.json came back."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("1.jpg", "2.jpg"):
        shutil.copy(PORTRAIT, Path("photos") / name)
    propose = next(block for block in blocks(PAGE) if "cascade detect photos" in block.text)
    for words in propose.commands():
        assert main(words[1:]) == 0
    tasks = json.loads(Path("tasks.json").read_text())
    for task in tasks:
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
    drawn = tasks[1]["annotations"][0]["result"]
    place = {key: drawn[0][key] for key in ("original_width", "original_height")}
    value = {"x": 60, "y": 60, "width": 10, "height": 12.5, "rotation": 0, "rectanglelabels": ["face"]}
    drawn.append({"id": "new", "type": "rectanglelabels", **place, "value": value})
    Path("export.json").write_text(json.dumps(tasks))
    return tmp_path


def test_the_loop_of_the_guide(corrected):
    assert "<RectangleLabels" in Path("interface.xml").read_text()
    assert len(read_cvat("proposals.xml", "photos", strict=True)) == 2
    one, two = read_label_studio("export.json", "photos", strict=True)
    assert two.boxes[-1] == pytest.approx([307.2, 307.2, 358.4, 371.2], abs=0.01)
    assert np.isfinite(one.landmarks[0]).all()
    compared = next(block for block in blocks(PAGE) if block.language == "python")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(compared.text, str(compared), "exec"), {})
    assert out.getvalue().splitlines()[1].endswith("1 of them drawn by hand")
    assert ", 0 of them" in out.getvalue().splitlines()[0]


def test_training_reads_what_came_back(corrected):
    listed = next(block for block in blocks(PAGE) if block.language == "toml")
    Path("mine.toml").write_text(listed.text)
    (mine, _) = read_sources(Path("mine.toml"), Path(), Path())
    found = list(photos(mine))
    assert [photo.name for photo in found] == ["1.jpg", "2.jpg"]
    assert found[1].boxes[-1] == pytest.approx([307.2, 307.2, 358.4, 371.2], abs=0.01)
    assert len(fingerprint((mine,))) == 64


@pytest.mark.slow
def test_a_stage_trains_on_it(corrected):
    pytest.importorskip("torch")
    from train.__main__ import main as train

    Path("mine.toml").write_text('[[source]]\nkind = "labelstudio"\nannotations = "export.json"\nimages = "photos"\n')
    few = ["--stages", "pnet", "--passes", "2", "--batch", "28", "--stage-steps", "6"]
    assert train(["cascade", "--data", "mine.toml", "--root", ".", "--pseudo-labels", ".", "--out", "run", *few]) == 0
    assert list(Path("run").rglob("pnet*.safetensors"))
