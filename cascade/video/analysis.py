"""Who is in a video, when, and how they look.

>>> from cascade.video import analyze
>>> for seen in analyze("clip.mp4"):  # doctest: +SKIP
...     print(seen.time, seen.faces.data["track"])
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade.attributes import AttributeEstimator
from cascade.boxes import iou
from cascade.checks import FixedSettings, instance, integer, number
from cascade.detect import Detector
from cascade.faces import Face, Faces
from cascade.gallery import Gallery
from cascade.imaging.pixels import RGBImage
from cascade.imaging.pyramid import resize
from cascade.operating_point import face_sizes
from cascade.recognize import Recognizer
from cascade.tracking import AttributeVotes, IdentityVotes, Track, Tracker, quality
from cascade.video.following import CutFinder, find_again
from cascade.video.frames import VideoFrame
from cascade.video.reading import VideoSource, read_video

__all__ = ["SeenFrame", "TrackSummary", "VideoAnalyzer", "analyze"]

FloatArray = npt.NDArray[np.float32]

DEFAULT_EVERY = 3
MOST_EVERY = 10  # frames from one detection to the next where they are chosen by time
BEST_MARGIN = 0.4  # of the picture around a best shot, over the sides of the box
BEST_SIDE = 320  # pixels of its longer side at most, so that many people fit in memory
CROWDED_OVERLAP = 0.05
SMOOTHING = 0.1  # share of a new measurement in mean times


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame, and the faces in it."""

    time: float
    """Seconds, see `VideoFrame`."""
    index: int
    image: RGBImage
    faces: Faces
    """With the arrays "track" (numbers of people from 1 on), and where asked for "name" (empty for unknown), "age" …"""
    detected: bool
    """Whether the whole frame was searched; otherwise only the faces of before were looked for."""
    cut: bool
    """Whether another shot begins here."""


@dataclass(frozen=True, eq=False)
class TrackSummary:
    """One person of a video."""

    track: int
    name: str | None
    """Of the gallery; None for unknown, or without a gallery."""
    similarity: float | None
    """Of the most similar face to that person of the gallery."""
    first: float
    last: float
    """Seconds of the first and the last frame with a face of the person."""
    frames: int
    attributes: dict[str, float | str]
    """By task, as `AttributeVotes.result`; empty where not asked for or not known."""
    best: RGBImage
    """(h, w, 3) uint8 RGB, the person's best face with what is around it."""
    best_time: float
    embedding: FloatArray | None
    """(D,) of the best face; None where none was good enough."""

    def to_dict(self) -> dict[str, Any]:
        """The summary in plain Python numbers, without picture and embedding."""
        names = ("track", "name", "similarity", "first", "last", "frames", "best_time")
        return {**{name: getattr(self, name) for name in names}, "attributes": dict(self.attributes)}


@dataclass
class _Person:
    """What is known of the person of a track."""

    first: float
    identity: IdentityVotes | None
    last: float = 0.0
    frames: int = 0
    looks: AttributeVotes = field(default_factory=AttributeVotes)
    best: RGBImage | None = None
    best_quality: float = -1.0
    best_time: float = 0.0
    embedding: FloatArray | None = None


