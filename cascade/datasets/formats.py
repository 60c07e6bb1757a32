"""The formats that faces are exchanged in: which are read, which are written, and how a file's format is told.

One entry in `FORMATS` is all that ``cascade export`` needs of a format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._images import ProblemLog
from ._listing import Listed, Opened, photos_of
from .coco import open_coco, read_coco
from .cvat import cvat_entries, open_cvat
from .label_studio import label_studio_entries, open_label_studio
from .photo import DatasetError, Photo
from .results import named_photos, open_json, open_json_lines, result_entries
from .tables import csv_entries, open_csv, open_parquet, parquet_entries
from .voc import open_voc, voc_entries
from .wider import read_wider
from .wider_text import open_wider
from .xmp import open_xmp, xmp_photos
from .yolo import open_yolo, yolo_entries, yolo_folders

__all__ = ["FORMATS", "Format", "format_of_file", "iterate_photos", "write_photos"]

Photos = Callable[[Path, Path | None, ProblemLog], Iterator[Photo]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    title   what it is, in a few words
    photos  reads it: takes the file or folder, the folder of the photos or None, and where problems are noted; yields
            photos, the first ones before the rest is read where the format allows it. None: it is not read
    open    writes it: takes the file or folder and options of its own, gives a context manager that yields the function
            which adds a photo. None: it is not written
    folder  whether it is a folder
    opens   whether the photos themselves are opened to write it
    """

    title: str
    photos: Photos | None
    open: Callable[..., Opened] | None
    folder: bool = False
    opens: bool = False


def iterate_photos(
    kind: str, source: str | Path, images: str | Path | None = None, *, problems: list[str] | None = None
) -> Iterator[Photo]:
    """Yield the photos of a file or folder in one of `FORMATS`, which may be larger than memory in the line formats.

    images    the folder that names start from; by default what the format's reader takes
    problems  a list that gets a line for each thing that was left out

    Raises DatasetError as the readers do, and ValueError for a format that is not read.
    """
    found = _known(kind, reading=True)
    log = ProblemLog(strict=False)
    assert found.photos is not None
    yield from found.photos(Path(source), None if images is None else Path(images), log)
    if problems is not None:
        problems += map(str, log.problems)


def write_photos(kind: str, target: str | Path, photos: Iterable[Photo], **options: Any) -> None:
    """Write photos to a file or folder in one of `FORMATS`; ``options`` are those of its function ``open_…``.

    Raises OSError, and ValueError for a photo that the format cannot hold; then a file is not written, and a folder
    holds the photos before it.
    """
    found = _known(kind, reading=False)
    assert found.open is not None
    with found.open(target, **options) as add:
        for photo in photos:
            add(photo)


def _known(kind: str, reading: bool) -> Format:
    able = [name for name, each in FORMATS.items() if (each.photos if reading else each.open) is not None]
    if kind not in able:
        raise ValueError(f"kind: expected one of {', '.join(able)}, got {kind!r}")
    return FORMATS[kind]


def format_of_file(source: str | Path) -> str:
    """Tell the format of a file or folder by its name and its beginning. Raises DatasetError."""
    path = Path(source)
    if path.is_dir():
        found = _format_of_folder(path)
    elif not path.exists():
        raise DatasetError(f"{path}: there is no such file or folder")
    else:
        by_suffix = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".mat": "wider"}
        by_suffix |= {".txt": "wider", ".xml": "cvat"}
        suffix = path.suffix.lower()
        found = _format_of_json(path) if suffix == ".json" else by_suffix.get(suffix)
    if found is None:
        raise DatasetError(f"{path}: the format is not to be told; name it, one of {', '.join(FORMATS)}")
    return found


def _format_of_folder(folder: Path) -> str | None:
    if (folder / "data.yaml").exists() or (folder / "labels").is_dir():
        return "yolo"
    for suffix, kind in (("xml", "voc"), ("xmp", "xmp"), ("txt", "yolo")):
        if next(folder.rglob(f"*.{suffix}"), None) is not None:
            return kind
    return None


