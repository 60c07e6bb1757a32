"""Which detection belongs to which track: the assignment of least cost.

The shortest augmenting paths of the Hungarian method (Kuhn 1955; Jonker and Volgenant 1987), O(n²m) for n rows and m
columns. Frames have some dozens of faces, so that no solver of another package is needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["assign"]

FORBIDDEN = 1e6


def assign(costs: npt.ArrayLike, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, each row and column at most once, none of a cost above ``limit``.

    ``costs`` (n, m), finite or infinite; as many pairs as possible are made before their cost counts.
    """
    table = np.asarray(costs, np.float64)
    allowed = table <= limit
    if not allowed.any():
        return []
    table = np.where(allowed, table, FORBIDDEN)
    columns = _columns_of_rows(table) if table.shape[0] <= table.shape[1] else None
    if columns is not None:
        pairs = list(enumerate(columns.tolist()))
    else:
        pairs = [(row, column) for column, row in enumerate(_columns_of_rows(table.T).tolist())]
    return sorted((row, column) for row, column in pairs if allowed[row, column])


def _columns_of_rows(table: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The column of each row (n,) of costs (n, m), n ≤ m."""
    n, m = table.shape
    row_price, column_price = np.zeros(n + 1), np.zeros(m + 1)
    row_of = np.zeros(m + 1, np.intp)  # the row + 1 of each column + 1; 0 where it has none
    for row in range(1, n + 1):
        row_of[0] = row
        column = 0
        nearest, before, done = np.full(m + 1, np.inf), np.zeros(m + 1, np.intp), np.zeros(m + 1, bool)
        while row_of[column]:
            done[column] = True
            current = row_of[column]
            reduced = table[current - 1] - row_price[current] - column_price[1:]
            better = ~done[1:] & (reduced < nearest[1:])
            nearest[1:][better] = reduced[better]
            before[1:][better] = column
            column = int(np.argmin(np.where(done, np.inf, nearest)))
            step = nearest[column]
            row_price[row_of[done]] += step
            column_price[done] -= step
            nearest[~done] -= step
        while column:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
    found = np.zeros(n, np.intp)
    for column in range(1, m + 1):
        if row_of[column]:
            found[row_of[column] - 1] = column - 1
    return found
