"""The folder of packed samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from train.detection.sample_store import SampleWriter, load_samples


def some(n: int, side: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, 14))
    targets[::3] = np.nan
    return rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8), rng.integers(0, 4, n), targets


def test_round_trip(tmp_path):
    writer = SampleWriter(tmp_path / "deep" / "set", 9)
    parts = [some(n, 9, seed) for seed, n in enumerate((5, 0, 1, 30))]
    for part in parts:
        writer.add(*part)
    assert writer.counts().tolist() == np.bincount(np.concatenate([p[1] for p in parts]), minlength=4).tolist()
    made = writer.finish({"stage": "pnet", "broken": []})
    for samples in (made, load_samples(tmp_path / "deep" / "set")):
        crops, kinds, targets = (np.concatenate(values) for values in zip(*parts, strict=True))
        assert len(samples) == 36
        np.testing.assert_array_equal(samples.crops, crops)
        np.testing.assert_array_equal(samples.kinds, kinds)
        np.testing.assert_array_equal(samples.targets, targets.astype(np.float32))
        assert (samples.crops.dtype, samples.kinds.dtype, samples.targets.dtype) == (np.uint8, np.uint8, np.float32)
        assert samples.meta == {"stage": "pnet", "broken": [], "side": 9, "samples": 36}
        assert samples.counts()["part"] == (kinds == 2).sum()
        # the crops stay on disk
        assert isinstance(samples.crops, np.memmap)
    files = {path.name for path in (tmp_path / "deep" / "set").iterdir()}
    assert files == {"crops.npy", "kinds.npy", "targets.npy", "meta.json"}


def test_crops_need_not_be_contiguous(tmp_path):
    crops, kinds, targets = some(8, 6)
    writer = SampleWriter(tmp_path / "set", 6)
    writer.add(crops[::2, ::-1], kinds[::2], targets[::2])
    np.testing.assert_array_equal(writer.finish({}).crops, crops[::2, ::-1])


def test_an_unfinished_folder_does_not_look_finished(tmp_path):
    folder = tmp_path / "set"
    writer = SampleWriter(folder, 6)
    writer.add(*some(4, 6))
    assert not folder.exists()
    with pytest.raises(FileNotFoundError):
        load_samples(folder)
    # stopped here and begun anew: nothing of the first try is left
    again = SampleWriter(folder, 6)
    again.add(*some(3, 6, seed=1))
    assert len(again.finish({})) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_finished_folder_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    folder = tmp_path / "set"
    first = SampleWriter(folder, 6)
    first.add(*some(4, 6))
    first.finish({"run": 1})
    second = SampleWriter(folder, 6)
    second.add(*some(2, 6))
    assert load_samples(folder).meta["run"] == 1
    second.finish({"run": 2})
    assert (load_samples(folder).meta["run"], len(load_samples(folder))) == (2, 2)


@pytest.mark.parametrize(
    ("crops", "kinds", "targets"),
    [
        (np.zeros((2, 7, 6, 3), np.uint8), np.zeros(2), np.zeros((2, 14))),
        (np.zeros((2, 6, 6, 1), np.uint8), np.zeros(2), np.zeros((2, 14))),
        (np.zeros((2, 6, 6, 3), np.float32), np.zeros(2), np.zeros((2, 14))),
        (np.zeros((2, 6, 6, 3), np.uint8), np.zeros(3), np.zeros((2, 14))),
        (np.zeros((2, 6, 6, 3), np.uint8), np.zeros(2), np.zeros((1, 14))),
        (np.zeros((2, 6, 6, 3), np.uint8), np.zeros(2), np.zeros((2, 10))),
    ],
)
def test_wrong_shapes_are_refused(tmp_path, crops, kinds, targets):
    writer = SampleWriter(tmp_path / "set", 6)
    with pytest.raises(ValueError, match="expected"):
        writer.add(crops, kinds, targets)
    # and leave no trace
    assert len(writer.finish({})) == 0


def test_an_empty_set(tmp_path):
    writer = SampleWriter(tmp_path / "set", 12)
    writer.add(np.empty((0, 12, 12, 3), np.uint8), np.empty(0, int), np.empty((0, 14)))
    writer.finish({})
    samples = load_samples(tmp_path / "set")
    assert samples.crops.shape == (0, 12, 12, 3)
    assert samples.targets.shape == (0, 14)
    assert samples.counts() == {"negative": 0, "positive": 0, "part": 0, "landmark": 0}


def test_a_damaged_folder_is_refused(tmp_path):
    writer = SampleWriter(tmp_path / "set", 6)
    writer.add(*some(4, 6))
    writer.finish({})
    np.save(tmp_path / "set" / "kinds.npy", np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="4 crops, 3 kinds"):
        load_samples(tmp_path / "set")
    (tmp_path / "set" / "meta.json").write_text(json.dumps({})[:-1])
    with pytest.raises(ValueError, match="Expecting"):
        load_samples(tmp_path / "set")
