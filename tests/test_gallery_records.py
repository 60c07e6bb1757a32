"""Consent notes, expiry dates and the audit of a gallery, and what is left of people who are forgotten."""

from __future__ import annotations

import getpass
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import gallery_records
from cascade.gallery import AuditLine, Gallery, GalleryError, Match, PersonRecord
from cascade.gallery_records import audit_from_bytes, audit_to_bytes, records_from_bytes, records_to_bytes
from tests.galleries import NAMES, same, small, unit
from tests.test_gallery_file import arrays

OLD = Path(__file__).parent / "data" / "format-1.gallery"
TODAY, YESTERDAY = date.today(), date.today() - timedelta(days=1)

NOTES = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30)
RECORDS = st.builds(PersonRecord, NOTES, st.none() | st.dates())


# --------------------------------------------------------------------------------------------------
# The file


def test_a_gallery_of_the_first_format(tmp_path):
    """Written by the version before notes, dates and the audit."""
    gallery = Gallery.load(OLD)
    assert same(gallery, small())
    assert (gallery.audit, gallery.record("Ann"), gallery.expired(date.max)) == ((), PersonRecord(), ())
    gallery.remove("Bob")
    gallery.save(tmp_path / "g")
    loaded = Gallery.load(tmp_path / "g")
    assert (loaded.names, [line.what for line in loaded.audit]) == (("Ann", "Zoë"), ["remove"])


@given(records=st.dictionaries(NAMES, RECORDS, max_size=4))
def test_records_come_back(records):
    assert records_from_bytes(records_to_bytes(records), set(records)) == records


@given(
    lines=st.lists(
        st.builds(AuditLine, st.text(max_size=5), NAMES, NAMES, st.none() | NAMES, st.none() | st.integers(0, 9))
    )
)
def test_the_audit_comes_back(lines):
    assert audit_from_bytes(audit_to_bytes(lines)) == lines


def test_notes_and_dates_come_back_with_the_gallery(tmp_path):
    gallery = small()
    gallery.set_record("Zoe\u0308", PersonRecord("two\nlines", TODAY))
    gallery.save(tmp_path / "g")
    loaded = Gallery.load(tmp_path / "g")
    assert loaded.record("Zoë") == PersonRecord("two\nlines", TODAY)
    assert loaded.audit == gallery.audit
    before = (tmp_path / "g").read_bytes()
    loaded.save(tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == before


def second(**changes: object) -> dict[str, object]:
    about = {"format": "cascade-gallery-2", "model": {"name": "small", "sha256": "ab" * 32, "dimension": 4}}
    text = {"records": b"{}", "audit": b"", **changes}
    entries = {name: np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data for name, data in text.items()}
    return {"about": np.array(json.dumps(about)), **entries}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"records": None}, "not a gallery"),
        ({"records": np.zeros(3)}, "records: expected uint8"),
        ({"audit": np.zeros((2, 2), np.uint8)}, "audit: expected uint8"),
        ({"records": b"\xff"}, "records: expected JSON"),
        ({"records": b"[" * 100_000}, "records: expected JSON"),
        ({"records": b"[]"}, "records: expected one for each person"),
        ({"records": b'{"Eve": {}}'}, "there is no 'Eve'"),
        ({"records": b'{"Ann": []}'}, "a note and a date"),
        ({"records": b'{"Ann": {"photo": 1}}'}, "a note and a date"),
        ({"records": b'{"Ann": {"note": 7}}'}, "note: expected text"),
        ({"records": b'{"Ann": {"note": "\\u0000"}}'}, "control characters"),
        ({"records": b'{"Ann": {"expires": 7}}'}, "records: "),
        ({"records": b'{"Ann": {"expires": "soon"}}'}, "records: "),
        ({"audit": b"{"}, "audit: expected JSON"),
        ({"audit": b"7\n"}, "audit: expected when"),
        ({"audit": b'{"when": "", "who": ""}\n'}, "audit: expected when"),
        ({"audit": b'{"when": "", "who": "", "what": "", "photo": ""}\n'}, "audit: expected when"),
        ({"audit": b'{"when": "", "who": "", "what": 7}\n'}, "audit: expected text"),
        ({"audit": b'{"when": "", "who": "", "what": "", "embeddings": "7"}\n'}, "audit: expected text"),
    ],
)
def test_files_that_are_no_gallery(changes, reason, tmp_path):
    (tmp_path / "good").write_bytes(arrays(**second()))
    assert Gallery.load(tmp_path / "good").counts == {"Ann": 2, "Bob": 1}
    (tmp_path / "bad").write_bytes(arrays(**second(**changes)))
    with pytest.raises(GalleryError, match=reason) as caught:
        Gallery.load(tmp_path / "bad")
    assert str(caught.value).startswith(f"{tmp_path / 'bad'}: ")


