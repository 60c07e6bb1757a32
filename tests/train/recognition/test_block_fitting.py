"""Blocks of an encoder fitted to a teacher's, each by itself, and runs that begin from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train.__main__ as command_line
from cascade.nn.graphs import IMAGE, Graph, GraphBuilder
from tests.train.packed_faces import (
    IN_FLOAT32,
    READS_CROPS,
    SETTINGS,
    Layer,
    finished,
    packed,
    save_ncnn,
    tiny_teacher,
)
from train.common.checkpoints import TrainingError
from train.common.device import Processes
from train.detection.augment import normalise
from train.recognition import block_fitting as blocks
from train.recognition.architectures import ARCHITECTURES, RecognitionNetwork, dense, light
from train.recognition.batches import split
from train.recognition.block_fitting import HELD_BACK, block_ends, fit_blocks, matched_ends
from train.recognition.crops import save_crops
from train.recognition.feature_cache import to_maps
from train.recognition.model import RecognitionModel
from train.recognition.settings import BlockSettings, RecognitionSettings
from train.recognition.teacher import Teacher
from train.recognition.trainer import RecognitionRun, train_recognition
from train.recognition.transfer import start_from

ALONE = Processes(0, 1, torch.device("cpu"))

RUN = replace(SETTINGS, lambda_distillation=0.0)

SHORT = BlockSettings(views=96, steps=80, batch=4, learning_rate=1e-2)

ENDS = ["0", "2", "4"]  # of both networks that follow


def stacked(decomposed: bool = True) -> RecognitionNetwork:
    """Three blocks, two of them of two convolutions and one with a shortcut, and the ends of any architecture."""
    builder = GraphBuilder()
    first = builder.conv(6, 16, 16, after=IMAGE)
    builder.conv(12, activation="prelu")
    second = builder.conv(6, add=first)
    builder.conv(12, activation="prelu", after=second)
    third = builder.conv(8)
    skips = (first, third, builder.conv(16, activation="prelu"))
    return finished(builder, "stacked", skips, decomposed)


def stacked_teacher(folder: Path) -> tuple[Path, Path]:
    """A network in ncnn's format with blocks as those of `stacked`, but narrower ones."""
    rng = np.random.default_rng(5)

    def window(name: str, before: str, channels: int, each: int, values: str = "1=1") -> Layer:
        weight = rng.normal(size=(channels, each)) / each**0.5
        line = f"Convolution {name} 1 1 {before} {name} 0={channels} {values} 5=1 6={weight.size}"
        return line, (IN_FLOAT32, weight, rng.normal(size=channels) / 4)

    slopes = (np.full(4, 0.25),)
    layers: list[Layer] = [
        *READS_CROPS,
        window("a", "crop", 6, 768, "1=16 3=16"),
        ("Split s 1 2 a a1 a2", ()),
        window("b", "a1", 4, 6),
        ("PReLU p 1 1 b bp 0=4", slopes),
        window("c", "bp", 6, 4),
        ("BinaryOp plus 2 1 c a2 sum 0=0", ()),
        window("d", "sum", 4, 6),
        ("PReLU q 1 1 d dq 0=4", slopes),
        window("e", "dq", 8, 4),
        ("InnerProduct fc1 1 1 e fc1 0=8 1=0 2=3136", (IN_FLOAT32, rng.normal(size=(8, 392)))),
    ]
    return save_ncnn(folder, "stacked_teacher", layers)


