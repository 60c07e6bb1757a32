"""Losses over the labels that are there."""

from __future__ import annotations

import math

import pytest
import torch

from train.attributes.losses import TaskLoss, TaskWeights, beyond, expected
from train.attributes.tasks import Task, label_table

MOOD = Task("mood", "classification", classes=("good", "bad", "none"), aliases={"some": ("good", "bad")})
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def test_missing_labels_add_nothing():
    loss = TaskLoss(MOOD, label_table(MOOD, {"good": 1, "bad": 1}))  # texts are sorted: bad 0, good 1
    both = loss(LOGITS, torch.tensor([1, -1]))
    assert both == pytest.approx(float(torch.nn.functional.cross_entropy(LOGITS[:1], torch.tensor([0]))))
    assert loss(LOGITS, torch.tensor([-1, -1])) is None


def test_several_allowed_classes_share_the_probability():
    loss = TaskLoss(MOOD, label_table(MOOD, {"some": 1}))
    found = loss(LOGITS[:1], torch.tensor([0]))
    assert found == pytest.approx(-math.log(float(LOGITS[0].softmax(0)[:2].sum())), rel=1e-4)


def test_focal_loss_cares_less_for_what_is_known_well():
    plain, focal = (
        TaskLoss(task, label_table(task, {"good": 1}))
        for task in (MOOD, Task("mood", "classification", classes=MOOD.classes, focal=2.0))
    )
    one = torch.tensor([0])
    assert focal(LOGITS[:1], one) < 0.05 * plain(LOGITS[:1], one)


def test_a_range_is_met_anywhere_in_it_and_ages_pull_the_expectation():
    task = Task("age", "ordinal", low=0, high=100)
    loss = TaskLoss(task, label_table(task, {"20-29": 1, "60": 1}))
    sure = torch.full((1, 101), -20.0)
    sure[0, 25] = 20.0
    assert loss(sure, torch.tensor([0])) == pytest.approx(0, abs=1e-4)
    assert expected(sure, task).item() == pytest.approx(25, abs=1e-3)
    assert loss(sure, torch.tensor([1])) > 3  # 35 years are three and a half tenths of the range
    assert beyond(torch.tensor([25.0]), torch.tensor([[30.0, 40.0]])).item() == 5


def test_regression_is_scaled_to_its_range():
    task = Task("angle", "regression", low=-90, high=90)
    loss = TaskLoss(task, label_table(task, {"45": 1}))
    assert loss(torch.tensor([[0.75]]), torch.tensor([0])) == pytest.approx(0, abs=1e-6)
    assert loss(torch.tensor([[0.5]]), torch.tensor([0])) > 1


def test_task_weights():
    tasks = [Task("a", "ordinal", weight=2.0), Task("b", "ordinal")]
    losses = {"a": torch.tensor(1.0), "b": torch.tensor(3.0)}
    assert TaskWeights(tasks, "fixed", 1)(losses) == 5
    uncertain = TaskWeights(tasks, "uncertainty", 1)
    with torch.no_grad():
        uncertain.log_variance[1] = math.log(3)
    assert uncertain(losses).item() == pytest.approx(2 + 1 + math.log(3) / 2)
    changing = TaskWeights(tasks, "dwa", 1)
    changing(losses)
    changing({"a": torch.tensor(0.5), "b": torch.tensor(3.0)})  # a falls, so b counts more from now on
    assert changing.factors[1] > 1 > changing.factors[0]
    assert changing.factors.sum().item() == pytest.approx(2)


def test_gradnorm_lets_tasks_of_small_gradients_count_more():
    """One task's gradient is ten times the other's; at equal relative losses their weighted norms become equal."""
    tasks = (Task("a", "regression"), Task("b", "regression"))
    weights = TaskWeights(tasks, "gradnorm", 10)
    optimiser = torch.optim.Adam(weights.parameters(), 0.05)
    shared = torch.ones(1, requires_grad=True)
    for _ in range(200):
        total = weights({"a": 10 * shared.sum(), "b": shared.sum()}, shared)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    factors = 2 * torch.softmax(weights.shares, 0).detach()
    assert factors.sum() == pytest.approx(2) and factors[1] / factors[0] == pytest.approx(10, rel=0.2)
    assert total.item() == pytest.approx(float(factors @ torch.tensor([10.0, 1.0])), rel=0.05)  # balance adds no value


def test_gradnorm_lets_tasks_that_learn_slowly_count_more():
    weights = TaskWeights((Task("a", "regression"), Task("b", "regression")), "gradnorm", 10)
    optimiser = torch.optim.Adam(weights.parameters(), 0.02)
    shared = torch.ones(1, requires_grad=True)
    for step in range(30):
        fallen = 1.0 if step == 0 else 0.5  # the loss of a, in value alone: its gradient is as before
        one = shared.sum() - (1 - fallen)
        optimiser.zero_grad()
        weights({"a": one, "b": shared.sum()}, shared).backward()
        optimiser.step()
    assert weights.shares[1] > weights.shares[0] + 0.1
    alone = weights({"b": shared.sum()}, shared).detach()  # a batch without labels of a
    assert alone.item() == pytest.approx(2 * float(torch.softmax(weights.shares.detach(), 0)[1]), rel=1e-3)


def test_the_worst_error_still_teaches():
    outputs = torch.tensor([[20.0, 0.0]], requires_grad=True)
    task = Task("mood", "classification", classes=("bad", "good"))
    TaskLoss(task, label_table(task, {"good": 1}))(outputs, torch.tensor([0])).backward()
    assert outputs.grad.tolist() == [[pytest.approx(1, abs=1e-3), pytest.approx(-1, abs=1e-3)]]


@pytest.mark.parametrize("logits", [[40.0, 0.0], [-40.0, 0.0], [0.3, 0.0]])
@pytest.mark.parametrize("focal", [0.5, 2.0])
def test_the_slope_of_a_focal_loss_is_finite(logits, focal):
    outputs = torch.tensor([logits], requires_grad=True)
    task = Task("mood", "classification", classes=("bad", "good"), focal=focal)
    TaskLoss(task, label_table(task, {"bad": 1}))(outputs, torch.tensor([0])).backward()
    assert torch.isfinite(outputs.grad).all()
