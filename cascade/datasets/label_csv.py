"""Labels in a CSV file: a column with the photos' names, and one for each attribute."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ._images import ImageFinder, ProblemLog
from .labelled import LabelledPhoto, LabelledPhotos
from .photo import DatasetError

__all__ = ["read_label_csv"]

Row = dict[str, str]


def read_label_csv(file: str | Path, images: str | Path, *, strict: bool = False) -> LabelledPhotos:
    """Read a CSV file with a heading: a column "image" with paths below ``images``, all others are attributes.

    Labels are taken as they are written; an empty field is an unknown label. A line with too few or too many fields or
    without a name is left out and noted with its number, as are photos that are not on disk.

    Raises DatasetError when the file cannot be read or has no usable line, or, if ``strict``, for the first problem.
    """
    return read_table(Path(file), Path(images), "image", lambda row: row, strict)


def read_table(
    file: Path, images: Path, name_column: str, labels: Callable[[Row], Mapping[str, str]], strict: bool
) -> LabelledPhotos:
    """Return the photos of a CSV file. ``labels`` makes the labels of a line of its other fields.

    A ValueError of ``labels`` is noted with the line's number, and the line is left out.
    """
    log = ProblemLog(strict)
    finder = ImageFinder(images)
    photos: dict[str, LabelledPhoto] = {}
    missing: list[str] = []
    total = 0
    for number, row in _rows(file, name_column, log):
        total += 1
        name = row.pop(name_column)
        path = finder.exact(name)
        if path is None:
            missing.append(name)
            continue
        if name in photos:
            log.add(file, number, f"{name}: listed twice, the first line is kept")
            continue
        try:
            known = {attribute: label for attribute, label in labels(row).items() if label}
            photos[name] = LabelledPhoto(path, name, known)
        except (KeyError, ValueError) as error:
            log.add(file, number, f"{name}: {error}")
    log.add_missing(file, missing, total, images)
    if not photos:
        raise DatasetError(f"{file}: none of its {total} photos can be used; are they below {images}?")
    return LabelledPhotos(file.stem, tuple(photos.values()), tuple(log.problems))


def _rows(file: Path, name_column: str, log: ProblemLog) -> Iterator[tuple[int, Row]]:
    """The number and the fields of each line that is as long as the heading and names a photo."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.reader(text)
            heading = [name.strip() for name in next(rows, [])]
            if name_column not in heading or len(set(heading)) < max(2, len(heading)) or "" in heading:
                raise DatasetError(f"{file}, line 1: expected columns {name_column} and attributes, got {heading}")
            for fields in rows:
                if not fields:
                    continue
                row = dict(zip(heading, (value.strip() for value in fields), strict=False))
                if len(fields) != len(heading):
                    log.add(file, rows.line_num, f"expected {len(heading)} fields, got {len(fields)}")
                elif not row[name_column]:
                    log.add(file, rows.line_num, f"no {name_column}")
                else:
                    yield rows.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError.unreadable(file, error) from error
