"""The same face at another age.

>>> from cascade.aging import AgeSynthesizer
>>> pictures = AgeSynthesizer().synthesize("photo.jpg", ages=[10, 30, 60]).images  # doctest: +SKIP

What comes out is a picture of nobody: how a network imagines the face, from how people of that age look on average. It
is not for finding missing people, not for evidence, not for age checks, and not for pictures of people who have not
agreed. Mark what you publish as synthetic; `cascade.imaging.marking` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.checks import number
from cascade.detect import Detector
from cascade.face_model import FaceModel, recreated
from cascade.faces import Faces
from cascade.imaging.pasting import add_residual, mirrored_crops, soft_mask
from cascade.imaging.reading import ImageInput, RGBImage
from cascade.models.aging import OUTPUT, AgingWeights, load_aging
from cascade.nn.graphs import native_nodes

__all__ = ["MOST_AGES", "OLDEST", "AgeSynthesizer", "Aged", "AgingError", "checked_ages"]

OLDEST = 100.0  # years
MOST_AGES = 101
STEP = 128.0  # of 8 bits for 1 in the network's numbers
MOST_CHROMA = 8
"""Difference of a gray pixel's channels, at most: lossy compression leaves a step or two, colour has far more."""
MOST_SPREAD = 0.1
"""Distance of a toned face's colours from their line, over the contrast of its brightness, at most; both are RMS."""
BLOCK = 4
"""Side in pixels of the blocks whose mean colours are looked at: lossy compression blurs what is finer."""


class AgingError(ValueError):
    """A face that cannot be shown at another age."""


@dataclass(frozen=True, eq=False)
class Aged:
    """One photo at several ages.

    images   for each age the photo (H, W, 3) uint8 RGB, its faces at that age
    ages     in years, as they were asked for
    faces    five landmarks (N, 5, 2) of the faces in the photo
    unknown  why a face is as it was: "too small" or "profile"; "" for those that were changed
    """

    images: tuple[RGBImage, ...]
    ages: tuple[float, ...]
    faces: npt.NDArray[np.float32]
    unknown: tuple[str, ...]


class AgeSynthesizer(FaceModel):
    """Shows faces at other ages, with settings that are checked once and then fixed.

    Parameters
    ----------
    weights : a safetensors file, or the result of `cascade.models.aging.load_aging`; None: the shipped generator.
    threads : threads that share the work of one call; None takes one per available core, at most 4.
    min_face : side of a face in pixels of the photo, 0 to 1000, below which it stays as it is.
    max_yaw : degrees, 0 to 90, the largest yaw to either side; beyond, a face stays as it is.
    detector : finds the faces where none are given. None: a `Detector` with its default settings, created on first use.

    The generator runs in the native engine, without torch. It can be used from several threads at once and after a
    fork, and it can be copied and pickled, with its weights. Raises ValueError or TypeError naming a wrong setting, and
    `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | AgingWeights | None = None,
        threads: int | None = None,
        *,
        min_face: float = 32,
        max_yaw: float = 50,
        detector: Detector | None = None,
    ) -> None:
        self._set_common(threads, min_face, max_yaw, detector)
        self.weights = weights if isinstance(weights, AgingWeights) else load_aging(weights)
        self._fix_settings()

    def __reduce__(self) -> tuple[Any, ...]:
        return recreated, (type(self), {"weights": self.weights, **self._common()})

    def synthesize(
        self,
        image: ImageInput,
        faces: Faces | npt.ArrayLike | None = None,
        ages: Sequence[float] = (10, 30, 60),
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> Aged:
        """The photo with its faces at each of these ages.

        ``image`` is whatever `cascade.read_image` takes. ``faces`` are `Faces`, or their five landmarks (N, 5, 2);
        without them, the ``detector`` finds the faces. ``ages`` are 1 to 101 numbers from 0 to 100, in years. Ages
        beyond those that the generator has learned are shown as the nearest ones. The photo keeps its size and its
        detail: what changes is computed in a small crop, enlarged, and added to the photo. A gray face stays gray, and
        one of a toned photo, such as a sepia print, keeps its tone.

        A photo without faces comes back as it is. Raises `ImageError` if the image cannot be used, `AlignError` for
        landmarks that cannot, and ValueError or TypeError for other ages.
        """
        years = checked_ages(ages)
        pixels, five, _ = self._located(image, faces, color)
        unknown = self._unknown(pixels, five)
        chosen = five[[not reason for reason in unknown]]
        images = []
        crops = mirrored_crops(pixels, chosen, self.weights.graph.input_size)
        tones = [tone_of(crop) for crop in crops]
        for age in years:
            canvas = pixels.astype(np.float32)
            residuals = self.residuals(crops, age)
            for residual, tone, points in zip(residuals, tones, chosen, strict=True):
                change = residual if tone is None else residual.mean(axis=2, keepdims=True) * tone
                add_residual(canvas, change, points)
            images.append(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
        return Aged(tuple(images), years, five, unknown)

    def residuals(self, crops: RGBImage, age: float) -> npt.NDArray[np.float32]:
        """What an age adds to aligned crops (n, size, size, 3) uint8 RGB: of the same shape, float32, 8-bit steps.

        It fades to 0 at the border. The crops are those of `cascade.imaging.pasting.mirrored_crops`.

        Raises ValueError or TypeError for other crops, and for an age that is no number from 0 to 100.
        """
        (years,) = checked_ages([age])
        graph = self.weights.graph
        nodes = native_nodes(graph, self.weights.at_age(years))
        network = _native.Graph(nodes, graph.input_size, [graph.outputs[OUTPUT]])
        (found,) = network.run(np.ascontiguousarray(crops), self._threads.pool)
        size = graph.input_size
        return np.asarray(STEP * found.reshape(-1, size, size, 3) * soft_mask(size)[:, :, None], np.float32)


def tone_of(crop: RGBImage) -> npt.NDArray[np.float32] | None:
    """How much each channel of a monochrome face (size, size, 3) changes with its brightness: (3,), of mean 1.

    These are ones for a gray face, and for one whose colours lie close to a line, as those of toned prints do, the
    line's slopes. None for a face in colour.
    """
    if np.ptp(crop, axis=2).max() <= MOST_CHROMA:
        return np.ones(3, np.float32)
    side = len(crop) // BLOCK * BLOCK
    blocks = crop[:side, :side].reshape(side // BLOCK, BLOCK, side // BLOCK, BLOCK, 3).mean(axis=(1, 3)).reshape(-1, 3)
    colours = blocks - blocks.mean(axis=0)
    brightness = colours.mean(axis=1)
    contrast = float(brightness @ brightness)
    if contrast == 0:
        return None
    slopes = brightness @ colours / contrast
    off = colours - brightness[:, None] * slopes
    return slopes.astype(np.float32) if np.square(off).sum() <= MOST_SPREAD**2 * contrast else None


def checked_ages(ages: Sequence[float]) -> tuple[float, ...]:
    """The ages as floats. Raises ValueError or TypeError unless they are 1 to 101 numbers from 0 to 100."""
    unordered = isinstance(ages, (str, bytes, Set, Mapping)) or getattr(ages, "ndim", 1) == 0
    if unordered or not hasattr(ages, "__len__"):
        raise TypeError(f"ages: expected a sequence of years, got {type(ages).__name__}")
    if not 1 <= len(ages) <= MOST_AGES:
        raise ValueError(f"ages: expected 1 to {MOST_AGES} of them, got {len(ages)}")
    return tuple(float(number("ages", age, 0, OLDEST)) for age in ages)
