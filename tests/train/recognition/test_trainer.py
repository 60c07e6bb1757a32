"""Training a recogniser: schedule, resuming, several processes, starting from a run, and what makes it stop."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from cascade.nn.graphs import IMAGE, GraphBuilder
from tests.train.packed_faces import DIMENSION, SETTINGS, embedded, packed, tiny, tiny_architecture, tiny_teacher
from tests.train.runs import Stopped, rows, state, stop_after, tensors, without_time
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.recognition import trainer as loop
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork, dense
from train.recognition.batches import Batch, split
from train.recognition.crops import SIDE
from train.recognition.curves import plot_recognition
from train.recognition.losses import LOSSES
from train.recognition.measures import measure
from train.recognition.model import RecognitionModel
from train.recognition.settings import PAPER
from train.recognition.teacher import Teacher
from train.recognition.trainer import RecognitionRun, train_recognition
from train.recognition.transfer import shared_nodes, start_from

REPOSITORY = Path(loop.__file__).parents[2]
PLAIN = {"decomposed": False, "lambda_age": 0.0, "lambda_adversary": 0.0}
ALONE = Processes(0, 1, torch.device("cpu"))

__all__ = ["tiny_architecture"]


@pytest.fixture
def often(tiny_architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny network, a row of metrics every step and a checkpoint every third."""
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY", 3)


# --------------------------------------------------------------------------------------------------
# schedule


def test_the_cosine_schedule():
    settings = replace(SETTINGS, steps=200, learning_rate=0.5, warm_up=0.05)
    rates = [settings.rate(step) for step in range(201)]
    np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11))
    assert rates[10] == pytest.approx(0.5)
    assert rates[105] == pytest.approx(0.5 * (0.001 + 0.999 / 2))
    assert rates[200] == pytest.approx(0.0005)
    assert (np.diff(rates[10:]) < 0).all()


def test_the_papers_schedule_goes_down_in_tenths():
    found = [PAPER.rate(step) for step in (0, 999, 1000, 19_998, 20_001, 23_001, 32_001, 35_999)]
    np.testing.assert_allclose(found, [1e-4, 0.1, 0.1, 0.1, 1e-2, 1e-3, 1e-4, 1e-4])


def test_a_short_run_begins_at_its_rate():
    assert replace(SETTINGS, steps=1, learning_rate=0.5).rate(0) == 0.5
    assert replace(SETTINGS, warm_up=0.0, learning_rate=0.5).rate(0) == 0.5


# --------------------------------------------------------------------------------------------------
# a run


def test_losses_fall_and_faces_kept_out_are_known_better(tiny_architecture, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    monkeypatch.setattr(loop, "SAVE_EVERY", 30)
    settings = replace(SETTINGS, steps=60, batch=24, learning_rate=1e-2, augment=False, lambda_age=0.003)
    model = train_recognition(settings, packed(), tmp_path, ALONE)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [10, 20, 30, 40, 50, 60]
    assert {"total", *LOSSES, "step", "rate", "seconds"} <= set(found[0])
    assert all(found[-1][name] < 0.7 * found[0][name] for name in ("total", "distillation", "identity", "age"))
    assert found[-1]["rate"] == pytest.approx(settings.rate(59))
    checked = [row["validation"] for row in found if "validation" in row]
    assert len(checked) == 2
    torch.manual_seed(settings.seed)
    untrained = RecognitionModel(tiny(), model.identity.centres.shape[0], True)
    before = measure(untrained, packed(), split(packed(), settings.validation)[1])
    assert checked[-1]["eer"] <= 0.1
    assert checked[-1]["age_mae"] < 0.7 * before["age_mae"]
    # what comes back is the average
    assert not model.training
    averaged = state(tmp_path)["averaged"]
    assert all(torch.equal(averaged[name], tensor) for name, tensor in model.state_dict().items())
    plot_recognition(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "changes",
    [{}, {**PLAIN, "optimiser": "sgd", "schedule": "steps", "milestones": (0.5,), "augment": False, "seed": 3}],
    ids=["light", "plain by SGD"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(often, tmp_path, monkeypatch, changes):
    settings, faces = replace(SETTINGS, **changes), packed()
    whole = train_recognition(settings, faces, tmp_path / "whole", ALONE)
    with monkeypatch.context() as patch:
        stop_after(patch, RecognitionRun, 5)
        with pytest.raises(Stopped):
            train_recognition(settings, faces, tmp_path / "parts", ALONE)
    assert state(tmp_path / "parts")["step"] == 3
    assert [row["step"] for row in rows(tmp_path / "parts")] == [1, 2, 3, 4, 5]
    torch.randn(5)  # whatever else happens to the generator of all
    resumed = train_recognition(settings, faces, tmp_path / "parts", ALONE)

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(two), strict=True))
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts") if "validation" in row] == [3, 6]
    # and once more, when all is done
    before = (tmp_path / "parts/metrics.jsonl").read_bytes()
    again = train_recognition(settings, faces, tmp_path / "parts", ALONE)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), whole.state_dict().values(), strict=True))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == before


