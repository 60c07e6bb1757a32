"""GENKI-4K: web photos of faces that smile or do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ._images import ImageFinder, ProblemLog
from ._text import LineError, parse_rows, read_lines
from .labelled import LabelledPhoto, LabelledPhotos
from .photo import DatasetError

__all__ = ["GENKI4K_FOLDS", "read_genki4k"]

GENKI4K_FOLDS = 4


def read_genki4k(root: str | Path, *, strict: bool = False) -> LabelledPhotos:
    """Read GENKI-4K: ``labels.txt`` in ``root``, whose line n is about the n-th photo in ``root/files``.

    Labels are smile ("yes", "no"), yaw, pitch and roll in degrees, and fold, "1" to "4": photos in file order, shuffled
    with seed 0 and cut in four.

    Raises DatasetError when the labels cannot be read or no photo is there, or, if ``strict``, for the first problem.
    """
    root = Path(root)
    file = root / "labels.txt"
    lines = [line for line in read_lines(file) if line.strip()]
    folds = np.empty(len(lines), np.int64)
    folds[np.random.default_rng(0).permutation(len(lines))] = np.arange(len(lines)) * GENKI4K_FOLDS // len(lines) + 1
    log, finder = ProblemLog(strict), ImageFinder(root / "files")
    photos: list[LabelledPhoto] = []
    missing: list[str] = []
    for number, line in enumerate(lines, 1):
        name = f"file{number:04d}"
        path = finder.by_stem(name)
        if path is None:
            missing.append(name)
            continue
        try:
            smile, *angles = parse_rows([line], number, (4,))[0].tolist()
        except LineError as error:
            log.add(file, error.line, str(error))
            continue
        pose = {n: f"{np.degrees(angle):.1f}" for n, angle in zip(("yaw", "pitch", "roll"), angles, strict=True)}
        labels = {"smile": "yes" if smile == 1 else "no", "fold": str(folds[number - 1]), **pose}
        photos.append(LabelledPhoto(path, path.name, labels))
    log.add_missing(file, missing, len(lines), root / "files")
    if not photos:
        raise DatasetError(f"{root}: no photos of GENKI-4K in its folder files")
    return LabelledPhotos("genki4k", tuple(photos), tuple(log.problems))
