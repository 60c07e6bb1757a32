"""Fits the blocks of an encoder to those of a teacher, each by itself: a start from which little is left to learn.

    python -m train blocks --config light --faces runs/faces --teacher PARAM BIN --out runs/blocks

Where a network's blocks end on maps of the same shapes as the teacher's, block k can learn alone to compute the
teacher's map k from the teacher's map k - 1. It then learns from every position of every map, where the complete
network has one embedding a face to learn from, and all blocks can learn at once, in as many processes as there are
cores. Then they learn once more, one after the other, from the maps of the blocks before them, so that their errors do
not add up. With `--initial` that is all; with `--stages` too, stages take the place of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.nn.graphs import IMAGE, Graph
from cascade.nn.torch_graph import GraphNetwork
from train.common.checkpoints import TrainingError, read_checkpoint, write_checkpoint
from train.common.progress import check_finite
from train.common.schedule import set_rate, warmed_cosine
from train.detection.augment import normalise
from train.recognition.architectures import ARCHITECTURES
from train.recognition.batches import split
from train.recognition.crops import FaceCrops
from train.recognition.feature_cache import CachedNetwork, cache_maps, to_maps
from train.recognition.model import RecognitionModel
from train.recognition.settings import BlockSettings, RecognitionSettings
from train.recognition.teacher import Teacher, block_ends
from train.recognition.transfer import start_from

Weights = dict[str, torch.Tensor]
Maps = NDArray[np.float16]  # (n, side, side, channels)
Part = Callable[[torch.Tensor, int, int], torch.Tensor]

CHUNK = 32
HELD_BACK = 64  # faces that a block's error is measured on


def matched_ends(own: Graph, other: Graph) -> list[tuple[int, int]]:
    """The nodes that end a block of each, from the first, as long as their maps have the same shapes."""
    shapes, others = own.shapes(), other.shapes()
    found = []
    for first, second in zip(block_ends(own), block_ends(other), strict=False):
        if shapes[first] != others[second]:
            break
        found.append((first, second))
    return found


def _rows(faces: FaceCrops, settings: BlockSettings) -> NDArray[np.int64]:
    """The faces of the views, from those to learn from: each comes once before any comes twice."""
    learned, _ = split(faces, RecognitionSettings().validation)
    rng = np.random.default_rng(settings.seed)
    found: NDArray[np.int64] = rng.permutation(np.resize(rng.permutation(learned), settings.views))
    return found


@dataclass(frozen=True)
class _Block:
    """Nodes first to last of a graph, which learn to compute the teacher's maps in one file from those in another."""

    graph: Graph
    first: int
    last: int
    source: Path
    target: Path
    settings: BlockSettings


