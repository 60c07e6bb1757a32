"""FDDB's folds."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_fddb

NAMES = ["2002/08/11/big/img_591", "2002/08/26/big/img.265", "2003/01/01/big/img_1"]
ELLIPSES = f"{NAMES[0]}\n1\n20 10 0 100 50  1\n{NAMES[1]}\n2\n20 10 1.5707963267948966 100 50  1\n0 0 0 5 5  1\n"


@pytest.fixture
def folds(tmp_path):
    folder = tmp_path / "FDDB-folds"
    folder.mkdir()
    (folder / "FDDB-fold-01.txt").write_text(f"{NAMES[1]}\n{NAMES[0]}\n")
    (folder / "FDDB-fold-01-ellipseList.txt").write_text(ELLIPSES)
    (folder / "FDDB-fold-02.txt").write_bytes(f"{NAMES[2]}\r\n".encode())
    (folder / "FDDB-fold-02-ellipseList.txt").write_bytes(f"{NAMES[2]}\r\n1\r\n9 3 .5 1 2  1\r\n".encode())
    return folder


def test_faces(folds):
    dataset = read_fddb(folds, require_images=False)
    assert dataset.problems == ()
    assert [photo.name for photo in dataset] == [NAMES[1], NAMES[0], NAMES[2]]
    photo = dataset.by_name()[NAMES[0]]
    assert photo.boxes.tolist() == [[80, 40, 120, 60]]
    assert photo.ellipses.tolist() == [[20, 10, 0, 100, 50]]
    assert photo.fully_labelled
    rotated = dataset[0]
    np.testing.assert_allclose(rotated.boxes[0], [90, 30, 110, 70], atol=1e-5)
    assert rotated.ignored.tolist() == [False, True]


def test_choosing_folds(folds):
    assert [photo.name for photo in read_fddb(folds, folds=[2], require_images=False)] == [NAMES[2]]
    order = [NAMES[2], NAMES[1], NAMES[0]]
    assert [photo.name for photo in read_fddb(folds, folds=(2, 1, 2), require_images=False)] == order
    with pytest.raises(DatasetError, match="FDDB-fold-03-ellipseList"):
        read_fddb(folds, folds=[3])


def test_images(folds, tmp_path, touch):
    root = touch(tmp_path / "originalPics", f"{NAMES[0]}.jpg", f"{NAMES[1]}.webp")
    dataset = read_fddb(folds)
    assert [photo.path for photo in dataset] == [root / f"{NAMES[1]}.webp", root / f"{NAMES[0]}.jpg"]
    (problem,) = dataset.problems
    assert problem.file.name == "FDDB-fold-02-ellipseList.txt"
    assert f"1 photo is missing or empty (of 1) below {root}: {NAMES[2]}" in problem.message
    with pytest.raises(DatasetError, match="1 photo is missing"):
        read_fddb(folds, root, strict=True)


@pytest.mark.parametrize(
    ("entry", "line", "message"),
    [
        ("1\n20 10 0 100\n", 8, "6 or 5 numbers expected, 4 fields"),
        ("1\n-20 10 0 100 50 1\n", 6, "negative radius"),
        ("1\n1e300 10 0 100 50 1\n", 6, "boxes must be finite"),
        ("2\n20 10 0 100 50 1\n", 7, "2 faces announced, 1 lines"),
        ("x\n", 7, "number of faces expected"),
    ],
)
def test_broken_entries_cost_one_photo(folds, entry, line, message):
    file = folds / "FDDB-fold-02-ellipseList.txt"
    file.write_text(f"a/1\n1\n1 1 0 5 5 1\n\n\na/2\n{entry}a/3\n1\n1 1 0 5 5\n")
    (folds / "FDDB-fold-02.txt").write_text("a/1\na/2\na/3\n")
    dataset = read_fddb(folds, folds=[2], require_images=False)
    assert [photo.name for photo in dataset] == ["a/1", "a/3"]
    (problem,) = dataset.problems
    assert str(problem).startswith(f"{file}:{line}: a/2: ")
    assert message in problem.message


def test_lists_that_disagree(folds):
    (folds / "FDDB-fold-01.txt").write_text(f"{NAMES[0]}\nelse/where\n{NAMES[0]}\n")
    dataset = read_fddb(folds, folds=[1], require_images=False)
    assert [photo.name for photo in dataset] == [NAMES[0]]
    assert [(problem.line, problem.message.split(": ")[-1]) for problem in dataset.problems] == [
        (2, "has no entry in the list of ellipses"),
        (3, "listed twice"),
        (None, NAMES[1]),
    ]


def test_a_photo_in_two_folds(folds):
    (folds / "FDDB-fold-02.txt").unlink()
    (folds / "FDDB-fold-02-ellipseList.txt").write_text(f"{NAMES[0]}\n0\n{NAMES[2]}\n1\n9 3 .5 1 2  1\n")
    dataset = read_fddb(folds, require_images=False)
    assert [photo.name for photo in dataset] == [NAMES[1], NAMES[0], NAMES[2]]
    assert "listed twice" in str(dataset.problems[0])


def test_nothing_to_read(folds, tmp_path):
    with pytest.raises(DatasetError, match="no FDDB-fold"):
        read_fddb(tmp_path)
    (folds / "FDDB-fold-01-ellipseList.txt").write_text("words\n")
    with pytest.raises(DatasetError, match="fold-01-ellipseList"):
        read_fddb(folds)
