"""AgeDB: photos named by person, age and gender; and the pairs of AgeDB-30, thirty years apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ._file_names import read_file_names
from ._images import ProblemLog, without_suffix
from ._mat import read_mat_file
from ._pairs import ListedPair, Side, existing, find_pairs, folds_in_order
from ._text import LineError, decode, read_lines, show
from .people import Pairs, People, PersonPhoto
from .photo import DatasetError, Photo

__all__ = ["read_agedb", "read_agedb_pairs"]

FOLDS = 10

_NAME = re.compile(r"\d+_(?P<person>.+)_(?P<age>\d{1,3})_(?P<gender>[mf])", re.IGNORECASE)
_FOLDERS = ("AgeDB", "images")
_LABELS = {b"1": True, b"0": False, b"-1": False}


def read_agedb(images: str | Path, *, strict: bool = False) -> People:
    """Read the folder of AgeDB, whose file names are "number_person_age_gender.jpg", gender m or f.

    The attribute gender is 0 (male) or 1 (female). Names are paths below the folder. Files named otherwise
    are left out and reported together.

    The data set is S. Moschoglou et al., AgeDB: the first manually collected, in-the-wild age database, CVPR
    Workshops 2017.

    Raises DatasetError when the folder holds no such photo, or, if ``strict``, for the first problem.
    """
    return read_file_names("agedb", images, _label, _person_photo, "0_MariaCallas_35_f.jpg", strict)


def _person_photo(photo: Photo, label: re.Match[str]) -> PersonPhoto:
    gender = {"gender": int(label["gender"].lower() == "f")}
    return PersonPhoto(photo.path, photo.name, label["person"], float(label["age"]), None, gender)


def read_agedb_pairs(
    pairs: str | Path,
    images: str | Path | None = None,
    *,
    require_images: bool = True,
    strict: bool = False,
) -> Pairs:
    """Read the pairs of AgeDB-30: ten folds of 300 pairs of one person and 300 of two.

    pairs           the official .mat file: a cell ``splits`` with the names of both photos and
                    the labels of every fold, 1 for one person, −1 or 0 for two; or a text file of lines
                    "photo photo label", by blanks or commas, ten folds of equal size one after the other
    images          the folder of the photos, or the one above AgeDB; by default that of ``pairs``
    require_images  False: keep pairs whose photos are not on disk

    Person and age are those of the file names, and unknown where these have another form. The .mat layout is
    what public evaluators read; the official file was not at hand to check it.

    Raises DatasetError when the list or the folder cannot be used, or, if ``strict``, for the first problem.
    """
    file = Path(pairs)
    log = ProblemLog(strict)
    rows = _read_mat(file) if file.suffix.lower() == ".mat" else _read_text(file, log)
    entries = [ListedPair(_side(a), _side(b), same, fold) for a, b, same, fold in rows]
    roots = existing(file.parent if images is None else Path(images), *_FOLDERS)
    return find_pairs("agedb30", entries, file, roots, log, require_images)


def _label(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(without_suffix(name).rpartition("/")[2])


def _side(name: str) -> Side:
    label = _label(name)
    return Side(name, None) if label is None else Side(name, label["person"], float(label["age"]))


def _read_text(file: Path, log: ProblemLog) -> list[tuple[str, str, bool, int]]:
    lines = [(number, line) for number, line in enumerate(read_lines(file), 1) if line.strip()]
    rows: list[tuple[str, str, bool, int]] = []
    for (number, line), fold in zip(lines, folds_in_order(len(lines), FOLDS), strict=True):
        fields = line.replace(b",", b" ").split()
        try:
            if len(fields) != 3 or fields[2] not in _LABELS:
                raise LineError(number, f"two photos and 1, 0 or -1 expected, found {show(line)}")
            rows.append((decode(fields[0], number), decode(fields[1], number), _LABELS[fields[2]], fold))
        except LineError as error:
            log.add(file, error.line, error.message)
    return rows


def _read_mat(file: Path) -> list[tuple[str, str, bool, int]]:
    content = read_mat_file(file, ["splits"])
    try:
        return list(_mat_rows(content["splits"]))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file}: not the pairs of AgeDB-30: {error}") from error


def _mat_rows(splits: Any) -> Iterator[tuple[str, str, bool, int]]:
    """Yield photos, label and fold of every pair; each split has the names, 2×N, and then N labels."""
    for fold, cell in enumerate(np.asarray(splits).ravel(), 1):
        split = _inner(cell)
        names, labels = np.asarray(split[0]), np.asarray(split[1]).ravel()
        if names.shape != (2, len(labels)):
            raise ValueError(f"split {fold}: {names.shape} names and {len(labels)} labels do not fit")
        for a, b, label in zip(*names, labels.tolist(), strict=True):
            yield _text(a), _text(b), label == 1, fold


def _inner(value: Any) -> Any:
    """Take away the arrays of one element that MATLAB wraps around a value."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value


def _text(value: Any) -> str:
    """Return a name, which may be the first field of a struct; raises ValueError for anything else."""
    value = _inner(value)
    while isinstance(value, np.void):
        value = _inner(value[0])
    if not isinstance(value, str) or not value:
        raise ValueError(f"name of a photo expected, found {type(value).__name__}")
    return str(value)
