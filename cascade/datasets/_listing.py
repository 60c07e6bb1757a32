"""Photos as annotation files list them: faces as plain values, made into `Photo`s and taken from them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade.imaging.reading import ImageError, read_size
from cascade.private_files import replacing

from ._images import ImageFinder, ProblemLog, without_suffix
from .photo import Dataset, Photo

FACE = "face"
"""What a face is called where a format names classes."""

NAME, SCORE = "name", "score"
"""The attributes that formats have a place for: who somebody is (empty: unknown), and how sure a detector was."""

REACH = 1e9
"""Coordinates beyond it are a mistake."""

MODE = 0o666
"""The mode of new files, less the umask."""

Points = Sequence[Sequence[float]]

Add = Callable[[Photo], None]
"""Writes one more photo. Raises ValueError for one that the format cannot hold; the others are written all the same."""

Opened = AbstractContextManager[Add]
"""A file that is being written: it is complete, and in its place, when the block ends without an error."""


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """One face in plain numbers: pixels x1, y1, x2, y2, five points or None, and further labels by name."""

    box: Sequence[float]
    landmarks: Points | None = None
    ignored: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)


class Listed(NamedTuple):
    """One photo of an annotation file: its name there, its faces, and what else the file says."""

    name: str
    faces: list[LabelledFace]
    size: tuple[int, int] | None = None
    line: int | None = None


def photos_of(
    source: Path,
    root: Path,
    entries: Iterable[Listed],
    log: ProblemLog,
    *,
    require_images: bool = True,
    fully_labelled: bool = True,
) -> Iterator[Photo]:
    """Yield a Photo for each entry that has an image below ``root``; the others are noted, as one problem at the end.

    Entries that no Photo can be made of, and those of a name that came before, are noted as they come.
    """
    finder = ImageFinder(root)
    seen: set[str] = set()
    missing: list[str] = []
    for entry in entries:
        if entry.name in seen:
            log.add(source, entry.line, f"{entry.name}: listed twice, the first entry is kept")
            continue
        seen.add(entry.name)
        path = finder.exact(entry.name) if entry.name else None
        if path is None:
            missing.append(entry.name)
            if require_images:
                continue
            path = root / entry.name
        try:
            yield as_photo(entry, path, fully_labelled)
        except ValueError as error:
            log.add(source, entry.line, str(error))
    if require_images:
        log.add_missing(source, missing, len(seen), root)


def as_dataset(
    source: Path, root: Path, entries: Iterable[Listed], log: ProblemLog, *, require_images: bool = True
) -> Dataset:
    """Return all of `photos_of` with the problems."""
    photos = tuple(photos_of(source, root, entries, log, require_images=require_images))
    return Dataset(source.stem, photos, tuple(log.problems))


def as_photo(entry: Listed, path: Path, fully_labelled: bool = True) -> Photo:
    """Make a Photo. Faces without width or height become ``ignored``. Raises ValueError for unfit numbers."""
    boxes = np.array([face.box for face in entry.faces], np.float64).reshape(-1, 4)
    if not (np.abs(boxes) <= REACH).all():
        raise ValueError(f"{entry.name}: a box is not finite, or out of reach")
    unknown = [[math.nan, math.nan]] * 5
    points = [unknown if face.landmarks is None else face.landmarks for face in entry.faces]
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    return Photo(
        path=path,
        name=entry.name,
        boxes=boxes.astype(np.float32),
        ignored=flat | np.array([face.ignored for face in entry.faces], bool),
        landmarks=np.array(points, np.float32).reshape(-1, 5, 2),
        fully_labelled=fully_labelled,
        attributes=_attributes([face.labels for face in entry.faces]),
        size=entry.size,
    )


def _attributes(labels: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Arrays by name. What a face lacks is NaN among numbers and empty among texts."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(key for each in labels for key in each):
        values = [each.get(name) for each in labels]
        known = [value for value in values if value is not None]
        if any(isinstance(value, str) for value in known):
            arrays[name] = np.array(["" if value is None else str(value) for value in values], np.str_)
        elif known and all(isinstance(value, bool) for value in values):
            arrays[name] = np.array(values, bool)
        elif known and all(isinstance(value, int) and abs(value) < 2**63 for value in values):
            arrays[name] = np.array(values, np.int64)
        else:
            arrays[name] = _numbers(values, known)
    return arrays


def _numbers(values: list[Any], known: list[Any]) -> NDArray[np.float64]:
    shape = np.shape(known[0]) if known else ()
    try:
        rows = [np.full(shape, np.nan) if value is None else np.asarray(value, np.float64) for value in values]
        return np.stack(rows) if rows else np.zeros((0, *shape))
    except (TypeError, ValueError) as error:
        raise ValueError(f"labels of different kinds or lengths: {error}") from None


# --------------------------------------------------------------------------------------------------
# The way back


def faces_of(photo: Photo) -> Iterator[LabelledFace]:
    """Yield the faces of a photo. What is unknown is not among the labels: NaN and empty text."""
    labels = {name: values.tolist() for name, values in photo.attributes.items()}
    some = [bool(np.isfinite(five).all(axis=-1).any()) for five in photo.landmarks]
    rows = zip(photo.boxes.tolist(), photo.landmarks.tolist(), photo.ignored.tolist(), strict=True)
    for at, (box, points, ignored) in enumerate(rows):
        told = {name: values[at] for name, values in labels.items() if _is_known(values[at])}
        yield LabelledFace(box, points if some[at] else None, ignored, told)


def _is_known(value: Any) -> bool:
    return value not in ("", None) and not (isinstance(value, float) and math.isnan(value))


def short_labels(face: LabelledFace) -> dict[str, Any]:
    """The labels that are one number or text each, without lists such as embeddings."""
    return {name: value for name, value in face.labels.items() if not isinstance(value, list)}


def score_of(face: LabelledFace) -> float | None:
    """The score, or None where it is not known."""
    score = face.labels.get(SCORE)
    return None if score is None else float(score)


def size_of(photo: Photo) -> tuple[int, int]:
    """Width and height of the upright photo, from the annotation, else from the file. Raises ValueError."""
    if photo.size is not None:
        return photo.size
    try:
        return read_size(photo.path).upright
    except ImageError as error:
        reason = str(error).removeprefix("image: ")
        raise ValueError(f"{photo.name}: its size is not stated, and the photo does not tell it: {reason}") from None


def checked_text(text: str, what: str) -> str:
    """The text, if it is Unicode. Raises ValueError for names of files that are not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise ValueError(f"{shown}: this {what} is not UTF-8, which the format needs") from None
    return text


