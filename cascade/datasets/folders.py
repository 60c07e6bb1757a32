"""Photos without labels: every image below a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cascade.imaging.formats import IMAGE_SUFFIXES, is_photo

from ._geometry import no_landmarks
from ._images import ImageFinder, ProblemLog
from .photo import Dataset, DatasetError, Photo

__all__ = ["read_folder"]


def read_folder(path: str | Path, *, fully_labelled: bool = False, strict: bool = False) -> Dataset:
    """Read every image file below a folder as a photo without faces, sorted by name.

    fully_labelled  True states that there is no face in any of them, so that all of it may serve as
                    background; False that nothing is known

    Names are paths below the folder, with forward slashes and suffix. Hidden files and folders are passed
    over. Empty files are reported together, as one problem.

    Raises DatasetError when the folder cannot be read or holds no image, or, if ``strict``, for an empty
    file.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    names = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        below = Path(folder).relative_to(root)
        names += [(below / name).as_posix() for name in files if _is_image(name)]
    if not names:
        raise DatasetError(f"{root}: no image files ({' '.join(IMAGE_SUFFIXES)})")
    finder = ImageFinder(root)
    photos: list[Photo] = []
    empty: list[str] = []
    for name in sorted(names):
        found = finder.exact(name)
        if found is None:
            empty.append(name)
        else:
            no_boxes, none_ignored = np.zeros((0, 4), np.float32), np.zeros(0, bool)
            photos.append(Photo(found, name, no_boxes, none_ignored, no_landmarks(0), fully_labelled))
    log = ProblemLog(strict)
    log.add_missing(root, empty, len(names), root)
    return Dataset(root.name, tuple(photos), tuple(log.problems))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and is_photo(name)
