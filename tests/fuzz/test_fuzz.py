"""The fuzzer: it runs, it finds what is planted, and says how to run that again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.photos import portrait

SCRIPT = Path(__file__).with_name("run.py")
sys.path.insert(0, str(SCRIPT.parents[1] / "sanitize"))

from cascade import _native  # noqa: E402
from cascade.detect import Detector  # noqa: E402
from cascade.engines.native import NativeEngine  # noqa: E402
from cascade.faces import Faces  # noqa: E402
from cascade.imaging.pyramid import Pyramid  # noqa: E402
from cascade.models.detector import load_detector  # noqa: E402
from tests.fuzz import fuzz_detector  # noqa: E402
from tests.fuzz.fuzz_detector import Case, examine  # noqa: E402
from tests.fuzz.fuzz_inputs import UNCHANGED, generator  # noqa: E402
from tests.fuzz.fuzz_loop import DetectorFuzzer, FoundError, Labels, fuzz  # noqa: E402


@pytest.mark.slow
def test_two_seconds_find_nothing() -> None:
    pytest.importorskip("torch")
    command = [sys.executable, str(SCRIPT), "--seed", "1", "--minutes", str(2 / 60), "--only", "detector"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[0] == "seed 1"
    assert " detector\n" in done.stdout


def test_one_case_needs_its_kind() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--case", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--only" in done.stderr


# What is planted


@pytest.fixture
def case(random_weights: Callable[[str], Path]) -> Case:
    """One with faces."""
    settings = {"min_face": 60, "max_face": None, "scale_factor": 0.709, "thresholds": (0.3, 0.3, 0.3)}
    images = (portrait(), portrait()[40:200, 160:300])
    weights = load_detector(random_weights("default"))
    return Case(("planted",), images, weights, settings, 2, _native.simd_levels()[0], UNCHANGED)


class OtherWithThreads(Detector):
    def detect(self, *arguments: Any, **named: Any) -> Faces:
        faces = super().detect(*arguments, **named)
        return faces[1:] if self.threads > 1 else faces


class OtherInBatches(Detector):
    def detect_batch(self, *arguments: Any, **named: Any) -> list[Faces]:
        return super().detect_batch(*arguments, **named)[::-1]


class OutsideTheImage(Detector):
    def detect(self, *arguments: Any, **named: Any) -> Faces:
        faces = super().detect(*arguments, **named)
        return Faces(faces.boxes + 1000, faces.scores, faces.landmarks)


class NotSorted(Detector):
    def detect(self, *arguments: Any, **named: Any) -> Faces:
        return super().detect(*arguments, **named)[::-1]


def test_a_sound_case_has_faces(case: Case) -> None:
    assert examine(case, generator(0, 0)) > 1


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        (OtherWithThreads, "2 threads and one"),
        (OtherInBatches, "a batch"),
        (OutsideTheImage, "boxes outside 512 by 512"),
        (NotSorted, "not sorted"),
    ],
)
def test_other_faces_are_found(
    case: Case, planted: type[Detector], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_detector, "Detector", planted)
    with pytest.raises(AssertionError, match=message):
        examine(case, generator(0, 0))


class LessExact(NativeEngine):
    """Outputs of a stage are a little off, but for those of scalar."""

    shift = np.zeros(16)

    def classify_crops(self, stage: Any, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        outputs = super().classify_crops(stage, pyramid, boxes)
        return outputs + self.shift if self.level != "scalar" and stage == "onet" else outputs


class OtherInGroups(NativeEngine):
    def classify_crops(self, stage: Any, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
        return super().classify_crops(stage, pyramid, boxes) * (1 + 1e-7 * len(boxes))


@pytest.mark.skipif(len(_native.simd_levels()) == 1, reason="this machine has one level")
@pytest.mark.parametrize(("output", "message"), [(1, "scores differ"), (3, "boxes or"), (15, "or landmarks")])
def test_levels_that_disagree_are_found(case: Case, output: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_detector, "NativeEngine", LessExact)
    monkeypatch.setattr(LessExact, "shift", np.arange(16) == output)
    with pytest.raises(AssertionError, match=f"onet: .*{message}"):
        examine(case, generator(0, 0))


def test_crops_that_hang_on_their_neighbours_are_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_detector, "NativeEngine", OtherInGroups)
    with pytest.raises(AssertionError, match="crops alone"):
        examine(case, generator(0, 0))


# The loop


class Planted:
    """Fails in its fourth case."""

    name = "planted"

    def step(self, number: int) -> Labels:
        if number == 3:
            raise FoundError("something")
        return ("of some kind",)


def test_a_finding_comes_with_its_reproducer(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz([Planted()], 8, 60) == 1
    found = capsys.readouterr()
    assert "3 of some kind" in found.out
    assert "something\n\nfound by: python tests/fuzz/run.py --seed 8 --only planted --case 3" in found.err
    assert fuzz([Planted()], 8, 60, case=3) == 1
    assert fuzz([Planted()], 8, 60, case=4) == 0


def crash(connection: Connection, seed: int, folder: Path) -> None:
    connection.recv()
    os.abort()


def test_a_crash_is_a_finding(tmp_path: Path) -> None:
    fuzzer = DetectorFuzzer(0, tmp_path, crash)
    with pytest.raises(FoundError, match="the process ended with -"):
        fuzzer.step(0)
    fuzzer.close()
