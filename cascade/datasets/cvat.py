"""CVAT's XML, "CVAT for images 1.1": boxes, and five points that share a group with their box."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ._images import ProblemLog
from ._listing import (
    FACE,
    NAME,
    SCORE,
    Add,
    LabelledFace,
    Listed,
    as_dataset,
    checked_text,
    faces_of,
    score_of,
    short_labels,
    size_of,
    writing_text,
)
from ._xml import number, read_xml, size_in, xml_text
from .photo import Dataset, DatasetError, Photo

__all__ = ["cvat_labels", "open_cvat", "read_cvat"]

LANDMARKS = "landmarks"
"""The label of the five points."""

IGNORED = "ignored"


def read_cvat(
    annotations: str | Path, images: str | Path | None = None, *, require_images: bool = True, strict: bool = False
) -> Dataset:
    """Read a file of CVAT, exported as "CVAT for images 1.1".

    images          the folder that the names start from; by default the folder of the file
    require_images  False: keep photos that are not on disk

    Boxes are pixels, x1, y1, x2, y2; of one that is rotated, the upright box around it. Five points in the order left
    eye, right eye, nose, left and right mouth corner belong to the box of the same group, or without groups to the
    smallest box around their middle. Every box is a face, whatever its label. ``ignored`` are boxes with the attribute
    "ignored" set, and those without area. The attributes are those of the file, as text or numbers. All photos count as
    fully labelled. A photo with a broken box is left out.

    Raises DatasetError when the file is not of this kind, or, if ``strict``, for the first problem.
    """
    file, log = Path(annotations), ProblemLog(strict)
    root = file.parent if images is None else Path(images)
    return as_dataset(file, root, cvat_entries(file, log), log, require_images=require_images)


def cvat_entries(file: Path, log: ProblemLog) -> Iterator[Listed]:
    """Yield the photos of a file. Raises DatasetError."""
    root = read_xml(file)
    if root.tag != "annotations" or root.find("track") is not None:
        raise DatasetError(f'{file}: not a file of "CVAT for images 1.1"; export the task in this form')
    for at, image in enumerate(root.findall("image")):
        name = image.get("name", "")
        try:
            if not name:
                raise ValueError(f"image {at} has no name")
            yield Listed(name, _faces(image, name, file, log), size_in(image.get("width"), image.get("height")))
        except ValueError as error:
            if isinstance(error, DatasetError):
                raise
            log.add(file, None, f"{name}: {error}" if name else str(error))


def _faces(image: ElementTree.Element, name: str, file: Path, log: ProblemLog) -> list[LabelledFace]:
    boxes, points = [], []
    for shape in image:
        if shape.tag == "box":
            boxes.append((shape.get("group_id"), _box(shape), _labels(shape)))
        elif shape.tag == "points":
            found = _points(shape.get("points", ""))
            if len(found) == 5:
                points.append((shape.get("group_id"), found))
            else:
                log.add(file, None, f"{name}: {len(found)} points in place of 5 were left out")
        elif shape.tag not in ("tag", "skeleton"):
            log.add(file, None, f"{name}: a shape of kind {shape.tag} was left out; faces are boxes")
    owners: dict[int, list[list[float]]] = {}
    for group, five in points:
        at = _owner(group, five, boxes)
        if at is None or at in owners:
            log.add(file, None, f"{name}: five points without a box of their own were left out")
        else:
            owners[at] = five
    faces = []
    for at, (_, box, labels) in enumerate(boxes):
        ignored = str(labels.pop(IGNORED, "false")).lower() == "true"
        faces.append(LabelledFace(box, owners.get(at), ignored, labels))
    return faces


def _owner(group: str | None, five: list[list[float]], boxes: list[tuple[str | None, list[float], Any]]) -> int | None:
    """The place of the box that five points belong to."""
    if group not in (None, "0"):
        return next((at for at, (other, _, _) in enumerate(boxes) if other == group), None)
    x, y = (sum(values) / 5 for values in zip(*five, strict=True))
    around = [
        ((box[2] - box[0]) * (box[3] - box[1]), at)
        for at, (_, box, _) in enumerate(boxes)
        if box[0] <= x <= box[2] and box[1] <= y <= box[3]
    ]
    return min(around)[1] if around else None


def _box(shape: ElementTree.Element) -> list[float]:
    values = dict(shape.attrib)
    x1, y1, x2, y2 = (number(values, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    angle = math.radians(number(values, "rotation")) if "rotation" in values else 0.0
    if not all(map(math.isfinite, (x1, y1, x2, y2, angle))):
        raise ValueError("a box is not finite")
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return upright_box(x1, y1, x2, y2, angle, (x1 + x2) / 2, (y1 + y2) / 2) if angle else [x1, y1, x2, y2]


def upright_box(x1: float, y1: float, x2: float, y2: float, angle: float, x: float, y: float) -> list[float]:
    """The upright box around a box that is rotated by an angle (radians, clockwise on the screen) about x, y."""
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = [(a - x, b - y) for a in (x1, x2) for b in (y1, y2)]
    across = [x + a * cosine - b * sine for a, b in corners]
    down = [y + a * sine + b * cosine for a, b in corners]
    return [min(across), min(down), max(across), max(down)]


def _labels(shape: ElementTree.Element) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    if shape.get("label", FACE) != FACE:
        labels["label"] = shape.get("label")
    for attribute in shape.findall("attribute"):
        text = attribute.text or ""
        labels[attribute.get("name", "")] = _number_or_text(attribute.get("name"), text)
    return {name: value for name, value in labels.items() if name and value is not None}


def _number_or_text(name: str | None, text: str) -> float | str | None:
    if name == NAME:
        return text  # also of somebody who is called 47
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else None


def _points(text: str) -> list[list[float]]:
    try:
        points = [[float(value) for value in pair.split(",")] for pair in text.split(";") if pair]
    except ValueError:
        raise ValueError(f"points: expected numbers, got {text!r}") from None
    if any(len(pair) != 2 or not all(map(math.isfinite, pair)) for pair in points):
        raise ValueError(f"points: expected pairs of numbers, got {text!r}")
    return points


# --------------------------------------------------------------------------------------------------
# Writing


def cvat_labels() -> list[dict[str, Any]]:
    """Return the labels of a project for such files, as CVAT's page "Raw" takes them, in JSON."""
    attributes = [
        {"name": SCORE, "mutable": False, "input_type": "text", "default_value": "", "values": []},
        {"name": NAME, "mutable": True, "input_type": "text", "default_value": "", "values": []},
        {"name": IGNORED, "mutable": True, "input_type": "checkbox", "default_value": "false", "values": ["false"]},
    ]
    return [
        {"name": FACE, "type": "rectangle", "attributes": attributes},
        {"name": LANDMARKS, "type": "points", "attributes": []},
    ]


