"""Prediction files of WIDER FACE and FDDB: what is written is read again, what is broken is named."""

from __future__ import annotations

import tempfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.datasets import (
    DatasetError,
    Detections,
    ellipse_boxes,
    read_fddb_detections,
    read_wider_predictions,
    write_fddb_detections,
    write_wider_predictions,
)

coordinates = st.floats(-1e5, 1e5)
sizes = st.floats(0, 1e5)
scores = st.floats(allow_nan=False, allow_infinity=False)
stems = st.text("abcABC019_-. éjpg", min_size=1, max_size=12).filter(lambda s: s == s.strip() and s[0] != ".")


@st.composite
def detections(draw, elliptic=False):
    shape = st.tuples(sizes, sizes, coordinates, coordinates, coordinates, scores)
    rows = np.array(draw(st.lists(shape, max_size=6)), np.float64).reshape(-1, 6)
    if elliptic:
        return Detections(ellipse_boxes(rows[:, :5]), rows[:, 5], rows[:, :5])
    return Detections(np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, :2]]), rows[:, 5])


def assert_same(read, written):
    np.testing.assert_array_equal(read.scores, written.scores)
    np.testing.assert_array_equal(read.boxes[:, :2], written.boxes[:, :2])
    # x2 = x1 + (x2 - x1) rounds twice, in the scale of the larger of the two.
    scale = np.maximum(np.abs(written.boxes).max(initial=0), 1)
    np.testing.assert_allclose(read.boxes, written.boxes, rtol=0, atol=4e-16 * scale)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.tuples(stems, stems).map("/".join), detections(), min_size=1, max_size=4))
def test_wider_round_trip(written):
    with tempfile.TemporaryDirectory() as folder:
        write_wider_predictions(folder, written)
        read = read_wider_predictions(folder)
    assert list(read) == sorted(written)
    for name, found in written.items():
        assert_same(read[name], found)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.tuples(stems, stems).map("/".join), detections(), min_size=1, max_size=4))
def test_fddb_round_trip(written):
    with tempfile.TemporaryDirectory() as folder:
        write_fddb_detections(Path(folder, "found.txt"), written)
        read = read_fddb_detections(Path(folder, "found.txt"))
    assert list(read) == list(written)
    for name, found in written.items():
        assert_same(read[name], found)
        assert read[name].ellipses is None


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(stems, detections(elliptic=True), min_size=1, max_size=4))
def test_fddb_round_trip_of_ellipses(written):
    with tempfile.TemporaryDirectory() as folder:
        write_fddb_detections(Path(folder, "found.txt"), written)
        read = read_fddb_detections(Path(folder, "found.txt"))
    for name, found in written.items():
        np.testing.assert_array_equal(read[name].scores, found.scores)
        np.testing.assert_array_equal(read[name].boxes, found.boxes)
        if len(found):
            np.testing.assert_array_equal(read[name].ellipses, found.ellipses)


def test_wider_text_is_the_standard_one(tmp_path):
    faces = SimpleNamespace(boxes=np.array([[1, 2, 4, 6.5]], np.float32), scores=np.array([0.5], np.float32))
    nobody = Detections(np.zeros((0, 4)), np.zeros(0))
    write_wider_predictions(tmp_path / "new", {"0--Parade/a.jpg": faces, "0--Parade/b": nobody})
    assert (tmp_path / "new/0--Parade/a.jpg.txt").read_text() == "a.jpg\n1\n1.0 2.0 3.0 4.5 0.5\n"
    assert (tmp_path / "new/0--Parade/b.txt").read_text() == "b\n0\n"


@pytest.mark.parametrize(
    ("name", "boxes", "scores"),
    [
        ("../x/a", [[0, 0, 1, 1]], [1]),
        ("/x/a", [[0, 0, 1, 1]], [1]),
        ("a", [[0, 0, 1, 1]], [1]),
        ("x/y/a", [[0, 0, 1, 1]], [1]),
        ("x/", [[0, 0, 1, 1]], [1]),
        ("x/.a", [[0, 0, 1, 1]], [1]),
        ("x/a\nb", [[0, 0, 1, 1]], [1]),
        ("x\\y/a", [[0, 0, 1, 1]], [1]),
        ("", [[0, 0, 1, 1]], [1]),
        ("x/a", [[0, 0, 1, np.nan]], [1]),
        ("x/a", [[0, 0, -1, 1]], [1]),
        ("x/a", [[0, 0, 1, 1]], [1, 2]),
    ],
)
def test_unfit_predictions_are_not_written(tmp_path, name, boxes, scores):
    good = Detections([[0, 0, 1, 1]], [1])
    bad = SimpleNamespace(boxes=np.array(boxes, float), scores=np.array(scores, float))
    with pytest.raises(ValueError, match=r"name|x/a: "):
        write_wider_predictions(tmp_path, {"x/good": good, name: bad})
    assert list(tmp_path.iterdir()) == []


