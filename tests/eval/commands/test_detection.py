"""The command line: every report, subsets said to be subsets, and bad input refused before any figure."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from cascade.datasets import Dataset
from eval.commands import wider as wider_command
from eval.commands.main import main
from eval.detection.predictions import to_json
from eval.detection.running import OurDetector
from eval.detection.test_sets import read_set
from tests.eval.helpers import (
    found,
    run_eval,
    save_coco,
    save_data_root,
    save_fddb,
    save_predictions,
    save_wider,
    summary,
)
from tests.photos import FACE_BOX, portrait

FACES = {"e--x/1": [(10, 10, 40, 40)], "e--x/2.g": [(10, 10, 40, 40), (100, 100, 30, 30)], "f--y/3": [(5, 5, 60, 60)]}
HITS = {
    "e--x/1": [(10, 10, 40, 40, 0.9)],
    "e--x/2.g": [(10, 10, 40, 40, 0.8), (300, 300, 20, 20, 0.7)],
    "f--y/3": [(5, 5, 60, 60, 0.6)],
}
COMMON_KEYS = {
    *("task", "detector", "photos", "photos_in_set", "faces", "subset", "broken_photos", "missing_predictions"),
    *("unknown_predictions", "problems", "settings", "weights_sha256", "compared", "command", "version", "seconds"),
}


def rows_of(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def is_picture(file):
    image = cv2.imread(str(file))
    return image is not None and min(image.shape[:2]) > 300 and image.std() > 5


@pytest.fixture
def wider(tmp_path):
    truth = save_wider(tmp_path / "gt", FACES)
    return truth, save_predictions(tmp_path / "predictions", HITS), tmp_path / "out"


def test_wider_report(wider, capsys):
    truth, predictions, out = wider
    assert run_eval("wider", "--ground-truth", truth, "--predictions", predictions, "--out", out) == 0
    report = summary(out)
    assert report.keys() >= COMMON_KEYS | {"easy", "medium", "hard", "ap", "faces_counted"}
    # Three of four faces found; the third after a false alarm, so at precision 3/4.
    assert report["hard"] == report["ap"]["hard"] == pytest.approx(0.25 + 0.25 + 0.25 * 0.75)
    assert (report["photos"], report["faces"], report["subset"]) == (3, 4, None)
    assert report["command"].startswith("python -m eval wider --ground-truth")
    assert len(rows_of(out / "curves.csv")) == 3000
    assert rows_of(out / "curves.csv")[0]["photos"] == "3 of 3"
    assert is_picture(out / "curves.png")
    assert "0.6875" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["curves.csv", "curves.png", "summary.json"]


def test_wider_subset_is_said_to_be_one(wider, capsys):
    truth, predictions, out = wider
    (predictions / "f--y" / "3.txt").unlink()
    (predictions / "f--y" / "4.txt").write_text("4\n0\n")
    arguments = ("wider", "--ground-truth", truth, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments, "--missing", "leave-out") == 0
    report = summary(out)
    assert report["subset"] == "2 of 3 photos"
    assert report["hard"] == pytest.approx(2 / 3)
    assert (report["missing_predictions"], report["unknown_predictions"]) == (1, 1)
    printed = capsys.readouterr()
    assert "2 of 3 photos" in printed.out
    assert "f--y/3" in printed.err
    assert "f--y/4" in printed.err
    assert rows_of(out / "curves.csv")[0]["photos"] == "2 of 3"
    assert run_eval(*arguments, "--missing", "count") == 0
    assert (summary(out)["subset"], summary(out)["hard"]) == (None, 0.5)


def test_wider_counts_photos_without_a_prediction_as_the_official_tool_does(wider, capsys):
    truth, predictions, out = wider
    (predictions / "f--y" / "3.txt").unlink()
    arguments = ("wider", "--ground-truth", truth, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments) == 0
    report = summary(out)
    assert (report["subset"], report["photos"], report["missing_predictions"]) == (None, 3, 1)
    assert report["settings"]["missing"] == "count"
    assert report["hard"] == 0.5
    assert "no entry for 1 photos (f--y/3)" in capsys.readouterr().err


def test_wider_leaves_photos_out_where_the_ground_truth_is_a_subset(wider, monkeypatch):
    truth, predictions, out = wider
    every = wider_command.read_wider
    monkeypatch.setattr(wider_command, "read_wider", lambda *a, **k: Dataset("part", tuple(every(*a, **k))[1:]))
    (predictions / "f--y" / "3.txt").unlink()
    arguments = ("wider", "--ground-truth", truth, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments) == 0
    report = summary(out)
    assert (report["subset"], report["settings"]["missing"]) == ("1 of 3 photos", "leave-out")
    assert run_eval(*arguments, "--missing", "count") == 0
    assert summary(out)["subset"] == "2 of 3 photos"


def test_fddb_counts_photos_without_a_detection(fddb):
    folds, detections, out = fddb
    detections.write_text("2002/a\n1\n32 42 56 36 0.9\n")
    arguments = ("fddb", "--annotations", folds, "--detections", detections, "--out", out)
    assert run_eval(*arguments) == 0
    report = summary(out)
    assert (report["subset"], report["tpr_at_fp"]["discrete"]["100"]) == (None, pytest.approx(1 / 3))
    assert run_eval(*arguments, "--missing", "leave-out") == 0
    report = summary(out)
    assert (report["subset"], report["tpr_at_fp"]["discrete"]["100"]) == ("1 of 3 photos", 1.0)


def test_wider_reads_zip_and_json(wider, tmp_path):
    import shutil

    truth, predictions, out = wider
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", predictions)
    corners = {name: found(*[(x, y, x + w, y + h, s) for x, y, w, h, s in rows]) for name, rows in HITS.items()}
    (tmp_path / "p.json").write_text(to_json(corners, {"detector": "other", "weights_sha256": "abc"}))
    arguments = ("wider", "--ground-truth", truth, "--predictions", archive)
    assert run_eval(*arguments, "--compare", f"other={tmp_path / 'p.json'}", "--out", out) == 0
    report = summary(out)
    assert report["compared"]["other"]["ap"] == report["ap"]
    assert report["compared"]["other"]["weights_sha256"] == "abc"
    assert {row["detector"] for row in rows_of(out / "curves.csv")} == {"packed", "other"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n1 2 3 4 0.5\n", "1.txt:2"),
        ("1\n1\n1 2 3 x 0.5\n", "1.txt:3"),
        ("1\n1\n1 2 3 4 nan\n", "1.txt:3"),
        ("1\n2\n1 2 3 4 0.5\n1 2 -3 4 0.5\n", "1.txt:4"),
    ],
)
def test_wider_malformed_line_stops_before_any_figure(wider, capsys, text, message):
    truth, predictions, out = wider
    (predictions / "e--x" / "1.txt").write_text(text)
    assert run_eval("wider", "--ground-truth", truth, "--predictions", predictions, "--out", out) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not out.exists()


@pytest.fixture
def fddb(tmp_path):
    folds = save_fddb(tmp_path / "folds", {"2002/a": [(30, 20, 0, 60, 60)], "2002/b": [(30, 20, 0, 60, 60)]})
    save_fddb(folds, {"2003/c": [(30, 20, 0, 60, 60)]}, fold=2)
    detections = tmp_path / "detections.txt"
    detections.write_text("2002/a\n1\n32 42 56 36 0.9\n2002/b\n1\n300 300 9 9 0.8\n2003/c\n1\n32 42 56 36 0.5\n")
    return folds, detections, tmp_path / "out"


def test_fddb_report(fddb, capsys):
    folds, detections, out = fddb
    assert run_eval("fddb", "--annotations", folds, "--detections", detections, "--out", out) == 0
    report = summary(out)
    assert report.keys() >= COMMON_KEYS | {"tpr_at_fp"}
    assert report["tpr_at_fp"]["discrete"] == {key: pytest.approx(2 / 3) for key in ("100", "500", "1000", "2000")}
    assert 0.4 < report["tpr_at_fp"]["continuous"]["2000"] < 2 / 3
    assert report["settings"]["unknown_side"] == 450
    assert (report["photos"], report["faces"], report["subset"]) == (3, 3, None)
    assert is_picture(out / "curves.png")
    assert (out / "DiscROC.txt").read_text() == "0.666667 1 0.5\n0.333333 1 0.8\n0.333333 0 0.9\n"
    assert "0.6667" in capsys.readouterr().out


def test_fddb_folds_are_a_subset(fddb):
    folds, detections, out = fddb
    arguments = ("fddb", "--annotations", folds, "--detections", detections, "--out", out)
    assert run_eval(*arguments, "--folds", 2) == 0
    assert summary(out)["subset"] == "1 of 3 photos"
    assert summary(out)["tpr_at_fp"]["discrete"]["100"] == 1.0


def test_fddb_takes_ellipses_and_the_photos_sizes(fddb, tmp_path):
    folds, detections, out = fddb
    detections.write_text("2002/a\n1\n30 20 0 60 60 0.9\n2002/b\n0\n2003/c\n1\n30 20 0 160 60 0.5\n")
    (tmp_path / "images" / "2002").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "2002" / "a.png"), np.zeros((100, 60, 3), np.uint8))
    arguments = ("fddb", "--annotations", folds, "--detections", detections, "--images", tmp_path / "images")
    assert run_eval(*arguments, "--out", out) == 0
    report = summary(out)
    assert report["tpr_at_fp"]["continuous"]["100"] == pytest.approx(1 / 3)
    assert report["settings"]["photo_sizes_known"] == 1


def test_fddb_order_of_the_file_does_not_matter(fddb):
    folds, detections, out = fddb
    arguments = ("fddb", "--annotations", folds, "--detections", detections, "--out", out)
    assert run_eval(*arguments) == 0
    before, curves = summary(out), (out / "curves.csv").read_bytes()
    blocks = detections.read_text().split("2002/b\n")
    detections.write_text("2002/b\n" + blocks[1] + blocks[0])
    assert run_eval(*arguments) == 0
    after = summary(out)
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    assert (out / "curves.csv").read_bytes() == curves


@pytest.mark.parametrize(
    ("text", "line"), [("2002/a\n2\n1 2 3 4 0.5\n", 2), ("2002/a\n1\n1 2 3 4\n", 3), ("2002/a\n1\n1 2 -3 4 0.5\n", 3)]
)
def test_fddb_malformed_line_stops_before_any_figure(fddb, capsys, text, line):
    folds, detections, out = fddb
    detections.write_text(text)
    assert run_eval("fddb", "--annotations", folds, "--detections", detections, "--out", out) == 1
    printed = capsys.readouterr()
    assert f"detections.txt:{line}:" in printed.err
    assert printed.out == ""
    assert not out.exists()


def test_annotations_with_a_malformed_line_are_refused(fddb, capsys):
    folds, detections, out = fddb
    file = folds / "FDDB-fold-01-ellipseList.txt"
    file.write_text(file.read_text().replace("30 20 0 60 60 1", "30 20 0 60", 1))
    assert run_eval("fddb", "--annotations", folds, "--detections", detections, "--out", out) == 1
    assert "ellipseList.txt:3:" in capsys.readouterr().err
    assert not out.exists()


SMALL_POINTS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], float)


@pytest.fixture
def coco(tmp_path):
    photos = {"a.jpg": [((10, 10, 80, 80), SMALL_POINTS)], "b.jpg": [((10, 10, 80, 80), SMALL_POINTS)]}
    detections = {"a.jpg": found([10, 10, 90, 90, 0.9], landmarks=np.array([np.add(SMALL_POINTS, [4, 0])]))}
    file = tmp_path / "p.json"
    file.write_text(to_json(detections, {"default_score": 0.5}))
    return save_coco(tmp_path / "coco.json", photos), file, tmp_path / "out"


def test_landmark_report(coco, capsys):
    data, predictions, out = coco
    assert run_eval("landmarks", "--data", data, "--predictions", predictions, "--out", out) == 0
    report = summary(out)
    assert report.keys() >= COMMON_KEYS | {"error_interocular", "error_box", "failure_rate", "by_landmark", "by_yaw"}
    assert report["error_interocular"] == pytest.approx(0.1)
    assert report["error_box"] == pytest.approx(0.05)
    assert (report["faces"], report["matched"], report["undetected"]) == (2, 1, 1)
    assert report["settings"]["min_score"] == 0.5
    curve = [row for row in rows_of(out / "curves.csv") if row["normaliser"] == "interocular"]
    assert float(curve[-1]["share_of_all_faces"]) == 0.5
    assert is_picture(out / "curves.png")
    assert "eye distance" in capsys.readouterr().out


def test_landmarks_at_another_score(coco):
    data, predictions, out = coco
    arguments = ("landmarks", "--data", data, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments, "--min-score", 0.95) == 0
    assert summary(out)["matched"] == 0


def test_detection_report(coco, capsys):
    data, predictions, out = coco
    arguments = ("detection", "--data", data, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments, "--compare", f"same={predictions}") == 0
    report = summary(out)
    keys = {"ap", "ap_50_95", "recall", "false_positives", "recall_at_fp_per_photo", "by_size", "fully_labelled"}
    assert report.keys() >= COMMON_KEYS | keys
    assert (report["ap"], report["recall"], report["false_positives"]) == (0.5, 0.5, 0)
    assert report["compared"]["same"]["ap"] == 0.5
    assert report["fully_labelled"] is True
    assert is_picture(out / "curves.png")
    assert "AP 0.5" in capsys.readouterr().out


def test_unlabelled_faces_are_warned_about(coco, capsys, tmp_path):
    data, predictions, out = coco
    content = json.loads(data.read_text())
    content["info"] = {"fully_labelled": False}
    data.write_text(json.dumps(content))
    assert run_eval("detection", "--data", data, "--predictions", predictions, "--out", out) == 0
    assert summary(out)["fully_labelled"] is False
    assert "without a label" in capsys.readouterr().err


def test_detection_takes_a_list_of_photos(coco, tmp_path, capsys):
    data, predictions, out = coco
    (tmp_path / "list.txt").write_text("a.jpg\n")
    arguments = ("detection", "--data", data, "--predictions", predictions, "--out", out)
    assert run_eval(*arguments, "--photos", tmp_path / "list.txt") == 0
    assert (summary(out)["ap"], summary(out)["subset"]) == (1.0, "1 of 2 photos")
    (tmp_path / "list.txt").write_text("c.jpg\n")
    assert run_eval(*arguments, "--photos", tmp_path / "list.txt") == 1
    assert "c.jpg" in capsys.readouterr().err


def test_small_wider_faces_are_left_out(tmp_path):
    truth = save_wider(tmp_path / "gt", {"e/1": [(10, 10, 40, 40), (90, 90, 8, 8)]})
    (tmp_path / "p.json").write_text(to_json({"e/1": found([10, 10, 50, 50, 0.9])}, {}))
    arguments = ("detection", "--data", truth / "wider_face_val.mat", "--predictions", tmp_path / "p.json")
    assert run_eval(*arguments, "--out", tmp_path / "out") == 0
    assert (summary(tmp_path / "out")["ap"], summary(tmp_path / "out")["faces"]) == (1.0, 1)
    assert run_eval(*arguments, "--out", tmp_path / "out", "--min-size", 0) == 0
    assert (summary(tmp_path / "out")["ap"], summary(tmp_path / "out")["faces"]) == (0.5, 2)


def test_predictions_of_other_photos_are_refused(coco, tmp_path, capsys):
    data, predictions, out = coco
    predictions.write_text(json.dumps({"z.jpg": []}))
    assert run_eval("detection", "--data", data, "--predictions", predictions, "--out", out) == 1
    assert "none of its 1 photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("fddb", "--annotations", "x", "--out", "y"),
        ("wider", "--ground-truth", "x", "--out", "y"),
        ("compare", "--data", "x", "--out", "y"),
        ("detection", "--data", "missing.json", "--out", "y"),
        ("landmarks", "--data", "missing.json", "--out", "y"),
        ("detection", "--data", "x.json", "--out", "y", "--compare", "a=b", "--compare", "a=c"),
    ],
)
def test_missing_input_is_an_error(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("wider",), ("nonsense",), ("compare", "--compare", "x")])
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 2


# With the detector itself, on random weights.


@pytest.fixture
def data_root(tmp_path):
    return save_data_root(tmp_path / "data")


@pytest.mark.slow
def test_benchmark_evaluates_all_sets_in_one_go(data_root, random_weights, tmp_path, capsys):
    out = tmp_path / "out"
    # thresholds as low as those of the curve: the file of predictions then has the very faces of the default run
    low = ("--thresholds", 0.2, 0.1, 0.8)
    arguments = ("--data", data_root, "--threads", 1, "--weights", random_weights("paper"), *low)
    assert run_eval("benchmark", *arguments, "--out", out) == 0
    report = summary(out)
    ours = report["detectors"]["cascade"]
    assert set(ours["wider_val"]) >= {"ap", "recall", "false_positives"}
    assert set(ours["net7876"]) >= {"error_interocular", "matched", "faces"}
    assert ours["no_face"]["false_positives"] > 0
    assert (ours["wider_val"]["photos"], ours["broken_photos"]) == (1, 1)
    assert len(ours["weights_sha256"]) == 64
    assert ours["settings"]["min_face_by_set"] == {"wider_val": 12}
    assert ours["gflop_per_photo"]["wider_val"] > ours["gflop_per_photo"]["fddb_single"] > 0
    printed = capsys.readouterr()
    assert "not WIDER FACE AP" in printed.out
    assert "2.jpg" in printed.err
    assert is_picture(out / "curves.png")
    names = {
        "summary.json",
        "table.md",
        "predictions.json",
        "curves.png",
        "wider_val.csv",
        "fddb_single.csv",
        "net7876.csv",
    }
    assert {path.name for path in out.iterdir()} == names
    # What it found, evaluated again from the file: the same figures.
    files = ("--compare", f"again={out / 'predictions.json'}")
    assert (
        run_eval("compare", "--data", data_root, "--set", "fddb_single", "no_face", "net7876", *files, "--out", out)
        == 0
    )
    again = summary(out)["detectors"]["again"]
    # Ours has no other detector beside it there.
    del again["fddb_single"]["recall_at_false_positives_of"], ours["fddb_single"]["recall_at_false_positives_of"]
    for name in ("fddb_single", "no_face", "net7876"):
        assert again[name] == ours[name]


def test_photos_are_listed_for_other_detectors(data_root, capsys):
    assert run_eval("photos", "--data", data_root, "--set", "wider_val", "no_face") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["12 wider/WIDER_val/images/e/1.jpg", "12 wider/WIDER_val/images/e/2.jpg", "0 no_face/test/1.jpg"]


def test_wider_runs_our_detector_on_the_photos_that_are_there(data_root, random_weights, tmp_path, capsys):
    out = tmp_path / "out"
    folder = data_root / "wider"
    arguments = ("wider", "--ground-truth", folder / "wider_face_split", "--images", folder / "WIDER_val" / "images")
    assert run_eval(*arguments, "--weights", random_weights("paper"), "--threads", 1, "--out", out) == 0
    report = summary(out)
    assert (report["subset"], report["broken_photos"]) == ("1 of 3 photos", 1)
    assert report["settings"]["input_rule"] == "original"
    assert len(report["weights_sha256"]) == 64
    again = ("wider", "--ground-truth", folder / "wider_face_split", "--predictions", out / "predictions")
    assert run_eval(*again, "--out", tmp_path / "again") == 0
    assert summary(tmp_path / "again")["ap"] == report["ap"]


def test_fddb_runs_our_detector(random_weights, tmp_path):
    folds = save_fddb(tmp_path / "folds", {"2002/a": [(52, 44, 1.57, 226, 126)], "2002/b": [(52, 44, 1.57, 226, 126)]})
    (tmp_path / "images" / "2002").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images" / "2002" / "a.png"), cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))
    arguments = ("fddb", "--annotations", folds, "--images", tmp_path / "images", "--threads", 1)
    assert run_eval(*arguments, "--weights", random_weights("paper"), "--out", tmp_path / "out") == 0
    report = summary(tmp_path / "out")
    assert (report["photos"], report["subset"], report["settings"]["photo_sizes_known"]) == (1, "1 of 2 photos", 1)
    assert (tmp_path / "out" / "detections.txt").read_text().startswith("2002/a\n")


def test_detector_without_weights_is_an_error(data_root, tmp_path, capsys):
    arguments = ("benchmark", "--data", data_root, "--out", tmp_path / "out", "--weights", tmp_path / "none")
    assert run_eval(*arguments) == 1
    assert "weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_detector(monkeypatch):
    """Fails the test where our detector looks at a photo."""
    monkeypatch.setattr(OurDetector, "__call__", lambda *_: pytest.fail("our detector ran"))


@pytest.mark.parametrize("verb", ["benchmark", "errors", "robustness"])
def test_an_out_that_is_a_file_is_an_error_before_the_work(verb, data_root, no_detector, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run_eval(verb, "--data", data_root, "--set", "fddb_single", "--out", tmp_path / "out") == 1
    assert "out is not a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--set", "fddb_single", "--compare", "other=empty.json"),
            "other: the predictions hold no photo of fddb_single",
        ),
        (("--set", "net7876", "--compare", "other=boxes.json"), "other: landmarks: the detections in"),
        (("--set", "fddb_single", "--compare", "YuNet=boxes.json", "--baseline", "yunet=/nowhere"), "the same name"),
        (("--set", "fddb_single", "--thresholds", "2", "0", "0", "--baseline", "yunet=/nowhere"), "thresholds[0]"),
        (
            ("--set", "fddb_single", "--baseline", "yunet=/nowhere"),
            "--baseline yunet: cannot run /nowhere: No such file",
        ),
        (("--set", "fddb_single", "--score-floor", "nan"), "score_floor: expected 0 to 1, got nan"),
    ],
)
def test_a_benchmark_tells_what_is_wrong_before_the_work(
    options, message, data_root, no_detector, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").write_text("{}")
    photos = {photo.name: [[0, 0, 500, 500, 0.9]] for photo in read_set(data_root, "net7876").photos}
    (tmp_path / "boxes.json").write_text(json.dumps(photos))
    assert run_eval("benchmark", "--data", data_root, "--out", tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_set_of_broken_photos_is_an_error_with_its_name(data_root, tmp_path, capsys):
    for photo in read_set(data_root, "fddb_single").photos:
        photo.path.write_bytes(b"broken")
    assert run_eval("benchmark", "--data", data_root, "--set", "fddb_single", "--out", tmp_path / "out") == 1
    assert "fddb_single: no photo of the set can be read (first: " in capsys.readouterr().err


def test_files_are_evaluated_on_the_photos_that_ours_can_read(data_root, tmp_path):
    readable, broken = (photo.name for photo in read_set(data_root, "wider_val").photos)
    box = [*map(float, FACE_BOX), 0.9]
    (tmp_path / "other.json").write_text(json.dumps({readable: [box], broken: [[0, 0, 50, 50, 0.9]]}))
    arguments = ("--data", data_root, "--set", "wider_val", "--threads", 1, "--out", tmp_path / "out")
    assert run_eval("benchmark", *arguments, "--compare", f"other={tmp_path / 'other.json'}") == 0
    figures = {name: each["wider_val"] for name, each in summary(tmp_path / "out")["detectors"].items()}
    assert {name: each["photos"] for name, each in figures.items()} == {"cascade": 1, "other": 1}
    assert (figures["other"]["ap"], figures["other"]["false_positives"]) == (1, 0)


def test_engines_reads_all_sets_before_the_work(data_root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eval.commands.engines.compare", lambda *_: pytest.fail("a detector ran"))
    shutil.rmtree(data_root / "no_face")
    arguments = ("--data", data_root, "--engine", "torch", "--set", "fddb_single", "no_face", "--out", tmp_path / "out")
    assert run_eval("engines", *arguments) == 1
    assert "no_face" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--min-score", "--min-size"])
def test_numbers_that_are_not_finite_are_wrong_usage(option, capsys):
    with pytest.raises(SystemExit):
        run_eval("detection", "--data", "coco.json", "--out", "out", option, "nan")
    assert f"argument {option}: a finite number expected, got 'nan'" in capsys.readouterr().err
