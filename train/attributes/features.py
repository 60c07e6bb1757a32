"""Maps of the frozen trunk for augmented crops, computed once by the native engine and cached on disk as uint8.

A set's folder holds for each view
    view-V.npy    (n, side, side, channels) uint8, memory-mapped; view 0 is of the crops as they are
    scale.npy     (2, channels) float32: the least value and the step of each channel
    cache.json    of which crops and which trunk they are
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cascade import _native
from cascade.models.attributes import AttributeWeights
from cascade.models.recognizer import RecognizerWeights
from cascade.nn.graphs import Graph, native_nodes
from train.attributes.store import LabelledCrops
from train.common.files import new_file, save_array, save_json
from train.recognition.augment import augment_pixels

CHUNK = 64  # faces computed at a time
SAMPLE = 512  # faces whose maps set the scale of uint8
TAIL = 1e-4  # share of the values beyond either end of the scale


class Trunk:
    """The first nodes of a recogniser, or of an attribute network that has them, in the native engine."""

    def __init__(self, weights: RecognizerWeights | AttributeWeights, last: int) -> None:
        self.graph = weights.graph
        self.side, self.channels = self.graph.shapes()[last]
        part = Graph(self.graph.name, self.graph.input_size, self.graph.nodes[: last + 1], {"last": last})
        self.tensors = {name: weights.tensors[name] for name in part.tensor_shapes()}
        self._native = _native.Graph(native_nodes(part, self.tensors), self.graph.input_size, [last])
        digest = hashlib.sha256(repr(part).encode())
        for name in sorted(self.tensors):
            digest.update(self.tensors[name].tobytes())
        self.fingerprint = digest.hexdigest()

    def maps(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, side, side, channels) of crops (n, 112, 112, 3)."""
        (found,) = self._native.run(np.ascontiguousarray(crops))
        return found.reshape(len(crops), self.side, self.side, self.channels)


class CachedMaps:
    """The maps of one set: views of every face, the first of them without augmentation."""

    def __init__(self, folder: Path, views: int) -> None:
        self.scale = torch.from_numpy(np.load(folder / "scale.npy"))
        self.views = [np.load(_view_file(folder, view), mmap_mode="r") for view in range(views)]

    def take(self, rows: NDArray[np.int64], view: int) -> NDArray[np.uint8]:
        """The maps (n, side, side, channels) of rows, as cached; `dequantise` with the scale makes numbers of them."""
        found: NDArray[np.uint8] = self.views[view][rows]
        return found


def dequantise(maps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(n, side, side, channels) uint8 → (n, channels, side, side) float32, channels last in memory."""
    return (maps.float() * scale[1] + scale[0]).permute(0, 3, 1, 2)


def cache_maps(crops: LabelledCrops, trunk: Trunk, folder: Path, views: int, workers: int) -> CachedMaps:
    """The maps of all faces as they are and of ``views`` augmented views; what is there already stays."""
    photos = crops.meta.get("photos")
    about = {"trunk": trunk.fingerprint, "set": crops.meta["source"], "photos": photos, "faces": len(crops)}
    record = folder / "cache.json"
    done = json.loads(record.read_text()) if record.exists() else {}
    if {name: done.get(name) for name in about} != about:
        done = {**about, "views": 0}
        folder.mkdir(parents=True, exist_ok=True)
        save_array(folder / "scale.npy", _scale(trunk, crops))
    scale = np.load(folder / "scale.npy")
    for view in range(done["views"], views + 1):
        with new_file(_view_file(folder, view)) as stream:
            _write_view(crops, trunk, scale, Path(stream.name), view, workers)
        save_json(record, {**done, "views": view + 1})
    return CachedMaps(folder, views + 1)


def _view_file(folder: Path, view: int) -> Path:
    return folder / f"view-{view}.npy"


def _scale(trunk: Trunk, crops: LabelledCrops) -> NDArray[np.float32]:
    """(2, channels): where 0 is and how much one step of uint8 is, for each channel."""
    rows = np.random.default_rng(0).permutation(len(crops))[:SAMPLE]
    maps = trunk.maps(crops.crops[np.sort(rows)]).reshape(-1, trunk.channels)
    low, high = np.quantile(maps, [TAIL, 1 - TAIL], axis=0)
    return np.stack([low, np.maximum(high - low, 1e-6) / 255]).astype(np.float32)


def _write_view(
    crops: LabelledCrops, trunk: Trunk, scale: NDArray[np.float32], file: Path, view: int, workers: int
) -> None:
    shape = (len(crops), trunk.side, trunk.side, trunk.channels)
    maps = np.lib.format.open_memmap(file, "w+", np.uint8, shape)

    def chunk(first: int) -> int:
        pixels = np.array(crops.crops[first : first + CHUNK])
        pixels = augment_pixels(pixels, view * 1_000_003 + first) if view else pixels
        steps = (trunk.maps(pixels) - scale[0]) / scale[1]
        maps[first : first + len(pixels)] = np.clip(np.rint(steps), 0, 255)
        return len(pixels)

    title = f"{crops.meta['source']}, view {view}"
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(crops), desc=title, unit="face") as progress:
        for count in pool.map(chunk, range(0, len(crops), CHUNK)):
            progress.update(count)
    maps.flush()
