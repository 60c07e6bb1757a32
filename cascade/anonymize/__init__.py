"""Hiding faces in photos and videos: blurred, pixelated, covered by a colour or by a drawn face.

>>> from cascade.anonymize import anonymize
>>> hidden = anonymize("crew.jpg", method="pixelate")  # doctest: +SKIP
"""

from __future__ import annotations

from cascade.anonymize.methods import hide
from cascade.anonymize.settings import METHODS, SHAPES, Hiding

__all__ = ["METHODS", "SHAPES", "Hiding", "hide"]
