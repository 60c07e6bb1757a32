"""Heads: the outputs of a network, one entry of a list each.

A network has all its heads in its last layer, one behind the other. A new one is an entry of this list and, for its
training, labels: see `train.detection.labels`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Head:
    """One output of a network.

    name    what it is called, in metrics too
    width   how many numbers it has
    loss    what training minimises: a key of `train.detection.losses.LOSSES`
    weight  of this loss in the total (α in the paper); 0 switches the loss off
    """

    name: str
    width: int
    loss: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for a head that no network can have."""
        if not self.name or not isinstance(self.name, str) or not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"a head {self.name!r} of width {self.width!r}, expected a name and a width from 1 on")
        if not self.weight >= 0:
            raise ValueError(f"head {self.name!r}: weight: expected at least 0, got {self.weight!r}")


FACE = Head("face", 2, "cross_entropy", 1.0)
"""Logits of background and face."""
BOX = Head("box", 4, "l2", 0.5)
"""Offsets of the edges x1, y1, x2, y2 from those of the window, over its size."""
LANDMARKS = Head("landmarks", 10, "l2", 0.5)
"""The five landmarks x1, y1 … x5, y5 from the window's upper left corner, over its size."""

DETECTION_HEADS = (FACE, BOX, LANDMARKS)
"""The detector's heads in the order of the outputs, with the paper's losses and weights for P-Net and R-Net."""


def width_of(heads: Iterable[Head]) -> int:
    """Outputs of all heads together."""
    return sum(head.width for head in heads)


def layout(heads: Iterable[Head]) -> list[tuple[str, int]]:
    """Names and widths: what of the heads matters to a network that is not in training."""
    return [(head.name, head.width) for head in heads]


def head_slices(heads: Iterable[Head]) -> dict[str, slice]:
    """Where each head is among the outputs, by name. Raises ValueError if two have the same name."""
    listed = list(heads)
    ends = list(accumulate(head.width for head in listed))
    found = {head.name: slice(end - head.width, end) for head, end in zip(listed, ends, strict=True)}
    if len(found) < len(listed):
        raise ValueError(f"heads: expected different names, got {', '.join(head.name for head in listed)}")
    return found


def detection_heads(outputs: int) -> tuple[Head, ...]:
    """The first of the detector's heads with that many outputs together; () if there are no such heads."""
    counts = [width_of(DETECTION_HEADS[:count]) for count in range(1, len(DETECTION_HEADS) + 1)]
    return DETECTION_HEADS[: counts.index(outputs) + 1] if outputs in counts else ()