BROKEN = [
    ("a\n1\n1 2 3 4 nan\n", 3, "'nan'"),
    ("a\n2\n1 2 3 4 5\n1 inf 3 4 5\n", 4, "'inf'"),
    ("a\n2\n1 2 3 4 5\n1 2 -3 4 5\n", 4, "negative width or height"),
    ("a\n2\n1 2 3 4 5\n1 2 3 4\n", 4, "5.* numbers expected, 4 fields found"),
    ("a\n2\n1 2 3 4 5\n1 2 3 4 5 6 7\n", 4, "5.* numbers expected, 7 fields found"),
    ("a\n1\n1 2 3 x4 5\n", 3, "'x4'"),
    ("a\n1\n1,2,3,4,5\n", 3, "5.* numbers expected, 1 fields found"),
    ("a\n3\n1 2 3 4 5\n", 2, "3 faces announced, 1 lines follow"),
    ("a\n-1\n", 2, "number of faces expected, found '-1'"),
    ("a\n1.0\n1 2 3 4 5\n", 2, "number of faces expected"),
    ("a\n", 1, "number of faces is missing"),
    ("a\n1\n1e308 2 1e308 4 5\n", 3, "not a finite number"),
]


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
def test_broken_wider_predictions(tmp_path, text, line, message):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"x/a\.txt:{line}: .*{message}"):
        read_wider_predictions(tmp_path)


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
def test_broken_fddb_detections(tmp_path, text, line, message):
    file = tmp_path / "found.txt"
    file.write_text("2002/good\n1\n0 0 9 9 .5\n" + text)
    with pytest.raises(DatasetError, match=rf"found\.txt:{line + 3}: a: .*{message}"):
        read_fddb_detections(file)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [("", 1, "empty"), ("a\n1\n1 2 3 4 5\n1 2 3 4 5\n", 4, "more lines than the 1")],
)
def test_wider_files_of_the_wrong_length(tmp_path, text, line, message):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"x/a\.txt:{line}: .*{message}"):
        read_wider_predictions(tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n0\na\n0\n", 3, "comes twice"),
        ("a\n1\n1 2 3 4 5\nb\n1\n1 2 3 4 5 6\n", 6, "5 numbers expected, 6 fields found"),
        ("a\n1\n1 -2 3 4 5 6\n", 3, "negative radius"),
        ("a\n1\n1e308 1e308 0 1e308 5 6\n", 3, "beyond"),
    ],
)
def test_broken_fddb_files(tmp_path, text, line, message):
    file = tmp_path / "found.txt"
    file.write_text(text)
    with pytest.raises(DatasetError, match=rf"found\.txt:{line}: .*{message}"):
        read_fddb_detections(file)


def test_fddb_files_without_content(tmp_path):
    for content in (b"", b"\n\n", b"\0"):
        (tmp_path / "found.txt").write_bytes(content)
        with pytest.raises(DatasetError, match=r"found\.txt"):
            read_fddb_detections(tmp_path / "found.txt")
    with pytest.raises(DatasetError, match="absent"):
        read_fddb_detections(tmp_path / "absent.txt")


def test_fddb_blank_lines_zero_rows_and_ellipses(tmp_path):
    file = tmp_path / "found.txt"
    file.write_text("\nnobody\n0\n\na b\n1\n2 1 0 10 20 .5\n\nc\n0\n0 0 0 0 0 0\n")
    read = read_fddb_detections(file)
    assert list(read) == ["nobody", "a b", "c"]
    assert read["a b"].boxes.tolist() == [[8, 19, 12, 21]]
    assert read["nobody"].ellipses.shape == (0, 5)
    with pytest.raises(ValueError, match="ellipses in others"):
        write_fddb_detections(file, {**read, "d": Detections([[0, 0, 1, 1]], [1])})


def test_wider_zip_and_wrapping_folders(tmp_path):
    archive = tmp_path / "predictions.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("pred/0--Parade/a.jpg.txt", "anything\r\n2\r\n1 2 3 4 .5\r\n5 6 7 8 .25\r\n\r\n")
        out.writestr("pred/1--X/b.txt", "b\n0\n")
        out.writestr("__MACOSX/pred/1--X/._b.txt", b"\0\0")
        out.writestr("readme.txt", "hello")
        out.writestr("pred/0--Parade/a.png", "no")
    read = read_wider_predictions(archive)
    assert list(read) == ["0--Parade/a.jpg", "1--X/b"]
    assert read["0--Parade/a.jpg"].boxes.tolist() == [[1, 2, 4, 6], [5, 6, 12, 14]]
    assert read["0--Parade/a.jpg"].scores.tolist() == [0.5, 0.25]
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "folder")
    assert list(read_wider_predictions(tmp_path / "folder")) == list(read)


def test_ellipses_go_into_wider_files_as_boxes(tmp_path):
    write_wider_predictions(tmp_path, {"x/a": Detections([[8, 19, 12, 21]], [0.5], [[2, 1, 0, 10, 20]])})
    assert (tmp_path / "x/a.txt").read_text() == "a\n1\n8.0 19.0 4.0 2.0 0.5\n"


def test_wider_sources_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK not really")
    (tmp_path / "twice/p/x").mkdir(parents=True)
    (tmp_path / "twice/q/x").mkdir(parents=True)
    for place in ("p", "q"):
        (tmp_path / f"twice/{place}/x/a.txt").write_text("a\n0\n")
    for name, message in [
        ("empty", "no prediction files"),
        ("broken.zip", "nor a readable zip"),
        ("absent", "nor a readable zip"),
        ("twice", "second file for x/a"),
    ]:
        with pytest.raises(DatasetError, match=message):
            read_wider_predictions(tmp_path / name)


def test_damaged_zip_member(tmp_path):
    archive = tmp_path / "predictions.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x/a.txt", "a\n1\n" + "1 2 3 4 .5\n" * 100)
    data = bytearray(archive.read_bytes())
    data[45:50] = b"\xff" * 5
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match=r"predictions\.zip"):
        read_wider_predictions(archive)


@pytest.mark.slow
def test_a_million_rows_take_seconds(tmp_path):
    (tmp_path / "x").mkdir()
    text = "name\n10000\n" + "123.456789012345 234.5678 34.25 56.125 0.87654321\n" * 10_000
    for k in range(100):
        (tmp_path / f"x/{k}.txt").write_text(text)
    start = time.process_time()
    assert sum(map(len, read_wider_predictions(tmp_path).values())) == 1_000_000
    assert time.process_time() - start < 10