class VideoAnalyzer(FixedSettings):
    """Follows the people of one video, frame by frame, and says who they are and how they look.

    Parameters
    ----------
    detector : finds the faces. None: a `Detector` with its default settings.
    recognizer : tells people apart. None: a `Recognizer` with its default settings; False: none, so that people are
        followed by their places alone.
    gallery : people to recognise.
    attributes : an `AttributeEstimator`, or True for one with its default settings.
    threshold : similarity from which a face is that of a person of the gallery, and two faces of the video are of one
        person. None: that of the Recognizer's operating point.
    every : frames from one search of a whole frame to the next; between, known faces are looked for where they should
        be. "auto": as few as ``budget`` allows.
    budget : seconds for a frame, for "auto".
    tracker : None: a `Tracker` with its default settings.

    It belongs to one video and one thread. Raises ValueError or TypeError naming a wrong setting.
    """

    def __init__(
        self,
        *,
        detector: Detector | None = None,
        recognizer: Recognizer | Literal[False] | None = None,
        gallery: Gallery | None = None,
        attributes: AttributeEstimator | bool = False,
        threshold: float | None = None,
        every: int | Literal["auto"] = DEFAULT_EVERY,
        budget: float = 1 / 30,
        tracker: Tracker | None = None,
    ) -> None:
        instance("detector", detector, Detector)
        instance("recognizer", None if recognizer is False else recognizer, Recognizer)
        instance("gallery", gallery, Gallery)
        instance("attributes", None if isinstance(attributes, bool) else attributes, AttributeEstimator)
        instance("tracker", tracker, Tracker)
        self.detector = detector or Detector()
        self.recognizer = None if recognizer is False else recognizer or Recognizer(detector=self.detector)
        if gallery is not None and self.recognizer is None:
            raise ValueError("gallery: expected a recognizer with it, got recognizer=False")
        if gallery is not None and self.recognizer is not None:
            gallery.check_model(self.recognizer)
        self.gallery = gallery
        self.attributes = AttributeEstimator(detector=self.detector) if attributes is True else attributes or None
        self.every = every if every == "auto" else integer("every", every, 1, 1000)
        self.budget = number("budget", budget, 1e-4, 60)
        self.threshold = self._checked_threshold(threshold)
        self.tracker = tracker or Tracker(same=self.threshold)
        self._people: dict[int, _Person] = {}
        self._cuts = CutFinder()
        self._before = 0.0  # seconds of the frame before
        self._since = 0  # frames since the last search of a whole frame
        self._costs = {"search": 0.0, "follow": 0.0}
        self._fix_settings()

    def _checked_threshold(self, threshold: float | None) -> float:
        if threshold is not None:
            return number("threshold", threshold, -1, 1)
        point = self.recognizer.operating_point if self.recognizer else None
        return point.threshold if point else 0.35

    def update(self, frame: VideoFrame) -> SeenFrame:
        """The faces of the next frame."""
        begun = clock.perf_counter()
        cut = self._cuts.add(frame.image)
        followed = None if cut or self._since == 0 or self._is_crowded(frame.time) else self._follow(frame)
        searched = followed is None
        faces, numbers = self._search(frame, cut) if followed is None else followed
        self._since = (1 if searched else self._since + 1) % self._interval()
        kind = "search" if searched else "follow"
        spent = clock.perf_counter() - begun
        self._costs[kind] += (SMOOTHING if self._costs[kind] else 1.0) * (spent - self._costs[kind])
        self._before = frame.time
        self._remember(numbers, frame.time)
        return SeenFrame(frame.time, frame.index, frame.image, self._described(faces, numbers), searched, cut)

    def summaries(self) -> list[TrackSummary]:
        """The people so far, in the order in which they appeared. Faces seen once and never well are left out."""
        found = []
        for track, person in self._people.items():
            if person.best is None or (person.frames < 2 and person.embedding is None and self.recognizer):
                continue
            match = person.identity.result if person.identity else None
            found.append(
                TrackSummary(
                    track=track,
                    name=match.name if match else None,
                    similarity=match.similarity if match else None,
                    first=person.first,
                    last=person.last,
                    frames=person.frames,
                    attributes=person.looks.result,
                    best=person.best,
                    best_time=person.best_time,
                    embedding=person.embedding,
                )
            )
        return sorted(found, key=lambda each: (each.first, each.track))

    # The parts

    def _is_crowded(self, time: float) -> bool:
        """Whether faces are so close together that one could be taken for the other."""
        boxes = self.tracker.predictions(time)[1]
        return bool((np.triu(iou(boxes, boxes), 1) > CROWDED_OVERLAP).any())

    def _interval(self) -> int:
        if self.every != "auto":
            return int(self.every)
        left = self.budget - self._costs["follow"]
        return int(np.clip(np.ceil(self._costs["search"] / max(left, 1e-4)), 1, MOST_EVERY))

    def _search(self, frame: VideoFrame, cut: bool) -> tuple[Faces, npt.NDArray[np.intp]]:
        """The faces of the whole frame, and the tracks of each."""
        faces = self.detector.detect(frame.image)
        observed: dict[int, tuple[RGBImage, FloatArray | None, float]] = {}

        def embed(chosen: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            crops = faces[chosen].align(frame.image)
            values = quality(crops, face_sizes(faces.boxes[chosen]))
            assert self.recognizer is not None
            rows = self.recognizer.embed_crops(crops)
            for at, crop, row, value in zip(chosen.tolist(), crops, rows, values.tolist(), strict=True):
                observed[at] = crop, row, value
            return rows, values

        numbers = self.tracker.update(faces, frame.time, embed if self.recognizer else None, cut=cut)
        self._merge()
        if not self.recognizer:
            observed = self._observed_without_embedding(frame, faces, numbers)
        chosen = numbers > 0
        if observed:
            self._vote(frame, faces, numbers, observed)
        return faces[chosen], numbers[chosen]

    def _observed_without_embedding(
        self, frame: VideoFrame, faces: Faces, numbers: npt.NDArray[np.intp]
    ) -> dict[int, tuple[RGBImage, FloatArray | None, float]]:
        """The faces that are due for attributes and a best shot, where nothing is embedded."""
        due = {track.number: track for track in self.tracker.active}
        chosen = [
            at
            for at, track in enumerate(numbers.tolist())
            if track in due and frame.time - due[track].embedded >= self.tracker.embed_every
        ]
        if not chosen:
            return {}
        crops = faces[chosen].align(frame.image)
        for at in chosen:
            due[int(numbers[at])].embedded = frame.time
        values = quality(crops, face_sizes(faces.boxes[chosen])).tolist()
        return {at: (crop, None, value) for at, crop, value in zip(chosen, crops, values, strict=True)}

    def _follow(self, frame: VideoFrame) -> tuple[Faces, npt.NDArray[np.intp]] | None:
        """The faces of before, looked for where they should be. None where one is missing that was there just now."""
        tracks, boxes = self.tracker.predictions(frame.time)
        found = [
            (float(iou(face.box, box)[0, 0]), track, face)
            for track, box, face in zip(tracks, boxes, find_again(self.detector, frame.image, boxes), strict=True)
            if face is not None
        ]
        pairs: list[tuple[Track, Face]] = []
        for _, track, face in sorted(found, key=lambda each: -each[0]):
            if not any(_same_place(face, other) for _, other in pairs):
                pairs.append((track, face))
        there = [track for track, _ in pairs]
        if any(track.last >= self._before and track not in there for track in tracks):
            return None
        faces = Faces(
            np.array([face.box for _, face in pairs]).reshape(-1, 4),
            [face.score for _, face in pairs],
            np.array([face.landmarks for _, face in pairs]).reshape(-1, 5, 2),
        )
        self.tracker.follow(there, faces.boxes, frame.time)
        return faces, np.array([track.number for track, _ in pairs], np.intp)

    def _vote(
        self,
        frame: VideoFrame,
        faces: Faces,
        numbers: npt.NDArray[np.intp],
        observed: dict[int, tuple[RGBImage, FloatArray | None, float]],
    ) -> None:
        """Takes what faces tell that were looked at closely."""
        chosen = [at for at in observed if numbers[at] > 0]
        looks = self.attributes.predict(frame.image, faces[chosen]) if self.attributes and chosen else None
        point = self.recognizer.operating_point if self.recognizer else None
        for place, at in enumerate(chosen):
            _, row, value = observed[at]
            person = self._person(int(numbers[at]), frame.time)
            if looks is not None:
                person.looks.add(looks, place, value)
            size = float(face_sizes(faces.boxes[[at]])[0])
            usable = value >= self.tracker.least_quality and not (point and point.is_too_small(size, size))
            if person.identity and row is not None and usable:
                person.identity.add(row, value)
            if value > person.best_quality:
                person.best_quality, person.best_time = value, frame.time
                person.best = _at_most(faces[[at]].crop(frame.image, BEST_MARGIN)[0], BEST_SIDE)
                person.embedding = row if usable else person.embedding

    def _person(self, number: int, time: float) -> _Person:
        if number not in self._people:
            votes = IdentityVotes(self.gallery, self.threshold) if self.gallery is not None else None
            self._people[number] = _Person(time, votes)
        return self._people[number]

    def _remember(self, numbers: npt.NDArray[np.intp], time: float) -> None:
        for number_of_track in numbers.tolist():
            person = self._person(number_of_track, time)
            person.last, person.frames = time, person.frames + 1

    def _merge(self) -> None:
        """Joins people who were then recognized as one."""
        for wrong, right in self.tracker.merged.items():
            person = self._people.pop(wrong, None)
            other = self._people.get(right)
            if person is None:
                continue
            if other is None:
                self._people[right] = person
                continue
            other.first, other.last = min(person.first, other.first), max(person.last, other.last)
            other.frames += person.frames
            other.looks.join(person.looks)  # it has no votes on the name: its faces so far were too bad to embed
            if person.best_quality > other.best_quality:
                other.best, other.best_quality, other.best_time = person.best, person.best_quality, person.best_time
                other.embedding = person.embedding if person.embedding is not None else other.embedding

    def _described(self, faces: Faces, numbers: npt.NDArray[np.intp]) -> Faces:
        """The faces with track, name and attributes."""
        data: dict[str, Any] = {"track": numbers}
        people = [self._people[number_of_track] for number_of_track in numbers.tolist()]
        if self.gallery is not None:
            matches = [person.identity.result if person.identity else None for person in people]
            data["name"] = np.array([match.name if match else "" for match in matches], np.str_)
        if self.attributes is not None:
            kinds = {task.name: task.kind for task in self.attributes.weights.tasks}
            results = [person.looks.result for person in people]
            for task in self.attributes.tasks:
                values = [result.get(task) for result in results]
                if kinds[task] != "classification":  # a number, also where none is known yet
                    data[task] = np.array([np.nan if value is None else value for value in values], np.float32)
                else:
                    data[task] = np.array(["" if value is None else value for value in values], np.str_)
        return faces.with_data(data)


def _at_most(image: RGBImage, side: int) -> RGBImage:
    """The image, made smaller if its longer side has more pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    return image if scale >= 1 else resize(image, max(1, round(width * scale)), max(1, round(height * scale)))


def _same_place(one: Face, other: Face) -> bool:
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    return shared > 0.5 * min(one.width * one.height, other.width * other.height)


def analyze(
    source: VideoSource,
    *,
    start: float = 0.0,
    stop: float | None = None,
    threads: int | None = None,
    analyzer: VideoAnalyzer | None = None,
    **settings: Any,
) -> Iterator[SeenFrame]:
    """The faces of a video frame by frame, each with the number of its person in ``faces.data["track"]``.

    ``source``, ``start``, ``stop`` and ``threads`` are those of `read_video`; ``settings`` those of `VideoAnalyzer`, or
    give an ``analyzer``, whose `VideoAnalyzer.summaries` then tell of each person. Raises as these do.
    """
    if analyzer is not None and settings:
        raise TypeError(f"analyzer: expected no settings with it, got {', '.join(settings)}")
    follower = analyzer or VideoAnalyzer(**settings)
    with read_video(source, start=start, stop=stop, threads=threads) as frames:
        for frame in frames:
            yield follower.update(frame)
