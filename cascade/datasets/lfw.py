"""Labelled Faces in the Wild: the pairs of View 2."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ._images import ProblemLog
from ._pairs import ListedPair, Side, existing, find_pairs
from ._text import LineError, count_of, decode, read_lines, show
from .people import Pairs
from .photo import DatasetError

__all__ = ["read_lfw_pairs"]

# The archives unpack into these.
_FOLDERS = ("images", "lfw", "lfw-deepfunneled", "lfw_funneled")


def read_lfw_pairs(
    pairs: str | Path,
    images: str | Path | None = None,
    *,
    require_images: bool = True,
    strict: bool = False,
) -> Pairs:
    """Read pairs.txt of View 2: ten folds of 300 pairs of one person and 300 of two.

    images          the folder of the people's folders, or the one above it; by default that of the list
    require_images  False: keep pairs whose photos are not on disk

    The first line holds the number of folds and of pairs of each kind in a fold. Then come, fold by fold,
    lines "person photo photo" and lines "person photo person photo", where a photo is a number: the third
    one of A is A/A_0003.jpg. Names are "A/A_0003"; the file may have any image suffix.

    The protocol is G. Huang et al., Labeled Faces in the Wild, Technical Report 07-49, University of
    Massachusetts, 2007.

    Raises DatasetError when the list or the folder cannot be used, or, if ``strict``, for the first problem:
    a malformed line, a missing photo, or a fold of another size than announced.
    """
    file = Path(pairs)
    log = ProblemLog(strict)
    listed = _read_list(file, log)
    roots = existing(file.parent if images is None else Path(images), *_FOLDERS)
    return find_pairs("lfw", listed, file, roots, log, require_images)


def _read_list(file: Path, log: ProblemLog) -> list[ListedPair]:
    lines = [(number, line) for number, line in enumerate(read_lines(file), 1) if line.strip()]
    header = [count_of(field) for field in lines[0][1].split()] if lines else []
    if len(header) != 2 or not all(header):
        message = "number of folds and number of pairs in each expected in the first line"
        raise DatasetError(f"{file}: {message}, found {show(lines[0][1]) if lines else 'nothing'}")
    folds, size = (int(count or 0) for count in header)
    listed: list[ListedPair] = []
    for at, (number, line) in enumerate(lines[1:]):
        try:
            listed.append(_pair(line, number, at // (2 * size) + 1))
        except LineError as error:
            log.add(file, error.line, error.message)
    if len(lines) - 1 != 2 * size * folds:
        log.add(file, 1, f"{folds} folds of {size} + {size} pairs announced, {len(lines) - 1} lines follow")
    counts = Counter((pair.fold, pair.same) for pair in listed)
    for fold in sorted({pair.fold for pair in listed}):
        same, different = counts[fold, True], counts[fold, False]
        if (same, different) != (size, size):
            found = f"fold {fold} has {same} pairs of one person and {different} of two"
            log.add(file, None, f"{found}, {size} of each announced")
    return listed


def _pair(line: bytes, number: int, fold: int) -> ListedPair:
    fields = line.split()
    if len(fields) not in (3, 4):
        raise LineError(number, f"3 or 4 fields expected, found {show(line)}")
    people = decode(fields[0], number), decode(fields[-2] if len(fields) == 4 else fields[0], number)
    photos = count_of(fields[1]), count_of(fields[-1])
    if None in photos:
        raise LineError(number, f"number of a photo expected, found {show(line)}")
    a, b = (Side(f"{person}/{person}_{photo:04d}", person) for person, photo in zip(people, photos, strict=True))
    return ListedPair(a, b, len(fields) == 3, fold)
