"""Packing the faces for all processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.photos import portrait
from tests.train.torchrun import run_in_two_processes
from train.attributes.store import load_labelled_crops

PARALLEL = """
import sys
from pathlib import Path

import numpy as np
import torch

from train.attributes import pack
from train.attributes.sources import read_attribute_sources
from train.common.device import Processes
from train.synthesis.faces import packed_sets

folder, processes = Path(sys.argv[1]), Processes.joined()
if processes.rank:
    del pack._fill
entry = {"name": "mine", "kind": "folders", "images": "helmets", "attribute": "helmet"}
(packed,) = packed_sets(read_attribute_sources([entry], folder), folder, folder / "faces", 1, processes)
np.save(folder / f"{processes.rank}.npy", packed.crops)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_one_process_packs_for_all(tmp_path: Path) -> None:
    for name in ("no/1.png", "yes/2.png"):
        file = tmp_path / "helmets" / name
        file.parent.mkdir(parents=True)
        Image.fromarray(portrait()).save(file)
    run_in_two_processes(PARALLEL, tmp_path)
    packed = load_labelled_crops(tmp_path / "faces/mine")
    assert (len(packed), packed.meta["cut"]) == (2, "mirrored_crops")
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy"), packed.crops)
