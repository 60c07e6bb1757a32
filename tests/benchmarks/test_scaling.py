"""``python -m benchmarks scaling``: one thing changed at a time, lines that fit, and files that say so."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import sys
from multiprocessing import active_children

import cv2
import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.capacity import WorkerError
from benchmarks.machine import cores
from benchmarks.scaling import (
    Given,
    Point,
    Result,
    fit,
    given,
    given_sentences,
    lines,
    measure,
    most_processes,
    points,
    sentence,
    speed_up,
)
from cascade.detect import Detector
from cascade.models.detector import load_detector
from tests.benchmarks.helpers import run

SMALL = ("--sizes", "160x120", "320x240", "--min-faces", 16, 40, "--faces", 0, 2, "--threads", 1, 2, "--runs", 2)


needs_two_cores = pytest.mark.skipif(cores() < 2, reason="needs two cores")


def result(changed, times, *, pyramid=1.0, processes=(), **more):
    point = Point(changed, more.pop("width", 100), more.pop("height", 100), **more)
    return Result(point, pyramid, 0, times, list(processes))


def test_a_line_is_found_again_and_noise_lowers_its_fit():
    exact = fit([1, 2, 4], [13.0, 16.0, 22.0])
    assert (exact.slope, exact.intercept, exact.r_squared) == pytest.approx((3, 10, 1))
    amounts = np.arange(50.0)
    noise = np.random.default_rng(0).normal(0, 10, 50)
    noisy = fit(amounts, 10 + 3 * amounts + noise)
    assert noisy.r_squared == pytest.approx(np.corrcoef(amounts, 10 + 3 * amounts + noise)[0, 1] ** 2)
    assert 0.9 < noisy.r_squared < 0.97
    assert fit([1, 2, 3, 4], [1, 4, 9, 16.0]).r_squared < 0.99  # growth with the square is no line
    assert np.isnan(fit([1, 2], [5.0, 5.0]).r_squared)


@pytest.mark.parametrize("amounts", [[], [1.0], [2.0, 2.0]])
def test_a_line_needs_two_amounts(amounts):
    with pytest.raises(ValueError, match="two different amounts"):
        fit(amounts, [1.0] * len(amounts))


def test_lines_are_of_medians_against_the_right_amounts():
    found = lines(
        [
            result("pixels", [1.0, 2.0, 90.0], width=1000, height=1000),
            result("pixels", [6.0, 6.0, 6.0], width=2000, height=1500),
            result("min_face", [1.0], pyramid=0.5),
            result("min_face", [5.0], pyramid=2.5),
            result("faces", [7.0], faces=1),
            result("threads", [9.0], threads=1),
            result("threads", [5.0], threads=2),
        ]
    )
    assert list(found) == ["pixels", "min_face"]
    assert (found["pixels"].slope, found["pixels"].intercept) == pytest.approx((2, 0))
    assert found["min_face"].slope == pytest.approx(2)
    assert sentence("pixels", found["pixels"]).startswith("pixels: 0.0 ms + 2.00 ms a megapixel, R² 1.0000")
    assert "a megapixel of the pyramid," in sentence("min_face", found["min_face"])


def test_speed_up_compares_with_the_first_number_of_threads():
    """Round by round: one that the machine was slow in does not count for more."""
    times = {1: [9.0, 9.0, 18.0], 2: [5.0, 5.0, 6.0], 4: [3.0, 3.0, 18.0]}
    some = [result("threads", each, threads=n) for n, each in times.items()]
    assert speed_up(some) == "threads: 2 are 1.80, 4 are 3.00 times as fast as 1"
    assert speed_up(some[:1]) is None


def test_processes_are_compared_round_by_round():
    alone, two = [9.0, 9.0, 18.0], [5.0, 6.0, 12.0]
    some = [
        result("pixels", [1.0, 1.0, 1.0]),
        result("threads", two, threads=2, processes=[4.5, 5.4, 9.0]),
        result("threads", alone, threads=1),
        result("threads", [3.0, 3.0, 5.0], threads=4, processes=[3.0, 2.7, 4.0]),
        result("threads", [3.0, 3.0, 5.0], threads=8),
    ]
    found = given(some)
    assert [each.threads for each in found] == [2, 4]
    assert [each.speed_up for each in found] == pytest.approx([2.0, 10 / 3])
    assert [each.share for each in found] == pytest.approx([0.9, 0.9])
    assert given_sentences(found) == [
        "cores: 2 processes of one thread each are 2.00, 4 are 3.33 times as fast as 1",
        "threads: 2 reach 90 % of what 2 processes reach, 4 reach 90 % of what 4 processes reach",
    ]
    # without one thread there is nothing for the processes to be faster than
    assert given(some[1:2]) == [Given(2, None, 0.9)]
    assert given_sentences(given(some[1:2])) == ["threads: 2 reach 90 % of what 2 processes reach"]
    assert given_sentences(given(some[:1])) == []


def test_processes_are_started_for_the_threads_that_there_are_cores_for(monkeypatch):
    some = points([(640, 480), (320, 240)], [20], [6], [1, 2, 4, 8])
    for here, expected in ((1, {}), (2, {some[4]: 2}), (6, {some[4]: 4}), (8, {some[4]: 8})):
        monkeypatch.setattr(scaling, "cores", lambda here=here: here)
        assert most_processes(some) == expected
    assert most_processes([*some[:5], Point("threads", 320, 240, threads=3)]) == {Point("threads", 320, 240): 3}


def test_one_thing_is_changed_at_a_time():
    made = points([(640, 480), (1280, 720)], [12, 20], [0, 26], [1, 2])
    usual = {"width": 640, "height": 480, "min_face": 20, "faces": 6, "threads": 1}
    named = {"pixels": {"width", "height"}, "min_face": {"min_face"}, "faces": {"faces"}, "threads": {"threads"}}
    assert [point.changed for point in made] == [each for each in named for _ in range(2)]
    for point in made:
        other = {key for key, value in usual.items() if getattr(point, key) != value}
        assert other <= named[point.changed]
    # faces of the same size, however many
    sizes = [point.cells for point in made if point.changed == "faces"]
    assert sizes[0] == sizes[1] is not None


def test_thread_counts_double_up_to_the_cores(monkeypatch):
    for here, expected in ((1, [1]), (2, [1, 2]), (6, [1, 2, 4]), (8, [1, 2, 4, 8])):
        monkeypatch.setattr(scaling, "cores", lambda here=here: here)
        assert scaling.thread_counts() == expected


def test_every_point_is_timed_once_a_round(monkeypatch):
    log = []
    plain = Detector.detect
    monkeypatch.setattr(Detector, "detect", lambda self, image: log.append(self.min_face) or plain(self, image))
    some = [Point("min_face", 96, 80, min_face=size, faces=1) for size in (20.0, 30.0)]
    found = measure(some, load_detector(), 3, lambda: log.append("|"))
    assert log == [20, 30, *[20, 20, "|", 30, 30, "|"] * 3]
    assert [len(each.times) for each in found] == [3, 3] and [each.found for each in found] == [1, 1]


@needs_two_cores
def test_processes_are_timed_beside_their_threads_in_every_round():
    some = points([(160, 120)], [20], [1], [1, 2, cores() + 1])
    found = measure(some, load_detector(), 2)
    timed = [each for each in found if each.processes]
    assert [(each.point.changed, each.point.threads) for each in timed] == [("threads", 2)]
    assert len(timed[0].processes) == 2 and all(0 < ms < math.inf for ms in timed[0].processes)
    (figures,) = given(found)
    assert figures.threads == 2 and 0.1 < figures.speed_up < 10 and 0.1 < figures.share < 10
    assert active_children() == []


@needs_two_cores
def test_a_process_that_dies_ends_the_measurement_in_a_line(capsys, monkeypatch):
    plain = scaling.Processes.time

    def time(self, count):
        os.kill(active_children()[0].pid, signal.SIGKILL)
        return plain(self, count)

    monkeypatch.setattr(scaling.Processes, "time", time)
    some = points([(160, 120)], [20], [1], [1, 2])
    with pytest.raises(WorkerError, match="ended with signal 9"):
        measure(some, load_detector(), 1)
    assert active_children() == []
    status, said, errors = run(capsys, "scaling", *SMALL)
    assert (status, said, len(errors)) == (2, [], 1) and "ended with signal 9" in errors[0]


def test_pyramid_megapixels_are_those_that_pnet_sees(monkeypatch):
    point = Point("pixels", 160, 120, min_face=16)
    seen = []
    detector = Detector(min_face=16, threads=1)
    plain = Detector._stages

    def steps(self, pyramid):
        seen.extend(image.shape[0] * image.shape[1] for image in pyramid.images[1:])
        return plain(self, pyramid)

    monkeypatch.setattr(Detector, "_stages", steps)
    detector.detect(point.scene())
    pnet = detector.weights["pnet"].architecture
    assert scaling.pyramid_megapixels(point, pnet, detector.scale_factor) == pytest.approx(1e-6 * sum(seen))


def test_table_files_and_picture(capsys, tmp_path):
    out = tmp_path / "out"
    status, said, errors = run(capsys, "scaling", *SMALL, "--out", out)
    assert status == 0 and errors == []
    assert [line.split()[0] for line in said[2:10]] == [
        *["pixels"] * 2,
        *["min_face"] * 2,
        *["faces"] * 2,
        *["threads"] * 2,
    ]
    beside = ["cores", "threads"] if cores() > 1 else []
    assert [line.split(":")[0] for line in said[10:]] == ["pixels", "min_face", "faces", "threads", *beside]
    assert "R²" in said[10] and "times as fast as 1" in said[13]
    with open(out / "scaling.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(scaling.HEADER) and len(rows) == 8
    for row in rows:
        assert float(row["megapixels"]) == pytest.approx(1e-6 * int(row["width"]) * int(row["height"]))
        assert float(row["ms_per_megapixel"]) == pytest.approx(float(row["median_ms"]) / float(row["megapixels"]))
    assert [row["faces_found"] for row in rows if row["changed"] == "faces"] == ["0", "2"]
    written = json.loads((out / "scaling.json").read_text())
    assert set(written["lines"]) == {"pixels", "min_face", "faces"} and len(written["points"][0]["times_ms"]) == 2
    assert [each["threads"] for each in written["cores"]] == [2] * (cores() > 1)
    for row, point in zip(rows, written["points"], strict=True):
        beside = cores() > 1 and (row["changed"], row["threads"]) == ("threads", "2")
        assert bool(row["processes_median_ms"]) == beside and len(point["processes_times_ms"]) == 2 * beside
        if beside:
            assert float(row["processes_median_ms"]) == pytest.approx(point["processes_median_ms"])
    assert written["weights"]["sha256"] == load_detector().sha256 and written["machine"]["cores"] >= 1
    picture = cv2.imread(str(out / "scaling.png"))
    assert picture.shape[0] > 500 and (picture < 200).any(axis=2).mean() > 0.01


def test_a_picture_without_matplotlib_is_told_before_anything_is_timed(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(scaling, "measure", None)
    status, said, errors = run(capsys, "scaling", "--out", tmp_path / "out")
    assert (status, said, len(errors)) == (2, [], 1) and "matplotlib" in errors[0]


@pytest.mark.parametrize("arguments", [["--sizes", "9"], ["--faces", "-1"], ["--threads", "0"], ["--min-faces", "x"]])
def test_a_bad_argument_is_one_line(arguments, capsys):
    status, said, errors = run(capsys, "scaling", *arguments)
    assert (status, said, len(errors)) == (2, [], 1) and arguments[0] in errors[0]
