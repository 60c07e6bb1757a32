"""Label Studio: faces as predictions to correct by hand, and its exports read back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cascade.checks import is_finite_number
from cascade.faces import LANDMARK_NAMES
from cascade.version import __version__

from ._images import ImageFinder, ProblemLog
from ._listing import (
    FACE,
    NAME,
    Add,
    LabelledFace,
    Listed,
    as_dataset,
    checked_text,
    faces_of,
    score_of,
    size_of,
    writing_array,
)
from .cvat import upright_box
from .photo import Dataset, DatasetError, Photo

__all__ = ["LABEL_STUDIO_CONFIG", "open_label_studio", "read_label_studio"]

LABEL_STUDIO_CONFIG = "\n".join(
    [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        '  <RectangleLabels name="faces" toName="image">',
        f'    <Label value="{FACE}"/>',
        '    <Label value="ignored"/>',
        "  </RectangleLabels>",
        '  <KeyPointLabels name="landmarks" toName="image">',
        *(f'    <Label value="{name}"/>' for name in LANDMARK_NAMES),
        "  </KeyPointLabels>",
        '  <TextArea name="person" toName="image" perRegion="true" whenTagName="faces" maxSubmissions="1"/>',
        "</View>",
        "",
    ]
)
"""The labelling interface of a project for such tasks: a box for a face, five points that belong to it, and a name."""

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio names photos in a folder of its machine."""

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(.+)$")


