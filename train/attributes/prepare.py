"""From a configuration to the faces, packed and with their cached maps, and the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from cascade.nn.graphs import IMAGE
from train.attributes.architectures import mobilenet, mobilenet_v2, small, tail
from train.attributes.batches import AttributeBatches, LabelledFaces, LabelledSet, split
from train.attributes.features import Trunk, cache_maps
from train.attributes.model import AttributeModel
from train.attributes.networks import FaceNetwork, torch_network
from train.attributes.pack import pack_source
from train.attributes.settings import GRAPHS, AttributeConfig, AttributeSettings
from train.attributes.tasks import Task
from train.attributes.warm_start import start_from, trunk_weights

LEARNED_WHOLE = {"small": small, "mobilenet": mobilenet, "mobilenet_v2": mobilenet_v2}
SAMPLE = 512  # faces that set the statistics of a network that begins from a weight file


def prepared(
    config: AttributeConfig, root: Path, folder: Path, workers: int
) -> tuple[LabelledFaces, AttributeModel | FaceNetwork]:
    """The labelled faces and the model of a configuration; ``folder`` keeps faces and maps for other runs.

    Raises DatasetError, TaskError, TrainingError or ValueError for what cannot be used.
    """
    settings = config.settings
    torch.manual_seed(settings.seed)
    model, trunk = _model(settings, config.tasks)
    sets = []
    for source in config.sources:
        crops = pack_source(source, root, folder / source.name, workers)
        maps = None
        if trunk is not None:
            where = folder / source.name / f"maps-{trunk.fingerprint[:12]}"
            views = settings.views if source.use == "train" else 0
            maps = cache_maps(crops, trunk, where, views, workers)
        sets.append(LabelledSet(source, crops, maps, *split(source, crops, settings.validation)))
    faces = LabelledFaces(sets, config.tasks)
    if settings.start and isinstance(model, AttributeModel):
        views = 1 if trunk is None else settings.views + 1
        few = min(SAMPLE, len(faces.learned))
        inputs = AttributeBatches(faces, few, views, settings.seed)[0].inputs
        start_from(model, Path(settings.start), config.tasks, inputs)
    return faces, model


def _model(settings: AttributeSettings, tasks: Sequence[Task]) -> tuple[AttributeModel | FaceNetwork, Trunk | None]:
    """The model, and the trunk whose maps it goes on from."""
    if settings.architecture not in GRAPHS:
        return torch_network(settings.architecture, tasks, settings.base_weights), None
    trunk = None
    if settings.architecture == "tail":
        weights = trunk_weights(settings)
        architecture = tail(tasks, weights.graph, settings.frozen)
        trunk = Trunk(weights, settings.frozen)
    else:
        architecture = LEARNED_WHOLE[settings.architecture](tasks)
    assert (architecture.trunk == IMAGE) == (trunk is None)
    tensors = {} if trunk is None else {name: torch.from_numpy(array) for name, array in trunk.tensors.items()}
    return AttributeModel(architecture, tensors), trunk
