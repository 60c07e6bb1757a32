"""The two forms of the WIDER FACE annotation, read into the same entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._geometry import corners
from ._images import ProblemLog, without_suffix
from ._mat import read_mat_file
from ._text import LineError, iterate_blocks, read_lines
from .photo import DatasetError

# In the order of the columns that follow x, y, width and height in the text form.
LABELS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One photo of the annotation: (N, 4) float32 boxes, (N,) ignored, labels, and its line (text form)."""

    name: str
    boxes: NDArray[np.float32]
    ignored: NDArray[np.bool_]
    attributes: dict[str, NDArray[np.int64]]
    line: int | None


def read_text(file: Path, log: ProblemLog) -> Iterator[Entry]:
    """Yield the entries of wider_face_*_bbx_gt.txt; broken ones are noted with their line.

    Raises DatasetError when the file cannot be read or holds no entry at all.
    """
    count = 0
    for block in iterate_blocks(read_lines(file), (4 + len(LABELS),)):
        if isinstance(block, LineError):
            log.add(file, block.line, str(block))
            continue
        name = without_suffix(block.name)
        try:
            entry = _entry(name, block.rows[:, :4], list(block.rows[:, 4:].T), block.line)
        except ValueError as error:
            log.add(file, block.line, f"{name}: {error}")
        else:
            count += 1
            yield entry
    if count == 0:
        raise DatasetError(f"{file}: no photo can be read: not a WIDER FACE annotation, or entirely damaged")


def read_mat(file: Path, log: ProblemLog) -> Iterator[Entry]:
    """Yield the entries of wider_face_*.mat; broken ones are noted.

    Raises DatasetError.
    """
    lists = ["face_bbx_list", *(f"{label}_label_list" for label in LABELS)]
    for event, files, columns in _events(_load(file, ["event_list", "file_list", *lists]), file, lists):
        if any(len(column) != len(files) for column in columns):
            log.add(file, None, f"{event}: {len(files)} photos, but a list of their faces has another length")
            continue
        for k, cell in enumerate(files):
            name = f"{event}/{_string(cell)}"
            try:
                entry = _entry(name, columns[0][k], [column[k] for column in columns[1:]], None)
            except (TypeError, ValueError) as error:
                log.add(file, None, f"{name}: {error}")
            else:
                yield entry


def read_subset(file: Path) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Return the events of wider_{easy,medium,hard}_val.mat, and for each photo the faces that count, from 0.

    Raises DatasetError.
    """
    subset: dict[str, NDArray[np.int64]] = {}
    events = []
    content = _load(file, ["event_list", "file_list", "face_bbx_list", "gt_list"])
    for event, files, (boxes, counted) in _events(content, file, ["face_bbx_list", "gt_list"]):
        events.append(event)
        if not len(files) == len(boxes) == len(counted):
            raise DatasetError(f"{file}: {event}: the lists have different lengths")
        for k, cell in enumerate(files):
            name = f"{event}/{_string(cell)}"
            one_based = counted[k].ravel()
            if one_based.dtype.kind not in "iuf" or not np.isin(one_based, np.arange(len(boxes[k])) + 1).all():
                raise DatasetError(f"{file}: {name}: counts a face that the photo has not")
            subset[name] = one_based.astype(np.int64) - 1
    return tuple(events), subset


def _entry(name: str, xywh: Any, labels: list[Any], line: int | None) -> Entry:
    """Check one photo's arrays; raises ValueError for wrong lengths and values not finite."""
    if name.endswith("/"):
        raise ValueError("no file name")
    boxes = np.asarray(xywh)
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"boxes must have 4 columns, got shape {boxes.shape}")
    with np.errstate(over="ignore"):
        edges, flat = corners(boxes)
        edges32 = edges.astype(np.float32)
    if not np.isfinite(edges32).all():
        raise ValueError("a box is not finite")
    attributes = {}
    for label, values in zip(LABELS, labels, strict=True):
        column = np.asarray(values, np.float64).ravel()
        if len(column) != len(edges) or not (np.abs(column) < 2**31).all():
            raise ValueError(f"{len(edges)} boxes, but {len(column)} values of {label}, or some out of reach")
        attributes[label] = column.astype(np.int64)
    return Entry(name, edges32, flat | (attributes["invalid"] != 0), attributes, line)


def _load(file: Path, keys: list[str]) -> dict[str, NDArray[Any]]:
    content = read_mat_file(file, keys)
    for key in keys:
        if key not in content:
            raise DatasetError(f"{file}: has no {key}")
        if content[key].dtype != object or content[key].size != content["event_list"].size:
            raise DatasetError(f"{file}: {key} must be a cell for each event")
    return content


def _events(content: dict[str, Any], file: Path, lists: list[str]) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield each event's name, its cells of file names, and its cells of every list."""
    for e, cell in enumerate(content["event_list"].ravel()):
        event = _string(cell)
        cells = [content[key].ravel()[e] for key in ("file_list", *lists)]
        if not event or any(part.size and part.dtype != object for part in cells):
            raise DatasetError(f"{file}: event {e + 1} is damaged")
        yield event, cells[0].ravel(), [part.ravel() for part in cells[1:]]


def _string(cell: Any) -> str:
    values = np.asarray(cell).ravel()
    return str(values[0]) if values.size else ""
