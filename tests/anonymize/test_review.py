"""Reviews: written, edited, read again, and refused with the place of what is wrong."""

from __future__ import annotations

import json
import stat
import sys

import numpy as np
import pytest

from cascade.anonymize import Hiding, Review, ReviewError, read_review, write_review
from cascade.anonymize.review import Decision, ReviewedPhoto, ReviewedTrack, ReviewedVideo, hash_of
from tests.photos import PORTRAIT, portrait_faces

FACES = portrait_faces()


def a_review() -> Review:
    photo = ReviewedPhoto("sub/a.jpg", "ab" * 32, 512, 512, FACES, (Decision("doubtful", "low score"),))
    two = type(FACES)(np.repeat(FACES.boxes, 2, 0), [0.9, 0.8], np.repeat(FACES.landmarks, 2, 0))
    video = ReviewedVideo("clip.mp4", "cd" * 32, 640, 480, 30, (ReviewedTrack((3, 4), two, Decision("keep")),))
    return Review("/photos", Hiding(method="solid", fill=(1, 2, 3)), (photo,), (video,))


def edited(path, change) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_review_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "review.json"
    write_review(path, a_review())
    read = read_review(path)
    assert (read.base, read.hiding) == ("/photos", a_review().hiding)
    (photo,), (video,) = read.photos, read.videos
    assert (photo.path, photo.width, photo.decisions) == ("sub/a.jpg", 512, (Decision("doubtful", "low score"),))
    np.testing.assert_allclose(photo.faces.boxes, FACES.boxes, atol=0.05)
    np.testing.assert_allclose(photo.faces.landmarks, FACES.landmarks, atol=0.051)
    assert video.frames == 30
    assert video.tracks[0].frames == (3, 4)
    assert not video.tracks[0].decision.hidden


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_review_is_for_its_owner_alone(tmp_path):
    (tmp_path / "review.json").write_text("of earlier")
    (tmp_path / "review.json").chmod(0o644)
    write_review(tmp_path / "review.json", a_review())
    assert stat.S_IMODE((tmp_path / "review.json").stat().st_mode) == 0o600


def test_a_face_added_by_hand_needs_its_box_alone(tmp_path):
    path = tmp_path / "review.json"
    write_review(path, a_review())
    edited(path, lambda record: record["photos"][0]["faces"].append({"status": "hide", "box": [1, 2, 30, 40]}))
    photo = read_review(path).photos[0]
    assert photo.faces.boxes[1].tolist() == [1, 2, 30, 40]
    assert len(photo.hidden()) == 2


def test_what_is_kept_is_not_hidden(tmp_path):
    path = tmp_path / "review.json"
    write_review(path, a_review())
    edited(path, lambda record: record["photos"][0]["faces"][0].update(status="keep"))
    assert len(read_review(path).photos[0].hidden()) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format="other"), 'expected an object with "format"'),
        (lambda r: r.update(version=2), "version: expected 1, got 2"),
        (lambda r: r["hiding"].update(cells=0), "hiding: cells: expected"),
        (lambda r: r["hiding"].update(strength=1), "hiding: there is no setting 'strength'"),
        (lambda r: r.update(photos={}), "photos: expected a list"),
        (lambda r: r["photos"][0].update(path="../a.jpg"), r"photos\[0\].path: expected a path below"),
        (lambda r: r["photos"][0].update(path="/a.jpg"), r"photos\[0\].path: expected a path below"),
        (lambda r: r["photos"][0].pop("sha256"), r"photos\[0\].sha256: expected text, got None"),
        (lambda r: r["photos"][0]["faces"][0].update(status="blur"), r"photos\[0\].faces\[0\].status: expected one of"),
        (lambda r: r["photos"][0]["faces"][0].update(box=[3, 2]), r"photos\[0\].faces: "),
        (lambda r: r["photos"][0]["faces"][0].update(box=[9, 9, 1, 1]), r"photos\[0\].faces: boxes: expected x1"),
        (lambda r: r["videos"][0]["tracks"][0]["frames"][1].update(frame=3), r"tracks\[0\].frames: expected rising"),
        (lambda r: r["videos"][0].update(frames=True), r"videos\[0\].frames: expected an integer"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, change, message):
    path = tmp_path / "review.json"
    write_review(path, a_review())
    edited(path, change)
    with pytest.raises(ReviewError, match=rf"^{path}: {message}" if message[0] != "t" else message):
        read_review(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_review_is_refused(tmp_path, data):
    path = tmp_path / "review.json"
    path.write_bytes(data)
    with pytest.raises(ReviewError, match=f"^{path}: "):
        read_review(path)
    with pytest.raises(ReviewError, match="cannot be read"):
        read_review(tmp_path / "none.json")


def test_the_hash_is_that_of_the_file():
    assert len(hash_of(PORTRAIT)) == 64
