"""``python -m benchmarks fps`` measures what it says, beside baselines in alternation, and goes on where one fails."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import statistics
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import commands, fps, fps_report, instructions
from benchmarks.fps import Measured, Settings, Variant, load, measure
from benchmarks.peak import Peak
from benchmarks.scenes import scene
from benchmarks.timing import Timing, ratio, shared_faces
from cascade import _native
from cascade.detect import Detector
from cascade.models.detector import load_detector
from eval.baselines.client import BaselineError
from eval.detection.operations import CountingDetector
from tests.benchmarks.helpers import run, shared
from tests.photos import PORTRAIT

SMALL = ("fps", "--runs", 2, "--size", "160x120", "--scene", "one")


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch):
    """The peak is measured in its own tests."""
    monkeypatch.setattr(commands, "one_core", lambda: Peak(50.0, "nothing"))


def timing(name, times, boxes=()):
    return Timing(name, times, np.array(boxes, np.float32).reshape(-1, 4))


class StubBaseline:
    """A baseline that logs when it detects, and fails in its ``fails``-th detection."""

    def __init__(self, name, log, fails=None, opens=True):
        self.name, self.log, self.fails, self.opens = name, log, fails, opens
        self.image = None

    def open(self, image, min_face):
        if not self.opens:
            raise BaselineError(f"{self.name}: cannot")
        self.image = cv2.imread(str(image))[..., ::-1]

    def detect(self):
        self.log.append(self.name)
        if self.log.count(self.name) == self.fails:
            raise BaselineError(f"{self.name}: broke")
        return 5.0, np.zeros((1, 4), np.float32)


# --------------------------------------------------------------------------------------------------
# Comparing


def test_a_face_is_shared_from_half_overlap_on():
    ours = timing("cascade", [1.0], [[0, 0, 10, 10], [100, 100, 120, 120]])
    assert shared_faces(ours, timing("baseline", [1.0], [[0, 0, 10, 10], [50, 50, 60, 60]])) == 1
    assert shared_faces(ours, timing("baseline", [1.0], [[0, 0, 10, 5.1]])) == 1
    assert shared_faces(ours, timing("baseline", [1.0], [[0, 0, 10, 4.9]])) == 0
    assert shared_faces(ours, timing("baseline", [1.0])) == 0


def test_one_box_of_ours_stands_for_one_face():
    ours = timing("cascade", [1.0], [[0, 0, 10, 10]])
    twice = timing("baseline", [1.0], [[0, 0, 10, 9], [0, 1, 10, 10]])
    assert shared_faces(ours, twice) == 1
    both = timing("cascade", [1.0], [[0, 0, 10, 9], [0, 1, 10, 10]])
    assert shared_faces(both, twice) == 2


def test_ratio_is_the_median_of_pairs():
    assert ratio([1.0, 2.0, 1.0], [10.0, 40.0, 30.0]) == 20.0


def test_figures_of_a_timing():
    some = timing("cascade", [2.0, 4.0, 100.0])
    assert some.median == 4.0 and some.fps == 250.0
    assert some.p95 == pytest.approx(np.percentile([2, 4, 100], 95))


def test_share_is_arithmetic_over_time_and_peak():
    # 2 GFLOP in a median of 40 ms are 50 GFLOP/s.
    assert Measured("photo", 64, 48, 2.0, [timing("cascade", [40.0])]).share_of(200.0) == pytest.approx(0.25)


# --------------------------------------------------------------------------------------------------
# Measuring


def test_detections_alternate_in_the_same_pixels(monkeypatch):
    log = []
    plain = Detector.detect
    monkeypatch.setattr(Detector, "detect", lambda self, image: log.append("ours") or plain(self, image))
    image = scene("one", 96, 80).image
    first, second = StubBaseline("a", log), StubBaseline("b", log)
    measured = measure("photo", image, Settings(runs=3), load_detector(), [first, second], lambda: log.append("|"))
    assert " ".join(log[-12:]) == "ours a b | ours a b | ours a b |"
    assert log[:-12] == ["ours", "ours"]  # untimed
    assert (first.image == image).all() and (second.image == image).all()
    assert [t.name for t in measured.timings] == ["cascade", "a", "b"]
    assert [len(t.times) for t in measured.timings] == [3, 3, 3]


def test_times_of_a_batch_are_those_of_one_photo(monkeypatch):
    seen = []

    def at_once(self, images):
        seen.append(len(images))
        time.sleep(0.1)

    monkeypatch.setattr(Detector, "detect_batch", at_once)
    measured = measure("photo", scene("none", 96, 80).image, Settings(runs=2, batch=20), load_detector())
    assert seen == [20] * 3  # the first is not timed
    assert all(5 <= each < 20 for each in measured.timings[0].times)


def test_work_and_faces_are_those_of_one_detection():
    image = scene("six", 160, 120).image
    measured = measure("photo", image, Settings(runs=2, min_face=16), load_detector())
    counting = CountingDetector(min_face=16, threads=1)
    faces = counting.detect(image)
    assert measured.gflop == pytest.approx(counting.gflop) and counting.gflop > 0
    assert (measured.timings[0].boxes == faces.boxes).all() and len(faces) == 6
    # the landmark network looks once at every face
    lnet = counting.weights["lnet"].architecture.multiply_adds()
    assert counting.multiply_adds["lnet"] == 6 * lnet


def test_a_baseline_that_fails_leaves_the_others_their_times():
    log = []
    baselines = [StubBaseline("a", log, opens=False), StubBaseline("b", log, fails=2), StubBaseline("c", log)]
    measured = measure("photo", scene("one", 96, 80).image, Settings(runs=4), load_detector(), baselines)
    assert [(t.name, len(t.times)) for t in measured.timings] == [("cascade", 4), ("c", 4)]
    assert measured.failures == ["a: cannot", "b: broke"]
    assert log.count("b") == 2


def test_photos_keep_their_size_unless_told(tmp_path):
    assert load(PORTRAIT, None)[1].shape == (512, 512, 3)
    name, fitted = load(PORTRAIT, (160, 120))
    assert name == "astronaut.jpg" and fitted.shape == (120, 160, 3)
    assert (fitted[:, :19] == 128).all() and (fitted[:, 25:135] != 128).any()
    assert load("six", None)[1].shape == (480, 640, 3)
    assert load("six", (64, 48))[1].shape == (48, 64, 3)


# --------------------------------------------------------------------------------------------------
# The command


def test_all_scenes_by_default(capsys):
    status, lines, _ = run(capsys, "fps", "--runs", 1, "--size", "320x240")
    assert status == 0
    assert "peak of one core: 50 GFLOP/s" in lines[1]
    rows = [line.split() for line in lines[3:]]
    assert [row[:3] for row in rows] == [[name, "320x240", "cascade"] for name in ("none", "one", "six", "group")]
    assert [int(row[6]) for row in rows] == [0, 1, 6, 26]
    for row in rows:
        median, fps_, gflop, share, rss = (float(row[k].rstrip("%")) for k in (3, 5, 7, 8, 9))
        # times are printed with one decimal
        assert 1e3 / (median + 0.051) - 0.1 <= fps_ <= 1e3 / (median - 0.051) + 0.1
        assert share == pytest.approx(100 * gflop * fps_ / 50, rel=0.05, abs=0.6)
        assert rss > 20


def test_files_hold_settings_and_every_time(capsys, tmp_path):
    out = tmp_path / "new" / "out"
    status, lines, _ = run(capsys, *SMALL, "--image", PORTRAIT, "--min-face", 30, "--batch", 3, "--out", out)
    assert status == 0 and sorted(path.name for path in out.iterdir()) == ["fps.csv", "fps.json"]
    assert lines[0].endswith("2 runs, 3 photos given together")
    written = json.loads((out / "fps.json").read_text())
    weights = load_detector()
    assert written["weights"] == {"name": weights.name, "sha256": weights.sha256}
    expected = {"device": "cpu", "engine": "native", "threads": 1, "min_face": 30, "runs": 2, "peak_gflops": 50}
    expected["batch"] = 3
    assert {key: written[key] for key in expected} == expected
    assert written["machine"]["simd_level"] and written["failures"] == [] and "--min-face 30" in written["command"]
    assert [photo["photo"] for photo in written["photos"]] == ["one", "astronaut.jpg"]
    with open(out / "fps.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(fps_report.HEADER)
    for row, photo in zip(rows, written["photos"], strict=True):
        ours = photo["detectors"][0]
        assert len(ours["times_ms"]) == 2 and len(ours["boxes"]) == ours["faces"] == int(row["faces"]) == 1
        assert float(row["median_ms"]) == pytest.approx(statistics.median(ours["times_ms"]))
        share = float(row["gflop"]) / (1e-3 * float(row["median_ms"])) / 50
        assert float(row["share_of_peak"]) == pytest.approx(share)
        assert (row["width"], row["height"], row["ratio"]) == ("160", "120", "")


def test_a_broken_photo_is_told_in_a_line_and_the_others_are_timed(capsys, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    images = ("--image", tmp_path / "missing.jpg", "--image", tmp_path / "broken.jpg", "--image", PORTRAIT)
    status, lines, errors = run(capsys, "fps", "--runs", 1, "--size", "160x120", *images, "--out", tmp_path / "out")
    assert status == 1
    assert len(errors) == 2 and "missing.jpg" in errors[0] and "broken.jpg" in errors[1]
    assert [line.split()[0] for line in lines[3:]] == ["astronaut.jpg"]
    assert len(json.loads((tmp_path / "out" / "fps.json").read_text())["failures"]) == 2


def test_a_failing_baseline_is_named_in_a_line(capsys):
    status, lines, errors = run(capsys, *SMALL, "--baseline", "yunet=/nowhere/python")
    assert status == 1 and len(lines) == 4
    assert len(errors) == 1 and "yunet" in errors[0] and "/nowhere/python" in errors[0]


def test_baselines_of_this_python_are_timed_beside_ours(capsys, tmp_path):
    model = shared("peers/yunet/yunet_n_640_640.onnx")
    out = tmp_path / "out"
    arguments = (
        "fps",
        "--runs",
        2,
        "--size",
        "320x240",
        "--scene",
        "six",
        "--installed-baselines",
        "--yunet-model",
        model,
    )
    status, lines, errors = run(capsys, *arguments, "--out", out)
    assert status == 0 and errors == []
    yunet = next(line for line in lines if line.split()[0] == "yunet").split()
    assert yunet[-4].endswith("x") and yunet[-3:] == ["6", "of", "6"]
    ours, theirs = (json.loads((out / "fps.json").read_text())["photos"][0]["detectors"][k] for k in (0, -1))
    pairs = [b / a for a, b in zip(ours["times_ms"], theirs["times_ms"], strict=True)]
    assert theirs["ratio"] == pytest.approx(statistics.median(pairs)) and theirs["shared_faces"] == 6


def test_absent_baselines_are_told_and_no_failure(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, lines, _ = run(capsys, *SMALL, "--installed-baselines")
    assert status == 0
    assert lines[0].startswith("not timed here: yunet (not installed), facenet-pytorch (not installed), mtcnn (not")


def test_a_machine_without_gpu_says_so_in_a_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, lines, errors = run(capsys, "fps", "--device", "cuda")
    assert (status, len(lines), errors) == (0, 1, []) and "torch is not installed" in lines[0]


def test_torch_without_gpu_says_so_in_a_line(capsys, monkeypatch, tmp_path):
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, lines, errors = run(capsys, "fps", "--device", "cuda", "--out", tmp_path / "out")
    assert (status, len(lines), errors) == (0, 1, []) and "no CUDA device" in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_gpu_is_timed_with_torch_where_there_is_one(capsys, tmp_path):
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    status, lines, _ = run(capsys, *SMALL, "--device", "cuda", "--out", tmp_path / "out")
    assert status == 0 and lines[-1].split()[6] == "1"
    written = json.loads((tmp_path / "out" / "fps.json").read_text())
    assert (written["device"], written["engine"], written["peak_gflops"]) == ("cuda", "torch", None)


@pytest.mark.parametrize("given", ["int8", "float32", None])
def test_precision_is_told_in_the_first_line_and_written(capsys, given, tmp_path):
    options = () if given is None else ("--precision", given)
    told = Detector(precision=given).engine.precision
    status, lines, errors = run(capsys, *SMALL, *options, "--out", tmp_path / "out")
    assert (status, errors) == (0, []) and f", {told}, 1 thread" in lines[0]
    assert json.loads((tmp_path / "out" / "fps.json").read_text())["precision"] == told


def test_simd_levels_are_timed_beside_each_other(capsys, tmp_path):
    first, last = _native.simd_levels()[0], _native.simd_levels()[-1]
    out = tmp_path / "out"
    levels = ("--simd", f"{first}:float32", first, f"{last}:float32")
    status, lines, errors = run(capsys, *SMALL, *levels, "--out", out)
    assert (status, errors) == (0, []) and f"native engine ({first}), float32" in lines[0]
    ours, *others = json.loads((out / "fps.json").read_text())["photos"][0]["detectors"]
    names = [f"cascade {first} float32", f"cascade {first}", f"cascade {last} float32"]
    assert [ours["detector"], *(other["detector"] for other in others)] == names
    assert ours["gflop"] > 0 and ours["ratio"] is None
    for other in others:
        pairs = [b / a for a, b in zip(ours["times_ms"], other["times_ms"], strict=True)]
        assert other["ratio"] == pytest.approx(statistics.median(pairs)) and other["shared_faces"] == 1


def test_levels_run_what_they_say():
    for level in _native.simd_levels():
        for precision in ("int8", "float32", None):
            engine = Settings().of(Variant(level, precision)).detector(load_detector()).engine
            usual = "int8" if _native.int8_is_fast(level) else "float32"
            assert (engine.level, engine.precision) == (level, precision or usual)


def test_instructions_are_counted_of_levels_that_valgrind_knows(monkeypatch):
    totals = iter([1_000, 4_000, 500, 2_000])
    monkeypatch.setattr(instructions, "_instructions", lambda valgrind, arguments: next(totals))
    monkeypatch.setattr(instructions.shutil, "which", lambda name: name)
    others = (Variant("avx512vnni"), Variant("scalar", "float32"))
    counted = instructions.counted(
        Measured("photo", 4, 4, 1.0, []), np.zeros((4, 4, 3), np.uint8), Settings(level="neon", others=others), None
    )
    assert counted.instructions == {"cascade neon": 1_000, "cascade scalar float32": 500}
    assert counted.failures == []


def test_a_missing_valgrind_is_told(monkeypatch):
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    measured = Measured("photo", 4, 4, 1.0, [])
    counted = instructions.counted(measured, np.zeros((4, 4, 3), np.uint8), Settings(level="scalar"), None)
    assert counted.failures == ["cascade: instructions are counted by valgrind, which is missing"]


@pytest.mark.slow
def test_instructions_of_a_detection_are_those_that_valgrind_counts():
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is missing")
    image = scene("one", 96, 80).image
    count = instructions.count(image, Settings(level="scalar"), None)
    assert 1e6 < count < 1e9


def test_torch_engine_finds_the_same(capsys):
    torch = importlib.import_module("torch")
    status, lines, _ = run(capsys, *SMALL, "--engine", "torch")
    assert status == 0 and "torch engine (cpu)" in lines[0] and lines[3].split()[6] == "1"
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--threads", "0"], "--threads"),
        (["--threads", "two"], "--threads"),
        (["--runs", "0"], "--runs"),
        (["--batch", "0"], "--batch"),
        (["--size", "640"], "--size"),
        (["--size", "0x480"], "--size"),
        (["--size", "640x99999"], "--size"),
        (["--min-face", "nan"], "--min-face"),
        (["--min-face", "1"], "--min-face"),
        (["--baseline", "yunet"], "--baseline"),
        (["--baseline", "yunet="], "--baseline"),
        (["--baseline", "retina=python"], "--baseline"),
        (["--scene", "crowd"], "--scene"),
        (["--device", "tpu"], "--device"),
        (["--device", "cuda", "--engine", "native"], "--engine"),
        (["--precision", "int4"], "--precision"),
        (["--simd", "mmx"], "--simd"),
        (["--simd", "scalar:int4"], "--simd"),
        (["--simd", "scalar", "--engine", "torch"], "--simd"),
        (["--precision", "int8", "--engine", "torch"], "precision"),
        (["--weights", "nowhere"], "nowhere"),
        (["--colour"], "--colour"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, word, capsys, monkeypatch):
    monkeypatch.setattr(fps, "measure", None)
    status, lines, errors = run(capsys, "fps", *arguments)
    assert (status, lines, len(errors)) == (2, [], 1) and word in errors[0] and "error" in errors[0]


def test_results_that_cannot_be_written_are_told_before_anything_is_timed(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "measure", None)
    (tmp_path / "file").write_text("")
    status, lines, errors = run(capsys, *SMALL, "--out", tmp_path / "file")
    assert (status, lines, len(errors)) == (2, [], 1) and "file" in errors[0]


def test_an_unknown_simd_level_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("CASCADE_SIMD", "mmx")
    status, _, errors = run(capsys, *SMALL)
    assert (status, len(errors)) == (2, 1) and "CASCADE_SIMD" in errors[0]
