"""Pseudo-labels as a data set: photos that nobody labelled, with the faces that detectors agree on."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ._images import ImageFinder, ProblemLog
from .photo import Dataset, DatasetError, Photo

__all__ = ["read_pseudo_labels"]

LEARNED_SCORE, IGNORED_SCORE = 0.55, 0.10
"""From the first score on a face counts as one; from the second it is ignored; below, it is background."""

LEARNED_SIDE = 12.0
"""Faces with a smaller shorter side, in pixels, are ignored: detectors do not agree about them."""

_REACH = 1e9


def read_pseudo_labels(annotations: str | Path, images: str | Path, *, strict: bool = False) -> Dataset:
    """Read a file of pseudo-labels, JSON or gzip-compressed JSON, of photos below a folder.

    The file holds {photo: [[x1, y1, x2, y2, score, votes, ten landmark coordinates or null], …]}: pixels of the photo,
    the mean score of several detectors, how many of them saw the face. Photos are named by their path below ``images``,
    with forward slashes and suffix, and come sorted by name. All count as fully labelled: where no detector sees
    anything there is background. ``ignored`` are faces with a score from 0.10 to 0.55 and those below 12 pixels; what
    has a lower score is left out. The attributes are score and votes.

    Missing photos are reported together, as one problem.

    Raises DatasetError, naming the photo and the entry, when the file is not such a file, when the folder does not
    exist, or, if ``strict``, for missing photos.
    """
    annotations, images = Path(annotations), Path(images)
    content = _load(annotations)
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder; it should hold the photos that {annotations} is about")
    log, finder = ProblemLog(strict), ImageFinder(images)
    photos: list[Photo] = []
    missing: list[str] = []
    for name, entries in sorted(content.items()):
        path = finder.exact(name)
        if path is None:
            missing.append(name)
        else:
            photos.append(_photo(path, name, _rows(entries, f"{annotations}: {name}")))
    log.add_missing(annotations, missing, len(content), images)
    return Dataset(annotations.name.partition(".")[0], tuple(photos), tuple(log.problems))


def _load(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
        content = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{file}: damaged gzip file: {error}") from error
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, numbers of thousands of digits, deep nesting
        raise DatasetError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: not pseudo-labels: an object with a list for each photo expected")
    if "" in content:
        raise DatasetError(f"{file}: a photo needs a name")
    return content


def _rows(entries: Any, where: str) -> list[list[Any]]:
    """The entries of one photo that are not background, checked."""
    if not isinstance(entries, list):
        raise DatasetError(f"{where}: a list of faces expected, got {type(entries).__name__}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, list) or len(entry) != 7:
            raise DatasetError(f"{where}: entry {number}: x1, y1, x2, y2, score, votes and landmarks expected")
        numbers, landmarks = entry[:6], entry[6]
        if not all(map(_is_number, numbers)):
            raise DatasetError(f"{where}: entry {number}: six numbers expected, got {numbers}")
        if numbers[2] < numbers[0] or numbers[3] < numbers[1]:
            raise DatasetError(f"{where}: entry {number}: x1 <= x2 and y1 <= y2 expected, got {numbers[:4]}")
        if landmarks is not None and not (
            isinstance(landmarks, list) and len(landmarks) == 10 and all(map(_is_number, landmarks))
        ):
            raise DatasetError(f"{where}: entry {number}: ten landmark coordinates or null expected, got {landmarks}")
    return [entry for entry in entries if entry[4] >= IGNORED_SCORE]


def _is_number(value: Any) -> bool:
    # written so that NaN, which Python's JSON reader takes, does not pass
    return isinstance(value, int | float) and abs(value) <= _REACH


def _photo(path: Path, name: str, rows: list[list[Any]]) -> Photo:
    numbers = np.array([row[:6] for row in rows], np.float64).reshape(-1, 6)
    sides = (numbers[:, 2:4] - numbers[:, :2]).min(axis=1, initial=np.inf)
    landmarks = [[math.nan] * 10 if row[6] is None else row[6] for row in rows]
    return Photo(
        path=path,
        name=name,
        boxes=numbers[:, :4].astype(np.float32),
        ignored=(numbers[:, 4] < LEARNED_SCORE) | (sides < LEARNED_SIDE),
        landmarks=np.array(landmarks, np.float32).reshape(-1, 5, 2),
        fully_labelled=True,
        attributes={"score": numbers[:, 4], "votes": numbers[:, 5].astype(np.int64)},
    )
