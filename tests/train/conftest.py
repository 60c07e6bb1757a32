"""A tiny recogniser in place of the light one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.train.packed_faces import tiny
from train.recognition import trainer
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], RecognitionNetwork]:
    """The architecture "light" is tiny."""
    monkeypatch.setitem(ARCHITECTURES, "light", tiny)
    return tiny


@pytest.fixture
def often(tiny_architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny network, a row of metrics every step and a checkpoint every third."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    monkeypatch.setattr(trainer, "SAVE_EVERY", 3)
