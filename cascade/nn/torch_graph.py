"""Recognition networks in torch, built from their `cascade.nn.graphs.Graph`, and the tensors of their weight files.

In training, batch normalisation follows the convolutions; `export_tensors` folds it into them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from cascade.nn.graphs import IMAGE, Graph, Node
from cascade.nn.torch_network import folded_block


class GraphNetwork(nn.Module):
    """A graph's network: (n, 3, size, size) float in about -1..1 → feature maps (n, channels, side, side) by node.

    With ``batch_norm``, batch normalisation follows every convolution over more than one position, including those of
    spatial gates, and the nodes listed in ``normalised``; the nodes in ``plain`` have none.
    """

    def __init__(
        self,
        graph: Graph,
        batch_norm: bool = False,
        normalised: tuple[int, ...] = (),
        plain: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.graph = graph
        shapes = {IMAGE: (graph.input_size, 3), **dict(enumerate(graph.shapes()))}
        blocks = []
        for index, node in enumerate(graph.nodes):
            side, channels = shapes[node.input]
            normal = batch_norm and (side > 1 or index in normalised) and index not in plain
            blocks.append(_block(node, channels, normal))
        self.blocks = nn.ModuleList(blocks)
        self._last_use = _last_uses(graph)

    def forward(self, x: torch.Tensor, keep: tuple[int, ...] = (), after: int = IMAGE) -> dict[int, torch.Tensor]:
        """The maps of the outputs and of the nodes in ``keep``, computed from the map ``x`` of the node ``after``."""
        wanted = {*self.graph.outputs.values(), *keep}
        maps = {after: x}
        for index in range(after + 1, len(self.graph.nodes)):
            maps[index] = run_node(self.graph.nodes[index], self.blocks[index], maps)
            for used in [at for at in maps if self._last_use.get(at, index) <= index and at not in wanted]:
                del maps[used]
        return {index: maps[index] for index in wanted}

    def part(self, x: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """The map of node ``last`` from ``x``, the map before node ``first``; no node between reads an earlier map."""
        maps = {first - 1: x}
        for index in range(first, last + 1):
            maps[index] = run_node(self.graph.nodes[index], self.blocks[index], maps)
        return maps[last]


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that trains fast in bfloat16 on a CPU, strided or not.

    There torch takes several times as long for the gradient of a strided one as for that of stride 1. So this one
    computes all positions, and leaves out what the stride skips.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        down, across = self.stride
        maps = functional.conv2d(x, self.weight, self.bias, 1, self.padding, 1, self.groups)
        return maps[:, :, ::down, ::across]


_SIMPLE: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


def _last_uses(graph: Graph) -> dict[int, int]:
    """The last node that reads each map."""
    last: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        for read in (node.input, node.add, node.channel_gate, node.spatial_gate):
            if read is not None:
                last[read] = index
    return last


def _block(node: Node, channels: int, batch_norm: bool) -> nn.Module:
    """Convolution, normalisation and activation of a node that has weights."""
    if node.kind in ("pyramid_pool", "gate", "upsample"):
        return nn.Identity()
    if node.kind == "spatial_gate":
        convolution = nn.Conv2d(2, 1, node.kernel, padding=node.kernel // 2)
        outputs = 1
    else:
        outputs = node.channels if node.kind == "conv" else channels
        groups, layer = (1, nn.Conv2d) if node.kind == "conv" else (channels, DepthwiseConv2d)
        convolution = layer(
            channels, outputs, node.kernel, node.stride, node.padding, groups=groups, bias=not batch_norm
        )
        nn.init.kaiming_normal_(convolution.weight)
    parts: list[nn.Module] = [convolution]
    if batch_norm:
        parts.append(nn.BatchNorm2d(outputs))
    if node.activation != "none":
        parts.append(nn.PReLU(outputs) if node.activation == "prelu" else _SIMPLE[node.activation]())
    return nn.Sequential(*parts)


def run_node(node: Node, block: Callable[[torch.Tensor], torch.Tensor], maps: dict[int, torch.Tensor]) -> torch.Tensor:
    """The map of a node from the earlier ones; its ``block`` has its weights."""
    x = maps[node.input]
    if node.kind == "pyramid_pool":
        return pyramid_pool(x, node.bins)
    if node.kind == "gate":
        assert node.channel_gate is not None and node.spatial_gate is not None
        return gated(x, maps[node.channel_gate], maps[node.spatial_gate], node.rest)
    if node.kind == "spatial_gate":
        x = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    if node.kind == "upsample":
        y = functional.interpolate(x, scale_factor=float(node.stride), mode="nearest")
    else:
        y = block(x)
    return y if node.add is None else y + maps[node.add]


def gated(x: torch.Tensor, channel: torch.Tensor, spatial: torch.Tensor, rest: bool) -> torch.Tensor:
    """x · g, or x · (1 - g) with ``rest``, where g is the mean of a channel gate and a spatial gate."""
    gate = (channel + spatial) / 2
    return x * (1 - gate) if rest else x * gate


def pyramid_pool(x: torch.Tensor, bins: tuple[int, ...]) -> torch.Tensor:
    """(n, C, side, side) → (n, 2 C Σb², 1, 1): means of b × b windows for each bin, then maxima; channels innermost."""
    found = []
    for pool in (functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d):
        found += [pool(x, b).permute(0, 2, 3, 1).flatten(1) for b in bins]
    return torch.cat(found, 1)[:, :, None, None]


def export_tensors(network: GraphNetwork) -> dict[str, torch.Tensor]:
    """Weights by name as `cascade.models.recognizer` stores them, with batch normalisation folded in."""
    tensors: dict[str, torch.Tensor] = {}
    for index, (node, block) in enumerate(zip(network.graph.nodes, network.blocks, strict=True)):
        if not isinstance(block, nn.Sequential):
            continue
        weight, bias = folded_block(block)
        shape = (node.kernel, node.kernel)
        if node.kind != "conv":
            weight = weight.reshape(-1, *shape)
        tensors[f"{index}.weight"], tensors[f"{index}.bias"] = weight.contiguous().clone(), bias.clone()
        for module in block:
            if isinstance(module, nn.PReLU):
                tensors[f"{index}.slope"] = module.weight.detach().clone()
    return tensors


def from_tensors(graph: Graph, tensors: dict[str, torch.Tensor]) -> GraphNetwork:
    """The network of a weight file, ready for inference."""
    network = GraphNetwork(graph).eval()
    with torch.no_grad():
        for index, block in enumerate(network.blocks):
            for module in block if isinstance(block, nn.Sequential) else ():
                if isinstance(module, nn.Conv2d):
                    assert module.bias is not None
                    module.weight.copy_(tensors[f"{index}.weight"].float().reshape(module.weight.shape))
                    module.bias.copy_(tensors[f"{index}.bias"].float())
                elif isinstance(module, nn.PReLU):
                    module.weight.copy_(tensors[f"{index}.slope"].float())
    return network.requires_grad_(False)
