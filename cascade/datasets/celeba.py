"""CelebA: one labelled face per photo, in the wild or aligned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._geometry import corners
from ._images import ImageFinder, ProblemLog, listed, without_suffix
from ._text import LineError, count_of, decode, parse_rows, read_lines
from .photo import Dataset, DatasetError, Photo

__all__ = ["read_celeba"]

_PARTITIONS = {"train": 0, "val": 1, "test": 2}
# Of every photo in img_align_celeba.
_ALIGNED_SIZE = (178, 218)

_Table = dict[str, NDArray[np.float64]]


def read_celeba(
    root: str | Path,
    partition: str | None = None,
    *,
    aligned: bool = False,
    images: str | Path | None = None,
    require_images: bool = True,
    strict: bool = False,
) -> Dataset:
    """Read CelebA's annotation files, which lie in ``root``, ``root/Anno`` or ``root/Eval``.

    partition       "train", "val" or "test", by list_eval_partition.txt; None for all photos
    aligned         False: the photos in the wild, with list_bbox_celeba.txt and, if present,
                    list_landmarks_celeba.txt; True: the aligned crops, with list_landmarks_align_celeba.txt
    images          the folder of the photos; by default img_celeba or img_align_celeba in ``root`` or
                    ``root/Img``
    require_images  False: keep photos that are not on disk

    Names are the file names in the lists ("000001.jpg"); the file may have another image suffix. Each photo
    has one face: its box in pixels (x1, y1, x2, y2; ``ignored`` if without width or height), five landmarks
    (NaN where the file or the row is missing), and the attributes identity and partition, −1 where unknown.
    Aligned crops have no boxes: theirs is the whole crop, ``ignored``. Other people may be in a photo, so
    ``fully_labelled`` is False.

    Raises DatasetError when a list that is needed is missing or unreadable, or, if ``strict``, for the first
    problem; ValueError for an unknown partition.
    """
    if partition is not None and partition not in _PARTITIONS:
        raise ValueError(f"partition must be one of {', '.join(_PARTITIONS)} or None, got {partition!r}")
    root = Path(root)
    log = ProblemLog(strict)
    points_file = "list_landmarks_align_celeba.txt" if aligned else "list_landmarks_celeba.txt"
    points = _table(root, points_file, 10, log, needed=aligned)
    boxes = points if aligned else _table(root, "list_bbox_celeba.txt", 4, log, needed=True)
    identity = _table(root, "identity_CelebA.txt", 1, log)
    partitions = _table(root, "list_eval_partition.txt", 1, log, needed=partition is not None)
    assert boxes is not None
    names = list(boxes)
    if partition is not None and partitions is not None:
        number = _PARTITIONS[partition]
        names = [name for name in names if name in partitions and partitions[name][0] == number]
    for label, table in (("landmarks", points), ("an identity", identity), ("a partition", partitions)):
        _report_gaps(root, label, names if table is not None else (), table or {}, log)
    finder = ImageFinder(Path(images) if images is not None else _image_root(root, aligned))
    paths = _paths(names, finder, require_images, root, log)
    photos = []
    for name, path in paths.items():
        row = None if points is None else points.get(name)
        labels = {"identity": _label(identity, name), "partition": _label(partitions, name)}
        photos.append(_photo(path, name, None if aligned else boxes[name], row, labels))
    return Dataset("celeba_aligned" if aligned else "celeba", tuple(photos), tuple(log.problems))


def _find(root: Path, name: str) -> Path | None:
    places = [root / name, root / "Anno" / name, root / "Eval" / name]
    return next((place for place in places if place.is_file()), None)


def _table(root: Path, name: str, width: int, log: ProblemLog, needed: bool = False) -> _Table | None:
    """Read lines of a file name and ``width`` numbers, behind a count and a heading where there are such."""
    file = _find(root, name)
    if file is None:
        if needed:
            raise DatasetError(f"{root / name}: missing, also in the folders Anno and Eval")
        return None
    lines = read_lines(file)
    announced = count_of(lines[0]) if lines else None
    table: _Table = {}
    for at in range(0 if announced is None else 2, len(lines)):
        if not lines[at].strip():
            continue
        try:
            key, values = _row(lines[at], at + 1, width)
        except LineError as error:
            log.add(file, error.line, str(error))
            continue
        if key in table:
            log.add(file, at + 1, f"{key}: listed twice, the first entry is kept")
        else:
            table[key] = values
    if not table:
        raise DatasetError(f"{file}: no line can be read")
    if announced is not None and announced != len(table):
        log.add(file, 1, f"{announced} photos announced, {len(table)} could be read")
    return table


def _row(text: bytes, line: int, width: int) -> tuple[str, NDArray[np.float64]]:
    fields = text.split(None, 1)
    name = decode(fields[0], line)
    try:
        values = parse_rows([fields[1] if len(fields) > 1 else b""], line, (width,))[0]
    except LineError as error:
        raise LineError(line, error.message, name) from None
    if np.abs(values).max() > 1e9:
        raise LineError(line, "a number out of reach", name)
    return name, values


def _report_gaps(root: Path, label: str, names: Iterable[str], table: _Table, log: ProblemLog) -> None:
    gaps = [name for name in names if name not in table]
    if gaps:
        log.add(root, None, f"{len(gaps)} photos without {label}: {listed(gaps)}")


def _image_root(root: Path, aligned: bool) -> Path:
    folder = "img_align_celeba" if aligned else "img_celeba"
    places = [root / folder, root / "Img" / folder]
    return next((place for place in places if place.is_dir()), places[0])


def _paths(names: list[str], finder: ImageFinder, require_images: bool, root: Path, log: ProblemLog) -> dict[str, Path]:
    """Return each photo's image file; missing ones are left out and noted, unless they may be missing."""
    found = {name: finder.by_stem(without_suffix(name)) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if require_images:
        log.add_missing(root, missing, len(names), finder.root)
        return {name: path for name, path in found.items() if path is not None}
    return {name: path or finder.root / name for name, path in found.items()}


def _label(table: _Table | None, name: str) -> NDArray[np.int64]:
    value = table[name][0] if table is not None and name in table else -1
    return np.array([value], np.int64)


def _photo(
    path: Path,
    name: str,
    xywh: NDArray[np.float64] | None,
    points: NDArray[np.float64] | None,
    labels: dict[str, NDArray[np.int64]],
) -> Photo:
    # None: an aligned crop, of which all is known to be the one face, but not where that face ends.
    boxes, flat = corners(xywh if xywh is not None else [0, 0, *_ALIGNED_SIZE])
    landmarks = np.full((1, 5, 2), np.nan) if points is None else points.reshape(1, 5, 2)
    size = _ALIGNED_SIZE if xywh is None else None
    ignored = flat if xywh is not None else np.array([True])
    return Photo(
        path=path,
        name=name,
        boxes=boxes.astype(np.float32),
        ignored=ignored,
        landmarks=landmarks.astype(np.float32),
        fully_labelled=False,
        attributes=labels,
        size=size,
    )
