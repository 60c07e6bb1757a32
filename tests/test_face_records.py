"""What JSON and CSV say of faces."""

from __future__ import annotations

import numpy as np

from cascade.attributes import AttributeEstimator
from cascade.face_records import attributes_of, columns_of, csv_header, csv_rows, landmarks_of
from cascade.landmarks import LandmarkEstimator
from tests.photos import portrait, portrait_faces


def test_rows_of_attributes_have_the_columns():
    estimator = AttributeEstimator(tasks=("age", "smile"), threads=1)
    (row,) = attributes_of(estimator.predict(portrait(), portrait_faces()), "six")
    assert [*row] == [*columns_of(estimator), "unknown"]
    assert row["unknown"] is None
    assert row["smile"] == "yes"


def test_a_face_too_small_has_nulls_and_a_reason():
    estimator = LandmarkEstimator(threads=1, min_face=500)
    (row,) = landmarks_of(estimator.analyze(portrait(), portrait_faces()))
    assert row == {"points": None, "yaw": None, "pitch": None, "roll": None, "unknown": "too small"}


def test_cells_of_a_table():
    faces = portrait_faces()
    (row,) = csv_rows("=a.jpg", faces, [{"age": 30.5, "name": "-b", "smile": None}], ("age", "name", "smile"))
    cells = dict(zip(csv_header(("age", "name", "smile")), row, strict=True))
    assert (cells["path"], cells["face"], cells["age"], cells["name"], cells["smile"]) == (
        "'=a.jpg",
        1,
        "30.5",
        "'-b",
        "",
    )
    np.testing.assert_allclose([float(cells[side]) for side in ("x1", "y1", "x2", "y2")], faces.boxes[0])
