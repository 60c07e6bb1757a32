"""``python -m eval verification`` and ``identification``: reports, missed faces, and bad input refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cascade.imaging.alignment import ARCFACE_TEMPLATE
from tests.eval.helpers import is_picture, rows_of, run_eval, summary
from tests.photos import portrait

COMMON_KEYS = {
    *("task", "protocol", "model", "photos", "missed_faces", "broken_photos", "missing_embeddings", "problems"),
    *("settings", "weights_sha256", "embeddings_sha256", "command", "version", "seconds"),
}
PAIRS = "2 2\nA 1 2\nB 1 2\nA 1 B 1\nA 2 B 2\nC 1 2\nD 1 2\nC 1 D 1\nC 2 D 2\n"


def save(file, embeddings):
    """Write name → angle in degrees, None for a missed face."""
    turn = np.radians([np.nan if each is None else each for each in embeddings.values()])
    np.savez(file, names=np.array(list(embeddings)), embeddings=np.column_stack([np.cos(turn), np.sin(turn)]))
    return file


@pytest.fixture
def lfw(tmp_path):
    (tmp_path / "lfw").mkdir()
    (tmp_path / "pairs.txt").write_text(PAIRS)
    angles = {"A_0001": 0, "A_0002": 10, "B_0001": 40, "B_0002": 60}
    angles |= {"C_0001": 5, "C_0002": 20, "D_0001": -30, "D_0002": 65}
    file = save(tmp_path / "e.npz", {f"lfw/{name[0]}/{name}.jpg": angle for name, angle in angles.items()})
    arguments = ("verification", "--protocol", "lfw", "--images", tmp_path / "lfw", "--pairs", tmp_path / "pairs.txt")
    return (*arguments, "--out", tmp_path / "out", "--embeddings"), file, angles


def test_verification_report(lfw, tmp_path, capsys):
    arguments, file, _ = lfw
    assert run_eval(*arguments, file) == 0
    report = summary(tmp_path / "out")
    keys = {"accuracy", "accuracy_std", "eer", "tar_at_far", "by_age_gap", "by_fold", "pairs", "subset"}
    assert report.keys() >= COMMON_KEYS | keys
    # Fold 1: mates 10 and 20 apart, others 40 and 50. Fold 2: mates 15 and 95, others 35 and 45.
    # The thresholds, near 27 and 32 degrees, make one mistake: they reject the mates 95 apart.
    assert (report["accuracy"], report["pairs"], report["subset"]) == (0.875, 8, None)
    assert [each["accuracy"] for each in report["by_fold"]] == [1.0, 0.75]
    assert report["accuracy_std"] == pytest.approx(0.25 / np.sqrt(2))
    assert report["tar_at_far"] == {"1e-2": 0.75, "1e-3": 0.75, "1e-4": 0.75}
    # From 35 degrees on one of four others is accepted, while one of four mates is rejected.
    assert report["eer"] == 0.25
    assert (report["by_age_gap"], report["missed_faces"], report["problems"]) == (None, 0, [])
    assert report["command"].startswith("python -m eval verification --protocol lfw")
    assert len(report["embeddings_sha256"]) == 64
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["roc.csv", "roc.png", "summary.json"]
    assert is_picture(tmp_path / "out" / "roc.png")
    roc = rows_of(tmp_path / "out" / "roc.csv")
    assert (roc[0]["curve"], roc[0]["far"], roc[-1]["far"]) == ("all", "0", "1")
    printed = capsys.readouterr().out
    assert "0.8750" in printed
    assert "1/4" in printed


def test_folds_take_their_threshold_from_the_other_folds_given(lfw, tmp_path, capsys):
    arguments, file, _ = lfw
    (tmp_path / "pairs.txt").write_text(PAIRS.replace("2 2\n", "3 2\n", 1) + "A 1 2\nA 2 1\nC 1 B 1\nC 2 B 2\n")
    assert run_eval(*arguments, file, "--folds", 2, 1) == 0
    report = summary(tmp_path / "out")
    assert [each["fold"] for each in report["by_fold"]] == [1, 2]
    assert (report["accuracy"], report["subset"], report["pairs_in_set"]) == (0.875, "8 of 12 pairs", 12)
    assert "8 of 12 pairs" in capsys.readouterr().out
    for folds, message in (((4, 1), "no fold 4"), ((1,), "at least two")):
        for embeddings in (file, tmp_path / "none.npz"):  # said before the embeddings are read or made
            assert run_eval(*arguments, embeddings, "--folds", *folds) == 1
            assert message in capsys.readouterr().err


def test_missed_faces_fail_unless_left_out(lfw, tmp_path, capsys):
    arguments, _, angles = lfw
    rows = {f"{name[0]}/{name}": angle for name, angle in angles.items() if name != "C_0001"} | {"B/B_0002": None}
    file = save(tmp_path / "missed.npz", rows)
    assert run_eval(*arguments, file) == 0
    report = summary(tmp_path / "out")
    # B's and C's photo are in two pairs each, all four of which are wrong now. Fold 1 has mates 10 apart and others
    # 40, fold 2 mates 95 and others 45: accepting all of fold 2 is as good as rejecting all, and the first is taken.
    assert (report["missed_faces"], report["missing_embeddings"], report["missed_pairs"]) == (2, 1, 4)
    assert [each["accuracy"] for each in report["by_fold"]] == [0.25, 0.25]
    assert report["tar_at_far"]["1e-2"] == 0.25
    assert "C/C_0001" in capsys.readouterr().err
    assert run_eval(*arguments, file, "--missed", "leave-out") == 0
    report = summary(tmp_path / "out")
    assert (report["pairs"], report["subset"], report["missed_faces"]) == (4, "4 of 8 pairs", 2)
    assert report["settings"]["missed"] == "leave-out"


def test_by_age_gap(tmp_path, capsys):
    # Twenty pairs of AgeDB-30 with ages in the names: mates 10 apart, others 60.
    lines, angles = [], {}
    for k in range(20):
        a, b = f"{k}_P{k}_20_f", f"{k + 50}_P{k if k % 2 else k + 30}_{23 + 2 * (k // 2)}_m"
        lines.append(f"{a}.jpg {b}.jpg {k % 2}")
        angles |= {a: 7 * k, b: 7 * k + (10 if k % 2 else 60)}
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    arguments = ("verification", "--protocol", "agedb30", "--images", tmp_path, "--pairs", tmp_path / "pairs.txt")
    assert run_eval(*arguments, "--embeddings", save(tmp_path / "e.npz", angles), "--out", tmp_path / "out") == 0
    report = summary(tmp_path / "out")
    assert report["accuracy"] == 1.0
    # Gaps of the ten mates: 3, 5, 7, … 21 years.
    counts = {name: each["genuine_pairs"] for name, each in report["by_age_gap"].items()}
    assert counts == {"0-5": 1, "5-10": 3, "10-20": 5, "20-30": 1, "30+": 0}
    assert report["by_age_gap"]["5-10"] == {
        "genuine_pairs": 3,
        "eer": 0.0,
        "tar_at_far": dict.fromkeys(report["tar_at_far"], 1.0),
    }
    assert report["by_age_gap"]["30+"]["eer"] is None
    assert {row["curve"] for row in rows_of(tmp_path / "out" / "roc.csv")} > {"all", "20-30 years"}
    assert "10-20" in capsys.readouterr().out


def test_cacd_vs_needs_no_list(tmp_path, touch_cacd, capsys):
    images, rows = touch_cacd
    arguments = ("verification", "--protocol", "cacd-vs", "--images", images, "--out", tmp_path / "out")
    assert run_eval(*arguments, "--embeddings", save(tmp_path / "e.npz", rows), "--pairs", "x") == 0
    report = summary(tmp_path / "out")
    assert (report["accuracy"], report["pairs"], len(report["by_fold"])) == (1.0, 800, 2)
    assert "--pairs is not read" in capsys.readouterr().err


@pytest.fixture
def touch_cacd(tmp_path):
    images = tmp_path / "CACD_VS"
    images.mkdir()
    rows = {}
    for k in range(800):
        for side in (0, 1):
            (images / f"{k:04d}_{side}.jpg").write_bytes(b"not an image")
            rows[f"{k:04d}_{side}"] = k % 360 + side * (5 if k % 400 < 200 else 90)
    return images, rows


class FakeRecognizer:
    """Embeds a crop by the mean colours of its quarters; weights are told by name."""

    def __init__(self, weights=None, flip=False):
        name = (weights or "light") + (", mirrored too" if flip else "")
        self.weights, self.flip = SimpleNamespace(name=name, sha256="0" * 64), flip

    def embed_crops(self, crops):
        assert crops.shape[1:] == (112, 112, 3)
        rows = crops.reshape(len(crops), 2, 56, 2, 56, 3).mean(axis=(2, 4)).reshape(len(crops), -1) - 127.4
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def recognizer(monkeypatch):
    monkeypatch.setitem(sys.modules, "cascade.recognize", SimpleNamespace(Recognizer=FakeRecognizer))


def person(seed, age):
    """A crop-sized picture of four coloured quarters that grow darker with age; points as in the template."""
    quarters = np.random.default_rng(seed).integers(30, 226, (2, 2, 3)) * (1 - age / 200)
    return np.repeat(np.repeat(quarters, 56, axis=0), 56, axis=1).astype(np.uint8)


def save_fgnet(root, photos):
    for folder in ("images", "points"):
        (root / folder).mkdir(parents=True)
    points = np.zeros((68, 2))
    points[[31, 36, 67, 48, 54]] = ARCFACE_TEMPLATE
    text = "".join(f"{x} {y}\n" for x, y in points)
    for name in photos:
        picture = person(int(name[:3]), int(name[4:6]))
        cv2.imwrite(str(root / "images" / f"{name}.png"), picture[..., ::-1])
        (root / "points" / f"{name.lower()}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{text}}}\n")
    return root


FGNET = ("001A02", "001A40", "002A10", "002A12", "003A05", "004A30", "004A33")


@pytest.fixture
def fgnet(tmp_path):
    root = save_fgnet(tmp_path / "fgnet", FGNET)
    return ("identification", "--protocol", "fgnet-loo", "--images", root, "--out", tmp_path / "out")


def test_fgnet_with_our_recogniser_and_the_given_points(fgnet, recognizer, tmp_path, capsys):
    assert run_eval(*fgnet, "--align", "points", "--weights", "mine") == 0
    report = summary(tmp_path / "out")
    assert report.keys() >= COMMON_KEYS | {"rank1", "cmc", "eer", "tar_at_far", "by_age_gap", "probes", "people"}
    assert (report["model"], report["weights_sha256"]) == ("mine", "0" * 64)
    assert (report["rank1"], report["cmc"], report["missed_faces"]) == (1.0, [1.0] * 4, 0)
    assert (report["photos"], report["probes"], report["people"]) == (7, 6, 4)
    assert (report["genuine_pairs"], report["impostor_pairs"]) == (3, 18)
    assert report["by_age_gap"]["0-5"]["probes"] == 4
    assert report["by_age_gap"]["30+"]["genuine_pairs"] == 1
    # Of six probes one is 2 years old, two are 10 and 12, three grown up; the child of 5 has a single photo.
    by_age = {band: (each["probes"], each["searches"], each["rank1"]) for band, each in report["by_age"].items()}
    assert by_age == {"0-5": (1, 1, 1.0), "6-12": (2, 2, 1.0), "13-18": (0, 0, None), "19+": (3, 3, 1.0)}
    assert report["settings"] == {"align": "points", "missed": "fail"}
    names = ["cmc.csv", "cmc.png", "embeddings.npz", "roc.csv", "roc.png", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert is_picture(tmp_path / "out" / "cmc.png")
    assert is_picture(tmp_path / "out" / "roc.png")
    assert rows_of(tmp_path / "out" / "cmc.csv")[0] == {"search": "leave-one-out", "rank": "1", "share": "1"}
    assert "leave-one-out" in capsys.readouterr().out


def test_mirror_images_are_embedded_too_where_asked_for(fgnet, recognizer, tmp_path):
    assert run_eval(*fgnet, "--align", "points", "--flip") == 0
    report = summary(tmp_path / "out")
    assert report["model"] == "light, mirrored too"
    assert report["settings"] == {"align": "points", "flip": True, "missed": "fail"}


def test_mirror_images_of_a_file_of_embeddings(fgnet, tmp_path, capsys):
    file = save(tmp_path / "e.npz", {f"{name}.png": 10.0 for name in FGNET})
    assert run_eval(*fgnet, "--flip", "--embeddings", file) != 0
    assert "--flip: the embeddings of a file stay as they are" in capsys.readouterr().err


def test_children_and_photos_long_after_each_other(tmp_path, capsys):
    ages = {"001A05": 0, "001A12": 10, "001A30": 30, "002A08": 60, "002A12": 75, "002A40": 120}
    root = save_fgnet(tmp_path / "fgnet", ages)
    file = save(tmp_path / "e.npz", {f"{name}.png": angle for name, angle in ages.items()})
    arguments = ("cross-age", "--images", root, "--out", tmp_path / "out", "--embeddings")
    assert run_eval(*arguments, file) == 0
    kinds = summary(tmp_path / "out")["kinds"]
    # children: 5, 12, 8 and 12 years; cross-age: 5-30 and 8-40, 12-40 of one person, and across
    assert (kinds["children"]["genuine_pairs"], kinds["children"]["impostor_pairs"]) == (2, 4)
    assert kinds["children"]["tar_at_far"]["1e-3"] == 1.0
    assert kinds["cross-age"]["genuine_pairs"] == 3
    assert is_picture(tmp_path / "out" / "roc.png")
    assert "cross-age" in capsys.readouterr().out
    save(file, {f"{name}.png": None if name == "001A05" else angle for name, angle in ages.items()})
    assert run_eval(*arguments, file) == 0
    children = summary(tmp_path / "out")["kinds"]["children"]
    assert (children["missed_pairs"], children["tar_at_far"]["1e-3"]) == (3, 0.5)
    assert run_eval(*arguments, file, "--missed", "leave-out") == 0
    assert summary(tmp_path / "out")["kinds"]["children"]["genuine_pairs"] == 1


def test_a_run_can_be_evaluated_again(fgnet, recognizer, tmp_path):
    (tmp_path / "fgnet" / "images" / "002A12.png").write_bytes(b"broken")
    assert run_eval(*fgnet, "--align", "points") == 0
    first = summary(tmp_path / "out")
    assert (first["missed_faces"], first["broken_photos"], first["rank1"]) == (1, 1, pytest.approx(4 / 6))
    assert "002A12" in first["problems"][0]
    again = tmp_path / "again"
    assert run_eval(*fgnet[:-1], again, "--embeddings", tmp_path / "out" / "embeddings.npz") == 0
    second = summary(again)
    assert {**second, "command": 0, "seconds": 0} == {**first, "command": 0, "seconds": 0}
    assert (again / "cmc.csv").read_bytes() == (tmp_path / "out" / "cmc.csv").read_bytes()


def test_faces_are_looked_for_by_default(recognizer, tmp_path, capsys):
    root = tmp_path / "images"
    root.mkdir()
    colours = portrait()[..., ::-1]
    for name, picture in (("001A30", colours), ("001A31", colours * 0.9), ("002A30", np.zeros((90, 90, 3)))):
        cv2.imwrite(str(root / f"{name}.png"), picture.astype(np.uint8))
    arguments = ("identification", "--protocol", "fgnet-loo", "--images", root, "--out", tmp_path / "out")
    assert run_eval(*arguments, "--min-face", 60, "--threads", 1) == 0
    report = summary(tmp_path / "out")
    assert (report["missed_faces"], report["rank1"]) == (1, 1.0)
    assert report["problems"][-1] == "no face found in 1 photos (002A30.png)"
    assert (report["settings"]["align"], report["settings"]["min_face"]) == ("detect", 60)
    assert len(report["settings"]["detector_sha256"]) == 64
    assert run_eval(*arguments, "--align", "points") == 1
    assert "the set has no landmarks" in capsys.readouterr().err


def test_distractors_make_it_mf1(fgnet, tmp_path, capsys):
    (tmp_path / "strangers" / "s").mkdir(parents=True)
    for name in ("1.jpg", "s/2.jpg"):
        (tmp_path / "strangers" / name).write_bytes(b"not an image")
    angles = {"001A02": 0, "001A40": 20, "002A10": 90, "002A12": 95, "003A05": 40, "004A30": 180, "004A33": 181}
    file = save(tmp_path / "e.npz", angles | {"distractors/1": 10, "distractors/s/2.png": 270})
    assert run_eval(*fgnet, "--embeddings", file, "--distractors", tmp_path / "strangers") == 0
    report = summary(tmp_path / "out")
    # Person 001's photos are 20 apart, and a stranger is 10 from both; the other two people are safe.
    assert report["rank1"] == pytest.approx(4 / 6)
    assert report["by_search"]["leave-one-out"]["rank1"] == pytest.approx(5 / 6)
    assert (report["distractors"], report["searches"], report["people"]) == (2, 6, 3)
    assert {band: each["rank1"] for band, each in report["by_age"].items()} == {
        "0-5": 0.0,
        "6-12": 1.0,
        "13-18": None,
        "19+": pytest.approx(2 / 3),
    }
    assert {row["search"] for row in rows_of(tmp_path / "out" / "cmc.csv")} == {"MF1", "leave-one-out"}
    assert "MF1" in capsys.readouterr().out


def test_distractors_are_embedded_and_kept(fgnet, recognizer, tmp_path, capsys):
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    cv2.imwrite(str(strangers / "1.png"), portrait()[..., ::-1])
    cv2.imwrite(str(strangers / "2.png"), np.zeros((90, 90, 3), np.uint8))
    (strangers / "3.png").write_bytes(b"broken")
    arguments = (*fgnet, "--align", "points", "--distractors", strangers)
    assert run_eval(*arguments, "--min-face", 60, "--threads", 1) == 0
    report = summary(tmp_path / "out")
    # The set's own landmarks for its photos; the strangers have none, so they are looked for.
    assert (report["missed_faces"], report["distractors"], report["missed_distractors"]) == (0, 3, 2)
    assert (report["broken_photos"], report["rank1"]) == (1, 1.0)
    told = " ".join(report["problems"])
    assert "3.png" in told
    assert "no face found in 1 photos (distractors/2.png)" in told
    assert run_eval(*arguments, "--embeddings", tmp_path / "out" / "embeddings.npz") == 0
    assert summary(tmp_path / "out")["by_search"] == report["by_search"]


def test_gallery_and_probe(tmp_path, capsys):
    angles = {
        "gallery/anna/1.jpg": 0,
        "gallery/bo/1.jpg": 50,
        "probe/anna/1.jpg": 20,
        "probe/bo/2.jpg": 20,
        "probe/cy/1.jpg": 3,
    }
    for name in angles:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"not an image")
    arguments = (
        "identification",
        "--protocol",
        "gallery-probe",
        "--images",
        tmp_path / "set",
        "--out",
        tmp_path / "out",
    )
    assert run_eval(*arguments, "--embeddings", save(tmp_path / "e.npz", angles)) == 0
    report = summary(tmp_path / "out")
    # Both probes are nearer to Anna; nobody knows Cy.
    assert (report["rank1"], report["cmc"], report["searches"], report["by_age_gap"]) == (0.5, [0.5, 1.0], 2, None)
    assert (report["genuine_pairs"], report["impostor_pairs"], report["by_age"]) == (2, 4, None)
    assert is_picture(tmp_path / "out" / "cmc.png")
    assert "gallery and probe" in capsys.readouterr().out


def test_embeddings_of_other_photos_are_refused(lfw, tmp_path, capsys):
    arguments, *_ = lfw
    assert run_eval(*arguments, save(tmp_path / "other.npz", {"x": 1, "y": 2})) == 1
    assert "none of its 2 names is among the photos" in capsys.readouterr().err
    (tmp_path / "other.npz").write_bytes(b"nothing")
    assert run_eval(*arguments, tmp_path / "other.npz") == 1
    assert "not a file of embeddings" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_recogniser_or_list(lfw, tmp_path, capsys, monkeypatch):
    arguments, file, _ = lfw
    monkeypatch.setitem(sys.modules, "cascade.recognize", None)
    assert run_eval(*arguments[:-1]) == 1
    error = capsys.readouterr().err
    assert "has no recogniser: give --embeddings" in error
    assert error.count("\n") == 1
    without = [each for each in arguments if each not in ("--pairs", tmp_path / "pairs.txt")]
    assert run_eval(*without, file) == 1
    assert "needs --pairs FILE" in capsys.readouterr().err
    assert run_eval("verification", "--protocol", "calfw", *arguments[3:], file) == 1
    assert "pairs.txt:4: number 2 expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("verification", "--protocol", "fgnet", "--images", "x", "--out", "y"),
        ("identification", "--protocol", "lfw", "--images", "x", "--out", "y"),
        ("identification", "--images", "x", "--out", "y"),
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        run_eval(*arguments)
    assert exit_.value.code == 2