# --------------------------------------------------------------------------------------------------
# Notes and dates


@pytest.mark.parametrize(
    ("note", "expires", "reason"),
    [
        (7, None, "note: expected text, got int"),
        ("a" * 2001, None, "at most 2,000 characters, got 2,001"),
        ("a\x1b[31m", None, "control characters"),
        ("\ud800", None, "control characters"),
        ("", "2027-01-31", "expires: expected a datetime.date or None, got str"),
        ("", datetime(2027, 1, 31), "got datetime"),
    ],
)
def test_records_that_cannot_be(note, expires, reason):
    with pytest.raises(GalleryError, match=reason):
        PersonRecord(note, expires)
    gallery = small()
    with pytest.raises(GalleryError, match=reason):
        gallery.add("Eve", unit([1, 1, 0, 0]), note=note, expires=expires)
    assert same(gallery, small())
    assert gallery.audit[-1].person == "Zoë"


def test_records_of_people_who_are_not_there():
    gallery = small()
    for work in (lambda: gallery.record("Eve"), lambda: gallery.set_record("Eve", PersonRecord())):
        with pytest.raises(GalleryError, match="there is no 'Eve'"):
            work()
    with pytest.raises(TypeError, match="record: expected a PersonRecord"):
        gallery.set_record("Ann", "a note")


def test_extending_keeps_what_is_noted():
    gallery = small()
    gallery.add("Eve", unit([1, 1, 0, 0]), note="form 12", expires=TODAY)
    gallery.add("Eve", unit([1, 1, 0, 0]), extend=True)
    assert gallery.record("Eve") == PersonRecord("form 12", TODAY)
    gallery.add("Eve", unit([1, 1, 0, 0]), extend=True, note="form 13")
    assert gallery.record("Eve") == PersonRecord("form 13", TODAY)
    gallery.remove("Eve")
    gallery.add("Eve", unit([1, 1, 0, 0]))
    assert gallery.record("Eve") == PersonRecord()


def test_expired_people_are_not_matched():
    gallery, probes = small(), unit(np.eye(4))
    gallery.set_record("Ann", PersonRecord(expires=YESTERDAY))
    gallery.set_record("Bob", PersonRecord(expires=TODAY))  # through that day
    assert gallery.expired() == ("Ann",)
    assert gallery.expired(TODAY + timedelta(days=1)) == ("Ann", "Bob")
    for once in (False, True):
        names = {match.name for likely in gallery.identify(probes, once=once) for match in likely}
        assert names == {"Bob", "Zoë"}
    assert gallery.identify(unit([1, 0, 0, 0]), threshold=0.5) == [[]]
    assert gallery.identify(unit([0, 0, 1, 0]), threshold=0.5) == [[Match("Bob", 1.0)]]
    for name in ("Bob", "Zoë"):
        gallery.set_record(name, PersonRecord(expires=YESTERDAY))
    assert gallery.identify(probes) == [[]] * 4 == gallery.identify(probes, once=True)
    gallery.set_record("Ann", PersonRecord())
    assert gallery.identify(unit([1, 0, 0, 0]), 1) == [[Match("Ann", 1.0)]]


@pytest.mark.parametrize("day", ["2026-01-31", datetime(2026, 1, 31), 7])
def test_days_that_are_no_date(day):
    gallery = small()
    for ask in (gallery.expired, gallery.purge, PersonRecord().expired, PersonRecord(expires=TODAY).expired):
        with pytest.raises(TypeError, match=r"on: expected a datetime\.date"):
            ask(day)