@pytest.fixture
def stacked_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture "light" is stacked."""
    monkeypatch.setitem(ARCHITECTURES, "light", stacked)


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    return Teacher(*stacked_teacher(tmp_path))


# --------------------------------------------------------------------------------------------------
# which blocks there are


def chain(*nodes: tuple[int, int, int, str]) -> Graph:
    """Convolutions behind each other: channels, kernel, stride and activation of each; the last is the output."""
    builder = GraphBuilder()
    for number, (channels, kernel, stride, activation) in enumerate(nodes):
        last = builder.conv(channels, kernel, stride, activation=activation, after=number - 1)
    return builder.build("chain", 16, {"embedding": last})


def test_a_block_ends_on_a_convolution_over_maps_without_activation():
    builder = GraphBuilder()
    builder.conv(4, 3, 2, 1, "prelu", after=IMAGE)
    first = builder.conv(4)
    builder.depthwise(3, 1, 1)
    second = builder.conv(4, add=first)
    builder.depthwise(8, activation="prelu")
    graph = builder.build("small", 16, {"embedding": builder.conv(5)})
    assert block_ends(graph) == [first, second] == [1, 3]


def test_the_blocks_of_the_light_network():
    ends = block_ends(light(False).graph)
    assert len(ends) == 5 + 7 + 3
    assert ends == block_ends(light(True).graph)[: len(ends)]
    assert set(light().skips[:3]) <= set(ends)


def test_blocks_are_matched_as_long_as_their_shapes_are_the_same():
    own = chain((4, 4, 4, "prelu"), (6, 1, 1, "none"), (6, 1, 1, "none"), (8, 2, 2, "none"), (9, 2, 1, "none"))
    other = chain((6, 4, 4, "none"), (5, 1, 1, "relu"), (6, 1, 1, "none"), (8, 2, 2, "none"), (3, 2, 1, "none"))
    assert matched_ends(own, other) == [(1, 0), (2, 2), (3, 3)]
    assert matched_ends(other, own) == [(0, 1), (2, 2), (3, 3)]
    narrower = chain((6, 4, 4, "none"), (5, 1, 1, "none"), (8, 2, 2, "none"), (3, 2, 1, "none"))
    assert matched_ends(own, narrower) == [(1, 0)]  # what comes after another shape counts no more
    shorter = chain((6, 4, 4, "none"), (5, 4, 1, "none"))
    assert matched_ends(own, shorter) == [(1, 0)]
    assert matched_ends(own, chain((6, 2, 2, "none"), (5, 8, 1, "none"))) == []  # as many channels in other places
    assert matched_ends(own, own) == [(end, end) for end in block_ends(own)]


def test_the_two_networks_here_match(teacher):
    ends = matched_ends(stacked(False).graph, teacher.network.graph)
    assert ends == [(0, 0), (2, 2), (4, 4)]
    assert [str(last) for last, _ in ends] == ENDS


def cached(folder: Path, node: int | None = None) -> torch.Tensor:
    """The crops or the maps of a node that were written, channels first."""
    if node is None:
        return normalise(to_maps(np.load(folder / "crops.npy")))
    return to_maps(np.load(folder / f"teacher-{node}.npy"))


def test_everyone_has_a_turn_before_anyone_has_a_second():
    faces = packed()
    learned, _ = split(faces, RecognitionSettings().validation)
    rows = blocks._rows(faces, replace(SHORT, views=len(learned) + 10))
    counts = np.bincount(rows, minlength=len(faces))
    assert set(np.flatnonzero(counts)) == set(learned)
    assert counts.max() == 2 and (counts == 2).sum() == 10
    assert not np.array_equal(rows, blocks._rows(faces, replace(SHORT, views=len(learned) + 10, seed=1)))


# --------------------------------------------------------------------------------------------------
# fitting


def test_fitted_blocks_do_what_the_teachers_do_and_a_run_begins_from_them(tmp_path, stacked_architecture, teacher):
    faces, out = packed(), tmp_path / "fitted"
    before = fit_blocks(RUN, faces, teacher, tmp_path / "one", replace(SHORT, steps=1), 1)
    errors = fit_blocks(RUN, faces, teacher, out, SHORT, 1)
    assert list(before) == list(errors) == ENDS
    assert all(errors[last] < 0.25 * before[last] for last in ENDS), (before, errors)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["errors"] == errors
    # each block is where it belongs, and as good as it is said to be
    model = RecognitionModel(stacked(False), persons=0, adversarial=False).eval()
    start_from(model, out / "checkpoint.pt")
    x = cached(out / "maps", None)[-HELD_BACK:].float()
    for first, last in ((0, 0), (1, 2), (3, 4)):
        y = cached(out / "maps", last).float()
        with torch.no_grad():
            made = model.network.part(x, first, last)
        error = float((made - y[-HELD_BACK:]).square().mean() / y.var())
        assert error == pytest.approx(errors[str(last)], rel=1e-2)
        x = made.half().float()  # the next block learned of what this one makes
    # a run has them too, with decomposition and without
    for name, changes in (("whole", {}), ("plain", {"decomposed": False, "lambda_age": 0.0, "lambda_adversary": 0.0})):
        settings = replace(RUN, start=str(out / "checkpoint.pt"), **changes)
        trainer = RecognitionRun(settings, faces, tmp_path / name, ALONE)
        for index in range(5):
            for key, tensor in trainer.model.network.blocks[index].state_dict().items():
                assert torch.equal(tensor, state["averaged"][f"network.blocks.{index}.{key}"])
        trainer.batches.close()


def test_blocks_can_begin_from_a_run(tmp_path, stacked_architecture, teacher):
    """What no block holds stays as it was; the rest goes on from there."""
    first, second = tmp_path / "first", tmp_path / "second"
    errors = fit_blocks(RUN, packed(), teacher, first, replace(SHORT, steps=40), 1)
    little = replace(SHORT, steps=1, learning_rate=1e-6)
    again = fit_blocks(RUN, packed(), teacher, second, little, 1, str(first / "checkpoint.pt"))
    assert all(again[last] < 1.5 * errors[last] + 0.02 for last in ENDS), (errors, again)
    one, two = (torch.load(out / "checkpoint.pt", weights_only=True)["averaged"] for out in (first, second))
    assert one.keys() == two.keys()
    changed = {int(name.split(".")[2]) for name in one if not torch.equal(one[name], two[name])}
    assert changed == set(range(5))


def test_first_stages_learn_as_wholes(tmp_path, stacked_architecture, teacher):
    """The second stage is of two blocks; heads of the run they begin from stay."""
    run = replace(RUN, steps=2)
    trained = train_recognition(run, packed(), tmp_path / "run", ALONE)
    start, little = str(tmp_path / "run/checkpoint.pt"), replace(SHORT, steps=1, learning_rate=1e-6, stages=2)
    before = fit_blocks(RUN, packed(), teacher, tmp_path / "one", little, 1, start)
    errors = fit_blocks(RUN, packed(), teacher, tmp_path / "two", replace(SHORT, stages=2), 1, start)
    assert list(before) == list(errors) == ["0", "4"]
    assert all(errors[last] < 0.5 * before[last] for last in errors), (before, errors)
    state = torch.load(tmp_path / "two/checkpoint.pt", weights_only=True)
    assert torch.equal(state["averaged"]["identity.centres"], trained.state_dict()["identity.centres"])
    assert state["averaged"].keys() == trained.state_dict().keys()


def test_blocks_that_a_teacher_does_not_have(tmp_path, tiny_architecture):
    teacher = Teacher(*tiny_teacher(tmp_path))
    message = "no block of light ends on a map of the shape that tiny_teacher has there"
    with pytest.raises(TrainingError, match=message):
        fit_blocks(RUN, packed(), teacher, tmp_path / "out", SHORT, 1)
    assert block_ends(dense(False).graph)  # but of other shapes
    with pytest.raises(TrainingError, match=message.replace("light", "dense")):
        fit_blocks(replace(RUN, architecture="dense"), packed(), teacher, tmp_path / "out", SHORT, 1)
    assert not (tmp_path / "out").exists()


def test_an_error_that_is_not_finite(tmp_path, stacked_architecture, teacher):
    with pytest.raises(TrainingError, match="block 0-0: the error is not finite; lower the learning rate"):
        fit_blocks(RUN, packed(), teacher, tmp_path, replace(SHORT, steps=2, learning_rate=float("inf")), 1)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_command(tmp_path, capsys, stacked_architecture):
    save_crops(tmp_path / "faces", packed(teacher=False))
    common = ["--config", "light", "--faces", tmp_path / "faces"]
    fit = ["blocks", *common, "--teacher", *stacked_teacher(tmp_path), "--out", tmp_path / "blocks"]
    fit += ["--views", 80, "--steps", 3, "--batch", 4, "--workers", 1]
    assert command_line.main([str(word) for word in fit]) == 0
    told = capsys.readouterr().out
    for last in ENDS:
        assert f"block that ends at node {last}: " in told
    checkpoint = tmp_path / "blocks/checkpoint.pt"
    assert f"{checkpoint}: to begin from with recognition --initial" in told

    run = ["recognition", *common, "--initial", checkpoint, "--out", tmp_path / "run", "--lambda-distillation", 0]
    run += ["--steps", 1, "--batch", 8, "--threads", 1]
    assert command_line.main([str(word) for word in run]) == 0
    assert (tmp_path / "run/light.safetensors").exists()
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text())["step"] == 1

    fit[fit.index("--teacher") + 2] = tmp_path / "none.bin"
    assert command_line.main([str(word) for word in fit]) == 1
    assert "none.bin are missing" in capsys.readouterr().err
