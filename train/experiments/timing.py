"""How long forward passes take, several networks measured in rotation."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from tqdm import tqdm

from cascade.nn.torch_network import CascadeNetwork

PASSES = 300  # as in Table 1 of the paper


def forward_seconds(
    networks: Mapping[str, CascadeNetwork], batch: int = 1, passes: int = PASSES, rounds: int = 7
) -> dict[str, np.ndarray]:
    """Seconds (rounds,) that ``passes`` forward passes of ``batch`` crops take, for each network, on one thread.

    Each round measures every network once, so that a machine that is busy for a while slows all of them down.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        crops = {name: torch.randn(batch, 3, *[net.architecture.input_size] * 2) for name, net in networks.items()}
        for name, network in networks.items():
            _seconds(network, crops[name], 3)  # the first passes choose kernels and allocate
        times = {name: np.empty(rounds) for name in networks}
        for number in tqdm(range(rounds), desc=f"forward passes of {batch}", unit="round"):
            for name, network in networks.items():
                times[name][number] = _seconds(network, crops[name], passes)
    finally:
        torch.set_num_threads(threads)
    return times


@torch.inference_mode()
def _seconds(network: CascadeNetwork, crops: torch.Tensor, passes: int) -> float:
    started = time.perf_counter()
    for _ in range(passes):
        network(crops)
    return time.perf_counter() - started
