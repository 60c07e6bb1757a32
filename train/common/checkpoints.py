"""Checkpoints: what a run is resumed from, in ``checkpoint.pt`` of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from train.common.files import new_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class TrainingError(RuntimeError):
    """Training cannot go on: other settings, samples that do not fit the network, a loss that is not finite."""


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class LearnedFrom:
    """A part of a run that changes nothing: what it learns from, so that it goes on from the same only.

    A checkpoint that was written before there was such a part is believed.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError if the checkpoint is of other data."""
        if state["fingerprint"] != self.fingerprint:
            raise ValueError("other data")


def checkpoint_file(out: Path) -> Path:
    """The checkpoint of the run in this folder."""
    return out / "checkpoint.pt"


def save_checkpoint(out: Path, settings: DataclassInstance, step: int, parts: Mapping[str, Stateful]) -> None:
    """Writes the states of the parts, the step and the settings."""
    state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    write_checkpoint(out, state | {"step": step, "settings": asdict(settings)})


def write_checkpoint(out: Path, state: Mapping[str, Any]) -> None:
    """Writes the checkpoint of the run in this folder, atomically."""
    write_state(checkpoint_file(out), state)


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Writes a file that `read_checkpoint` reads, all of it or nothing."""
    with new_file(file) as stream:
        torch.save(dict(state), stream)


def read_checkpoint(file: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint of any settings, with tensors on the device."""
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location=device)
    return state


def load_checkpoint(
    out: Path, settings: DataclassInstance, defaults: DataclassInstance, device: torch.device | str = "cpu"
) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, with tensors on the device; None if there is none.

    A setting that came up after the checkpoint was written had its value in ``defaults``. Raises TrainingError if the
    settings differ.
    """
    file = checkpoint_file(out)
    if not file.exists():
        return None
    state = read_checkpoint(file, device)
    if {**asdict(defaults), **state["settings"]} != asdict(settings):
        raise TrainingError(f"{file} was made with other settings; remove it or use another folder")
    return state


def restore(
    out: Path,
    settings: DataclassInstance,
    defaults: DataclassInstance,
    parts: Mapping[str, Stateful],
    device: torch.device | str = "cpu",
) -> int:
    """Gives the parts their states of the checkpoint; returns its step, 0 if there is none.

    Raises TrainingError if the settings or what is learned from differ, or if the parts have other shapes.
    """
    state = load_checkpoint(out, settings, defaults, device)
    if state is None:
        return 0
    try:
        for name, part in parts.items():
            if isinstance(part, LearnedFrom) and name not in state:
                continue
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError) as error:
        file = checkpoint_file(out)
        raise TrainingError(f"{file} was made with other data; remove it or use another folder") from error
    return int(state["step"])
