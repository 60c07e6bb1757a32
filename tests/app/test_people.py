"""Naming people, finding them, comparing photos, and tables."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import threading
from pathlib import Path

import pytest
from PIL import Image

from cascade import Gallery, Recognizer, encryption
from cascade.app.people import GalleryOfPage
from cascade.gallery_people import PeopleEmbeddings
from tests.app.helpers import client_of, make_settings, photo, png
from tests.galleries import MODEL, same, small, unit
from tests.photos import PORTRAIT

EILEEN = "Eileen Collins"


def add(client, name=EILEEN, files=None, **options):
    return client.post("/api/people", files=files or photo(), params={"name": name, **options})


def names(client) -> list[str]:
    return [person["name"] for person in client.get("/api/people").json()["people"]]


def test_somebody_is_named_and_found(client):
    answer = add(client)
    assert answer.status_code == 201
    assert answer.json() == {"people": [{"name": EILEEN, "embeddings": 1}], "stored_in": None}
    found = client.post("/api/faces", files=photo(png(2)), params={"find": True}).json()
    assert [face["matches"][0]["name"] for face in found["faces"]] == [EILEEN, EILEEN]
    assert all(face["matches"][0]["similarity"] > 0.8 for face in found["faces"])
    assert client.delete("/api/people", params={"name": EILEEN}).json()["people"] == []
    found = client.post("/api/faces", files=photo(), params={"find": True}).json()
    assert found["faces"][0]["matches"] == []


def test_one_of_several_faces(client):
    answer = add(client, files=photo(png(2)))
    assert (answer.status_code, answer.json()["kind"]) == (422, "faces")
    assert "shows 2 faces" in answer.json()["error"]
    assert add(client, files=photo(png(2)), face=2).status_code == 201
    answer = add(client, "Another", files=photo(png(2)), face=3)
    assert "There is no face 3 in the photo: it has 2 faces." in answer.json()["error"]
    assert "shows no face" in add(client, "Another", files=photo(png(0))).json()["error"]


def test_a_name_that_is_taken(client):
    add(client)
    answer = add(client)
    assert (answer.status_code, answer.json()["kind"]) == (409, "exists")
    assert add(client, extend=True).json()["people"] == [{"name": EILEEN, "embeddings": 2}]


def test_a_small_face(client):
    small = io.BytesIO()
    Image.open(PORTRAIT).resize((115, 115), Image.Resampling.LANCZOS).save(small, "PNG")
    answer = add(client, files=photo(small.getvalue()))
    assert "too small to store" in answer.json()["error"]
    assert add(client, files=photo(small.getvalue()), allow_small=True).status_code == 201


@pytest.mark.parametrize("name", ["a/b", "../../etc/passwd", "Zoë", "=1+1", "<b>x</b>", "名前", "a" * 200, "50 %&?#"])
def test_odd_names(client, name):
    assert add(client, name).status_code == 201
    assert names(client) == [name]
    assert client.delete("/api/people", params={"name": name}).status_code == 200
    assert names(client) == []


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x00", "a" * 201, "\u2028"])
def test_names_that_cannot_be(client, name):
    answer = add(client, name)
    assert (answer.status_code, answer.json()["kind"]) == (422, "request")
    assert names(client) == []


def test_nobody_of_that_name(client):
    answer = client.delete("/api/people", params={"name": "Nobody"})
    assert (answer.status_code, answer.json()["kind"]) == (404, "missing")


def test_a_gallery_is_saved_and_opened(client, tmp_path):
    add(client)
    answer = client.get("/api/gallery")
    assert 'filename="people.gallery"' in answer.headers["content-disposition"]
    (tmp_path / "crew.gallery").write_bytes(answer.content)
    loaded = Gallery.load(tmp_path / "crew.gallery", Recognizer(threads=1))
    assert loaded.names == (EILEEN,)
    client.delete("/api/gallery")
    assert names(client) == []
    answer = client.put("/api/gallery", files=photo(answer.content, "crew.gallery", "gallery"))
    assert answer.json()["people"] == [{"name": EILEEN, "embeddings": 1}]


def test_people_who_are_replaced_are_forgotten(client):
    add(client, "Another")
    other = client.get("/api/gallery").content
    client.delete("/api/gallery")
    add(client)
    opened = client.put("/api/gallery", files=photo(other, "crew.gallery", "gallery"))
    assert opened.json()["people"] == [{"name": "Another", "embeddings": 1}]
    saved = Gallery.from_bytes(client.get("/api/gallery").content, Recognizer(threads=1))
    assert "Another" in {line.person for line in saved.audit}
    assert EILEEN not in {line.person for line in saved.audit}


def test_galleries_that_cannot_be_opened(client, tmp_path):
    add(client)
    cut = client.get("/api/gallery").content[:-100]
    for data, reason in ((b"text", "not a gallery"), (cut, "not a gallery"), (b"", "not a gallery")):
        answer = client.put("/api/gallery", files=photo(data, "x.gallery", "gallery"))
        assert (answer.status_code, answer.json()["kind"]) == (422, "gallery")
        assert reason in answer.json()["error"]
    answer = client.put("/api/gallery", files=photo(small().to_bytes(), "x.gallery", "gallery"))
    assert "not comparable" in answer.json()["error"]
    assert names(client) == [EILEEN]


def test_a_gallery_in_a_file(tmp_path):
    path = tmp_path / "crew.gallery"
    with client_of(make_settings(gallery=path)) as client:
        assert client.get("/api/people").json() == {"people": [], "stored_in": str(path)}
        assert not path.exists()
        add(client)
        assert Gallery.load(path).names == (EILEEN,)
        assert path.stat().st_mode & 0o077 == 0
        with Gallery.changing(path) as gallery:  # as another program would
            gallery.add("Another", gallery.embeddings(EILEEN))
        assert names(client) == [EILEEN, "Another"]
        client.delete("/api/people", params={"name": EILEEN})
        assert Gallery.load(path).names == ("Another",)
        path.write_bytes(b"damaged")
        answer = client.get("/api/people")
        assert (answer.status_code, answer.json()["kind"]) == (422, "gallery")
        path.unlink()
        assert names(client) == []


def test_nobody_changes_a_gallery_while_it_is_saved(monkeypatch):
    started, changed = threading.Event(), threading.Event()
    stack = PeopleEmbeddings.stack

    def slow_stack(people):  # the counts of the people have been taken before
        started.set()
        changed.wait(0.3)
        return stack(people)

    async def save_and_change() -> tuple[bytes, dict[str, int]]:
        page = GalleryOfPage(MODEL, make_settings())
        await page.replace(small().to_bytes())
        monkeypatch.setattr(PeopleEmbeddings, "stack", slow_stack)
        saving = asyncio.create_task(page.to_bytes())
        assert await asyncio.to_thread(started.wait, 10)
        await page.remove("Ann")
        changed.set()
        return await saving, await page.counts()

    data, counts = asyncio.run(save_and_change())
    assert same(Gallery.from_bytes(data), small())
    assert list(counts) == ["Bob", "Zoë"]


def test_a_change_by_others_right_after_ones_own_is_seen(tmp_path, monkeypatch):
    path, changing = tmp_path / "crew.gallery", Gallery.changing

    @contextlib.contextmanager
    def others_come_next(*given, **options):
        with changing(*given, **options) as gallery:
            yield gallery
        with changing(path) as theirs:
            theirs.add("Another", unit([0, 1, 0, 0]))

    async def people() -> list[str]:
        page = GalleryOfPage(MODEL, make_settings(gallery=path))
        monkeypatch.setattr(Gallery, "changing", others_come_next)
        await page.add(EILEEN, unit([1, 0, 0, 0]), extend=False)
        return list(await page.counts())

    assert asyncio.run(people()) == [EILEEN, "Another"]


def encrypted_gallery(path: Path, **secret) -> None:
    """An encrypted gallery with one person, at a path."""
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    gallery.add(EILEEN, recognizer.enrol(PORTRAIT))
    gallery.encrypt(**secret)
    gallery.save(path)


@pytest.mark.parametrize("secret", [{"passphrase": "correct horse"}, {"key": bytes(range(32))}])
def test_an_encrypted_gallery_in_a_file(tmp_path, monkeypatch, secret):
    monkeypatch.setattr(encryption, "COST", encryption.Cost(64, 1, 1))
    path = tmp_path / "crew.gallery"
    encrypted_gallery(path, **secret)
    with client_of(make_settings(gallery=path, **secret)) as client:
        assert names(client) == [EILEEN]
        assert add(client, "Another").status_code == 201
        assert encryption.is_encrypted(path.read_bytes())
        assert Gallery.load(path, **secret).names == (EILEEN, "Another")
        with Gallery.changing(path, **secret) as gallery:  # as another program would
            gallery.remove(EILEEN)
        assert names(client) == ["Another"]
        saved = client.get("/api/gallery").content
        (tmp_path / "saved.gallery").write_bytes(saved)
        assert Gallery.load(tmp_path / "saved.gallery", **secret).names == ("Another",)
        answer = client.put("/api/gallery", files=photo(saved, "x.gallery", "gallery"))
        assert (answer.status_code, answer.json()["kind"]) == (422, "gallery")
        assert "cascade app --gallery FILE" in answer.json()["error"]
        with Gallery.changing(path, **secret) as gallery:
            gallery.encrypt(passphrase="battery staple")
        answer = client.get("/api/people")
        assert (answer.status_code, answer.json()["kind"]) == (422, "gallery")
        path.unlink()
        add(client)
        assert Gallery.load(path, **secret).names == (EILEEN,)  # a new file is encrypted, too


def compare(client, first: bytes, second: bytes, **options):
    files = {**photo(first, field="first"), **photo(second, field="second")}
    return client.post("/api/compare", files=files, params=options)


def test_two_photos_of_one_person(client):
    found = compare(client, PORTRAIT.read_bytes(), png(1)).json()
    expected = Recognizer(threads=1).verify(PORTRAIT, png(1))
    assert found["decision"] == "the same person"
    assert found["similarity"] == pytest.approx(expected.similarity, abs=1e-6)
    assert found["threshold"] == expected.threshold
    assert found["sides"] == [[512, 512], [512, 512]]


def test_photos_that_cannot_be_told(client):
    tiny = io.BytesIO()
    Image.open(PORTRAIT).resize((72, 72), Image.Resampling.LANCZOS).save(tiny, "PNG")
    found = compare(client, tiny.getvalue(), tiny.getvalue()).json()
    assert found["decision"] == "cannot tell"
    assert "too small to tell" in found["warnings"][0]


def test_photos_that_cannot_be_compared(client):
    assert (
        "The second photo should show one face, but it shows 2 faces."
        in (compare(client, png(1), png(2)).json()["error"])
    )
    assert compare(client, png(1), png(2), largest=True).status_code == 200
    assert (
        "The first photo should show one face, but it shows no face."
        in (compare(client, png(0), png(1), largest=True).json()["error"])
    )
    assert compare(client, b"x", png(1)).json()["error"].startswith("The first photo cannot be used")
    assert compare(client, png(1), b"x").json()["error"].startswith("The second photo cannot be used")
    assert client.post("/api/compare", files=photo(field="first")).json()["kind"] == "request"


def test_a_table(client):
    add(client, "=EVIL()")
    results = []
    for name, people in (("one, two.png", 2), ("none.png", 0)):
        options = {"find": True, "landmarks": True}
        found = client.post("/api/faces", files=photo(png(people)), params=options).json()
        results.append({"path": name, **found})
    answer = client.post("/api/csv", json=results)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["path"] for row in rows] == ["one, two.png", "one, two.png"]
    assert [row["face"] for row in rows] == ["1", "2"]
    assert [row["name"] for row in rows] == ["'=EVIL()", "'=EVIL()"]
    assert float(rows[0]["age"]) == results[0]["faces"][0]["age"]
    assert "ethnicity" not in rows[0]
    assert float(rows[0]["x1"]) == pytest.approx(results[0]["faces"][0]["box"][0], rel=1e-6)
    assert client.post("/api/csv", json=[]).text.startswith("path,face,x1")
    assert client.post("/api/csv", json=[{"path": "x"}]).status_code == 422
    assert client.post("/api/csv", content=b"{", headers={"content-type": "application/json"}).status_code == 422


def test_a_table_of_nonsense(client):
    face = {"box": [5, 0, 1, 2], "score": 0.5, "landmarks": {name: [0, 0] for name in NAMES}}
    answer = client.post("/api/csv", json=[{"path": "x", "width": 1, "height": 1, "faces": [face]}])
    assert (answer.status_code, answer.json()["kind"]) == (422, "request")


NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
