"""Faces followed through the frames of a video, looking ahead as well as back: no face comes and goes.

Boxes of neighbouring frames that overlap are of one face (IoU tracking, Bochinski et al. 2017). Weak detections go on
with a track but begin none, as in ByteTrack (Zhang et al. 2022). When all frames are known, gaps are filled, tracks are
extended at both ends, and their boxes are smoothed. Nothing is followed or filled across a cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cascade.boxes import iou
from cascade.faces import Faces

__all__ = ["FaceFollower", "FaceTrack"]

FloatArray = npt.NDArray[np.float64]

SAME_FACE = 0.25
"""IoU with the track's last box above which a box continues it."""

SMOOTHING = 2
"""Frames on each side over which boxes are averaged."""


@dataclass(eq=False)
class FaceTrack:
    """A face in the frames in which it was found. ``scene`` counts the cuts before it."""

    scene: int
    frames: list[int] = field(default_factory=list)
    boxes: list[FloatArray] = field(default_factory=list)
    landmarks: list[FloatArray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, frame: int, box: FloatArray, landmarks: FloatArray, score: float) -> None:
        """The face in one more frame."""
        self.frames.append(frame)
        self.boxes.append(box)
        self.landmarks.append(landmarks)
        self.scores.append(score)

    def filled(self, first: int, last: int, extension: int) -> tuple[tuple[int, ...], Faces]:
        """The face in every frame from ``extension`` frames before it was found to as many after, smoothed.

        ``first`` and ``last`` are the limits of the scene. Between the frames in which it was found its box moves in a
        straight line. A smoothed box is nowhere smaller than the largest of those it was averaged from.
        """
        begin, end = max(first, self.frames[0] - extension), min(last, self.frames[-1] + extension)
        frames = np.arange(begin, end + 1)
        boxes = _interpolated(frames, self.frames, np.stack(self.boxes))
        points = _interpolated(frames, self.frames, np.stack(self.landmarks).reshape(-1, 10))
        scores = _interpolated(frames, self.frames, np.array(self.scores)[:, None])[:, 0]
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        middle = _over_window(centres, np.mean)
        half = _over_window(_over_window(sides, np.max), np.mean) / 2
        half = np.maximum(half, sides / 2)
        smooth = np.concatenate([middle - half, middle + half], axis=1)
        return tuple(frames.tolist()), Faces(smooth, np.clip(scores, 0, 1), points.reshape(-1, 5, 2))


class FaceFollower:
    """Follows faces; call `add` with each searched frame, in their order.

    ``begin`` is the score from which on a face begins a track, ``gap`` the number of frames after which one that was
    not found again ends.
    """

    def __init__(self, begin: float, gap: int) -> None:
        self._begin = begin
        self._gap = gap
        self._active: list[FaceTrack] = []
        self.tracks: list[FaceTrack] = []

    def add(self, frame: int, faces: Faces, scene: int) -> list[FaceTrack | None]:
        """The track of each face of a frame; None for a weak face that continues none."""
        self._active = [
            track for track in self._active if track.scene == scene and frame - track.frames[-1] <= self._gap
        ]
        found: list[FaceTrack | None] = [None] * len(faces)
        for at, track in self._pairs(faces):
            found[at] = track
        for at, face in enumerate(faces):
            followed = found[at]
            if followed is None and face.score >= self._begin:
                followed = found[at] = FaceTrack(scene)
                self._active.append(followed)
                self.tracks.append(followed)
            if followed is not None:
                followed.add(frame, face.box.astype(np.float64), face.landmarks.astype(np.float64), face.score)
        return found

    def _pairs(self, faces: Faces) -> list[tuple[int, FaceTrack]]:
        """Faces and the tracks that they continue, the largest overlap first, each once."""
        if not self._active or not len(faces):
            return []
        overlap = iou(faces.boxes, np.stack([track.boxes[-1] for track in self._active]))
        pairs: list[tuple[int, FaceTrack]] = []
        while overlap.max() > SAME_FACE:
            face, track = np.unravel_index(int(overlap.argmax()), overlap.shape)
            pairs.append((int(face), self._active[track]))
            overlap[face], overlap[:, track] = 0, 0
        return pairs


def _interpolated(frames: npt.NDArray[np.int_], known: Sequence[int], values: FloatArray) -> FloatArray:
    """Values (n, k) at ``known`` frames, for all ``frames``: (m, k); before and after them the first and the last."""
    return np.stack([np.interp(frames, known, column) for column in values.T], axis=1)


def _over_window(values: FloatArray, function: np.ufunc | object) -> FloatArray:
    """A function such as ``np.mean`` of the values (n, k) of each frame and its neighbours: (n, k)."""
    padded = np.pad(values, ((SMOOTHING, SMOOTHING), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * SMOOTHING + 1, axis=0)
    return np.asarray(function(windows, axis=-1))  # type: ignore[operator]
