"""Tiny files in the official layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

LABELS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


def cell(values):
    """Return a MATLAB cell column, (N, 1) of anything."""
    column = np.empty((len(values), 1), object)
    for at, value in enumerate(values):
        column[at, 0] = value
    return column


def text_cell(values):
    return cell([np.array([value]) for value in values])


@pytest.fixture(scope="session")
def save_wider_mat():
    """Return a function that writes {event: {stem: rows of ten numbers}} like wider_face_*.mat."""

    def save(file: Path, events: dict, counted: dict | None = None, **replaced) -> Path:
        faces = [[np.asarray(rows, np.int32).reshape(-1, 10) for rows in photos.values()] for photos in events.values()]
        content = {
            "event_list": text_cell(list(events)),
            "file_list": cell([text_cell(list(photos)) for photos in events.values()]),
            "face_bbx_list": cell([cell([rows[:, :4] for rows in photos]) for photos in faces]),
        }
        for k, label in enumerate(LABELS, 4):
            column = [cell([rows[:, k : k + 1].astype(np.uint8) for rows in photos]) for photos in faces]
            content[f"{label}_label_list"] = cell(column)
        if counted is not None:
            lists = [
                [np.array(counted[f"{event}/{stem}"], np.uint8).reshape(-1, 1) for stem in photos]
                for event, photos in events.items()
            ]
            content["gt_list"] = cell([cell(photos) for photos in lists])
        content.update(replaced)
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {key: value for key, value in content.items() if value is not None})
        return file

    return save


@pytest.fixture
def save_wider_text():
    """Return a function that writes {name with suffix: rows} like wider_face_*_bbx_gt.txt."""

    def save(file: Path, photos: dict) -> Path:
        lines = []
        for name, rows in photos.items():
            lines += [name, str(len(rows))]
            lines += [" ".join(map(str, row)) + " " for row in rows] or ["0 0 0 0 0 0 0 0 0 0 "]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
        return file

    return save


@pytest.fixture
def touch():
    """Return a function that makes files that are no images but not empty: no reader may decode them."""

    def make(root: Path, *names: str) -> Path:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not an image")
        return root

    return make
