"""``python -m eval clustering``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.eval.commands.test_recognition import COMMON_KEYS, PAIRS
from tests.eval.helpers import is_picture, rows_of, run_eval, summary

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install --group eval")

DIMENSION = 16
PEOPLE = "ABCD"


@pytest.fixture
def lfw(tmp_path):
    """Photos by name alone, and a file of embeddings near a direction of each person's."""
    rng = np.random.default_rng(1)
    names = [f"{person}/{person}_000{number}.jpg" for person in PEOPLE for number in (1, 2)]
    for name in names:
        (tmp_path / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / name).write_bytes(b"not read")
    centres = np.eye(DIMENSION)[: len(PEOPLE)]
    rows = np.repeat(centres, 2, axis=0) + 0.05 * rng.normal(size=(len(names), DIMENSION))
    rows[3] = np.nan
    np.savez(tmp_path / "e.npz", names=np.array(names), embeddings=rows)
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return ("clustering", "--images", tmp_path / "lfw", "--embeddings", tmp_path / "e.npz")


def test_folders(lfw, tmp_path, capsys):
    words = ("--protocol", "folders", "--threshold", 0.5, "--out", tmp_path / "out")
    assert run_eval(*lfw, *words, "--time", 50) == 0
    report = summary(tmp_path / "out")
    assert report.keys() >= COMMON_KEYS | {"ours", "best", "people", "threshold", "seconds_by_faces"}
    assert (report["people"], report["missed_faces"], report["unclear_faces"]) == (4, 1, 0)
    assert report["ours"]["precision"] == 1.0
    assert report["ours"]["recall"] == pytest.approx(7 / 8)
    assert list(report["best"]) == [
        "cascade, best", "DBSCAN, cores of 2", "DBSCAN, cores of 3", "DBSCAN, cores of 5", "HDBSCAN",
    ]  # fmt: skip
    assert report["seconds_by_faces"]["50"]["processor"] >= 0
    assert {row["method"] for row in rows_of(tmp_path / "out" / "groupings.csv")} == {"cascade", *report["best"]}
    assert is_picture(tmp_path / "out" / "clustering.png")
    printed = capsys.readouterr().out
    assert "folders: 8 photos of 4 people; 1 missed faces" in printed
    assert "50 faces: " in printed


def test_embeddings_of_another_network_need_a_threshold(lfw, tmp_path, capsys):
    assert run_eval(*lfw, "--protocol", "folders", "--out", tmp_path / "out") == 1
    assert "--threshold: embeddings of other weights" in capsys.readouterr().err


def test_missed_faces_can_be_left_out(lfw, tmp_path):
    out = tmp_path / "out"
    assert run_eval(*lfw, "--protocol", "folders", "--missed", "leave-out", "--threshold", 0.7, "--out", out) == 0
    report = summary(out)
    assert (report["ours"]["recall"], report["threshold"], report["ours"]["groups"]) == (1.0, 0.7, 4)


@pytest.mark.parametrize(("folds", "people"), [(("--folds", 1), "AB"), (("--without-folds", 1), "CD")])
def test_folds(lfw, tmp_path, folds, people):
    pairs = ("--pairs", tmp_path / "pairs.txt")
    assert run_eval(*lfw, "--protocol", "lfw", *pairs, *folds, "--threshold", 0.5, "--out", tmp_path / "out") == 0
    assert summary(tmp_path / "out")["people"] == len(people)


@pytest.mark.parametrize("words", [("--protocol", "lfw"), ("--protocol", "lfw", "--folds", 1)])
def test_folds_need_pairs(lfw, tmp_path, capsys, words):
    assert run_eval(*lfw, *words, "--out", tmp_path / "out") == 1
    assert "needs --pairs FILE and --folds N" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_index(tmp_path):
    pytest.importorskip("pyarrow")
    from tests.archive.people_helpers import ANN, BOB, face, save_index

    index = save_index(tmp_path / "index", [[face(ANN, 1)], [face(ANN, 2)], [face(BOB)], [face(BOB, 2)]], written=True)
    for at, person in enumerate(("ann", "ann", "bob", "bob")):
        place = tmp_path / "photos" / f"{at}.png"
        (tmp_path / "people" / person).mkdir(parents=True, exist_ok=True)
        (tmp_path / "people" / person / f"{at}.png").hardlink_to(place)
    words = ("clustering", "--protocol", "folders", "--images", tmp_path / "people", "--index", index.folder)
    assert run_eval(*words, "--out", tmp_path / "out") == 1  # the index has other paths
    words = ("clustering", "--protocol", "folders", "--images", tmp_path, "--index", index.folder)
    assert run_eval(*words, "--threshold", 0.6, "--out", tmp_path / "out") == 0
    report = summary(tmp_path / "out")
    assert report["model"] == "light"
    assert report["ours"]["largest"] == 2
