"""``cascade cluster`` and ``cascade people``."""

from __future__ import annotations

import csv
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from cascade.archive import Index
from cascade.archive.people import PeopleOfIndex
from cascade.archive.store import Store
from cascade.cli import main
from cascade.datasets import read_xmp
from cascade.gallery import Gallery
from tests.archive.helpers import manifest, result
from tests.archive.people_helpers import ANN, BOB, CAT, face, save_index
from tests.cli.helpers import portrait_photo

PHOTOS = [[face(ANN, 1)], [face(ANN, 2), face(BOB, 1)], [face(BOB, 2)], [face(ANN, 3)], [face(CAT)]]
NASTY = 'Ann <script>alert("1")</script>'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_index(tmp_path / "index", PHOTOS, written=True)
    return tmp_path


@pytest.fixture
def grouped(folder: Path) -> Path:
    assert main(["cluster", "index", "--threshold", "0.6"]) == 0
    return folder


def persons(folder: Path) -> list[int]:
    return PeopleOfIndex.load(folder / "index").persons.tolist()


def test_cluster_says_how_many_people_there_are(folder: Path, capsys) -> None:
    assert main(["cluster", "index", "--threshold", "0.6"]) == 0
    assert capsys.readouterr().err == "2 people with 5 faces; 1 like no other; threshold 0.600\n"
    save_index(folder / "index", [[face(CAT, 2)]])
    assert main(["cluster", "index", "--threshold", "0.6"]) == 0
    assert capsys.readouterr().err == "3 people (1 new) with 7 faces; 0 like no other; threshold 0.600\n"


def test_people_are_listed_and_written_as_csv(grouped: Path, capsys) -> None:
    assert main(["people", "name", "index", "1", "=Ann"]) == 0
    assert main(["people", "list", "index", "--csv", "people.csv"]) == 0
    assert capsys.readouterr().out == "1\t3\t=Ann\n2\t2\n"
    assert os.name != "posix" or stat.S_IMODE(os.stat("people.csv").st_mode) == 0o600
    with open("people.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["person"] for row in rows] == ["1", "1", "2", "2", "1", ""]
    assert {row["name"] for row in rows} == {"'=Ann", ""}  # no formula
    assert rows[0]["path"] == str(grouped / "photos" / "0.png")
    assert main(["people", "list", "index", "--csv", "people.csv"]) == 2  # never replaced


def test_corrections_hold(grouped: Path, capsys) -> None:
    assert main(["people", "different", "index", "1", "photos/3.png#1"]) == 0
    assert "run cascade cluster index" in capsys.readouterr().err
    for again in ([], ["--again"]):
        assert main(["cluster", "index", "--threshold", "0.6", *again]) == 0
        assert persons(grouped) == [1, 1, 2, 2, -1, -1]
    assert main(["people", "same", "index", "photos/4.png#1", "photos/3.png#1"]) == 0
    assert main(["cluster", "index", "--threshold", "0.6"]) == 0
    assert persons(grouped) == [1, 1, 2, 2, 3, 3]
    assert main(["people", "same", "index", "3", "1"]) == 0  # what is said last holds
    assert main(["cluster", "index", "--threshold", "0.6"]) == 0
    assert persons(grouped) == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["same", "index", "1", "nobody"], "expected the number of a person, or PATH#N"),
        (["same", "index", "1", "photos/0.png#2"], "there is no such face"),
        (["same", "index", "1", "9"], "there is no person 9"),
        (["different", "index", "1", "1"], "got the same twice"),
        (["different", "index", "photos/0.png#1", "photos/0.png#1"], "got the same twice"),
        (["name", "index", "9", "Zoë"], "there is no person 9"),
        (["name", "index", "1", "a\nb"], "name: "),
        (["gallery", "index", "g.gallery"], "nobody has a name yet"),
        (["list", "nowhere"], "there is no index"),
        (["sheet", "index", "--out", "photos/0.png"], "left as it is"),
        (["sheet", "index", "--out", "p.html", "--most", "0"], "expected at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(grouped: Path, capsys, words: list[str], says: str) -> None:
    before = {path: path.read_bytes() for path in grouped.rglob("*") if path.is_file()}
    assert main(["people", *words]) == 2
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in grouped.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cluster", "index"], "has no measured threshold; give one with --threshold"),
        (["cluster", "index", "--threshold", "2"], "--threshold: expected -1 to 1"),
        (["cluster", "index", "--threshold", "nan"], "--threshold: expected -1 to 1"),
        (["cluster", "index", "--threshold", "0.6", "--smallest", "-1"], "--smallest: expected 0"),
        (["cluster", "photos"], "there is no index"),
        (["people", "list", "index"], "there are no people yet"),
    ],
)
def test_wrong_options(folder: Path, capsys, words: list[str], says: str) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err
    assert not (folder / "index" / "people").exists()


