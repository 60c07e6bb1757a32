"""How well a model does on the faces held out of its training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from train.detection.augment import normalise
from train.recognition.age import AGES, expected_age
from train.recognition.crops import FaceCrops
from train.recognition.model import RecognitionModel


def predict(model: RecognitionModel, crops: NDArray[np.uint8], batch: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (n, D) of length 1 and ages (n,) in years, NaN without an age head, of (n, 112, 112, 3) crops."""
    embeddings, logits = outputs(model, crops, batch)
    ages = torch.full((len(embeddings),), torch.nan) if logits is None else expected_age(logits)
    return functional.normalize(embeddings), ages


@torch.no_grad()
def outputs(
    model: RecognitionModel, crops: NDArray[np.uint8], batch: int = 64
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The outputs of the network for crops (n, 112, 112, 3): embeddings (n, D), and logits (n, 101) of an age head."""
    device = next(model.parameters()).device
    embeddings, logits = [], []
    for first in range(0, len(crops), batch):
        inputs = torch.from_numpy(np.ascontiguousarray(crops[first : first + batch])).permute(0, 3, 1, 2)
        found = model(normalise(inputs.float()).to(device))
        embeddings.append(found.embeddings.cpu())
        if found.age is not None:
            logits.append(found.age.cpu())
    dimension = model.architecture.graph.output_shapes()["embedding"][1]
    ages = torch.cat([torch.empty(0, AGES), *logits]) if model.architecture.decomposed else None
    return torch.cat([torch.empty(0, dimension), *embeddings]), ages


def measure(model: RecognitionModel, faces: FaceCrops, rows: NDArray[np.int64]) -> dict[str, float]:
    """Agreement with the teacher, equal error rate over all pairs of named faces, mean absolute error of ages."""
    model.eval()
    embeddings, ages = predict(model, faces.crops[rows])
    found: dict[str, float] = {}
    if len(rows) and faces.embeddings is not None and faces.embeddings.shape[1] == embeddings.shape[1]:
        found["teacher_cosine"] = float((embeddings * torch.from_numpy(faces.embeddings[rows])).sum(1).mean())
    persons = faces.persons[rows]
    named = persons >= 0
    rate = equal_error_rate(embeddings[named].numpy(), persons[named])
    if not np.isnan(rate):
        found["eer"] = rate
    known = ~np.isnan(faces.ages[rows])
    if known.any() and not torch.isnan(ages).any():
        found["age_mae"] = float(np.abs(ages.numpy()[known] - faces.ages[rows][known]).mean())
    return found


def equal_error_rate(embeddings: NDArray[np.float32], persons: NDArray[np.int32]) -> float:
    """Where as many pairs of one person are refused as pairs of two are accepted; NaN without both kinds of pair."""
    _, true_rate, false_rate = rates(embeddings, persons)
    if not len(true_rate):
        return float("nan")
    at = int(np.argmin(np.abs(1 - true_rate - false_rate)))
    return float((1 - true_rate[at] + false_rate[at]) / 2)


def operating_point(
    embeddings: NDArray[np.float32], persons: NDArray[np.int32], false_accept_rate: float
) -> dict[str, Any]:
    """The lowest threshold that accepts at most that share of the pairs of different people, and what it accepts.

    Empty where there are too few pairs to tell.
    """
    thresholds, true_rate, false_rate = rates(embeddings, persons)
    allowed = np.flatnonzero(false_rate <= false_accept_rate)
    if not len(allowed):
        return {}
    at = int(allowed[-1])
    rates_there = {"true_accept_rate": float(true_rate[at]), "false_accept_rate": float(false_rate[at])}
    return {"threshold": float(thresholds[at]), **rates_there}


def rates(
    embeddings: NDArray[np.float32], persons: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Falling thresholds, and the shares of pairs of one person and of two that each accepts, over all pairs.

    All three are empty where one kind of pair is missing.
    """
    first, second = np.triu_indices(len(persons), 1)
    similarity = (embeddings @ embeddings.T)[first, second]
    same = persons[first] == persons[second]
    if same.all() or not same.any():
        return np.empty(0, np.float32), np.empty(0), np.empty(0)
    order = np.argsort(-similarity, kind="stable")
    true_rate = np.cumsum(same[order]) / same.sum()
    false_rate = np.cumsum(~same[order]) / (~same).sum()
    last = np.append(np.diff(similarity[order]) != 0, True)  # equal similarities are accepted together
    return similarity[order][last], true_rate[last], false_rate[last]
