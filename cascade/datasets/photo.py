"""What every reader returns: photos with their labelled faces, and a list of what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Dataset", "DatasetError", "Photo", "PhotoSet", "Problem"]


class DatasetError(ValueError):
    """An annotation or prediction file cannot be used; the message names the file and any line known."""

    @classmethod
    def unreadable(cls, file: Path, error: Exception) -> DatasetError:
        """The error of a file that cannot be opened, read or decoded, with the reason."""
        return cls(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a reader had to leave out.

    ``file`` is the file to look into, ``line`` its line counted from 1 (None where lines mean nothing).
    ``str(problem)`` is "file.txt:12: message", or "file.txt: message" without a line.
    """

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One photo and its labelled faces, in pixels of the stored photo.

    The photo spans [0, W] × [0, H], x to the right and y down, so a box is x1, y1, x2, y2 and its width x2 −
    x1. Boxes and landmarks are as annotated: they may overhang the photo. All arrays are copies and
    read-only.

    path            the image file
    name            stable name within the set, with forward slashes
    boxes           (N, 4) float32: x1, y1, x2, y2
    ignored         (N,) bool: neither a face to be found nor background (invalid, crowd, no area)
    landmarks       (N, 5, 2) float32: left eye, right eye, nose, left and right mouth corner as seen in the
                    image; NaN where unknown
    fully_labelled  False: there may be faces without a box, so background must not be taken blindly
    attributes      further labels by name, each an array of length N
    ellipses        (N, 5) float64: major radius, minor radius, angle, centre x, centre y as in the file; or
                    None
    size            width and height where the annotation states them; or None

    Raises ValueError for wrong shapes, box corners that are not finite or not in order, infinite landmarks.
    """

    path: Path
    name: str
    boxes: NDArray[np.float32]
    ignored: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    fully_labelled: bool
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    ellipses: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        boxes = _frozen(self.boxes, np.float32)
        n = len(boxes) if boxes.ndim else 0
        _check_shape(self.name, "boxes", boxes, (n, 4))
        put = object.__setattr__
        put(self, "boxes", boxes)
        put(self, "ignored", _shaped(self.name, "ignored", self.ignored, np.bool_, (n,)))
        put(self, "landmarks", _shaped(self.name, "landmarks", self.landmarks, np.float32, (n, 5, 2)))
        attributes = {key: _frozen(values) for key, values in self.attributes.items()}
        for key, values in attributes.items():
            if values.shape[:1] != (n,):
                raise ValueError(f"{self.name}: attribute {key!r} must have length {n}, got shape {values.shape}")
        # A plain dict: a read-only view of it could not be sent to the processes of a pool.
        put(self, "attributes", attributes)
        if self.ellipses is not None:
            put(self, "ellipses", _shaped(self.name, "ellipses", self.ellipses, np.float64, (n, 5)))
        self._check_values()

    def _check_values(self) -> None:
        if not self.name:
            raise ValueError(f"{self.path}: a photo needs a name")
        if not np.isfinite(self.boxes).all() or (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise ValueError(f"{self.name}: boxes must be finite with x1 <= x2 and y1 <= y2")
        if np.isinf(self.landmarks).any():
            raise ValueError(f"{self.name}: landmarks must be finite, or NaN where unknown")
        if self.ellipses is not None and not np.isfinite(self.ellipses).all():
            raise ValueError(f"{self.name}: ellipses must be finite")

    def __len__(self) -> int:
        """Return the number of labelled faces, ignored ones included."""
        return len(self.boxes)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSet(Generic[Item]):
    """The photos of one set, in the reader's order, and the problems met while reading it.

    Length, iteration and an integer index give photos; a slice gives a tuple of them. Raises ValueError when two photos
    have the same name.
    """

    name: str
    photos: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "photos", tuple(self.photos))
        object.__setattr__(self, "problems", tuple(self.problems))
        if len({photo.name for photo in self.photos}) < len(self.photos):
            raise ValueError(f"{self.name}: two photos have the same name")

    def __len__(self) -> int:
        return len(self.photos)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.photos)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...

    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        return self.photos[index]


class Dataset(PhotoSet[Photo]):
    """The photos of one set for the detector, with their labelled faces: a `PhotoSet` of `Photo`."""

    __slots__ = ()

    def by_name(self) -> dict[str, Photo]:
        """Return the photos keyed by name, in the same order."""
        return {photo.name: photo for photo in self.photos}


def _frozen(values: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    """Return a read-only copy: datasets are shared, and augmenting one in place would change the truth."""
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, which the checks then report
        copy = np.array(values, dtype=dtype)
    copy.setflags(write=False)
    return copy


def _shaped(name: str, label: str, values: ArrayLike, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    array = _frozen(values, dtype)
    _check_shape(name, label, array, shape)
    return array


def _check_shape(name: str, label: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: {label} must have shape {shape}, got {array.shape}")
