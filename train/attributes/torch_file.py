"""Files of networks for torch alone: safetensors with the architecture and the tasks in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file

from train.attributes.networks import FaceNetwork, torch_network
from train.attributes.tasks import Task, TaskError
from train.common.checkpoints import TrainingError

FORMAT = "cascade-torch-attributes-1"


def save_torch_network(file: Path, network: FaceNetwork, architecture: str, about: Mapping[str, Any]) -> None:
    """Writes the weights, and beside them what `load_torch_network` needs."""
    tasks = [asdict(task) for task in network.tasks]
    record = {**about, "format": FORMAT, "architecture": architecture, "tasks": tasks}
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, file, {"cascade": json.dumps(record)})


def load_torch_network(file: Path) -> FaceNetwork:
    """The network of such a file, ready for inference: crops (n, 3, 112, 112) in −1..1 → outputs by task.

    Raises TrainingError for a file that is none.
    """
    try:
        with safetensors.safe_open(file, "pt") as opened:
            record = json.loads((opened.metadata() or {}).get("cascade", "{}"))
        if record.get("format") != FORMAT:
            raise ValueError(f"expected the format {FORMAT}")
        tasks = [Task(**{**each, "classes": tuple(each["classes"])}) for each in record["tasks"]]
        network = torch_network(record["architecture"], tasks)
        network.load_state_dict(load_file(file))
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, TaskError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{file} is no network for torch ({error!r:.200})") from error
    return network.eval()
