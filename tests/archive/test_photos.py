"""The rows of one photo: what the detector and recogniser say, and what is said of a file that cannot be read."""

from __future__ import annotations

import hashlib
import os
import pickle
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from cascade import AttributeEstimator, Detector, Recognizer, read_image
from cascade.archive.photos import PhotoIndexer
from cascade.archive.taken import time_taken
from cascade.quality import face_quality
from tests.cli.helpers import photo, truncated
from tests.imaging.pictures import encode
from tests.photos import PORTRAIT


def test_rows_are_what_the_networks_say(indexer: PhotoIndexer) -> None:
    found = indexer.index(PORTRAIT)
    faces = indexer.recognizer.detector.detect(PORTRAIT)
    assert found.error is None
    assert np.array_equal(found.boxes, faces.boxes)
    assert np.array_equal(found.landmarks, faces.landmarks)
    wanted = indexer.recognizer.embed(read_image(PORTRAIT), faces).astype(np.float16)
    assert np.array_equal(found.embeddings, wanted)
    assert found.quality is not None
    assert found.quality.shape == (1,)
    assert found.quality.tolist() == face_quality(PORTRAIT, faces).tolist()
    assert 0 < found.quality[0] < 1
    assert found.sha256 == hashlib.sha256(PORTRAIT.read_bytes()).digest()
    assert (found.width, found.height, found.size) == (512, 512, PORTRAIT.stat().st_size)


def test_bytes_and_files_give_the_same(indexer: PhotoIndexer) -> None:
    file, data = indexer.index(PORTRAIT), indexer.index_bytes("bucket/astronaut.jpg", PORTRAIT.read_bytes())
    assert data.path == b"bucket/astronaut.jpg"
    assert np.array_equal(file.embeddings, data.embeddings)
    assert file.sha256 == data.sha256


