"""CACD-VS: numbered pairs of photos of celebrities, years apart."""

from __future__ import annotations

import re
from pathlib import Path

from ._images import ProblemLog, listed, without_suffix
from ._pairs import ListedPair, Side, existing, find_pairs
from .folders import read_folder
from .people import Pairs
from .photo import DatasetError

__all__ = ["read_cacd_pairs"]

FOLD, SAME = 400, 200
"""Pairs of a fold, and how many of them, the first ones, show one person."""

_NAME = re.compile(r"(\d+)_([01])")


def read_cacd_pairs(images: str | Path, *, require_images: bool = True, strict: bool = False) -> Pairs:
    """Read the folder of CACD-VS: 4,000 pairs in ten folds of 400.

    images          the folder with 0000_0.jpg, 0000_1.jpg, 0001_0.jpg …, or the one above it, CACD_VS
    require_images  False: keep a pair of which one photo is missing

    There is no list: pair i shows one person when i mod 400 < 200, and its fold is i / 400, rounded down,
    plus 1. Any number of complete folds is taken. CACD-VS names neither people nor ages.

    The protocol is B.-C. Chen, C.-S. Chen, W. Hsu, Face Recognition and Retrieval Using Cross-Age Reference
    Coding With Cross-Age Celebrity Dataset, IEEE Transactions on Multimedia 17(6), 2015.

    Raises DatasetError when the folder holds no such photo, or, if ``strict``, for the first problem: another
    file name, a missing photo, or a last fold that is not complete.
    """
    root = Path(images)
    root = existing(root, "CACD_VS")[-1]
    log = ProblemLog(strict)
    found, odd = set(), []
    for photo in read_folder(root):
        name = _NAME.fullmatch(without_suffix(photo.name))
        if name is None:
            odd.append(photo.name)
        else:
            found.add(name.group(1))
    if not found:
        raise DatasetError(f"{root}: no photos named like 0000_0.jpg and 0000_1.jpg")
    if odd:
        log.add(root, None, f"{len(odd)} photos are not named like 0000_0.jpg: {listed(odd)}")
    # Numbers have leading zeroes, as many as the first one has.
    width = min(map(len, found))
    numbers = {int(number) for number in found}
    count = max(numbers) + 1
    if count > len(numbers):
        first = next(number for number in range(count) if number not in numbers)
        log.add(root, None, f"{count - len(numbers)} pairs are missing, the first is {first:0{width}d}")
    if count % FOLD:
        log.add(root, None, f"{count} pairs, expected a multiple of {FOLD}: the last fold is not complete")
    entries = [_entry(number, width) for number in sorted(numbers)]
    return find_pairs("cacd-vs", entries, root, [root], log, require_images)


def _entry(number: int, width: int) -> ListedPair:
    a, b = (Side(f"{number:0{width}d}_{k}", None) for k in (0, 1))
    return ListedPair(a, b, number % FOLD < SAME, number // FOLD + 1)
