"""The files of runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.cli.helpers import posix_only
from train.common.checkpoints import read_checkpoint, write_state
from train.common.files import new_file, save_array, save_json


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_an_array_that_is_mapped_elsewhere_stays_as_it_is(tmp_path):
    save_array(tmp_path / "crops.npy", np.zeros((1000, 10), np.uint8))
    mapped = np.load(tmp_path / "crops.npy", mmap_mode="r")
    save_array(tmp_path / "crops.npy", np.ones((3, 10), np.uint8))
    assert mapped.shape == (1000, 10)
    assert not mapped.any()
    assert np.load(tmp_path / "crops.npy").sum() == 30
    assert names(tmp_path) == ["crops.npy"]


def test_a_file_that_is_not_finished_takes_no_place(tmp_path):
    def broken_off():
        with new_file(tmp_path / "view.npy") as stream:
            np.save(stream, np.zeros(3))
            raise ZeroDivisionError

    save_array(tmp_path / "view.npy", np.ones(3))
    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert np.load(tmp_path / "view.npy").tolist() == [1, 1, 1]
    assert names(tmp_path) == ["view.npy"]


HALF_WRITTEN = """
import sys
from pathlib import Path
from train.common.files import new_file
with new_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


@posix_only
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("view.npy", lambda file: save_array(file, np.ones(3))),
        ("cache.json", lambda file: save_json(file, {})),
        ("checkpoint.pt", lambda file: write_state(file, {"step": 3})),
    ],
)
def test_what_a_killed_run_leaves_is_deleted_by_the_next(tmp_path, how, name, write):
    file = tmp_path / name
    file.write_text("earlier")
    command = [sys.executable, "-c", HALF_WRITTEN, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.send_signal(how)
    assert file.read_text() == "earlier"
    assert len(names(tmp_path)) == 2
    write(file)
    assert names(tmp_path) == [name]


def test_json_and_states_are_read_as_written(tmp_path):
    save_json(tmp_path / "a.json", {"name": "José", "sizes": (1, 2)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "José", "sizes": [1, 2]}
    write_state(tmp_path / "a.pt", {"step": 3, "weights": torch.arange(4)})
    state = read_checkpoint(tmp_path / "a.pt")
    assert state["step"] == 3
    assert state["weights"].tolist() == [0, 1, 2, 3]
