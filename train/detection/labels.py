"""Labels: which head learns from which samples (the paper's β), and where its targets are.

A sample is a negative, a positive, a part or a landmark sample. Its targets are one row of numbers, NaN where nothing
is known: those of the heads in their order. The face's label is the kind of the sample and needs no target, a head that
classifies has the number of the class, and any other head has as many numbers as outputs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from cascade.nn.heads import BOX, DETECTION_HEADS, FACE, LANDMARKS, Head

NEGATIVE, POSITIVE, PART, LANDMARK = 0, 1, 2, 3
KINDS = ("negative", "positive", "part", "landmark")

LABELLED_KINDS: dict[str, tuple[int, ...]] = {
    FACE.name: (NEGATIVE, POSITIVE),
    BOX.name: (POSITIVE, PART),
    LANDMARKS.name: (LANDMARK,),
}
"""The kinds that a head learns from; one that is not here learns from every sample with a target for it."""


def target_columns(heads: Iterable[Head]) -> dict[str, slice]:
    """Where the targets of each head are in a row, by name."""
    found, start = {}, 0
    for head in heads:
        width = _target_width(head)
        found[head.name] = slice(start, start + width)
        start += width
    return found


def target_width(heads: Iterable[Head]) -> int:
    """Numbers in a row of targets."""
    return sum(map(_target_width, heads))


def _target_width(head: Head) -> int:
    if head.name == FACE.name:
        return 0
    return 1 if head.loss == "cross_entropy" else head.width


# The targets of the detector's own heads are points in the window: the box's two corners and the five landmarks. They
# move with the pixels when a crop is changed; targets behind them stay as they are.
POINT_COLUMNS = target_width(DETECTION_HEADS)


def labelled(head: Head, kinds: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """β of a head: (n,) bool, which samples have its label. ``targets`` (n, …) are those of the head alone."""
    if head.name not in LABELLED_KINDS:
        return torch.isfinite(targets).all(dim=1)
    mask = torch.zeros_like(kinds, dtype=torch.bool)
    for kind in LABELLED_KINDS[head.name]:
        mask |= kinds == kind
    return mask
