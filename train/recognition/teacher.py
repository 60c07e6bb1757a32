"""Embeddings of a public network for packed faces, which the light network learns to repeat.

    python -m train embeddings --faces runs/faces --param mobilefacenet.param --bin mobilefacenet.bin

The network is given in ncnn's format and run by the package of that name (``pip install ncnn``); it takes RGB
crops of 112×112 pixels under the name "data" and gives its embedding as "fc1".
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from train.recognition.crops import SIDE, load_crops

CHUNK = 256  # faces that a worker embeds at a time


class Teacher:
    """A face embedding network in ncnn's format."""

    def __init__(self, param: Path, weights: Path) -> None:
        try:
            import ncnn  # type: ignore[import-untyped]
        except ImportError as error:
            raise ValueError("teacher: needs the package ncnn; pip install ncnn") from error

        self._ncnn: Any = ncnn
        self._net = ncnn.Net()
        self._net.opt.num_threads = 1
        self._net.opt.use_vulkan_compute = False
        for path, load in ((param, self._net.load_param), (weights, self._net.load_model)):
            if not path.is_file() or load(str(path)):
                raise ValueError(f"teacher: {path} is missing or not of ncnn's format")
        self.sha256 = hashlib.sha256(param.read_bytes() + weights.read_bytes()).hexdigest()

    def embed(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embedding (D,) of length 1 of one aligned crop, averaged with that of its mirror image."""
        both = self._embed(crop) + self._embed(crop[:, ::-1])
        return np.asarray(both / np.linalg.norm(both), np.float32)

    def _embed(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        kind = self._ncnn.Mat.PixelType.PIXEL_RGB
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat.from_pixels(np.ascontiguousarray(crop), kind, SIDE, SIDE))
        _, out = extractor.extract("fc1")
        vector = np.array(out, np.float32).ravel()
        return vector / np.linalg.norm(vector)


@cache
def _loaded(param: Path, weights: Path) -> Teacher:
    return Teacher(param, weights)


def _embed_chunk(folder: Path, param: Path, weights: Path, start: int, stop: int) -> NDArray[np.float32]:
    teacher = _loaded(param, weights)
    return np.stack([teacher.embed(crop) for crop in load_crops(folder).crops[start:stop]])


def embed_faces(folder: Path, param: Path, weights: Path, workers: int) -> None:
    """Writes embeddings.npy and teacher.json into a folder of packed faces."""
    about = {"network": param.stem, "sha256": Teacher(param, weights).sha256, "mirrored": True}
    count = len(load_crops(folder))
    starts = range(0, count, CHUNK)
    with ProcessPoolExecutor(workers) as pool, tqdm(total=count, desc="teacher", unit="face") as progress:
        jobs = [pool.submit(_embed_chunk, folder, param, weights, at, at + CHUNK) for at in starts]
        rows = []
        for job in jobs:
            rows.append(job.result())
            progress.update(len(rows[-1]))
    np.save(folder / "embeddings.npy", np.concatenate(rows))
    (folder / "teacher.json").write_text(json.dumps(about, indent=1) + "\n")
