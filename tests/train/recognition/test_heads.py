"""Decomposition, gradient reversal, CosFace and ages, each against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from cascade.nn.graphs import IMAGE, GraphBuilder
from cascade.nn.torch_graph import GraphNetwork, gated
from train.recognition.age import AGES, AgeHead, AgeLoss, age_groups, expected_age
from train.recognition.cosface import CosFace
from train.recognition.decomposition import decompose
from train.recognition.reversal import reverse_gradient

# --------------------------------------------------------------------------------------------------
# decomposition


@pytest.fixture
def gates() -> tuple[GraphNetwork, int, int, int]:
    """A network of features and their decomposition, and the nodes of features, age and identity part."""
    torch.manual_seed(1)
    builder = GraphBuilder()
    features = builder.conv(32, 3, activation="prelu", after=IMAGE)
    age, identity = decompose(builder, features, 32)
    graph = builder.build("gates", 9, {"age": age, "identity": identity})
    return GraphNetwork(graph).eval().requires_grad_(False), features, age, identity


def test_the_two_parts_sum_to_the_features(gates):
    network, features, age, identity = gates
    maps = network(torch.randn(5, 3, 9, 9), keep=(features,))
    torch.testing.assert_close(maps[age] + maps[identity], maps[features], rtol=1e-6, atol=1e-6)
    share = maps[age] / maps[features]
    assert 0 < share.min() < share.max() < 1
    assert share.std() > 0.01  # positions and channels are weighed differently


def test_gates_of_zero_weights_take_half(gates):
    network, features, age, identity = gates
    for index in range(features + 1, len(network.blocks)):
        for weights in network.blocks[index].parameters():
            weights.zero_()
    maps = network(torch.randn(2, 3, 9, 9), keep=(features,))
    assert torch.equal(maps[age], maps[features] / 2)
    assert torch.equal(maps[identity], maps[features] / 2)


def test_gates_by_hand():
    x = torch.tensor([4.0, -8.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    channel = torch.tensor([0.5, 0.0]).reshape(1, 2, 1, 1)
    spatial = torch.tensor([1.0, 0.5]).reshape(1, 1, 1, 2)
    # gates: channel 0 has (0.5 + 1) / 2 and (0.5 + 0.5) / 2, channel 1 has 0.5 and 0.25
    assert gated(x, channel, spatial, rest=False).flatten().tolist() == [3.0, 2.0, -4.0, -2.0]
    assert gated(x, channel, spatial, rest=True).flatten().tolist() == [1.0, 2.0, -4.0, -6.0]


# --------------------------------------------------------------------------------------------------
# gradient reversal


@given(st.floats(0, 10), st.lists(st.floats(-5, 5), min_size=1, max_size=4))
def test_reversal_is_the_identity_and_turns_the_gradient(scale, numbers):
    x = torch.tensor(numbers, requires_grad=True)
    y = reverse_gradient(x, scale)
    assert torch.equal(y, x)
    (y * torch.arange(1.0, len(numbers) + 1)).sum().backward()
    torch.testing.assert_close(x.grad, -scale * torch.arange(1.0, len(numbers) + 1))


def test_reversal_without_a_scale():
    x = torch.ones(2, 3, requires_grad=True)
    reverse_gradient(x).sum().backward()
    assert torch.equal(x.grad, -torch.ones(2, 3))
    assert torch.equal(reverse_gradient(torch.ones(2)), torch.ones(2))  # nothing to differentiate


# --------------------------------------------------------------------------------------------------
# CosFace


def head(*centres: tuple[float, float], **values: float) -> CosFace:
    made = CosFace(2, len(centres), **values)
    made.centres.data = torch.tensor(centres)
    return made


def test_cosface_by_hand():
    made = head((1.0, 0.0), (0.0, 1.0), scale=10.0, margin=0.25)
    embeddings = torch.tensor([[3.0, 4.0], [3.0, 4.0], [-2.0, 0.0]])  # cosines 0.6 and 0.8, then -1 and 0
    logits = made(embeddings, torch.tensor([0, 1, 0]))
    expected = [[10 * (0.6 - 0.25), 8.0], [6.0, 10 * (0.8 - 0.25)], [10 * (-1 - 0.25), 0.0]]
    torch.testing.assert_close(logits, torch.tensor(expected))


def test_cosface_takes_the_papers_scale_and_margin():
    logits = head((1.0, 0.0), (0.0, 1.0))(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    torch.testing.assert_close(logits, torch.tensor([[64 * 0.65, 0.0]]))


def test_lengths_do_not_matter_to_cosface():
    embeddings, persons = torch.tensor([[3.0, 4.0], [1.0, -2.0]]), torch.tensor([1, 0])
    plain = head((1.0, 0.0), (0.0, 1.0))(embeddings, persons)
    scaled = head((0.1, 0.0), (0.0, 7.0))(embeddings * torch.tensor([[100.0], [0.01]]), persons)
    torch.testing.assert_close(plain, scaled)


def test_cosface_pulls_embeddings_and_centres_together():
    made = head((1.0, 0.0), (0.0, 1.0))
    embeddings = torch.tensor([[1.0, 1.0]], requires_grad=True)
    functional.cross_entropy(made(embeddings, torch.tensor([0])), torch.tensor([0])).backward()
    assert embeddings.grad[0, 0] < 0 < embeddings.grad[0, 1]  # down the slope is towards the first centre
    assert made.centres.grad[0, 1] < 0 < made.centres.grad[1, 0]


def test_new_centres_have_length_one():
    torch.testing.assert_close(CosFace(128, 5).centres.norm(dim=1), torch.ones(5))


# --------------------------------------------------------------------------------------------------
# ages


def sure_of(*ages: int) -> torch.Tensor:
    """Logits (1, 101) of equal chances for some ages, and none for others."""
    logits = torch.full((1, AGES), -1e4)
    logits[0, list(ages)] = 3.0
    return logits


def test_the_expected_age_by_hand():
    logits = torch.cat([sure_of(30), sure_of(20, 40), sure_of(0), sure_of(100), torch.zeros(1, AGES)])
    torch.testing.assert_close(expected_age(logits), torch.tensor([30.0, 30.0, 0.0, 100.0, 50.0]))
    three_to_one = sure_of(10, 50)
    three_to_one[0, 10] += math.log(3)
    torch.testing.assert_close(expected_age(three_to_one), torch.tensor([20.0]))


def test_groups_end_where_the_decades_do():
    ages = [0, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 100]
    assert age_groups(torch.tensor(ages, dtype=torch.float32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert age_groups(torch.tensor([10.0])).dtype == torch.int64


def undecided() -> AgeLoss:
    """Its groups are all alike, so the second term is log 7."""
    loss = AgeLoss()
    torch.nn.init.zeros_(loss.groups.weight)
    torch.nn.init.zeros_(loss.groups.bias)
    return loss


def test_the_age_loss_by_hand():
    logits = torch.cat([sure_of(30), sure_of(20, 40)])
    loss = undecided()(logits, torch.tensor([33.0, 29.0]))
    assert float(loss.detach()) == pytest.approx((9 + 1) / 2 + math.log(7), rel=1e-5)


def test_the_age_loss_counts_the_groups():
    loss = undecided()
    with torch.no_grad():
        loss.groups.bias[2] = math.log(2)  # chances 2/8 for 21 to 30, 1/8 for the others
    assert float(loss(sure_of(25), torch.tensor([25.0])).detach()) == pytest.approx(math.log(4), abs=1e-5)
    assert float(loss(sure_of(35), torch.tensor([35.0])).detach()) == pytest.approx(math.log(8), abs=1e-5)


def test_faces_of_unknown_age_do_not_count():
    logits = torch.cat([sure_of(30), sure_of(90), sure_of(50)]).requires_grad_()
    ages = torch.tensor([31.0, math.nan, math.nan])
    loss = undecided()(logits, ages)
    assert float(loss.detach()) == pytest.approx(1 + math.log(7), rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.equal(logits.grad[1:], torch.zeros(2, AGES))


def test_without_a_known_age_the_loss_is_zero_and_differentiable():
    logits = torch.randn(3, AGES, requires_grad=True)
    loss = AgeLoss()(logits, torch.full((3,), math.nan))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros(3, AGES))


def test_ages_beyond_a_hundred_count_as_a_hundred():
    assert float(undecided()(sure_of(100), torch.tensor([116.0])).detach()) == pytest.approx(math.log(7), rel=1e-5)


def test_the_second_age_head_sees_means_and_maxima():
    head = AgeHead(2, 3)
    torch.nn.init.eye_(head.hidden.weight)  # mean of both channels, and the maximum of the first
    torch.nn.init.zeros_(head.hidden.bias)
    torch.nn.init.zeros_(head.logits.bias)
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[5.0, 5.0], [5.0, 5.0]]]])
    torch.testing.assert_close(head(maps), torch.tensor([[3.0, 5.0, 6.0]]) @ head.logits.weight.T)
    assert head(maps).shape == (1, AGES)
