"""What a detector found, photo by photo: reading the usual files, and matching names to photos."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.checks import is_finite_number
from cascade.datasets import DatasetError, Detections, read_fddb_detections, read_wider_predictions
from cascade.imaging.formats import IMAGE_SUFFIXES
from cascade.npz import read_npz
from eval.detection.average_precision import FloatArray

__all__ = ["Found", "Matched", "Predictions", "default_score", "match_names", "read_predictions", "to_json"]


BOX_NUMBERS, ALL_NUMBERS = 5, 15
"""Numbers of a row: x1, y1, x2, y2 and score; and with x, y of the five landmarks behind them."""
WIDTHS = f"{BOX_NUMBERS} or {ALL_NUMBERS}"
USUAL = "usual_photos"
"""Where a JSON file has what the detector finds by default, beside "photos", which reach down to low scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in one photo, in the order given.

    boxes      (N, 4) float64: x1, y1, x2, y2 in pixels, x2 − x1 wide
    scores     (N,) float64, any finite number
    landmarks  (N, 5, 2) float64 in pixels: left eye, right eye, nose, left and right mouth corner as seen in
               the image; None where the detector has none
    ellipses   (N, 5) float64: major radius, minor radius, angle, centre x, centre y, where the detector gives
               ellipses (``boxes`` are then the boxes around them); else None

    Raises ValueError for other shapes, numbers that are not finite, and corners out of order.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None = None
    ellipses: FloatArray | None = None

    def __post_init__(self) -> None:
        checked = Detections(self.boxes, self.scores, self.ellipses)
        object.__setattr__(self, "boxes", checked.boxes)
        object.__setattr__(self, "scores", checked.scores)
        object.__setattr__(self, "ellipses", checked.ellipses)
        if self.landmarks is not None:
            landmarks = np.asarray(self.landmarks, np.float64)
            if landmarks.shape != (len(checked), 5, 2) or not np.isfinite(landmarks).all():
                raise ValueError(f"landmarks must be finite, ({len(checked)}, 5, 2), got {landmarks.shape}")
            object.__setattr__(self, "landmarks", landmarks)

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float) -> Found:
        """Return what has this score or more."""
        return self.at(np.flatnonzero(self.scores >= score))

    def at(self, indices: NDArray[np.int64]) -> Found:
        """Return the detections at these places, in this order."""
        landmarks, ellipses = (None if part is None else part[indices] for part in (self.landmarks, self.ellipses))
        return Found(self.boxes[indices], self.scores[indices], landmarks, ellipses)

    def rows(self) -> list[list[float]]:
        """Return one row of 5 numbers for each detection, or of 15 with landmarks."""
        parts = [self.boxes, self.scores[:, None]]
        if self.landmarks is not None:
            parts.append(self.landmarks.reshape(-1, 10))
        return [list(map(float, row)) for row in np.hstack(parts)]

    @classmethod
    def join(cls, parts: Sequence[Found]) -> Found:
        """Put what was found in one photo together, in this order; landmarks and ellipses where all parts have them."""
        parts = [part for part in parts if len(part)] or parts[:1]
        boxes, scores = np.concatenate([part.boxes for part in parts]), np.concatenate([part.scores for part in parts])
        landmarks = [part.landmarks for part in parts if part.landmarks is not None]
        ellipses = [part.ellipses for part in parts if part.ellipses is not None]
        return cls(
            boxes,
            scores,
            np.concatenate(landmarks) if len(landmarks) == len(parts) else None,
            np.concatenate(ellipses) if len(ellipses) == len(parts) else None,
        )

    @classmethod
    def from_rows(cls, rows: ArrayLike) -> Found:
        """Make it of (N, 5) or (N, 15) rows x1 y1 x2 y2 score [x y of five landmarks]; raises ValueError."""
        array = np.asarray(rows, np.float64)
        if array.size == 0:
            # None, so that nothing found in a photo does not deny the landmarks of the others.
            return cls(np.zeros((0, 4)), np.zeros(0), None)
        if array.ndim != 2 or array.shape[1] not in (BOX_NUMBERS, ALL_NUMBERS):
            raise ValueError(f"rows of {WIDTHS} numbers expected, got shape {array.shape}")
        landmarks = array[:, BOX_NUMBERS:].reshape(-1, 5, 2) if array.shape[1] == ALL_NUMBERS else None
        return cls(array[:, :4], array[:, 4], landmarks)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A detector's results by photo name, and what the file says of the detector (may be empty).

    found  down to low scores, for curves
    usual  what the detector finds by default in the same photos; None: what ``found`` has at the default score or more
    """

    found: Mapping[str, Found]
    about: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Found] | None = None

    @property
    def default_score(self) -> float | None:
        """The score from which the detector reports a face unless asked otherwise, if the file says so."""
        return default_score(self.about)

    @property
    def milliseconds(self) -> dict[str, float]:
        """The time that each photo took by its name, as far as the file says so."""
        told = self.about.get("milliseconds")
        times = told.items() if isinstance(told, Mapping) else ()
        return {name: float(value) for name, value in times if is_finite_number(value)}


def default_score(about: Mapping[str, Any]) -> float | None:
    """Return the score from which a detector reports faces by itself, if what is said of it holds that."""
    value: Any = about.get("default_score")
    return float(value) if is_finite_number(value) else None


def read_predictions(source: str | Path) -> Predictions:
    """Read predictions in any of these forms.

    .json       {photo: [[x1, y1, x2, y2, score], …], …}, each row with or without ten more numbers for the
                five landmarks; or such an object under "photos", beside anything said of the detector, and beside
                one more under "usual_photos" where the detector finds something else in them by default
    .npz        "photos" (P,) names, "counts" (P,) integers, "rows" (N, 5) or (N, 15)
    .txt        the FDDB text form
    folder, zip the WIDER FACE text form: event/photo.txt

    Raises DatasetError, naming the file and the line or photo, for anything malformed.
    """
    source = Path(source)
    if source.suffix.lower() == ".json":
        return _from_json(source)
    if source.suffix.lower() == ".npz":
        return _from_npz(source)
    read = read_fddb_detections if source.suffix.lower() == ".txt" else read_wider_predictions
    return Predictions(
        {name: Found(each.boxes, each.scores, None, each.ellipses) for name, each in read(source).items()}
    )


def to_json(found: Mapping[str, Found], about: Mapping[str, Any], usual: Mapping[str, Found] | None = None) -> str:
    """Return the JSON text that ``read_predictions`` takes; ``about`` must be plain values."""
    content = {**about, "photos": {name: each.rows() for name, each in found.items()}}
    if usual is not None:
        content[USUAL] = {name: each.rows() for name, each in usual.items()}
    return json.dumps(content, allow_nan=False) + "\n"


def _from_json(file: Path) -> Predictions:
    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{file}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # no text, a number of thousands of digits, a repeated name
        raise DatasetError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("photos"), dict):
        return Predictions(_found_of(content, str(file)))
    about = {key: value for key, value in content.items() if key not in ("photos", USUAL)}
    found, usual = _found_of(content["photos"], str(file)), None
    if USUAL in content:
        usual = _found_of(content[USUAL], f"{file}: {USUAL}")
        if usual.keys() != found.keys():
            odd = min(usual.keys() ^ found.keys())
            raise DatasetError(f"{file}: {USUAL}: expected the names under photos, {odd!r:.200} is not in both")
    return Predictions(found, about, usual)


def _found_of(content: Any, where: str) -> dict[str, Found]:
    """Return what an object from photo to rows holds."""
    if not isinstance(content, dict):
        raise DatasetError(f"{where}: an object from photo to rows expected")
    found: dict[str, Found] = {}
    for name, rows in content.items():
        try:
            found[name] = Found.from_rows(_numbers(rows))
        except (TypeError, ValueError, OverflowError) as error:
            raise DatasetError(f"{where}: {name}: {error}") from error
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; raises ValueError for a name that comes twice, of which Python's reader drops one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"{Counter(name for name, _ in pairs).most_common(1)[0][0]!r:.200} comes twice")
    return found


def _numbers(rows: Any) -> list[list[float]]:
    """Return the rows if they are lists of plain numbers of one length; else raise ValueError."""
    if not isinstance(rows, list):
        raise ValueError("a list of rows expected")
    for at, row in enumerate(rows, 1):
        fits = isinstance(row, list) and len(row) in (BOX_NUMBERS, ALL_NUMBERS)
        if not fits or len(row) != len(rows[0]):
            raise ValueError(f"row {at}: {WIDTHS} numbers expected, as many in every row")
        for value in row:
            if not is_finite_number(value):
                raise ValueError(f"row {at}: {value!r:.40} is not a finite number")
        if row[2] < row[0] or row[3] < row[1]:
            raise ValueError(f"row {at}: negative width or height (rows are x1, y1, x2, y2, score)")
    return rows


def _from_npz(file: Path) -> Predictions:
    try:
        keys = ("photos", "counts", "rows")
        arrays = read_npz(file, keys)
        names, counts, rows = (arrays[key] for key in keys)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{file}: not a file of predictions: {error}") from error
    regular = names.ndim == counts.ndim == 1 and counts.dtype.kind in "iu" and names.dtype.kind == "U"
    if not regular or len(names) != len(counts) or (counts < 0).any() or int(counts.sum()) != len(rows):
        raise DatasetError(f"{file}: photos, counts and rows do not fit each other")
    if len(set(names.tolist())) != len(names):
        raise DatasetError(f"{file}: a photo comes twice")
    found: dict[str, Found] = {}
    ends = np.cumsum(counts)
    for name, start, end in zip(names.tolist(), ends - counts, ends, strict=True):
        try:
            found[name] = Found.from_rows(rows[start:end])
        except ValueError as error:
            raise DatasetError(f"{file}: {name}: {error}") from error
    return Predictions(found)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Predictions under the names of the photos evaluated.

    found    by photo name
    missing  photos without an entry in the predictions
    unknown  names in the predictions that no photo has
    """

    found: dict[str, Found]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]


