"""What the faces of a track say together: who it is, and how the person looks.

One face can be blurred, in profile or small. So each face votes with its quality, and where the votes do not agree the
answer is "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cascade.attributes import Attributes
from cascade.gallery import Gallery, Match
from cascade.imaging.pixels import RGBImage
from cascade.quality import GOOD_SHARPNESS, GOOD_SIZE, crop_sharpness

__all__ = ["AttributeVotes", "IdentityVotes", "quality"]

FloatArray = npt.NDArray[np.float32]

MAJORITY = 0.5
MOST_VOTES = 50.0
"""Weight that the past has at most, so that an answer can change."""


def quality(crops: RGBImage, sizes: npt.ArrayLike) -> FloatArray:
    """How much faces tell, (n,) float32 0 to 1, from aligned crops (n, 112, 112, 3) uint8 and sizes (n,) in pixels.

    The product of the size, up to 112 pixels, and the sharpness, which is the variance of the crop's Laplacian.
    `cascade.quality.face_quality`, for single photos, also has yaw and exposure; the limit of the `Tracker` is of this.
    """
    sharp = crop_sharpness(crops)
    share = np.clip(np.asarray(sizes, np.float32) / GOOD_SIZE, 0, 1)
    return np.asarray(share * sharp / (sharp + GOOD_SHARPNESS), np.float32)


@dataclass
class IdentityVotes:
    """Votes of the faces of one track for the people of a gallery."""

    gallery: Gallery
    threshold: float
    _votes: dict[str | None, float] = field(default_factory=dict)
    _similarity: dict[str, float] = field(default_factory=dict)

    def add(self, embedding: FloatArray, weight: float) -> None:
        """Takes the vote of a face: for the most similar person, or for nobody."""
        (matches,) = self.gallery.identify(embedding, top=1, threshold=self.threshold)
        name = matches[0].name if matches else None
        self._votes[name] = self._votes.get(name, 0.0) + weight
        if matches:
            self._similarity[matches[0].name] = max(self._similarity.get(matches[0].name, -1.0), matches[0].similarity)
        total = sum(self._votes.values())
        if total > MOST_VOTES:
            self._votes = {each: votes * MOST_VOTES / total for each, votes in self._votes.items()}

    @property
    def result(self) -> Match | None:
        """The person with more than half of the votes and the highest similarity; None for nobody of the gallery."""
        total = sum(self._votes.values())
        name = max(self._votes, key=lambda each: self._votes[each], default=None)
        if name is None or self._votes[name] <= MAJORITY * total:
            return None
        return Match(name, self._similarity[name])


@dataclass
class AttributeVotes:
    """Votes of the faces of one track on how the person looks."""

    _classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _probabilities: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    _values: dict[str, float] = field(default_factory=dict)
    _weight: float = 0.0

    def add(self, attributes: Attributes, at: int, weight: float) -> None:
        """Takes the answers for one face, number ``at`` of these; a face that is not known has no vote."""
        if attributes.unknown[at] or weight <= 0:
            return
        self._classes.update((task, attributes.classes[task]) for task in attributes.probabilities)
        self._take(
            {task: rows[at].astype(np.float64) for task, rows in attributes.probabilities.items()},
            {task: float(numbers[at]) for task, numbers in attributes.values.items()},
            weight,
        )

    def join(self, other: AttributeVotes) -> None:
        """Takes all votes of another track of the same person."""
        if other._weight > 0:
            self._classes.update(other._classes)
            self._take(other._probabilities, other._values, other._weight)

    def _take(
        self, probabilities: Mapping[str, npt.NDArray[np.float64]], values: Mapping[str, float], weight: float
    ) -> None:
        """Moves the means towards these, as far as they weigh."""
        share = weight / (self._weight + weight)
        for task, shares in probabilities.items():
            before = self._probabilities.get(task, shares)
            self._probabilities[task] = before + share * (shares - before)
        for task, value in values.items():
            before_value = self._values.get(task, value)
            self._values[task] = before_value + share * (value - before_value)
        self._weight = min(self._weight + weight, MOST_VOTES)

    @property
    def result(self) -> dict[str, float | str]:
        """By task, the mean number, or the class of the highest mean probability; empty where no face was known."""
        found: dict[str, float | str] = dict(self._values)
        for task, shares in self._probabilities.items():
            if task not in self._values:
                found[task] = self._classes[task][int(np.argmax(shares))]
        return found
