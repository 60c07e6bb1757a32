"""``cascade analyze``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.cli import console, main
from tests.cli.helpers import photo, portrait_photo, records
from tests.photos import portrait
from tests.random_attributes import save_random_attributes, save_still_landmarks


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("networks")
    attributes, landmarks = (
        save_random_attributes(folder / "a.safetensors"),
        save_still_landmarks(folder / "l.safetensors"),
    )
    return ["--attribute-weights", str(attributes), "--landmark-weights", str(landmarks)]


@pytest.fixture
def analyze(networks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return lambda *argv: main(["analyze", *map(str, argv), *networks, "--threads", "1"])


def test_text_is_for_people(analyze, capsys):
    portrait_photo("a.jpg")
    assert analyze("a.jpg", "--landmarks") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "a.jpg: 1 face"
    assert second.startswith("  1  at 1") and " years, " in second and " %, " in second and "yaw " in second
    assert "White" not in second and "Black" not in second and "Asian" not in second


def test_jsonl_holds_the_faces_with_what_is_said_of_each(analyze, capsys):
    portrait_photo("a.jpg")
    assert analyze("a.jpg", "--landmarks", "--json", "--age-groups", "six") == 0
    (record,) = records(capsys.readouterr().out)
    (face,) = record["faces"]
    assert {"box", "score", "landmarks"} < face.keys()
    assert 0 <= face["age"] <= 100 and face["age_group"] in ("0-15", "16-25", "26-35", "36-45", "46-60", "61+")
    assert face["gender"] in ("male", "female") and 0.5 <= face["gender_probability"] <= 1
    assert np.shape(face["points"]) == (68, 2) and abs(face["roll"]) < 10 and face["unknown"] is None
    assert "ethnicity" not in face


def test_ethnicity_only_where_it_is_asked_for(analyze, capsys):
    portrait_photo("a.jpg")
    assert analyze("a.jpg", "--json", "--ethnicity", "--tasks", "smile") == 0
    (face,) = records(capsys.readouterr().out)[0]["faces"]
    assert {"smile", "ethnicity"} < face.keys() and "age" not in face and "points" not in face
    assert analyze("a.jpg", "--tasks", "smile,ethnicity") == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "--tasks: ethnicity is computed only with --ethnicity" in err
    assert analyze("a.jpg", "--json", "--ethnicity", "--tasks", "ethnicity") == 0


def test_a_face_upside_down_gives_a_warning(analyze, capsys):
    Image.fromarray(portrait()).resize((450, 450)).rotate(180).save("upside.png")
    assert analyze("upside.png", "--tasks", "smile") == 0
    assert "upside.png: warning: face 1 is rotated by 1" in capsys.readouterr().err
    assert analyze("upside.png", "--tasks", "smile", "--rotations", "0", "180") == 0
    assert "warning" not in capsys.readouterr().err


def test_a_small_face_is_said_to_be_too_small(analyze, capsys):
    portrait_photo("a.jpg")
    assert analyze("a.jpg", "--min-face", "300", "--landmarks") == 0
    assert "not estimated: too small" in capsys.readouterr().out
    assert analyze("a.jpg", "--min-face", "300", "--landmarks", "--json") == 0
    (face,) = records(capsys.readouterr().out)[0]["faces"]
    assert face["unknown"] == "too small"
    assert all(face[name] is None for name in ("age", "gender", "gender_probability", "age_group", "points", "yaw"))


def test_files_and_pictures_in_a_folder(analyze, capsys):
    portrait_photo("in/a.jpg", people=2)
    portrait_photo("in/gray.png", people=0)
    for kind in ("jsonl", "json", "csv"):
        assert analyze("in", "--out", "out", "--format", kind, "--landmarks", "--draw") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a_faces.jpg",
        "attributes.csv",
        "attributes.json",
        "attributes.jsonl",
        "gray_faces.jpg",
    ]
    rows = list(csv.DictReader(Path("out/attributes.csv").read_text().splitlines()))
    lines = records(Path("out/attributes.jsonl").read_text())
    assert json.loads(Path("out/attributes.json").read_text()) == lines
    told = [face for record in lines for face in record["faces"]]
    assert [float(row["age"]) for row in rows] == [face["age"] for face in told] and len(rows) == 2
    assert [row["gender"] for row in rows] == [face["gender"] for face in told]
    assert [float(row["roll"]) for row in rows] == [face["roll"] for face in told]
    assert {row["unknown"] for row in rows} == {""}
    drawn, before = (np.asarray(Image.open(path), int) for path in ("out/a_faces.jpg", "in/a.jpg"))
    assert drawn.shape == before.shape and (np.abs(drawn - before).max(axis=2) > 60).sum() > 2000


def test_another_runs_results_are_replaced_and_others_stay(analyze):
    portrait_photo("a.jpg")
    Path("out").mkdir()
    Path("out/attributes.csv").write_text("mine\n")
    for _ in range(2):
        assert analyze("a.jpg", "--out", "out", "--format", "csv") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["attributes-2.csv", "attributes.csv"]
    assert Path("out/attributes.csv").read_text() == "mine\n"


def test_a_bad_photo_does_not_end_the_run(analyze, capsys):
    portrait_photo("b.jpg")
    photo(Path("c.jpg"))
    Path("a.jpg").write_bytes(b"no photo")
    assert analyze("a.jpg", "b.jpg", "c.jpg", "--json") == console.SOME_FAILED
    streams = capsys.readouterr()
    assert [len(record["faces"]) for record in records(streams.out)] == [1, 0] and "a.jpg: " in streams.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name a photo or a folder"),
        (("a.jpg", "--draw"), "--draw needs a folder"),
        (("a.jpg", "--out", "o", "--format", "text"), "--format text is for the terminal"),
        (("a.jpg", "--json", "--format", "csv"), "--json is --format jsonl, not csv"),
        (("a.jpg", "--tasks", ""), "--tasks: name one"),
        (("a.jpg", "--tasks", ","), "--tasks: expected names with commas between, got ','"),
        (("a.jpg", "--tasks", " , ", "--landmarks"), "--tasks: expected names with commas between, got ' , '"),
        (
            ("a.jpg", "--tasks", "mood"),
            "--tasks: expected some of age, gender, ethnicity, expression, smile, got 'mood'",
        ),
        (("a.jpg", "--tasks", "age,age"), None),
        (("a.jpg", "--min-face", "-3"), "--min-face: expected 4 to"),
        (("a.jpg", "--min-face", "5000"), "--min-face: expected 0 to 1000"),
        (("a.jpg", "--attribute-weights", "none"), "--attribute-weights: expected a safetensors file"),
        (("a.jpg", "--landmarks", "--landmark-weights", "none"), "--landmark-weights: expected a safetensors file"),
    ],
)
def test_wrong_options_are_named(networks, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    portrait_photo("a.jpg")
    assert main(["analyze", "--threads", "1", *networks, *options]) == (0 if message is None else console.BAD_USAGE)
    assert message is None or message in capsys.readouterr().err


def test_help_says_what_it_is_not_for(capsys):
    assert main(["analyze", "--help"]) == 0
    out = capsys.readouterr().out
    assert "what it is not for:" in out and "EU AI Act" in out and "--ethnicity" in out


def test_networks_of_ones_own_name_their_answers(networks, tmp_path, monkeypatch, capsys):
    from cascade.models.attributes import AttributeTask

    monkeypatch.chdir(tmp_path)
    tasks = (AttributeTask("helmet", "classification", ("no", "yes")), AttributeTask("weight", "regression", (), 0, 9))
    mine = save_random_attributes(tmp_path / "mine.safetensors", tasks=tasks)
    portrait_photo("a.jpg")
    assert main(["analyze", "a.jpg", "--attribute-weights", str(mine), "--threads", "1"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert ("helmet yes" in line or "helmet no" in line) and "weight " in line
