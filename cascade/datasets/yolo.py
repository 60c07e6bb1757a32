"""YOLO's text files: one for each photo, with a line for each face; for YOLO-pose with five keypoints."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cascade.faces import LANDMARK_NAMES, MIRRORED_LANDMARKS
from cascade.imaging.reading import ImageError, read_size

from ._images import ImageFinder, ProblemLog
from ._listing import (
    FACE,
    SCORE,
    Add,
    LabelledFace,
    Listed,
    as_dataset,
    faces_of,
    relative_name,
    size_of,
    unique_stems,
)
from ._text import LineError, parse_rows, read_lines
from .photo import Dataset, DatasetError, Photo

__all__ = ["open_yolo", "read_yolo"]

Bring = Literal["link", "copy", "none"]

WIDTHS = (5, 6, 15, 16, 20, 21)
"""Numbers of a line: class and box; five points of two or three numbers; each with or without a score at the end."""


def read_yolo(labels: str | Path, images: str | Path | None = None, *, strict: bool = False) -> Dataset:
    """Read the text files below a folder, each with the faces of one photo.

    labels          the folder of the text files, or the folder that holds ``labels`` and ``images``
    images          the folder of the photos, in the same subfolders; by default ``images`` beside ``labels``

    A line is the class, and the box's middle, width and height in parts of the photo; then come five points in the
    order left eye, right eye, nose, left and right mouth corner, as x, y or x, y, visibility, and in predictions a
    score. Boxes become pixels of the upright photo, x1, y1, x2, y2, by the size of the photo, which has to be there.
    Every class is a face; classes other than 0 are the attribute "category_id". A point of visibility 0, or at 0, 0, is
    NaN. Photos without a text file count as photos without a face only where the file is there and empty; others are
    left out. All count as fully labelled. A photo with a broken line is left out.

    Raises DatasetError when there is no text file, or, if ``strict``, for the first problem.
    """
    log = ProblemLog(strict)
    folder, root = yolo_folders(Path(labels), None if images is None else Path(images))
    return as_dataset(folder, root, yolo_entries(folder, root, log), log)


def yolo_folders(labels: Path, images: Path | None) -> tuple[Path, Path]:
    """The folders of the text files and of the photos.

    By default it is "images" in place of the last "labels" of the path, as training programs have it.
    """
    folder = labels / "labels" if (labels / "labels").is_dir() else labels
    if images is not None:
        return folder, images
    parts = list(folder.absolute().parts)
    if "labels" in parts:
        parts[len(parts) - 1 - parts[::-1].index("labels")] = "images"
    return folder, Path(*parts)


def yolo_entries(folder: Path, images: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the photos of a folder of labels, by name. Raises DatasetError where there is no text file."""
    files = sorted(folder.rglob("*.txt"))
    if not files:
        raise DatasetError(f"{folder}: no text files below this folder")
    finder = ImageFinder(images)
    for file in files:
        stem = file.relative_to(folder).with_suffix("").as_posix()
        path = finder.by_stem(stem)
        if path is None:
            yield Listed(stem, [])  # the photo is missing
            continue
        try:
            lines = [line for line in read_lines(file) if line.strip()]
            size = read_size(path).upright
            rows = parse_rows(lines, 1, WIDTHS)
            yield Listed(f"{stem}{path.suffix}", [_face(row, size) for row in rows.tolist()], size)
        except (DatasetError, ImageError, LineError) as error:
            line = error.line if isinstance(error, LineError) else None
            log.add(file, line, str(error).removeprefix(f"{file}: "))


