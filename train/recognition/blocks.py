"""Fits the blocks of an encoder to those of a teacher, each by itself: a start from which little is left to learn.

    python -m train blocks --config light --faces runs/faces --teacher PARAM BIN --out runs/blocks

Where a design's blocks end on maps of the same shapes as the teacher's, block k can learn alone to make the teacher's
map k of the teacher's map k - 1. Every position of every map is then a lesson, where a whole network has one embedding
a face to learn from, and all blocks can learn at once, in as many processes as there are cores. Then each learns once
more in turn, of what the blocks before it make, so that their errors do not add up.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.graph_networks import GraphNetwork
from cascade.graphs import IMAGE, Graph
from train.augment import normalise
from train.loop import TrainingError
from train.progress import warmed_cosine
from train.recognition.augment import augment
from train.recognition.batches import split
from train.recognition.crops import SIDE, FaceCrops
from train.recognition.designs import DESIGNS
from train.recognition.model import RecognitionModel
from train.recognition.settings import BlockSettings, RecognitionSettings
from train.recognition.teacher import Teacher, block_ends
from train.recognition.transfer import start_from

Weights = dict[str, torch.Tensor]
Maps = NDArray[np.float16]  # (n, side, side, channels)

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


def keep_maps(faces: FaceCrops, teacher: Teacher, nodes: list[int], settings: BlockSettings, folder: Path) -> None:
    """Writes changed crops (IMAGE) and the teacher's maps of these nodes as memory-mapped float16, channels last.

    Those of the same views and the same teacher that are there already are kept.
    """
    about = {"views": settings.views, "seed": settings.seed, "teacher": teacher.sha256, "faces": len(faces)}
    record = folder / "maps.json"
    if record.exists() and json.loads(record.read_text()) == about:
        return
    record.unlink(missing_ok=True)
    learned, _ = split(faces, RecognitionSettings().validation)
    rng = np.random.default_rng(settings.seed)
    rows = rng.permutation(np.resize(rng.permutation(learned), settings.views))
    shapes = dict(enumerate(teacher.network.graph.shapes())) | {IMAGE: (SIDE, 3)}
    files = {
        node: np.lib.format.open_memmap(
            _file(folder, node), "w+", np.float16, (len(rows), shapes[node][0], shapes[node][0], shapes[node][1])
        )
        for node in (IMAGE, *nodes)
    }
    generator = torch.Generator().manual_seed(settings.seed)
    for first in tqdm(range(0, len(rows), CHUNK), desc="maps of the teacher", unit=f"{CHUNK} faces"):
        crops = torch.from_numpy(faces.crops[np.sort(rows[first : first + CHUNK])]).permute(0, 3, 1, 2).float()
        inputs = normalise(augment(crops, generator)).half().float().contiguous(memory_format=torch.channels_last)
        _, maps = teacher(inputs, tuple(nodes))
        for node, file in files.items():
            made = inputs if node == IMAGE else maps[node]
            file[first : first + len(inputs)] = made.permute(0, 2, 3, 1).half().numpy()
    for file in files.values():
        file.flush()
    record.write_text(json.dumps(about) + "\n")


def _file(folder: Path, node: int) -> Path:
    return folder / ("crops.npy" if node == IMAGE else f"maps-{node}.npy")


@dataclass(frozen=True)
class _Block:
    """Nodes first to last of a design, which make the map of the teacher's node ``target`` of that of ``source``."""

    graph: Graph
    first: int
    last: int
    source: int
    target: int
    folder: Path
    settings: BlockSettings


