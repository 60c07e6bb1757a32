"""What all tests share: one thread, no deadlines of hypothesis, Python's own Ctrl-C, folders of random weights."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from cascade import stages
from tests.random_networks import save_random_weights

# before anything imports torch
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is slow now and then: hypothesis' limit per example would only make tests fail at random. Every run has
# other examples, so half of the usual number does.
settings.register_profile("cascade", deadline=None, max_examples=50)
settings.load_profile("cascade")


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family ("default", "paper") to a folder of random weights."""

    @cache
    def folder(family: str) -> Path:
        return save_random_weights(family, tmp_path_factory.mktemp(family))

    return folder


@pytest.fixture
def one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """O-Net looks at nothing again.

    Boxes are snapped before each network's crops are cut. Where engines, levels or batches round differently, some box
    is now and then snapped the other way. Random weights let thousands through, and a second look adds as many again.
    """
    monkeypatch.setattr(stages, "SURE", -math.inf)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Gives SIGINT Python's own handler, which `nohup` and background jobs of a shell take away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