def test_the_sheet_shows_faces_escapes_names_and_leaves_photos_alone(grouped: Path, capsys) -> None:
    photos = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (grouped / "photos").iterdir()}
    assert main(["people", "name", "index", "1", NASTY]) == 0
    assert main(["people", "sheet", "index", "--out", "people.html"]) == 0
    page = Path("people.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 5
    assert "<script" not in page
    assert "Ann &lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert stat.S_IMODE(os.stat("people.html").st_mode) == 0o600
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (grouped / "photos").iterdir()} == photos
    (grouped / "photos" / "0.png").write_bytes(b"damaged")
    assert main(["people", "sheet", "index", "--out", "people.html"]) == 1  # its own page is replaced
    assert Path("people.html").read_text().count("data:image/jpeg;base64,") == 4
    assert "0.png" in capsys.readouterr().err


def test_names_go_into_a_gallery(grouped: Path, capsys) -> None:
    assert main(["people", "name", "index", "1", "Ann"]) == 0
    assert main(["people", "name", "index", "2", "Bob"]) == 0
    assert main(["people", "gallery", "index", "crew.gallery"]) == 0
    gallery = Gallery.load("crew.gallery")
    assert gallery.counts == {"Ann": 3, "Bob": 2}
    assert gallery.identify(face(BOB, 7), top=1)[0][0].name == "Bob"
    capsys.readouterr()
    assert main(["people", "gallery", "index", "crew.gallery"]) == 1
    assert "in the gallery already" in capsys.readouterr().err
    assert main(["people", "gallery", "index", "crew.gallery", "--extend"]) == 0
    assert Gallery.load("crew.gallery").counts == {"Ann": 6, "Bob": 4}
    assert main(["people", "name", "index", "2"]) == 0
    assert PeopleOfIndex.load(grouped / "index").names == {1: "Ann"}


def test_an_index_that_changed_since_is_noticed(grouped: Path, capsys) -> None:
    save_index(grouped / "index", [[face(CAT, 2)]])
    assert main(["people", "sheet", "index", "--out", "people.html"]) == 2
    assert "run cascade cluster index first" in capsys.readouterr().err


def test_two_at_once_lose_nothing(grouped: Path) -> None:
    from threading import Thread

    words = [["people", "same", "index", f"photos/{at}.png#1", "photos/4.png#1"] for at in range(4)]
    threads = [Thread(target=lambda each=each: main(each)) for each in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(PeopleOfIndex.load(grouped / "index").decisions.same) == 4


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(folder: Path, capsys) -> None:
    (folder / "index").chmod(0o500)
    assert main(["cluster", "index", "--threshold", "0.6"]) == 1
    assert "cannot write in index" in capsys.readouterr().err


def test_the_index_itself_is_not_changed(grouped: Path) -> None:
    index = Index.open("index")
    assert index.counts() == {"photos": 5, "faces": 6, "errors": 0}
    assert sorted(path.name for path in (grouped / "index").iterdir()) == [
        "faces", "manifest.json", "people", "photos", "removed",
    ]  # fmt: skip


def test_without_an_action_help_is_printed(capsys) -> None:
    assert main(["people"]) == 0
    assert "different" in capsys.readouterr().out


def test_an_index_is_exported_with_names(grouped: Path, capsys) -> None:
    assert main(["people", "name", "index", "1", NASTY]) == 0
    assert main(["export", "xmp", "index", "--images", "photos"]) == 0
    assert "5 photos, 6 faces; written beside the photos" in capsys.readouterr().err
    names = [each.attributes["name"].tolist() for each in read_xmp(grouped / "photos")]
    assert [names[at] for at in (0, 2, 3, 4)] == [[NASTY], [""], [NASTY], [""]]  # in 1 both faces have one box
    assert main(["export", "csv", "index", "--out", "faces.csv", "--from", "index", "--min-score", "1"]) == 0
    assert main(["export", "csv", "photos", "--out", "other.csv", "--from", "index"]) == 2
    assert "there is no index" in capsys.readouterr().err


def test_photos_with_urls_are_not_taken_for_files_of_the_same_name(folder: Path, capsys) -> None:
    portrait_photo("bucket/one.jpg")
    with Store.open(folder / "urls", manifest()) as store:
        store.write([replace(result(b"s3://bucket/one.jpg", 1), width=512, height=512)])
    before = sorted(path for path in folder.rglob("*"))
    for action in (["xmp"], ["xmp", "--into-files"], ["xmp", "--out", "out"], ["yolo", "--out", "out"]):
        for images in ([], ["--images", "bucket"]):
            assert main(["export", *action, "urls", *images]) == 2
            assert (
                "urls: expected photos in files of this machine, as they are opened, got s3://"
                in capsys.readouterr().err
            )
    assert sorted(path for path in folder.rglob("*")) == before
    assert main(["export", "yolo", "urls", "--photos", "none", "--out", "out"]) == 0
    assert main(["export", "csv", "urls", "--out", "faces.csv"]) == 0
    assert [path.name for path in Path("bucket").iterdir()] == ["one.jpg"]
