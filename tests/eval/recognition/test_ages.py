"""Errors of estimated ages, against cases worked by hand, and files of ages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.datasets import DatasetError
from eval.recognition.ages import evaluate, read_ages
from eval.recognition.similarity import ProtocolError

YEARS = st.floats(0, 116, allow_nan=False)


def test_four_photos():
    # Errors +2, −5, +12 and one missed face.
    result = evaluate([10, 20, 30, 40], [12, 15, 42, np.nan])
    whole = result.overall
    assert whole.errors.tolist() == [2, -5, 12]
    assert (whole.photos, whole.missed) == (4, 1)
    assert whole.mae == pytest.approx(19 / 3)
    assert whole.bias == pytest.approx(3)
    assert (whole.within(5), whole.within(10), whole.within(12)) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 1)
    assert (whole.of_all(5), whole.of_all(12)) == (0.5, 0.75)
    assert result.groups == {}


def test_five_years_in_single_precision_are_within_five():
    for true in (0.1, 33.3, 99.9):
        assert evaluate([true], [np.float32(true + 5)]).overall.within(5) == 1
        assert evaluate([true], [np.float32(true + 5.01)]).overall.within(5) == 0


def test_groups():
    groups = {
        "gender": {"male": np.array([True, True, False]), "female": np.array([False, False, True])},
        "race": {"White": np.zeros(3, bool)},
    }
    result = evaluate([10, 20, 30], [13, np.nan, 29], groups)
    male, female = result.groups["gender"].values()
    assert (male.mae, male.bias, male.photos, male.missed) == (3, 3, 2, 1)
    assert (female.mae, female.bias, female.missed, female.within(5)) == (1, -1, 0, 1)
    assert male.mae_interval is None  # a single face
    nobody = result.groups["race"]["White"]
    assert (nobody.mae, nobody.bias, nobody.within(5), nobody.of_all(5), nobody.mae_interval) == (
        *(None, None, None, 0.0, None),
    )


def test_interval_of_photos():
    errors = np.random.default_rng(1).normal(0, 5, 500)
    low, high = evaluate(np.full(500, 40.0), 40 + errors).overall.mae_interval
    mean, spread = np.abs(errors).mean(), np.abs(errors).std() / np.sqrt(500)
    assert low == pytest.approx(mean - 1.96 * spread, abs=0.05)
    assert high == pytest.approx(mean + 1.96 * spread, abs=0.05)


def test_people_are_drawn_whole():
    # Ten people with fifty photos each, on which errors are all the same: as good as ten photos.
    per_person = np.random.default_rng(2).uniform(0, 10, 10)
    errors, people = np.repeat(per_person, 50), np.repeat(np.arange(10), 50)
    ages = np.full(500, 30.0)
    photos = evaluate(ages, ages + errors).overall.mae_interval
    owners = evaluate(ages, ages + errors, people=people.tolist()).overall.mae_interval
    ten = evaluate(ages[:10], ages[:10] + per_person).overall.mae_interval
    assert owners == pytest.approx(ten)
    assert owners[1] - owners[0] > 4 * (photos[1] - photos[0])
    assert evaluate(ages[:50], ages[:50] + errors[:50], people=[7] * 50).overall.mae_interval is None


@given(hnp.arrays(float, st.integers(1, 30), elements=YEARS), st.data())
def test_figures_fit_each_other(ages, data):
    guesses = data.draw(hnp.arrays(float, len(ages), elements=st.one_of(YEARS, st.just(np.nan))))
    guesses[data.draw(st.integers(0, len(ages) - 1))] = 50.0
    old = ages >= 50
    result = evaluate(ages, guesses, {"age": {"old": old, "young": ~old}}, draws=20)
    whole, parts = result.overall, result.groups["age"].values()
    assert abs(whole.bias) <= whole.mae + 1e-9
    assert whole.of_all(5) <= whole.within(5) <= whole.within(10) <= whole.within(120) == 1
    assert sum(part.photos for part in parts) == whole.photos == len(ages)
    assert sum(part.missed for part in parts) == whole.missed == np.isnan(guesses).sum()
    assert sum((part.mae or 0) * len(part.errors) for part in parts) == pytest.approx(whole.mae * len(whole.errors))
    if whole.mae_interval is not None:
        low, high = whole.mae_interval
        assert np.abs(whole.errors).min() - 1e-9 <= low < high <= np.abs(whole.errors).max() + 1e-9
    np.testing.assert_array_equal(evaluate(ages, guesses, draws=20).overall.mae_interval, whole.mae_interval)


@pytest.mark.parametrize(
    ("ages", "estimates", "more", "message"),
    [
        ([10, np.nan], [1, 2], {}, "ages"),
        ([[10]], [[1]], {}, "ages"),
        ([10, 20], [1], {}, "estimates"),
        ([10], [np.inf], {}, "estimates"),
        ([10, 20], [np.nan, np.nan], {}, "none of 2 photos"),
        ([], [], {}, "none of 0 photos"),
        ([10], [1], {"people": ["a", "b"]}, "people"),
        ([10], [1], {"groups": {"x": {"y": np.array([True, False])}}}, "groups"),
        ([10], [1], {"groups": {"x": {"y": np.array([1])}}}, "groups"),
    ],
)
def test_what_does_not_fit_is_refused(ages, estimates, more, message):
    with pytest.raises(ProtocolError, match=message):
        evaluate(ages, estimates, **more)


def test_files_of_ages(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffname,error,age\nx/ä.jpg,1,12.5\nb.jpg,,\n", encoding="utf-8")
    np.savez(tmp_path / "a.npz", names=np.array(["x/ä.jpg", "b.jpg"]), ages=np.array([12.5, np.nan]))
    for name in ("a.csv", "a.npz"):
        found = read_ages(tmp_path / name)
        assert found.names == ("x/ä.jpg", "b.jpg")
        np.testing.assert_array_equal(found.vectors, [[12.5], [np.nan]])
        assert len(found.about["ages_sha256"]) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns name and age"),
        ("name,years\na,1\n", "columns name and age"),
        ("a.jpg,12\n", "columns name and age"),
        ("name,age\n", "no row"),
        ("name,age\na,young\n", "line 2: age 'young'"),
        ("name,age\na,1\nb,inf\n", "line 3"),
        ("name,age\n,1\n", "line 2"),
        ("name,age\na,1\na,2\n", "same name"),
        ("name,age\na,1e39\n", "infinity"),
    ],
)
def test_unfit_tables_are_refused(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"a\.csv: not a file of ages: .*{message}"):
        read_ages(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "arrays",
    [
        {"names": ["a"]},
        {"names": ["a"], "ages": [[1.0]]},
        {"names": ["a"], "ages": [1.0, 2.0]},
        {"names": ["a"], "ages": ["x"]},
        {"names": [1], "ages": [1.0]},
        {"names": np.array(["a"], object), "ages": [1.0]},
        {"names": np.array([], "U1"), "ages": np.array([])},
    ],
)
def test_unfit_archives_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DatasetError, match=r"a\.npz: not a file of ages"):
        read_ages(tmp_path / "a.npz")


def test_damaged_and_absent_files(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"name,age\n\xff\xfe,1\n")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut short")
    for name in ("a.csv", "a.npz"):
        with pytest.raises(DatasetError, match="not a file of ages"):
            read_ages(tmp_path / name)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_ages(tmp_path / "none.csv")
