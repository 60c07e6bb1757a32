"""Going through photos for a command: bad ones are reported and counted, and the others go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from cascade.cli.console import INTERRUPTED, SOME_FAILED, CommandError, counted, say
from cascade.cli.photos import Found, find_photos


@dataclass
class Tally:
    """What a run over photos did."""

    photos: int
    """How many there are."""
    done: int = 0
    """How many have their results; fewer if some were bad or the run was stopped."""
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
        """What was done, in words."""
        photos = ("" if self.done == self.photos else f"{self.done:,} of ") + counted(self.photos, "photo")
        words = [photos, counted(self.faces, "face")] + [counted(self.problems, "problem")] * bool(self.problems)
        return ("stopped: " if self.stopped else "") + ", ".join(words)


def photos_of(paths: list[str], out: str | None = None) -> Found:
    """The photos that the paths mean; says what was wrong with some. Raises `CommandError` if there are none."""
    found = find_photos(paths, out)
    for line in found.problems + found.notes:
        say(line)
    if not found.photos:
        raise CommandError(f"no photos found in {', '.join(path or repr(path) for path in paths)}")
    return found


def go_through(photos: list[str], work: Callable[[str, Tally], None], bar: bool, problems: int = 0) -> Tally:
    """Does the work on each photo, which adds to the tally; bad ones are reported, Ctrl-C ends it early."""
    from tqdm import tqdm

    tally = Tally(len(photos), problems=problems)
    try:
        for photo in tqdm(photos, unit="photo", disable=not bar, file=sys.stderr, dynamic_ncols=True):
            try:
                work(photo, tally)
            except (BrokenPipeError, CommandError):
                raise  # nobody takes the results any more
            except Exception as error:  # one photo must not end a run over thousands
                tally.problems += 1
                tqdm.write(f"{photo}: {reason(photo, error)}", file=sys.stderr)
    except KeyboardInterrupt:
        tally.stopped = True
    return tally


def wants_bar(photos: int, to_terminal: bool) -> bool:
    """A bar is for terminals, and results on the same terminal would tear it apart."""
    return photos > 1 and sys.stderr.isatty() and not (to_terminal and sys.stdout.isatty())


def reason(photo: str, error: Exception) -> str:
    """Why a photo failed, in the words of the command line and without its name, which stands before it."""
    from cascade.imaging.alignment import AlignError
    from cascade.imaging.reading import ImageError
    from cascade.recognize import FaceCountError

    if isinstance(error, ImageError):
        return str(error).removeprefix("image: ").removesuffix(f" (file {photo!r})")
    if isinstance(error, FaceCountError):
        hint = "; --largest takes the largest" if error.count else ""
        return f"expected one face, found {error.count}{hint}"
    if isinstance(error, AlignError):
        return f"a face cannot be turned upright: {error}"
    if isinstance(error, OSError):
        return f"cannot write a picture: {error}"
    return "not enough memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
