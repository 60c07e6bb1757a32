"""What the first of several processes does for all: packing the faces, and training the age classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.photos import portrait_png
from tests.train.torchrun import run_in_two_processes
from train.attributes.store import load_labelled_crops

pytestmark = pytest.mark.slow

PARALLEL = """
import sys
from pathlib import Path

import numpy as np
import torch
from tests.train.synthesis.test_classifier import bright_by_age

from train.attributes import pack
from train.attributes.sources import read_attribute_sources
from train.common.device import Processes
from train.synthesis import classifier
from train.synthesis.faces import AgedFaces, packed_sets
from train.synthesis.settings import SynthesisSettings

folder, processes = Path(sys.argv[1]), Processes.joined()
torch.manual_seed(processes.rank)  # so that one that trained, too, would have other weights
if processes.rank:
    del pack._fill, classifier._trained
entry = {"name": "mine", "kind": "folders", "images": "helmets", "attribute": "helmet"}
(packed,) = packed_sets(read_attribute_sources([entry], folder), folder, folder / "faces", 1, processes)
np.save(folder / f"{processes.rank}.npy", packed.crops)
faces = AgedFaces([bright_by_age()], SynthesisSettings(precision="float32"), processes.rank, processes.world)
network = classifier.trained_classifier(faces, 2, folder / "classifier.pt", processes)
torch.save(network.state_dict(), folder / f"{processes.rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which both processes have left what they had in the end."""
    folder = tmp_path_factory.mktemp("processes")
    for name in ("no/1.png", "yes/2.png"):
        file = folder / "helmets" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(portrait_png())
    run_in_two_processes(PARALLEL, folder)
    return folder


def test_one_process_packs_for_all(done: Path) -> None:
    packed = load_labelled_crops(done / "faces/mine")
    assert (len(packed), packed.meta["cut"]) == (2, "mirrored_crops")
    for rank in (0, 1):
        np.testing.assert_array_equal(np.load(done / f"{rank}.npy"), packed.crops)


def test_one_process_trains_the_classifier_for_all(done: Path) -> None:
    first, second = (torch.load(done / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
