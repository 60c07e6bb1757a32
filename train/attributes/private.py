"""Differentially private training of heads over the recogniser's features, with Opacus.

What is learned says little of any single face: of two sets that differ in one face, either gives the same weights with
nearly the same probability (ε, δ; M. Abadi et al., Deep Learning with Differential Privacy, CCS 2016). A dense layer
for each task is learned over the pooled maps of the frozen recogniser.

The promise is for the faces that are learned from, if the recogniser has not seen them: its card says what it has.
Those held out are measured on and choose nothing: the last weights are exported, averaged over steps.
Class balancing is left out, since it would tell how many faces a class has.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cascade import _native
from cascade.models.recognizer import RecognizerWeights, load_recognizer
from cascade.nn.graphs import Graph, GraphBuilder, native_nodes
from train.attributes.architectures import AttributeNetwork
from train.attributes.batches import LabelledFaces, LabelledSet, split
from train.attributes.losses import TaskLoss
from train.attributes.measures import measure
from train.attributes.pack import pack_source
from train.attributes.settings import AttributeConfig
from train.attributes.tasks import Task
from train.common.checkpoints import LearnedFrom, TrainingError
from train.common.loop import Run
from train.common.prefetch import Prefetcher
from train.common.settings import check_positive

CHUNK = 64  # faces whose features are computed at a time
EVERY = (50, 500)  # steps between rows of metrics, and between checkpoints
UNIT = 5.0  # length that features of a usual face are scaled to


@dataclass(frozen=True)
class PrivateSettings:
    """How a private run goes.

    epsilon, delta    what may be told of a face; delta should be well below one over the number of faces
    batch             expected number of faces of a step: each is in it with the same probability
    clip              largest norm of a face's gradient
    noise_multiplier  standard deviation of the noise over ``clip``; it follows from the others
    ema               decay of the averaged weights, which are exported
    """

    epsilon: float
    delta: float
    steps: int = 2000
    batch: int = 512
    learning_rate: float = 0.05
    clip: float = 1.0
    noise_multiplier: float = 0.0
    ema: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("epsilon", 0, 1000), ("delta", 0, 0.5), ("clip", 0, 1e6), ("learning_rate", 0, 10)):
            if not low < getattr(self, name) < high:
                raise ValueError(f"{name}: expected more than {low} and less than {high}, got {getattr(self, name)!r}")
        check_positive(self, "steps", "batch")

    def rate(self, step: int) -> float:
        """The learning rate, which falls linearly."""
        return self.learning_rate * (1 - step / self.steps)


class PrivateHeads(nn.Module):
    """Dense layers over features (n, F); the recogniser before them is part of what is exported."""

    def __init__(self, architecture: AttributeNetwork, recogniser: RecognizerWeights, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.architecture, self.recogniser = architecture, recogniser
        features = architecture.graph.shapes()[architecture.trunk][1]
        self.heads = nn.ModuleDict({task.name: nn.Linear(features, task.outputs) for task in tasks})
        self.scale = 1.0

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        return {name: head(features) for name, head in self.heads.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """All weights as `cascade.models` stores them."""
        graph = self.architecture.graph
        found = {name: torch.from_numpy(self.recogniser.tensors[name]) for name in _trunk_names(self.architecture)}
        for name, head in self.heads.items():
            at = graph.outputs[name]
            assert isinstance(head, nn.Linear)
            found[f"{at}.weight"] = (self.scale * head.weight.detach())[:, :, None, None]
            found[f"{at}.bias"] = head.bias.detach()
        return found


def private_network(tasks: Sequence[Task], recogniser: RecognizerWeights) -> AttributeNetwork:
    """The recogniser up to its last maps, means and maxima over all positions, and a dense layer for each task."""
    graph = recogniser.graph
    last = max(at for at, (side, _) in enumerate(graph.shapes()) if side > 1 and graph.nodes[at].kind == "conv")
    builder = GraphBuilder()
    builder.nodes = list(graph.nodes[: last + 1])
    pooled = builder.pyramid_pool((1,), after=last)
    outputs = {task.name: builder.conv(task.outputs, after=pooled) for task in tasks}
    return AttributeNetwork(builder.build(f"private heads over {graph.name}", graph.input_size, outputs), pooled)


def _trunk_names(architecture: AttributeNetwork) -> list[str]:
    return [name for name in architecture.graph.tensor_shapes() if int(name.partition(".")[0]) <= architecture.trunk]


class FeatureFaces(LabelledFaces):
    """Labelled faces whose inputs are features (N, F), computed once by the native engine."""

    def __init__(self, sets: Sequence[LabelledSet], tasks: Sequence[Task], model: PrivateHeads) -> None:
        super().__init__(sets, tasks)
        graph, trunk = model.architecture.graph, model.architecture.trunk
        part = Graph(graph.name, graph.input_size, graph.nodes[: trunk + 1], {"pooled": trunk})
        arrays = {name: model.recogniser.tensors[name] for name in part.tensor_shapes()}
        native = _native.Graph(native_nodes(part, arrays), graph.input_size, [trunk])
        gray = np.full((1, graph.input_size, graph.input_size, 3), 128, np.uint8)
        model.scale = UNIT / max(float(np.linalg.norm(native.run(gray)[0])), 1e-6)  # of no face that is learned from
        rows = [
            native.run(np.ascontiguousarray(each.crops.crops[first : first + CHUNK]))[0]
            for each in sets
            for first in range(0, len(each.crops), CHUNK)
        ]
        self.features = torch.from_numpy(model.scale * np.concatenate(rows).astype(np.float32))

    def inputs(self, rows: NDArray[np.int64], views: NDArray[np.int64], seed: int | None = None) -> torch.Tensor:
        """The features of rows."""
        return self.features[torch.from_numpy(rows)]


class PrivateRun(Run):
    """Heads on their way, with the privacy that was spent."""

    title = "train private heads"
    every = EVERY

    def __init__(self, settings: PrivateSettings, faces: FeatureFaces, model: PrivateHeads, out: Path) -> None:
        try:
            from opacus import GradSampleModule
            from opacus.accountants import RDPAccountant
            from opacus.optimizers import DPOptimizer
        except ImportError as error:
            raise TrainingError(f"--dp-epsilon needs Opacus: pip install -e . --group private ({error})") from error
        self.settings, self.faces, self.model, self.out = settings, faces, model, out
        self.device = torch.device("cpu")
        self.losses = ("total", *(task.name for task in faces.tasks))
        self.share = min(1.0, settings.batch / len(faces.learned))
        self.task_losses = [TaskLoss(task, table) for task, table in zip(faces.tasks, faces.tables, strict=True)]
        self.samples = GradSampleModule(model)
        optimiser = torch.optim.SGD(model.parameters(), settings.learning_rate, momentum=0.9)
        expected = max(1, round(self.share * len(faces.learned)))
        # Noise and batches that a seed would repeat, here or when a run is resumed, protect nobody.
        noise = torch.Generator().manual_seed(secrets.randbits(63))
        self.optimiser = DPOptimizer(
            optimiser,
            generator=noise,
            noise_multiplier=settings.noise_multiplier,
            max_grad_norm=settings.clip,
            expected_batch_size=expected,
        )
        self.accountant = RDPAccountant()
        self.averaged = {name: value.clone() for name, value in model.state_dict().items()}
        self.parts = {
            "data": LearnedFrom(faces.fingerprint()),
            "model": model,
            "optimiser": optimiser,
            "accountant": self.accountant,
            "averaged": self,
        }
        self.batches = Prefetcher(self._rows)
        out.mkdir(parents=True, exist_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, for a checkpoint."""
        return dict(self.averaged)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.averaged = dict(state)

    def _rows(self, step: int) -> NDArray[np.int64]:
        """The faces of a step: each with the same probability, on its own, as the accountant counts on."""
        rng = np.random.default_rng()  # of the system's entropy
        found: NDArray[np.int64] = self.faces.learned[rng.random(len(self.faces.learned)) < self.share]
        return found

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of DP-SGD; the losses."""
        rows = self.batches.take(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.step)
        labels = torch.from_numpy(self.faces.labels[rows])
        self.samples.train()  # validation has ended that
        answers = self.samples(self.faces.inputs(rows, np.zeros(len(rows), np.int64)))
        # a batch may be empty, or say nothing of a task: each head has gradients all the same, which get their noise
        totals = sum((0.0 * each.sum(dim=1) for each in answers.values()), torch.zeros(len(rows)))
        losses: dict[str, torch.Tensor] = {}
        for at, loss in enumerate(self.task_losses):
            known = labels[:, at] >= 0
            if known.any():
                each = loss.each(answers[loss.task.name][known], labels[known, at])
                totals = totals.index_add(0, known.nonzero()[:, 0], loss.task.weight * each)
                losses[loss.task.name] = each.mean().detach()
        self.optimiser.zero_grad(set_to_none=True)
        (totals.sum() / max(1, len(rows))).backward()
        self.optimiser.step()
        self.accountant.step(noise_multiplier=self.settings.noise_multiplier, sample_rate=self.share)
        self.step += 1
        decay = min(self.settings.ema, self.step / (self.step + 10))
        for name, value in self.model.state_dict().items():
            self.averaged[name].lerp_(value, 1 - decay)
        return {"total": totals.sum().detach() / max(1, len(rows)), **losses}

    def validate(self) -> Mapping[str, float]:
        """Measures of the weights as they are on the faces held out, and the ε that was spent."""
        return {**measure(self.model, self.faces, self.faces.measured), "epsilon": self.spent()}

    def spent(self) -> float:
        """The ε of all steps so far, for the δ of the settings."""
        return float(self.accountant.get_epsilon(self.settings.delta))

    def privacy(self) -> dict[str, float]:
        """What the weight file says of it."""
        settings = self.settings
        return {
            "epsilon": self.spent(),
            "delta": settings.delta,
            "noise_multiplier": settings.noise_multiplier,
            "sample_rate": self.share,
            "clip": settings.clip,
        }

    @property
    def defaults(self) -> PrivateSettings:
        """The settings of a run that says nothing else."""
        return PrivateSettings(self.settings.epsilon, self.settings.delta)


def prepared_private(
    config: AttributeConfig, root: Path, folder: Path, workers: int
) -> tuple[FeatureFaces, PrivateHeads]:
    """The labelled faces with their features, and the heads; ``folder`` keeps the faces for other runs.

    Raises DatasetError, TaskError, TrainingError or ValueError for what cannot be used.
    """
    recogniser, tasks = load_recognizer(config.settings.trunk or None), config.tasks
    torch.manual_seed(config.settings.seed)
    model = PrivateHeads(private_network(tasks, recogniser), recogniser, tasks)
    sets = []
    for source in config.sources:
        crops = pack_source(source, root, folder / source.name, workers)
        sets.append(LabelledSet(source, crops, None, *split(source, crops, config.settings.validation)))
    return FeatureFaces(sets, tasks, model), model


def noise_for(settings: PrivateSettings, faces: int) -> float:
    """The noise multiplier with which all steps together spend at most ε. Raises TrainingError without Opacus."""
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError as error:
        raise TrainingError(f"--dp-epsilon needs Opacus: pip install opacus ({error})") from error
    share = min(1.0, settings.batch / faces)
    return float(
        get_noise_multiplier(
            target_epsilon=settings.epsilon,
            target_delta=settings.delta,
            sample_rate=share,
            steps=settings.steps,
            accountant="rdp",
        )
    )