def test_another_seed_is_another_run(often, tmp_path):
    one, two = (
        train_recognition(replace(SETTINGS, steps=1, seed=seed), packed(), tmp_path / str(seed), ALONE)
        for seed in (0, 1)
    )
    assert not torch.equal(one.network.blocks[0][0].weight, two.network.blocks[0][0].weight)


def test_a_checkpoint_of_other_settings_is_refused(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint\.pt was made with other settings"):
        train_recognition(replace(SETTINGS, learning_rate=0.1), packed(), tmp_path, ALONE)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_of_other_people_is_refused(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt was made with other data"):
        train_recognition(SETTINGS, packed(people=20), tmp_path, ALONE)


def test_a_loss_that_is_not_finite_stops_the_run(often, tmp_path):
    faces = packed()
    faces.embeddings[:] = np.nan
    with pytest.raises(TrainingError, match="not finite at step 1; lower the learning rate"):
        train_recognition(SETTINGS, faces, tmp_path, ALONE)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert rows(tmp_path) == []


def test_no_thread_is_left_behind(often, tmp_path):
    with pytest.raises(TrainingError) as caught:  # whose traceback keeps the trainer alive
        train_recognition(replace(SETTINGS, learning_rate=math.inf), packed(), tmp_path, ALONE)
    assert caught.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


@pytest.mark.parametrize(
    ("faces", "changes", "message"),
    [
        ({"teacher": False}, {}, "a teacher's embeddings are missing; run `embeddings` first"),
        ({"people": 0, "aged": 0, "teacher": False}, {"lambda_distillation": 0.0}, "nothing to learn from"),
        ({"people": 0}, {**PLAIN, "lambda_distillation": 0.0}, "nothing to learn from with these losses"),
        ({"aged": 0}, {"lambda_distillation": 0.0, "lambda_identity": 0.0}, "nothing to learn from with these losses"),
    ],
)
def test_faces_that_do_not_fit_the_losses(often, tmp_path, faces, changes, message):
    with pytest.raises(TrainingError, match=f"faces: .*{message}"):
        train_recognition(replace(SETTINGS, **changes), packed(**faces), tmp_path, ALONE)


def test_a_teacher_of_other_dimensions_is_refused(often, tmp_path):
    faces = packed()
    faces = replace(faces, embeddings=np.ones((len(faces), 5), np.float32))
    with pytest.raises(TrainingError, match="the teacher's embeddings have 5 numbers, tiny has 8"):
        train_recognition(SETTINGS, faces, tmp_path, ALONE)


@pytest.mark.parametrize(
    ("faces", "changes", "absent"),
    [
        ({"people": 0}, {}, {"identity"}),
        ({"aged": 0}, {}, {"age", "adversary"}),
        ({}, {"lambda_identity": 0.0}, {"identity"}),
        ({}, {"lambda_adversary": 0.0}, {"adversary"}),
        ({"teacher": False}, {"lambda_distillation": 0.0}, {"distillation"}),
        ({}, PLAIN, {"age", "adversary"}),
        ({"people": 5, "nameless": 0, "aged": 0}, {"validation": 0.05}, {"age", "adversary"}),
    ],
)
def test_runs_with_less(often, tmp_path, faces, changes, absent):
    """Without some labels, losses or faces to measure on: metrics stay JSON that every reader takes."""
    train_recognition(replace(SETTINGS, steps=1, **changes), packed(**faces), tmp_path, ALONE)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=pytest.fail)
    assert {name for name in LOSSES if row[name] == 0} == {"maps", *absent}
    plot_recognition(tmp_path / "metrics.jsonl", tmp_path / "losses.png")


def test_metrics_are_means_since_the_last_row(often, tmp_path, monkeypatch):
    train_recognition(SETTINGS, packed(), tmp_path / "each", ALONE)
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    train_recognition(SETTINGS, packed(), tmp_path / "some", ALONE)
    each, some = rows(tmp_path / "each"), rows(tmp_path / "some")
    assert [row["step"] for row in some] == [4, 6]
    for name in ("total", *LOSSES):
        assert some[0][name] == pytest.approx(np.mean([row[name] for row in each[:4]]))
        assert some[1][name] == pytest.approx(np.mean([row[name] for row in each[4:]]))


def test_the_total_is_the_weighted_sum(often, tmp_path):
    train_recognition(SETTINGS, packed(), tmp_path, ALONE)
    for row in rows(tmp_path):
        weighed = sum(row[name] * weight for name, weight in SETTINGS.weights().items())
        assert row["total"] == pytest.approx(weighed, rel=1e-5)


def test_the_average_follows_the_weights(often, tmp_path):
    trainer = RecognitionRun(SETTINGS, packed(), tmp_path, ALONE)
    before = trainer.averaged.network.blocks[0][0].weight.clone()
    trainer.train_step()
    trainer.batches.close()
    now = trainer.model.network.blocks[0][0].weight.detach()
    expected = before + (now - before) * 10 / 11  # of the first step a decay of 1 / 11
    torch.testing.assert_close(trainer.averaged.network.blocks[0][0].weight, expected)
    batches = trainer.averaged.network.blocks[0][1].num_batches_tracked
    assert int(batches) == 1


def test_decay_falls_on_matrices_and_filters(often, tmp_path):
    trainer = RecognitionRun(SETTINGS, packed(), tmp_path, ALONE)
    decayed, others = trainer.optimiser.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (SETTINGS.weight_decay, 0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}
    assert len(decayed["params"]) + len(others["params"]) == len(list(trainer.model.parameters()))
    trainer.batches.close()


# --------------------------------------------------------------------------------------------------
# a teacher at hand

# What a teacher says alone.
TAUGHT = replace(SETTINGS, **PLAIN, lambda_identity=0.0, lambda_maps=2.0, learning_rate=1e-2)


@pytest.fixture
def teacher(tmp_path) -> Teacher:
    return Teacher(*tiny_teacher(tmp_path))


def trainer_of(settings, faces, out, teacher=None, **changes) -> RecognitionRun:
    return RecognitionRun(replace(settings, **changes), faces, out, ALONE, teacher)


def test_steps_with_a_teacher_lead_towards_it(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    out = tmp_path / "run"
    settings = replace(TAUGHT, steps=24)
    model = train_recognition(settings, faces, out, ALONE, teacher)
    found = rows(out)
    for name in ("maps", "distillation", "total"):
        means = [np.mean([row[name] for row in part]) for part in (found[:4], found[-4:])]
        assert means[1] < 0.6 * means[0], name
    assert all(row["total"] == pytest.approx(2 * row["maps"] + 10 * row["distillation"], rel=1e-4) for row in found)
    assert model.exposed == ()  # which is only needed to learn


def test_a_teacher_stays_as_it_is(tmp_path, often, teacher):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    trainer = trainer_of(TAUGHT, embedded(packed(), teacher), tmp_path / "run", teacher)
    trainer.train_step()
    trainer.batches.close()
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    learning = {id(p) for group in trainer.optimiser.param_groups for p in group["params"]}
    assert not learning & {id(p) for p in teacher.parameters()}


def test_what_a_teacher_is_asked(often, tmp_path, teacher):
    """The mean direction of what it says of the changed faces and of the faces as they are; of averages the first."""
    trainer = trainer_of(TAUGHT, embedded(packed(), teacher), tmp_path / "run", teacher)
    batch = trainer.next_batch()
    trainer.batches.close()
    labels = trainer.labels(batch)
    goal, (first, second) = labels.teacher, labels.teacher_maps
    now, maps = teacher(batch.inputs, (0,))
    average = ~batch.teacher.any(1)
    assert 0 < int(average.sum()) < len(average)
    torch.testing.assert_close(goal[average], now[average])
    both = functional.normalize((now + batch.teacher) / 2)
    torch.testing.assert_close(goal[~average], both[~average])
    assert not torch.allclose(goal[~average], now[~average], atol=1e-3)  # augmentation shows
    assert torch.equal(first, maps[0]) and torch.equal(second, maps[0])
    # a batch without embeddings has maps to match and nothing to repeat
    again = trainer.labels(replace(batch, teacher=None))
    assert again.teacher is None
    assert [torch.equal(one, two) for one, two in zip(again.teacher_maps, (first, second), strict=True)] == [True] * 2


def test_without_a_teacher_at_hand_its_embeddings_are_repeated(often, tmp_path):
    trainer = trainer_of(SETTINGS, packed(), tmp_path)
    batch = trainer.next_batch()
    trainer.batches.close()
    labels = trainer.labels(batch)
    assert labels.teacher is batch.teacher and list(labels.teacher_maps) == []
    assert trainer.model.exposed == ()


def test_maps_alone_can_be_learned(often, tmp_path, teacher):
    settings = replace(TAUGHT, lambda_distillation=0.0, lambda_identity=0.02, steps=1)
    train_recognition(settings, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)
    (row,) = rows(tmp_path / "run")
    assert row["maps"] > 0 and row["distillation"] == 0


@pytest.mark.parametrize("about", [{"network": "tiny_teacher", "sha256": "0" * 64}, {"network": "tiny_teacher"}, None])
def test_a_teacher_other_than_that_of_the_embeddings_is_refused(often, tmp_path, teacher, about):
    faces = replace(embedded(packed(), teacher), teacher=about)
    message = "teacher: the embeddings of the faces are of another network; run `embeddings` with this one"
    for settings in (TAUGHT, replace(TAUGHT, lambda_distillation=0.0)):
        with pytest.raises(TrainingError, match=message):
            train_recognition(settings, faces, tmp_path / "run", ALONE, teacher)
    train_recognition(replace(TAUGHT, lambda_maps=0.0, steps=1), faces, tmp_path / "run", ALONE)


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_a_teacher_needs_faces_with_embeddings(often, tmp_path, teacher, weight):
    settings = replace(TAUGHT, lambda_distillation=weight, lambda_identity=0.02)
    with pytest.raises(TrainingError, match="faces: a teacher's embeddings are missing; run `embeddings` first"):
        train_recognition(settings, packed(teacher=False), tmp_path / "run", ALONE, teacher)


def test_maps_of_the_same_shape_are_matched(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    trainer = trainer_of(TAUGHT, faces, tmp_path / "one", teacher)
    assert trainer.matched == tuple((own, 0) for own in tiny(False).skips)
    assert trainer.model.exposed == tiny(False).skips
    without = trainer_of(TAUGHT, faces, tmp_path / "two", teacher, lambda_maps=0.0)
    assert without.matched == without.model.exposed == ()
    for each in (trainer, without):
        each.batches.close()


def test_averages_need_a_teacher_at_hand(often, tmp_path, teacher):
    faces = embedded(packed(), teacher)
    assert trainer_of(TAUGHT, faces, tmp_path / "one", teacher).data.counts[3] > 0
    assert trainer_of(TAUGHT, faces, tmp_path / "two", lambda_maps=0.0).data.counts[3] == 0


def test_maps_without_a_teacher_are_refused(often, tmp_path):
    with pytest.raises(TrainingError, match="lambda_maps: needs the teacher's network, not its embeddings alone"):
        train_recognition(replace(SETTINGS, lambda_maps=1.0), packed(), tmp_path, ALONE)


def test_a_teacher_of_other_maps_is_refused(often, tmp_path, monkeypatch, teacher):
    monkeypatch.setitem(ARCHITECTURES, "light", wider)
    with pytest.raises(TrainingError, match="lambda_maps: no map of wider has the shape of one of tiny_teacher"):
        train_recognition(TAUGHT, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)
    # its embeddings are of use all the same
    settings = replace(TAUGHT, lambda_maps=0.0, steps=1)
    train_recognition(settings, embedded(packed(), teacher), tmp_path / "run", ALONE, teacher)


def wider(decomposed: bool = True, name: str = "wider") -> RecognitionNetwork:
    """Tiny with maps of 12 channels."""
    builder = GraphBuilder()
    skips = (builder.conv(12, 16, 16, activation="prelu", after=IMAGE),)
    builder.depthwise(7)
    return RecognitionNetwork(builder.build(name, SIDE, {"embedding": builder.conv(DIMENSION)}), skips, skips[0], 12)


def test_a_resumed_run_with_a_teacher_equals_an_uninterrupted_one(often, tmp_path, monkeypatch, teacher):
    faces = embedded(packed(), teacher)
    whole = train_recognition(TAUGHT, faces, tmp_path / "whole", ALONE, teacher)
    with monkeypatch.context() as patch:
        stop_after(patch, RecognitionRun, 4)
        with pytest.raises(Stopped):
            train_recognition(TAUGHT, faces, tmp_path / "parts", ALONE, teacher)
    resumed = train_recognition(TAUGHT, faces, tmp_path / "parts", ALONE, teacher)
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert without_time(tmp_path / "whole") == without_time(tmp_path / "parts")


def test_what_is_compiled(often, tmp_path, monkeypatch, teacher):
    """The networks that training runs, and not the averaged one that is measured now and then."""
    compiled: list[torch.nn.Module] = []

    def compile_(module: torch.nn.Module) -> None:
        compiled.append(module)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    faces = embedded(packed(), teacher)
    trainer_of(TAUGHT, faces, tmp_path / "none", teacher)
    assert compiled == []
    trainer = trainer_of(TAUGHT, faces, tmp_path / "both", teacher, compiled=True)
    assert compiled == [trainer.model.network, teacher.network]
    alone = trainer_of(TAUGHT, faces, tmp_path / "one", lambda_maps=0.0, compiled=True)
    assert compiled[2:] == [alone.model.network]


# --------------------------------------------------------------------------------------------------
# starting from a run


def test_starting_from_a_run_of_the_same_kind(often, tmp_path):
    faces = packed()
    trained = train_recognition(SETTINGS, faces, tmp_path / "one", ALONE)
    settings = replace(SETTINGS, start=str(tmp_path / "one/checkpoint.pt"))
    trainer = RecognitionRun(settings, faces, tmp_path / "two", ALONE)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor), name
    other = RecognitionModel(tiny(), persons=99, adversarial=False)  # other people, and no adversary
    start_from(other, tmp_path / "one/checkpoint.pt")
    assert torch.equal(other.network.blocks[0][0].weight, trained.network.blocks[0][0].weight)
    assert other.identity.centres.shape[0] == 99


def test_starting_from_a_run_without_decomposition(often, tmp_path):
    faces = packed()
    trained = train_recognition(replace(SETTINGS, **PLAIN), faces, tmp_path / "plain", ALONE)
    model = RecognitionRun(
        replace(SETTINGS, start=str(tmp_path / "plain/checkpoint.pt")), faces, tmp_path / "two", ALONE
    ).model.eval()
    places = list(zip(shared_nodes(tiny(False)), shared_nodes(tiny(True)), strict=True))
    assert len(places) == len(tiny(False).graph.nodes)
    for before, after in places:
        assert tiny(False).graph.nodes[before].kind == tiny(True).graph.nodes[after].kind
        for name, tensor in trained.network.blocks[before].state_dict().items():
            assert torch.equal(model.network.blocks[after].state_dict()[name], tensor)
    assert torch.equal(model.identity.centres, trained.identity.centres)
    # with gates that let all of the features through to identity, the embedding is that of the run
    x = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        for index, node in enumerate(model.architecture.graph.nodes):
            if node.kind == "spatial_gate" or node.activation == "sigmoid":
                for weights in model.network.blocks[index].parameters():
                    weights.zero_()
                model.network.blocks[index].get_submodule("0").bias.fill_(-100)
                for module in model.network.blocks[index]:
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.bias.fill_(-100)
        torch.testing.assert_close(model(x).embeddings, trained(x).embeddings)


def test_what_is_no_checkpoint_to_start_from(often, tmp_path, monkeypatch):
    model = RecognitionModel(tiny(), persons=0, adversarial=False)
    with pytest.raises(TrainingError, match=r"start: .*none\.pt is no checkpoint of a recognition run"):
        start_from(model, tmp_path / "none.pt")
    torch.save({"step": 3}, tmp_path / "odd.pt")
    with pytest.raises(TrainingError, match=r"start: .*odd\.pt is no checkpoint"):
        start_from(model, tmp_path / "odd.pt")
    (tmp_path / "text.pt").write_text("nothing")
    with pytest.raises(TrainingError, match=r"start: .*text\.pt is no checkpoint"):
        start_from(model, tmp_path / "text.pt")
    train_recognition(replace(SETTINGS, steps=1), packed(), tmp_path, ALONE)
    monkeypatch.setitem(ARCHITECTURES, "light", dense)
    with pytest.raises(TrainingError, match=r"is of dense, expected tiny"):
        start_from(model, tmp_path / "checkpoint.pt")


def test_a_run_of_another_network_of_the_same_name_is_no_start(often, tmp_path, monkeypatch):
    """As when an architecture was changed after the run."""
    train_recognition(replace(SETTINGS, steps=1, **PLAIN), packed(), tmp_path, ALONE)

    def changed(decomposed: bool = True) -> RecognitionNetwork:
        return wider(decomposed, "tiny")

    monkeypatch.setitem(ARCHITECTURES, "light", changed)
    model = RecognitionModel(changed(False), persons=0, adversarial=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"start: .*checkpoint\.pt is of another network that was called tiny too"):
        start_from(model, tmp_path / "checkpoint.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


# --------------------------------------------------------------------------------------------------
# processes


def test_a_batch_on_the_cpu_stays_there():
    batch = Batch(torch.zeros(1, 3, 2, 2), torch.zeros(1), torch.zeros(1), None)
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert moved.inputs.device.type == moved.ages.device.type == "meta"
    assert moved.teacher is None


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    found = Processes.joined()
    assert (found.rank, found.world) == (0, 1)


PARALLEL = """
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from tests.train.packed_faces import SETTINGS, packed, tiny

from train.recognition import trainer as loop
from train.recognition.architectures import ARCHITECTURES
from train.recognition.trainer import train_recognition
from train.common.device import Processes

ARCHITECTURES["light"] = tiny
loop.LOG_EVERY, loop.SAVE_EVERY = 1, 2
out, processes = Path(sys.argv[1]), Processes.joined()
torch.manual_seed(processes.rank)
plain = dict(decomposed=False, lambda_age=0.0, lambda_adversary=0.0, lambda_distillation=0.0)
few = packed(people=1, photos=40, aged=40)  # of four faces the first process has the name, the second the age
runs = {
    "light": (SETTINGS, packed()),
    "plain": (replace(SETTINGS, **plain), packed()),
    "few": (replace(SETTINGS, batch=4, shares=(1, 1, 2, 0), validation=0.4), few),
}
for name, (settings, faces) in runs.items():
    settings = replace(settings, steps=4)
    model = train_recognition(settings, faces, out / name, processes)
    weights = {key: value.detach() for key, value in model.named_parameters()}
    torch.save(weights, out / f"{name}-{processes.rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path):
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    path = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("light", "plain", "few"):
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
        assert set(first) == set(second)
        for key, tensor in first.items():
            assert torch.equal(tensor, second[key]), (name, key)
        assert [row["step"] for row in rows(tmp_path / name)] == [1, 2, 3, 4]
        assert asdict(SETTINGS).keys() == state(tmp_path / name)["settings"].keys()