def test_purging_forgets_expired_people(tmp_path):
    gallery = small()
    gallery.set_record("Ann", PersonRecord("form 12", YESTERDAY))
    assert gallery.purge() == ("Ann",)
    assert gallery.purge() == ()
    assert gallery.names == ("Bob", "Zoë")
    assert [line.what for line in gallery.audit].count("purge") == 1
    gallery.save(tmp_path / "g")
    data = (tmp_path / "g").read_bytes()
    assert b"Ann" not in data and "Ann".encode("utf-32-le") not in data and b"form 12" not in data


# --------------------------------------------------------------------------------------------------
# The audit, and requests of people


def test_every_change_has_a_line(monkeypatch):
    gallery = small()
    gallery.add("Ann", unit([1, 1, 0, 0]), extend=True)
    gallery.set_record("Ann", PersonRecord("form 12"))
    gallery.remove("Bob")
    gallery.identify(unit(np.eye(4)))
    with pytest.raises(GalleryError):
        gallery.remove("Bob")
    assert [(line.what, line.person, line.embeddings) for line in gallery.audit] == [
        ("add", "Ann", 2),
        ("add", "Bob", 1),
        ("add", "Zoë", 1),
        ("extend", "Ann", 1),
        ("note", "Ann", None),
        ("remove", "Bob", 1),
    ]
    assert {line.who for line in gallery.audit} == {getpass.getuser()}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line.when) for line in gallery.audit)


def test_an_account_without_a_name(monkeypatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    gallery_records._account.cache_clear()
    try:
        assert gallery_records.new_line("add").who.startswith(("user ", "unknown"))
    finally:
        gallery_records._account.cache_clear()


def test_many_are_forgotten_at_once():
    gallery = small()
    gallery.remove("Bob")
    with pytest.raises(GalleryError, match="no 'Eve' in the gallery, nor in its audit"):
        gallery.forget("Ann", "Eve")
    assert gallery.names == ("Ann", "Zoë")  # all or nobody
    gallery.forget("Ann", "Bob", "Ann")  # one who was removed before, and one named twice
    assert gallery.names == ("Zoë",)
    assert {line.person for line in gallery.audit} == {None, "Zoë"}
    assert [line.what for line in gallery.audit] == ["add", "add", "add", "remove", "forget", "forget"]


def test_a_forgotten_person_leaves_nothing(tmp_path):
    path, name = tmp_path / "g", "Ann/../etc"
    gallery = small()
    gallery.add(name, unit([1, 1, 1, 1]), note="form 12", expires=TODAY)
    gallery.save(path)
    rows = gallery.embeddings(name).tobytes()
    assert rows in path.read_bytes() and b"etc" in path.read_bytes()
    gallery.forget(name)
    gallery.save(path)
    data = path.read_bytes()
    for trace in (rows, b"etc", "etc".encode("utf-32-le"), b"form 12", TODAY.isoformat().encode() + b'"'):
        assert trace not in data
    lines = Gallery.load(path).audit
    assert [(line.what, line.person, line.embeddings) for line in lines[3:]] == [
        ("add", None, None),
        ("forget", None, None),
    ]
    assert [line.person for line in lines[:3]] == ["Ann", "Bob", "Zoë"]


def test_names_that_are_no_text_cannot_be_forgotten():
    with pytest.raises(GalleryError, match="name: expected text, got int"):
        small().forget(3)


def test_people_who_were_removed_can_be_forgotten():
    gallery = small()
    gallery.remove("Zoë")
    gallery.forget("Zoe\u0308")
    assert all(line.person != "Zoë" for line in gallery.audit)
    for name in ("Zoë", "Eve"):
        with pytest.raises(GalleryError, match="nor in its audit"):
            gallery.forget(name)


def test_export_has_all_that_is_stored():
    gallery = small()
    gallery.set_record("Ann", PersonRecord("form 12", TODAY))
    found = json.loads(json.dumps(gallery.export("Ann")))
    assert (found["name"], found["note"], found["expires"]) == ("Ann", "form 12", TODAY.isoformat())
    assert found["model"] == {"name": "small", "sha256": "ab" * 32, "dimension": 4}
    assert np.array_equal(np.array(found["embeddings"], np.float32), gallery.embeddings("Ann"))
    assert [(line["what"], line["person"]) for line in found["audit"]] == [("add", "Ann"), ("note", "Ann")]
    assert gallery.export("Bob")["expires"] is None
    with pytest.raises(GalleryError, match="there is no 'Eve'"):
        gallery.export("Eve")
