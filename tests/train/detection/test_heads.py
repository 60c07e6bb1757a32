"""A further head: one entry in the list, and its labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade import _native
from cascade.models.detector import load_stage
from cascade.nn.architectures import ARCHITECTURES
from cascade.nn.heads import BOX, DETECTION_HEADS, FACE, Head
from tests.train.easy_samples import samples
from tests.train.runs import rows
from train.common.checkpoints import TrainingError
from train.detection.augment import crop_randomly, mirror
from train.detection.batches import network_inputs
from train.detection.export import export
from train.detection.labels import NEGATIVE, labelled, target_columns, target_width
from train.detection.losses import detection_losses
from train.detection.sample_store import Samples, SampleWriter, load_samples
from train.detection.settings import TrainSettings
from train.detection.trainer import train

SMILE = Head("smile", 2, "cross_entropy", 0.5)
HEADS = (*DETECTION_HEADS, SMILE)
SIDE = 48


def smiling(folder: Path) -> Samples:
    """Samples of the paper's O-Net, half of the faces with a dark lower part and called smiling."""
    easy = samples(120, SIDE)
    crops, kinds, targets = easy.crops, easy.kinds, easy.targets
    smiles = np.full((len(kinds), 1), np.nan, np.float32)
    faces = np.flatnonzero(kinds != NEGATIVE)
    smiles[faces, 0] = np.arange(len(faces)) % 2
    crops[faces[1::2], SIDE // 2 :] = 0
    writer = SampleWriter(folder, SIDE, HEADS)
    writer.add(crops, kinds, np.concatenate([targets, smiles], axis=1))
    return writer.finish({})


def test_it_is_trained_and_exported_with_the_others(tmp_path):
    made = load_samples(smiling(tmp_path / "samples") and tmp_path / "samples")
    assert made.heads == HEADS
    settings = TrainSettings(
        "onet", "paper", heads=HEADS, steps=24, batch=28, log_every=4, checkpoint_every=24, ema_decay=0.9
    )
    network = train(settings, made, tmp_path / "run", device=torch.device("cpu"))
    found = rows(tmp_path / "run")
    assert list(found[0])[:5] == ["total", "face", "box", "landmarks", "smile"]
    assert found[-1]["smile"] < 0.5 * found[0]["smile"]
    assert found[-1]["validation"]["smile"] > 0

    export(network, settings, made, tmp_path, "a command", "drawn")
    stored = load_stage(tmp_path / "onet.safetensors", "onet")
    assert stored.architecture.heads == HEADS
    assert stored.architecture.output("landmarks") == slice(6, 16)
    outputs = _native.Network(stored.layers(), SIDE).forward(np.array(made.crops[:8]))
    with torch.no_grad():
        inputs, _ = network_inputs(
            torch.from_numpy(np.array(made.crops[:8])), torch.zeros(8, 15), network.architecture, None
        )
        expected = network(inputs).flatten(1).numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-3)


def test_early_stages_export_face_and_box_alone(tmp_path):
    easy = samples(40, 12)
    writer = SampleWriter(tmp_path / "samples", 12, HEADS)
    writer.add(easy.crops, easy.kinds, np.concatenate([easy.targets, np.zeros((40, 1), np.float32)], axis=1))
    made = writer.finish({})
    settings = TrainSettings("pnet", "paper", heads=HEADS, steps=1, batch=14)
    network = train(settings, made, tmp_path / "run", device=torch.device("cpu"))
    export(network, settings, made, tmp_path, "a command", "drawn")
    assert load_stage(tmp_path / "pnet.safetensors").architecture == ARCHITECTURES["paper"]["pnet"].without_landmarks()


def test_its_targets_lie_behind_those_of_the_others():
    assert target_columns(HEADS) == {
        "face": slice(0, 0),
        "box": slice(0, 4),
        "landmarks": slice(4, 14),
        "smile": slice(14, 15),
    }
    assert (target_width(DETECTION_HEADS), target_width(HEADS)) == (14, 15)
    kinds, targets = torch.tensor([0, 1, 2, 3]), torch.tensor([[torch.nan], [0.0], [1.0], [torch.nan]])
    assert labelled(SMILE, kinds, targets).tolist() == [False, True, True, False]
    assert labelled(FACE, kinds, targets[:, :0]).tolist() == [True, True, False, False]
    assert labelled(BOX, kinds, targets).tolist() == [False, True, True, False]


def test_its_loss_by_hand():
    outputs, targets = torch.zeros(3, 18), torch.full((3, 15), torch.nan)
    outputs[:, 17] = float(np.log(3))
    targets[0, 14], targets[1, 14] = 1, 0
    losses = detection_losses(outputs, torch.tensor([NEGATIVE, NEGATIVE, NEGATIVE]), targets, HEADS)
    assert losses["smile"].item() == pytest.approx((np.log(4 / 3) + np.log(4)) / 2, rel=1e-6)


def test_augmentation_leaves_a_class_as_it_is():
    generator = torch.Generator().manual_seed(0)
    crops, targets = torch.zeros(8, 27, 27, 3, dtype=torch.uint8), torch.rand(8, 15, generator=generator)
    cut, moved = crop_randomly(crops, targets, 23, 12, generator)
    _, mirrored = mirror(cut, moved, torch.ones(8, dtype=torch.bool))
    assert torch.equal(mirrored[:, 14], targets[:, 14])
    assert not torch.equal(mirrored[:, :14], targets[:, :14])


def test_samples_without_its_labels_are_refused(tmp_path):
    made = samples(40, 12)
    settings = TrainSettings("pnet", "paper", heads=HEADS, steps=1)
    with pytest.raises(TrainingError, match="samples: no labels for the head smile; they are for face, box, landmarks"):
        train(settings, made, tmp_path)
    train(replace(settings, heads=(), batch=14), made, tmp_path, device=torch.device("cpu"))
