"""Faces: checked on construction, never changed afterwards, and true to themselves in every other form."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import types
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.faces import LANDMARK_NAMES, Face, Faces
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait_faces


def some_faces(count: int, seed: int = 0) -> Faces:
    rng = np.random.default_rng(seed)
    low = rng.uniform(-50, 400, (count, 2))
    boxes = np.hstack([low, low + rng.uniform(1, 200, (count, 2))])
    return Faces(boxes, rng.uniform(0, 1, count), rng.uniform(-50, 600, (count, 5, 2)))


def assert_same(one: Faces, other: Faces) -> None:
    assert one.data.keys() == other.data.keys()
    for name, array in one.data.items():
        np.testing.assert_array_equal(array, other.data[name])
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.landmarks, other.landmarks)


# Construction


@pytest.mark.parametrize("faces", [Faces.empty(), Faces([], [], []), some_faces(0), some_faces(3)])
def test_arrays_have_the_promised_form(faces: Faces) -> None:
    count = len(faces)
    for array, shape in (
        (faces.boxes, (count, 4)),
        (faces.scores, (count,)),
        (faces.landmarks, (count, 5, 2)),
    ):
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert bool(faces) == (count > 0)


def test_the_callers_arrays_are_copied_and_left_alone() -> None:
    boxes = np.array([FACE_BOX], np.float32)
    faces = Faces(boxes, np.ones(1, np.float32), np.array([FACE_LANDMARKS], np.float32))
    boxes[0, 0] = 0
    assert faces.boxes[0, 0] == FACE_BOX[0]


def test_nothing_can_be_changed() -> None:
    faces = portrait_faces()
    with pytest.raises(FrozenInstanceError):
        faces.scores = np.zeros(1)  # type: ignore[misc, assignment]
    with pytest.raises(ValueError, match=r"read-only"):
        faces.boxes[0, 0] = 1
    with pytest.raises(ValueError, match=r"read-only"):
        faces[0].landmarks[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        faces[0].score = 1.0  # type: ignore[misc]


BOX, POINTS = np.array([FACE_BOX]), np.array([FACE_LANDMARKS])


@pytest.mark.parametrize(
    ("boxes", "scores", "landmarks", "words"),
    [
        (BOX, [0.5, 0.5], POINTS, r"^boxes: expected shape \(2, 4\), got \(1, 4\)"),
        (BOX[0], [0.5], POINTS, r"^boxes: expected shape \(1, 4\), got \(4,\)"),
        (BOX, 0.5, POINTS, r"^scores: expected shape \(N,\), got \(\)"),
        (BOX, [[0.5]], POINTS, r"^scores: expected shape \(N,\), got \(1, 1\)"),
        (BOX, [0.5], POINTS[0], r"^landmarks: expected shape \(1, 5, 2\), got \(5, 2\)"),
        (BOX, [0.5], POINTS.reshape(1, 10), r"^landmarks: .*got \(1, 10\)"),
        (np.zeros((0, 5)), [], [], r"^boxes: expected shape \(0, 4\), got \(0, 5\)"),
        (BOX * np.nan, [0.5], POINTS, "^boxes: .*finite"),
        (BOX, [np.nan], POINTS, "^scores: .*finite"),
        (BOX, [0.5], POINTS * np.inf, "^landmarks: .*finite"),
        (BOX, [0.5], POINTS * 1e300, "^landmarks: .*finite"),
        (BOX, [1.001], POINTS, r"^scores: expected values in 0\.\.1, got 1\.001"),
        (BOX, [-0.001], POINTS, r"^scores: .*got -0\.001"),
        ([[100, 50, 40, 60]], [0.5], POINTS, r"^boxes: .*got \[100\.0, 50\.0, 40\.0, 60\.0\]; .*width"),
        ([[0, 50, 40, 10]], [0.5], POINTS, "^boxes: expected x1 ≤ x2"),
        (BOX, ["sure"], POINTS, "^scores: expected an array of numbers"),
        ([[1, 2, 3], [4]], [0.5], POINTS, "^boxes: expected an array of numbers"),
        (None, [0.5], POINTS, "^boxes: "),
    ],
)
def test_bad_arguments(boxes: object, scores: object, landmarks: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Faces(boxes, scores, landmarks)  # type: ignore[arg-type]


def test_the_constructor_keeps_the_order() -> None:
    np.testing.assert_array_equal(
        Faces(BOX.repeat(3, 0), [0.1, 0.9, 0.5], POINTS.repeat(3, 0)).scores[:2], np.float32([0.1, 0.9])
    )


# Order


def test_sort_goes_by_score_then_from_the_top_left() -> None:
    boxes = [[5, 1, 9, 9], [0, 5, 9, 9], [2, 1, 9, 9], [7, 7, 9, 9]]
    faces = Faces(boxes, [0.5, 0.5, 0.5, 0.9], POINTS.repeat(4, 0)).sort()
    np.testing.assert_array_equal(faces.boxes[:, :2], [[7, 7], [2, 1], [5, 1], [0, 5]])


@given(st.permutations(range(12)))
def test_sort_does_not_depend_on_the_order_before(order: list[int]) -> None:
    coarse = np.random.default_rng(3).integers(0, 3, (12, 4))
    boxes = np.hstack([coarse[:, :2], coarse[:, :2] + coarse[:, 2:]]) + 1e-3 * np.arange(12)[:, None] * [
        0,
        0,
        0,
        1,
    ]
    faces = Faces(boxes, np.arange(12) % 3 / 3, np.random.default_rng(4).uniform(0, 9, (12, 5, 2)))
    assert_same(faces[order].sort(), faces.sort())
    assert (np.diff(faces.sort().scores) <= 0).all()


# Sequence


def test_integer_index_and_iteration_give_single_faces() -> None:
    faces = some_faces(4)
    for index, face in enumerate(faces):
        assert isinstance(face, Face)
        assert type(face.score) is float
        for same in (faces[index - 4], faces[np.int64(index)], face):
            np.testing.assert_array_equal(same.box, faces.boxes[index])
            assert same.score == face.score == faces.scores[index]
            np.testing.assert_array_equal(same.landmarks, faces.landmarks[index])
    assert index == 3
    assert portrait_faces()[0].width == 88.0
    assert portrait_faces()[0].height == 104.0


@given(hnp.arrays(bool, 7))
def test_masks(mask: np.ndarray) -> None:
    faces = some_faces(7)
    chosen = faces[mask]
    assert isinstance(chosen, Faces)
    np.testing.assert_array_equal(chosen.boxes, faces.boxes[mask])
    assert_same(faces[mask.tolist()], chosen)
    assert_same(faces[np.flatnonzero(mask)], chosen)


def test_slices_and_lists() -> None:
    faces = some_faces(7)
    assert_same(faces[:], faces)
    assert_same(faces[::-1][::-1], faces)
    np.testing.assert_array_equal(faces[2:4].scores, faces.scores[2:4])
    np.testing.assert_array_equal(faces[[6, 0, 0]].scores, faces.scores[[6, 0, 0]])
    for nothing in (faces[7:], faces[[]], faces[faces.scores > 2], Faces.empty()[[]], Faces.empty()[:5]):
        assert_same(nothing, Faces.empty())


@pytest.mark.parametrize("index", [7, -8, [7], [True]])
def test_indices_out_of_range(index: object) -> None:
    with pytest.raises(IndexError):
        some_faces(7)[index]  # type: ignore[call-overload]


@pytest.mark.parametrize("index", [1.0, "a", (1, 2), None, [[1]], [0.5], True])
def test_indices_of_wrong_types(index: object) -> None:
    with pytest.raises(TypeError, match=r"^index: expected"):
        some_faces(7)[index]  # type: ignore[call-overload]


def test_repr() -> None:
    assert repr(Faces.empty()) == "<Faces: none>"
    assert repr(portrait_faces()) == "<Faces: 1; 1.00 at [182, 74, 270, 178]>"
    assert repr(some_faces(500)).endswith("; 497 more>")
    assert len(repr(some_faces(500))) < 150


# Other forms


def test_dict_keys_and_plain_numbers() -> None:
    (row,) = portrait_faces().to_dicts()
    assert list(row) == ["box", "score", "landmarks"]
    assert row["box"] == list(FACE_BOX)
    assert list(row["landmarks"]) == list(LANDMARK_NAMES)
    assert row["landmarks"]["nose"] == pytest.approx(FACE_LANDMARKS[2])
    assert row["landmarks"]["left_eye"][0] < row["landmarks"]["right_eye"][0]  # as seen in the image
    numbers = [*row["box"], row["score"], *(value for point in row["landmarks"].values() for value in point)]
    assert {type(number) for number in numbers} == {float}


@settings(max_examples=50)
@given(st.integers(0, 20), st.integers(0, 1000))
def test_round_trips_are_exact(count: int, seed: int) -> None:
    faces = some_faces(count, seed)
    assert_same(Faces.from_dicts(faces.to_dicts()), faces)
    assert_same(Faces.from_dicts(json.loads(faces.to_json(indent=2))), faces)
    for copied in (pickle.loads(pickle.dumps(faces)), copy.deepcopy(faces)):
        assert_same(copied, faces)
        assert not copied.boxes.flags.writeable


def test_json_layout() -> None:
    assert Faces.empty().to_json() == "[]"
    assert "\n" not in portrait_faces().to_json()
    assert "\n  " in portrait_faces().to_json(indent=2)


@pytest.mark.parametrize(
    "change",
    [
        {"box": [1, 2, 3]},
        {"score": 2},
        {"score": None},
        {"landmarks": {"nose": [1, 2]}},
        {"landmarks": POINTS[0]},
    ],
)
def test_from_bad_dicts(change: dict[str, object]) -> None:
    (row,) = portrait_faces().to_dicts()
    with pytest.raises(ValueError, match=r"^(boxes|scores|dicts): "):
        Faces.from_dicts([{**row, **change}])
    for key in row:
        with pytest.raises(ValueError, match=rf"dicts: .*{key}"):
            Faces.from_dicts([{name: value for name, value in row.items() if name != key}])


def test_from_dicts_ignores_further_keys() -> None:
    assert_same(Faces.from_dicts([{**portrait_faces().to_dicts()[0], "name": "Eileen"}]), portrait_faces())


def test_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("supervision")
    module.Detections = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    faces = some_faces(3)
    detections = faces.to_supervision()
    np.testing.assert_array_equal(detections.xyxy, faces.boxes)
    np.testing.assert_array_equal(detections.confidence, faces.scores)
    np.testing.assert_array_equal(detections.class_id, [0, 0, 0])
    np.testing.assert_array_equal(detections.data["landmarks"], faces.landmarks)
    detections.xyxy[:] = 0  # theirs to change
    assert faces.boxes.any()


def test_real_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    detections = portrait_faces().to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert len(detections) == 1
    assert len(Faces.empty().to_supervision()) == 0


def test_supervision_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"pip install supervision"):
        portrait_faces().to_supervision()


@pytest.mark.parametrize("scores", [[0.5 + 0j], np.array([0.5 + 1j])])
def test_complex_numbers_are_refused(scores: object) -> None:
    with pytest.raises(ValueError, match=r"^scores: expected an array of numbers"):
        Faces([(0, 0, 1, 1)], scores, np.zeros((1, 5, 2)))  # type: ignore[arg-type]
