"""The loss of the paper: what is mined, what is not, and what a sample without a label adds (nothing)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.nn.architectures import STAGES
from cascade.nn.heads import BOX, DETECTION_HEADS, FACE, LANDMARKS, head_slices
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.losses import WING_WIDTH, detection_losses, head_loss, mine
from train.detection.settings import TrainSettings

FACE_OUTPUTS, BOX_OUTPUTS, LANDMARK_OUTPUTS = head_slices(DETECTION_HEADS).values()
kinds_of = {NEGATIVE: "negative", POSITIVE: "positive", PART: "part", LANDMARK: "landmark"}


def batch(kinds: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random outputs that want a gradient, the kinds, and targets with NaN where a kind has no label, as stored."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(len(kinds), 16, generator=generator).requires_grad_()
    targets = torch.rand(len(kinds), 14, generator=generator)
    kind = torch.tensor(kinds, dtype=torch.int64)
    targets[kind == NEGATIVE] = math.nan
    return outputs, kind, targets


def with_losses(hardness: np.ndarray, kinds: np.ndarray, seed: int) -> torch.Tensor:
    """Outputs (n, 16) whose face loss is log(1 + exp(hardness)), whatever the kind."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(len(kinds), 16))
    outputs[:, 1] = outputs[:, 0] + np.where(kinds == POSITIVE, -hardness, hardness)
    return torch.tensor(outputs, requires_grad=True)


labelled_and_others = st.lists(st.sampled_from([NEGATIVE, POSITIVE, PART, LANDMARK]), min_size=1, max_size=80).filter(
    lambda kinds: NEGATIVE in kinds or POSITIVE in kinds
)