def test_large_files_are_hashed_piece_by_piece(
    indexer: PhotoIndexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(PORTRAIT).save(tmp_path / "scan.tif")
    whole = indexer.index(tmp_path / "scan.tif")
    monkeypatch.setattr("cascade.archive.photos.WHOLE", 1000)
    pieces = indexer.index(tmp_path / "scan.tif")
    assert pieces.sha256 == whole.sha256
    assert np.array_equal(pieces.embeddings, whole.embeddings)
    assert len(pieces.scores) == 1


def test_a_photo_of_too_many_pixels_is_reported(indexer: PhotoIndexer, tmp_path: Path) -> None:
    Image.new("L", (2000, 1001)).save(tmp_path / "huge.tif")
    found = indexer.index(tmp_path / "huge.tif")
    assert found.error is not None
    assert "2,000,000 pixels in all, got 2,000×1,001" in found.error
    assert found.mtime_ns is not None


def test_reduced_photos_have_coordinates_of_the_photo(indexer: PhotoIndexer, tmp_path: Path) -> None:
    Image.open(PORTRAIT).resize((1023, 1021)).save(tmp_path / "a.jpg", quality=95)
    weights = indexer.recognizer.weights
    full, reduced = (
        PhotoIndexer(Recognizer(weights, 1, detector=Detector(min_face=80, threads=1, decode=decode)))
        for decode in ("full", "reduced")
    )
    assert (full.manifest.settings["decode"], reduced.manifest.settings["decode"]) == ("full", "reduced")
    whole, half = full.index(tmp_path / "a.jpg"), reduced.index(tmp_path / "a.jpg")
    assert (half.scale, half.width, half.height) == (0.5, 1023, 1021)
    assert np.abs(half.landmarks - whole.landmarks).max() < 4
    assert whole.embeddings is not None and half.embeddings is not None
    assert float(whole.embeddings[0].astype(float) @ half.embeddings[0].astype(float)) > 0.8


@pytest.mark.parametrize("content", [b"", b"no photo", PORTRAIT.read_bytes()[:5000]])
def test_a_bad_file_has_an_error_and_its_state(indexer: PhotoIndexer, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    found = indexer.index(tmp_path / "bad.jpg")
    assert found.error
    assert not found.error.startswith("image: ")
    assert (found.size, len(found.scores)) == (len(content), 0)
    assert found.mtime_ns is not None


def test_a_file_that_is_not_there_is_tried_again(indexer: PhotoIndexer, tmp_path: Path) -> None:
    found = indexer.index(tmp_path / "nothing.jpg")
    assert found.error == "cannot be read: No such file or directory"
    assert found.mtime_ns is None


def test_small_gray_and_transparent_photos(indexer: PhotoIndexer, tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "LA", "RGBA", "P", "I;16")):
        Image.new(mode, (1, 1 + number)).save(tmp_path / "tiny.png")
        assert indexer.index(tmp_path / "tiny.png").error is None


def test_it_can_be_pickled(indexer: PhotoIndexer) -> None:
    copied = pickle.loads(pickle.dumps(indexer))
    assert copied.manifest == indexer.manifest
    assert copied.max_pixels == indexer.max_pixels
    assert np.array_equal(copied.index(PORTRAIT).embeddings, indexer.index(PORTRAIT).embeddings)


def test_attributes_are_columns(indexer: PhotoIndexer) -> None:
    estimator = AttributeEstimator(tasks=("age", "gender"), threads=1)
    told = PhotoIndexer(indexer.recognizer, estimator)
    assert told.manifest.attribute_columns == {
        "age": "float32",
        "gender": "string",
        "gender_probability": "float32",
        "attributes_unknown": "string",
    }
    found = told.index(PORTRAIT)
    assert set(found.attributes) == set(told.manifest.attribute_columns)
    assert 15 < found.attributes["age"][0] < 70


@pytest.mark.parametrize("limit", [0, 300_000_000, 1.5])
def test_limits_are_checked(indexer: PhotoIndexer, limit: float) -> None:
    with pytest.raises((TypeError, ValueError), match="max_pixels: expected"):
        PhotoIndexer(indexer.recognizer, max_pixels=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(("suffix", "year"), [(".jpg", 2019), (".png", 2019), (".webp", 2019), (".tif", 2001)])
def test_the_time_of_a_photo(tmp_path: Path, suffix: str, year: int) -> None:
    """Pillow writes a TIFF without the time it was taken; then the time of change stands for it."""
    exif = Image.Exif()
    exif[0x0132] = "2001:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2019:08:07 06:05:04"
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif)
    wanted = datetime(2019, 8, 7, 6, 5, 4) if year == 2019 else datetime(year, 1, 1)
    assert time_taken((tmp_path / f"a{suffix}").read_bytes()) == wanted


@pytest.mark.parametrize("place", ["first", "behind the pixels", "none"])
def test_the_time_of_a_png_file_is_read_without_its_pixels(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0132] = "2019:08:07 06:05:04"
    data = encode(Image.new("RGB", (8, 8)), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    chunk, rest = data[start:end], data[:start] + data[end:]
    if place != "first":
        data = rest if place == "none" else rest[:-12] + chunk + rest[-12:]
    monkeypatch.setattr(PngImageFile, "load", lambda self: pytest.fail("it was decoded"))
    assert time_taken(data) == (None if place == "none" else datetime(2019, 8, 7, 6, 5, 4))


@pytest.mark.parametrize("value", ["0000:00:00 00:00:00", "yesterday", ""])
def test_a_time_that_is_none(tmp_path: Path, value: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = value
    photo(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(0x8769)[0x9003] == value
    assert time_taken((tmp_path / "a.jpg").read_bytes()) is None


def test_damaged_files_have_no_time(tmp_path: Path) -> None:
    assert time_taken(b"") is None
    assert time_taken(os.urandom(100)) is None
    assert time_taken(truncated(tmp_path / "cut.jpg").read_bytes()) is None
    assert time_taken(b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II*\0" + b"\xff" * 40) is None
