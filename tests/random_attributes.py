"""Small networks of random weights that say what a face looks like and where its 68 points are, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cascade.imaging.alignment import TEMPLATE_SIZE
from cascade.landmarks import TEMPLATE
from cascade.models.attributes import AttributeTask, save_attributes
from cascade.models.landmarks import save_landmarks
from cascade.nn.graphs import GraphBuilder
from tests.random_recognizer import random_tensors

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
TASKS = (
    AttributeTask("age", "ordinal", (), 0, 100),
    AttributeTask("gender", "classification", ("male", "female")),
    AttributeTask("ethnicity", "classification", ("White", "Black", "Asian")),
    AttributeTask("expression", "classification", EXPRESSIONS),
    AttributeTask("smile", "classification", ("no", "yes")),
)


def save_random_attributes(path: Path, seed: int = 0, tasks: tuple[AttributeTask, ...] = TASKS, **about: Any) -> Path:
    """Write a weight file with these tasks."""
    builder = GraphBuilder()
    builder.conv(8, kernel=7, stride=7, activation="relu")
    common = builder.conv(12, kernel=4, stride=4, activation="relu")
    outputs = {task.name: builder.conv(task.outputs, kernel=4, after=common) for task in tasks}
    graph = builder.build("small", TEMPLATE_SIZE, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_attributes(path, graph, tasks, random_tensors(graph, seed), {"licence": "CC0", "data": "nothing", **about})
    return path


def drawn_shape() -> np.ndarray:
    """Points (68, 2) of a drawn face in a crop of side 1; eyes, nose and mouth are where `TEMPLATE` has them."""
    left, right, nose, mouth_left, mouth_right = TEMPLATE
    shape = np.empty((68, 2))
    angles = np.linspace(np.pi, 0, 17)
    middle = (left + right) / 2
    shape[:17] = middle + np.stack([44 * np.cos(angles), 60 * np.sin(angles)], 1)
    shape[17:22] = left + np.stack([np.linspace(-12, 12, 5), np.full(5, -12)], 1)
    shape[22:27] = right + np.stack([np.linspace(-12, 12, 5), np.full(5, -12)], 1)
    shape[27:31] = np.linspace(middle, nose, 4)
    shape[31:36] = nose + np.stack([np.linspace(-8, 8, 5), np.full(5, 5)], 1)
    around = np.array([[-6, 0], [-2, -3], [2, -3], [6, 0], [2, 3], [-2, 3]])
    shape[36:42], shape[42:48] = left + around, right + around
    for first, count, height in ((48, 12, 6), (60, 8, 3)):
        turn = np.linspace(np.pi, 3 * np.pi, count + 1)[:-1]
        wide = (mouth_right - mouth_left) / 2 * (1 if count == 12 else 0.8)
        centre = (mouth_left + mouth_right) / 2
        shape[first : first + count] = (
            centre + np.cos(turn)[:, None] * wide + np.stack([0 * turn, height * np.sin(turn)], 1)
        )
    return shape / TEMPLATE_SIZE


def face_in_space() -> np.ndarray:
    """(68, 3) the drawn shape, with a nose that comes forward (−z) and a jaw that goes back."""
    shape = drawn_shape() - drawn_shape()[27:48].mean(axis=0)
    depth = 0.8 * np.abs(shape[:, 0])
    depth[27:31] -= np.linspace(0.05, 0.25, 4)
    depth[31:36] -= 0.12
    return np.column_stack([shape, depth])


def save_still_landmarks(path: Path, spread: float = 0.0) -> Path:
    """Write a weight file whose network always gives the drawn shape, but for noise of ``spread``."""
    builder = GraphBuilder()
    builder.conv(4, kernel=16, stride=16, activation="relu")
    points = builder.conv(2 * 68, kernel=TEMPLATE_SIZE // 16)
    graph = builder.build("still", TEMPLATE_SIZE, {"points": points})
    tensors = {name: spread * array for name, array in random_tensors(graph).items()}
    tensors |= {"mean_shape": drawn_shape().astype(np.float32), "mean_face": face_in_space().astype(np.float32)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_landmarks(path, graph, tensors, {"licence": "CC0", "data": "nothing"})
    return path
