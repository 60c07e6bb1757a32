"""The age classifier that a run trains first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade.datasets import FAIRFACE_AGES
from train.attributes.store import LabelledCrops
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.synthesis.classifier import anchor_ages, trained_classifier, varied
from train.synthesis.faces import AgedFaces
from train.synthesis.settings import ANCHORS, SynthesisSettings

ALONE = Processes(0, 1, torch.device("cpu"))


def bright_by_age(count: int = 90) -> LabelledCrops:
    """Flat crops, the brighter the older."""
    labels = (np.arange(count) % 9)[:, None].astype(np.int16)
    crops = np.broadcast_to((20 + 26 * labels.astype(np.uint8))[:, :, None, None], (count, 112, 112, 3)).copy()
    names = [f"{n}.png" for n in range(count)]
    return LabelledCrops(crops, labels, np.ones(count, bool), {"age": [*FAIRFACE_AGES]}, names, {"source": "x"})


@pytest.mark.slow
def test_it_learns_ages_and_is_kept(tmp_path: Path) -> None:
    faces = AgedFaces([bright_by_age()], SynthesisSettings(precision="float32"))
    torch.manual_seed(0)
    classifier = trained_classifier(faces, 60, tmp_path / "classifier.pt", ALONE)
    crops = torch.stack([torch.full((3, 64, 64), (20 + 26 * n - 127.5) / 128) for n in (0, 8)])
    young, old = anchor_ages(classifier(crops))
    assert young < 25 and old > 50
    assert [path.name for path in tmp_path.iterdir()] == ["classifier.pt"]
    again = trained_classifier(faces, 60, tmp_path / "classifier.pt", ALONE)
    assert torch.equal(again(crops), classifier(crops)) and not any(p.requires_grad for p in again.parameters())
    large = torch.nn.functional.interpolate(crops, (112, 112))
    torch.testing.assert_close(classifier(large), classifier(crops), atol=1e-3, rtol=0)


def test_one_of_other_settings_or_faces_is_refused(tmp_path: Path) -> None:
    settings, file = SynthesisSettings(precision="float32"), tmp_path / "classifier.pt"
    first = trained_classifier(AgedFaces([bright_by_age()], settings), 1, file, ALONE)
    for other in (replace(settings, steps=5), replace(settings, seed=1)):  # runs that can share it
        again = trained_classifier(AgedFaces([bright_by_age()], other), 1, file, ALONE)
        assert torch.equal(first.score.weight, again.score.weight)
    changed = [(bright_by_age(), settings, 2)]
    changed += [(bright_by_age(), replace(settings, size=112), 1), (bright_by_age(99), settings, 1)]
    for crops, other, steps in changed:
        with pytest.raises(TrainingError, match=r"classifier\.pt was made with other settings or faces"):
            trained_classifier(AgedFaces([crops], other), steps, file, ALONE)
    torch.save({"network": first.state_dict()}, file)  # as it was kept once
    with pytest.raises(TrainingError, match="was made with other settings or faces"):
        trained_classifier(AgedFaces([bright_by_age()], settings), 1, file, ALONE)


def test_expected_ages_lie_between_anchors() -> None:
    logits = torch.full((1, len(ANCHORS)), -50.0)
    logits[0, 3] = logits[0, 4] = 0
    assert anchor_ages(logits).item() == 30


def test_faces_vary_each_on_its_own_and_gradients_pass() -> None:
    torch.manual_seed(0)
    crops = torch.rand(1, 3, 64, 64).repeat(2, 1, 1, 1).requires_grad_(True)
    found = varied(crops)
    assert found.shape == crops.shape and not torch.allclose(found[0], found[1], atol=0.1)
    found.sum().backward()
    assert crops.grad is not None and crops.grad.abs().sum() > 0
