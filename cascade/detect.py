"""Faces in a photo: the image pyramid, then P-Net, R-Net and O-Net, each on what the one before let through.

A set of weights may have an L-Net too. It computes the landmarks of the few final faces once more, from aligned crops.

>>> from cascade.detect import Detector
>>> faces = Detector(min_face=40).detect("photo.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from cascade import _native
from cascade.checks import FixedSettings, number, probabilities, thread_count
from cascade.engines.base import BatchEngine, Engine, StageGenerator, run
from cascade.engines.factory import make_engine
from cascade.faces import Faces
from cascade.imaging.errors import LONGEST, shortened
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.imaging.reading import ImageError, ImageInput, RGBImage, read_image
from cascade.models.detector import DetectorWeights
from cascade.rotations import checked_rotations, merge, rotate, rotate_back
from cascade.stages import detect_faces

__all__ = ["THRESHOLDS", "Detector", "detect"]

# Face probabilities below which P-Net, R-Net and O-Net reject a window.
THRESHOLDS = (0.7, 0.3, 0.8)


class Detector(FixedSettings):
    """Finds faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    min_face, max_face : smallest and largest side of a face, in pixels of the photo (None: no upper limit).
        The time grows with 1 / min_face².
    scale_factor : size of a pyramid level over the size of the one before, 0.5 to 0.95. A larger factor finds a
        little more and takes longer.
    thresholds : face probabilities that a window must reach in P-Net, R-Net and O-Net, each 0 to 1. Lower ones find
        more faces and more false ones.
    engine : "native" (C on the CPU), "torch" (needs torch; also for GPUs), "onnx" (needs the extra [onnx]), or an
        engine such as ``TorchEngine(load_detector(), "cuda", half=True)``, which has its own threads, weights and
        device.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it. After a call the threads spin for half a millisecond, and then sleep. One call at a time uses
        them; calls from other threads meanwhile each run on their own thread alone.
    weights : name of a shipped set (`cascade.models.detector.shipped_detectors`), a folder with safetensors files, or
        the result of `cascade.models.detector.load_detector`. None: the default set, or those of the given engine.
    device : where the torch engine computes, such as "cpu" (None) or "cuda". The native engine takes "cpu" alone.
    precision : "int8" or "float32", for the native and the onnx engine. The native engine's int8 gives exactly the same
        results on every processor and is two to three times as fast. None: int8 in the native engine where the weights
        have the activation ranges for it, as the default set has, and the processor has AVX2, or ARM's dot products,
        or better (`cascade.nn.quantization`); otherwise float32, which the torch engine always uses.
    exposure : "auto" brings dark, pale and colour-cast photos to an ordinary tonal range before they are searched (see
        `cascade._native.auto_exposure`). It looks at a few thousand pixels of every photo, 6 µs, and changes only
        photos that need it, about 1 ms per megapixel and a copy of the pixels. "none" leaves all photos as they are.
    rotations : angles of 0, 90, 180 and 270 degrees by which the photo is rotated before it is searched. The results of
        several are merged: of faces that overlap the one with the highest score stays. Each angle takes the time of a
        search. Landmarks keep the order of the upright face.

    Memory of the native engine: beside the photo's own pixels, a call takes at most 50 MB for cached levels of the
    pyramid. Larger pyramids, as of photos beyond 23 megapixels at min_face 20, have their largest levels computed and
    scanned in strips, which take some 20 MB, or 60 MB for the widest photos. The results are the same. Each thread
    takes another 6 MB, and so does each call that runs at the same time; the Detector keeps that memory. Each window
    that P-Net proposes takes less than 1 kB. So a photo of 100 megapixels adds about 60 MB on one thread if it has few
    faces, and about 100 MB if it is full of them. The torch engine keeps all levels, some 1.7 GB for such a photo.
    With either engine exposure, where a photo needs it, adds one copy of the pixels, and each rotation another.

    A Detector can be used from several threads at once and, with the native engine, after a fork. It can be pickled and
    copied, for other processes: its settings and weights are. Raises
    ValueError or TypeError naming a wrong setting, and `cascade.WeightsError` for weights that cannot be used.
    """

    def __init__(
        self,
        min_face: float = 20,
        max_face: float | None = None,
        scale_factor: float = 0.709,
        thresholds: tuple[float, float, float] = THRESHOLDS,
        engine: Literal["native", "torch", "onnx"] | Engine = "native",
        threads: int | None = None,
        weights: str | Path | DetectorWeights | None = None,
        device: str | None = None,
        precision: Literal["float32", "int8"] | None = None,
        exposure: Literal["auto", "none"] = "auto",
        rotations: Sequence[int] = (0,),
    ) -> None:
        self.min_face = number("min_face", min_face, 4, 1e6)
        self.max_face = None if max_face is None else number("max_face", max_face, self.min_face, 1e9)
        self.scale_factor = number("scale_factor", scale_factor, 0.5, 0.95)
        pnet, rnet, onet = probabilities("thresholds", thresholds, 3)
        self.thresholds = (pnet, rnet, onet)
        if exposure not in ("auto", "none"):
            raise ValueError(f"exposure: expected 'auto' or 'none', got {exposure!r}")
        self.exposure = exposure
        self.rotations = checked_rotations(rotations)
        self.engine = make_engine(engine, threads, weights, device, precision)
        self.weights = self.engine.weights
        self.threads = int(getattr(self.engine, "threads", thread_count(threads)))
        self._fix_settings()

    def detect(self, image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """Faces of one image, best first.

        ``image`` is whatever `cascade.read_image` takes: a path, encoded bytes, a file, a PIL image or an array. Boxes
        and landmarks are in pixels of the image as displayed, x right, y down; boxes are clipped to it. If there is no
        face, the `Faces` are empty. Raises `cascade.ImageError` if the image cannot be used.
        """
        return next(self._detect([read_image(image, color=color)]))

    @overload
    def detect_batch(
        self,
        images: Iterable[ImageInput],
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> list[Faces]: ...

    @overload
    def detect_batch(
        self, images: Iterable[ImageInput], *, color: Literal["rgb", "bgr"] = "rgb", on_error: Literal["return"]
    ) -> list[Faces | ImageError]: ...

    def detect_batch(
        self,
        images: Iterable[ImageInput],
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        on_error: Literal["raise", "skip", "return"] = "raise",
    ) -> list[Faces] | list[Faces | ImageError]:
        """Faces of several images, of any sizes: the same as `detect` on each.

        ``on_error`` says what becomes of an image that cannot be used. "raise" raises its `cascade.ImageError`, with
        the image's place in the message and as ``error.index``. "skip" leaves it out, so that the list is shorter.
        "return" puts the error into the list in its place.

        The torch engine computes several images together, and then the results are the same but for rounding. Raises
        TypeError where ``images`` is a single image.
        """
        if on_error not in ("raise", "skip", "return"):
            raise ValueError(f"on_error: expected 'raise', 'skip' or 'return', got {on_error!r}")
        _check_several(images)
        errors: dict[int, ImageError] = {}
        found: list[Any] = list(self._detect(_readable(images, color, on_error == "raise", errors)))
        for index, error in errors.items() if on_error == "return" else ():
            found.insert(index, error)  # in order, so that each comes into its place
        return found

    def _detect(self, images: Iterable[RGBImage]) -> Iterator[Faces]:
        """The faces of each image, merged over the angles."""
        parts: list[Faces] = []  # what was found in one photo at the angles so far
        for faces, (width, height) in self._search(self._views(images)):
            angle = self.rotations[len(parts)]
            photo_sides = (height, width) if angle % 180 else (width, height)
            parts.append(rotate_back(faces, angle, *photo_sides))
            if len(parts) == len(self.rotations):
                yield parts[0] if len(parts) == 1 else merge(parts)
                parts = []

    def _views(self, images: Iterable[RGBImage]) -> Iterator[RGBImage]:
        """The pixels to search: each image in each orientation."""
        for image in images:
            pixels = _native.auto_exposure(image) if self.exposure == "auto" else image
            for angle in self.rotations:
                yield rotate(pixels, angle)

    def _search(self, views: Iterable[RGBImage]) -> Iterator[tuple[Faces, tuple[int, int]]]:
        """The faces of each view, in its own pixels, and its width and height."""
        if not isinstance(self.engine, BatchEngine):
            for view in views:
                pyramid = self.engine.pyramid(view, self._sizes(view))
                (faces,) = run(self.engine, [self._stages(pyramid)])
                yield faces, (view.shape[1], view.shape[0])
            return
        for group in self.engine.groups(views):
            pyramids = self.engine.pyramids(group, [self._sizes(view) for view in group])
            found = run(self.engine, [self._stages(pyramid) for pyramid in pyramids])
            yield from zip(found, [(view.shape[1], view.shape[0]) for view in group], strict=True)

    def _sizes(self, photo: np.ndarray) -> list[tuple[int, int]]:
        """Widths and heights of the pyramid's levels."""
        height, width = photo.shape[:2]
        window = self.weights["pnet"].architecture.window
        return level_sizes(width, height, self.min_face, self.max_face, window, self.scale_factor)

    def _stages(self, pyramid: Pyramid) -> StageGenerator[Faces]:
        """The stages for one image. A subclass that measures or changes them overrides this."""
        return detect_faces(self.weights, pyramid, self.thresholds)


