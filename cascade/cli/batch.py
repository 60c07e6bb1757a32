"""Processing photos one by one: a bad photo is reported and counted, and the others go on."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Thread
from typing import Generic, Literal, TypeVar

from cascade.cli.console import INTERRUPTED, SOME_FAILED, CommandError, OutputError, counted, say
from cascade.cli.photos import Found, find_photos
from cascade.imaging.formats import is_photo

Progress = Literal["bar", "lines", "none"]

Photo = TypeVar("Photo")

LINE_SECONDS = 30.0
"""Time between two lines of progress."""


@dataclass
class Tally:
    """The outcome of a run over photos."""

    photos: int
    """All photos of the run, and videos."""
    done: int = 0
    """Those with results; fewer if some were bad or the run was stopped."""
    faces: int = 0
    problems: int = 0
    stopped: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many pictures of kinds that are not read were beside the photos, by suffix."""
    counts_faces: bool = True
    """Whether the run finds faces."""
    videos: int = 0
    """How many of all are videos."""
    videos_done: int = 0
    kept: int = 0
    """Faces that a run that hides faces left visible; ``faces`` are those it hid."""

    def add(self, faces: int = 0, *, kept: int = 0, video: bool = False) -> None:
        """One more photo or video has its results."""
        self.done += 1
        self.videos_done += video
        self.faces += faces
        self.kept += kept

    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.stopped else SOME_FAILED if self.problems else 0

    def summary(self) -> str:
        """The outcome in words."""
        kinds = [("photo", self.done - self.videos_done, self.photos - self.videos)]
        kinds.append(("video", self.videos_done, self.videos))
        shown = [kind for kind in kinds if kind[2]] or kinds[:1]
        words = [("" if done == all_ else f"{done:,} of ") + counted(all_, name) for name, done, all_ in shown]
        words += self.found()
        if self.left_out:
            words.append(f"{sum(self.left_out.values()):,} left out ({', '.join(sorted(self.left_out))})")
        return ("stopped: " if self.stopped else "") + ", ".join(words)

    @property
    def thing(self) -> str:
        """What one of all is called."""
        return "photo" if not self.videos else "video" if self.videos == self.photos else "file"

    def found(self) -> list[str]:
        """The faces and problems so far in words."""
        faces = [counted(self.faces, "face")] * self.counts_faces
        if self.kept:
            faces = [f"{counted(self.faces, 'face')} hidden", f"{self.kept:,} kept"]
        return faces + [counted(self.problems, "problem")] * bool(self.problems)


def add_no_progress(to: argparse._ActionsContainer) -> None:
    """Adds ``--no-progress``, for `progress_of` and the summary at the end."""
    to.add_argument("--no-progress", action="store_true", help="print problems only: no progress bar, no summary")


def photos_of(
    paths: list[str],
    out: str | None = None,
    *,
    standard_input: bool = False,
    wanted: Callable[[str], bool] = is_photo,
) -> Found:
    """The photos of these paths; prints problems. Raises `CommandError` if there are none. See `find_photos`."""
    found = find_photos(paths, out, standard_input, wanted)
    for line in found.problems + found.notes:
        say(line)
    if not found.photos:
        raise CommandError(f"no photos found in {', '.join(path or repr(path) for path in paths)}")
    return found


def go_through(
    photos: list[str],
    work: Callable[[str, Tally], None],
    progress: Progress,
    problems: int = 0,
    left_out: Mapping[str, int] | None = None,
    *,
    counts_faces: bool = True,
    videos: int = 0,
) -> Tally:
    """Calls ``work`` with each photo and the tally. Bad photos are reported; Ctrl-C ends the run early.

    ``problems``, ``left_out``, ``counts_faces`` and ``videos`` are for the tally.
    """
    tally = Tally(len(photos), problems=problems, left_out=left_out or {}, counts_faces=counts_faces, videos=videos)
    started = printed = time.monotonic()
    try:
        from tqdm import tqdm

        bar = tqdm(photos, unit=tally.thing, disable=progress != "bar", file=sys.stderr, dynamic_ncols=True)
        for number, photo in enumerate(bar, start=1):
            try:
                work(photo, tally)
            except (BrokenPipeError, CommandError, OutputError):
                raise  # the results cannot be written any more
            except Exception as error:  # one photo must not end a run over thousands
                tally.problems += 1
                say(f"{photo}: {reason(photo, error)}")
            now = time.monotonic()
            if progress == "lines" and now - printed >= LINE_SECONDS and number < len(photos):
                printed = now
                say(progress_line(number, now - started, tally))
    except KeyboardInterrupt:
        tally.stopped = True
    return tally


