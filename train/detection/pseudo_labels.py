"""Pseudo-labels: what another detector finds in training photos that are not fully labelled.

``python -m train pseudo-labels --model yunet.onnx --photos DIR --out labels.json`` runs YuNet (Wu et al. 2023) through
OpenCV and writes, for each photo, the boxes, scores and five landmarks that it finds. Training uses them as ignore
regions only (`train.detection.sources`): unlabelled faces do not become negatives, and nothing learns to find them.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from cascade.datasets import read_folder
from cascade.imaging.reading import ImageError, read_image

# Below this confidence YuNet is guessing.
SCORE_FLOOR = 0.3


def write_pseudo_labels(model: Path, photos: Path, out: Path, score_floor: float = SCORE_FLOOR) -> None:
    """Writes {photo's path below ``photos``: [[x1, y1, x2, y2, score, ten landmark coordinates], ...]} as JSON."""
    detector = cv2.FaceDetectorYN.create(str(model), "", (320, 320), score_floor, 0.45, 5000)
    found: dict[str, list[list[float]]] = {}
    for photo in tqdm(read_folder(photos), desc="pseudo-labels"):
        try:
            image = read_image(photo.path)
        except ImageError as error:
            tqdm.write(f"{photo.path}: {error}")
            continue
        detector.setInputSize((image.shape[1], image.shape[0]))
        _, rows = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))
        faces = [] if rows is None else rows.astype(float).tolist()
        found[photo.path.relative_to(photos).as_posix()] = [
            [r[0], r[1], r[0] + r[2], r[1] + r[3], r[14], *r[4:14]] for r in faces
        ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found))
