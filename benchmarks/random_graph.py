"""A recognition network to time, with random weights, since times do not depend on what the weights are."""

from __future__ import annotations

import numpy as np

from cascade.nn.graphs import Activation, Graph, GraphBuilder

__all__ = ["light_graph", "random_tensors"]


def light_graph() -> Graph:
    """The size and shape of a light recognition network: about 110 million multiply-adds for a crop of 112 pixels.

    After MobileFaceNet (Chen et al. 2018), with gates that part what tells identity from what tells age.
    """
    net = GraphBuilder()
    net.conv(32, 3, stride=2, padding=1, activation="prelu")
    net.depthwise(3, padding=1, activation="prelu")
    net.conv(64, activation="prelu")
    net.depthwise(3, stride=2, padding=1, activation="prelu")
    last = net.conv(64)
    for _ in range(2):
        last = _block(net, 128, 64, add=last)
    last = _block(net, 128, 128, stride=2)
    for _ in range(4):
        last = _block(net, 256, 128, add=last)
    last = _block(net, 256, 128, stride=2)
    for _ in range(2):
        last = _block(net, 256, 128, add=last)
    features = net.conv(512, activation="prelu")
    net.pyramid_pool((1, 2, 3))
    net.conv(32, activation="relu")
    channel = net.conv(512, activation="sigmoid")
    spatial = net.spatial_gate(7, after=features)
    net.gate(features, channel, spatial, rest=True)
    net.depthwise(7)
    embedding = net.conv(128)
    net.gate(features, channel, spatial)
    net.pyramid_pool((1,))
    net.conv(128, activation="relu")
    age = net.conv(101)
    return net.build("light", 112, {"embedding": embedding, "age": age})


def _block(net: GraphBuilder, wide: int, channels: int, stride: int = 1, add: int | None = None) -> int:
    prelu: Activation = "prelu"
    net.conv(wide, activation=prelu)
    net.depthwise(3, stride, 1, activation=prelu)
    return net.conv(channels, add=add)


def random_tensors(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights for the graph, float32 by name, scaled so that values neither grow nor fade from node to node."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for name, shape in graph.tensor_shapes().items():
        if name.endswith(".weight"):
            inputs = np.prod(shape[1:]) if graph.nodes[int(name.split(".")[0])].kind == "conv" else shape[-1] ** 2
            found[name] = random.standard_normal(shape, np.float32) * np.float32(np.sqrt(1.5 / inputs))
        else:
            found[name] = random.uniform(-0.2, 0.4, shape).astype(np.float32)
    return found
