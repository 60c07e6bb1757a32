"""What a detector found in one photo, as read from a prediction file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ._geometry import ellipse_boxes
from ._text import LineError

__all__ = ["Boxed", "Detections"]


class Boxed(Protocol):
    """Anything with (N, 4) boxes x1, y1, x2, y2 and (N,) scores, such as Detections or a detector's Faces."""

    @property
    def boxes(self) -> NDArray[Any]: ...

    @property
    def scores(self) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Scored boxes of one photo in pixels, in the order of the file.

    The arrays are float64: the official evaluators compare overlaps and scores at that precision.

    boxes     (N, 4) float64: x1, y1, x2, y2
    scores    (N,) float64, any finite number
    ellipses  (N, 5) float64: major radius, minor radius, angle, centre x, centre y, where the file has
              ellipses (``boxes`` are then the boxes around them); else None

    Raises ValueError for wrong shapes, values that are not finite and negative sizes.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    ellipses: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float64)
        scores = np.asarray(self.scores, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
            raise ValueError(f"boxes must be (N, 4) and scores (N,), got {boxes.shape} and {scores.shape}")
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError("boxes and scores must be finite")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError("boxes must have x1 <= x2 and y1 <= y2")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        if self.ellipses is not None:
            ellipses = np.asarray(self.ellipses, np.float64)
            if ellipses.shape != (len(boxes), 5) or not np.isfinite(ellipses).all():
                raise ValueError(f"ellipses must be finite and ({len(boxes)}, 5), got {ellipses.shape}")
            object.__setattr__(self, "ellipses", ellipses)

    def __len__(self) -> int:
        return len(self.boxes)


def from_rows(rows: NDArray[np.float64], first_line: int, name: str) -> Detections:
    """Make Detections of (N, 5) rows x, y, width, height, score; raises LineError for negative sizes."""
    negative = (rows[:, 2:4] < 0).any(axis=1)
    if negative.any():
        raise LineError(first_line + int(negative.argmax()), "negative width or height", name)
    boxes = rows[:, :4].copy()
    with np.errstate(over="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    if not np.isfinite(boxes).all():
        at = int((~np.isfinite(boxes).all(axis=1)).argmax())
        raise LineError(first_line + at, "a corner of the box is not a finite number", name)
    return Detections(boxes, rows[:, 4].copy())


def from_ellipses(rows: NDArray[np.float64], first_line: int, name: str) -> Detections:
    """Make Detections of (N, 6) rows of an ellipse and a score; raises LineError for negative radii."""
    rows = rows.reshape(-1, 6)  # a photo without any has rows of unknown width
    bad = (rows[:, :2] < 0).any(axis=1)
    if bad.any():
        raise LineError(first_line + int(bad.argmax()), "negative radius", name)
    boxes = ellipse_boxes(rows[:, :5])
    bad = ~np.isfinite(boxes).all(axis=1)
    if bad.any():
        raise LineError(first_line + int(bad.argmax()), "an ellipse beyond all numbers", name)
    return Detections(boxes, rows[:, 5].copy(), rows[:, :5].copy())


def to_text(name: str, found: Boxed, first_line: str, elliptic: bool = False) -> str:
    """Return one photo's block: first line, count, rows of x, y, width, height, score.

    With ``elliptic`` the rows are major and minor radius, angle, centre x and y, score, where ``found`` has
    them. Every number has as many digits as it takes to read the same float64 again, so that equal scores
    stay equal and others stay apart. Raises ValueError, with the photo's name, for anything that Detections
    would not take.
    """
    try:
        checked = Detections(found.boxes, found.scores, getattr(found, "ellipses", None) if elliptic else None)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None
    boxes = checked.boxes
    shapes = [boxes[:, :2], boxes[:, 2:] - boxes[:, :2]] if checked.ellipses is None else [checked.ellipses]
    rows = np.column_stack([*shapes, checked.scores]).tolist()
    lines = [first_line, str(len(rows)), *(" ".join(map(repr, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def checked_name(name: str) -> str:
    """Return a photo's name if it can stand on a line and stay inside a folder; else raise ValueError."""
    path = PurePosixPath(name)
    plain = not path.is_absolute() and ".." not in path.parts and str(path) == name and "\\" not in name
    if not name.strip() or name != name.strip() or not plain or len(name.splitlines()) != 1 or "\0" in name:
        raise ValueError(f"not a name of a photo: {name!r}")
    return name
