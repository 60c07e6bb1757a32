"""How the torch engine runs a network: from pixels, in float32 or mostly in half precision, eager or compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch
import torch.fx
from torch import nn

from cascade.nn.torch_network import CascadeNetwork

# uint8 (n, 3, height, width) -> float32 (n, outputs, rows, columns)
Runner = Callable[[torch.Tensor], torch.Tensor]

# torch's precision switch is global: one call at a time turns it.
_precision_lock = Lock()


class PixelNetwork(nn.Module):
    """A network with its input's scaling: pixels uint8 (n, 3, height, width) → float32 (n, outputs, rows, columns).

    It computes in ``precision`` up to its last layer, and that one, which gives logits, offsets and landmarks, in
    float32. Maps lie in memory channel by channel within a pixel ("channels last"), as photos do.
    """

    def __init__(self, network: CascadeNetwork, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        *body, head = network.blocks
        self.precision = precision
        self.body = nn.Sequential(*body).to(precision)
        self.head = head.float()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The outputs. Pixels and their scaled values are exact in every precision that is used."""
        values = pixels.to(self.precision, memory_format=torch.channels_last)
        output: torch.Tensor = self.head(self.body((values - 127.5) * 0.0078125).float())
        return output


def half_precision(device: torch.device) -> torch.dtype:
    """float16; on a CPU bfloat16, as few of them convolve in float16."""
    return torch.bfloat16 if device.type == "cpu" else torch.float16


def compiled(network: PixelNetwork, side: int, device: torch.device) -> Runner:
    """The network through torch.compile, for any number of inputs of any size.

    Compiles at once, for one input and for several of ``side`` by ``side`` pixels. Later sizes for which torch needs
    another version wait for that; beyond the few versions that it keeps (8 by default) it says so and runs
    uncompiled. Raises ValueError where torch.compile does not work, as without a C++ compiler on a CPU or Triton on
    a GPU.
    """
    # traced, so that it is code of its own: torch counts the versions by code, and all networks share `forward`
    traced: Runner = torch.compile(torch.fx.symbolic_trace(network), dynamic=True)

    def runner(pixels: torch.Tensor) -> torch.Tensor:
        # a copy, so that strips of an image look like any other input
        return traced(pixels.clone(memory_format=torch.channels_last))

    try:
        for count in (1, 2):
            run(runner, torch.zeros(count, 3, side, side, dtype=torch.uint8, device=device))
    except (RuntimeError, ImportError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"compile: torch.compile does not work on {str(device)!r} here ({reason})") from error
    return runner


def run(network: Runner, pixels: torch.Tensor) -> torch.Tensor:
    """Outputs float32 (n, outputs, rows, columns) of a network for uint8 (n, 3, height, width)."""
    with torch.inference_mode(), full_precision(pixels.device), no_autocast(pixels.device):
        return network(pixels)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions of float32 in float32 on a GPU too, where torch otherwise rounds their inputs to 10 bits (TF32)."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    # the switch has moved: torch 2.9 and later refuse to mix the two
    switch, name, full = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    with _precision_lock:
        before = getattr(switch, name)
        setattr(switch, name, full)
        try:
            yield
        finally:
            setattr(switch, name, before)


def no_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Types as they are written here, also within a caller's `torch.autocast`."""
    return torch.autocast(device.type, enabled=False) if device.type in ("cpu", "cuda") else nullcontext()