def read_label_studio(
    file: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    """Read an export of Label Studio in the form "JSON".

    images          the folder of the photos; by default the folder of the file
    require_images  False: keep photos that are not on disk

    Of each task the last annotation counts that was not cancelled; tasks without one are left out and noted together:
    predictions that nobody looked at are no labels. Rectangles become boxes in pixels, x1, y1, x2, y2, upright ones
    around those that are rotated. Rectangles of the label "ignored" are ``ignored``. Key points named as
    `cascade.faces.LANDMARK_NAMES` belong to the rectangle that is their parent, or else to the smallest around them;
    points that are not there are NaN. The text of a region is the attribute "name". All photos count as fully labelled.

    A photo is found by the path of its address below ``images`` (of local files what stands behind "d="), or the end of
    it; of uploaded files also without the eight letters that Label Studio put before the name.

    Raises DatasetError when the file is not of this kind, or, if ``strict``, for the first problem.
    """
    source, log = Path(file), ProblemLog(strict)
    root = source.parent if images is None else Path(images)
    entries = label_studio_entries(source, root, log)
    return as_dataset(source, root, entries, log, require_images=require_images)


def label_studio_entries(file: Path, images: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the photos of a file that somebody annotated. Raises DatasetError."""
    finder = ImageFinder(images)
    unseen = 0
    for at, task in enumerate(_load(file)):
        try:
            results = _results(task)
            if results is None:
                unseen += 1
                continue
            name = _name(task, finder)
            yield Listed(name, _faces(results), _size(results))
        except ValueError as error:
            log.add(file, None, f"task {task.get('id', at) if isinstance(task, dict) else at}: {error}")
    if unseen:
        log.add(file, None, f"{unseen} tasks have no annotation and were left out")


def _load(file: Path) -> list[Any]:
    try:
        tasks = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: not JSON: {error}") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise DatasetError(f'{file}: not an export of Label Studio in the form "JSON": a list of tasks expected')
    return tasks


def _results(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The regions of a task's last annotation, or None if there is none."""
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        return None
    done = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    if not done:
        return None
    results = done[-1].get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise ValueError("the result of an annotation should be a list of regions")
    return results


def _name(task: dict[str, Any], finder: ImageFinder) -> str:
    """The name of a task's photo below the folder of photos."""
    address = task["data"].get("image") if isinstance(task["data"], dict) else None
    if not isinstance(address, str) or not address:
        raise ValueError('its data has no "image"')
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = (local[0] if local else unquote(parts.path)).lstrip("/")
    names = ["/".join(path.split("/")[start:]) for start in range(path.count("/") + 1)]
    uploaded = _UPLOADED.match(names[-1])
    names += [uploaded[1]] if uploaded else []
    return next((name for name in names if name and finder.exact(name)), path or address)


def _size(results: list[dict[str, Any]]) -> tuple[int, int] | None:
    for result in results:
        size = result.get("original_width"), result.get("original_height")
        if all(isinstance(side, int) and side > 0 for side in size):
            return size  # type: ignore[return-value]
    return None


def _faces(results: list[dict[str, Any]]) -> list[LabelledFace]:
    boxes: dict[str, tuple[list[float], bool]] = {}
    texts: dict[str, str] = {}
    points: list[tuple[str | None, str, float, float]] = []
    for at, result in enumerate(results):
        value, key = result.get("value"), str(result.get("id", at))
        if not isinstance(value, dict):
            continue
        if result.get("type") in ("rectanglelabels", "rectangle"):
            boxes[key] = _rectangle(result, value)
        elif result.get("type") == "textarea":
            text = value.get("text")
            texts[key] = " ".join(map(str, text)) if isinstance(text, list) else str(text or "")
        elif result.get("type") == "keypointlabels" and (names := _label_names(value, "keypointlabels")):
            x, y = _pixels(result, value, "x", "y")
            points.append((result.get("parentID"), names[0], x, y))
    return [
        LabelledFace(box, _five(key, boxes, points), ignored, {NAME: texts[key]} if texts.get(key) else {})
        for key, (box, ignored) in boxes.items()
    ]


def _rectangle(result: dict[str, Any], value: dict[str, Any]) -> tuple[list[float], bool]:
    x, y = _pixels(result, value, "x", "y")
    w, h = _pixels(result, value, "width", "height")
    angle = math.radians(_number(value.get("rotation", 0), "rotation"))
    # Label Studio rotates about the corner that x and y name
    box = upright_box(x, y, x + w, y + h, angle, x, y) if angle else [x, y, x + w, y + h]
    return box, "ignored" in _label_names(value, "rectanglelabels")


def _label_names(value: dict[str, Any], kind: str) -> list[str]:
    """The labels of a region; empty if it has none."""
    names = value.get(kind) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{kind}: expected a list of names, got {names!r}")
    return names


def _pixels(result: dict[str, Any], value: dict[str, Any], across: str, down: str) -> tuple[float, float]:
    width = _number(result.get("original_width"), "original_width")
    height = _number(result.get("original_height"), "original_height")
    return _number(value.get(across), across) * width / 100, _number(value.get(down), down) * height / 100


def _number(value: Any, name: str) -> float:
    if not is_finite_number(value):
        raise ValueError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _five(
    key: str, boxes: dict[str, tuple[list[float], bool]], points: list[tuple[str | None, str, float, float]]
) -> list[list[float]] | None:
    """The five points of a box, NaN for those that are not there; None if there are none."""
    found = {name: [x, y] for parent, name, x, y in points if (parent or _around(boxes, x, y)) == key}
    places = [found.get(name, [math.nan, math.nan]) for name in LANDMARK_NAMES]
    return places if any(name in found for name in LANDMARK_NAMES) else None


def _around(boxes: dict[str, tuple[list[float], bool]], x: float, y: float) -> str | None:
    inside = {
        key: (box[2] - box[0]) * (box[3] - box[1])
        for key, (box, _) in boxes.items()
        if box[0] <= x <= box[2] and box[1] <= y <= box[3]
    }
    return min(inside, key=lambda key: inside[key]) if inside else None


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_label_studio(file: str | Path, *, image_prefix: str = LOCAL_FILES) -> Iterator[Add]:
    """Write tasks with predictions, for "Import" in Label Studio: yields the function that adds a photo.

    image_prefix  what stands before a photo's name in its address: by default that of local files, which Label Studio
                  serves from the folder that its variable LOCAL_FILES_DOCUMENT_ROOT names

    The project needs `LABEL_STUDIO_CONFIG` as its labelling interface. Coordinates are in percent of the upright photo.
    Each face is a rectangle, its landmarks are key points with it as their parent, its name is the text of the region.
    Raises OSError, and ValueError for a photo whose size is not known or whose name is not UTF-8.
    """
    with writing_array(file) as element:
        yield lambda photo: element(json.dumps(_task(photo, image_prefix), ensure_ascii=False))


def _task(photo: Photo, image_prefix: str) -> dict[str, Any]:
    width, height = size_of(photo)
    results: list[dict[str, Any]] = []
    scores = []
    for at, face in enumerate(faces_of(photo)):
        score = score_of(face)
        scores += [] if score is None else [score]
        results += _regions(face, f"face{at}", score, width, height)
    prediction: dict[str, Any] = {"model_version": f"cascade {__version__}", "result": results}
    if scores:
        prediction["score"] = round(sum(scores) / len(scores), 4)
    address = image_prefix + quote(checked_text(photo.name, "name").lstrip("/"))
    return {"data": {"image": address}, "predictions": [prediction]}


def _regions(face: LabelledFace, key: str, score: float | None, width: int, height: int) -> Iterator[dict[str, Any]]:
    x1, y1, x2, y2 = face.box
    place = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    box = {
        "x": _percent(x1, width),
        "y": _percent(y1, height),
        "width": _percent(x2 - x1, width),
        "height": _percent(y2 - y1, height),
        "rotation": 0,
    }
    labelled = {**box, "rectanglelabels": ["ignored" if face.ignored else FACE]}
    rectangle = {"id": key, "from_name": "faces", "type": "rectanglelabels", **place, "value": labelled}
    yield rectangle if score is None else rectangle | {"score": round(score, 4)}
    if NAME in face.labels:
        named = {**box, "text": [str(face.labels[NAME])]}
        yield {"id": key, "from_name": "person", "type": "textarea", **place, "value": named}
    for name, (x, y) in zip(LANDMARK_NAMES, face.landmarks or (), strict=False):
        if math.isfinite(x) and math.isfinite(y):
            point = {"x": _percent(x, width), "y": _percent(y, height), "width": 0.5, "keypointlabels": [name]}
            more = {"id": f"{key}-{name}", "parentID": key, "from_name": "landmarks", "type": "keypointlabels"}
            yield more | place | {"value": point}


def _percent(value: float, whole: int) -> float:
    return round(100 * value / whole, 4)