def relative_name(photo: Photo) -> str:
    """The photo's name as a path inside a folder, with forward slashes. Raises ValueError."""
    name = photo.name.replace(os.sep, "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{photo.name}: leads out of the folder that names start from")
    if name.startswith("/") or (parts and ":" in parts[0]):
        raise ValueError(f"{photo.name}: expected a name below a folder; name the folder of the photos (images)")
    return checked_text("/".join(parts), "name")


def unique_stems() -> Callable[[Photo], str]:
    """Return the function that gives a photo's `relative_name` without its suffix, by which some formats name files.

    It raises ValueError for a photo whose file would take the place of that of another one.
    """
    owners: dict[str, str] = {}

    def stem_of(photo: Photo) -> str:
        stem = without_suffix(relative_name(photo))
        owner = owners.setdefault(stem, photo.name)
        if owner != photo.name:
            raise ValueError(f"{photo.name}: the format names files without suffix, and this name is that of {owner}")
        return stem

    return stem_of


@contextmanager
def writing_text(file: str | Path, errors: str = "strict") -> Iterator[IO[str]]:
    """A new text file in UTF-8 that takes its place once it is complete. Raises OSError."""
    with replacing(file, mode=MODE) as binary:
        stream = io.TextIOWrapper(binary, encoding="utf-8", errors=errors, newline="\n")
        try:
            yield stream
            stream.flush()
        finally:
            stream.detach()


@contextmanager
def writing_array(file: str | Path) -> Iterator[Callable[[str], None]]:
    """The same for a JSON array: yields the function that adds an element, which gets a line. Raises OSError."""
    with writing_text(file) as stream:
        before = "[\n"

        def add(element: str) -> None:
            nonlocal before
            stream.write(before + element)
            before = ",\n"

        yield add
        stream.write("[]\n" if before == "[\n" else "\n]\n")
