"""Processing photos one by one: a bad photo is reported and counted, and the others go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from cascade.cli.console import INTERRUPTED, SOME_FAILED, CommandError, counted, say
from cascade.cli.photos import Found, find_photos


@dataclass
class Tally:
    """The outcome of a run over photos."""

    photos: int
    """All photos of the run."""
    done: int = 0
    """Photos with results; fewer if some were bad or the run was stopped."""
    faces: int = 0
    problems: int = 0
    stopped: bool = False

    def add(self, faces: int) -> None:
        """One more photo has its results."""
        self.done += 1
        self.faces += faces

    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.stopped else SOME_FAILED if self.problems else 0

    def summary(self) -> str:
        """The outcome in words."""
        photos = ("" if self.done == self.photos else f"{self.done:,} of ") + counted(self.photos, "photo")
        words = [photos, counted(self.faces, "face")] + [counted(self.problems, "problem")] * bool(self.problems)
        return ("stopped: " if self.stopped else "") + ", ".join(words)


def photos_of(paths: list[str], out: str | None = None) -> Found:
    """The photos of these paths; prints problems. Raises `CommandError` if there are none."""
    found = find_photos(paths, out)
    for line in found.problems + found.notes:
        say(line)
    if not found.photos:
        raise CommandError(f"no photos found in {', '.join(path or repr(path) for path in paths)}")
    return found


def go_through(photos: list[str], work: Callable[[str, Tally], None], bar: bool, problems: int = 0) -> Tally:
    """Calls ``work`` with each photo and the tally. Bad photos are reported; Ctrl-C ends the run early."""
    from tqdm import tqdm

    tally = Tally(len(photos), problems=problems)
    try:
        for photo in tqdm(photos, unit="photo", disable=not bar, file=sys.stderr, dynamic_ncols=True):
            try:
                work(photo, tally)
            except (BrokenPipeError, CommandError):
                raise  # the results cannot be written any more
            except Exception as error:  # one photo must not end a run over thousands
                tally.problems += 1
                tqdm.write(f"{photo}: {reason(photo, error)}", file=sys.stderr)
    except KeyboardInterrupt:
        tally.stopped = True
    return tally


def wants_bar(photos: int, to_terminal: bool) -> bool:
    """Whether to show a progress bar: on a terminal, unless results go to the same terminal."""
    return photos > 1 and sys.stderr.isatty() and not (to_terminal and sys.stdout.isatty())


def reason(photo: str, error: Exception) -> str:
    """Why a photo failed, in the words of the command line and without its name, which is printed before."""
    from cascade.imaging.alignment import AlignError
    from cascade.imaging.errors import ImageError, quoted
    from cascade.recognize import FaceCountError

    if isinstance(error, ImageError):
        return str(error).removeprefix("image: ").removesuffix(f" (file {quoted(photo)})")
    if isinstance(error, FaceCountError):
        hint = "; --largest takes the largest" if error.count else ""
        return f"expected one face, found {error.count}{hint}"
    if isinstance(error, AlignError):
        return f"a face cannot be aligned: {error}"
    if isinstance(error, OSError):
        return f"cannot write a picture: {error}"
    return "not enough memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
