"""`packets_of`: damaged packets are counted and passed, and the end is found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pytest

pytest.importorskip("av")

import av

from cascade.video.packets import MAX_FAILURES, packets_of

DAMAGED = av.error.InvalidDataError(1, "damaged")


class Container:
    """Gives these packets and errors; like PyAV's, a demuxer ends with its error and the next one goes on behind it."""

    def __init__(self, items: Iterator[object]) -> None:
        self._items = items

    def demux(self, stream: object) -> Iterator[object]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


def read(items: Iterator[object]) -> tuple[list[object], int]:
    """The packets, and how many were damaged."""
    damaged: list[None] = []
    return list(packets_of(av, Container(items), None, lambda: damaged.append(None))), len(damaged)


def test_goes_on_behind_what_is_damaged() -> None:
    assert read(iter([1, DAMAGED, OSError("lost"), 2, DAMAGED, 3])) == ([1, 2, 3], 3)


def test_gives_up_after_many_failures_in_a_row() -> None:
    assert read(repeat(DAMAGED)) == ([], MAX_FAILURES)
    scattered = [item for at in range(MAX_FAILURES) for item in (DAMAGED, DAMAGED, at)]
    assert read(iter(scattered)) == (list(range(MAX_FAILURES)), 2 * MAX_FAILURES)


def test_streams_that_appear_on_the_way_are_no_error() -> None:
    assert read(iter([1, 2, IndexError("list index out of range")])) == ([1, 2], 0)
