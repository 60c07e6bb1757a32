"""Photos with their faces hidden, over HTTP."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from cascade import Recognizer
from cascade.anonymize import METHODS
from tests.app.helpers import photo, png
from tests.photos import FACE_BOX, PORTRAIT, portrait


def hide(client, data=None, **options):
    return client.post("/api/hide", files=photo(data), params=options)


@pytest.mark.parametrize("method", METHODS)
def test_the_face_is_hidden_and_little_else(client, method):
    answer = hide(client, method=method, format="png")
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["faces-hidden"]) >= 1  # what looks a little like a face is hidden too
    hidden = np.asarray(Image.open(io.BytesIO(answer.content)))
    changed = (hidden != portrait()).any(axis=2)
    x1, y1, x2, y2 = (round(side) for side in FACE_BOX)
    assert changed[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10].mean() > 0.95
    assert changed.mean() < 0.2
    if method in ("solid", "blur"):
        recognizer = Recognizer(threads=1)
        points = recognizer.detector.detect(portrait())
        same = recognizer.embed(hidden, points)[0] @ recognizer.embed(portrait(), points)[0]
        assert same < recognizer.operating_point.threshold


def test_what_lies_under_transparent_pixels_does_not_show(client):
    alpha = np.full((512, 512, 1), 255, np.uint8)
    alpha[300:] = 0
    file = io.BytesIO()
    Image.fromarray(np.dstack([portrait(), alpha])).save(file, "PNG")
    hidden = np.asarray(Image.open(io.BytesIO(hide(client, file.getvalue(), format="png").content)))
    assert hidden.shape == (512, 512, 3)
    assert (hidden[300:] == 255).all()


def test_no_metadata_but_the_colour_profile(client):
    exif = Image.Exif()
    exif[0x010E] = "who this is"
    exif[0x8825] = {1: "N", 2: (48, 51, 29)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.open(PORTRAIT).save(file, "JPEG", exif=exif, icc_profile=profile, comment=b"a comment", quality=90)
    answer = hide(client, file.getvalue())
    assert answer.headers["content-type"] == "image/jpeg"
    image = Image.open(io.BytesIO(answer.content))
    assert not image.getexif()
    assert image.info["icc_profile"] == profile
    assert b"who this is" not in answer.content
    assert b"a comment" not in answer.content


def test_several_faces_and_none(client):
    assert int(hide(client, png(2)).headers["faces-hidden"]) >= 2
    answer = hide(client, png(0), format="png")
    assert answer.headers["faces-hidden"] == "0"
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == 128).all()


def test_what_cannot_be_hidden(client):
    assert hide(client, b"text").json()["kind"] == "photo"
    for options in ({"method": "nothing"}, {"margin": 3}, {"format": "gif"}, {"more": 1}):
        answer = hide(client, **options)
        assert (answer.status_code, answer.json()["kind"]) == (422, "request")
