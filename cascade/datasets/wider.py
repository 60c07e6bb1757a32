"""WIDER FACE: annotations, the easy, medium and hard lists, and the standard prediction files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._geometry import no_landmarks
from ._images import ImageFinder, ProblemLog, listed, without_suffix
from ._text import LineError, decode, read_lines
from ._wider_entries import Entry, read_mat, read_subset, read_text
from .photo import Dataset, DatasetError, Photo
from .wider_predictions import read_wider_predictions, write_wider_predictions

__all__ = [
    "WiderSubsets",
    "read_photo_list",
    "read_wider",
    "read_wider_predictions",
    "read_wider_subsets",
    "write_wider_predictions",
]


def read_wider(
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    photos: str | Iterable[str] | None = None,
    without: Iterable[str] = (),
    require_images: bool = True,
    strict: bool = False,
) -> Dataset:
    """Read a WIDER FACE annotation: wider_face_train.mat or wider_face_train_bbx_gt.txt.

    images          the folder of the event folders; by default WIDER_train/images (WIDER_val, …) beside the
                    folder of the annotation or beside the annotation itself
    photos          "all" (the same as None); "present", those on disk, saying nothing of the others; or the
                    names to keep, each "event/stem" or the stem alone, with or without an image suffix
    without         names to leave out, written likewise
    require_images  False: keep photos that are not on disk, with the path they would have

    Names are "event/stem". A photo is found by its stem with any of .jpg .jpeg .png .webp. Boxes are pixels,
    x1, y1, x2, y2. Every face of the annotation keeps its place, since the official lists count them: faces
    marked invalid or without width or height are ``ignored``. Attributes are blur, expression, illumination,
    invalid, occlusion and pose, as in the file. A photo with a broken entry is left out, or its other
    faces would pass for background. Missing photos are reported once for each event.

    Raises DatasetError when the annotation cannot be read, no image folder is found, or, if ``strict``, for
    the first problem; ValueError for another word as
    ``photos``.
    """
    annotations = Path(annotations)
    if isinstance(photos, str) and photos not in ("all", "present"):
        raise ValueError(f'photos must be "all", "present" or a list of names, got {photos!r}')
    present = photos == "present"
    log = ProblemLog(strict)
    root = _image_root(annotations, images, needed=require_images or present)
    entries = _read_entries(annotations, log)
    if photos is not None and not isinstance(photos, str):
        wanted = _matching(entries, photos, annotations, log)
        entries = [entry for entry in entries if entry.name in wanted]
    unwanted = _matching(entries, without, None, log)
    entries = [entry for entry in entries if entry.name not in unwanted]
    report = None if present else annotations
    found = _with_images(entries, ImageFinder(root), require_images or present, report, log)
    return Dataset(annotations.stem, tuple(found), tuple(log.problems))


def read_photo_list(file: str | Path) -> tuple[str, ...]:
    """Return the names in a text file with one photo a line, blank lines passed over, nothing else changed.

    The result fits the parameters ``photos`` and ``without`` of ``read_wider``. Raises DatasetError.
    """
    file = Path(file)
    try:
        return tuple(decode(text, at) for at, text in enumerate(read_lines(file), 1) if text.strip())
    except LineError as error:
        raise DatasetError(f"{file}:{error.line}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class WiderSubsets:
    """The official lists of the faces that count.

    events  the event folders in official order
    photos  the names "event/stem" of all photos in official order
    easy, medium, hard  for every photo the indices, from 0, of the faces that count; the others are ignored
    """

    events: tuple[str, ...]
    photos: tuple[str, ...]
    easy: Mapping[str, NDArray[np.int64]]
    medium: Mapping[str, NDArray[np.int64]]
    hard: Mapping[str, NDArray[np.int64]]


def read_wider_subsets(ground_truth: str | Path) -> WiderSubsets:
    """Read wider_easy_val.mat, wider_medium_val.mat and wider_hard_val.mat of one folder.

    Raises DatasetError, naming the file, when one is missing or damaged, names a face that its photo has not,
    or lists other photos than the first.
    """
    folder = Path(ground_truth)
    events, easy = read_subset(folder / "wider_easy_val.mat")
    lists = [easy]
    for level in ("medium", "hard"):
        file = folder / f"wider_{level}_val.mat"
        other_events, other = read_subset(file)
        if other_events != events or list(other) != list(easy):
            raise DatasetError(f"{file}: other photos, or another order, than in wider_easy_val.mat")
        lists.append(other)
    return WiderSubsets(events, tuple(easy), *lists)


def _read_entries(annotations: Path, log: ProblemLog) -> list[Entry]:
    read = read_mat if annotations.suffix.lower() == ".mat" else read_text
    unique: dict[str, Entry] = {}
    for entry in read(annotations, log):
        if entry.name in unique:
            log.add(annotations, entry.line, f"{entry.name}: listed twice, the first entry is kept")
        else:
            unique[entry.name] = entry
    return list(unique.values())


def _image_root(annotations: Path, images: str | Path | None, needed: bool) -> Path:
    if images is not None:
        root = Path(images)
        root = root / "images" if (root / "images").is_dir() else root
    else:
        words = annotations.stem.split("_")
        split = next((split for split in ("train", "val", "test") if split in words), "train")
        bases = (annotations.parent.parent, annotations.parent)
        places = [base / f"WIDER_{split}" / "images" for base in bases]
        root = next((place for place in places if place.is_dir()), places[0])
    if needed and not root.is_dir():
        raise DatasetError(f"{root}: no such image folder, for {annotations}")
    return root


def _matching(entries: list[Entry], names: Iterable[str], report: Path | None, log: ProblemLog) -> set[str]:
    """Return the entries' names that ``names`` mean; those that mean none are one problem in ``report``."""
    known = {entry.name for entry in entries}
    by_stem: dict[str, list[str]] = {}
    for name in known:
        by_stem.setdefault(name.rpartition("/")[2], []).append(name)
    matched: set[str] = set()
    unknown: list[str] = []
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        # As written first: a stem may itself end in ".jpg".
        for form in (name, without_suffix(name)):
            hits = [form] if form in known else by_stem.get(form, [])
            if hits:
                matched.update(hits)
                break
        else:
            unknown.append(name)
    if unknown and report is not None:
        count = f"{len(unknown)} of {len(wanted)} photos asked for"
        log.add(report, None, f"{count} are not listed: {listed(unknown)}")
    return matched


def _with_images(
    entries: list[Entry], finder: ImageFinder, require_images: bool, report: Path | None, log: ProblemLog
) -> list[Photo]:
    """Make a Photo of each entry with an image; the others of an event are one problem in ``report``."""
    photos: list[Photo] = []
    for event, group in groupby(entries, key=lambda entry: entry.name.rpartition("/")[0]):
        members = list(group)
        missing: list[str] = []
        for entry in members:
            path = finder.by_stem(entry.name)
            if path is None:
                missing.append(entry.name)
                if require_images:
                    continue
                path = finder.root / f"{entry.name}.jpg"
            landmarks = no_landmarks(len(entry.boxes))
            photos.append(Photo(path, entry.name, entry.boxes, entry.ignored, landmarks, True, entry.attributes))
        if require_images and report is not None:
            log.add_missing(report, missing, len(members), finder.root / event)
    return photos
