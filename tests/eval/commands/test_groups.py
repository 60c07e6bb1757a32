"""``python -m eval age`` and ``false-accepts``: reports, missed faces, files of other models, and bad input refused."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from tests.eval.helpers import is_picture, rows_of, run_eval, save_faces, summary
from tests.random_recognizer import save_random_recognizer

COMMON_KEYS = {
    *("task", "protocol", "model", "photos", "missed_faces", "broken_photos", "problems"),
    *("settings", "weights_sha256", "command", "version", "seconds"),
}
FACES = ("20_0_0_1.png", "22_1_0_2.png", "64_0_1_3.png", "5/8_1_2_4.png", "70_1_4_5.png")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_random_recognizer(tmp_path_factory.mktemp("weights") / "random.safetensors")


@pytest.fixture
def utkface(tmp_path):
    """Five faces, one photo without, one broken, and a file with another name."""
    root = save_faces(tmp_path / "utkface", FACES)
    save_faces(root, ["notes.png"])
    (root / "30_0_3_6.png").write_bytes((root / "notes.png").read_bytes()[:200])
    cv2.imwrite(str(root / "31_0_3_7.png"), np.zeros((80, 80, 3), np.uint8))
    return root


@pytest.fixture
def touched(tmp_path):
    """Files that have the names of UTKFace and hold nothing."""
    root = tmp_path / "names"
    root.mkdir()
    names = [f"{age}_{gender}_{race}_{k}.jpg" for k, (age, gender, race) in enumerate(PEOPLE)]
    for name in names:
        (root / name).write_bytes(b"not an image")
    return root, names


PEOPLE = ((3, 0, 0), (15, 0, 0), (25, 1, 0), (25, 1, 1), (64, 0, 1))


def save_ages(file, names, ages):
    file.write_text("name,age\n" + "".join(f"{name},{age}\n" for name, age in zip(names, ages, strict=True)))
    return file


# age


def test_ages_of_our_recogniser(utkface, weights, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("age", "--protocol", "utkface", "--images", utkface, "--out", out, "--weights", weights)
    assert run_eval(*arguments, "--min-face", 40, "--threads", 1) == 0
    report = summary(out)
    keys = {"mae", "mae_interval", "bias", "cs5", "cs10", "by_age", "by_gender", "by_race", "found", "missing_ages"}
    assert report.keys() >= COMMON_KEYS | keys | {"ages_sha256", "cs5_of_all", "cs10_of_all"}
    assert (report["task"], report["model"], report["protocol"]) == ("age", "random", "utkface")
    assert len(report["weights_sha256"]) == 64
    assert (report["photos"], report["found"], report["missed_faces"], report["broken_photos"]) == (7, 5, 2, 1)
    assert "30_0_3_6.png" in " ".join(report["problems"])
    assert "31_0_3_7.png" in " ".join(report["problems"])
    assert "notes.png" in report["problems"][0]
    assert report["settings"]["align"] == "detect"
    assert "missed" not in report["settings"]
    names = ["ages.csv", "ages.png", "cumulative_score.csv", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert is_picture(out / "ages.png")
    rows = rows_of(out / "ages.csv")
    assert [row["age"] == "" for row in rows] == [row["name"] in ("30_0_3_6.png", "31_0_3_7.png") for row in rows]
    errors = [float(row["age"]) - float(row["true_age"]) for row in rows if row["age"]]
    assert report["mae"] == pytest.approx(np.abs(errors).mean())
    assert report["bias"] == pytest.approx(np.mean(errors))
    assert report["mae_interval"][0] < report["mae"] < report["mae_interval"][1]
    child = next(row for row in rows if row["name"] == "5/8_1_2_4.png")
    assert (child["gender"], child["race"], child["true_age"]) == ("female", "Asian", "8")
    assert report["by_race"]["Indian"] == {
        **{"photos": 2, "missed_faces": 2, "mae": None, "mae_interval": None, "bias": None, "cs5": None, "cs10": None},
    }
    score = rows_of(out / "cumulative_score.csv")
    assert (len(score), float(score[10]["share"])) == (21, pytest.approx(report["cs10"]))
    printed = capsys.readouterr().out
    assert "2 missed faces" in printed
    assert "by gender" in printed
    again = tmp_path / "again"
    assert run_eval(*arguments[:5], "--out", again, "--ages", out / "ages.csv", "--name", "random") == 0
    second = summary(again)
    told = ("mae", "mae_interval", "cs5_of_all", "by_age", "by_gender", "by_race", "missed_faces", "ages_sha256")
    for key in told:
        assert second[key] == report[key]


def test_ages_of_another_model(touched, tmp_path, capsys):
    root, names = touched
    # Errors +1, +6, −3, none, −20, the fourth being missed; the file does without suffixes.
    ages = (4, 21, 22, "", 44)
    file = save_ages(tmp_path / "others.csv", [name.removesuffix(".jpg") for name in names], ages)
    arguments = ("age", "--protocol", "utkface", "--images", root, "--out", tmp_path / "out", "--ages")
    assert run_eval(*arguments, file) == 0
    report = summary(tmp_path / "out")
    assert (report["mae"], report["bias"], report["cs5"], report["cs10"]) == (7.5, -4.0, 0.5, 0.75)
    assert (report["cs5_of_all"], report["cs10_of_all"]) == (0.4, pytest.approx(0.6))
    assert (report["missed_faces"], report["missing_ages"], report["model"]) == (1, 0, "others")
    assert report["by_gender"]["male"]["mae"] == 9
    assert report["by_gender"]["female"]["mae"] == 3
    assert report["by_race"]["White"]["mae"] == pytest.approx(10 / 3)
    by_age = {band: each["mae"] for band, each in report["by_age"].items() if each["photos"]}
    assert by_age == {"0-10": 1, "11-20": 6, "21-30": 3, "61+": 20}
    assert report["weights_sha256"] is None
    assert "7.50" in capsys.readouterr().out


def test_photos_that_the_file_of_ages_lacks(touched, tmp_path, capsys):
    root, names = touched
    arguments = ("age", "--protocol", "utkface", "--images", root, "--out", tmp_path / "out", "--ages")
    assert run_eval(*arguments, save_ages(tmp_path / "few.csv", names[:3], (4, 21, 22))) == 0
    report = summary(tmp_path / "out")
    assert (report["missed_faces"], report["missing_ages"], report["found"]) == (2, 2, 3)
    assert "few.csv: no row for 2 photos" in report["problems"][-1]
    assert "few.csv: no row for 2 photos" in capsys.readouterr().err
    for content, message in (
        ("name,age\nelsewhere,3\n", "none of its 1 names is among the photos"),
        ("name,age\n" + "".join(f"{name},\n" for name in names), "none of 5 photos has one"),
        ("photo,years\na,3\n", "columns name and age"),
    ):
        (tmp_path / "bad.csv").write_text(content)
        assert run_eval(*arguments[:-2], tmp_path / "bad", "--ages", tmp_path / "bad.csv") == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "bad").exists()


def test_ages_on_fgnet_are_drawn_by_person(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    names = [f"{person:03d}A{age:02d}.jpg" for person in (1, 2, 3) for age in (5, 30, 62)]
    for name in names:
        (root / name).write_bytes(b"not an image")
    errors = {"001": 1, "002": 3, "003": 8}
    file = save_ages(tmp_path / "a.csv", names, [int(name[4:6]) + errors[name[:3]] for name in names])
    assert run_eval("age", "--protocol", "fgnet", "--images", tmp_path, "--out", tmp_path / "o", "--ages", file) == 0
    report = summary(tmp_path / "o")
    # Three people: all draws of three of them have means from 1 to 8, and one in 27 has the same person thrice.
    assert (report["mae"], report["mae_interval"]) == (4, [1, 8])
    assert (report["by_gender"], report["by_race"]) == (None, None)
    assert report["by_age"]["61+"]["photos"] == 3


# false accepts


def test_false_accepts_of_our_recogniser(utkface, weights, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("false-accepts", "--images", utkface, "--out", out, "--near-duplicate", 1)
    ours = ("--weights", weights, "--min-face", 40, "--threads", 1)
    assert run_eval(*arguments, *ours) == 0
    report = summary(out)
    keys = {"threshold", "false_accept_rate", "pairs", "accepted", "near_duplicates", "embeddings_sha256"}
    assert report.keys() >= COMMON_KEYS | keys | {"by_age", "by_gender", "by_race", "by_combination"}
    # The threshold is what the weights state.
    assert (report["task"], report["threshold"], report["model"]) == ("false-accepts", 0.5, "random")
    assert (report["photos"], report["missed_faces"], report["broken_photos"], report["pairs"]) == (7, 2, 1, 10)
    assert report["by_gender"]["male"]["photos"] == 2
    assert report["by_gender"]["male"]["missed_faces"] == 2
    assert report["by_gender"]["female"]["pairs"] == 3
    assert report["by_combination"] == {}
    with np.load(out / "embeddings.npz") as kept:
        rows = kept["embeddings"]
    rows = rows[np.isfinite(rows[:, 0])]
    upper = (rows @ rows.T)[np.triu_indices(5, 1)]
    assert report["accepted"] == (upper >= 0.5).sum()
    names = ["embeddings.npz", "false_accepts.csv", "false_accepts.png", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert is_picture(out / "false_accepts.png")
    assert "2 missed faces" in capsys.readouterr().out
    # The file of embeddings keeps the threshold, so that it can be evaluated again without the network.
    again = (*arguments[:3], "--out", tmp_path / "again", *arguments[5:], "--embeddings", out / "embeddings.npz")
    assert run_eval(*again) == 0
    second = summary(tmp_path / "again")
    assert {**second, "command": 0, "seconds": 0} == {**report, "command": 0, "seconds": 0}
    assert run_eval(*again, "--threshold", 0.99) == 0
    assert summary(tmp_path / "again")["accepted"] == (np.round(upper, 9) >= 0.99).sum()


def test_false_accepts_by_group(touched, tmp_path, capsys):
    root, names = touched
    # Apart: 20 and 40 within the men's 0, 20 and 60; the women's 80 and 85 are near-duplicates; 20 between 60 and 80.
    turn = np.radians([0, 20, 80, 85, 60])
    np.savez(tmp_path / "e.npz", names=np.array(names), embeddings=np.column_stack([np.cos(turn), np.sin(turn)]))
    arguments = ("false-accepts", "--images", root, "--out", tmp_path / "out", "--embeddings", tmp_path / "e.npz")
    threshold = ("--threshold", float(np.cos(np.radians(30))))
    assert run_eval(*arguments, *threshold) == 0
    report = summary(tmp_path / "out")
    # 0–20, 60–80 and 60–85 are accepted of nine pairs.
    assert (report["accepted"], report["pairs"], report["near_duplicates"]) == (3, 9, 1)
    assert report["false_accept_rate"] == pytest.approx(1 / 3)
    men, women = report["by_gender"]["male"], report["by_gender"]["female"]
    assert (men["pairs"], men["accepted"], men["rate"], men["ratio"]) == (3, 1, pytest.approx(1 / 3), 1)
    assert (women["pairs"], women["near_duplicates"], women["rate"], women["ratio"]) == (0, 1, None, None)
    assert report["by_race"]["Black"]["rate"] == 1
    assert report["by_race"]["Black"]["rate_interval"] is None
    assert report["by_age"]["21-30"]["near_duplicates"] == 1
    assert report["settings"] == {"near_duplicate": 0.95, "combinations_at_least": 50}
    rows = rows_of(tmp_path / "out" / "false_accepts.csv")
    assert (rows[0]["kind"], rows[0]["accepted"], rows[0]["ratio"]) == ("all", "3", "1")
    assert {row["kind"] for row in rows} == {"all", "age", "gender", "race"}
    printed = capsys.readouterr().out
    assert "1 pairs above 0.95 left out" in printed
    assert "both in one race" in printed


def test_combinations_of_fifty_faces(tmp_path):
    root = tmp_path / "names"
    root.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{21 + k % 10}_{k % 2}_0_{k}.jpg" for k in range(101)]
    for name in names:
        (root / name).write_bytes(b"not an image")
    rows = rng.normal(size=(101, 6))
    rows[1] = np.nan  # one of the fifty women
    np.savez(tmp_path / "e.npz", names=np.array(names), embeddings=rows)
    arguments = ("false-accepts", "--images", root, "--out", tmp_path / "out", "--embeddings", tmp_path / "e.npz")
    assert run_eval(*arguments, "--threshold", 0.5) == 0
    report = summary(tmp_path / "out")
    photos = {name: each["photos"] for name, each in report["by_combination"].items()}
    assert photos == {"21-30, male": 51, "21-30, White": 100, "male, White": 51, "21-30, male, White": 51}
    assert report["by_combination"]["21-30, White"]["missed_faces"] == 1
    low, high = report["by_combination"]["male, White"]["rate_interval"]
    assert low < report["by_combination"]["male, White"]["rate"] < high
    assert is_picture(tmp_path / "out" / "false_accepts.png")


# misuse


@pytest.mark.parametrize("command", [("age", "--protocol", "utkface"), ("age", "--protocol", "fgnet"), "false-accepts"])
def test_no_photos_or_another_layout(command, tmp_path, capsys):
    command = (command,) if isinstance(command, str) else command
    root = tmp_path / "images"
    for kind in ("absent", "empty", "another"):
        if kind != "absent":
            root.mkdir(exist_ok=True)
        if kind == "another":
            (root / "Anna_0001.jpg").write_bytes(b"not an image")
        assert run_eval(*command, "--images", root, "--out", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "images" in error
        assert not (tmp_path / "out").exists()


def test_no_threshold(touched, weights, tmp_path, capsys):
    root, names = touched
    np.savez(tmp_path / "e.npz", names=np.array(names), embeddings=np.eye(5))
    arguments = ("false-accepts", "--images", root, "--out", tmp_path / "out")
    silent = save_random_recognizer(tmp_path / "silent.safetensors", verification=None)
    for given in (("--embeddings", tmp_path / "e.npz"), ("--weights", silent)):
        assert run_eval(*arguments, *given) == 1
        assert "--threshold T is needed" in capsys.readouterr().err
    for option, value in (("--threshold", 2), ("--threshold", "nan"), ("--near-duplicate", 1.5)):
        assert run_eval(*arguments, "--embeddings", tmp_path / "e.npz", option, value) == 1
        assert f"{option}: a similarity" in capsys.readouterr().err
    assert run_eval(*arguments, "--embeddings", tmp_path / "e.npz", "--threshold", 0.96) == 1
    assert "near-duplicates" in capsys.readouterr().err


def test_sets_without_landmarks_are_not_aligned_by_them(touched, weights, tmp_path, capsys):
    root, _ = touched
    for command in (("age", "--protocol", "utkface"), ("false-accepts",)):
        arguments = (*command, "--images", root, "--out", tmp_path / "out", "--weights", weights, "--align", "points")
        assert run_eval(*arguments) == 1
        assert "the set has no landmarks" in capsys.readouterr().err


def test_without_a_recogniser(touched, tmp_path, capsys, monkeypatch):
    root, _ = touched
    monkeypatch.setitem(sys.modules, "cascade.recognize", None)
    for command, option in ((("age", "--protocol", "utkface"), "--ages"), (("false-accepts",), "--embeddings")):
        assert run_eval(*command, "--images", root, "--out", tmp_path / "out") == 1
        assert f"has no recogniser: give {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("age", "--images", "x", "--out", "y"), ("age", "--protocol", "lfw"), ("false-accepts", "--out", "y")]
)
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        run_eval(*arguments)
    assert exit_.value.code == 2
