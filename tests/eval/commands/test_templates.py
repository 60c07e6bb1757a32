"""``python -m eval templates``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.eval.commands.test_recognition import COMMON_KEYS, FGNET, PAIRS, save_fgnet
from tests.eval.helpers import run_eval, summary

DIMENSION = 8


def save(file, people):
    """Write embeddings near a direction of each person's, and return the file."""
    rng = np.random.default_rng(2)
    centres = {person: rng.normal(size=DIMENSION) for person in sorted(set(people.values()))}
    rows = np.array([centres[person] + 0.1 * rng.normal(size=DIMENSION) for person in people.values()])
    np.savez(file, names=np.array(list(people)), embeddings=rows)
    return file


@pytest.fixture
def lfw(tmp_path):
    (tmp_path / "lfw").mkdir()
    (tmp_path / "pairs.txt").write_text(PAIRS)
    names = {f"lfw/{name}/{name}_000{number}.jpg": name for name in "ABCD" for number in (1, 2)}
    file = save(tmp_path / "e.npz", names)
    return ("templates", "--protocol", "lfw", "--images", tmp_path / "lfw", "--embeddings", file, "--bits", 16, 64)


def test_lfw(lfw, tmp_path, capsys):
    assert run_eval(*lfw, "--pairs", tmp_path / "pairs.txt", "--out", tmp_path / "out") == 0
    report = summary(tmp_path / "out")
    assert report.keys() >= COMMON_KEYS | {"keys", "kinds"}
    kinds = report["kinds"]
    assert list(kinds) == ["embeddings", "rotation", "16 signs", "64 signs"]
    assert kinds["embeddings"] == {"accuracy": 1.0, "eer": 0.0}
    rotation = kinds["rotation"]
    assert (rotation["accuracy"], rotation["accuracy_std"], rotation["eer"]) == (1.0, 0.0, 0.0)
    assert rotation["cosine_with_key"] == pytest.approx(1)
    assert list(rotation["cosine_known_pairs"]) == ["4"]  # of eight photos
    assert 0.7 < kinds["16 signs"]["cosine_with_key"] < kinds["64 signs"]["cosine_with_key"] < 1
    assert "64 signs" in capsys.readouterr().out


def test_fgnet(tmp_path, capsys):
    root = save_fgnet(tmp_path / "fgnet", FGNET)
    file = save(tmp_path / "e.npz", {name: name[:3] for name in FGNET})
    arguments = ("templates", "--protocol", "fgnet-loo", "--images", root, "--embeddings", file, "--bits", 64)
    assert run_eval(*arguments, "--keys", 2, "--out", tmp_path / "out") == 0
    kinds = summary(tmp_path / "out")["kinds"]
    assert (kinds["embeddings"]["rank1"], kinds["rotation"]["rank1"]) == (1.0, 1.0)
    assert "rank1" in capsys.readouterr().out


def test_options_that_do_not_fit(lfw, tmp_path, capsys):
    pairs = ("--pairs", tmp_path / "pairs.txt")
    for options, reason in (
        ((), "needs --pairs FILE"),
        ((*pairs, "--folds", 1), "at least two of the list's folds"),
        ((*pairs, "--folds", 1, 99), "there is no fold 99"),
        ((*pairs, "--keys", 1), "--keys: at least 2 expected"),
        ((*pairs, "--bits", 0), "bits: at least 1 expected"),
    ):
        assert run_eval(*lfw, *options, "--out", tmp_path / "out") == 1
        assert reason in capsys.readouterr().err
