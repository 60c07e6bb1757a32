"""The further arrays of Faces: a row for each face, whatever is done with the faces."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.faces import Face, Faces
from tests.photos import portrait_faces

NUMBERS = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in ("boxes", "scores", "landmarks"))


@st.composite
def arrays(draw: st.DrawFn, count: int) -> np.ndarray:
    """An array of ``count`` rows of numbers, booleans or text."""
    shape = (count, *draw(st.lists(st.integers(0, 3), max_size=2)))
    if draw(st.booleans()):
        letters = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
        return np.array(draw(st.lists(letters, min_size=count, max_size=count)), dtype=np.str_)
    return draw(hnp.arrays(draw(NUMBERS), shape))


@st.composite
def faces_with_data(draw: st.DrawFn, least: int = 0) -> Faces:
    count = draw(st.integers(least, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    low = rng.uniform(-50, 400, (count, 2))
    boxes = np.hstack([low, low + rng.uniform(1, 200, (count, 2))])
    data = draw(st.dictionaries(NAMES, arrays(count), max_size=3))
    return Faces(boxes, rng.integers(0, 3, count) / 2, rng.uniform(-50, 600, (count, 5, 2)), data)


def assert_rows(found: Faces, faces: Faces, rows: Any) -> None:
    """The faces found are these rows of others, in every array."""
    np.testing.assert_array_equal(found.boxes, faces.boxes[rows])
    assert list(found.data) == list(faces.data)
    for name, array in faces.data.items():
        assert found.data[name].dtype == array.dtype
        np.testing.assert_array_equal(found.data[name], array[rows])
        assert not found.data[name].flags.writeable


@settings(max_examples=40)
@given(faces_with_data(), st.data())
def test_indexing_takes_the_same_rows_of_every_array(faces: Faces, data: st.DataObject) -> None:
    assert_rows(faces[::-1], faces, slice(None, None, -1))
    assert_rows(faces[:2], faces, slice(2))
    mask = data.draw(hnp.arrays(bool, len(faces)))
    assert_rows(faces[mask], faces, mask)
    chosen = data.draw(st.lists(st.integers(0, len(faces) - 1), max_size=6)) if len(faces) else []
    assert_rows(faces[chosen], faces, np.array(chosen, int))


@settings(max_examples=40)
@given(faces_with_data(least=1))
def test_a_face_has_its_row_of_every_array(faces: Faces) -> None:
    for index, face in enumerate(faces):
        assert isinstance(face, Face)
        for name, array in faces.data.items():
            np.testing.assert_array_equal(face.data[name], array[index])


@settings(max_examples=40)
@given(faces_with_data())
def test_sorting_keeps_rows_together(faces: Faces) -> None:
    numbered = faces.with_data({"number": np.arange(len(faces))})
    assert_rows(numbered.sort(), numbered, numbered.sort().data["number"])


@settings(max_examples=40)
@given(faces_with_data())
def test_copies_are_the_same(faces: Faces) -> None:
    for copied in (pickle.loads(pickle.dumps(faces)), copy.deepcopy(faces)):
        assert_rows(copied, faces, slice(None))
    for face in faces:
        for copied_face in (face, pickle.loads(pickle.dumps(face)), copy.copy(face), copy.deepcopy(face)):
            assert (copied_face.box == face.box).all() and (copied_face.landmarks == face.landmarks).all()
            for name, values in face.data.items():
                np.testing.assert_array_equal(copied_face.data[name], values)
            arrays = [copied_face.box, copied_face.landmarks, *copied_face.data.values()]
            assert not any(array.flags.writeable for array in arrays)


def test_a_face_keeps_what_it_was_made_of():
    box, points, embedding = np.array([1, 2, 3, 4], np.float32), np.zeros((5, 2), np.float32), np.ones(3)
    face = Face(box, 0.5, points, {"embedding": embedding})
    box[0] = points[0] = embedding[0] = 9
    assert face.box[0] == 1 and face.landmarks[0, 0] == 0 and face.data["embedding"][0] == 1


def test_none_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^data: expected a dict of arrays, got NoneType"):
        portrait_faces().with_data(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^dicts: expected box, score"):
        Faces.from_dicts(None)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(faces_with_data(least=1))
def test_dicts_and_json_have_the_same_values(faces: Faces) -> None:
    for rows in (faces.to_dicts(), json.loads(faces.to_json())):
        found = Faces.from_dicts(rows)
        assert list(found.data) == list(faces.data)
        for name, array in faces.data.items():
            if array.size:  # lists do not tell the shape of an array without values
                assert found.data[name].shape == array.shape
                np.testing.assert_array_equal(found.data[name], array)
                assert (found.data[name].dtype.kind == "f") == (array.dtype.kind == "f")


def test_dicts_hold_plain_python() -> None:
    faces = portrait_faces().with_data({"age": np.float32([41.5]), "name": ["Eileen"], "embedding": np.eye(1, 3)})
    [row] = faces.to_dicts()
    assert row["data"] == {"age": 41.5, "name": "Eileen", "embedding": [1.0, 0.0, 0.0]}
    assert type(row["data"]["age"]) is float
    assert "data" not in portrait_faces().to_dicts()[0]
    assert Faces.from_dicts([]).data == {}


def test_data_is_copied_and_cannot_be_changed() -> None:
    ages = np.array([41.5])
    faces = portrait_faces().with_data({"age": ages})
    ages[0] = 0
    assert faces.data["age"][0] == 41.5
    with pytest.raises(ValueError, match="read-only"):
        faces.data["age"][0] = 1
    with pytest.raises(TypeError):
        faces.data["name"] = np.array(["Eileen"])  # type: ignore[index]
    with pytest.raises(TypeError):
        faces[0].data["name"] = "Eileen"  # type: ignore[index]


def test_with_data_adds_and_replaces() -> None:
    faces = portrait_faces().with_data({"age": [41.5], "name": ["Eileen"]}).with_data({"age": [42]})
    assert {name: array.tolist() for name, array in faces.data.items()} == {"age": [42], "name": ["Eileen"]}
    assert portrait_faces().data == {}
    assert Faces.empty().data == {}


def test_emptiness_goes_by_the_faces() -> None:
    nothing = Faces.empty().with_data({"embedding": np.empty((0, 4))})
    assert not nothing
    assert nothing.data["embedding"].shape == (0, 4)
    assert portrait_faces().with_data({"age": [41]})[[]].data["age"].shape == (0,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"age": [1, 2]}, r"^data\['age'\]: expected shape \(1, …\), got \(2,\)"),
        ({"age": []}, r"^data\['age'\]: expected shape \(1, …\), got \(0,\)"),
        ({"age": 41}, r"^data\['age'\]: expected shape \(1, …\), got \(\)"),
        ({"age": [None]}, r"^data\['age'\]: expected numbers, booleans or text, got object"),
        ({"age": [1j]}, r"^data\['age'\]: expected numbers, booleans or text, got complex128"),
        ({"name": [b"Eileen"]}, r"^data\['name'\]: expected numbers, booleans or text, got \|S6"),
        ({"points": [[1, 2], [3]]}, r"^data\['points'\]: expected "),
        ({3: [1]}, "^data: expected names other than boxes, scores, landmarks, got 3"),
        ({"": [1]}, "^data: expected names .*, got ''"),
        ({"boxes": [1]}, "^data: expected names .*, got 'boxes'"),
        ([1], "^data: expected a dict of arrays, got list"),
    ],
)
def test_wrong_data(data: Any, words: str) -> None:
    plain = portrait_faces()
    with pytest.raises(ValueError, match=words):
        Faces(plain.boxes, plain.scores, plain.landmarks, data)


def test_dicts_with_different_data() -> None:
    [plain], [aged] = portrait_faces().to_dicts(), portrait_faces().with_data({"age": [41]}).to_dicts()
    with pytest.raises(ValueError, match=r"^dicts: expected the same names"):
        Faces.from_dicts([plain, aged])
    for wrong in (7, "text", [1]):
        with pytest.raises(ValueError, match=r"^dicts: "):
            Faces.from_dicts([{**plain, "data": wrong}])


def test_supervision_gets_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("supervision")
    module.Detections = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    faces = portrait_faces().with_data({"age": [41.5]})
    data = faces.to_supervision().data
    assert list(data) == ["landmarks", "age"]
    data["age"][0] = 0  # theirs to change
    assert faces.data["age"][0] == 41.5
