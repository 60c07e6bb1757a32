"""The teacher of distillation: a public face embedding network that a smaller one learns to repeat.

    python -m train embeddings --faces runs/faces --param mobilefacenet.param --bin mobilefacenet.bin

The network is given in ncnn's format. It takes RGB crops of 112×112 pixels; its output "fc1" is the embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from cascade import _native
from cascade.nn.graphs import Graph, Shape, native_nodes
from cascade.nn.torch_graph import from_tensors
from train.common.checkpoints import TrainingError
from train.common.files import save_array, save_json
from train.detection.augment import normalise
from train.recognition.architectures import RecognitionNetwork
from train.recognition.batches import Answer
from train.recognition.crops import FaceCrops, load_crops
from train.recognition.ncnn_format import NcnnError, read_ncnn

OUTPUT = "fc1"
CHUNK = 64  # faces embedded at a time


def block_ends(graph: Graph) -> list[int]:
    """The nodes that end a block: convolutions of maps without activation, past which nothing reads an earlier map."""
    shapes = graph.shapes()
    ends = [
        index
        for index, node in enumerate(graph.nodes)
        if node.kind == "conv" and node.activation == "none" and shapes[index][0] > 1
    ]
    reads = [min(node.input, node.input if node.add is None else node.add) for node in graph.nodes]
    return [end for end in ends if min(reads[end + 1 :], default=end) >= end]


class Teacher(nn.Module):
    """The network in torch, for inference only. Raises ValueError for files that hold none."""

    def __init__(self, param: Path, weights: Path) -> None:
        super().__init__()
        try:
            graph, arrays = read_ncnn(param, weights, OUTPUT)
            self.sha256 = hashlib.sha256(param.read_bytes() + weights.read_bytes()).hexdigest()
        except (OSError, NcnnError) as error:
            raise ValueError(f"teacher: {param} and {weights} are missing or not of ncnn's format ({error})") from error
        self.name = param.stem
        self.embedding = graph.outputs["embedding"]
        self.native = _native.Graph(native_nodes(graph, arrays), graph.input_size, [self.embedding])
        self.network = from_tensors(graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
        self.dimension = graph.output_shapes()["embedding"][1]

    def last_of(self, shapes: Sequence[Shape]) -> list[int | None]:
        """For each side and channels the last node whose map is of that shape and ends a block, if there is one."""
        own = self.network.graph.shapes()
        ends = block_ends(self.network.graph)
        found = [[index for index in ends if own[index] == shape] for shape in shapes]
        return [each[-1] if each else None for each in found]

    @torch.no_grad()
    def forward(self, crops: torch.Tensor, keep: tuple[int, ...] = ()) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Embeddings (n, D) of length 1 of crops (n, 3, 112, 112) in about -1..1, and the maps of nodes to ``keep``."""
        maps = self.network(crops, keep)
        return functional.normalize(maps[self.embedding].flatten(1).float()), maps

    def answer(self, crops: torch.Tensor, nodes: Sequence[int]) -> Answer:
        """The same as an `Answer`, with the maps of these nodes in their order."""
        embeddings, maps = self(crops, tuple(nodes))
        return Answer(embeddings, [maps[node] for node in nodes])

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, D) of length 1 of crops (n, 112, 112, 3), averaged with those of their mirror images.

        On a CPU the native engine computes them, which takes a third of the time.
        """
        device = next(self.parameters()).device
        if device.type == "cpu":
            twice = [_unit(self.native.run(np.ascontiguousarray(part))[0]) for part in (crops, crops[:, :, ::-1])]
            return _unit(twice[0] + twice[1])
        inputs = torch.from_numpy(np.array(crops)).to(device).permute(0, 3, 1, 2)
        inputs = normalise(inputs.float()).contiguous(memory_format=torch.channels_last)
        both = self(inputs)[0] + self(inputs.flip(3))[0]
        return np.asarray(functional.normalize(both).cpu().numpy())


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, D) scaled to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def check_teacher(faces: FaceCrops, network: RecognitionNetwork, teacher: Teacher | None) -> None:
    """Refuses faces without a teacher's embeddings, or with those of another than the one at hand."""
    if faces.embeddings is None:
        raise TrainingError("faces: a teacher's embeddings are missing; run `embeddings` first")
    dimension, came = network.graph.output_shapes()["embedding"][1], faces.embeddings.shape[1]
    if came != dimension:
        raise TrainingError(
            f"faces: the teacher's embeddings have {came} numbers, {network.graph.name} has {dimension}"
        )
    if teacher is not None and (faces.teacher or {}).get("sha256") != teacher.sha256:
        raise TrainingError(
            "teacher: the embeddings of the faces are of another network; run `embeddings` with this one"
        )


def matched_nodes(network: RecognitionNetwork, teacher: Teacher) -> tuple[tuple[int, int], ...]:
    """The ends of the network's stages with the nodes of the teacher whose maps have the same shapes."""
    shapes = network.graph.shapes()
    others = teacher.last_of([shapes[index] for index in network.skips])
    found = tuple((own, other) for own, other in zip(network.skips, others, strict=True) if other is not None)
    if not found:
        raise TrainingError(f"lambda_maps: no map of {network.graph.name} has the shape of one of {teacher.name}")
    return found


def embed_faces(folder: Path, param: Path, weights: Path) -> None:
    """Writes embeddings.npy and teacher.json into a folder of packed faces; on the first GPU if there is one.

    teacher.json, which says whose the embeddings are, is removed first and comes last.
    """
    teacher = Teacher(param, weights).to("cuda" if torch.cuda.is_available() else "cpu")
    about = {"network": teacher.name, "sha256": teacher.sha256, "mirrored": True}
    crops = load_crops(folder).crops
    rows = [np.empty((0, teacher.dimension), np.float32)]
    with tqdm(total=len(crops), desc="teacher", unit="face") as progress:
        for first in range(0, len(crops), CHUNK):
            rows.append(teacher.embed(crops[first : first + CHUNK]))
            progress.update(len(rows[-1]))
    (folder / "teacher.json").unlink(missing_ok=True)
    save_array(folder / "embeddings.npy", np.concatenate(rows))
    save_json(folder / "teacher.json", about)
