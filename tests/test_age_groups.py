"""Groups of ages: limits, names, ages between."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.age_groups import AGE_GROUPS, age_groups, group_numbers


def test_the_groups_are_those_of_the_papers() -> None:
    names = {key: [name for name, _, _ in groups] for key, groups in AGE_GROUPS.items()}
    assert names["six"] == ["0-15", "16-25", "26-35", "36-45", "46-60", "61+"]
    assert names["nine"] == ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+"]
    assert len(names["twelve"]) == 12 and names["twelve"][0] == "0-9" and names["twelve"][-1] == "110+"
    assert names["three"] == ["young", "adult", "elderly"]


def test_every_year_is_in_one_group() -> None:
    for groups in AGE_GROUPS.values():
        numbers = group_numbers(np.arange(0, 120), groups)
        for year, number in enumerate(numbers.tolist()):
            _, first, last = groups[number]
            assert first <= year <= last


def test_completed_years_count() -> None:
    groups = age_groups("six")
    assert group_numbers([15.9, 16.0, 60.99, 61, 150, np.nan, -1], groups).tolist() == [0, 1, 4, 5, 5, -1, -1]


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="groups: expected one of twelve, nine, six, three, got 'seven'"):
        age_groups("seven")