def fit_block(block: _Block, weights: Weights) -> tuple[int, Weights, float]:
    """Fits one block by itself; returns its last node, its weights and its error over the variance of the target."""
    torch.set_num_threads(1)
    network = GraphNetwork(block.graph, batch_norm=True, normalised=(block.graph.outputs["embedding"],))
    network.load_state_dict(weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    error = _fit(network, block, np.load(block.source, mmap_mode="r"))
    state = {
        name: value
        for name, value in network.state_dict().items()
        if block.first <= int(name.split(".")[1]) <= block.last
    }
    return block.last, state, error


def _fit(network: GraphNetwork, block: _Block, source: NDArray[Any]) -> float:
    """Fits a block of the network to compute the target from ``source``; returns the error that is left."""
    settings = block.settings
    parameters = [p for index in range(block.first, block.last + 1) for p in network.blocks[index].parameters()]
    optimiser = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=1e-4)
    target = np.load(block.target, mmap_mode="r")
    variance = float(np.asarray(target[:256], np.float32).var())
    rng = np.random.default_rng(settings.seed)
    learned = len(source) - HELD_BACK
    warm = max(1, settings.steps // 20)
    network.train()
    part = torch.compile(network.part) if settings.compiled else network.part
    for step in range(settings.steps):
        set_rate(optimiser, warmed_cosine(settings.learning_rate, step, settings.steps, warm))
        rows = np.sort(rng.integers(learned, size=settings.batch))
        error = _error(part, block, source[rows], target[rows]) / variance
        optimiser.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    with torch.no_grad():
        left = float(_error(network.part, block, source[learned:], target[learned:])) / variance
    check_finite(left, f"block {block.first}-{block.last}: the error is not finite")
    return left


def _error(part: Part, block: _Block, source: NDArray[Any], target: Maps) -> torch.Tensor:
    return (part(_tensor(source), block.first, block.last) - _tensor(target)).square().mean()


def _tensor(cached: NDArray[Any]) -> torch.Tensor:
    """(n, channels, side, side) float32 of maps, or of crops as a network takes them."""
    maps = to_maps(cached)
    return normalise(maps) if cached.dtype == np.uint8 else maps


@torch.no_grad()
def _maps(network: GraphNetwork, block: _Block, source: NDArray[Any]) -> Maps:
    """The maps of a block for ``source``."""
    parts = [
        network.part(_tensor(source[at : at + CHUNK]), block.first, block.last).permute(0, 2, 3, 1).half().numpy()
        for at in range(0, len(source), CHUNK)
    ]
    return np.concatenate(parts)


def fit_blocks(
    run: RecognitionSettings,
    faces: FaceCrops,
    teacher: Teacher,
    out: Path,
    settings: BlockSettings,
    workers: int,
    start: str = "",
) -> dict[str, float]:
    """Fits all blocks of a run's network that have their like in the teacher, or its first stages.

    Those of a checkpoint to ``start`` from only learn one after the other. Writes ``out/checkpoint.pt``, to begin such
    a run from. Returns the error of each block, by its last node, over the variance of its target. Raises TrainingError
    if there is no such block.
    """
    architecture = ARCHITECTURES[run.architecture](run.decomposed)
    ends = matched_ends(architecture.graph, teacher.network.graph)
    if settings.stages:
        ends = [(own, other) for own, other in ends if own in architecture.skips[: settings.stages]]
    if not ends:
        raise TrainingError(f"no block of {run.architecture} ends on a map of the shape that {teacher.name} has there")
    if settings.views <= HELD_BACK:
        raise TrainingError(
            f"views: expected more than the {HELD_BACK} that errors are measured on, got {settings.views}"
        )
    torch.manual_seed(settings.seed)
    before = [(IMAGE, IMAGE), *ends[:-1]]
    cached, folder = CachedNetwork("teacher", teacher.network, (IMAGE, *(other for _, other in ends))), out / "maps"
    cache_maps(faces, _rows(faces, settings), [cached], folder, settings.seed)
    model = RecognitionModel(architecture, 0, False)
    if start:
        start_from(model, Path(start))
    blocks = [
        _Block(architecture.graph, first + 1, last, cached.file(folder, source), cached.file(folder, target), settings)
        for (first, source), (last, target) in zip(before, ends, strict=True)
    ]
    if not start:
        _fit_alone(model.network, blocks, workers)
    errors = _correct(model.network, blocks)
    state = {"averaged": _heads(start, model) | model.state_dict(), "settings": asdict(run), "errors": errors}
    write_checkpoint(out, state)
    return errors


def _heads(start: str, model: RecognitionModel) -> Weights:
    """What a run to begin from has beside the network: centres of persons and the adversary."""
    if not start:
        return {}
    weights: Weights = read_checkpoint(start)["averaged"]
    own = model.state_dict()
    return {name: value for name, value in weights.items() if not name.startswith("network.") and name not in own}


def _fit_alone(network: GraphNetwork, blocks: list[_Block], workers: int) -> None:
    """Fits every block by itself, in processes."""
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    with ProcessPoolExecutor(workers) as pool:
        fitted = pool.map(fit_block, blocks, [state] * len(blocks))
        for _, weights, _ in tqdm(fitted, total=len(blocks), desc="blocks, each by itself"):
            network.load_state_dict(weights, strict=False)


def _correct(network: GraphNetwork, blocks: list[_Block]) -> dict[str, float]:
    """Fits the blocks again, one after the other, each on the maps of those before it, errors and all."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    errors, source = {}, np.load(blocks[0].source, mmap_mode="r")
    for block in tqdm(blocks, desc="blocks, one after the other"):
        errors[str(block.last)] = _fit(network, block, source)
        source = _maps(network, block, source)
    return errors
