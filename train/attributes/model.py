"""The network of a run: the trunk of a recogniser, whose weights stay, and what learns behind it."""

from __future__ import annotations

import torch
from torch import nn

from cascade.nn.graphs import IMAGE
from cascade.nn.torch_graph import GraphNetwork, export_tensors
from train.attributes.architectures import AttributeNetwork


class AttributeModel(nn.Module):
    """A network whose inputs are the maps of the trunk's last node, or crops where there is no trunk.

    ``trunk_tensors`` are the trunk's weights as its file has them; they take no part in training.
    """

    def __init__(self, architecture: AttributeNetwork, trunk_tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.architecture, self.trunk_tensors = architecture, trunk_tensors
        self.network = GraphNetwork(architecture.graph, batch_norm=True)
        for index in range(architecture.trunk + 1):
            self.network.blocks[index] = nn.Identity()  # what is cached is not computed again

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        graph = self.architecture.graph
        maps = self.network(inputs, after=self.architecture.trunk)
        return {name: maps[index].flatten(1) for name, index in graph.outputs.items()}

    @property
    def shared(self) -> torch.Tensor:
        """The last weights that all heads have in common."""
        graph = self.architecture.graph
        pooled = min(graph.outputs.values()) - 2
        block = self.network.blocks[graph.nodes[pooled].input]
        assert isinstance(block, nn.Sequential) and isinstance(block[0], nn.Conv2d)
        return block[0].weight

    def tensors(self) -> dict[str, torch.Tensor]:
        """All weights as `cascade.models` stores them, the trunk's included, with batch normalisation folded in."""
        found = dict(self.trunk_tensors)
        for name, tensor in export_tensors(self.network).items():
            if self.architecture.trunk == IMAGE or int(name.partition(".")[0]) > self.architecture.trunk:
                found[name] = tensor
        return found
