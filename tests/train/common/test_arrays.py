"""Arrays in files that several runs share."""

from __future__ import annotations

import numpy as np
import pytest

from train.common.arrays import partial_file, save_array


def test_an_array_that_is_mapped_elsewhere_stays_as_it_is(tmp_path):
    save_array(tmp_path / "crops.npy", np.zeros((1000, 10), np.uint8))
    mapped = np.load(tmp_path / "crops.npy", mmap_mode="r")
    save_array(tmp_path / "crops.npy", np.ones((3, 10), np.uint8))
    assert mapped.shape == (1000, 10)
    assert not mapped.any()
    assert np.load(tmp_path / "crops.npy").sum() == 30
    assert [file.name for file in tmp_path.iterdir()] == ["crops.npy"]


def test_a_file_that_is_not_finished_takes_no_place(tmp_path):
    def broken_off():
        with partial_file(tmp_path / "view.npy") as partial:
            np.save(partial, np.zeros(3))
            raise ZeroDivisionError

    save_array(tmp_path / "view.npy", np.ones(3))
    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert np.load(tmp_path / "view.npy").tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["view.npy"]
