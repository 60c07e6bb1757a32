"""Hiding faces in videos, in two passes: the first finds and follows them, the second renders.

Between the passes everything is in a `ReviewedVideo`, which can be edited. Frames are read one at a time, so that
memory does not grow with the length of the video, but for the boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cascade.anonymize.finding import DOUBTFUL_SCORE, FaceFinder
from cascade.anonymize.methods import draw_noise, hide
from cascade.anonymize.people import HIDE, LIKE, People
from cascade.anonymize.review import Decision, ReviewedTrack, ReviewedVideo, hash_of
from cascade.anonymize.settings import Hiding
from cascade.anonymize.sheet import Picture, picture_of
from cascade.anonymize.tracks import FaceFollower, FaceTrack
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

SHORTEST = 0.2
"""Seconds below which a stretch of a track does not stay visible."""


@dataclass
class _Known:
    """What is gathered of a track while its frames are there."""

    size: float = 0.0
    similarities: list[float] = field(default_factory=list)
    decisions: dict[int, Decision] = field(default_factory=dict)
    """By frame, for each that was compared."""
    pictures: dict[bool, Picture] = field(default_factory=dict)
    """The largest one of where the face may stay visible, and of where it is hidden."""
    picture_sizes: dict[bool, float] = field(default_factory=dict)

    def picture_for(self, decision: Decision) -> Picture | None:
        """The picture of what this decision holds for; the other one where there is none."""
        visible = not decision.hidden
        return self.pictures.get(visible) or self.pictures.get(not visible)


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
    its ``min_score`` begins tracks. With people, the faces of every searched frame are compared with them. A track that
    stays visible in a part of its frames is two in the review, see `visible_frames`. Raises `cascade.video.VideoError`
    if the video cannot be read.
    """
    weak = min(WEAK_SCORE, finder.min_score)
    cuts, known, scenes = CutFinder(), dict[FaceTrack, _Known](), [0]
    with read_video(path) as reader:
        rate = reader.info.rate or USUAL_RATE
        tracker = FaceFollower(finder.min_score, max(every, round(GAP * rate)))
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
    extension, shortest = round(EXTENSION * rate), max(2, round(SHORTEST * rate))
    reviewed, shown = [], []
    for track in tracker.tracks:
        frames, faces = track.filled(scenes[track.scene], ends[track.scene] - 1, extension)
        for rows, decision in _parts(track, known[track], people, frames, every, shortest):
            reviewed.append(ReviewedTrack(tuple(frames[row] for row in rows), faces[rows], decision))
            picture = known[track].picture_for(decision)
            if picture is not None:
                shown.append(replace(picture, decision=decision))
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
    tracks: Sequence[FaceTrack | None],
    known: dict[FaceTrack, _Known],
    people: People | None,
    name: str | None,
) -> None:
    """Compare the faces of a frame with the people, and take the largest pictures of each track."""
    followed = [at for at, track in enumerate(tracks) if track is not None]
    similarities = people.similarities(frame.image, faces[followed]) if people is not None and followed else ()
    by_face = dict(zip(followed, similarities, strict=False))
    sizes = face_sizes(faces.boxes)
    for at, track in enumerate(tracks):
        if track is None:
            continue
        about, size = known.setdefault(track, _Known()), float(sizes[at])
        decision = HIDE
        if people is not None:
            about.similarities.append(by_face[at])
            decision = people.decision(by_face[at], people.is_small(size))
            about.decisions[frame.index] = decision
        about.size = max(about.size, size)
        visible = not decision.hidden
        if name is not None and size > about.picture_sizes.get(visible, 0.0):
            about.picture_sizes[visible] = size
            where = f"{name}, {frame.time:.1f} s"
            about.pictures[visible] = picture_of(frame.image, faces.boxes[at], where, float(faces.scores[at]), decision)


def _parts(
    track: FaceTrack, about: _Known, people: People | None, frames: Sequence[int], every: int, shortest: int
) -> list[tuple[npt.NDArray[np.intp], Decision]]:
    """The rows of ``frames`` that a decision holds for: one part, or a visible and a hidden one."""
    rows = np.arange(len(frames))
    if people is None or people.rule == "only":
        return [(rows, _decision(track, about, people))]
    shown = np.isin(frames, visible_frames(about.decisions, every, shortest))
    if not shown.any():
        return [(rows, _nowhere_visible(track, about))]
    # besides the track's ends and gaps, faces were found that may be somebody else's
    uncertain = not about.decisions.keys() <= {frames[row] for row in rows[shown]}
    parts = [(rows[shown], Decision("keep")), (rows[~shown], Decision("doubtful", LIKE) if uncertain else HIDE)]
    return [part for part in parts if len(part[0])]


def visible_frames(decisions: Mapping[int, Decision], every: int, shortest: int) -> list[int]:
    """The frames in which a track stays visible, by what became of its face in the frames that were compared.

    A stretch goes from one comparison to another. All between them say "keep", and none of the searched frames, which
    are at most ``every`` apart, lacks the face. Stretches below ``shortest`` frames are left out: one comparison in
    many can be wrong.
    """
    stretches: list[list[int]] = []
    previous: int | None = None
    for frame, decision in sorted(decisions.items()):
        if decision.hidden:
            previous = None
            continue
        if previous is None or frame - previous > every:
            stretches.append([frame, frame])
        stretches[-1][1] = previous = frame
    return [frame for first, last in stretches if last - first + 1 >= shortest for frame in range(first, last + 1)]


def _nowhere_visible(track: FaceTrack, about: _Known) -> Decision:
    """What becomes of a track that is nowhere visible, with "keep"."""
    found = {decision.status: decision for decision in about.decisions.values()}
    if "hide" in found:
        return _by_score(track)
    return found.get("doubtful", Decision("doubtful", LIKE))


def _decision(track: FaceTrack, about: _Known, people: People | None) -> Decision:
    """What becomes of a whole track. With "only", the most similar of its faces counts."""
    if people is not None:
        compared = [each for each in about.similarities if not math.isnan(each)] or [math.nan]
        decision = people.decision(max(compared), people.is_small(about.size))
        if decision.status != "hide":
            return decision
    return _by_score(track)


def _by_score(track: FaceTrack) -> Decision:
    return Decision("doubtful", "low score") if max(track.scores) < DOUBTFUL_SCORE else HIDE
