"""The site builds without a warning, and its generated parts are what the package holds."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from cascade.models.detector import load_detector, shipped_detectors
from cascade.models.recognizer import load_recognizer, shipped_recognizers
from tests.docs.blocks import PAGES, ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def model_cards() -> dict[str, str]:
    """The generated pages, which read all shipped weights: once."""
    cards: dict[str, str] = load("pages").model_cards()
    return cards


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    for name in ("mkdocs", "mkdocstrings", "material"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install --group docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    reference = (tmp_path / "site" / "reference" / "detection" / "index.html").read_text(encoding="utf-8")
    assert "side of the smallest and the largest face" in reference
    assert load_detector().stages["onet"].sha256 in (tmp_path / "site/models/default/index.html").read_text("utf-8")


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_files_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    generated = {(ROOT / "docs" / name).resolve() for name in model_cards()}
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists() or target in generated, f"{page}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_model_cards_are_those_of_the_files() -> None:
    cards = model_cards()
    assert sorted(cards) == sorted(f"models/{name}.md" for name in (*shipped_detectors(), *shipped_recognizers()))
    for name in shipped_detectors():
        for stage in load_detector(name).stages.values():
            card, beside = cards[f"models/{name}.md"], stage.path.with_suffix(".md").read_text(encoding="utf-8")
            for text in (card, beside):
                assert stage.sha256 in text
                assert f"{stage.architecture.weights():,}" in text
                assert stage.metadata["licence"] in text
    for name in shipped_recognizers():
        weights = load_recognizer(name)
        for text in (cards[f"models/{name}.md"], weights.path.with_suffix(".md").read_text(encoding="utf-8")):
            assert weights.sha256 in text
            assert f"{weights.graph.weights():,}" in text
        assert f"threshold: {weights.metadata['verification']['threshold']:.4g}" in cards[f"models/{name}.md"]


def test_readme_and_benchmarks_give_the_committed_figures() -> None:
    with (ROOT / "docs/figures/summary.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    lines_of = {
        page: (ROOT / page).read_text(encoding="utf-8").splitlines() for page in ("README.md", "docs/benchmarks.md")
    }
    expected = {
        "AP |": [row["ap"] for row in rows],
        "median time of a photo at full size": [f"{row['median_ms']} ms" for row in rows],
        "YuNet makes": [row["found_at_59_false_alarms"] for row in rows],
        "at its own default score": [f"{row['found']}, {row['false_alarms']}" for row in rows],
        "landmark error": [f"{100 * float(row['landmark_error']):.1f} %" for row in rows],
    }
    for page, lines in lines_of.items():
        assert "| cascade | facenet-pytorch MTCNN | YuNet |" in "\n".join(lines)
        for words, values in expected.items():
            line = next(line for line in lines if line.startswith("|") and words in line)
            assert line.split("|")[2:5] == [f" {value} " for value in values], f"{page}: {line}"


def test_model_cards_give_the_same_ap() -> None:
    with (ROOT / "docs/figures/summary.csv").open(encoding="utf-8", newline="") as lines:
        ap = next(csv.DictReader(lines))["ap"]
    for stage in load_detector().stages.values():
        assert f"AP {ap} on 180 photos" in stage.path.with_suffix(".md").read_text(encoding="utf-8")


def test_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_version_is_stated_once_and_followed() -> None:
    from cascade.version import __version__

    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {__version__} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_lists_in_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe", reason="griffe is not installed: pip install --group docs")
    text = "Does it.\n\nname      the first\n          goes on\nother     the second\n\nThe end."
    assert load("docstrings").as_markdown(text).splitlines() == [
        "Does it.", "", "- `name`: the first goes on", "- `other`: the second", "", "The end.",
    ]  # fmt: skip
    parameters = "Parameters\n----------\na, b : numbers.\n    More of it.\n\nRaises ValueError."
    assert load("docstrings").as_markdown(parameters).splitlines() == [
        "**Parameters**", "", "- `a, b`: numbers. More of it.", "", "Raises ValueError.",
    ]  # fmt: skip
