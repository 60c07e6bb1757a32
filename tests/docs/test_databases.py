"""The examples of databases in the guide run, where the databases are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks

PAGE = "docs/archives-people.md"
PORTRAIT = ROOT / "cascade" / "data" / "astronaut.jpg"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photo.jpg, party.jpg and an index of two photos."""
    pytest.importorskip("pyarrow")
    from cascade.archive.photos import PhotoIndexer
    from cascade.archive.store import Store

    for name in ("photo.jpg", "party.jpg", "photos/1.jpg", "photos/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PORTRAIT, tmp_path / name)
    indexer = PhotoIndexer()
    with Store.open(tmp_path / "faces.index", indexer.manifest) as store:
        store.write([indexer.index(tmp_path / name) for name in ("photos/1.jpg", "photos/2.jpg")])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(need: str, folder: Path) -> list[str]:
    (block,) = (each for each in blocks(PAGE) if each.needs == need)
    script = folder / "example.py"
    script.write_text(block.text, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def is_right(lines: list[str], folder: Path) -> bool:
    places = {line.split(" ", 1)[1] for line in lines}
    return places == {f"{folder}/photos/{number}.jpg#1" for number in (1, 2)} and all(
        float(line.split(" ")[0]) > 0.99 for line in lines
    )


def test_the_search_in_python(folder: Path) -> None:
    assert is_right(run_block("an index", folder), folder)


def test_duckdb(folder: Path) -> None:
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    assert is_right(run_block("duckdb and an index", folder), folder)
    assert is_right(run_block("duckdb and an index", folder), folder)  # once more, into the same file


def test_pgvector(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pgvector", "psycopg", "pgserver"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import pgserver

    with pgserver.get_server(tmp_path_factory.mktemp("postgres")) as server:  # by a socket in that folder, no port
        monkeypatch.setenv("DATABASE_URL", server.get_uri())
        assert is_right(run_block("pgvector, psycopg, a server and an index", folder), folder)
