"""Small photos, lists and files that the evaluators' tests are made of."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from cascade.datasets import Photo, WiderSubsets
from eval.commands.main import main
from eval.detection.predictions import Found
from tests.photos import FACE_BOX, FACE_LANDMARKS, portrait

SHARED = Path(__file__).resolve().parents[3] / "shared"
LABELS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


def shared(path: str) -> Path:
    """Return a file or folder of the reference data, or skip the test."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"reference data not here: ../shared/{path}")
    return found


def photo(name: str, boxes: Any = (), *, ignored: Any = None, **more: Any) -> Photo:
    """Return a photo with labelled boxes x1, y1, x2, y2."""
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(corners)
    landmarks = more.pop("landmarks", np.full((n, 5, 2), np.nan))
    return Photo(
        path=more.pop("path", Path(f"{name}.jpg")),
        name=name,
        boxes=corners,
        ignored=np.zeros(n, bool) if ignored is None else np.asarray(ignored, bool),
        landmarks=landmarks,
        fully_labelled=more.pop("fully_labelled", True),
        **more,
    )


def oval_photo(name: str, ellipses: Any, **more: Any) -> Photo:
    """Return an FDDB photo with labelled ellipses."""
    shapes = np.asarray(ellipses, np.float64).reshape(-1, 5)
    boxes = np.hstack([shapes[:, 3:] - shapes[:, :1], shapes[:, 3:] + shapes[:, :1]])
    return photo(name, boxes, ellipses=shapes, **more)


def found(*rows: Sequence[float], landmarks: Any = None) -> Found:
    """Return detections of rows x1, y1, x2, y2, score."""
    array = np.asarray(rows, np.float64).reshape(-1, 5)
    return Found(array[:, :4], array[:, 4], landmarks)


def subsets(photos: Sequence[Photo], **counted: Mapping[str, Sequence[int]]) -> WiderSubsets:
    """Return official lists in which the faces of ``counted[level][photo]`` count; by default all of them."""
    every = {each.name: np.arange(len(each)) for each in photos}
    levels = [
        {
            name: np.asarray(counted[level].get(name, ()), np.int64) if level in counted else all_
            for name, all_ in every.items()
        }
        for level in ("easy", "medium", "hard")
    ]
    events = tuple(dict.fromkeys(each.name.split("/")[0] for each in photos))
    return WiderSubsets(events, tuple(every), *levels)


def save_wider(
    folder: Path, photos: Mapping[str, Sequence[Sequence[int]]], counted: Mapping[str, Any] | None = None
) -> Path:
    """Write the four .mat files of a tiny WIDER FACE: {"event/stem": [[x, y, width, height], …]}.

    ``counted`` maps levels to {"event/stem": faces that count, from 0}; by default all count.
    """
    events = list(dict.fromkeys(name.split("/")[0] for name in photos))
    names = [[name for name in photos if name.startswith(f"{event}/")] for event in events]
    boxes = {name: np.asarray(rows, np.int32).reshape(-1, 4) for name, rows in photos.items()}
    content = {
        "event_list": _cell([np.array([event]) for event in events]),
        "file_list": _cell([_cell([np.array([name.split("/", 1)[1]]) for name in group]) for group in names]),
        "face_bbx_list": _cell([_cell([boxes[name] for name in group]) for group in names]),
    }
    for label in LABELS:
        zeros = [_cell([np.zeros((len(boxes[name]), 1), np.uint8) for name in group]) for group in names]
        content[f"{label}_label_list"] = _cell(zeros)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "wider_face_val.mat", content)
    for level in ("easy", "medium", "hard"):
        which = (counted or {}).get(level)
        lists = [
            _cell([_one_based(range(len(boxes[name])) if which is None else which.get(name, ())) for name in group])
            for group in names
        ]
        savemat(folder / f"wider_{level}_val.mat", {**content, "gt_list": _cell(lists)})
    return folder


def save_predictions(folder: Path, photos: Mapping[str, Sequence[Sequence[float]]]) -> Path:
    """Write event/stem.txt for each photo from rows x, y, width, height, score."""
    for name, rows in photos.items():
        file = folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [name.split("/", 1)[1], str(len(rows)), *(" ".join(map(str, row)) for row in rows)]
        file.write_text("\n".join(lines) + "\n")
    return folder


def save_fddb(folder: Path, photos: Mapping[str, Sequence[Sequence[float]]], fold: int = 1) -> Path:
    """Write one fold with ellipses major, minor, angle, x, y."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for name, ellipses in photos.items():
        lines += [name, str(len(ellipses)), *(" ".join(map(str, (*each, 1))) for each in ellipses)]
    (folder / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text("\n".join(lines) + "\n")
    (folder / f"FDDB-fold-{fold:02d}.txt").write_text("\n".join(photos) + "\n")
    return folder


def save_coco(file: Path, photos: Mapping[str, Sequence[tuple[Sequence[float], Any]]], **info: Any) -> Path:
    """Write a COCO file: photo → [(x, y, width, height), five landmarks (5, 2) or None] of each face."""
    images = [{"id": at, "file_name": name} for at, name in enumerate(photos)]
    annotations = []
    for at, faces in enumerate(photos.values()):
        for box, points in faces:
            entry = {"id": len(annotations), "image_id": at, "category_id": 1, "bbox": list(map(float, box))}
            if points is not None:
                entry["keypoints"] = [value for x, y in np.asarray(points).tolist() for value in (x, y, 2)]
            annotations.append(entry)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": info, "images": images, "annotations": annotations}))
    return file


def save_data_root(root: Path) -> Path:
    """Write a data folder with the layout of the test sets: the portrait everywhere, and one broken photo."""
    image = cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR)
    x1, y1, x2, y2 = (round(value) for value in FACE_BOX)
    box = (x1, y1, x2 - x1, y2 - y1)
    save_wider(root / "wider" / "wider_face_split", {"e/1": [box], "e/2": [box], "e/3": [box]})
    places = ["wider/WIDER_val/images/e/1.jpg", "wider/WIDER_val/images/e/2.jpg", "fddb_single/images/1.png"]
    for place in (*places, "no_face/test/1.jpg", "net7876/test/1.jpg"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / place), image)
    (root / places[1]).write_bytes(b"broken")
    save_coco(root / "fddb_single" / "annotations.json", {"images/1.png": [(box, None)]})
    save_coco(root / "net7876" / "test.json", {"test/1.jpg": [(box, FACE_LANDMARKS)]}, fully_labelled=False)
    return root


def run_eval(*arguments: Any) -> int:
    """Run ``python -m eval`` in this process and return its exit status."""
    return main([str(each) for each in arguments])


def summary(folder: Path) -> dict[str, Any]:
    """Return a report's summary.json."""
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def rows_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its header."""
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def is_picture(file: Path) -> bool:
    """Whether a file is a figure with something in it."""
    image = cv2.imread(str(file))
    return image is not None and min(image.shape[:2]) > 300 and bool(image.std() > 5)


def save_faces(root: Path, names: Sequence[str]) -> Path:
    """Write the portrait under each name, no two alike: the later, the darker."""
    for at, name in enumerate(names):
        picture = (portrait()[:300, 70:370] * (1 - 0.08 * at)).astype(np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), picture[..., ::-1])
    return root


def _cell(values: Sequence[Any]) -> Any:
    column = np.empty((len(values), 1), object)
    for at, value in enumerate(values):
        column[at, 0] = value
    return column


def _one_based(indices: Any) -> Any:
    return np.array([index + 1 for index in indices], np.uint8).reshape(-1, 1)
