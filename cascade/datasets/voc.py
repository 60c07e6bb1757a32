"""Pascal VOC: a folder with an XML file for each photo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
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
    faces_of,
    relative_name,
    size_of,
    unique_stems,
)
from ._xml import number, read_xml, size_in, xml_text
from .photo import Dataset, DatasetError, Photo

__all__ = ["open_voc", "read_voc"]

FirstPixel = Literal[0, 1]

LABEL_MAP = f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{FACE}:255,0,0::\n"


def read_voc(
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    first_pixel: FirstPixel = 1,
    require_images: bool = True,
    strict: bool = False,
) -> Dataset:
    """Read all XML files below a folder, each with the faces of one photo.

    images          the folder that ``filename`` starts from, below the subfolder of the XML file; by default JPEGImages
                    beside the folder, or the folder itself
    first_pixel     the number of the first column and row: 1 in VOC, whose boxes include the pixels xmax, ymax; 0 for
                    programs that write corners as they are, as CVAT and LabelImg do
    require_images  False: keep photos that are not on disk

    Boxes become pixels, x1, y1, x2, y2. Every object is a face, whatever its name; where that is another than "face" it
    is the attribute "label". ``ignored`` are objects marked difficult and those without area. The attributes score and
    name are read where they are there. VOC has no landmarks. All photos count as fully labelled. A photo with a broken
    object is left out.

    Raises DatasetError when the folder holds no such file, or, if ``strict``, for the first problem.
    """
    folder, log = Path(annotations), ProblemLog(strict)
    if images is None:
        beside = folder.parent / "JPEGImages"
        images = beside if beside.is_dir() else folder
    return as_dataset(folder, Path(images), voc_entries(folder, log, first_pixel), log, require_images=require_images)


def voc_entries(folder: Path, log: ProblemLog, first_pixel: FirstPixel = 1) -> Iterator[Listed]:
    """Yield the photos of a folder, by name. Raises DatasetError where there is no XML file."""
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DatasetError(f"{folder}: no XML files below this folder")
    for file in files:
        try:
            root = read_xml(file)
            name = root.findtext("filename", "").strip()
            if root.tag != "annotation" or not name:
                raise ValueError("not a file of Pascal VOC: it has no annotation with a filename")
            below = file.parent.relative_to(folder).as_posix()
            base = name.replace("\\", "/").rpartition("/")[2]
            place = base if below == "." else f"{below}/{base}"
            size = size_in(root.findtext("size/width"), root.findtext("size/height"))
            yield Listed(place, [_face(each, first_pixel) for each in root.findall("object")], size)
        except ValueError as error:
            log.add(file, None, str(error).removeprefix(f"{file}: "))


def _face(found: ElementTree.Element, first_pixel: FirstPixel) -> LabelledFace:
    values = {child.tag: (child.text or "").strip() for child in found.find("bndbox") or ()}
    x1, y1, x2, y2 = (number(values, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    labels: dict[str, Any] = {}
    if found.findtext("name", FACE).strip() != FACE:
        labels["label"] = found.findtext("name", "").strip()
    if found.findtext(SCORE):
        labels[SCORE] = number({SCORE: found.findtext(SCORE, "")}, SCORE)
    if found.findtext("person"):
        labels[NAME] = found.findtext("person", "")
    x1, y1 = x1 - first_pixel, y1 - first_pixel
    ignored = found.findtext("difficult", "0").strip() == "1"
    return LabelledFace([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], None, ignored, labels)


@contextmanager
def open_voc(folder: str | Path, *, first_pixel: FirstPixel = 1) -> Iterator[Add]:
    """Write Annotations/NAME.xml for each photo: yields the function that adds one.

    A list of all is in ImageSets/Main, and the class in labelmap.txt, where CVAT and datumaro look for it.

    The first pixel has the number 1, as in VOC, unless ``first_pixel`` is 0. Numbers have two decimals where they are
    no integers. ``ignored`` faces have the flag "difficult", score and name are elements that VOC itself has not.
    Landmarks and other labels have no place. Files of that name are replaced. Raises OSError, and ValueError for a
    photo whose size is not known, whose name leads out of a folder, or that has the name of one before but for the
    suffix.
    """
    root = Path(folder)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    (root / "labelmap.txt").write_text(LABEL_MAP, encoding="utf-8")
    stem_of = unique_stems()
    with (lists / "default.txt").open("w", encoding="utf-8") as names:

        def add(photo: Photo) -> None:
            name = stem_of(photo)
            text = _annotation(photo, first_pixel)
            file = root / "Annotations" / f"{name}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            names.write(f"{name}\n")

        yield add


def _annotation(photo: Photo, first_pixel: FirstPixel) -> str:
    width, height = size_of(photo)
    folder, file = os.path.split(relative_name(photo))
    lines = [
        "<annotation>",
        f"  <folder>{xml_text(folder or 'JPEGImages')}</folder>",
        f"  <filename>{xml_text(file)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
    ]
    for face in faces_of(photo):
        x1, y1, x2, y2 = face.box
        corners = zip(("xmin", "ymin", "xmax", "ymax"), (x1 + first_pixel, y1 + first_pixel, x2, y2), strict=True)
        cut = x1 < 0 or y1 < 0 or x2 > width or y2 > height
        lines += ["  <object>", f"    <name>{FACE}</name>", "    <pose>Unspecified</pose>"]
        lines += [f"    <truncated>{int(cut)}</truncated>", f"    <difficult>{int(face.ignored)}</difficult>"]
        lines += ["    <bndbox>", *(f"      <{edge}>{_decimals(value)}</{edge}>" for edge, value in corners)]
        lines += ["    </bndbox>"]
        if SCORE in face.labels:
            lines.append(f"    <{SCORE}>{face.labels[SCORE]:.7g}</{SCORE}>")
        if NAME in face.labels:
            lines.append(f"    <person>{xml_text(str(face.labels[NAME]))}</person>")
        lines.append("  </object>")
    return "\n".join([*lines, "</annotation>", ""])


def _decimals(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
