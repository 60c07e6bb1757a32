"""Our own recogniser and attribute network as losses: they say who and how old a synthesised face is.

They are frozen, but with ``--joint`` the recogniser learns in turns with the generator, except for first layers that
the attribute network has, too. Networks that evaluate the result in `eval` take no part here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cascade.imaging.alignment import TEMPLATE_SIZE
from cascade.imaging.pasting import SHIFT
from cascade.models.aging import anchor_shares
from cascade.models.attributes import AttributeWeights
from cascade.models.recognizer import RecognizerWeights
from cascade.nn.graphs import Graph
from cascade.nn.torch_graph import GraphNetwork, from_tensors

NOISE = 0.06  # the largest deviation of what is added to a face before it is looked at
JITTER = 4  # pixels by which a face is moved at random before it is looked at, to both sides


class FrozenNetworks(nn.Module):
    """Embeddings, ages and genders of crops.

    The attribute network goes on from the maps of the recogniser's trunk where both have the same one.
    """

    def __init__(self, recognizer: RecognizerWeights, attributes: AttributeWeights) -> None:
        super().__init__()
        graph, arrays = attributes.part(["age", "gender"])
        self.recognizer, self.attributes = _network(recognizer.graph, recognizer.tensors), _network(graph, arrays)
        self.trunk = shared_nodes(recognizer, graph, arrays)
        self.embedding = recognizer.graph.outputs["embedding"]
        self.age, self.gender = graph.outputs["age"], graph.outputs["gender"]
        self.low = next(task.low for task in attributes.tasks if task.name == "age")

    def forward(self, crops: torch.Tensor, moved: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embeddings (n, D) of length 1, probabilities (n, years) of the ages from 0 and (n, 2) of the genders.

        Crops may be of any size. With ``moved`` faces are shifted, mirrored, blurred, made gray and noisy at random,
        so that no pattern is found that only one place of the networks' grid, or only one colour, answers to.
        """
        if moved:
            crops = coarsened(crops)
        crops = as_recognised(crops, moved)
        maps = self.recognizer(crops, keep=(self.trunk - 1,) if self.trunk else ())
        trunk = self.trunk
        found = self.attributes(maps[trunk - 1], after=trunk - 1) if trunk else self.attributes(crops)
        embeddings = functional.normalize(maps[self.embedding].flatten(1).float())
        ages, genders = (found[node].flatten(1).float().softmax(1) for node in (self.age, self.gender))
        return embeddings, ages, genders

    def learn(self) -> list[nn.Parameter]:
        """Lets the recogniser's layers after the common trunk learn, or all without one; returns their parameters."""
        layers = (layer for block in self.recognizer.blocks[self.trunk :] for layer in block.modules())
        found = [p for layer in layers if isinstance(layer, nn.Conv2d) for p in layer.parameters()]
        for parameter in found:
            parameter.requires_grad_(True)
        return found


class _FixedPReLU(torch.autograd.Function):
    """PReLU whose slopes do not learn: torch's own kernel takes most of its time for the gradient of the slopes."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope.flatten())

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[no-untyped-def]
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(gradient, x, 0)
        return torch.lerp(above, gradient, slope), None


class FixedPReLU(nn.Module):
    """A frozen PReLU with the slopes of a learned one."""

    def __init__(self, learned: nn.PReLU) -> None:
        super().__init__()
        self.weight = nn.Parameter(learned.weight.detach(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The activation of maps (n, C, h, w)."""
        slope = self.weight.to(x.dtype)[:, None, None]
        found: torch.Tensor = _FixedPReLU.apply(x, slope)  # type: ignore[no-untyped-call]
        return found


def _network(graph: Graph, arrays: dict[str, Any]) -> GraphNetwork:
    network = from_tensors(graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
    for block in network.blocks:
        if isinstance(block, nn.Sequential) and isinstance(block[-1], nn.PReLU):
            block[-1] = FixedPReLU(block[-1])
    return network


def shared_nodes(recognizer: RecognizerWeights, graph: Graph, arrays: dict[str, Any]) -> int:
    """How many nodes from the first on are the same in both networks, weights included."""
    count = 0
    for index, (ours, theirs) in enumerate(zip(recognizer.graph.nodes, graph.nodes, strict=False)):
        names = [f"{index}.{name}" for name in ("weight", "bias", "slope")]
        pairs = [(recognizer.tensors.get(name), arrays.get(name)) for name in names]
        if ours != theirs or not all((a is None and b is None) or _equal(a, b) for a, b in pairs):
            break
        count = index + 1
    # nodes after them must not read an earlier map of the trunk than its last one
    reads = (read for node in graph.nodes[count:] for read in node.reads() if read is not None)
    return count if all(read >= count - 1 for read in reads) else 0


def _equal(a: object, b: object) -> bool:
    return a is not None and b is not None and bool(np.array_equal(a, b))  # type: ignore[arg-type]


def as_recognised(crops: torch.Tensor, moved: bool = False) -> torch.Tensor:
    """Crops as the generator has them → as the recogniser wants them: 112 pixels a side, the face further down.

    What the generator's crop does not show is its mirror image.
    """
    if crops.shape[-1] != TEMPLATE_SIZE:
        crops = functional.interpolate(crops, (TEMPLATE_SIZE, TEMPLATE_SIZE), mode="bilinear", align_corners=False)
    across, down = (torch.randint(-JITTER, JITTER + 1, (2,)).tolist()) if moved else (0, 0)
    if moved and bool(torch.rand(()) < 0.5):
        crops = crops.flip(3)
    around = [max(0, across), max(0, -across), SHIFT + down, 0]
    crops = functional.pad(crops, around, mode="reflect")
    left = max(0, -across)
    return crops[:, :, :TEMPLATE_SIZE, left : left + TEMPLATE_SIZE]


def coarsened(crops: torch.Tensor) -> torch.Tensor:
    """Crops that are gray or not, blurred a little or not, and noisy, at random."""
    if bool(torch.rand(()) < 0.5):
        crops = crops.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    if bool(torch.rand(()) < 0.5):
        crops = functional.avg_pool2d(functional.pad(crops, [1, 1, 1, 1], mode="reflect"), 3, 1)
    return crops + NOISE * torch.rand((), device=crops.device) * torch.randn_like(crops)


def expected_ages(probabilities: torch.Tensor) -> torch.Tensor:
    """The expectation (n,) in years of probabilities (n, years) of the ages from 0."""
    years = torch.arange(probabilities.shape[1], device=probabilities.device, dtype=probabilities.dtype)
    return probabilities @ years


def anchor_matrix(years: int, anchors: Sequence[float]) -> torch.Tensor:
    """Anchors' shares (years, anchors) of the ages from 0."""
    return torch.from_numpy(anchor_shares(np.arange(years), tuple(anchors)))
