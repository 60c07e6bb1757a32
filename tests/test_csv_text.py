"""Text in CSV: never a formula, never a second line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.csv_text import csv_line, text_cell, text_of


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "'=1", "''+1"])
def test_formulas_get_a_quotation_mark(text: str) -> None:
    assert text_cell(text) == f"'{text}"
    assert text_of(text_cell(text)) == text


@pytest.mark.parametrize("text", ["", "a.jpg", "a=b", "'quoted'", "'", "5-6", " =1", "sub/=1.jpg"])
def test_other_text_stays(text: str) -> None:
    assert text_cell(text) == text
    assert text_of(text) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_a_line_is_one_record_and_gives_the_text_back(texts: list[str]) -> None:
    line = csv_line(map(text_cell, texts))
    [cells] = csv.reader(io.StringIO(line + "", newline=""))
    assert [text_of(cell) for cell in cells] == texts
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)
    assert line.endswith("\n")
