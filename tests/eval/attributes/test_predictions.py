"""Answers of other models: CSV and JSON, names, classes that are one in the set, broken files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import DatasetError
from eval.attributes.predictions import read_attribute_predictions

CSV = """name,age,gender,gender_probability,race:White,race:East Asian,race:Southeast Asian
a.jpg,31.5,female,0.9,0.4,0.35,0.25
b.jpg,,male,,0.5,0.3,0.2
c.jpg,7,,,,,
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    records = [
        {"name": "a.jpg", "age": 31.5, "gender": "female", "gender_probability": 0.9},
        {"name": "b.jpg", "age": None, "gender": "male"},
        {"name": "c.jpg", "age": 7},
    ]
    shares = [(0.4, 0.35, 0.25), (0.5, 0.3, 0.2)]
    for record, three in zip(records, shares, strict=False):
        record["probabilities"] = {"race": dict(zip(("White", "East Asian", "Southeast Asian"), three, strict=True))}
    files = [
        write(tmp_path / "p.csv", CSV),
        write(tmp_path / "p.json", json.dumps(records)),
        write(tmp_path / "p.jsonl", "\n".join(map(json.dumps, records))),
    ]
    for file in files:
        found = read_attribute_predictions(file)
        assert found.names == ("a.jpg", "b.jpg", "c.jpg") and found.tasks() == ("gender", "race")
        assert found.ages[0] == 31.5 and np.isnan(found.ages[1])
        assert list(found.labels["gender"]) == ["female", "male", None]
        labels, confidence = found.answers("gender", {})
        assert labels == ["female", "male", None] and confidence[0] == 0.9 and np.isnan(confidence[1])
        assert len(found.about["predictions_sha256"]) == 64


def test_probabilities_of_classes_that_are_one_are_summed(tmp_path: Path) -> None:
    found = read_attribute_predictions(write(tmp_path / "p.csv", CSV))
    assert found.answers("race", {})[0] == ["White", "White", None]
    merged = {"East Asian": "Asian", "Southeast Asian": "Asian"}
    labels, confidence = found.answers("race", merged)
    assert labels == ["Asian", "White", None]
    assert confidence[:2].tolist() == pytest.approx([0.6, 0.5])


def test_ages_make_groups_unless_the_model_states_them(tmp_path: Path) -> None:
    found = read_attribute_predictions(write(tmp_path / "p.csv", CSV))
    assert found.age_groups("six")[0] == ["26-35", None, "0-15"]
    stated = read_attribute_predictions(write(tmp_path / "q.csv", "name,age,age_six\na.jpg,31,16-25\n"))
    assert stated.age_groups("six")[0] == ["16-25"] and stated.age_groups("three")[0] == ["adult"]
    assert stated.tasks() == ()


def test_names_are_found_without_folders_and_suffix(tmp_path: Path) -> None:
    found = read_attribute_predictions(write(tmp_path / "p.csv", CSV))
    matched, missing = found.of(["set/b.webp", "set/z.webp", "set/a.webp"])
    assert missing == ("set/z.webp",)
    assert list(matched.labels["gender"]) == ["male", None, "female"]
    assert matched.ages[2] == 31.5 and np.isnan(matched.ages[1])


def test_rows_can_be_read_again(tmp_path: Path) -> None:
    found = read_attribute_predictions(write(tmp_path / "p.csv", CSV))
    rows = list(found.rows())
    text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    again = read_attribute_predictions(write(tmp_path / "again.csv", text))
    assert again.answers("race", {})[0] == found.answers("race", {})[0]
    assert np.array_equal(again.ages, found.ages, equal_nan=True)
    assert list(again.labels["gender"]) == list(found.labels["gender"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "expected columns name and tasks"),
        ("p.csv", "who,age\na,3\n", "expected columns name and tasks"),
        ("p.csv", "name,age,age\na,3,4\n", "expected columns name"),
        ("p.csv", "name,age\na,old\n", "line 2: age 'old' is not a number"),
        ("p.csv", "name,age\na,3\nb,inf\n", "line 3: age 'inf' is not finite"),
        ("p.csv", "name,age\na,3\nb\n", "line 3: expected 2 fields, got 1"),
        ("p.csv", "name,age\na,3\na,4\n", "two rows have the same name"),
        ("p.csv", "name,age\n", "there is no row"),
        ("p.json", "[1]", "entry 1: expected an object"),
        ("p.json", "{", "no predictions of attributes"),
        ("p.json", '[{"age": 3}]', "expected a name"),
        ("p.json", '[{"name": "a", "probabilities": [1]}]', "no predictions"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_attribute_predictions(write(tmp_path / name, text))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_attribute_predictions(tmp_path / "none.csv")