def fit_block(block: _Block, weights: Weights) -> tuple[int, Weights, float]:
    """Fits one block by itself; returns its last node, its weights and its error over the variance of the target."""
    torch.set_num_threads(1)
    network = GraphNetwork(block.graph, batch_norm=True, normalised=(block.graph.outputs["embedding"],))
    network.load_state_dict(weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    error = _fit(network, block, np.load(_file(block.folder, block.source), mmap_mode="r"))
    state = {
        name: value
        for name, value in network.state_dict().items()
        if block.first <= int(name.split(".")[1]) <= block.last
    }
    return block.last, state, error


def _fit(network: GraphNetwork, block: _Block, source: Maps) -> float:
    """Fits a block of the network to make the target of ``source``; returns the error that is left."""
    settings = block.settings
    parameters = [p for index in range(block.first, block.last + 1) for p in network.blocks[index].parameters()]
    optimiser = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=1e-4)
    target = np.load(_file(block.folder, block.target), mmap_mode="r")
    variance = float(np.asarray(target[:256], np.float32).var())
    rng = np.random.default_rng(settings.seed)
    learned = len(source) - HELD_BACK
    warm = max(1, settings.steps // 20)
    network.train()
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = warmed_cosine(settings.learning_rate, step, settings.steps, warm)
        rows = np.sort(rng.integers(learned, size=settings.batch))
        error = _error(network, block, source[rows], target[rows]) / variance
        optimiser.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    with torch.no_grad():
        left = float(_error(network, block, source[learned:], target[learned:])) / variance
    if not math.isfinite(left):
        raise TrainingError(f"block {block.first}-{block.last}: the error is not finite; lower the learning rate")
    return left


def _error(network: GraphNetwork, block: _Block, source: Maps, target: Maps) -> torch.Tensor:
    return (network.part(_tensor(source), block.first, block.last) - _tensor(target)).square().mean()


def _tensor(maps: Maps) -> torch.Tensor:
    """(n, channels, side, side) float32, channels last in memory."""
    return torch.from_numpy(np.array(maps)).permute(0, 3, 1, 2).float()


@torch.no_grad()
def _made(network: GraphNetwork, block: _Block, source: Maps) -> Maps:
    """What a block makes of ``source``."""
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
    """Fits all blocks of a run's design that have their like in the teacher.

    Writes ``out/checkpoint.pt``, to begin such a run from. Returns the error of each block, by its last node, over the
    variance of its target. Raises TrainingError if there is no such block.
    """
    run = replace(run, decomposed=False, lambda_age=0.0, lambda_adversary=0.0)
    design = DESIGNS[run.design](False)
    ends = matched_ends(design.graph, teacher.network.graph)
    if not ends:
        raise TrainingError(f"no block of {run.design} ends on a map of the shape that {teacher.name} has there")
    if settings.views <= HELD_BACK:
        raise TrainingError(
            f"views: expected more than the {HELD_BACK} that errors are measured on, got {settings.views}"
        )
    torch.manual_seed(settings.seed)
    maps = out / "maps"
    maps.mkdir(parents=True, exist_ok=True)
    keep_maps(faces, teacher, [other for _, other in ends], settings, maps)
    model = RecognitionModel(design, 0, False)
    if start:
        start_from(model, Path(start))
    before = [(-1, IMAGE), *ends[:-1]]
    blocks = [
        _Block(design.graph, first + 1, last, source, target, maps, settings)
        for (first, source), (last, target) in zip(before, ends, strict=True)
    ]
    state = {name: value.detach().clone() for name, value in model.network.state_dict().items()}
    with ProcessPoolExecutor(workers) as pool:
        fitted = pool.map(fit_block, blocks, [state] * len(blocks))
        for _, weights, _ in tqdm(fitted, total=len(blocks), desc="blocks, each by itself"):
            model.network.load_state_dict(weights, strict=False)
    errors = _correct(model.network, blocks)
    torch.save({"averaged": model.state_dict(), "settings": asdict(run), "errors": errors}, out / "checkpoint.pt")
    return errors


def _correct(network: GraphNetwork, blocks: list[_Block]) -> dict[str, float]:
    """Fits the blocks again, one after the other, each on what those before it make, errors and all."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    errors, source = {}, np.load(_file(blocks[0].folder, IMAGE), mmap_mode="r")
    for block in tqdm(blocks, desc="blocks, one after the other"):
        errors[str(block.last)] = _fit(network, block, source)
        source = _made(network, block, source)
    return errors
