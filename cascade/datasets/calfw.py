"""CALFW: pairs of photos of LFW's people taken years apart."""

from __future__ import annotations

import re
from pathlib import Path

from ._images import ProblemLog, without_suffix
from ._pairs import ListedPair, Side, existing, find_pairs, folds_in_order
from ._text import LineError, count_of, decode, read_lines, show
from .people import Pairs

__all__ = ["read_calfw_pairs"]

FOLDS = 10

_FOLDERS = ("aligned images", "images")


def read_calfw_pairs(
    pairs: str | Path,
    images: str | Path | None = None,
    *,
    require_images: bool = True,
    strict: bool = False,
) -> Pairs:
    """Read pairs_CALFW.txt: 3,000 pairs of one person and 3,000 of two, in ten folds.

    images          the folder of the photos, or the one above "aligned images"; by default that of the list
    require_images  False: keep pairs whose photos are not on disk

    A pair is two lines, "photo number" each, such as "Carl_Reiner_0001.jpg 1" and "Carl_Reiner_0003.jpg 1".
    The number is 0 for two people, else the fold, 1 to 10. Pairs of two people have no fold in the file:
    here, as in other evaluators, they are dealt out in their order, a tenth to each fold. So are those of one
    person where all have the number 1, as in lists of the same form for other sets. CALFW gives no ages.

    The protocol is T. Zheng, W. Deng, J. Hu, Cross-Age LFW, arXiv:1708.08197, 2017.

    Raises DatasetError when the list or the folder cannot be used, or, if ``strict``, for the first problem:
    a malformed pair of lines or a missing photo.
    """
    file = Path(pairs)
    log = ProblemLog(strict)
    rows = _read_rows(file, log)
    same = [row for row in rows if row[2]]
    different = [row for row in rows if not row[2]]
    numbered = any(number > 1 for *_, number in same)
    folds = [number for *_, number in same] if numbered else folds_in_order(len(same), FOLDS)
    folds += folds_in_order(len(different), FOLDS)
    listed = [
        ListedPair(Side(a, _person(a)), Side(b, _person(b)), number > 0, fold)
        for (a, b, number), fold in zip(same + different, folds, strict=True)
    ]
    roots = existing(file.parent if images is None else Path(images), *_FOLDERS)
    return find_pairs("calfw", listed, file, roots, log, require_images)


def _read_rows(file: Path, log: ProblemLog) -> list[tuple[str, str, int]]:
    """Return both photos and the number of every pair."""
    lines = [(number, line) for number, line in enumerate(read_lines(file), 1) if line.strip()]
    rows: list[tuple[str, str, int]] = []
    for at in range(0, len(lines), 2):
        try:
            fields = [_fields(line, number) for number, line in lines[at : at + 2]]
            if len(fields) < 2:
                raise LineError(lines[at][0], "the second photo of the pair is missing")
            (a, first), (b, second) = fields
            if first != second:
                raise LineError(lines[at + 1][0], f"number {first} expected as in the line before, found {second}")
        except LineError as error:
            log.add(file, error.line, error.message)
        else:
            rows.append((a, b, first))
    return rows


def _fields(line: bytes, number: int) -> tuple[str, int]:
    name, _, label = line.strip().rpartition(b" ")
    fold = count_of(label)
    if not name or fold is None or fold > FOLDS:
        raise LineError(number, f"photo and a number from 0 to {FOLDS} expected, found {show(line)}")
    return decode(name, number), fold


def _person(name: str) -> str:
    """Return "Carl_Reiner" for "Carl_Reiner_0001.jpg"."""
    return re.sub(r"_\d+$", "", without_suffix(name).rpartition("/")[2])
