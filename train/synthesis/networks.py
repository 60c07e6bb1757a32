"""The generator with its age conditions, and the discriminator.

The generator is a graph, so that the native engine runs it: an encoder, a decoder with its skips, and a residual that
is added to the crop. Its conditioned nodes are 1×1 convolutions over the encoder's features that differ by age:
identity conditional blocks (Figure 5b of the paper), whose filters answer to this face's features, or the one-hot
condition (Figure 5a), which adds the same bias for everybody of an age group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from cascade.imaging.pasting import soft_mask
from cascade.models.aging import OUTPUT
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder
from cascade.nn.torch_graph import GraphNetwork, export_tensors, run_node

WIDTHS = (16, 32, 48, 80)  # channels at each resolution, the highest first
SLOPE = 0.2  # of the activations below 0; the same for all, since torch learns slopes several times slower
BRANCH = 0.3  # of the usual deviation, of what is added to a map; what is added to the photo begins with 0


def generator_graph(size: int) -> tuple[Graph, tuple[int, ...]]:
    """The generator for crops of ``size`` pixels, and its conditioned nodes."""
    net, conditioned, skips = GraphBuilder(), [], []

    def convolved(channels: int, kernel: int = 3, stride: int = 1, add: int | None = None) -> int:
        return net.conv(channels, kernel, stride, kernel // 2, "prelu", add)

    def condition(channels: int, at: int) -> int:
        conditioned.append(net.conv(channels, activation="prelu", add=at, after=at))
        return conditioned[-1]

    skips.append(convolved(WIDTHS[0]))
    for width in WIDTHS[1:]:
        halved = convolved(width, stride=2)
        skips.append(convolved(width, add=halved))
    at = skips.pop()
    for _ in range(2):
        at = convolved(WIDTHS[-1], add=condition(WIDTHS[-1], at))
    for width, skip in zip(WIDTHS[-2::-1], skips[::-1], strict=True):
        net.conv(width)
        at = net.upsample(2, add=skip)
        if width > WIDTHS[0]:
            at = condition(width, at)
        at = convolved(width, add=at)
    last = net.conv(3, 3, padding=1)
    return net.build("age synthesis", size, {OUTPUT: last}), tuple(conditioned)


class AnchorConv(nn.Module):
    """A 1×1 convolution and its activation whose filters ("icb") or bias alone ("onehot") differ by anchor age.

    With ``share``, neighbouring anchors have that share of their filters in common, so that ages change smoothly.
    """

    def __init__(self, inputs: int, outputs: int, anchors: int, condition: str, share: float) -> None:
        super().__init__()
        rows = shared_rows(anchors, outputs, share if condition == "icb" else 0.0)
        self.register_buffer("rows", rows)
        self.rows: torch.Tensor
        filters = int(rows.max()) + 1 if condition == "icb" else outputs
        self.weight = nn.Parameter(torch.randn(filters, inputs) * (2 / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.randn(int(rows.max()) + 1) * 0.1)

    def by_anchor(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Filters (anchors, outputs, inputs), or (outputs, inputs) if they are the same for all; bias by anchor."""
        own = len(self.weight) > self.rows.shape[1]
        return (self.weight[self.rows] if own else self.weight), self.bias[self.rows]

    @torch.no_grad()
    def fill(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Takes what `by_anchor` gave. Raises ValueError for other shapes."""
        if weight.shape != self.by_anchor()[0].shape or bias.shape != self.rows.shape:
            raise ValueError(f"filters {tuple(weight.shape)}, biases {tuple(bias.shape)}")
        if weight.ndim == 3:
            self.weight[self.rows] = weight
        else:
            self.weight.copy_(weight)
        self.bias[self.rows] = bias

    def forward(self, x: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Maps (n, outputs, h, w) of x (n, inputs, h, w) for anchors' shares (n, anchors)."""
        weight, bias = self.by_anchor()
        n, _, height, width = x.shape
        flat = x.flatten(2)
        if weight.ndim == 3:
            y = torch.bmm(torch.einsum("na,aoi->noi", shares, weight).to(x.dtype), flat)
        else:
            y = torch.matmul(weight.to(x.dtype), flat)
        y = y + (shares @ bias).to(y.dtype)[:, :, None]
        return functional.leaky_relu(y, SLOPE).reshape(n, -1, height, width)


def shared_rows(anchors: int, outputs: int, share: float) -> torch.Tensor:
    """The number of the filter of each output for each anchor, (anchors, outputs).

    Anchors k and k + 1 have ``share`` of the outputs in common: the first ones if k is even, those after them if odd.
    """
    rows = torch.arange(anchors * outputs).reshape(anchors, outputs)
    block = round(share * outputs)
    for k in range(anchors - 1):
        first = k % 2 * block
        rows[k + 1, first : first + block] = rows[k, first : first + block]
    numbers: torch.Tensor = rows.unique(return_inverse=True)[1]  # type: ignore[no-untyped-call]
    return numbers.reshape(anchors, outputs)


class Generator(nn.Module):
    """Crops (n, 3, size, size) in about -1..1 and anchors' shares (n, anchors) → the crops at those ages."""

    def __init__(self, size: int, anchors: int, condition: str, share: float) -> None:
        super().__init__()
        self.graph, self.conditioned = generator_graph(size)
        self.register_buffer("mask", torch.from_numpy(soft_mask(size)), persistent=False)
        self.mask: torch.Tensor
        self.network = GraphNetwork(self.graph)
        shapes = self.graph.shapes()
        for index, node in enumerate(self.graph.nodes):
            if node.activation == "prelu" and index not in self.conditioned:
                self.network.blocks[index][1] = nn.LeakyReLU(SLOPE)  # type: ignore[operator]
        for index in self.conditioned:
            node = self.graph.nodes[index]
            inputs = shapes[node.input][1]
            self.network.blocks[index] = AnchorConv(inputs, node.channels, anchors, condition, share)
        self._scale_down()

    @torch.no_grad()
    def _scale_down(self) -> None:
        for index, (node, block) in enumerate(zip(self.graph.nodes, self.network.blocks, strict=True)):
            layer = block[0] if isinstance(block, nn.Sequential) else block
            if isinstance(layer, (nn.Conv2d, AnchorConv)):
                last = index == self.graph.outputs[OUTPUT]
                layer.weight.mul_(0 if last else 1 if node.add is None else BRANCH)
            if isinstance(layer, nn.Conv2d):
                assert layer.bias is not None
                layer.bias.zero_()

    def forward(self, crops: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """The crops at other ages, in -1..1; changes fade to nothing at the border, as they will in the photo."""
        return (crops + self.mask * self.residual(crops, shares)).clamp(-1, 1)

    def residual(self, crops: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """What is added to the crops."""
        maps = {IMAGE: crops}
        for index, node in enumerate(self.graph.nodes):
            block = self.network.blocks[index]
            run = partial(block, shares=shares) if index in self.conditioned else block
            maps[index] = run_node(node, run, maps)
        return maps[self.graph.outputs[OUTPUT]].float()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays of a weight file."""
        found = export_tensors(self.network)
        for index, node in enumerate(self.graph.nodes):
            if node.activation == "prelu":
                found[f"{index}.slope"] = torch.full((node.channels,), SLOPE)
        for index in self.conditioned:
            block = self.network.blocks[index]
            assert isinstance(block, AnchorConv)
            weight, bias = block.by_anchor()
            found[f"{index}.weight"] = weight.detach()[..., None, None].contiguous().clone()
            found[f"{index}.bias"] = bias.detach().clone()
        return found

    @torch.no_grad()
    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes the arrays of a weight file. Raises KeyError, RuntimeError or ValueError if they do not fit."""
        for index, block in enumerate(self.network.blocks):
            layer = block[0] if isinstance(block, nn.Sequential) else block
            if isinstance(layer, AnchorConv):
                layer.fill(tensors[f"{index}.weight"][..., 0, 0], tensors[f"{index}.bias"])
            elif isinstance(layer, nn.Conv2d):
                state = {name: tensors[f"{index}.{name}"] for name in ("weight", "bias")}
                layer.load_state_dict(state)


class PatchDiscriminator(nn.Module):
    """Scores (n, patches) of crops for being real faces of an age, given as the anchors' shares.

    Spectral normalisation throughout. The age enters by projection: the patch's features times a vector for the age.
    """

    def __init__(self, anchors: int, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [spectral_norm(nn.Conv2d(before, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            before = width
        layers += [spectral_norm(nn.Conv2d(before, before, 3, 1, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Conv2d(before, 1, 1))
        self.ages = spectral_norm(nn.Linear(anchors, before, bias=False))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Features of patches, which `scores` needs."""
        features: torch.Tensor = self.layers(crops)
        return features

    def scores(self, features: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Scores (n, patches) of the features for anchors' shares (n, anchors)."""
        fits = (features * self.ages(shares)[:, :, None, None]).sum(1)
        found: torch.Tensor = self.score(features)[:, 0] + fits
        return found.flatten(1).float()
