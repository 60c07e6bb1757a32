"""The page of faces: self-contained, doubtful ones first, nothing of a file name is taken for HTML."""

from __future__ import annotations

import re

from cascade.anonymize import sheet
from cascade.anonymize.review import Decision
from cascade.anonymize.sheet import picture_of, write_sheet
from tests.photos import FACE_BOX, portrait


def a_picture(status: str, where: str = "a.jpg", reason: str = ""):
    return picture_of(portrait(), FACE_BOX, where, 0.5, Decision(status, reason))


def test_the_page_holds_its_pictures_and_asks_for_nothing(tmp_path):
    path = tmp_path / "sheet.html"
    write_sheet(path, [a_picture("hide"), a_picture("doubtful", reason="low score"), a_picture("keep")])
    text = path.read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"https?://", text)
    assert "default-src 'none'" in text
    assert text.index("Doubtful, hidden: 1") < text.index("Visible: 1") < text.index("Hidden: 1")
    assert "low score" in text


def test_names_are_text(tmp_path):
    path = tmp_path / "sheet.html"
    write_sheet(path, [a_picture("hide", '<script>alert("1")</script>')])
    assert "<script" not in path.read_text()


def test_a_face_at_the_border_and_an_empty_page(tmp_path):
    assert picture_of(portrait(), (500, 500, 530, 530), "a", 1, Decision("hide")).jpeg
    assert picture_of(portrait(), (900, 900, 930, 930), "a", 1, Decision("hide")).jpeg
    write_sheet(tmp_path / "sheet.html", [])
    assert "Hidden: 0" in (tmp_path / "sheet.html").read_text()


def test_faces_beyond_the_limit_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "MOST_PICTURES", 2)
    write_sheet(tmp_path / "sheet.html", [a_picture("hide")] * 5)
    text = (tmp_path / "sheet.html").read_text()
    assert "3 further faces are not shown" in text
    assert "Hidden: 5" in text
    assert "Of a video it has one picture of each track: watch the copy as well." in text
