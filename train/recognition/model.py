"""The parts of a recogniser in training: its network, and the heads that only training needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cascade.nn.graphs import IMAGE
from cascade.nn.torch_graph import GraphNetwork
from train.recognition.age import AgeHead, AgeLoss
from train.recognition.architectures import RecognitionNetwork
from train.recognition.cosface import CosFace
from train.recognition.reversal import reverse_gradient


@dataclass(frozen=True)
class Prediction:
    """The outputs for a batch of n faces.

    embeddings   (n, D), of any length
    age          (n, 101) logits from the age part; None without decomposition
    adversary    (n, 101) logits from the identity part, behind gradient reversal; None unless asked for
    maps         of the nodes ``exposed`` by the model
    """

    embeddings: torch.Tensor
    age: torch.Tensor | None
    adversary: torch.Tensor | None
    maps: tuple[torch.Tensor, ...] = ()

    def in_full_precision(self) -> Prediction:
        """The same in float32."""
        age, adversary = (None if x is None else x.float() for x in (self.age, self.adversary))
        return Prediction(self.embeddings.float(), age, adversary, tuple(x.float() for x in self.maps))


class RecognitionModel(nn.Module):
    """A network, the head of known persons, and the second age head that the identity part must fool."""

    def __init__(
        self,
        architecture: RecognitionNetwork,
        persons: int,
        adversarial: bool,
        scale: float = 64.0,
        margin: float = 0.35,
    ) -> None:
        super().__init__()
        self.frozen = range(0)  # nodes whose weights stay as they are
        self.exposed: tuple[int, ...] = ()  # nodes whose maps are part of the prediction
        self.after = IMAGE  # node whose maps are the inputs
        self.architecture = architecture
        graph = architecture.graph
        self.embedding = graph.outputs["embedding"]
        self.network = GraphNetwork(graph, batch_norm=True, normalised=(self.embedding,))
        dimension = graph.output_shapes()["embedding"][1]
        self.identity = CosFace(dimension, persons, scale, margin) if persons else None
        self.age_loss = AgeLoss()
        self.adversary = AgeHead(architecture.channels, architecture.channels // 2) if adversarial else None
        self.adversary_loss = AgeLoss()

    def forward(self, inputs: torch.Tensor) -> Prediction:
        """Embeddings and ages of (n, 3, 112, 112) crops in about -1..1, or of the maps of the node ``after``."""
        identity = self.architecture.identity
        maps = self.network(inputs, keep=(identity, *self.exposed), after=self.after)
        adversary = None if self.adversary is None else self.adversary(reverse_gradient(maps[identity]))
        at = self.architecture.graph.outputs.get("age")
        age = None if at is None else maps[at].flatten(1)
        return Prediction(maps[self.embedding].flatten(1), age, adversary, tuple(maps[index] for index in self.exposed))

    def freeze(self, stages: int) -> None:
        """Freezes weights and statistics of the encoder's first stages; 0 freezes none."""
        self.frozen = range(self.architecture.skips[stages - 1] + 1) if stages else range(0)
        for index in self.frozen:
            self.network.blocks[index].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> RecognitionModel:
        """Training mode, in which frozen stages stay in evaluation mode."""
        super().train(mode)
        for index in self.frozen:
            self.network.blocks[index].eval()
        return self

    def skips(self, crops: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's maps, largest first, the last being the features: what a decoder of faces starts from."""
        maps = self.network(crops, keep=self.architecture.skips)
        return [maps[index] for index in self.architecture.skips]
