"""The complete cascade with the O-Net of a run: average precision and recall on photos."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from cascade.models.detector import load_detector, stage_file
from cascade.nn.heads import BOX
from cascade.nn.torch_network import CascadeNetwork
from eval.detection.running import OurDetector, Settings, run
from eval.detection.test_sets import SELECTION_SET, TestSet, evaluate_detector, read_set
from train.common.files import save_json
from train.detection.export import export
from train.experiments.definitions import Arm
from train.experiments.measures import Figures
from train.experiments.runs import Protocol


@dataclass(frozen=True)
class Cascade:
    """P-Net and R-Net of the folder ``weights``, and the photos that the cascade is evaluated on."""

    weights: Path
    test_set: TestSet

    def evaluate(self, protocol: Protocol, arm: Arm, seed: int) -> Figures:
        """Figures of the cascade with the O-Net of a run; stored beside it in cascade.json.

        cascade_ap                             average precision, down to a score of 0.02
        cascade_recall                         share of the faces found at the detector's own threshold
        cascade_recall_0.1, cascade_recall_1   and with at most so many false positives per photo
        """
        folder = protocol.folder(arm, seed)
        record = {"weights": self._hash(), "photos": [photo.name for photo in self.test_set.photos]}
        file = folder / "cascade.json"
        if file.exists():
            made = json.loads(file.read_text())
            if {key: made[key] for key in record} == record:
                return dict(made["figures"])
        figures = self._evaluate(self._assemble(protocol, arm, seed))
        save_json(file, {**record, "figures": figures})
        return figures

    def _hash(self) -> str:
        return load_detector(self.weights, ("pnet", "rnet")).sha256

    def _assemble(self, protocol: Protocol, arm: Arm, seed: int) -> Path:
        """A folder with all three networks."""
        folder = protocol.folder(arm, seed) / "cascade"
        folder.mkdir(exist_ok=True)
        for stage in ("pnet", "rnet"):
            shutil.copyfile(stage_file(self.weights, stage), folder / f"{stage}.safetensors")
        network, settings = protocol.network(arm, seed), protocol.settings(arm, seed)
        if not settings.weight(BOX.name):
            network = without_boxes(network)
        data = str(protocol.samples.meta.get("data", ""))
        export(network, settings, protocol.samples, folder, protocol.command, data)
        return folder

    def _evaluate(self, folder: Path) -> Figures:
        detector = OurDetector(Settings(weights=str(folder), min_face=self.test_set.min_size or None, threads=1))
        photos = tqdm(self.test_set.photos, desc="complete cascade", unit="photo", leave=False)
        ran = run(photos, detector)
        readable = tuple(photo for photo in self.test_set.photos if photo.name in ran.found)
        result = evaluate_detector(replace(self.test_set, photos=readable), ran.found, detector.default_score)
        assert result.detection is not None and result.default is not None  # it is a set of faces
        recalls = result.detection.recall_at_false_positives()
        return {
            "cascade_ap": result.detection.curve.ap,
            "cascade_recall": result.default.curve.final_recall,
            "cascade_recall_0.1": recalls["0.1"],
            "cascade_recall_1": recalls["1"],
        }


def open_cascade(weights: Path, data: Path, photos: int | None) -> Cascade:
    """Checks the weights and reads the photos held out of training, or the first ``photos`` of them.

    Raises `cascade.models.detector.WeightsError`, or `cascade.datasets.DatasetError` for photos that are not there.
    """
    load_detector(weights, ("pnet", "rnet"))
    test_set = read_set(data, SELECTION_SET)
    return Cascade(weights, replace(test_set, photos=test_set.photos[:photos]))


def without_boxes(network: CascadeNetwork) -> CascadeNetwork:
    """The network with box offsets of zero, for one that never learned them.

    The boxes of the cascade are then the squares about R-Net's boxes, which is where O-Net looks.
    """
    changed = copy.deepcopy(network)
    last = changed.blocks[-1]
    assert isinstance(last, nn.Sequential) and isinstance(last[0], nn.Conv2d) and last[0].bias is not None
    offsets = network.architecture.output(BOX.name)
    with torch.no_grad():
        last[0].weight[offsets] = 0
        last[0].bias[offsets] = 0
    return changed