@contextmanager
def open_cvat(file: str | Path) -> Iterator[Add]:
    """Write a file for CVAT ("CVAT for images 1.1"): yields the function that adds a photo.

    A face is a box of the label "face" with the attributes score, name, "ignored" and others that are one number or
    text; five points of the label "landmarks" in its group, where all five are known. Coordinates are pixels, to 0.01.
    Raises OSError, and ValueError for a photo whose size is not known or whose name is not UTF-8.
    """
    with writing_text(file) as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        stream.write(_meta())
        count = 0

        def add(photo: Photo) -> None:
            nonlocal count
            stream.write(_image(photo, count))
            count += 1

        yield add
        stream.write("</annotations>\n")


def _meta() -> str:
    lines = ["  <meta><task><labels>"]
    for label in cvat_labels():
        attributes = "".join(
            f"<attribute><name>{each['name']}</name><mutable>{each['mutable']}</mutable>"
            f"<input_type>{each['input_type']}</input_type><default_value>{each['default_value']}</default_value>"
            f"<values>{''.join(each['values'])}</values></attribute>"
            for each in label["attributes"]
        )
        name, kind = label["name"], label["type"]
        lines.append(f"    <label><name>{name}</name><type>{kind}</type><attributes>{attributes}</attributes></label>")
    return "\n".join([*lines, "  </labels></task></meta>", ""])


def _image(photo: Photo, number: int) -> str:
    width, height = size_of(photo)
    name = xml_text(checked_text(photo.name, "name"))
    lines = [f'  <image id="{number}" name="{name}" width="{width}" height="{height}">']
    for group, face in enumerate(faces_of(photo), start=1):
        x1, y1, x2, y2 = face.box
        group_id = f' group_id="{group}"' if face.landmarks is not None else ""
        place = f'xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"'
        source = "manual" if score_of(face) is None else "auto"
        lines.append(f'    <box label="{FACE}" source="{source}" occluded="0" {place} z_order="0"{group_id}>')
        for key, value in {**short_labels(face), **({IGNORED: "true"} if face.ignored else {})}.items():
            text = f"{value:.7g}" if isinstance(value, float) else str(value)
            lines.append(f'      <attribute name="{xml_text(key)}">{xml_text(text)}</attribute>')
        lines.append("    </box>")
        if face.landmarks is not None and not any(math.isnan(x) for x, _ in face.landmarks):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in face.landmarks)
            shape = f'label="{LANDMARKS}" source="{source}" occluded="0" points="{points}" z_order="0"{group_id}'
            lines.append(f"    <points {shape}></points>")
    return "\n".join([*lines, "  </image>", ""])
