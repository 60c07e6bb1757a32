"""What recognition minimises: parts over the faces that have a label, weights, and the reversed gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.train.packed_faces import DIMENSION, tiny
from train.recognition.losses import LOSSES, Labels, recognition_losses
from train.recognition.model import Prediction, RecognitionModel
from train.recognition.settings import DENSE, LIGHT, PAPER, PRESETS, RecognitionSettings

PERSONS, AGES = torch.tensor([0, -1, 2, -1]), torch.tensor([math.nan, 30.0, math.nan, 70.0])
NOBODY, NO_AGES = torch.full((4,), -1), torch.full((4,), math.nan)


def parts_of(model, predicted, *labels) -> dict[str, torch.Tensor]:
    """The losses without their sum."""
    found = recognition_losses(model, predicted, Labels(*labels), LIGHT)
    return {name: loss for name, loss in found.items() if name != "total"}


@pytest.fixture
def model() -> RecognitionModel:
    torch.manual_seed(3)
    return RecognitionModel(tiny(), persons=3, adversarial=True)


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randn(4, 3, 112, 112, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def teacher() -> torch.Tensor:
    return functional.normalize(torch.randn(4, DIMENSION, generator=torch.Generator().manual_seed(5)))


def test_all_parts(model, crops, teacher):
    model.exposed = model.architecture.skips[:1]
    predicted = model(crops)
    parts = parts_of(model, predicted, PERSONS, AGES, teacher, [torch.randn(4, 16, 7, 7)])
    assert list(parts) == list(LOSSES)
    assert all(part.ndim == 0 and part > 0 for part in parts.values())
    logits = model.identity(predicted.embeddings[[0, 2]], torch.tensor([0, 2]))
    torch.testing.assert_close(parts["identity"], functional.cross_entropy(logits, torch.tensor([0, 2])))


def test_faces_without_a_label_do_not_change_its_part(model, crops, teacher):
    """Each part is what it would be over the faces with a label alone."""
    model.eval()
    whole = parts_of(model, model(crops), PERSONS, AGES, teacher)
    named, aged = [0, 2], [1, 3]
    of_named = parts_of(model, model(crops[named]), PERSONS[named], AGES[named], teacher[named])
    of_aged = parts_of(model, model(crops[aged]), PERSONS[aged], AGES[aged], teacher[aged])
    torch.testing.assert_close(whole["identity"], of_named["identity"])
    torch.testing.assert_close(whole["age"], of_aged["age"])
    torch.testing.assert_close(whole["adversary"], of_aged["adversary"])
    both = (of_named["distillation"] + of_aged["distillation"]) / 2
    torch.testing.assert_close(whole["distillation"], both)


def test_parts_without_their_labels(model, crops, teacher):
    predicted = model(crops)
    assert set(parts_of(model, predicted, NOBODY, AGES, teacher)) == {"distillation", "age", "adversary"}
    assert set(parts_of(model, predicted, PERSONS, AGES, None)) == {"identity", "age", "adversary"}
    parts = parts_of(model, predicted, NOBODY, NO_AGES, None)
    assert {name: float(part.detach()) for name, part in parts.items()} == {"age": 0.0, "adversary": 0.0}
    recognition_losses(model, predicted, Labels(NOBODY, NO_AGES), LIGHT)["total"].backward()


def test_a_plain_model_has_no_parts_of_age(crops, teacher):
    plain = RecognitionModel(tiny(decomposed=False), persons=0, adversarial=False)
    predicted = plain(crops)
    assert (predicted.age, predicted.adversary) == (None, None)
    assert set(parts_of(plain, predicted, PERSONS, AGES, teacher)) == {"distillation"}
    parts = parts_of(plain, predicted, PERSONS, AGES, None)
    assert parts == {}
    assert float(recognition_losses(plain, predicted, Labels(PERSONS, AGES), LIGHT)["total"]) == 0


def test_distillation_by_hand(model):
    embeddings = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    parts = parts_of(
        model,
        Prediction(embeddings, None, None),
        torch.tensor([-1, -1]),
        torch.full((2,), math.nan),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    )
    torch.testing.assert_close(parts, {"distillation": torch.tensor(1 - (0.6 + 1) / 2)})


def test_maps_by_hand(model):
    """Means of squared differences over the variance of the teacher's map, then the mean of the maps."""
    first, second = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([[0.0, 4.0]])
    predicted = Prediction(torch.ones(2, 2), None, None, (first + 1, second + torch.tensor([[3.0, -1.0]])))
    parts = parts_of(model, predicted, NOBODY[:2], NO_AGES[:2], None, [first, second])
    # 1 over a variance of 2.5, and (9 + 1) / 2 over one of 8
    assert list(parts) == ["maps"]
    assert float(parts["maps"]) == pytest.approx((1 / 2.5 + 5 / 8) / 2)
    twice = Prediction(torch.ones(2, 2), None, None, (first, second))
    assert float(parts_of(model, twice, NOBODY[:2], NO_AGES[:2], None, [first, second])["maps"]) == 0


