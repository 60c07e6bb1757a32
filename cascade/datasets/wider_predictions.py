"""WIDER FACE prediction files: one text file per photo, in a folder per event."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ._text import LineError, first_text, split_lines, take_block
from .detections import Boxed, Detections, checked_name, from_rows, to_text
from .photo import DatasetError

__all__ = ["read_wider_predictions", "write_wider_predictions"]

LARGEST_FILE = 64 << 20
"""Bytes of the text of one photo in a zip file: a million faces."""


def read_wider_predictions(source: str | Path) -> dict[str, Detections]:
    """Read a folder or zip of event/stem.txt files: a name, a count, then lines of x y width height score.

    Returns the boxes (pixels, x1, y1, x2, y2) and scores of each photo, by its name "event/stem", sorted by
    name. The name is taken from the file's place, as the official evaluator does; folders around the event
    folders, hidden files and files that are not text files in a folder are passed over.

    Raises DatasetError, with the file and line, for a malformed line, another number of lines than announced,
    numbers that are not finite and negative sizes; and when there is no prediction file, or two for one
    photo.
    """
    source = Path(source)
    predictions: dict[str, Detections] = {}
    for place, data in _files(source):
        parts = place.split("/")
        name = "/".join(parts[-2:]).removesuffix(".txt")
        shown = f"{source}/{place}"
        if name in predictions:
            raise DatasetError(f"{shown}: a second file for {name}")
        predictions[name] = _parse(data, shown)
    if not predictions:
        raise DatasetError(f"{source}: no prediction files event/photo.txt")
    return dict(sorted(predictions.items()))


def write_wider_predictions(folder: str | Path, predictions: Mapping[str, Boxed]) -> None:
    """Write event/stem.txt for each photo: its stem, a count, then lines of x y width height score.

    ``predictions`` maps names "event/stem" to anything with ``boxes`` (N, 4) x1, y1, x2, y2 in pixels and
    ``scores`` (N,). Folders are made as needed, files are replaced. Numbers have all their digits: reading
    gives equal scores, and boxes equal up to the rounding of x1 + width. Nothing is written if one entry is
    wrong.

    Raises ValueError, naming the photo, for a name that is not "event/stem" and for unfit boxes or scores.
    """
    texts: dict[str, bytes] = {}
    for name, found in predictions.items():
        event, _, stem = checked_name(name).partition("/")
        if not stem or "/" in stem or "." in (event[0], stem[0]):
            raise ValueError(f'a name must be "event/stem" and not hidden, got {name!r}')
        texts[name] = to_text(name, found, stem).encode()
    for name, text in texts.items():
        path = Path(folder, *f"{name}.txt".split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the place (with forward slashes) and content of every prediction file."""
    if source.is_dir():
        for path in sorted(source.rglob("*.txt")):
            place = path.relative_to(source).as_posix()
            if _is_prediction(place):
                try:
                    yield place, path.read_bytes()
                except OSError as error:
                    raise DatasetError.unreadable(path, error) from error
        return
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if _is_prediction(member.filename)]
            for member in members:
                if member.file_size > LARGEST_FILE:  # no more than this stated size is inflated
                    got = f"expected at most {LARGEST_FILE:,} bytes, got {member.file_size:,}"
                    raise DatasetError(f"{source}/{member.filename}: {got}")
                yield member.filename, archive.read(member)
    except DatasetError:
        raise
    except Exception as error:  # damaged files make zipfile raise whatever comes up, EOFError and struct.error too
        reason = str(error) or type(error).__name__
        raise DatasetError(f"{source}: neither a folder nor a readable zip file: {reason}") from error


def _is_prediction(place: str) -> bool:
    parts = place.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    # macOS puts "__MACOSX/…/._name.txt" beside every file of a zip.
    return place.endswith(".txt") and len(parts) > 1 and not hidden


def _parse(data: bytes, shown: str) -> Detections:
    lines = split_lines(data, shown)
    try:
        if not lines:
            raise LineError(1, "the file is empty")
        block, behind = take_block(lines, 0, (5,))
        extra = first_text(lines, behind)
        if extra is not None:
            raise LineError(extra + 1, f"more lines than the {len(block.rows)} faces announced")
        return from_rows(block.rows, 3, block.name)
    except LineError as error:
        raise DatasetError(f"{shown}:{error.line}: {error.message}") from error
