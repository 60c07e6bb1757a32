"""The networks of four papers: printed numbers of weights, splits, and one comparison from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade.datasets import DatasetError
from cascade.single_face import SingleFace
from tests.train.attributes.drawn import draw
from train.__main__ import main
from train.attributes.networks import BKNet, activation_floats
from train.attributes.sources import AttributeSource
from train.attributes.store import LabelledCrops
from train.experiments.face_papers import PAPERS, FaceSet, age_group_task
from train.experiments.paper_runs import Budget, _split, nine_people, table


@pytest.mark.parametrize("name", PAPERS)
def test_every_network_answers_its_tasks(name: str) -> None:
    paper = PAPERS[name]
    for arm in paper.arms:
        tasks = [paper.tasks[name] for name in arm.tasks]
        network = arm.network(tasks).eval()
        with torch.no_grad():
            found = network(torch.zeros(2, 3, 112, 112))
        assert {name: tuple(rows.shape) for name, rows in found.items()} == {t.name: (2, t.outputs) for t in tasks}
        assert network.weights() > 0 and activation_floats(network) > 1000


def test_bknets_have_the_printed_numbers_of_weights() -> None:
    for arm in PAPERS["rohani"].arms:
        if "weights" in arm.printed:
            network = arm.network([PAPERS["rohani"].tasks[name] for name in arm.tasks])
            assert network.weights() == arm.printed["weights"], arm.name


def test_a_frozen_base_stays_as_it_is() -> None:
    paper = PAPERS["aboluhom"]
    network = paper.arms[0].network(list(paper.tasks.values())).train()
    before = {name: value.clone() for name, value in network.base.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    sum(rows.square().sum() for rows in network(torch.randn(2, 3, 112, 112)).values()).backward()
    optimiser.step()
    assert all(torch.equal(before[name], value) for name, value in network.base.state_dict().items())
    assert not network.base.training


def test_the_skip_reaches_the_heads() -> None:
    task = PAPERS["rohani"].tasks["smile"]
    network = BKNet([task], skip=True)
    network(torch.randn(2, 3, 112, 112))["smile"].sum().backward()
    assert network.heads["smile"][0].weight.grad[:, -288:].abs().sum() > 0


def test_labels_of_one_year_become_groups() -> None:
    task = age_group_task("age", "six")
    assert task.classes == ("0-15", "16-25", "26-35", "36-45", "46-60", "61+")
    assert task.allowed("15").tolist() == [1, 0, 0, 0, 0, 0] and task.allowed("116").tolist() == [0, 0, 0, 0, 0, 1]


def crops(count: int, **labels: list[str]) -> LabelledCrops:
    texts = {name: sorted(set(values)) for name, values in labels.items()}
    numbers = np.array([[texts[name].index(values[at]) for name, values in labels.items()] for at in range(count)])
    names = [f"{at}" for at in range(count)]
    return LabelledCrops(
        np.zeros((count, 2, 2, 3), np.uint8), numbers.astype(np.int16), np.ones(count, bool), texts, names, {}
    )


def test_parts_are_apart_and_sets_without_a_label_are_left_out() -> None:
    smiles = crops(40, smile=["yes", "no"] * 20, fold=list("1234") * 10)
    ages = crops(100, age=["5", "6"] * 50)
    packed = [
        (FaceSet("a", fold="4"), AttributeSource("genki4k"), smiles),
        (FaceSet("b", 0.3), AttributeSource("utkface_full"), ages),
    ]
    sets, tested = _split(packed, {"smile", "age"}, 0.1)
    assert len(tested) == 10 + 30 and [len(each.measured) for each in sets] == [3, 7]
    for each, start in zip(sets, (0, 40), strict=True):
        inside = tested[(tested >= start) & (tested < start + len(each.crops))] - start
        rows = np.concatenate([each.learned, each.measured, inside])
        assert sorted(rows.tolist()) == list(range(len(each.crops)))
    assert all(smiles.label_texts("fold")[row] == "4" for row in tested[tested < 40])
    (only,), second = _split(packed, {"age"}, 0.1)
    assert only.crops is ages and len(second) == 30 and second.max() < 100


def test_the_people_with_most_photos_are_taken(tmp_path: Path) -> None:
    lines = ["image identity"]
    attributes = ["Male Smiling Young"]
    (tmp_path / "images").mkdir()
    number = 0
    for person in range(11):
        for _ in range(2 if person in (3, 7) else 3):
            number += 1
            lines.append(f"{number:06d}.jpg {person + 100}")
            attributes.append(f"{number:06d}.jpg 1 -1 {1 if person % 2 else -1}")
            (tmp_path / "images" / f"{number:06d}.jpg").write_bytes(b"x")
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(lines))
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(attributes))
    rows = list(csv.DictReader(nine_people(tmp_path, tmp_path / "people.csv").read_text().splitlines()))
    assert len(rows) == 27 and {row["identity"] for row in rows} == set("123456789")
    assert {row["gender"] for row in rows} == {"male"} and {row["young"] for row in rows} == {"yes", "no"}
    (tmp_path / "identity_CelebA.txt").write_text("image identity\n000001.jpg 1\n")
    with pytest.raises(DatasetError, match="expected 9 people with photos, found 1"):
        nine_people(tmp_path, tmp_path / "people.csv")


def test_the_budget_is_the_same_for_all() -> None:
    paper = PAPERS["li"]
    settings = [Budget(100).settings(arm, 3) for arm in paper.arms]
    assert {(each.steps, each.batch, each.learning_rate, each.seed) for each in settings} == {(100, 128, 1e-3, 3)}
    assert [each.task_weights for each in settings] == ["dwa", "fixed"]


def test_the_table_has_the_printed_figures_in_brackets() -> None:
    paper = PAPERS["rohani"]
    figures = {"smile_accuracy": {"mean": 0.91, "std": 0.01}, "weights": {"mean": 2418146.0, "std": 0.0}}
    arms = {arm.name: figures if arm.name == "bknet_smile" else {} for arm in paper.arms}
    text = table(paper, arms)
    assert "| bknet_smile | 0.910 ± 0.010 (0.951) | 2,418,146 (2,418,146) |" in text


@pytest.mark.slow
def test_a_comparison_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from cascade.imaging.reading import read_image

    def whole(photos, source, workers, cut):
        for photo in photos:
            yield photo, SingleFace(read_image(photo.path), np.full((5, 2), 0.5, np.float32))

    monkeypatch.setattr("train.attributes.pack._cut", whole)
    for at in range(30):
        draw(
            tmp_path / "data" / "utkface_full" / f"{20 + 30 * (at % 2)}_{at % 2}_0_20{at}.png", 60 + 120 * (at % 2), at
        )
    (tmp_path / "data" / "utkface_excluded.txt").write_text("")
    options = ("--root", tmp_path / "data", "--out", tmp_path / "out", "--workers", "1", "--seeds", "1")
    command = ["paper", "speziali", *map(str, options), "--steps", "3", "--batch", "6"]
    assert main(command) == 0
    assert "Speziali" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").read_text().splitlines()))
    assert [row["arm"] for row in rows] == ["single_gender", "single_age", "dual"]
    assert rows[0]["age_mae"] == "" and float(rows[2]["age_mae"]) > 0 and float(rows[2]["gender_accuracy"]) >= 0
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    assert content["steps"] == 3 and 0 <= content["same_distribution"]["age"] <= 1
    assert main(command) == 0  # complete runs are used again
    assert main([*command[:-1], "0"]) == 1
