"""Faces of a photo over HTTP, and what is wrong with photos and requests."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cascade import AttributeEstimator, Detector, LandmarkEstimator
from tests.app.helpers import SMALLEST, photo, png
from tests.photos import PORTRAIT


def post(client, files, **options):
    return client.post("/api/faces", files=files, params=options)


def test_faces_are_those_of_the_library(client):
    found = post(client, photo(), landmarks=True).json()
    detector = Detector(min_face=SMALLEST, threads=1)
    faces = detector.detect(PORTRAIT)
    assert (found["width"], found["height"], found["warnings"]) == (512, 512, [])
    (face,) = found["faces"]
    assert face["box"] == faces.boxes[0].tolist()
    assert list(face["landmarks"].values()) == faces.landmarks[0].tolist()
    told = AttributeEstimator(threads=1).predict(PORTRAIT, faces)
    assert face["age"] == pytest.approx(told.age[0], abs=0.06)
    assert (face["gender"], face["expression"], face["smile"]) == ("female", "happy", "yes")
    points = LandmarkEstimator(threads=1).predict(PORTRAIT, faces)[0]
    np.testing.assert_allclose(face["points"], points, atol=0.006)
    assert abs(face["yaw"]) < 15
    assert face["matches"] is None


def test_only_what_is_asked_for_is_told(client):
    (face,) = post(client, photo(), attributes=False).json()["faces"]
    told = {name for name, value in face.items() if value is not None}
    assert told == {"box", "score", "landmarks"}


def test_ethnicity_only_where_it_is_asked_for(client):
    (face,) = post(client, photo()).json()["faces"]
    assert face["ethnicity"] is face["ethnicity_probability"] is None
    (face,) = post(client, photo(), ethnicity=True).json()["faces"]
    assert isinstance(face["ethnicity"], str)
    described = client.get("/openapi.json").json()["paths"]["/api/faces"]["post"]["parameters"]
    text = next(each["description"] for each in described if each["name"] == "ethnicity")
    assert "must not be used to decide about a person" in text


def test_no_face_and_several(client):
    assert post(client, photo(png(0))).json()["faces"] == []
    found = post(client, photo(png(2)), find=True).json()
    assert (found["width"], len(found["faces"])) == (1024, 2)
    assert [face["matches"] for face in found["faces"]] == [[], []]


def test_small_faces_are_not_told(client):
    file = io.BytesIO()
    Image.open(PORTRAIT).resize((72, 72), Image.Resampling.LANCZOS).save(file, "PNG")
    (face,) = post(client, photo(file.getvalue()), find=True, landmarks=True).json()["faces"]
    assert face["unknown"] == "too small"
    assert face["too_small_to_match"] is True
    assert face["age"] is face["points"] is face["yaw"] is None
    assert face["matches"] == []


def test_what_is_odd_about_a_file_is_told(client):
    data = PORTRAIT.read_bytes().removesuffix(b"\xff\xd9")
    found = post(client, photo(data)).json()
    assert found["warnings"] == ["the end of the file is missing; all of its pixels are there"]
    assert len(found["faces"]) == 1


def test_an_upright_photo_whatever_its_orientation(client):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(PORTRAIT).rotate(90, expand=True).crop((0, 0, 512, 500)).save(file, "JPEG", exif=exif, quality=95)
    found = post(client, photo(file.getvalue())).json()
    assert (found["width"], found["height"], len(found["faces"])) == (500, 512, 1)


BAD = {
    "text": (b"hello, this is no photo", "expected JPEG"),
    "cut short": (PORTRAIT.read_bytes()[:-3000], "cut short"),
    "empty": (b"", "got 0"),
    "zeros": (bytes(10_000), "expected JPEG"),
    "damaged": (png(1)[:600] + bytes(200) + png(1)[800:], "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_photos_that_cannot_be_used(client, name):
    data, reason = BAD[name]
    answer = post(client, photo(data))
    problem = answer.json()
    assert (answer.status_code, problem["kind"]) == (422, "photo")
    assert problem["error"].startswith("The photo cannot be used: ")
    assert reason in problem["error"]


@pytest.mark.parametrize(
    ("request_of", "status", "kind"),
    [
        ({"data": {"photo": "text"}}, 415, "media type"),
        ({"content": b"raw"}, 415, "media type"),
        ({"files": {"other": ("a.jpg", b"x")}}, 422, "request"),
        ({"files": [("photo", ("a.jpg", b"x")), ("photo", ("b.jpg", b"y"))]}, 422, "request"),
        ({"files": photo(), "data": {"more": "text"}}, 422, "request"),
        ({"files": photo(), "params": {"attributes": "perhaps"}}, 422, "request"),
        ({"files": photo(), "params": {"attribute": "true"}}, 422, "request"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "request"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 422, "request"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data; boundary="}}, 422, "request"),
    ],
)
def test_requests_that_are_wrong(client, request_of, status, kind):
    answer = client.post("/api/faces", **request_of)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind), answer.json()


def test_unknown_addresses_and_methods(client):
    answer = client.get("/api/nothing")
    assert (answer.status_code, answer.json()["kind"]) == (404, "missing")
    answer = client.get("/api/faces")
    assert (answer.status_code, answer.json()["kind"], answer.headers["allow"]) == (405, "method", "POST")
    assert client.get("/docs").status_code == 404  # its page would load scripts of other hosts
    assert client.get("/../pyproject.toml").status_code == 404


def test_no_upload_touches_the_disk(client, monkeypatch):
    """Starlette's own parser writes files of more than 1 MB to the folder for temporary files."""
    import tempfile

    def refuse(*args, **options):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    large = io.BytesIO()
    Image.effect_noise((1500, 1500), 90).save(large, "PNG")
    assert len(large.getvalue()) > 2**21
    assert post(client, photo(large.getvalue())).status_code == 200
