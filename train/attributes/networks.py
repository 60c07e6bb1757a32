"""Networks for torch alone: those of four papers on what a face tells, as far as the papers describe them.

Each takes aligned crops (n, 3, 112, 112) in about −1..1, makes its own input of them, and returns the outputs of each
task by name. Where a paper leaves something open, the docstring says what was taken. The native engine runs none of
them: it has no max pooling, and no activation after a sum. `train.attributes.architectures` has those that it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from cascade.nn.graphs import IMAGE
from cascade.nn.torch_graph import GraphNetwork
from train.attributes.tasks import Task
from train.common.checkpoints import TrainingError

__all__ = [
    "IMAGENET_BASES",
    "TORCH_NETWORKS",
    "BKNet",
    "BranchNet",
    "EmotionNet",
    "FaceNetwork",
    "FrozenTrunk",
    "ImageNetBase",
    "ResNet18",
    "activation_floats",
    "torch_network",
]

LUMA = (0.299, 0.587, 0.114)


class FaceNetwork(nn.Module):
    """Base: scales crops to ``side``, to one channel if ``gray``, and knows what the trainer asks a model for."""

    def __init__(self, tasks: Sequence[Task], side: int, gray: bool) -> None:
        super().__init__()
        self.tasks, self.side, self.gray = tuple(tasks), side, gray
        self.architecture = SimpleNamespace(trunk=IMAGE)  # there are no cached maps
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    luma: torch.Tensor

    def scaled(self, crops: torch.Tensor) -> torch.Tensor:
        """The network's own input."""
        x = functional.interpolate(crops, self.side, mode="bilinear", antialias=True, align_corners=False)
        return (x * self.luma).sum(1, keepdim=True) if self.gray else x

    @property
    def shared(self) -> torch.Tensor:
        """The last weights that all heads have in common."""
        common = (each for name, each in self.named_parameters() if not name.startswith("heads.") and each.ndim > 1)
        return [each for each in common if each.requires_grad][-1]

    def weights(self) -> int:
        """Number of weights that are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    """3×3, padded."""
    return nn.Conv2d(before, after, 3, stride, 1)


class BKNet(FaceNetwork):
    """Rohani et al. 2023: gray crops of 48 pixels, four blocks, and three dense layers for each task.

    One task is their configuration A, several are B; ``skip`` appends the first block's output, pooled to 3×3, to the
    last one's (configuration C). The paper's Table 1 has other widths than its text. With those of the text, 32 to 256,
    and a third convolution in the last block, the printed numbers of weights come out exactly: 2,418,146, 3,731,946 and
    3,953,130. Batch normalisation has no weights of its own then.
    """

    def __init__(self, tasks: Sequence[Task], skip: bool = False) -> None:
        super().__init__(tasks, 48, gray=True)
        self.skip = skip
        blocks, before = [], 1
        for width, count in ((32, 2), (64, 2), (128, 2), (256, 3)):
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [conv(before, width), nn.ReLU()]
                before = width
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.blocks = nn.ModuleList(blocks)
        features = 9 * (256 + (32 if skip else 0))
        self.heads = nn.ModuleDict({task.name: self._head(features, task.outputs) for task in tasks})

    @staticmethod
    def _head(features: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in pairwise((features, 256, 256)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, affine=False), nn.ReLU(), nn.Dropout(0.5)]
        return nn.Sequential(*layers, nn.Linear(256, outputs))

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        x = first = self.blocks[0](self.scaled(crops))
        for block in self.blocks[1:]:
            x = block(x)
        if self.skip:
            x = torch.cat([x, functional.adaptive_max_pool2d(first, 3)], 1)
        return {name: head(x.flatten(1)) for name, head in self.heads.items()}


class EmotionNet(FaceNetwork):
    """Li 2025: seven layers over gray crops of 48 pixels: convolutions, batch normalisation, pooling, dropout.

    The paper gives no widths. These are five convolutions of 64 to 256 channels and two dense layers.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks, 48, gray=True)
        layers: list[nn.Module] = []
        for before, after, pooled in ((1, 64, 0), (64, 64, 1), (64, 128, 0), (128, 128, 1), (128, 256, 1)):
            layers += [conv(before, after), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout(0.25)] if pooled else []
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 36, 256), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({task.name: nn.Linear(256, task.outputs) for task in tasks})

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        x = self.features(self.scaled(crops))
        return {name: head(x) for name, head in self.heads.items()}


