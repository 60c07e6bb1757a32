"""Tracks: the faces of one person from frame to frame, by where they are and by whom they show.

Faces are first assigned to the tracks whose predicted boxes they overlap, those of high score before the others, as in
ByteTrack (Zhang et al. 2022). Embeddings decide where boxes cannot: a track is not given a face that is unlike it, and
a person who was out of sight, or is seen in another shot, gets the same number again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cascade.boxes import iou
from cascade.checks import FixedSettings, integer, number
from cascade.faces import Faces
from cascade.tracking.assignment import assign
from cascade.tracking.motion import Motion

__all__ = ["Embed", "Track", "Tracker"]

FloatArray = npt.NDArray[np.float32]
Embed = Callable[[npt.NDArray[np.intp]], tuple[FloatArray, FloatArray]]
"""From indices of faces to their embeddings (n, D), rows of length 1, and the quality (n,) of each, 0 to 1."""

EXEMPLARS = 6
"""Embeddings that a track stores."""

HIDDEN_OVERLAP = 0.3
"""Overlap with another person's face from which a face that is missing counts as hidden: only an embedding, which tells
the two apart, continues its track."""

CROWDED_EVERY = 0.2
"""Seconds after which a face is embedded again that overlaps another track."""


@dataclass(eq=False)
class Track:
    """One person, as long as the person is followed."""

    number: int
    """From 1 on. A person who comes back has the number of before."""
    first: float
    """Seconds of the first frame with a face of the person."""
    motion: Motion
    last: float = 0.0
    """Seconds of the last one."""
    seen: int = 0
    """Frames with a face."""
    embedded: float = -1e9
    """Seconds of the frame whose face was embedded last."""
    exemplars: list[tuple[float, FloatArray]] = field(default_factory=list)
    """Quality and embedding of the best faces."""

    def similarity(self, embedding: FloatArray) -> float:
        """The cosine between an embedding and the most similar one of the track; −1 where it has none."""
        return max((float(row @ embedding) for _, row in self.exemplars), default=-1.0)

    def learn(self, embedding: FloatArray, quality: float, time: float) -> None:
        """Stores an embedding if it is among the best ones."""
        self.embedded = time
        self.exemplars = sorted([*self.exemplars, (quality, embedding)], key=lambda each: -each[0])[:EXEMPLARS]


class Tracker(FixedSettings):
    """Gives each face of a video the number of its person.

    Parameters
    ----------
    same : similarity of embeddings from which two faces count as one person's; that of a Recognizer's operating point.
    unlike : similarity below which a face is not given to a track, however well the boxes agree. A track whose face was
        missing in the frame before needs ``same``.
    new_score : face probability from which a face can begin a track; less certain faces only continue one.
    overlap : intersection over union of a face with the predicted box, from which it can continue a track.
    lost_after : seconds without a face after which a track is only continued by embedding.
    embed_every : seconds after which the face of a track is embedded again.
    least_quality : quality from which an embedding is used to tell people apart; see `cascade.tracking.quality`.
    memory : people out of sight who are remembered; of more, those who were seen last.
    first_number : number of the first person.

    A Tracker belongs to one video and one thread. Raises ValueError or TypeError naming a wrong setting.
    """

    def __init__(
        self,
        *,
        same: float = 0.35,
        unlike: float = 0.2,
        new_score: float = 0.85,
        overlap: float = 0.2,
        lost_after: float = 1.0,
        embed_every: float = 1.0,
        least_quality: float = 0.1,
        memory: int = 1000,
        first_number: int = 1,
    ) -> None:
        self.same = number("same", same, -1, 1)
        self.unlike = number("unlike", unlike, -1, 1)
        self.new_score = number("new_score", new_score, 0, 1)
        self.overlap = number("overlap", overlap, 0.01, 1)
        self.lost_after = number("lost_after", lost_after, 0, 1e6)
        self.embed_every = number("embed_every", embed_every, 0, 1e6)
        self.least_quality = number("least_quality", least_quality, 0, 1)
        self.memory = integer("memory", memory, 0)
        self._active: list[Track] = []
        self._away: list[Track] = []
        self.first_number = integer("first_number", first_number, 1)
        self._next = self.first_number
        self._merged: dict[int, int] = {}
        self._before = -1e9  # seconds of the frame before
        self._fix_settings()

    @property
    def active(self) -> tuple[Track, ...]:
        """Tracks that a face nearby would continue."""
        return tuple(self._active)

    @property
    def merged(self) -> dict[int, int]:
        """Numbers of people who were then recognized as somebody with another number, and that number."""
        return dict(self._merged)

    def predictions(self, time: float) -> tuple[list[Track], FloatArray]:
        """The active tracks, and where their faces should be: boxes (n, 4) at a time in seconds."""
        boxes = [track.motion.predicted(time) for track in self._active]
        return list(self._active), np.array(boxes, np.float32).reshape(-1, 4)

    def update(
        self, faces: Faces, time: float, embed: Embed | None = None, *, cut: bool = False
    ) -> npt.NDArray[np.intp]:
        """Takes all faces that were found in a frame, and gives the number of each: (N,), 0 for no track.

        ``time`` in seconds increases from call to call. ``embed`` is called at most once, with the faces that are new,
        whose track is in doubt, or was not embedded for `embed_every` seconds. ``cut``: the frame belongs to another
        shot, so that boxes of before say nothing.
        """
        self._retire(time, everything=cut)
        tracks, boxes = self.predictions(time)
        overlaps = iou(boxes, faces.boxes)
        pairs = self._by_overlap(overlaps, faces.scores)
        known = self._embeddings(faces, tracks, overlaps, pairs, time, embed)
        pairs = self._by_overlap(self._without_unlike(overlaps, tracks, known), faces.scores)
        numbers = np.zeros(len(faces), np.intp)
        for at, face in pairs:
            self._continue(tracks[at], faces.boxes[face], time, known.get(face))
            numbers[face] = tracks[at].number
        if embed is not None:
            hidden = [at for at, track in enumerate(tracks) if track.last < time]
            self._leave([tracks[at] for at in hidden if overlaps[at].max(initial=0.0) > HIDDEN_OVERLAP])
        self._find_again(faces, time, known, numbers)
        self._before = time
        return numbers

    def follow(self, tracks: list[Track], boxes: npt.ArrayLike, time: float) -> None:
        """Takes faces that were found where their tracks were expected: boxes (n, 4)."""
        for track, box in zip(tracks, np.asarray(boxes, np.float32).reshape(-1, 4), strict=True):
            self._continue(track, box, time, None)
        self._before = time

    def learn(self, track: Track, embedding: FloatArray, quality: float, time: float) -> int:
        """Takes an embedding of a track's face, and gives the track's number, which changes if it is somebody known."""
        if quality < self.least_quality:
            track.embedded = time
            return track.number
        if not track.exemplars:
            self._recognise(track, embedding)
        if not track.exemplars or track.similarity(embedding) >= self.unlike:
            track.learn(embedding, quality, time)
        track.embedded = time
        return track.number

    def _is_doubtful(self, track: Track) -> bool:
        """Whether a track's face was missing in the frame before."""
        return track.last < self._before

    # The parts

    def _retire(self, time: float, everything: bool) -> None:
        """Moves tracks that were not seen for long to those that only an embedding continues."""
        self._leave([track for track in self._active if everything or time - track.last > self.lost_after])

    def _leave(self, gone: list[Track]) -> None:
        self._active = [track for track in self._active if track not in gone]
        self._away += [track for track in gone if track.exemplars]
        if len(self._away) > self.memory:
            self._away = sorted(self._away, key=lambda track: -track.last)[: self.memory]

    def _by_overlap(self, overlaps: npt.NDArray[np.float64], scores: FloatArray) -> list[tuple[int, int]]:
        """Pairs of a track and a face: first those of high score, then the others for the tracks that are left."""
        high = np.flatnonzero(scores >= self.new_score)
        pairs = [(at, int(high[column])) for at, column in assign(1 - overlaps[:, high], 1 - self.overlap)]
        left = sorted(set(range(len(overlaps))) - {at for at, _ in pairs})
        low = np.flatnonzero(scores < self.new_score)
        rest = assign(1 - overlaps[left][:, low], 1 - max(self.overlap, 0.4))
        return pairs + [(left[row], int(low[column])) for row, column in rest]

    def _embeddings(
        self,
        faces: Faces,
        tracks: list[Track],
        overlaps: npt.NDArray[np.float64],
        pairs: list[tuple[int, int]],
        time: float,
        embed: Embed | None,
    ) -> dict[int, tuple[FloatArray, float]]:
        """Embedding and quality of the faces that need one, by their index."""
        if embed is None:
            return {}
        track_of = {face: tracks[at] for at, face in pairs}
        crowded = (overlaps > self.overlap / 2).sum(axis=0) > 1
        wanted = [
            face
            for face in range(len(faces))
            if (face not in track_of and faces.scores[face] >= self.new_score)
            or (face in track_of and self._is_due(track_of[face], time, bool(crowded[face])))
        ]
        if not wanted:
            return {}
        rows, qualities = embed(np.array(wanted, np.intp))
        return {face: (row, float(value)) for face, row, value in zip(wanted, rows, qualities, strict=True)}

    def _is_due(self, track: Track, time: float, crowded: bool) -> bool:
        """Whether the face of a track has to be embedded."""
        return self._is_doubtful(track) or time - track.embedded >= (CROWDED_EVERY if crowded else self.embed_every)

    def _without_unlike(
        self, overlaps: npt.NDArray[np.float64], tracks: list[Track], known: dict[int, tuple[FloatArray, float]]
    ) -> npt.NDArray[np.float64]:
        """The overlaps, 0 where a face is of somebody else."""
        found = overlaps.copy()
        for face, (row, value) in known.items():
            if value < self.least_quality:
                continue
            for at, track in enumerate(tracks):
                least = self.same if self._is_doubtful(track) else self.unlike
                if overlaps[at, face] > 0 and track.exemplars and track.similarity(row) < least:
                    found[at, face] = 0
        return found

    def _continue(self, track: Track, box: npt.ArrayLike, time: float, known: tuple[FloatArray, float] | None) -> None:
        track.motion.update(box, time)
        track.last = time
        track.seen += 1
        if known is not None:
            self.learn(track, *known, time)

    def _find_again(
        self,
        faces: Faces,
        time: float,
        known: dict[int, tuple[FloatArray, float]],
        numbers: npt.NDArray[np.intp],
    ) -> None:
        """Gives faces without a track those of people who were away, or new ones."""
        new = [at for at in range(len(faces)) if not numbers[at] and faces.scores[at] >= self.new_score]
        good = [at for at in new if at in known and known[at][1] >= self.least_quality]
        missing = [*self._away, *(track for track in self._active if track.last < time and track.exemplars)]
        costs = np.array([[1 - track.similarity(known[at][0]) for at in good] for track in missing])
        for row, column in assign(costs.reshape(len(missing), len(good)), 1 - self.same):
            track, at = missing[row], good[column]
            track.motion = Motion(faces.boxes[at], time)
            self._continue(track, faces.boxes[at], time, known[at])
            if track not in self._active:
                self._active.append(track)
            numbers[at] = track.number
        self._away = [track for track in self._away if track not in self._active]
        for at in new:
            if not numbers[at]:
                track = Track(self._next, time, Motion(faces.boxes[at], time))
                self._next += 1
                self._active.append(track)
                self._continue(track, faces.boxes[at], time, known.get(at))
                numbers[at] = track.number

    def _recognise(self, track: Track, embedding: FloatArray) -> None:
        """A track that was never embedded may be of somebody who was away."""
        similar = [other.similarity(embedding) for other in self._away]
        if not similar or max(similar) < self.same:
            return
        other = self._away.pop(int(np.argmax(similar)))
        self._merged[track.number] = other.number
        track.number, track.first = other.number, min(track.first, other.first)
        track.seen += other.seen
        track.exemplars = other.exemplars
