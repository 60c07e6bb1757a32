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

# torch's precision setting is global: one call at a time changes it.
_precision_lock = Lock()


class PixelNetwork(nn.Module):
    """A network with the scaling of its input: uint8 (n, 3, height, width) → float32 (n, outputs, rows, columns).

    It computes in ``precision``, except for the last layer (logits, box deltas and landmarks), which is in float32.
    Feature maps are in channels-last memory format, as photos are.
    """

    def __init__(self, network: CascadeNetwork, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        *body, head = network.blocks
        self.precision = precision
        self.body = nn.Sequential(*body).to(precision)
        self.head = head.float()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The outputs. Pixels and their scaled values are exact in every precision in use."""
        values = pixels.to(self.precision, memory_format=torch.channels_last)
        output: torch.Tensor = self.head(self.body((values - 127.5) * 0.0078125).float())
        return output


def half_precision(device: torch.device) -> torch.dtype:
    """float16; on a CPU bfloat16, since few CPUs convolve in float16."""
    return torch.bfloat16 if device.type == "cpu" else torch.float16


def compiled(network: PixelNetwork, side: int, device: torch.device) -> Runner:
    """The network through torch.compile, for any number of inputs of any size.

    It compiles at once, for one input and for several of ``side`` by ``side`` pixels. If torch needs another version
    for a later size, that call compiles it; beyond torch's limit of versions (8 by default) torch warns and runs
    uncompiled. Raises ValueError where torch.compile does not work, as without a C++ compiler on a CPU or Triton on
    a GPU.
    """
    # traced into code of its own: torch counts versions by code object, and all networks share `forward`
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
    # torch 2.9 moved the setting, and later versions refuse to mix the two
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
    """Keeps the types that are written here, also within a caller's `torch.autocast`."""
    return torch.autocast(device.type, enabled=False) if device.type in ("cpu", "cuda") else nullcontext()
