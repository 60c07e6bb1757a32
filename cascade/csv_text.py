"""Cells of text in CSV that spreadsheets take for text, not for formulas, and lines that no cell can break."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a formula begins, or what spreadsheets skip before one."""


def text_cell(text: str) -> str:
    """The text, with a ' before it where it would be taken for a formula."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def text_of(cell: str) -> str:
    """The text of which `text_cell` made the cell."""
    return cell[1:] if cell.startswith("'") and text_cell(cell) != cell else cell


def csv_line(cells: Iterable[Any]) -> str:
    """One line of CSV, ending in a line feed. Cells with line ends of any kind are quoted."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # with "\n" alone, a "\r" would not be quoted
    return text.getvalue().removesuffix("\r\n") + "\n"
