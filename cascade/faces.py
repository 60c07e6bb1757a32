"""The one result type: `Faces`, what a detector found in one image."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from cascade.checks import is_number
from cascade.imaging.alignment import align as align_points
from cascade.imaging.drawing import DEFAULT_COLOR, draw_faces
from cascade.imaging.reading import MAX_PIXELS, ImageInput, RGBImage, read_image

__all__ = ["LANDMARK_NAMES", "Face", "Faces"]

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""The five points in their order.

Left and right are as seen in the image, not the person's own. Where a detector's ``rotations`` found the face in a
rotated image, they are those of the upright face, as seen in that image.
"""

MIRRORED_LANDMARKS = (1, 0, 2, 4, 3)
"""The places of the five landmarks in a mirror image."""

RESERVED_NAMES = ("boxes", "scores", "landmarks")
"""What an array in ``data`` cannot be called."""

FloatArray = npt.NDArray[np.float32]
Data = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Face:
    """One face, in pixels of the image (see `Faces` for the frame). Two faces are equal only if they are one object.

    Its arrays are read-only, those of copies too.
    """

    box: FloatArray
    """(4,) float32: x1, y1, x2, y2."""
    score: float
    """How sure the detector is, 0..1."""
    landmarks: FloatArray
    """(5, 2) float32: x, y in the order of `LANDMARK_NAMES`, which says what left and right are."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Its row of each array in `Faces.data`: an array, or a number or text of numpy where there is one per face."""

    def __post_init__(self) -> None:
        for name in ("box", "landmarks"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))
        data = {name: _read_only(values) for name, values in self.data.items()}
        object.__setattr__(self, "data", MappingProxyType(data))

    def __reduce__(self) -> tuple[Any, ...]:
        return Face, (self.box, self.score, self.landmarks, dict(self.data))

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return float(self.box[3] - self.box[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the face in plain Python numbers: "box", "score", "landmarks" (name to [x, y]) and any "data"."""
        points = dict(zip(LANDMARK_NAMES, self.landmarks.tolist(), strict=True))
        row = {"box": self.box.tolist(), "score": self.score, "landmarks": points}
        return {**row, "data": {name: values.tolist() for name, values in self.data.items()}} if self.data else row


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Faces:
    """The faces of one image: boxes, scores, landmarks and any further arrays, row by row.

    Coordinates are pixels of the image as displayed (EXIF orientation applied), x to the right, y down, and
    continuous: an image spans [0, W]×[0, H], its first pixel has its centre at (0.5, 0.5), and a box is
    x2 - x1 wide. Boxes and points may lie partly outside the image.

    ``len(faces)`` counts them; ``faces[0]`` and iteration give a `Face`; a slice, an array of indices or a
    mask such as ``faces[faces.scores > 0.9]`` gives `Faces` again, with the same rows of every array in ``data``.
    Nothing can be changed in place. `Faces` without a face are empty, and false in an ``if``; arrays in ``data`` then
    have no rows either. Two `Faces` are equal only if they are one object: compare their arrays.

    Parameters
    ----------
    boxes, scores, landmarks, data
        The attributes below, as anything numpy can convert. They are copied, and stay in the order given.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity, x2 < x1 or y2 < y1, scores outside 0..1, and in ``data`` for
        names that are not text, are empty or RESERVED_NAMES, and for arrays that are not of numbers, booleans or
        text. The message names the argument.
    """

    boxes: FloatArray
    """(N, 4) float32: x1, y1, x2, y2."""
    scores: FloatArray
    """(N,) float32 in 0..1."""
    landmarks: FloatArray
    """(N, 5, 2) float32: x, y in the order of `LANDMARK_NAMES`, left and right as seen in the image."""
    data: Data
    """Further read-only arrays by name, (N, …) each: embeddings, ages, names of people, 68 points. Their dtype is kept
    and NaN is allowed."""

    def __init__(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike,
        landmarks: npt.ArrayLike,
        data: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        checked_scores = _checked("scores", scores, (None,))
        count = len(checked_scores)
        checked_boxes = _checked("boxes", boxes, (count, 4))
        checked_points = _checked("landmarks", landmarks, (count, 5, 2))
        outside = (checked_scores < 0) | (checked_scores > 1)
        if outside.any():
            raise ValueError(f"scores: expected values in 0..1, got {checked_scores[outside][0]:g}")
        inverted = (checked_boxes[:, 2:] < checked_boxes[:, :2]).any(axis=1)
        if inverted.any():
            wrong = f"{checked_boxes[inverted][0].tolist()}; are they x, y, width, height?"
            raise ValueError(f"boxes: expected x1 ≤ x2 and y1 ≤ y2, got {wrong}")
        object.__setattr__(self, "boxes", checked_boxes)
        object.__setattr__(self, "scores", checked_scores)
        object.__setattr__(self, "landmarks", checked_points)
        object.__setattr__(self, "data", _checked_data({} if data is None else data, count))

    @classmethod
    def empty(cls) -> Faces:
        """Return no faces: arrays of shapes (0, 4), (0,) and (0, 5, 2), and no further data."""
        return cls(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))

    def sort(self) -> Faces:
        """Return the faces by falling score, equal scores from top to bottom, then from left to right."""
        return self[sort_order(self.boxes, self.scores)]

    def with_data(self, data: Mapping[str, npt.ArrayLike]) -> Faces:
        """Return the faces with these arrays in addition; one of a name that is there already takes its place.

        Raises `ValueError` as the constructor does.
        """
        return Faces(self.boxes, self.scores, self.landmarks, {**self.data, **_checked_data(data, len(self))})

    # The sequence protocol

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Face: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]) -> Faces: ...

    def __getitem__(self, index: Any) -> Face | Faces:
        if isinstance(index, slice):
            return self._rows(index)
        where = np.asarray(index)
        if where.size == 0 and where.dtype.kind == "f":  # numpy takes [] for floats
            where = where.astype(np.intp)
        one = where.ndim == 0 and where.dtype.kind in "iu"
        several = where.ndim == 1 and where.dtype.kind in "iub"
        if isinstance(index, tuple) or not (one or several):
            raise TypeError(f"index: expected an integer, slice, list of integers or mask, got {index!r}")
        if not one:
            return self._rows(where)
        at = operator.index(index)
        data = {name: values[at] for name, values in self.data.items()}
        return Face(self.boxes[at], float(self.scores[at]), self.landmarks[at], data)

    def _rows(self, rows: slice | npt.NDArray[Any]) -> Faces:
        data = {name: values[rows] for name, values in self.data.items()}
        return Faces(self.boxes[rows], self.scores[rows], self.landmarks[rows], data)

    def __repr__(self) -> str:
        if not len(self):
            return "<Faces: none>"
        shown = [
            f"{score:.2f} at [" + ", ".join(f"{side:.0f}" for side in box) + "]"
            for score, box in zip(self.scores[:3], self.boxes[:3], strict=True)
        ]
        more = f"; {len(self) - 3} more" if len(self) > 3 else ""
        return f"<Faces: {len(self)}; {'; '.join(shown)}{more}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, since numpy's own pickles come back writeable.
        return Faces, (self.boxes, self.scores, self.landmarks, dict(self.data))

    # Other forms

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict per face, ready for JSON.

        Keys: "box" ([x1, y1, x2, y2]), "score", "landmarks" (a dict from each of `LANDMARK_NAMES` to [x, y]), and,
        if there are further arrays, "data" (a dict from their names to the face's row as a number, text or list).
        """
        return [face.to_dict() for face in self]

    @classmethod
    def from_dicts(cls, dicts: Iterable[Mapping[str, Any]]) -> Faces:
        """Return the faces that `to_dicts` (or its JSON) describes; further keys are ignored.

        Arrays in "data" come back with the same values in numpy's own types, float64 for any float. From an empty list
        they do not come back. Raises `ValueError` if a key is missing or a value does not fit, and if two faces do not
        have the same names in "data".
        """
        try:
            rows = list(dicts)
            boxes = [row["box"] for row in rows]
            scores = [row["score"] for row in rows]
            points = [[row["landmarks"][name] for name in LANDMARK_NAMES] for row in rows]
            further = [dict(row.get("data", {})) for row in rows]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            wanted = f"box, score and landmarks ({', '.join(LANDMARK_NAMES)})"
            raise ValueError(f"dicts: expected {wanted} in each, but: {error!r}") from error
        if any(each.keys() != further[0].keys() for each in further):
            raise ValueError("dicts: expected the same names in the data of each, got different ones")
        data = {name: [each[name] for each in further] for name in (further[0] if further else ())}
        return cls(boxes, scores, points, data)

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dicts` as JSON text, which ``Faces.from_dicts(json.loads(text))`` reads back."""
        return json.dumps(self.to_dicts(), indent=indent)

    def to_supervision(self) -> Any:
        """Return a ``supervision.Detections``: xyxy, confidence, class 0, and in its data landmarks and our data.

        Raises `ImportError` if supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            command = "python -m pip install supervision"
            raise ImportError(f"to_supervision needs the package supervision: {command}") from error
        # Copies, as its users expect to write; a class, since its annotators choose colours by class.
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=np.zeros(len(self), dtype=int),
            data={"landmarks": self.landmarks.copy(), **{name: array.copy() for name, array in self.data.items()}},
        )

    # Pictures

    def draw(
        self,
        image: ImageInput,
        *,
        color: Literal["rgb", "bgr"] | Sequence[int] = "rgb",
        box_color: Sequence[int] = DEFAULT_COLOR,
        width: int | None = None,
        scores: bool = True,
        landmarks: bool = True,
    ) -> RGBImage:
        """Return a copy of the image with the faces drawn on it: (H, W, 3) uint8 RGB, whatever came in.

        Parameters
        ----------
        image
            Anything that `cascade.imaging.reading.read_image` takes; it is not changed.
        color
            Order of the channels of an array: "rgb", or "bgr" for arrays from OpenCV. Three numbers are taken for
            `box_color`, which had this name before.
        box_color
            Red, green and blue of the boxes, 0..255 each.
        width
            Width of the lines in pixels; without it, it depends on the size of the image and of each face.
        scores
            Write each score beside its box. Tiny faces have none, and where scores would hide each other or another
            face, only the face with the higher score has its score written.
        landmarks
            Mark the five points.

        Raises `ImageError` if the image cannot be read and `ValueError` for a wrong color or width.
        """
        order: Literal["rgb", "bgr"] = "rgb"
        if isinstance(color, str) and color in ("rgb", "bgr"):
            order = color
        else:
            box_color = cast(Sequence[int], color)
        return draw_faces(
            read_image(image, color=order),
            self.boxes,
            self.scores,
            self.landmarks,
            color=box_color,
            width=width,
            with_scores=scores,
            with_landmarks=landmarks,
        )

    def crop(self, image: ImageInput, margin: float = 0.0, *, color: Literal["rgb", "bgr"] = "rgb") -> list[RGBImage]:
        """Cut out each face: a list of (h, w, 3) uint8 RGB arrays, at least 1×1.

        A crop holds every pixel that its box touches. What lies outside the image is black, so that the face
        stays in the middle. `margin` widens the box on each side by that share of its width and height (0.25
        makes it half as wide again); a negative one, above -0.5, narrows it. `color` is the order of the channels of
        an array; the crops are RGB.

        Raises `ImageError` if the image cannot be read and `ValueError` for a wrong margin or a crop of more
        than 200 million pixels.
        """
        if not is_number(margin) or not -0.5 < margin < float("inf"):
            raise ValueError(f"margin: expected a finite number above -0.5, got {margin!r}")
        pixels = read_image(image, color=color)
        boxes = self.boxes.astype(np.float64)
        extra = margin * (boxes[:, 2:] - boxes[:, :2])
        low = np.floor(boxes[:, :2] - extra)
        high = np.maximum(np.ceil(boxes[:, 2:] + extra), low + 1)
        largest = np.prod(high - low, axis=1).max(initial=0)
        if largest > MAX_PIXELS:
            raise ValueError(f"boxes: expected crops of at most {MAX_PIXELS:,} pixels, got {largest:,.0f}")
        corners = np.hstack([low, high]).astype(np.int64)
        return [_cut(pixels, *corner) for corner in corners.tolist()]

    def align(
        self,
        image: ImageInput,
        size: int = 112,
        template: npt.ArrayLike | None = None,
        *,
        color: Literal["rgb", "bgr"] = "rgb",
    ) -> RGBImage:
        """Return aligned crops of the faces, ready for recognition: (N, size, size, 3) uint8 RGB.

        `template` holds the places of the five points in a crop of 112×112 pixels; without it, ArcFace's. `color` is
        the order of the channels of an array; the crops are RGB. See `cascade.imaging.alignment.align` for the rest
        and for the errors raised.
        """
        return align_points(read_image(image, color=color), self.landmarks, size, template)


def faces_found(boxes: FloatArray, scores: FloatArray, landmarks: FloatArray) -> Faces:
    """Faces as a detector computes them: of new float32 arrays that need no checks, and become read-only."""
    faces = object.__new__(Faces)
    for name, array in (("boxes", boxes), ("scores", scores), ("landmarks", landmarks)):
        array.flags.writeable = False
        object.__setattr__(faces, name, array)
    object.__setattr__(faces, "data", MappingProxyType({}))
    return faces


def sort_order(boxes: FloatArray, scores: FloatArray) -> npt.NDArray[np.intp]:
    """Indices by falling score, equal scores from top to bottom, then from left to right."""
    x1, y1, x2, y2 = boxes.T
    return np.lexsort((x2, y2, x1, y1, -scores))


def _cut(image: RGBImage, x1: int, y1: int, x2: int, y2: int) -> RGBImage:
    """Copy the pixels x1 to x2, y1 to y2 (exclusive), with black for those the image does not have."""
    height, width = image.shape[:2]
    crop = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x2, width), min(y2, height)
    if left < right and top < bottom:
        crop[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return crop


def _read_only(values: Any) -> Any:
    """The values, if they are no array or cannot be changed; otherwise a copy that cannot, as numpy's pickles can."""
    if not isinstance(values, np.ndarray) or not values.flags.writeable:
        return values
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def _checked(name: str, values: npt.ArrayLike, shape: tuple[int | None, ...]) -> FloatArray:
    """A read-only copy of `values` as a float32 array of the shape, in which None stands for any length."""
    try:
        array = np.array(values, order="C")
        if array.dtype.kind == "c":
            raise TypeError("complex numbers")
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused below
                array = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected an array of numbers: {error}") from error
    if array.shape == (0,) and shape[0] == 0:  # an empty list
        array = array.reshape([0 if side is None else side for side in shape])
    fits = [side in (None, got) for side, got in zip(shape, array.shape, strict=False)]
    if array.ndim != len(shape) or not all(fits):
        wanted = ", ".join("N" if side is None else str(side) for side in shape)
        raise ValueError(f"{name}: expected shape ({wanted}{',' * (len(shape) == 1)}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    array.flags.writeable = False
    return array


def _checked_data(data: Mapping[str, npt.ArrayLike], count: int) -> Data:
    """Read-only copies of the arrays, in a dict that cannot be changed."""
    if not isinstance(data, Mapping):
        raise ValueError(f"data: expected a dict of arrays, got {type(data).__name__}")
    found: dict[str, npt.NDArray[Any]] = {}
    for name, values in data.items():
        if not isinstance(name, str) or not name or name in RESERVED_NAMES:
            raise ValueError(f"data: expected names other than {', '.join(RESERVED_NAMES)}, got {name!r}")
        try:
            array = np.array(values, order="C")
        except (TypeError, ValueError) as error:
            raise ValueError(f"data[{name!r}]: expected an array: {error}") from error
        if array.dtype.kind not in "biufU":
            raise ValueError(f"data[{name!r}]: expected numbers, booleans or text, got {array.dtype}")
        if array.ndim < 1 or len(array) != count:
            raise ValueError(f"data[{name!r}]: expected shape ({count}, …), got {array.shape}")
        array.flags.writeable = False
        found[name] = array
    return MappingProxyType(found)