def test_maps_count_alike_whatever_their_size(model):
    own, other = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    losses = []
    for scale in (1.0, 30.0):
        predicted = Prediction(torch.ones(2, 2), None, None, (scale * own,))
        losses.append(parts_of(model, predicted, NOBODY[:2], NO_AGES[:2], None, [scale * other])["maps"])
    torch.testing.assert_close(*losses)


def test_as_many_maps_are_expected_as_the_teacher_gives(model):
    predicted = Prediction(torch.ones(2, 2), None, None, (torch.ones(2, 1),))
    with pytest.raises(ValueError, match="zip"):
        parts_of(model, predicted, NOBODY[:2], NO_AGES[:2], None, [torch.ones(2, 1)] * 2)


def test_the_total_weighs_the_parts(monkeypatch):
    lambdas = {"identity": 2.0, "distillation": 0.0, "maps": 4.0, "age": 0.5, "adversary": 3.0}
    settings = replace(LIGHT, **{f"lambda_{name}": value for name, value in lambdas.items()})
    values = dict(zip(LOSSES, torch.tensor([1.0, 10.0, 100.0, 1000.0, 10_000.0]), strict=True))
    for name, value in values.items():
        monkeypatch.setitem(LOSSES, name, lambda *_, value=value: value)
    assert float(recognition_losses(None, None, None, settings)["total"]) == 2 + 400 + 500 + 30_000
    for name in set(LOSSES) - {"age"}:
        monkeypatch.setitem(LOSSES, name, lambda *_: None)
    assert recognition_losses(None, None, None, settings) == {"total": 500.0, "age": 1000.0}


def test_every_loss_has_a_weight():
    assert list(LIGHT.weights()) == list(LOSSES)


def test_the_adversarys_gradient_reaches_the_encoder_reversed(model, crops):
    model.eval()
    encoder, own = model.network.blocks[0][0].weight, model.adversary.logits.weight

    def gradients(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(model.adversary_loss(logits, AGES), (encoder, own))

    reversed_, learned = gradients(model(crops).adversary)
    identity = model.architecture.identity
    honest, learned_too = gradients(model.adversary(model.network(crops, keep=(identity,))[identity]))
    assert honest.abs().max() > 0
    torch.testing.assert_close(reversed_, -honest)
    torch.testing.assert_close(learned, learned_too)  # the adversary itself gets better


def test_what_the_identity_part_tells_of_age_falls(crops):
    """Steps against the reversed gradient raise the adversary's loss."""
    torch.manual_seed(3)
    model = RecognitionModel(tiny(), persons=0, adversarial=True).eval()
    ages = torch.tensor([20.0, 40.0, 60.0, 80.0])
    optimiser = torch.optim.SGD(model.network.parameters(), 1e-4)
    before = float(model.adversary_loss(model(crops).adversary, ages).detach())
    for _ in range(3):
        optimiser.zero_grad()
        model.adversary_loss(model(crops).adversary, ages).backward()
        optimiser.step()
    assert float(model.adversary_loss(model(crops).adversary, ages).detach()) > before


# --------------------------------------------------------------------------------------------------
# settings


def test_presets_are_made_of_the_published_numbers():
    assert set(PRESETS) == {"light", "dense", "paper"}
    assert all(settings.architecture == {"paper": "ir50"}.get(name, name) for name, settings in PRESETS.items())
    assert (PAPER.architecture, PAPER.scale, PAPER.margin) == ("ir50", 64.0, 0.35)
    assert PAPER.weights() == {"identity": 1.0, "distillation": 0.0, "maps": 0.0, "age": 0.001, "adversary": 0.002}
    assert LIGHT.lambda_maps > 0 == DENSE.lambda_maps  # the one needs a teacher's network, the other embeddings alone
    assert (PAPER.optimiser, PAPER.learning_rate, PAPER.schedule) == ("sgd", 0.1, "steps")


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch": 0},
        {"lambda_age": -1.0},
        {"lambda_identity": math.nan},
        {"lambda_maps": -1.0},
        {"decomposed": False, "lambda_adversary": 0.1},
        {"validation": 0.0},
        {"validation": 1.0},
    ],
)
def test_settings_that_cannot_be_are_named(changes):
    with pytest.raises(ValueError, match=next(reversed(changes))):
        RecognitionSettings(**changes)
