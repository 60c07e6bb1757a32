"""The command: how many faces are hidden, and whether hidden ones are recognised."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cascade.datasets import REGISTRY
from cascade.imaging.alignment import AlignError, align
from cascade.imaging.reading import read_image
from eval.anonymize.people import read_subjects
from tests.eval.helpers import is_picture, rows_of, run_eval, save_data_root, summary
from tests.photos import portrait

QUICK = ("--threads", 1, "--min-face", 40, "--rotations", 0)


def test_coverage(tmp_path, capsys):
    data, out = save_data_root(tmp_path / "data"), tmp_path / "out"
    assert run_eval("anonymize", "--data", data, "--set", "wider_val", "--out", out, *QUICK) == 0
    told = summary(out)
    assert (told["set"], told["photos"], told["faces"], told["recall"]) == ("wider_val", 1, 1, 1.0)
    assert 0 < told["outside"] < 0.05
    assert "2.jpg" in told["problems"][0]
    assert told["settings"]["hiding"]["method"] == "blur"
    assert {float(row["min_score"]) for row in rows_of(out / "curves.csv")} >= {0.1, 0.45, 0.9}
    assert is_picture(out / "curves.png")
    assert "100.0 % hidden" in capsys.readouterr().out


def test_recovery(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--data", save_people(tmp_path), "--set", "lfw_pairs", "--methods", "solid", "--threads", 1)
    assert run_eval("anonymize", *arguments, "--out", out) == 0
    told = summary(out)
    assert (told["people"], told["chance_rank1"]) == (2, 0.5)
    assert told["found"]["visible"] == 1
    assert told["found"]["solid"] == 0
    assert {row["hidden by"] for row in rows_of(out / "recovery.csv")} >= {"visible", "solid"}
    assert told["problems"] == []
    assert "2 people, chance at rank 1: 0.5000" in capsys.readouterr().out


def test_photos_that_cannot_be_used_do_not_take_the_others_along(tmp_path, monkeypatch):
    data = save_people(tmp_path)
    (data / "lfw/images/A9/A9_0002.jpg").write_bytes(b"broken")
    crooked = read_image(data / "lfw/images/A3/A3_0001.jpg")

    def refuse_one(image, landmarks):
        if np.array_equal(image, crooked):
            raise AlignError("landmarks[0]: points: expected points apart from each other")
        return align(image, landmarks)

    monkeypatch.setattr("eval.anonymize.people.align", refuse_one)
    probes, gallery, others, problems = read_subjects(REGISTRY, data, "lfw_pairs", 20, 1)
    assert [each.person for each in probes] == [each.person for each in gallery] == ["A10"]
    assert len(others) == 14 and not {"A3", "B3"} & {each.person for each in others}  # their photos are alike
    assert len(problems) == 3
    assert all(any(name in problem for problem in problems) for name in ("A9_0002", "A3_0001", "B3_0001"))


def save_people(root):
    """LFW's layout with two photos of one person and one of another in each of ten folds."""
    lines = ["10\t1"]
    for fold in range(1, 11):
        for person, count in ((f"A{fold}", 2), (f"B{fold}", 1)):
            folder = root / "lfw/images" / person
            folder.mkdir(parents=True)
            for number in range(1, count + 1):
                image = np.clip(portrait()[10:240, 110:340].astype(int) + 3 * fold - 5 * number, 0, 255)
                Image.fromarray(image.astype(np.uint8)).save(folder / f"{person}_{number:04d}.jpg")
        lines += [f"A{fold}\t1\t2", f"A{fold}\t1\tB{fold}\t1"]
    (root / "lfw/pairs.txt").write_text("\n".join(lines) + "\n")
    return root