@given(labelled_and_others, st.integers(0, 2**32 - 1))
def test_the_face_gradient_flows_from_exactly_the_hardest_70_percent(kinds, seed):
    kinds = np.array(kinds)
    hardness = np.random.default_rng(seed).permutation(np.linspace(-4, 4, len(kinds)))
    outputs = with_losses(hardness, kinds, seed)
    targets = torch.full((len(kinds), 14), 0.5, dtype=torch.float64)
    detection_losses(outputs, torch.tensor(kinds), targets, DETECTION_HEADS, 0.7)["total"].backward()

    labelled = np.flatnonzero(kinds <= POSITIVE)
    keep = -(-7 * len(labelled) // 10)  # ⌈0.7 n⌉ in whole numbers
    hardest = labelled[np.argsort(-hardness[labelled])][:keep]
    gradient = outputs.grad[:, FACE_OUTPUTS].numpy()
    assert set(np.flatnonzero(np.abs(gradient).sum(axis=1))) == set(hardest)
    # and each of them gets the whole gradient of a mean over the mined ones
    share = 1 / (1 + np.exp(-hardness[hardest])) / keep
    towards = np.where(kinds[hardest] == POSITIVE, -share, share)
    np.testing.assert_allclose(gradient[hardest], np.stack([-towards, towards], axis=1), rtol=1e-9)


@given(st.integers(1, 60), st.sampled_from([0.7, 0.5, 1.0]), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_ties_are_mined_by_number(n, ratio, levels, seed):
    rng = np.random.default_rng(seed)
    hardness = rng.integers(0, levels, n).astype(float)
    kinds = rng.integers(NEGATIVE, POSITIVE + 1, n)
    outputs = with_losses(hardness, kinds, seed)
    # logits of equal hardness must be equal to the bit
    with torch.no_grad():
        outputs[:, 0] = 0
        outputs[:, 1] = torch.tensor(np.where(kinds == POSITIVE, -hardness, hardness))
    head_loss(FACE, outputs[:, :2], torch.tensor(kinds), torch.empty(n, 0), ratio).backward()

    chosen = np.abs(outputs.grad[:, FACE_OUTPUTS].numpy()).sum(axis=1) > 0
    keep = {0.7: -(-7 * n // 10), 0.5: -(-n // 2), 1.0: n}[ratio]
    assert chosen.sum() == keep
    cutoff = np.sort(hardness)[::-1][keep - 1]
    assert chosen[hardness > cutoff].all()
    assert not chosen[hardness < cutoff].any()


def test_a_ratio_of_one_switches_mining_off():
    losses = torch.tensor([0.0, 3.0, 1.0])
    assert mine(losses, 1.0) is losses
    with pytest.raises(ValueError, match="mining_ratio"):
        TrainSettings("pnet", mining_ratio=0.0)
    with pytest.raises(ValueError, match="mining_ratio"):
        TrainSettings("pnet", mining_ratio=1.5)


@given(st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=30)
def test_box_and_landmark_losses_are_not_mined(n, seed):
    kinds = [POSITIVE, PART, LANDMARK] * n
    outputs, kind, targets = batch(kinds, seed)
    # errors from tiny to large: mining would drop the tiny ones
    errors = torch.logspace(-3, 1, len(kinds))[:, None].expand(-1, 14)
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0])
    with torch.no_grad():
        outputs[:, BOX_OUTPUTS] = targets[:, :4] - unit + errors[:, :4]
        outputs[:, LANDMARK_OUTPUTS] = targets[:, 4:] + errors[:, 4:]
    detection_losses(outputs, kind, targets, (replace(FACE, weight=0.0), BOX, replace(LANDMARKS, weight=2.0)), 0.7)[
        "total"
    ].backward()
    boxed = kind != LANDMARK
    # d/do of 0.5 · mean of Σ (o - t)²
    torch.testing.assert_close(
        outputs.grad[boxed, BOX_OUTPUTS], 0.5 * 2 * errors[boxed, :4] / (2 * n), rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(
        outputs.grad[~boxed, LANDMARK_OUTPUTS], 2.0 * 2 * errors[~boxed, 4:] / n, rtol=1e-3, atol=1e-6
    )


@given(st.lists(st.sampled_from(list(kinds_of)), max_size=40), st.floats(0.1, 1), st.sampled_from(["l2", "wing"]))
def test_a_sample_without_a_label_adds_nothing(kinds, ratio, landmark_kind):
    outputs, kind, targets = batch(kinds, seed=len(kinds))
    heads = (FACE, BOX, replace(LANDMARKS, loss=landmark_kind))
    losses = detection_losses(outputs, kind, targets, heads, ratio)
    losses["total"].backward()
    gradient = outputs.grad
    assert torch.isfinite(losses["total"])
    assert torch.isfinite(gradient).all()
    for part, having in (
        (FACE_OUTPUTS, (NEGATIVE, POSITIVE)),
        (BOX_OUTPUTS, (POSITIVE, PART)),
        (LANDMARK_OUTPUTS, (LANDMARK,)),
    ):
        without = torch.tensor([k not in having for k in kinds], dtype=torch.bool)
        assert (gradient[without, part] == 0).all()
    # nor does it change the value: the same without it
    for task, having in (("face", (NEGATIVE, POSITIVE)), ("box", (POSITIVE, PART)), ("landmarks", (LANDMARK,))):
        some = torch.tensor([k in having for k in kinds], dtype=torch.bool)
        alone = detection_losses(outputs[some], kind[some], targets[some], heads, ratio)
        torch.testing.assert_close(losses[task], alone[task])


def test_the_weights_of_the_heads_are_those_of_the_paper():
    found = [[head.weight for head in TrainSettings(stage).heads] for stage in STAGES]
    assert found == [[1, 0.5, 0.5], [1, 0.5, 0.5], [1, 0.5, 1]]
    outputs, kind, targets = batch([NEGATIVE, POSITIVE, PART, LANDMARK] * 5)
    for stage in STAGES:
        heads = TrainSettings(stage).heads
        losses = detection_losses(outputs, kind, targets, heads)
        torch.testing.assert_close(losses["total"], sum(head.weight * losses[head.name] for head in heads))
        assert min(losses[head.name] for head in heads) > 0


@pytest.mark.parametrize("kinds", [[], [NEGATIVE] * 4, [PART] * 3, [LANDMARK] * 2, [LANDMARK, PART]])
def test_a_task_without_samples_is_zero_and_still_backpropagates(kinds):
    outputs, kind, targets = batch(kinds)
    losses = detection_losses(outputs, kind, targets, DETECTION_HEADS)
    assert (losses["face"] == 0) == (NEGATIVE not in kinds and POSITIVE not in kinds)
    assert (losses["box"] == 0) == (PART not in kinds and POSITIVE not in kinds)
    assert (losses["landmarks"] == 0) == (LANDMARK not in kinds)
    losses["total"].backward()
    assert outputs.grad.shape == outputs.shape


def test_without_the_landmark_task_its_outputs_learn_nothing():
    outputs, kind, targets = batch([NEGATIVE, POSITIVE, PART, LANDMARK] * 3)
    losses = detection_losses(outputs, kind, targets, (FACE, BOX, replace(LANDMARKS, weight=0.0)))
    losses["total"].backward()
    assert losses["landmarks"] == 0
    assert (outputs.grad[:, LANDMARK_OUTPUTS] == 0).all()
    assert (outputs.grad[:, BOX_OUTPUTS] != 0).any()


def test_cross_entropy_worked_by_hand():
    # the logits say: face with probability 3/4
    outputs = torch.zeros(2, 16)
    outputs[:, 1] = math.log(3)
    kinds = torch.tensor([POSITIVE, NEGATIVE])
    # -log(3/4) for the face and -log(1/4) for the background, whose mean is taken without mining
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert head_loss(FACE, outputs[:, :2], kinds, torch.empty(2, 0), 1.0).item() == pytest.approx(expected, rel=1e-6)
    # with mining ⌈0.5 · 2⌉ = 1 remains: the harder
    assert head_loss(FACE, outputs[:, :2], kinds, torch.empty(2, 0), 0.5).item() == pytest.approx(math.log(4), rel=1e-6)


def test_box_loss_worked_by_hand():
    # a face from (0.1, 0) to (1.2, 0.9) of the window: the edges move by 0.1, 0, 0.2 and -0.1
    targets = torch.full((1, 14), math.nan)
    targets[0, :4] = torch.tensor([0.1, 0.0, 1.2, 0.9])
    losses = detection_losses(torch.zeros(1, 16), torch.tensor([PART]), targets, DETECTION_HEADS)
    assert losses["box"].item() == pytest.approx(0.01 + 0.04 + 0.01, rel=1e-5)


def wing(distance: float) -> float:
    outputs = torch.zeros(1, 10, dtype=torch.float64)
    outputs[0, 0] = distance
    head, zeros = replace(LANDMARKS, loss="wing"), torch.zeros(1, 10, dtype=torch.float64)
    return head_loss(head, outputs, torch.tensor([LANDMARK]), zeros).item()


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_wing_loss_grows_with_the_distance_and_is_even(a, b):
    assert wing(a) == wing(-a)
    assert wing(0.0) == 0
    if abs(a) < abs(b):
        assert wing(a) <= wing(b) + 1e-12


@pytest.mark.parametrize("side", [1, -1])
def test_wing_loss_has_no_step(side):
    at = side * WING_WIDTH
    assert wing(at * (1 - 1e-9)) == pytest.approx(wing(at * (1 + 1e-9)), abs=1e-8)
    assert wing(at) == pytest.approx(WING_WIDTH * math.log1p(WING_WIDTH / 0.02))
    # beyond it the slope is 1
    assert wing(at * 3) - wing(at * 2) == pytest.approx(WING_WIDTH)


@pytest.mark.parametrize(
    ("box", "overlap"),
    [((0, 0, 1, 1), 1.0), ((0.5, 0, 1.5, 1), 1 / 3), ((0, 0, 0.5, 1), 0.5), ((2, 2, 3, 3), 0.0), ((1, 1, 0, 0), 0.0)],
)
def test_the_box_loss_by_overlap(box, overlap):
    outputs, targets = torch.zeros(2, 4), torch.full((2, 4), math.nan)
    outputs[0] = torch.tensor(box) - torch.tensor([0.0, 0.0, 1.0, 1.0])
    targets[0] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    loss = head_loss(replace(BOX, loss="iou"), outputs.requires_grad_(), torch.tensor([POSITIVE, NEGATIVE]), targets)
    assert loss.item() == pytest.approx(1 - overlap, abs=1e-6)
    loss.backward()
    assert torch.isfinite(outputs.grad).all()
