"""Sets of drawn crops whose tone tells their labels, and configurations over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

RUN = """
[run]
architecture = "small"
steps = 40
batch = 16
validate_every = 20
warm_up = 5
learning_rate = 5e-3
ema = 0.8
validation = 0.25
"""

HELMET = """
[[task]]
name = "helmet"
kind = "classification"
classes = ["no", "yes"]

[[source]]
name = "mine"
kind = "folders"
images = "helmets"
attribute = "helmet"
crops = true
"""


def draw(path: Path, tone: int, seed: int) -> None:
    """A noisy crop of 112 pixels of this tone with two eyes and a mouth, whether or not a detector sees a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(tone, 20, (112, 112, 3)), 0, 255).astype(np.uint8)
    for x in (38, 74):
        cv2.circle(image, (x, 52), 6, (10, 10, 10), -1)
    cv2.ellipse(image, (56, 92), (16, 5), 0, 0, 360, (10, 10, 10), -1)
    cv2.imwrite(str(path), image)


def draw_folders(root: Path, count: int = 24) -> None:
    """Dark crops in the folder "no", bright ones in "yes"."""
    for n in range(count):
        draw(root / "helmets" / ("yes" if n % 2 else "no") / f"{n}.png", 200 if n % 2 else 60, n)
