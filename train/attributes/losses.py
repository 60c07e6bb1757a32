"""Losses of the tasks, over the faces that have a label: β of the paper is 1 for them and 0 for all others.

A label allows some classes; the loss is −log of the probability that the network gives to all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from train.attributes.tasks import LabelTable, Task

SMALLEST = 1e-6  # what a focal loss leaves of a face that is known for sure
RESTORING = 1.5  # GradNorm's α: how much a task counts that learns more slowly than others
TENTH = 0.1  # of an ordinal task's range: an error of the expected number that costs 1


class TaskLoss(nn.Module):
    """The loss of one task: outputs (n, outputs) and label numbers (n,), −1 where unknown → the mean over the known."""

    allowed: torch.Tensor
    limits: torch.Tensor
    weights: torch.Tensor

    def __init__(self, task: Task, table: LabelTable) -> None:
        super().__init__()
        self.task = task
        for name in ("allowed", "limits", "weights"):
            self.register_buffer(name, torch.from_numpy(getattr(table, name)), persistent=False)

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | None:
        """The loss; None where no face has a label."""
        known = labels >= 0
        if not known.any():
            return None
        outputs, labels = outputs[known].float(), labels[known]
        weights = self.weights[labels]
        return (weights * self.each(outputs, labels)).sum() / weights.sum()

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n,) the loss of each face."""
        task = self.task
        tenth = TENTH * (task.high - task.low)
        if task.kind == "regression":
            error = beyond(outputs[:, 0] * (task.high - task.low) + task.low, self.limits[labels])
            return functional.smooth_l1_loss(error / tenth, torch.zeros_like(error), reduction="none")
        logs = outputs.log_softmax(1)
        right = torch.logsumexp(logs + self.allowed[labels].log(), 1)  # or the worst errors would teach nothing
        loss = -right
        if task.focal:  # a power below 1 has no slope at 0
            loss = (1 - right.exp()).clamp(SMALLEST) ** task.focal * loss
        if task.smoothing:
            loss = (1 - task.smoothing) * loss - task.smoothing * logs.mean(1)
        if task.kind == "ordinal":
            loss = loss + beyond(expected(outputs, task), self.limits[labels]) / tenth
        return loss


def beyond(numbers: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """(n,) how far numbers are outside of their limits (n, 2)."""
    return (limits[:, 0] - numbers).clamp(min=0) + (numbers - limits[:, 1]).clamp(min=0)


def expected(outputs: torch.Tensor, task: Task) -> torch.Tensor:
    """(n,) the expected number of an ordinal task's outputs, or the number of a regression's."""
    if task.kind == "regression":
        return outputs[:, 0].float() * (task.high - task.low) + task.low
    numbers = task.low + torch.arange(outputs.shape[1], device=outputs.device)
    return outputs.float().softmax(1) @ numbers.float()


class TaskWeights(nn.Module):
    """How much each task counts in the loss that is minimised.

    ``fixed``: by its weight. ``uncertainty``: that times exp(−s), with s/2 added, s learned for each task. ``dwa``:
    that times the softmax of how its loss changed between the last two periods, over temperature 2. ``gradnorm``
    (Chen et al. 2018): that times a factor learned so that the gradients of all tasks at the ``shared`` weights have
    like norms, larger ones where a loss has fallen less. The factors are a softmax, so that they stay positive and of
    mean 1.
    """

    def __init__(self, tasks: Sequence[Task], kind: str, period: int) -> None:
        super().__init__()
        self.names, self.kind, self.period = [task.name for task in tasks], kind, period
        self.register_buffer("given", torch.tensor([float(task.weight) for task in tasks]), persistent=False)
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)), requires_grad=kind == "uncertainty")
        for name in ("sums", "counts", "last"):
            self.register_buffer(name, torch.zeros(len(tasks)))
        self.register_buffer("factors", torch.ones(len(tasks)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        if kind == "gradnorm":
            self.shares = nn.Parameter(torch.zeros(len(tasks)))
            self.register_buffer("first", torch.zeros(len(tasks)))

    given: torch.Tensor
    sums: torch.Tensor
    counts: torch.Tensor
    last: torch.Tensor
    factors: torch.Tensor
    steps: torch.Tensor
    first: torch.Tensor

    def forward(self, losses: Mapping[str, torch.Tensor], shared: torch.Tensor | None = None) -> torch.Tensor:
        """The weighted sum of the losses by task; ``shared`` are the last weights before the heads, for gradnorm."""
        at = torch.tensor([self.names.index(name) for name in losses])
        values = torch.stack(list(losses.values()))
        if self.kind == "dwa":
            self._count(at, values.detach())
        if self.kind == "gradnorm" and shared is not None:
            return self._of_like_gradients(at, self.given[at] * values, shared)
        weighted = self.given[at] * self.factors[at] * values
        if self.kind == "uncertainty":
            weighted = weighted * torch.exp(-self.log_variance[at]) + self.log_variance[at] / 2
        return weighted.sum()

    def _of_like_gradients(self, at: torch.Tensor, values: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        """The sum of GradNorm, whose factors learn from the gradient that is added to it."""
        now = values.detach()
        self.first[at] = torch.where(self.first[at] > 0, self.first[at], now.to(self.first.dtype))
        factors = (len(self.names) * torch.softmax(self.shares, 0))[at]
        norms = torch.stack([torch.autograd.grad(value, shared, retain_graph=True)[0].norm() for value in values])
        left = now / self.first[at].clamp(min=1e-9)
        rates = left / left.mean().clamp(min=1e-9)
        found = factors * norms
        wanted = (found.mean() * rates**RESTORING).detach()
        balance = (found - wanted).abs().sum()
        return (factors.detach() * values).sum() + balance - balance.detach()  # its gradient, not its value

    def _count(self, at: torch.Tensor, values: torch.Tensor) -> None:
        """Sums losses up; at the end of a period the factors follow."""
        self.sums[at] += values
        self.counts[at] += 1
        self.steps += 1
        if int(self.steps) % self.period:
            return
        means = self.sums / self.counts.clamp(min=1)
        known = (self.last > 0) & (means > 0)
        ratios = torch.where(known, means / self.last.clamp(min=1e-9), torch.ones_like(means))
        self.factors.copy_(len(self.names) * torch.softmax(ratios / 2, 0))
        self.last.copy_(means)
        self.sums.zero_()
        self.counts.zero_()
