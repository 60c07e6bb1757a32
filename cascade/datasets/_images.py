"""Finding image files cheaply, and noting what is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cascade.imaging.formats import IMAGE_SUFFIXES

from .photo import DatasetError, Problem

_NAMES_SHOWN = 5


def without_suffix(name: str) -> str:
    """Remove one image suffix from a name: "a.jpg" → "a", "a.jpg.jpg" → "a.jpg", "photo.g" stays as it is."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


class ImageFinder:
    """Finds photos below a folder. Each folder is listed once, so thousands of absent photos cost nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, tuple[frozenset[str], dict[str, str]]] = {}

    def by_stem(self, name: str) -> Path | None:
        """Return the file "folder/stem" with any image suffix, else without one, else None."""
        folder, _, stem = name.rpartition("/")
        files, stems = self._listing(folder)
        file = stems.get(stem, stem if stem in files else None)
        return None if file is None else self._filled(folder, file)

    def exact(self, name: str) -> Path | None:
        """Return the file "folder/name", or None."""
        folder, _, file = name.rpartition("/")
        return self._filled(folder, file) if file in self._listing(folder)[0] else None

    def _filled(self, folder: str, file: str) -> Path | None:
        path = self.root / folder / file
        try:
            # Broken downloads leave empty files. Sizes are cheap; decoding every photo would take minutes.
            return path if path.stat().st_size else None
        except OSError:
            return None

    def _listing(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
        if folder not in self._folders:
            try:
                files = frozenset(os.listdir(self.root / folder))
            except (OSError, ValueError):  # no such folder, or a name that no file can have
                files = frozenset()
            stems: dict[str, str] = {}
            for file in sorted(files, key=_preference, reverse=True):
                stem = without_suffix(file)
                if stem != file:
                    stems[stem] = file
            self._folders[folder] = files, stems
        return self._folders[folder]


def _preference(file: str) -> tuple[int, str]:
    suffix = os.path.splitext(file)[1].lower()
    return (IMAGE_SUFFIXES.index(suffix) if suffix in IMAGE_SUFFIXES else len(IMAGE_SUFFIXES)), file


class ProblemLog:
    """Collects problems; with ``strict`` the first one is raised as DatasetError."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.problems: list[Problem] = []

    def add(self, file: Path, line: int | None, message: str) -> None:
        """Note one problem."""
        problem = Problem(file, line, message)
        if self.strict:
            raise DatasetError(str(problem))
        self.problems.append(problem)

    def add_missing(self, file: Path, missing: Sequence[str], total: int, where: Path) -> None:
        """Note all photos of one annotation file or folder that have no image, in a single problem."""
        if missing:
            what = "1 photo is" if len(missing) == 1 else f"{len(missing)} photos are"
            of = f"{what} missing or empty (of {total}) below {where}"
            self.add(file, None, f"{of}: {listed(missing)}")


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
