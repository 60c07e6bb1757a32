"""``cascade search``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from cascade.archive.photos import PhotoIndexer
from cascade.archive.store import Store
from cascade.cli import main
from cascade.detect import Detector
from cascade.recognize import Recognizer
from tests.cli.helpers import photo, portrait_photo, records, truncated


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognizer_weights: str) -> Path:
    monkeypatch.chdir(tmp_path)
    portrait_photo("photos/one.png")
    portrait_photo("photos/two.png", people=2)
    photo(Path("photos/none.png"))
    indexer = PhotoIndexer(Recognizer(recognizer_weights, 1, detector=Detector(min_face=40, threads=1)))
    with Store.open(tmp_path / "index", indexer.manifest) as store:
        store.write([indexer.index(path) for path in sorted(Path("photos").iterdir())])
    return tmp_path


def test_it_prints_the_most_similar_faces(folder: Path, run_recognition, capsys) -> None:
    assert run_recognition("search", "index", "photos/one.png", "--threshold", "0.5", "--top", "2") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("photos/one.png#1: 1.000 ")
    assert {Path(line.split(" ")[2]).name for line in lines} <= {"one.png#1", "two.png#1", "two.png#2"}
    assert "1 photo, 1 face; 3 faces in index; threshold 0.5000" in printed.err


def test_json_has_people(folder: Path, run_recognition, capsys) -> None:
    assert main(["cluster", "index", "--threshold", "0.9", "--least-quality", "0"]) == 0
    assert main(["people", "name", "index", "1", "Eileen"]) == 0
    capsys.readouterr()
    assert run_recognition("search", "index", "photos/two.png", "--threshold", "0.9", "--json") == 0
    (record,) = records(capsys.readouterr().out)
    assert record["path"] == "photos/two.png"
    best = [face["matches"][0] for face in record["faces"]]
    # two faces of one photo are two people, and the one without another photo is nobody yet
    assert {(each["person"], each["name"]) for each in best} == {(1, "Eileen"), (None, None)}
    assert [each["similarity"] for each in best] == pytest.approx([1.0, 1.0], abs=1e-3)  # the index has float16
    assert json.dumps(best)


def test_no_face_nobody_similar_and_a_bad_photo(folder: Path, run_recognition, capsys) -> None:
    truncated(Path("bad.jpg"))
    assert run_recognition("search", "index", "photos/none.png", "bad.jpg", "--threshold", "1") == 1
    printed = capsys.readouterr()
    assert printed.out == "photos/none.png: no face\n"
    assert "bad.jpg" in printed.err


def test_largest_searches_for_one_face(folder: Path, run_recognition, capsys) -> None:
    assert run_recognition("search", "index", "photos/two.png", "--largest", "--threshold", "0.5") == 0
    assert {line.split(":")[0] for line in capsys.readouterr().out.splitlines()} == {"photos/two.png#1"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["index"], "name a photo or a folder"),
        (["index", "photos/one.png", "--top", "0"], "--top: expected at least 1"),
        (["index", "photos/one.png", "--threshold", "7"], "--threshold: expected -1 to 1"),
        (["photos", "photos/one.png"], "there is no index"),
        (["index", "nothing.jpg"], "no photos found"),
    ],
)
def test_wrong_options(folder: Path, run_recognition, capsys, words: list[str], says: str) -> None:
    assert run_recognition("search", *words) == 2
    assert says in capsys.readouterr().err


def test_an_index_of_another_network_is_refused(folder: Path, other_recognizer_weights: str, capsys) -> None:
    words = ["search", "index", "photos/one.png", "--recognizer", other_recognizer_weights, "--threshold", "0.5"]
    assert main(words) == 2
    assert "the index's embeddings come from" in capsys.readouterr().err
