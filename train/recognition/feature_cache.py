"""What networks make of changed faces, computed once by the engine in C and kept on disk for a training to read.

Files are memory-mapped and channels last: `crops.npy` (n, 112, 112, 3) uint8, and for each network and node
`<network>-<node>.npy` (n, side, side, channels) float16.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from cascade import _native
from cascade.nn.graphs import IMAGE, Graph, native_nodes
from cascade.nn.torch_graph import GraphNetwork, export_tensors
from train.common.checkpoints import TrainingError
from train.recognition.augment import augment
from train.recognition.batches import Answer
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.model import RecognitionModel
from train.recognition.teacher import Teacher

CHUNK = 64  # faces computed at a time
RECORD = "kept.json"


@dataclass(frozen=True)
class Maker:
    """A network, what its files are called, and the nodes whose maps are kept; IMAGE keeps the crops."""

    name: str
    network: GraphNetwork
    nodes: tuple[int, ...]

    def file(self, folder: Path, node: int) -> Path:
        """Where the maps of a node are."""
        return folder / ("crops.npy" if node == IMAGE else f"{self.name}-{node}.npy")

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The weights of the nodes up to the last that is kept."""
        arrays = export_tensors(self.network).items()
        return {
            name: tensor.cpu().numpy().astype(np.float32)
            for name, tensor in arrays
            if int(name.split(".")[0]) <= max(self.nodes)
        }

    def fingerprint(self) -> str:
        """Changes with what the network makes, and with what is kept of it."""
        found = hashlib.sha256(repr((self.network.graph.nodes[: max(self.nodes) + 1], self.nodes)).encode())
        for name, array in sorted(self.tensors().items()):
            found.update(name.encode() + array.tobytes())
        return found.hexdigest()


def keep_maps(faces: FaceCrops, rows: NDArray[np.int64], makers: Sequence[Maker], folder: Path, seed: int) -> None:
    """Writes what the makers make of a changed view of each of the rows, on all available cores.

    Maps that are there already are kept if they are of the same rows, changes and networks.
    """
    about = {
        "seed": seed,
        "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
        "faces": {"count": len(faces), "sources": faces.meta["sources"]},
        "networks": {maker.name: maker.fingerprint() for maker in makers},
    }
    record = folder / RECORD
    if record.exists() and json.loads(record.read_text()) == about:
        return
    folder.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    engines = [_Engine(maker, folder, len(rows)) for maker in makers]

    def chunk(first: int) -> int:
        crops = _changed(faces, rows[first : first + CHUNK], seed * 1_000_003 + first)
        for engine in engines:
            engine.write(first, crops)
        return len(crops)

    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        tqdm(total=len(rows), desc="maps of changed faces", unit="face") as progress,
    ):
        for done in pool.map(chunk, range(0, len(rows), CHUNK)):
            progress.update(done)
    for engine in engines:
        engine.flush()
    record.write_text(json.dumps(about) + "\n")


def _changed(faces: FaceCrops, rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """Crops (n, 112, 112, 3) of these rows, changed at random."""
    crops = torch.from_numpy(faces.crops[rows]).permute(0, 3, 1, 2).float()
    changed = augment(crops, torch.Generator().manual_seed(seed)).round().clamp(0, 255).byte()
    found: NDArray[np.uint8] = changed.permute(0, 2, 3, 1).contiguous().numpy()
    return found


class _Engine:
    """A maker's network up to the last node that is kept, in C, and the files that it fills."""

    def __init__(self, maker: Maker, folder: Path, count: int) -> None:
        graph = maker.network.graph
        shapes = graph.shapes()
        self.made = [node for node in maker.nodes if node != IMAGE]
        self.files = {}
        for node in maker.nodes:
            (side, channels), kind = ((SIDE, 3), np.uint8) if node == IMAGE else (shapes[node], np.float16)
            self.files[node] = np.lib.format.open_memmap(
                maker.file(folder, node), "w+", kind, (count, side, side, channels)
            )
        last = max(self.made)
        nodes = native_nodes(Graph(graph.name, SIDE, graph.nodes[: last + 1], {"last": last}), maker.tensors())
        self.native = _native.Graph(nodes, SIDE, self.made)

    def write(self, first: int, crops: NDArray[np.uint8]) -> None:
        """Fills the places from ``first`` on with what it makes of the crops."""
        found = dict(zip(self.made, self.native.run(crops), strict=True)) | {IMAGE: crops}
        for node, file in self.files.items():
            file[first : first + len(crops)] = found[node].reshape(len(crops), *file.shape[1:])

    def flush(self) -> None:
        """Leaves everything on disk."""
        for file in self.files.values():
            file.flush()


class KeptFeatures:
    """The maps on which a model's frozen stages end, of several changed views of each face, and a teacher's answers."""

    def __init__(
        self,
        faces: FaceCrops,
        rows: NDArray[np.int64],
        model: RecognitionModel,
        teacher: Teacher,
        matched: Sequence[int],
        folder: Path,
        views: int,
        seed: int,
    ) -> None:
        if not model.frozen:
            raise TrainingError("views: expected 0 without frozen stages, whose maps could be kept")
        self.rows, self.views = np.sort(rows), views
        own = Maker("features", model.network, (model.frozen[-1],))
        other = Maker("teacher", teacher.network, (*matched, teacher.embedding))
        keep_maps(faces, np.tile(self.rows, views), (own, other), folder, seed)
        self._features = np.load(own.file(folder, own.nodes[0]), mmap_mode="r")
        self._answers = [np.load(other.file(folder, node), mmap_mode="r") for node in other.nodes]

    def take(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[torch.Tensor, Answer]:
        """Features (n, channels, side, side) of one view of each row at random, and what the teacher says of it."""
        places = np.searchsorted(self.rows, rows) + len(self.rows) * rng.integers(self.views, size=len(rows))
        *maps, embeddings = (to_maps(file[places]) for file in self._answers)
        return to_maps(self._features[places]), Answer(functional.normalize(embeddings.flatten(1)), maps)


def to_maps(kept: NDArray[Any]) -> torch.Tensor:
    """(n, side, side, channels) as it was kept → (n, channels, side, side) float32, channels last in memory."""
    return torch.from_numpy(np.array(kept)).permute(0, 3, 1, 2).float()
