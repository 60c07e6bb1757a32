"""The record of a run, and changes to its settings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from train.common.files import save_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)


def save_settings(settings: DataclassInstance, folder: Path, **extra: Any) -> None:
    """Writes settings.json beside the checkpoints, with the git revision and the ``extra`` facts."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"settings": asdict(settings), "revision": revision(), **extra}
    save_json(folder / "settings.json", record)


def revision() -> str:
    """The git revision of the training code, "unknown" outside a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def check_positive(settings: DataclassInstance, *names: str) -> None:
    """Raises ValueError naming the first of these settings that is below 1."""
    for name in names:
        value = getattr(settings, name)
        if not value >= 1:
            raise ValueError(f"{name}: expected at least 1, got {value!r}")


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with every change that is not None; lists, as options give them, become tuples."""
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(settings, **{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def plain_values(settings: DataclassInstance) -> dict[str, Any]:
    """The settings as JSON gives them back."""
    return dict(json.loads(json.dumps(asdict(settings))))