def _check_several(images: Any) -> None:
    """Raises TypeError for what is one image, or none."""
    shape = getattr(images, "shape", None)
    if isinstance(images, (str, os.PathLike)):
        got = "one path"
    elif isinstance(images, (bytes, bytearray, memoryview)):
        got = "the bytes of one"
    elif callable(getattr(images, "read", None)):
        got = "one file"
    elif isinstance(shape, tuple):
        kind = getattr(getattr(images, "dtype", None), "kind", "")
        several_gray = len(shape) == 3 and min(shape[0], shape[2]) > 4  # (N, H, W), neither (H, W, 3) nor (3, H, W)
        if several_gray or len(shape) > 3 or (len(shape) == 1 and kind in "OU"):
            return
        got = f"one array of shape {tuple(shape)}"
    elif isinstance(images, Mapping) or not hasattr(images, "__iter__"):
        got = type(images).__name__
    else:
        return
    raise TypeError(f"images: expected several images, as a list, got {got}; for one image use detect(image)")


def _readable(
    images: Iterable[ImageInput], color: Literal["rgb", "bgr"], raising: bool, errors: dict[int, ImageError]
) -> Iterator[RGBImage]:
    """The pixels of each image that can be read. The errors of others are raised, or gathered, with their places."""
    for index, image in enumerate(images):
        try:
            pixels = read_image(image, color=color)
        except ImageError as error:
            if not str(error).startswith("image: "):  # of the colour, for instance: no image's own fault
                raise
            error.args = (shortened(f"images[{index}]: {str(error).removeprefix('image: ')}", LONGEST),)
            error.index = index
            if raising:
                raise
            errors[index] = error
        else:
            yield pixels


def detect(image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb", **settings: Any) -> Faces:
    """Faces of one image, for one-liners; ``settings`` are those of `Detector`. Keep a Detector for many images."""
    return Detector(**settings).detect(image, color=color)