class ResNet18(FaceNetwork):
    """Li 2025: ResNet-18 (K. He et al. 2016) over crops of 64 pixels, with a dense output layer for each task.

    The paper calls it ResNet-18 in one place and ResNet-50 in another, and starts it from ImageNet. Here it starts from
    random weights.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks, 64, gray=False)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
        self.blocks = nn.Sequential(*(_Residual(before, after) for before, after in pairwise(widths)))
        self.heads = nn.ModuleDict({task.name: nn.Linear(512, task.outputs) for task in tasks})

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        x = self.blocks(self.stem(self.scaled(crops))).mean((2, 3))
        return {name: head(x) for name, head in self.heads.items()}


class _Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut; where the channels grow, the first has stride 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


class BranchNet(FaceNetwork):
    """Speziali: four times convolution and pooling, and a branch of dense layers for each task.

    The paper gives neither sizes nor widths. These are crops of 64 pixels, 32 to 256 channels, and 128 dense units.
    With one task it is one of the two networks that the dual-task one is compared with.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks, 64, gray=False)
        layers: list[nn.Module] = []
        for before, after in pairwise((3, 32, 64, 128, 256)):
            layers += [conv(before, after), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.heads = nn.ModuleDict(
            {
                task.name: nn.Sequential(
                    nn.Linear(256 * 16, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, task.outputs)
                )
                for task in tasks
            }
        )

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        x = self.features(self.scaled(crops))
        return {name: head(x) for name, head in self.heads.items()}


class FrozenTrunk(FaceNetwork):
    """Aboluhom and Kandilli 2025: a frozen base, 128 dense units with dropout, and an output layer for each task.

    The paper's bases are MobileNet, MobileNetV2 and InceptionV3 with weights from ImageNet. Here the base is a network
    of `cascade` that knows faces, up to a node of its graph.
    """

    def __init__(self, tasks: Sequence[Task], base: GraphNetwork, node: int, channels: int) -> None:
        super().__init__(tasks, 112, gray=False)
        self.base, self.node = base.requires_grad_(False).eval(), node
        self.dense = nn.Sequential(nn.Linear(channels, 128), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({task.name: nn.Linear(128, task.outputs) for task in tasks})

    def train(self, mode: bool = True) -> FrozenTrunk:
        """Sets the mode of what is learned; the base stays as it is."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        with torch.no_grad():
            maps = self.base(crops, keep=(self.node,))[self.node].mean((2, 3))
        x = self.dense(maps)
        return {name: head(x) for name, head in self.heads.items()}


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_BASES = {
    "imagenet_mobilenet_v2": ("mobilenet_v2", "classifier"),
    "imagenet_inception_v3": ("inception_v3", "fc"),
}
"""Architecture → the model of torchvision, and the layer that gives its 1,000 classes."""


class ImageNetBase(FaceNetwork):
    """Aboluhom and Kandilli 2025: a frozen base of torchvision, 128 dense units with dropout, and heads.

    ``file`` holds the base's state dict as torchvision publishes it for ImageNet; it is never downloaded. Raises
    TrainingError where torchvision is not installed, and for a file that is none for this base.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, tasks: Sequence[Task], architecture: str, file: Path | None) -> None:
        super().__init__(tasks, 112, gray=False)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.base = _imagenet_base(architecture, file).requires_grad_(False).eval()
        with torch.no_grad():
            channels = self.base(torch.zeros(1, 3, self.side, self.side)).shape[1]
        self.dense = nn.Sequential(nn.Linear(channels, 128), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({task.name: nn.Linear(128, task.outputs) for task in tasks})

    def train(self, mode: bool = True) -> ImageNetBase:
        """Sets the mode of what is learned; the base stays as it is."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, crops: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs (n, …) of each task."""
        with torch.no_grad():
            features = self.base(((crops + 1) / 2 - self.mean) / self.std)
        x = self.dense(features)
        return {name: head(x) for name, head in self.heads.items()}


def _imagenet_base(architecture: str, file: Path | None) -> nn.Module:
    """The model of torchvision without its last layer; with random weights for no file."""
    name, last = IMAGENET_BASES[architecture]
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # one built for another torch raises RuntimeError
        raise TrainingError(
            f"architecture: {architecture} needs torchvision: pip install torchvision ({error!r:.150})"
        ) from error
    base: nn.Module = getattr(models, name)(weights=None)
    try:
        if file is not None:
            base.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, UnpicklingError) as error:
        raise TrainingError(
            f"base_weights: {file} holds no weights of torchvision's {name} ({error!r:.150})"
        ) from error
    setattr(base, last, nn.Identity())
    return base


def torch_network(architecture: str, tasks: Sequence[Task], base_weights: str = "") -> FaceNetwork:
    """The network of this name: one of `TORCH_NETWORKS` or `IMAGENET_BASES`, whose base has the weights of a file."""
    if architecture in IMAGENET_BASES:
        return ImageNetBase(tasks, architecture, Path(base_weights) if base_weights else None)
    return TORCH_NETWORKS[architecture](tasks)


TORCH_NETWORKS: Mapping[str, Callable[[Sequence[Task]], FaceNetwork]] = {
    "bknet": BKNet,
    "mbknet": partial(BKNet, skip=True),
    "emotionnet": EmotionNet,
    "resnet18": ResNet18,
    "branchnet": BranchNet,
}


@torch.no_grad()
def activation_floats(network: FaceNetwork) -> int:
    """How many numbers all layers give for one crop: what has to be in memory to train, beside the weights."""
    total = 0

    def count(module: nn.Module, given: object, found: torch.Tensor) -> None:
        nonlocal total
        total += found.numel()

    hooks = [each.register_forward_hook(count) for each in network.modules() if not list(each.children())]
    try:
        network.eval()(torch.zeros(1, 3, 112, 112))
    finally:
        for hook in hooks:
            hook.remove()
    return total