def _format_of_json(file: Path) -> str | None:
    """Which of the JSON formats: an object is COCO; arrays are told by their first element."""
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as text:
            start = text.read(1 << 16).lstrip()
    except OSError as error:
        raise DatasetError.unreadable(file, error) from error
    if start.startswith("{"):
        return "json" if start.startswith('{"path"') else "coco"
    element = start.removeprefix("[").lstrip()
    try:
        first, _ = json.JSONDecoder().raw_decode(element)
    except (ValueError, RecursionError):
        return "labelstudio" if '"data"' in element and '"path"' not in element[:20] else "json"
    return "labelstudio" if isinstance(first, dict) and "data" in first and "path" not in first else "json"


# --------------------------------------------------------------------------------------------------
# Each format by the same three arguments


def _listed(entries: Callable[[Path, ProblemLog], Iterator[Listed]]) -> Photos:
    """Photos of a format whose names start from a folder, by default that of the file.

    What is not on disk stays, here and below: not every format needs the photo, and those that do say so.
    """

    def photos(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
        root = images if images is not None else source.parent
        return photos_of(source, root, entries(source, log), log, require_images=False)

    return photos


def _named(entries: Callable[[Path, ProblemLog], Iterator[Listed]]) -> Photos:
    """Photos of a format whose names are paths."""

    def photos(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
        return named_photos(source, images, entries(source, log), log, require_images=False)

    return photos


def _coco(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    dataset = read_coco(source, images, require_images=False)
    log.problems += dataset.problems
    return iter(dataset)


def _wider(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    dataset = read_wider(source, images)
    log.problems += dataset.problems
    return (replace(photo, name=photo.name + photo.path.suffix) for photo in dataset)  # other formats name files


def _voc(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    beside = folder.parent / "JPEGImages"
    root = images if images is not None else beside if beside.is_dir() else folder
    return photos_of(source, root, voc_entries(folder, log), log, require_images=False)


def _yolo(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    folder, root = yolo_folders(source, images)
    return photos_of(source, root, yolo_entries(folder, root, log), log)


def _xmp(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    return xmp_photos(source if images is None else images, log)


def _label_studio(source: Path, images: Path | None, log: ProblemLog) -> Iterator[Photo]:
    root = images if images is not None else source.parent
    return photos_of(source, root, label_studio_entries(source, root, log), log, require_images=False)


def open_yolo_pose(folder: str | Path, **options: Any) -> Opened:
    """`open_yolo` with five keypoints."""
    return open_yolo(folder, pose=True, **options)


FORMATS: Mapping[str, Format] = {
    "coco": Format("COCO JSON: boxes and five keypoints", _coco, open_coco),
    "yolo": Format("YOLO: a text file for each photo, boxes", _yolo, open_yolo, folder=True, opens=True),
    "yolo-pose": Format("YOLO-pose: boxes and five keypoints", _yolo, open_yolo_pose, folder=True, opens=True),
    "wider": Format("WIDER FACE's text, boxes in whole pixels", _wider, open_wider),
    "cvat": Format("CVAT for images 1.1 (XML): boxes, five points, names", _listed(cvat_entries), open_cvat),
    "voc": Format("Pascal VOC: an XML file for each photo, boxes", _voc, open_voc, folder=True),
    "labelstudio": Format("Label Studio: predictions to correct by hand", _label_studio, open_label_studio),
    "xmp": Format("face regions of photo managers, boxes and names", _xmp, open_xmp, folder=True, opens=True),
    "csv": Format("a table, a row for each face", _named(csv_entries), open_csv),
    "parquet": Format("the same table as Parquet, also with embeddings", _named(parquet_entries), open_parquet),
    "jsonl": Format("a JSON record a line, as cascade detect writes", _named(result_entries), open_json_lines),
    "json": Format("the same as one JSON array", _named(result_entries), open_json),
}
"""By name, as in ``cascade export NAME``."""
