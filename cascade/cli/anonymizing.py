"""What ``cascade anonymize`` does with each file: find the faces, or read them from a review, and write a copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.anonymize.finding import DOUBTFUL_SCORE, FaceFinder
from cascade.anonymize.methods import hide
from cascade.anonymize.people import HIDE, People
from cascade.anonymize.photo_files import colour_profile, encoded, written_name
from cascade.anonymize.review import Decision, Review, ReviewedPhoto, ReviewedVideo, ReviewError, hash_of
from cascade.anonymize.settings import Hiding
from cascade.anonymize.sheet import Picture, picture_of
from cascade.cli.batch import Tally
from cascade.cli.outputs import replacing
from cascade.cli.photos import numbered
from cascade.faces import Faces
from cascade.imaging.formats import is_photo, is_video
from cascade.imaging.pixels import RGBImage
from cascade.imaging.reading import read_image
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.video import VideoFrame

LOW_SCORE = Decision("doubtful", "low score")

Frames = Callable[[Iterator["VideoFrame"]], Iterator["VideoFrame"]]


class FileProblem(OSError):
    """A copy is not written, since it would replace a file."""


def is_wanted(name: str) -> bool:
    """Whether a file's suffix is that of a photo or video."""
    return is_photo(name) or is_video(name)


