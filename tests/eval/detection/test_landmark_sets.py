"""Reading AFLW's database and 300-W's point files."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from cascade.datasets import DatasetError
from eval.detection.landmark_sets import read_landmark_set
from tests.eval.helpers import save_coco


@pytest.fixture
def aflw(tmp_path):
    file = tmp_path / "aflw.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript("""
        CREATE TABLE FaceImages (image_id INTEGER, db_id TEXT, file_id TEXT, filepath TEXT, width INT, height INT);
        CREATE TABLE Faces (face_id INTEGER, file_id TEXT, db_id TEXT);
        CREATE TABLE FaceRect (face_id INTEGER, x INT, y INT, w INT, h INT);
        CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL);
        CREATE TABLE FeatureCoords (face_id INTEGER, feature_id INTEGER, x REAL, y REAL);
        INSERT INTO FaceImages VALUES (1, 'aflw', 'one.jpg', '0/one.jpg', 640, 480);
        INSERT INTO Faces VALUES (7, 'one.jpg', 'aflw'), (8, 'one.jpg', 'aflw');
        INSERT INTO FaceRect VALUES (7, 10, 20, 80, 90), (8, 200, 20, 50, 50);
        INSERT INTO FacePose VALUES (7, 0, 0, -0.7853981633974483);
        INSERT INTO FeatureCoords VALUES (7, 8, 30, 40), (7, 11, 70, 41), (7, 15, 50, 60), (7, 18, 35, 80),
            (7, 20, 65, 81), (7, 1, 1, 1), (8, 8, 210, 30);
    """)
    connection.commit()
    connection.close()
    return file


def test_aflw(aflw):
    (only,) = read_landmark_set(aflw)
    assert (only.name, only.path, only.fully_labelled) == ("0/one.jpg", aflw.parent / "0" / "one.jpg", False)
    np.testing.assert_array_equal(only.boxes, [[10, 20, 90, 110], [200, 20, 250, 70]])
    expected = np.array([[30, 40], [70, 41], [50, 60], [35, 80], [65, 81]]) + 0.5
    np.testing.assert_array_equal(only.landmarks[0], expected)
    assert np.isnan(only.landmarks[1, 1:]).all()
    np.testing.assert_allclose(only.attributes["yaw"], [-45, np.nan])


def test_aflw_photos_beside_the_database(aflw):
    (aflw.parent / "flickr").mkdir()
    assert read_landmark_set(aflw)[0].path == aflw.parent / "flickr" / "0" / "one.jpg"
    assert read_landmark_set(aflw, "/photos")[0].path.as_posix() == "/photos/0/one.jpg"


def test_other_databases_are_refused(tmp_path):
    empty = tmp_path / "x.sqlite"
    sqlite3.connect(empty).close()
    with pytest.raises(DatasetError, match=r"x\.sqlite.*AFLW"):
        read_landmark_set(empty)
    with pytest.raises(DatasetError, match="missing"):
        read_landmark_set(tmp_path / "missing.sqlite")


def points_text(points):
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n"


def test_300w(tmp_path):
    points = np.column_stack([np.arange(68) + 100.0, np.arange(68) * 2 + 50.0])
    (tmp_path / "indoor").mkdir()
    (tmp_path / "indoor" / "x_1.pts").write_text(points_text(points))
    (tmp_path / "indoor" / "x_2.pts").write_text(points_text(points + 300))
    (tmp_path / "indoor" / "x.png").touch()
    (tmp_path / "y.pts").write_text(points_text(points))
    first, second = read_landmark_set(tmp_path)
    assert (first.name, second.name) == ("indoor/x.png", "y.jpg")
    np.testing.assert_array_equal(first.boxes, [[99.5, 49.5, 166.5, 183.5], [399.5, 349.5, 466.5, 483.5]])
    # Eyes are the means of points 36…41 and 42…47, then 30, 48, 54; pixels are counted from 1.
    x = np.array([38.5, 44.5, 30, 48, 54]) + 99.5
    y = np.array([38.5, 44.5, 30, 48, 54]) * 2 + 49.5
    np.testing.assert_array_equal(second.landmarks, [np.column_stack([x, y])])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (points_text([(1, 1)] * 67), "68 points expected, 67"),
        (points_text([(1, 1)] * 68).replace("1 1", "1 nan", 1), r"bad\.pts:4: two numbers"),
        (points_text([(1, 1)] * 68).replace("1 1", "1 1 1", 1), r"bad\.pts:4: two numbers"),
        ("", "0 found"),
    ],
)
def test_malformed_points_are_refused(tmp_path, text, message):
    (tmp_path / "bad.pts").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_landmark_set(tmp_path)


def test_folder_without_points_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no \.pts"):
        read_landmark_set(tmp_path)


def test_coco(tmp_path):
    file = save_coco(tmp_path / "a.json", {"x.jpg": [((1, 2, 30, 40), np.arange(10).reshape(5, 2))]})
    (only,) = read_landmark_set(file)
    np.testing.assert_array_equal(only.landmarks, [np.arange(10).reshape(5, 2)])


def test_cuhk_list(tmp_path):
    """Photos need not be there, as predictions may be a file."""
    (tmp_path / "testImageList.txt").write_text("net_7876\\a.jpg 10 30 20 50 14 26 26 26 20 32 15 40 25 40\n")
    (photo,) = read_landmark_set(tmp_path / "testImageList.txt")
    assert photo.path == tmp_path / "net_7876/a.jpg"
    np.testing.assert_array_equal(photo.landmarks, [[[14, 26], [26, 26], [20, 32], [15, 40], [25, 40]]])
    (tmp_path / "testImageList.txt").write_text("net_7876\\a.jpg 10 30 20 50 14 26\n")
    with pytest.raises(DatasetError, match="14 numbers expected"):
        read_landmark_set(tmp_path / "testImageList.txt")
