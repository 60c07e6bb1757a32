"""CelebA's 40 attributes."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ._images import ImageFinder, ProblemLog
from ._text import count_of, decode, read_lines, split_lines
from .labelled import GENDERS, LabelledPhoto, LabelledPhotos
from .photo import DatasetError

__all__ = ["read_celeba_attributes"]


def read_celeba_attributes(file: str | Path, images: str | Path, *, strict: bool = False) -> LabelledPhotos:
    """Read ``list_attr_celeba.txt``, also inside a zip archive, for the photos that are in the folder ``images``.

    Labels are "yes" or "no" for each attribute, by its name in lower case ("eyeglasses"), and besides smile, which is
    CelebA's Smiling, and gender. Names are the file names in the list. Listed photos that are not on disk are passed
    over: part of CelebA is often all there is.

    Raises DatasetError when the list cannot be read or has no photo that is there, or, if ``strict``, for the first
    wrong line.
    """
    file, finder, log = Path(file), ImageFinder(Path(images)), ProblemLog(strict)
    lines = _archived_lines(file) if file.suffix == ".zip" else read_lines(file)
    first = 1 if lines and count_of(lines[0]) is not None else 0
    attributes = [decode(name, first + 1).lower() for name in lines[first].split()] if len(lines) > first else []
    if not {"smiling", "male"} <= set(attributes):
        raise DatasetError(f"{file}, line {first + 1}: expected the names of CelebA's attributes")
    photos: dict[str, LabelledPhoto] = {}
    for number, line in enumerate(lines[first + 1 :], first + 2):
        name, *values = (decode(text, number) for text in line.split()) if line.strip() else ("",)
        path = finder.exact(name) if name else None
        if path is None:
            continue
        if len(values) != len(attributes) or not set(values) <= {"1", "-1"}:
            log.add(file, number, f"{name}: expected {len(attributes)} numbers of 1 or -1")
            continue
        labels = {n: "yes" if value == "1" else "no" for n, value in zip(attributes, values, strict=True)}
        gender = GENDERS[0 if labels["male"] == "yes" else 1]
        photos[name] = LabelledPhoto(path, name, {**labels, "smile": labels["smiling"], "gender": gender})
    if not photos:
        raise DatasetError(f"{file}: lists none of the photos in {images}")
    return LabelledPhotos("celeba", tuple(photos.values()), tuple(log.problems))


def _archived_lines(file: Path) -> list[bytes]:
    """The lines of the list in a zip archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("list_attr_celeba.txt")]
            return split_lines(archive.read(name), f"{file}:{name}")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{file}: expected a zip archive with one list_attr_celeba.txt ({error})") from error