class ReadAhead(Generic[Photo]):
    """Reads a photo while work on the one before goes on, by a thread of its own.

    Called with a photo, it returns what ``read`` returns for it, or raises what that raised. On one processor it reads
    nothing ahead. A photo that waits takes memory: there is never more than one.
    """

    def __init__(self, photos: list[str], read: Callable[[str], Photo]) -> None:
        self._read = read
        self._following = dict(pairwise(photos)) if (os.cpu_count() or 1) > 1 else {}
        self._begun: dict[str, _Reading[Photo]] = {}

    def __call__(self, photo: str) -> Photo:
        begun = self._begun.pop(photo, None)
        try:
            return self._read(photo) if begun is None else begun.result()
        finally:
            following = self._following.get(photo)
            if following is not None:
                with suppress(RuntimeError):  # where no thread can be started, it is read when its turn comes
                    self._begun = {following: _Reading(self._read, following)}


class _Reading(Thread, Generic[Photo]):
    """One photo being read. A daemon, so that a file that never ends cannot keep the program from ending."""

    def __init__(self, read: Callable[[str], Photo], photo: str) -> None:
        super().__init__(daemon=True)
        self._task = (read, photo)
        self._found: list[Photo] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        read, photo = self._task
        try:
            self._found.append(read(photo))
        except BaseException as error:  # raised again where the photo's turn comes
            self._error = error

    def result(self) -> Photo:
        """What was read; waits for it. Raises what reading raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._found.pop()


def progress_line(number: int, seconds: float, tally: Tally) -> str:
    """How far a run is after ``number`` photos and that many seconds."""
    left = (tally.photos - number) * seconds / number
    minutes = f"about {left / 60:,.0f} min left" if left >= 90 else f"about {left:.0f} s left"
    words = [f"{number:,} of {counted(tally.photos, tally.thing)}", *tally.found()]
    return f"{', '.join(words)}; {number / max(seconds, 1e-9):.3g} {tally.thing}s/s, {minutes}"


def progress_of(photos: int, to_terminal: bool, wanted: bool = True) -> Progress:
    """How to show progress: by a bar on a terminal, unless results go to the same terminal; by lines in a log."""
    if photos < 2 or not wanted:
        return "none"
    if not sys.stderr.isatty():
        return "lines"
    return "none" if to_terminal and sys.stdout.isatty() else "bar"


def reason(photo: str, error: Exception) -> str:
    """Why a photo failed, in the words of the command line and without its name, which is printed before."""
    from cascade.imaging.alignment import AlignError
    from cascade.imaging.errors import ImageError, quoted
    from cascade.quality import ROTATED_HINT, is_rotated
    from cascade.recognize import FaceCountError, FaceQualityError, FaceSizeError

    if isinstance(error, ImageError):
        return str(error).removeprefix("image: ").removesuffix(f" (file {quoted(photo)})")
    if isinstance(error, FaceCountError):
        hint = "; --largest takes the largest" if error.count else ""
        return f"expected one face, found {error.count}{hint}"
    if isinstance(error, FaceSizeError):
        return f"expected a face of at least {error.needed:.0f} pixels, got {error.size:.0f}; --allow-small takes it"
    if isinstance(error, FaceQualityError):
        hint = f"; {ROTATED_HINT}" if is_rotated(error.problems) else ""
        return f"the face is {' and '.join(error.problems)} (quality {error.quality:.2f}){hint}; --allow-poor takes it"
    if isinstance(error, AlignError):
        return f"a face cannot be aligned: {error}"
    if isinstance(error, OSError):
        return f"cannot write a picture: {error}"
    if isinstance(error, ValueError) and type(error).__module__.startswith("cascade."):  # of videos and reviews
        return str(error).removeprefix("source: ").removeprefix("path: ")
    return "not enough memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
