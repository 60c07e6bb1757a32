"""Files with the 68 points of a face, one a line: .pts files, with or without their heading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._text import LineError, parse_rows, read_lines

POINTS = 68


def read_points(file: Path, plain: bool = False) -> NDArray[np.float64]:
    """Return the (68, 2) points between the braces, or, if ``plain``, those of a file that may have none.

    Raises LineError, or DatasetError for an unreadable file.
    """
    lines = read_lines(file)
    marks = [at for at, line in enumerate(lines) if line.strip() in (b"{", b"}")]
    if plain and not marks:
        first, end = 0, len(lines)
        while end and not lines[end - 1].strip():
            end -= 1
    elif len(marks) == 2:
        first, end = marks[0] + 1, marks[1]
    else:
        raise LineError(max(len(lines), 1), "points between one { and one } expected")
    points = parse_rows(lines[first:end], first + 1, (2,))
    if len(points) != POINTS:
        raise LineError(end + 1, f"{POINTS} points expected, {len(points)} found")
    if np.abs(points).max() > 1e6:
        raise LineError(first + 1, "a point out of reach")
    return points
