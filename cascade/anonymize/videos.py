"""Hiding faces in videos, in two passes: the first finds and follows them, the second renders.

Between the passes everything is in a `ReviewedVideo`, which can be edited. Frames are read one at a time, so that
memory does not grow with the length of the video, but for the boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cascade.anonymize.finding import DOUBTFUL_SCORE, FaceFinder
from cascade.anonymize.methods import draw_noise, hide
from cascade.anonymize.people import HIDE, People
from cascade.anonymize.review import Decision, ReviewedTrack, ReviewedVideo, hash_of
from cascade.anonymize.settings import Hiding
from cascade.anonymize.sheet import Picture, picture_of
from cascade.anonymize.tracks import Track, Tracker
from cascade.faces import Faces
from cascade.imaging.pixels import RGBImage
from cascade.operating_point import face_sizes
from cascade.video import VideoError, VideoFrame, VideoWriter, read_video
from cascade.video.following import CutFinder

__all__ = ["WEAK_SCORE", "find_in_video", "render_video"]

WEAK_SCORE = 0.2
"""Score from which on a face continues a track."""

GAP, EXTENSION = 1.0, 0.4
"""Seconds for which a face that is not found is still followed, and by which tracks are extended at both ends."""

USUAL_RATE = 25.0
"""Frames a second of videos that do not say."""

COMPARED_EVERY = 10
"""Frames of a track between two in which it is compared with the people of a gallery."""


@dataclass
class _Known:
    """What is gathered of a track while its frames are there."""

    picture: Picture | None = None
    size: float = 0.0
    similarities: list[float] = field(default_factory=list)
    last_compared: int = -COMPARED_EVERY


def find_in_video(
    path: str | Path,
    name: str,
    finder: FaceFinder,
    people: People | None = None,
    *,
    every: int = 1,
    pictures: bool = False,
    progress: Callable[[Iterator[VideoFrame]], Iterator[VideoFrame]] = iter,
) -> tuple[ReviewedVideo, list[Picture]]:
    """Find and follow the faces of a video: what to hide, and with ``pictures`` one picture of each track.

    ``name`` is the path in the review, ``finder`` finds faces in every frame, or in every n-th, from `WEAK_SCORE` on;
    its ``min_score`` begins tracks. Raises `cascade.video.VideoError` if the video cannot be read.
    """
    weak = min(WEAK_SCORE, finder.min_score)
    cuts, known, scenes = CutFinder(), dict[Track, _Known](), [0]
    with read_video(path) as reader:
        rate = reader.info.rate or USUAL_RATE
        tracker = Tracker(finder.min_score, max(every, round(GAP * rate)))
        count = width = height = 0
        for frame in progress(reader):
            height, width = frame.image.shape[:2]
            cut = cuts.add(frame.image)
            if cut:
                scenes.append(frame.index)
            if cut or frame.index % every == 0:
                faces = finder.find(frame.image, weak)
                tracks = tracker.add(frame.index, faces, len(scenes) - 1)
                _note(frame, faces, tracks, known, people, name if pictures else None)
            count = frame.index + 1
    ends = [*scenes[1:], count]
    extension = round(EXTENSION * rate)
    reviewed, shown = [], []
    for track in tracker.tracks:
        decision = _decision(track, known[track], people)
        frames, faces = track.filled(scenes[track.scene], ends[track.scene] - 1, extension)
        reviewed.append(ReviewedTrack(frames, faces, decision))
        picture = known[track].picture
        if picture is not None:
            shown.append(Picture(picture.jpeg, picture.where, picture.score, decision))
    return ReviewedVideo(name, hash_of(path), width, height, count, tuple(reviewed)), shown


def render_video(
    path: str | Path,
    out: str | Path,
    video: ReviewedVideo,
    hiding: Hiding,
    *,
    sound: bool = True,
    overwrite: bool = False,
    progress: Callable[[Iterator[VideoFrame]], Iterator[VideoFrame]] = iter,
) -> int:
    """Write a copy of a video in which what the review hides is hidden; returns the number of frames.

    The file holds pictures and, with ``sound``, the sound as it is: voices are not changed. No metadata, subtitles or
    data are copied. If it is stopped, the file plays up to there. Raises `cascade.video.VideoError` where the video
    cannot be read or does not fit the review, and where the copy cannot be written.
    """
    tracks = [track for track in video.tracks if track.decision.hidden]
    noises = [draw_noise() for _ in tracks]
    rows = _rows_by_frame(tracks)
    with (
        read_video(path) as reader,
        VideoWriter(out, sound_of=path if sound and reader.info.audio else None, overwrite=overwrite) as writer,
    ):
        for frame in progress(reader):
            if frame.image.shape[:2] != (video.height, video.width):
                got = f"{frame.image.shape[1]} × {frame.image.shape[0]}"
                raise VideoError(f"frame {frame.index}: expected {video.width} × {video.height} pixels, got {got}")
            writer.write(_hidden(frame, tracks, rows.get(frame.index, ()), noises, hiding), frame.time)
        return writer.frames


def _hidden(
    frame: VideoFrame,
    tracks: Sequence[ReviewedTrack],
    rows: Sequence[tuple[int, int]],
    noises: Sequence[np.ndarray],
    hiding: Hiding,
) -> RGBImage:
    """A frame with the faces of these tracks hidden; ``rows`` are numbers of tracks and of their rows."""
    if not rows:
        return frame.image
    boxes = np.stack([tracks[track].faces.boxes[row] for track, row in rows])
    landmarks = np.stack([tracks[track].faces.landmarks[row] for track, row in rows])
    faces = Faces(boxes, np.ones(len(rows)), landmarks)
    return hide(frame.image, faces, hiding, [noises[track] for track, _ in rows])


def _rows_by_frame(tracks: Sequence[ReviewedTrack]) -> dict[int, list[tuple[int, int]]]:
    rows: dict[int, list[tuple[int, int]]] = {}
    for number, track in enumerate(tracks):
        for row, frame in enumerate(track.frames):
            rows.setdefault(frame, []).append((number, row))
    return rows


def _note(
    frame: VideoFrame,
    faces: Faces,
    tracks: Sequence[Track | None],
    known: dict[Track, _Known],
    people: People | None,
    name: str | None,
) -> None:
    """Take the largest picture of each track, and now and then compare its face with the people."""
    compared: list[tuple[int, _Known]] = []
    for at, track in enumerate(tracks):
        if track is None:
            continue
        about = known.setdefault(track, _Known())
        size = float(face_sizes(faces.boxes[at : at + 1])[0])
        if size > about.size:
            about.size = size
            if name is not None:
                where = f"{name}, {frame.time:.1f} s"
                about.picture = picture_of(frame.image, faces.boxes[at], where, float(faces.scores[at]), HIDE)
        if people is not None and frame.index - about.last_compared >= COMPARED_EVERY:
            about.last_compared = frame.index
            compared.append((at, about))
    if people is not None and compared:
        similarities = people.similarities(frame.image, faces[[at for at, _ in compared]])
        for (_, about), similarity in zip(compared, similarities, strict=True):
            about.similarities.append(float(similarity))


def _decision(track: Track, about: _Known, people: People | None) -> Decision:
    """What becomes of a track. With "keep", the least similar of its faces counts, with "only" the most similar."""
    if people is not None:
        point = people.recognizer.operating_point
        small = point is not None and point.is_small(about.size)
        compared = [each for each in about.similarities if not math.isnan(each)] or [math.nan]
        similarity = min(compared) if people.rule == "keep" else max(compared)
        decision = people.decision(similarity, small)
        if decision.status != "hide":
            return decision
    return Decision("doubtful", "low score") if max(track.scores) < DOUBTFUL_SCORE else HIDE
