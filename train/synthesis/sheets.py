"""Sample sheets: faces held out from training, each beside itself at the anchor ages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from train.synthesis.settings import ANCHORS

if TYPE_CHECKING:
    from train.synthesis.trainer import SynthesisRun

FACES = 10


def save_sheet(run: SynthesisRun, path: Path) -> None:
    """A picture of ten held-out faces: a row each, the face as it is first, then at every anchor age."""
    rows = run.faces.measured[np.linspace(0, len(run.faces.measured) - 1, FACES).astype(int)]
    crops, aged = run.aged(rows, list(ANCHORS))
    pictures = torch.cat([crops[:, None], aged], 1)
    n, columns, _, side, _ = pictures.shape
    pixels = (pictures * 128 + 127.5).clamp(0, 255).permute(0, 3, 1, 4, 2).reshape(n * side, columns * side, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.round().byte().cpu().numpy()).save(path)
