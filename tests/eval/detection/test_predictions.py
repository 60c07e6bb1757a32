"""Reading predictions in every form, and finding the photo that a name means."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.datasets import DatasetError
from eval.detection.predictions import Found, match_names, read_predictions, to_json
from tests.eval.helpers import found, save_predictions

ROW = [1.0, 2.0, 30.0, 40.0, 0.5]
POINTS = [float(k) for k in range(10)]


def write(file, content):
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_json_with_and_without_landmarks(tmp_path):
    file = write(tmp_path / "p.json", {"a.jpg": [ROW], "b.jpg": [[*ROW, *POINTS]], "c.jpg": []})
    read = read_predictions(file)
    assert read.found["a.jpg"].rows() == [ROW]
    assert read.found["a.jpg"].landmarks is None
    np.testing.assert_array_equal(read.found["b.jpg"].landmarks, np.reshape(POINTS, (1, 5, 2)))
    assert len(read.found["c.jpg"]) == 0
    assert read.default_score is None


def test_json_with_what_is_said_of_the_detector(tmp_path):
    text = to_json({"a": found(ROW)}, {"detector": "x", "default_score": 0.7})
    read = read_predictions(write(tmp_path / "p.json", text))
    assert (read.about["detector"], read.default_score) == ("x", 0.7)
    assert read.found["a"].rows() == [ROW]


rows_of_numbers = st.lists(
    st.tuples(*[st.floats(-1e6, 1e6)] * 2, *[st.floats(0, 1e6)] * 2, st.floats(0, 1), *[st.floats(-1e6, 1e6)] * 10),
    max_size=4,
)


@given(rows_of_numbers)
def test_json_gives_the_very_numbers_back(tmp_path_factory, rows):
    array = np.array(rows).reshape(-1, 15)
    array[:, 2:4] += array[:, :2]
    file = tmp_path_factory.mktemp("json") / "p.json"
    write(file, to_json({"a": Found.from_rows(array)}, {}))
    assert read_predictions(file).found["a"].rows() == array.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n\n!", r"p\.json:3: not JSON"),
        ([1, 2], "an object"),
        ({"a": {"x": 1}}, "a: a list of rows"),
        ({"a": [ROW, ROW[:4]]}, "a: row 2: 5 or 15 numbers"),
        ({"a": [ROW, [*ROW, *POINTS]]}, "a: row 2: 5 or 15 numbers"),
        ({"a": [[1, 2, 3, 4, None]]}, "a: row 1: None"),
        ({"a": [[1, 2, 3, 4, True]]}, "a: row 1: True"),
        ('{"a": [[1, 2, 3, 4, NaN]]}', "a: row 1: nan"),
        ('{"a": [[1, 2, 3, Infinity, 1]]}', "a: row 1: inf"),
        ({"a": [ROW, [5, 2, 3, 4, 0.5]]}, "a: row 2: negative width"),
    ],
)
def test_malformed_json_is_refused(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        read_predictions(write(tmp_path / "p.json", content))


def test_json_with_what_is_found_by_default(tmp_path):
    lower = {"a": found(ROW, [5.0, 5.0, 9.0, 9.0, 0.1]), "b": found()}
    text = to_json(lower, {"default_score": 0.5}, {"a": found(ROW), "b": found()})
    read = read_predictions(write(tmp_path / "p.json", text))
    assert len(read.found["a"]) == 2
    assert read.usual["a"].rows() == [ROW] and len(read.usual["b"]) == 0
    assert read.about == {"default_score": 0.5}
    text = to_json(lower, {}, {"a": found(ROW)})
    with pytest.raises(
        DatasetError, match=r"p\.json: usual_photos: expected the names under photos, 'b' is not in both"
    ):
        read_predictions(write(tmp_path / "p.json", text))
    with pytest.raises(DatasetError, match=r"p\.json: usual_photos: an object from photo to rows expected"):
        read_predictions(write(tmp_path / "p.json", {"photos": {"a": [ROW]}, "usual_photos": [ROW]}))


def test_what_was_found_at_several_scales_is_joined():
    with_points = Found.from_rows([[*ROW, *POINTS]])
    assert Found.join([found(), with_points, with_points]).landmarks.shape == (2, 5, 2)
    assert Found.join([found(ROW), with_points]).landmarks is None
    assert len(Found.join([found(), found()])) == 0


def test_npz(tmp_path):
    rows = np.array([ROW, ROW, [*ROW[:4], 0.25]])
    file = tmp_path / "p.npz"
    np.savez(file, photos=np.array(["a", "b", "c"]), counts=np.array([2, 0, 1]), rows=rows)
    read = read_predictions(file).found
    assert [len(each) for each in read.values()] == [2, 0, 1]
    assert read["c"].scores.tolist() == [0.25]


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.array([2, 0])},
        {"counts": np.array([3, 0, 1])},
        {"counts": np.array([4, 0, -1])},
        {"photos": np.array(["a", "a", "c"])},
        {"rows": np.full((3, 5), np.nan)},
        {"rows": np.zeros((3, 6))},
    ],
)
def test_malformed_npz_is_refused(tmp_path, change):
    content = {"photos": np.array(["a", "b", "c"]), "counts": np.array([2, 0, 1]), "rows": np.array([ROW] * 3)}
    np.savez(tmp_path / "p.npz", **(content | change))
    with pytest.raises(DatasetError, match=r"p\.npz"):
        read_predictions(tmp_path / "p.npz")


def test_text_forms(tmp_path):
    text = write(tmp_path / "fddb.txt", "2002/img_1\n1\n1 2 29 38 0.5\n")
    assert read_predictions(text).found["2002/img_1"].rows() == [ROW]
    ovals = write(tmp_path / "ovals.txt", "2002/img_1\n1\n20 10 0 50 50 0.5\n")
    np.testing.assert_array_equal(read_predictions(ovals).found["2002/img_1"].ellipses, [[20, 10, 0, 50, 50]])
    folder = save_predictions(tmp_path / "wider", {"e/1": [(1, 2, 29, 38, 0.5)]})
    assert read_predictions(folder).found["e/1"].rows() == [ROW]


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="landmarks must be finite"):
        Found(np.array([ROW[:4]]), np.array([0.5]), np.zeros((2, 5, 2)))
    with pytest.raises(ValueError, match="finite"):
        Found(np.array([[np.nan, 0, 1, 1]]), np.array([0.5]))


def test_selection_keeps_everything_together():
    both = Found.from_rows([[*ROW, *POINTS], [*ROW[:4], 0.9, *POINTS[::-1]]])
    sure = both.at_least(0.6)
    np.testing.assert_array_equal(sure.landmarks, both.landmarks[1:])
    assert len(both.at_least(0.5)) == 2


@pytest.mark.parametrize(
    ("photo", "key"),
    [
        ("e/1", "e/1"),
        ("e/1", "e/1.jpg"),
        ("e/1", "wider/WIDER_val/images/e/1.webp"),
        ("images/1.webp", "fddb_single/images/1.webp"),
        ("images/1.webp", "1"),
        ("2002/08/11/big/img_1", "2002/08/11/big/img_1.jpg"),
        ("e/photo.jpg", "e/photo.jpg.jpg"),  # a stem that itself ends like a file
        ("e/photo.g", "e/photo.g"),
        ("e/photo.g", "e/photo.g.jpg"),
        ("e/.jpg", "e/.jpg"),
    ],
)
def test_name_finds_its_photo(photo, key):
    matched = match_names([photo, "other/2"], {key: found(ROW)})
    assert (list(matched.found), matched.missing, matched.unknown) == ([photo], ("other/2",), ())


def test_names_that_fit_nothing_are_unknown():
    matched = match_names(["e/1"], {"e/2": found(), "f/1": found(), "e/1.txt": found()})
    assert (matched.found, matched.missing, matched.unknown) == ({}, ("e/1",), ("e/2", "f/1", "e/1.txt"))


def test_exact_name_comes_before_a_shorter_one():
    matched = match_names(["e/photo", "e/photo.jpg"], {"e/photo.jpg": found(ROW), "e/photo": found()})
    assert [len(matched.found[name]) for name in ("e/photo", "e/photo.jpg")] == [0, 1]


def test_ambiguous_names_are_refused():
    with pytest.raises(DatasetError, match="come twice"):
        match_names(["e/1"], {"e/1": found(), "x/e/1.jpg": found()})
    with pytest.raises(DatasetError, match="could mean 2"):
        match_names(["e/1", "f/1"], {"1": found()})


@pytest.mark.parametrize("text", ['{"a": [], "b": [], "a": [[0, 0, 1, 1, 0.5]]}', '{"photos": {"a": [], "a": []}}'])
def test_a_photo_that_comes_twice_in_json_is_an_error(text, tmp_path):
    (tmp_path / "twice.json").write_text(text)
    with pytest.raises(DatasetError, match=r"twice\.json: .*'a' comes twice"):
        read_predictions(tmp_path / "twice.json")