def _face(row: list[float], size: tuple[int, int]) -> LabelledFace:
    width, height = size
    kind, x, y, w, h, *rest = row
    scored = len(row) in (6, 16, 21)
    labels: dict[str, Any] = {} if kind == 0 else {"category_id": int(kind)}
    if scored:
        labels[SCORE] = rest.pop()
    points = None
    if rest:
        step = len(rest) // 5
        triples = [(*rest[at : at + step], 1.0)[:3] for at in range(0, len(rest), step)]
        points = [
            [math.nan, math.nan] if seen <= 0 or (px == 0 and py == 0) else [px * width, py * height]
            for px, py, seen in triples
        ]
    w, h = abs(w), abs(h)
    box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
    return LabelledFace(box, points, False, labels)


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_yolo(folder: str | Path, *, pose: bool = False, bring: Bring = "link", part: str = "train") -> Iterator[Add]:
    """Write a data set for training with YOLO: yields the function that adds a photo.

    pose    five keypoints beside each box, as x, y and 2 (visible) or 0 (unknown, or outside of the photo)
    bring   "link" puts symbolic links to the photos beside the labels, or copies where links cannot be made; "copy"
            copies them; "none" leaves them where they are
    part    the part of the data set: "train", "val" …

    The folder gets data.yaml, labels/PART/NAME.txt and images/PART/NAME.jpg. Boxes are cut at the photo's edges, since
    training programs refuse others; faces wholly outside, without area or ``ignored`` are left out, as YOLO has no
    place for them. Numbers have six decimals. Files of these names are replaced.

    Raises OSError, and ValueError for a photo that is not there, whose name leads out of a folder, or that has the name
    of one before but for the suffix.
    """
    root = Path(folder)
    (root / "labels" / part).mkdir(parents=True, exist_ok=True)
    _describe(root, pose, part)
    stem_of = unique_stems()

    def add(photo: Photo) -> None:
        name = relative_name(photo)
        stem = stem_of(photo)
        text = "".join(_line(face, size_of(photo), pose) for face in faces_of(photo) if not face.ignored)
        if bring != "none":
            _bring(photo.path, root / "images" / part / name, link=bring == "link")
        file = root / "labels" / part / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    yield add


def _describe(root: Path, pose: bool, part: str) -> None:
    """Write data.yaml; of another part that is there already, the line stays."""
    file = root / "data.yaml"
    parts = {part}
    with suppress(OSError):
        parts |= {each.name for each in (root / "labels").iterdir() if each.is_dir()}
    lines = ["# faces, with the path of this folder", f"path: {json.dumps(str(root.absolute()))}"]
    lines += [f"{name}: images/{name}" for name in sorted(parts | {"train", "val"}) if name in parts]
    if "val" not in parts:
        lines.append(f"val: images/{part}  # programs ask for one: put photos of its own here")
    lines += ["names:", f"  0: {FACE}"]
    if pose:
        lines += ["kpt_shape: [5, 3]", f"flip_idx: {list(MIRRORED_LANDMARKS)}  # {', '.join(LANDMARK_NAMES)}"]
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _line(face: LabelledFace, size: tuple[int, int], pose: bool) -> str:
    """The line of a face; empty for one that is not in the photo."""
    scale = np.array([*size, *size], np.float64)
    x1, y1, x2, y2 = np.clip(np.array(face.box, np.float64) / scale, 0.0, 1.0).tolist()
    if x2 <= x1 or y2 <= y1:
        return ""
    numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    words = ["0", *(f"{value:.6f}" for value in numbers)]
    if pose:
        for x, y in face.landmarks or [[math.nan, math.nan]] * 5:
            across, down = x / size[0], y / size[1]
            inside = 0 <= across <= 1 and 0 <= down <= 1  # False for NaN
            words += [f"{across:.6f}", f"{down:.6f}", "2"] if inside else ["0", "0", "0"]
    return " ".join(words) + "\n"


def _bring(photo: Path, place: Path, link: bool) -> None:
    """Put a photo at a place, in place of what was put there before. Raises OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not photo.is_file():
        raise ValueError(f"{photo}: there is no such photo")
    # Written into the data set that was read, both are one entry: a link would be made again to itself.
    is_entry = os.path.lexists(place) and os.path.samestat(place.lstat(), photo.lstat())
    if is_entry or (place.exists() and place.samefile(photo) and not place.is_symlink()):
        return
    place.unlink(missing_ok=True)
    if link:
        try:
            place.symlink_to(os.path.abspath(photo))
            return
        except (OSError, NotImplementedError):  # Windows without the right to make links, some file systems
            pass
    shutil.copyfile(photo, place)
