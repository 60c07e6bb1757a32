"""Whose faces are hidden: everybody's, everybody's but some people's, or some people's alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cascade.anonymize.review import Decision
from cascade.checks import FixedSettings, number
from cascade.faces import Faces
from cascade.gallery import Gallery
from cascade.gallery_search import UNLIKE_SHARE
from cascade.imaging.alignment import ARCFACE_TEMPLATE, similarity_transforms
from cascade.imaging.pixels import RGBImage
from cascade.operating_point import face_sizes
from cascade.recognize import Recognizer

__all__ = ["HIDE", "LIKE", "SMALL", "People"]

HIDE = Decision("hide")
LIKE = "may be a person of the gallery"
SMALL = "too small to tell who it is"
UNKNOWN = "cannot be compared"


class People(FixedSettings):
    """The people of a gallery, whose faces stay visible ("keep") or are the only ones that are hidden ("only").

    Parameters
    ----------
    gallery : the people, with embeddings of ``recognizer``
    rule : "keep" or "only"
    recognizer : computes the embeddings of the faces
    threshold : similarity from which on a face is a person's; None: that of the recognizer's operating point. Below
        it, but from 0.6 of it on, a face may be theirs.

    Where it is uncertain whether a face is a person's, or the face is too small to tell, it is "doubtful", and hidden.
    Raises ValueError or TypeError naming a wrong setting, and `GalleryError` for embeddings of another network.
    """

    def __init__(
        self, gallery: Gallery, rule: Literal["keep", "only"], recognizer: Recognizer, threshold: float | None = None
    ) -> None:
        if rule not in ("keep", "only"):
            raise ValueError(f"rule: expected 'keep' or 'only', got {rule!r}")
        gallery.check_model(recognizer)
        point = recognizer.operating_point
        if threshold is None and point is None:
            raise ValueError(f"threshold: {recognizer.weights.name} has no measured one; give one")
        self.gallery = gallery
        self.rule = rule
        self.recognizer = recognizer
        self.threshold = number("threshold", point.threshold if threshold is None and point else threshold or 0, -1, 1)
        self._fix_settings()

    def decide(self, image: RGBImage, faces: Faces) -> list[Decision]:
        """For each face of an image (H, W, 3) uint8 RGB whether it is hidden, and why it is doubtful."""
        if not len(faces):
            return []
        similarities = self.similarities(image, faces)
        small = [self.is_small(float(size)) for size in face_sizes(faces.boxes)]
        return [self.decision(each, few) for each, few in zip(similarities, small, strict=True)]

    def similarities(self, image: RGBImage, faces: Faces) -> Sequence[float]:
        """How similar each face is to the most similar person; with "keep", a person is in a photo once.

        NaN for a face whose landmarks no crop can be aligned by.
        """
        transforms = similarity_transforms(faces.landmarks, ARCFACE_TEMPLATE)
        known = np.flatnonzero(np.isfinite(transforms).all(axis=(1, 2)))
        embeddings = self.recognizer.embed(image, faces[known])
        found = self.gallery.identify(embeddings, top=1, once=self.rule == "keep")
        similarities = np.full(len(faces), np.nan)
        similarities[known] = [matches[0].similarity if matches else -1.0 for matches in found]
        return [float(each) for each in similarities]

    def is_small(self, size: float) -> bool:
        """Whether a face of that size in pixels is too small to tell who it is."""
        point = self.recognizer.operating_point
        return point is not None and point.is_small(size)

    def decision(self, similarity: float, small: bool) -> Decision:
        """What becomes of a face with that similarity to the most similar person, NaN if it is unknown."""
        if math.isnan(similarity):
            return Decision("doubtful", UNKNOWN)
        if similarity < UNLIKE_SHARE * self.threshold:
            likely = self.rule == "only" and small
            return Decision("doubtful", SMALL) if likely else Decision("hide" if self.rule == "keep" else "keep")
        if similarity < self.threshold:
            return Decision("doubtful", LIKE)
        if self.rule == "keep" and small:
            return Decision("doubtful", SMALL)
        return Decision("keep" if self.rule == "keep" else "hide")
