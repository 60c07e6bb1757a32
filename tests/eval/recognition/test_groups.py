"""Which photos belong to which group, against cases worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cascade.datasets import PersonPhoto
from eval.recognition.groups import AGE_BANDS, PROBE_BANDS, by_label, combined, in_bands


def photo(name, age=np.nan, **attributes):
    return PersonPhoto(Path(name), name, None, age, None, attributes)


def where(groups):
    return {name: np.flatnonzero(members).tolist() for name, members in groups.items()}


def test_bands_hold_their_first_and_last_year():
    found = where(in_bands([0, 10, 10.9, 11, 20, 60.5, 61, 116, np.nan]))
    assert found == {
        "0-10": [0, 1, 2],
        "11-20": [3, 4],
        "21-30": [],
        "31-40": [],
        "41-50": [],
        "51-60": [5],
        "61+": [6, 7],
    }
    assert where(in_bands([5, 6, 18, 19], PROBE_BANDS)) == {"0-5": [0], "6-12": [1], "13-18": [2], "19+": [3]}


@given(st.lists(st.floats(0, 120)), st.sampled_from([AGE_BANDS, PROBE_BANDS]))
def test_every_age_is_in_one_band(ages, bands):
    assert (np.sum(list(in_bands(ages, bands).values()), axis=0) == 1).all()


def test_labels():
    photos = [photo("a", 5, gender=0, race=4), photo("b", 30, gender=1), photo("c", race=0)]
    found = by_label(photos)
    assert list(found) == ["age", "gender", "race"]
    assert where(found["gender"]) == {"male": [0], "female": [1]}
    assert where(found["race"]) == {"White": [2], "Black": [], "Asian": [], "Indian": [], "other": [0]}
    assert [found["age"][name].tolist() for name in ("0-10", "21-30")] == [[True, False, False], [False, True, False]]


def test_kinds_without_a_label_are_left_out():
    assert list(by_label([photo("a", 5), photo("b")])) == ["age"]
    assert by_label([photo("a")]) == {}


def test_combinations_of_two_and_three_kinds():
    photos = [photo(str(k), 25, gender=gender, race=0) for k, gender in enumerate((1, 1, 0))]
    groups = by_label(photos)
    assert where(combined(groups, 2)) == {
        "21-30, female": [0, 1],
        "21-30, White": [0, 1, 2],
        "female, White": [0, 1],
        "21-30, female, White": [0, 1],
    }
    assert list(combined(groups, 3)) == ["21-30, White"]
    assert combined({"age": groups["age"]}, 1) == {}
