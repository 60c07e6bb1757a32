"""Feature maps of augmented faces, computed once by the native engine and cached on disk for a training to read.

Files are memory-mapped and channels last: `crops.npy` (n, 112, 112, 3) uint8, and for each network and node
`<network>-<node>.npy` (n, side, side, channels) float16.
"""

from __future__ import annotations

import hashlib
import json
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
from cascade.checks import available_cores
from cascade.nn.graphs import IMAGE, Graph, native_nodes
from cascade.nn.torch_graph import GraphNetwork, export_tensors
from train.common.checkpoints import TrainingError
from train.common.files import save_json
from train.recognition.augment import augment_pixels
from train.recognition.batches import Answer
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.model import RecognitionModel
from train.recognition.teacher import Teacher

CHUNK = 64  # faces computed at a time
RECORD = "cache.json"


@dataclass(frozen=True)
class CachedNetwork:
    """A network, what its files are called, and the nodes whose maps are cached; IMAGE stands for the crops."""

    name: str
    network: GraphNetwork
    nodes: tuple[int, ...]

    def file(self, folder: Path, node: int) -> Path:
        """Where the maps of a node are."""
        return folder / ("crops.npy" if node == IMAGE else f"{self.name}-{node}.npy")

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The weights of the nodes up to the last that is cached."""
        arrays = export_tensors(self.network).items()
        return {
            name: tensor.cpu().numpy().astype(np.float32)
            for name, tensor in arrays
            if int(name.split(".")[0]) <= max(self.nodes)
        }

    def fingerprint(self) -> str:
        """A hash of the network as far as its maps depend on it, and of the nodes."""
        found = hashlib.sha256(repr((self.network.graph.nodes[: max(self.nodes) + 1], self.nodes)).encode())
        for name, array in sorted(self.tensors().items()):
            found.update(name.encode() + array.tobytes())
        return found.hexdigest()


def cache_maps(
    faces: FaceCrops, rows: NDArray[np.int64], networks: Sequence[CachedNetwork], folder: Path, seed: int
) -> None:
    """Writes the networks' maps of an augmented view of each of the rows, on all available cores.

    Maps that are there already stay if they are of the same crops, rows, augmentation and networks. To tell, all of
    these crops are read.
    """
    about = {
        "seed": seed,
        "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
        "crops": _fingerprint(faces, rows),
        "networks": {cached.name: cached.fingerprint() for cached in networks},
    }
    record = folder / RECORD
    if record.exists() and json.loads(record.read_text()) == about:
        return
    folder.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    engines = [_Engine(cached, folder, len(rows)) for cached in networks]

    def chunk(first: int) -> int:
        crops = augment_pixels(faces.crops[rows[first : first + CHUNK]], seed * 1_000_003 + first)
        for engine in engines:
            engine.write(first, crops)
        return len(crops)

    with (
        ThreadPoolExecutor(available_cores()) as pool,
        tqdm(total=len(rows), desc="maps of augmented faces", unit="face") as progress,
    ):
        for done in pool.map(chunk, range(0, len(rows), CHUNK)):
            progress.update(done)
    for engine in engines:
        engine.flush()
    save_json(record, about)


def _fingerprint(faces: FaceCrops, rows: NDArray[np.int64]) -> str:
    """A hash of the crops of these rows, each of which counts once."""
    found, each = hashlib.sha256(), np.unique(rows)
    for first in range(0, len(each), CHUNK):
        found.update(faces.crops[each[first : first + CHUNK]].tobytes())
    return found.hexdigest()


class _Engine:
    """A network up to the last node that is cached, in the native engine, and the files that it fills."""

    def __init__(self, cached: CachedNetwork, folder: Path, count: int) -> None:
        graph = cached.network.graph
        shapes = graph.shapes()
        self.nodes = [node for node in cached.nodes if node != IMAGE]
        self.files = {}
        for node in cached.nodes:
            (side, channels), kind = ((SIDE, 3), np.uint8) if node == IMAGE else (shapes[node], np.float16)
            self.files[node] = np.lib.format.open_memmap(
                cached.file(folder, node), "w+", kind, (count, side, side, channels)
            )
        last = max(self.nodes)
        nodes = native_nodes(Graph(graph.name, SIDE, graph.nodes[: last + 1], {"last": last}), cached.tensors())
        self.native = _native.Graph(nodes, SIDE, self.nodes)

    def write(self, first: int, crops: NDArray[np.uint8]) -> None:
        """Fills the places from ``first`` on with the maps of the crops."""
        found = dict(zip(self.nodes, self.native.run(crops), strict=True)) | {IMAGE: crops}
        for node, file in self.files.items():
            file[first : first + len(crops)] = found[node].reshape(len(crops), *file.shape[1:])

    def flush(self) -> None:
        """Writes everything to disk."""
        for file in self.files.values():
            file.flush()


class CachedFeatures:
    """The features of a model's frozen stages for several augmented views of each face, and a teacher's answers.

    Without a teacher's network there are no answers: then its embeddings of the faces as they are must do.
    """

    def __init__(
        self,
        faces: FaceCrops,
        rows: NDArray[np.int64],
        model: RecognitionModel,
        teacher: Teacher | None,
        matched: Sequence[int],
        folder: Path,
        views: int,
        seed: int,
    ) -> None:
        if not model.frozen:
            raise TrainingError("views: expected 0 without frozen stages, whose maps could be cached")
        self.rows, self.views = np.sort(rows), views
        own = CachedNetwork("features", model.network, (model.frozen[-1],))
        networks = [own]
        if teacher is not None:
            networks.append(CachedNetwork("teacher", teacher.network, (*matched, teacher.embedding)))
        cache_maps(faces, np.tile(self.rows, views), networks, folder, seed)
        self._features = np.load(own.file(folder, own.nodes[0]), mmap_mode="r")
        self._answers = [
            np.load(other.file(folder, node), mmap_mode="r") for other in networks[1:] for node in other.nodes
        ]

    def take(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[torch.Tensor, Answer | None]:
        """Features (n, channels, side, side) of one view of each row at random, and the teacher's answer to it."""
        places = np.searchsorted(self.rows, rows) + len(self.rows) * rng.integers(self.views, size=len(rows))
        if not self._answers:
            return to_maps(self._features[places]), None
        *maps, embeddings = (to_maps(file[places]) for file in self._answers)
        return to_maps(self._features[places]), Answer(functional.normalize(embeddings.flatten(1)), maps)


def to_maps(cached: NDArray[Any]) -> torch.Tensor:
    """(n, side, side, channels) as cached → (n, channels, side, side) float32, channels last in memory."""
    return torch.from_numpy(np.array(cached)).permute(0, 3, 1, 2).float()