def match_names(photos: Iterable[str], found: Mapping[str, Found]) -> Matched:
    """Find each prediction's photo: by its very name, else without image suffix and leading folders.

    So "wider/WIDER_val/images/event/photo.jpg" is found for the photo "event/photo". Raises DatasetError
    where two names of the predictions mean one photo, or one could mean several.
    """
    names = list(photos)
    known = set(names)
    by_tail: dict[str, set[str]] = {}
    for known_name in names:
        parts = _without_suffix(known_name).split("/")
        for at in range(len(parts)):
            by_tail.setdefault("/".join(parts[at:]), set()).add(known_name)
    by_stem = {_without_suffix(each): each for each in names}
    taken: dict[str, str] = {}
    unknown: list[str] = []
    for key in found:
        name: str | None = key if key in known else _resolve(key, known, by_stem, by_tail)
        if name is None:
            unknown.append(key)
        elif name in taken:
            raise DatasetError(f"predictions for {name} come twice, as {taken[name]} and as {key}")
        else:
            taken[name] = key
    matched = {each: found[taken[each]] for each in names if each in taken}
    return Matched(matched, tuple(each for each in names if each not in taken), tuple(unknown))


def _resolve(key: str, known: set[str], by_stem: Mapping[str, str], by_tail: Mapping[str, set[str]]) -> str | None:
    """Return the photo that a name means, or None; ``by_stem`` and ``by_tail`` have no image suffixes."""
    stripped = _without_suffix(key)
    folders = key.count("/") + 1
    for at in range(folders):
        # As written first: a photo's own name may end in ".jpg".
        for tail in ("/".join(key.split("/")[at:]), "/".join(stripped.split("/")[at:])):
            if tail in known:
                return tail
        if tail in by_stem:
            return by_stem[tail]
    # The prediction's name may be the shorter one.
    hits = by_tail.get(stripped, set())
    if len(hits) > 1:
        raise DatasetError(f"predictions for {key!r} could mean {len(hits)} photos, such as {min(hits)}")
    return next(iter(hits), None)


def _without_suffix(name: str) -> str:
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix) and name[-len(suffix) - 1] != "/":
            return name[: -len(suffix)]
    return name
