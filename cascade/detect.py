"""Faces in a photo: the image pyramid, then P-Net, R-Net and O-Net, each on what the one before let through.

A set of weights may have an L-Net too. It computes the landmarks of the few final faces once more, from aligned crops.

>>> from cascade.detect import Detector
>>> faces = Detector(min_face=40).detect("photo.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from cascade.checks import FixedSettings, number, probabilities, thread_count
from cascade.engines.base import BatchEngine, Engine, StageGenerator, run
from cascade.engines.factory import make_engine
from cascade.engines.native import NativeEngine
from cascade.faces import Faces
from cascade.imaging.errors import LONGEST, shortened
from cascade.imaging.exposure import exposures
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.imaging.reading import ImageError, ImageInput, RGBImage, read_reduced
from cascade.imaging.reduced import Frame, ReducedPhoto, largest_reduction
from cascade.models.detector import DetectorWeights
from cascade.rotations import checked_rotations, merge, rotate, rotate_back
from cascade.stages import detect_faces

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["THRESHOLDS", "Detector", "detect"]

# Face probabilities below which P-Net, R-Net and O-Net reject a window.
THRESHOLDS = (0.7, 0.4, 0.8)


class Detector(FixedSettings):
    """Finds faces, with settings that are checked once and then fixed.

    Parameters
    ----------
    min_face, max_face : side of the smallest and the largest face to look for, in pixels of the photo (None: no upper
        limit). They choose the pyramid levels, so that somewhat smaller and larger faces may be found, too. The time
        grows with 1 / min_face².
    scale_factor : size of a pyramid level over the size of the one before, 0.5 to 0.95. A larger factor finds a
        little more and takes longer. Steps for close-ups are half as large.
    thresholds : face probabilities that a window must reach in P-Net and R-Net, and a face in the end, each 0 to 1.
        Lower ones find more faces and more false ones.
    engine : "native" (C on the CPU), "torch" (needs torch; also for GPUs), "onnx" (needs the extra [onnx]), or an
        engine such as ``TorchEngine(load_detector(), "cuda", half=True)``, which has its own threads, weights and
        device.
    threads : threads that share the work of one call; None takes one per available core, at most 4. Results do not
        depend on it. After a call the threads spin for half a millisecond, and then sleep. One call at a time uses
        them; calls from other threads meanwhile each run on their own thread alone.
    weights : name of a shipped set (`cascade.models.detector.shipped_detectors`), a folder with safetensors files, or
        the result of `cascade.models.detector.load_detector`. None: the default set, or those of the given engine.
    device : where the torch engine computes, such as "cpu" (None) or "cuda". The native engine takes "cpu" alone.
    precision : "int8" or "float32", for the native and the onnx engine. The native engine's int8 networks give exactly
        the same outputs on every processor, and are two to three times as fast. None: int8 in the native engine where
        the weights have the activation ranges for it, as the default set has, and the processor has AVX2, or ARM's dot
        products, or better (`cascade.nn.quantization`); otherwise float32, which the torch engine always uses.
    exposure : "auto" brings dark, pale and colour-cast photos to an ordinary tonal range before they are searched (see
        `cascade._native.auto_exposure`). It looks at a few thousand pixels of every photo, 6 µs, and changes only
        photos that need it, 1 to 2 ms per megapixel and a copy of the pixels. If that turns a part of the photo black
        or white, such as the only lit face in the dark, the photo is searched as it is, too, and the results are
        merged as those of ``rotations`` are. "none" leaves all photos as they are.
    rotations : angles of 0, 90, 180 and 270 degrees by which the photo is rotated before it is searched. The results of
        several are merged: of faces that overlap the one with the highest score stays. Each angle takes the time of a
        search. Landmarks keep the order of the upright face.
    decode : "full" reads JPEG files as they are. "reduced" has the decoder read them at 1/2, 1/4 or 1/8 of their size
        where ``min_face`` is 80, 160 or 320 pixels or more: the smallest face still has 40 pixels then. That is
        faster, and changes scores and coordinates a little. Results are in pixels of the photo at its full size.

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
        weights: str | os.PathLike[str] | DetectorWeights | None = None,
        device: str | None = None,
        precision: Literal["float32", "int8"] | None = None,
        exposure: Literal["auto", "none"] = "auto",
        rotations: Sequence[int] = (0,),
        decode: Literal["full", "reduced"] = "full",
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
        if decode not in ("full", "reduced"):
            raise ValueError(f"decode: expected 'full' or 'reduced', got {decode!r}")
        self.decode = decode
        self.engine = make_engine(engine, threads, weights, device, precision)
        self.weights = self.engine.weights
        self.threads = int(getattr(self.engine, "threads", thread_count(threads)))
        self._fix_settings()

    def read(self, image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb") -> ReducedPhoto:
        """The photo as `detect` searches it: with ``decode="reduced"`` of reduced size where ``min_face`` allows it.

        `detect` takes what is returned. So photos can be read beforehand, for instance by another thread. Raises
        `cascade.ImageError` if the image cannot be used.
        """
        reduction = largest_reduction(self.min_face) if self.decode == "reduced" else 1
        return read_reduced(image, reduction, color=color)

    def detect(self, image: ImageInput | ReducedPhoto, *, color: Literal["rgb", "bgr"] = "rgb") -> Faces:
        """Faces of one image, best first.

        ``image`` is whatever `cascade.read_image` takes: a path, encoded bytes, a file, a PIL image or an array; or
        what `read` returned. Boxes and landmarks are in pixels of the image as displayed, x right, y down; boxes are
        clipped to it. If there is no face, the `Faces` are empty. Raises `cascade.ImageError` if the image cannot be
        used.
        """
        photo = image if isinstance(image, ReducedPhoto) else self.read(image, color=color)
        return next(self._detect([photo]))

    @overload
    def detect_batch(
        self,
        images: Iterable[ImageInput | ReducedPhoto],
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> list[Faces]: ...

    @overload
    def detect_batch(
        self,
        images: Iterable[ImageInput | ReducedPhoto],
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        on_error: Literal["return"],
    ) -> list[Faces | ImageError]: ...

    def detect_batch(
        self,
        images: Iterable[ImageInput | ReducedPhoto],
        *,
        color: Literal["rgb", "bgr"] = "rgb",
        on_error: Literal["raise", "skip", "return"] = "raise",
    ) -> list[Faces] | list[Faces | ImageError]:
        """Faces of several images, of any sizes: the same as `detect` on each.

        ``on_error`` says what becomes of an image that cannot be used. "raise" raises its `cascade.ImageError`, with
        the image's place in the message and as ``error.index``. "skip" leaves it out, so that the list is shorter.
        "return" puts the error into the list in its place.

        Of a list, or whatever else has a length, each of several ``threads`` of the native engine reads and searches
        images of its own, so that the threads seldom wait for each other; as many photos as threads are in memory at a
        time. What has no length, as a generator, is read image by image, and may yield the same array again with other
        pixels. The torch engine computes several images together, copies of those of a generator, and then the results
        are the same but for rounding. Raises TypeError where ``images`` is a single image.
        """
        if on_error not in ("raise", "skip", "return"):
            raise ValueError(f"on_error: expected 'raise', 'skip' or 'return', got {on_error!r}")
        _check_several(images)
        errors: dict[int, ImageError] = {}
        if self._shares(images):
            found: list[Any] = list(self._detect_shared(images, color, on_error == "raise", errors))
        else:
            found = list(self._detect(self._readable(images, color, on_error == "raise", errors)))
        for index, error in errors.items() if on_error == "return" else ():
            found.insert(index, error)  # in order, so that each comes into its place
        return found

    def _shares(self, images: Iterable[Any]) -> bool:
        """Whether each thread takes images of its own: if there are enough for all.

        A generator may yield the same array again with other pixels, so its next image waits until this one is done,
        or copied.
        """
        enough = isinstance(images, Sized) and len(images) >= self.threads
        return self.threads > 1 and enough and isinstance(self.engine, NativeEngine)

    def _detect_shared(
        self,
        images: Iterable[ImageInput | ReducedPhoto],
        color: Literal["rgb", "bgr"],
        raising: bool,
        errors: dict[int, ImageError],
    ) -> Iterator[Faces]:
        """The faces of each image that can be read, in order, searched side by side. Errors as of `_readable`."""
        from concurrent.futures import ThreadPoolExecutor

        begun: deque[tuple[int, Future[Faces]]] = deque()

        def finish() -> Iterator[Faces]:
            index, future = begun.popleft()
            try:
                yield future.result()
            except ImageError as error:
                _place(error, index, raising, errors)

        with ThreadPoolExecutor(self.threads, "cascade-batch") as executor:
            try:
                for index, image in enumerate(images):
                    begun.append((index, executor.submit(self._detect_alone, image, color)))
                    if len(begun) > self.threads:
                        yield from finish()
                while begun:
                    yield from finish()
            finally:
                for _, future in begun:
                    future.cancel()

    def _detect_alone(self, image: ImageInput | ReducedPhoto, color: Literal["rgb", "bgr"]) -> Faces:
        """`detect` on the calling thread alone."""
        photo = image if isinstance(image, ReducedPhoto) else self.read(image, color=color)
        assert isinstance(self.engine, NativeEngine)
        with self.engine.on_one_thread() as engine:
            return next(self._detect([photo], engine))

    def _readable(
        self,
        images: Iterable[ImageInput | ReducedPhoto],
        color: Literal["rgb", "bgr"],
        raising: bool,
        errors: dict[int, ImageError],
    ) -> Iterator[ReducedPhoto]:
        """Each image that can be read. The errors of others are raised, or gathered, with their places."""
        # such an engine takes the next images before it is done with this one, see `_shares`
        copies = isinstance(self.engine, BatchEngine) and not isinstance(images, Sized)
        for index, image in enumerate(images):
            try:
                photo = image if isinstance(image, ReducedPhoto) else self.read(image, color=color)
            except ImageError as error:
                _place(error, index, raising, errors)
            else:
                yield replace(photo, pixels=photo.pixels.copy()) if copies else photo

    def _detect(self, photos: Iterable[ReducedPhoto], engine: Engine | None = None) -> Iterator[Faces]:
        """The faces of each photo, merged over its views."""
        begun: deque[tuple[Frame, tuple[int, ...]]] = deque()
        parts: list[Faces] = []  # what was found in the views of one photo so far
        for faces, (width, height) in self._search(self._views(photos, begun), engine or self.engine):
            frame, angles = begun[0]
            angle = angles[len(parts)]
            photo_sides = (height, width) if angle % 180 else (width, height)
            parts.append(rotate_back(faces, angle, *photo_sides))
            if len(parts) == len(angles):
                yield _in_photo(parts[0] if len(parts) == 1 else merge(parts), frame)
                begun.popleft()
                parts = []

    def _views(
        self, photos: Iterable[ReducedPhoto], begun: deque[tuple[Frame, tuple[int, ...]]]
    ) -> Iterator[tuple[RGBImage, int]]:
        """The pixels to search, each photo at its exposures in each orientation, and how they are reduced.

        Notes each photo's frame, and the angle of each of its views.
        """
        for photo in photos:
            reduction = photo.frame.reduction
            images = exposures(photo.pixels, self.min_face / reduction) if self.exposure == "auto" else (photo.pixels,)
            begun.append((photo.frame, self.rotations * len(images)))
            for pixels in images:
                for angle in self.rotations:
                    yield rotate(pixels, angle), reduction

    def _search(self, views: Iterable[tuple[RGBImage, int]], engine: Engine) -> Iterator[tuple[Faces, tuple[int, int]]]:
        """The faces of each view, in its own pixels, and its width and height."""
        if not isinstance(engine, BatchEngine):
            for view, reduction in views:
                pyramid = engine.pyramid(view, self._sizes(view, reduction))
                (faces,) = run(engine, [self._stages(pyramid)])
                yield faces, (view.shape[1], view.shape[0])
            return
        reductions: deque[int] = deque()
        for group in engine.groups(_pixels(views, reductions)):
            pyramids = engine.pyramids(group, [self._sizes(view, reductions.popleft()) for view in group])
            found = run(engine, [self._stages(pyramid) for pyramid in pyramids])
            yield from zip(found, [(view.shape[1], view.shape[0]) for view in group], strict=True)

    def _sizes(self, view: np.ndarray, reduction: int) -> list[tuple[int, int]]:
        """Widths and heights of the pyramid's levels."""
        height, width = view.shape[:2]
        window = self.weights["pnet"].architecture.window
        largest = None if self.max_face is None else self.max_face / reduction
        return level_sizes(width, height, self.min_face / reduction, largest, window, self.scale_factor)

    def _stages(self, pyramid: Pyramid) -> StageGenerator[Faces]:
        """The stages for one image. A subclass that measures or changes them overrides this."""
        return detect_faces(self.weights, pyramid, self.thresholds)


def _pixels(views: Iterable[tuple[RGBImage, int]], reductions: deque[int]) -> Iterator[RGBImage]:
    """The pixels of each view; notes how they are reduced."""
    for pixels, reduction in views:
        reductions.append(reduction)
        yield pixels


def _place(error: ImageError, index: int, raising: bool, errors: dict[int, ImageError]) -> None:
    """Gives the error of an image its place, and raises it or adds it to the others."""
    if not str(error).startswith("image: "):  # of the colour, for instance: no image's own fault
        raise error
    error.args = (shortened(f"images[{index}]: {str(error).removeprefix('image: ')}", LONGEST),)
    error.index = index
    if raising:
        raise error
    errors[index] = error


def _in_photo(faces: Faces, frame: Frame) -> Faces:
    """Faces of what was read of a photo in pixels of the photo, boxes clipped to it."""
    if frame.reduction == 1 or not len(faces):
        return faces
    corners = np.clip(frame.to_photo(faces.boxes.reshape(-1, 2, 2)), 0, (frame.width, frame.height))
    return Faces(corners.reshape(-1, 4), faces.scores, frame.to_photo(faces.landmarks), faces.data)


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


def detect(image: ImageInput, *, color: Literal["rgb", "bgr"] = "rgb", **settings: Any) -> Faces:
    """Faces of one image, for one-liners; ``settings`` are those of `Detector`. Keep a Detector for many images."""
    return Detector(**settings).detect(image, color=color)