def file_number(path: str | Path) -> tuple[int, int] | None:
    """What is the same for all names of a file, None where there is no file."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


class Target:
    """The folder of the copies. No file is replaced that was there before, unless ``overwrite``; no original ever.

    ``originals`` are all photos and videos of the run, by any of their names.
    """

    def __init__(self, out: Path, originals: Iterable[str], *, sound: bool = True, overwrite: bool = False) -> None:
        self._out = out
        self._originals = {file for file in map(file_number, originals) if file is not None}
        self._sound = sound
        self._overwrite = overwrite
        self._taken: set[Path] = set()

    def write_photo(self, source: str, name: str, image: RGBImage) -> None:
        """Write the copy of a photo, whose name in the review is ``name``. Raises OSError."""
        path = self._place(written_name(name))
        data = encoded(image, path.name, colour_profile(source))
        with replacing(path, "wb") as stream:
            stream.write(data)

    def write_video(self, source: str, video: ReviewedVideo, hiding: Hiding, progress: Frames) -> None:
        """Write the copy of a video. Raises OSError or `cascade.video.VideoError`."""
        from cascade.anonymize.videos import render_video
        from cascade.video.writing import SUFFIXES

        name = Path(video.path)
        name = name if name.suffix.lower() in SUFFIXES else name.with_suffix(".mp4")
        path = self._place(str(name))
        render_video(source, path, video, hiding, sound=self._sound, overwrite=self._overwrite, progress=progress)

    def _place(self, name: str) -> Path:
        """The path of a copy, with a number where another copy of this run has the name."""
        wanted = self._out / name
        wanted.parent.mkdir(parents=True, exist_ok=True)
        stems = (wanted.with_name(stem + wanted.suffix) for stem in numbered(wanted.stem))
        path = next(each for each in stems if each not in self._taken)
        self._taken.add(path)
        if path.is_symlink() or file_number(path) in self._originals:
            raise FileProblem(f"{path} is an original or a link; originals are never replaced")
        if path.exists() and not self._overwrite:
            raise FileProblem(f"{path} exists already; --overwrite replaces it")
        return path


class Finding:
    """Finds the faces of photos and videos, writes the copies, and gathers the review."""

    every: int = 1
    progress: bool = False

    def __init__(
        self,
        base: str,
        target: Target | None,
        changes: Mapping[str, Any],
        finder: FaceFinder,
        people: People | None,
        *,
        sheet: bool,
    ) -> None:
        self._base = base
        self._target = target
        self._hiding = Hiding(**changes)
        self._finder = finder
        self._people = people
        self._sheet = sheet
        self._photos: list[ReviewedPhoto] = []
        self._videos: list[ReviewedVideo] = []
        self.pictures: list[Picture] = []

    def review(self) -> Review:
        """What was found so far."""
        return Review(self._base, self._hiding, tuple(self._photos), tuple(self._videos))

    def find(self, source: str, tally: Tally) -> None:
        """Take one file. Raises what reading and writing it raise."""
        name = Path(os.path.relpath(os.path.abspath(source), self._base)).as_posix()
        if is_video(source):
            self._find_in_video(source, name, tally)
        else:
            self._find_in_photo(source, name, tally)

    def _find_in_photo(self, source: str, name: str, tally: Tally) -> None:
        image = read_image(source, alpha="white")
        faces = self._finder.find(image)
        decisions = self._decisions(image, faces)
        reviewed = ReviewedPhoto(name, hash_of(source), image.shape[1], image.shape[0], faces, decisions)
        with interrupts_wait():
            if self._target is not None:
                self._target.write_photo(source, name, hide(image, reviewed.hidden(), self._hiding))
            self._photos.append(reviewed)
            _count(tally, reviewed)
        if self._sheet:
            for face, decision in zip(faces, decisions, strict=True):
                self.pictures.append(picture_of(image, face.box, name, face.score, decision))

    def _decisions(self, image: RGBImage, faces: Faces) -> tuple[Decision, ...]:
        decided = self._people.decide(image, faces) if self._people else [HIDE] * len(faces)
        return tuple(
            LOW_SCORE if decision == HIDE and score < DOUBTFUL_SCORE else decision
            for decision, score in zip(decided, faces.scores, strict=True)
        )

    def _find_in_video(self, source: str, name: str, tally: Tally) -> None:
        from cascade.anonymize.videos import find_in_video

        progress = _progress("searching", self.progress)
        video, pictures = find_in_video(
            source, name, self._finder, self._people, every=self.every, pictures=self._sheet, progress=progress
        )
        self._videos.append(video)
        self.pictures += pictures
        if self._target is not None:
            self._target.write_video(source, video, self._hiding, _progress("writing", self.progress))
        _count(tally, video)


def files_of(review: Review) -> list[str]:
    """The photos of a review, and then its videos."""
    paths = [photo.path for photo in review.photos] + [video.path for video in review.videos]
    return [os.path.join(review.base, path) for path in paths]


class Rendering:
    """Writes the copies of the photos and videos of a review, with some settings changed."""

    def __init__(self, review: Review, target: Target, changes: Mapping[str, Any]) -> None:
        self._target = target
        self._hiding = replace(review.hiding, **changes)
        reviewed: tuple[ReviewedPhoto | ReviewedVideo, ...] = (*review.photos, *review.videos)
        self.files = files_of(review)
        self._reviewed = dict(zip(self.files, reviewed, strict=True))

    def render(self, source: str, tally: Tally) -> None:
        """Write the copy of one file. Raises `ReviewError` where the file is another one than was reviewed."""
        reviewed = self._reviewed[source]
        try:
            unchanged = hash_of(source) == reviewed.sha256
        except OSError as error:
            raise ReviewError(f"cannot be read: {error.strerror or error}") from error
        if not unchanged:
            raise ReviewError("the file has changed since it was reviewed; search it again")
        if isinstance(reviewed, ReviewedVideo):
            self._target.write_video(source, reviewed, self._hiding, _progress("writing", False))
            _count(tally, reviewed)
            return
        image = read_image(source, alpha="white")
        if image.shape[:2] != (reviewed.height, reviewed.width):
            raise ReviewError(f"expected {reviewed.width} × {reviewed.height} pixels, as the review says")
        with interrupts_wait():
            self._target.write_photo(source, reviewed.path, hide(image, reviewed.hidden(), self._hiding))
            _count(tally, reviewed)


def _count(tally: Tally, reviewed: ReviewedPhoto | ReviewedVideo) -> None:
    """Counts a file that has its copy, and its faces or tracks: those that are hidden and those that stay visible."""
    if isinstance(reviewed, ReviewedVideo):
        decisions = [track.decision for track in reviewed.tracks]
    else:
        decisions = list(reviewed.decisions)
    hidden = sum(decision.hidden for decision in decisions)
    tally.add(hidden, kept=len(decisions) - hidden, video=isinstance(reviewed, ReviewedVideo))


def _progress(label: str, wanted: bool) -> Frames:
    """A progress bar around the frames of a video, on a terminal."""

    def around(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        from tqdm import tqdm

        shown = wanted and sys.stderr.isatty()
        return iter(tqdm(frames, desc=label, unit="frame", disable=not shown, file=sys.stderr, leave=False))

    return around
