"""A Detector in other processes, and copies of it."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade import Detector, Faces, _native
from cascade.engines.native import NativeEngine
from cascade.models.detector import load_detector
from tests.photos import PORTRAIT, portrait

SETTINGS: dict[str, Any] = {
    "min_face": 50,
    "max_face": 300,
    "scale_factor": 0.75,
    "thresholds": (0.6, 0.4, 0.7),
    "threads": 2,
    "precision": "float32",
    "exposure": "none",
    "rotations": (0, 90),
}


@pytest.mark.parametrize("clone", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
def test_a_copy_has_the_settings_and_finds_the_same(clone: Any) -> None:
    detector = Detector(**SETTINGS)
    expected = detector.detect(portrait()).to_dicts()
    assert expected
    other = clone(detector)
    for name in SETTINGS.keys() - {"precision"}:
        assert getattr(other, name) == getattr(detector, name)
    assert other.engine.precision == "float32"
    assert other.weights.sha256 == detector.weights.sha256
    assert other.detect(portrait()).to_dicts() == expected
    with pytest.raises(AttributeError, match="the settings of a Detector are fixed"):
        other.min_face = 20


def test_weights_travel_by_their_values(random_weights: Any, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in random_weights("default").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = pickle.dumps(Detector(weights=folder, min_face=60))
    sha256 = load_detector(folder).sha256
    for file in folder.iterdir():
        file.unlink()
    assert pickle.loads(data).weights.sha256 == sha256


def test_the_simd_level_is_that_of_the_machine_unless_it_was_asked_for() -> None:
    weights = load_detector()
    for level in (None, "scalar"):
        engine = NativeEngine(weights, level=level)
        construct, arguments = engine.__reduce__()[:2]
        assert construct(*arguments).level == (level or _native.default_simd_level())
        assert ("scalar" in arguments) == (level == "scalar")
        assert _native.default_simd_level() not in arguments or level == _native.default_simd_level()


@pytest.mark.parametrize("method", [m for m in ("spawn", "forkserver") if m in multiprocessing.get_all_start_methods()])
def test_pools_of_fresh_processes(method: str) -> None:
    detector = Detector(min_face=60, threads=1)
    photos = [portrait()[:400], str(PORTRAIT), np.zeros((80, 90, 3), np.uint8)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found: list[Faces] = pool.map(detector.detect, photos)
    assert [faces.to_dicts() for faces in found] == [detector.detect(photo).to_dicts() for photo in photos]


class Portraits:
    """A data set of torch whose items are the numbers of faces."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> int:
        return len(self.detector.detect(portrait()[: 100 + 100 * at]))


@pytest.mark.slow
def test_workers_of_a_data_loader() -> None:
    data = pytest.importorskip("torch.utils.data")
    detector = Detector(min_face=60, threads=1)
    loader = data.DataLoader(Portraits(detector), num_workers=2, multiprocessing_context="spawn", batch_size=None)
    expected = [Portraits(detector)[at] for at in range(4)]
    assert list(loader) == expected
    assert sum(expected)


def test_the_torch_engine() -> None:
    pytest.importorskip("torch")
    detector = Detector(engine="torch", min_face=100)
    for other in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        assert str(other.engine.device) == "cpu"
        assert other.detect(portrait()).to_dicts() == detector.detect(portrait()).to_dicts()
