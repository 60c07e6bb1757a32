"""Attention feature decomposition: feature maps x = age part + identity part (equations 5 and 6 of the paper).

The printed equations are taken as Huang et al., "When Age-Invariant Face Recognition Meets Face Age Synthesis"
(2021), have them: a gate σ(x) between 0 and 1 takes the age part x ∘ σ(x) out of the features, and x ∘ (1 − σ(x))
is left for identity. σ is the mean of a gate of channels and one of positions (CBAM's two, with a pyramid of windows
for the first).
"""

from __future__ import annotations

from cascade.nn.graphs import GraphBuilder

BINS = (1, 2, 3)
SQUEEZE = 16  # channels over those between the two layers of the channel gate
KERNEL = 7


def decompose(builder: GraphBuilder, features: int, channels: int) -> tuple[int, int]:
    """Adds the gates over node ``features`` of ``channels`` channels; returns the nodes of age and identity part."""
    pooled = builder.pyramid_pool(BINS, after=features)
    squeezed = builder.conv(channels // SQUEEZE, activation="relu", after=pooled)
    of_channels = builder.conv(channels, activation="sigmoid", after=squeezed)
    of_positions = builder.spatial_gate(KERNEL, activation="sigmoid", after=features)
    age = builder.gate(features, of_channels, of_positions)
    identity = builder.gate(features, of_channels, of_positions, rest=True)
    return age, identity
