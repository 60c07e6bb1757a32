"""MOTA, IDF1 and HOTA of tracks, as the package trackeval computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.boxes import iou

__all__ = ["Followed", "scores"]

IGNORED_OVERLAP = 0.3


@dataclass(frozen=True, eq=False)
class Followed:
    """One frame: the truth, what is to be ignored, and what a tracker says."""

    people: npt.NDArray[np.intp]
    boxes: npt.NDArray[np.float64]
    ignored: npt.NDArray[np.bool_]
    tracks: npt.NDArray[np.intp]
    found: npt.NDArray[np.float64]


def scores(clips: Sequence[Sequence[Followed]]) -> dict[str, float]:
    """MOTA, IDF1, HOTA, DetA and AssA in percent, switches, misses and false alarms of all clips together.

    CLEAR (Bernardin and Stiefelhagen 2008) and IDF1 (Ristani et al. 2016) at an IoU of 0.5, HOTA (Luiten et al. 2021)
    from 0.05 to 0.95. What a tracker finds where a face is ignored does not count.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise ImportError("tracking is measured by trackeval: python -m pip install trackeval") from error
    quiet: dict[str, Any] = {"PRINT_CONFIG": False}
    metrics = {"clear": CLEAR(quiet), "identity": Identity(quiet), "hota": HOTA()}
    data = [_data(clip) for clip in clips]
    total = {
        name: metric.combine_sequences({str(at): metric.eval_sequence(each) for at, each in enumerate(data)})
        for name, metric in metrics.items()
    }
    clear, identity, hota = total["clear"], total["identity"], total["hota"]
    return {
        "mota": 100 * float(clear["MOTA"]),
        "idf1": 100 * float(identity["IDF1"]),
        "hota": 100 * float(np.mean(hota["HOTA"])),
        "deta": 100 * float(np.mean(hota["DetA"])),
        "assa": 100 * float(np.mean(hota["AssA"])),
        "switches": int(clear["IDSW"]),
        "misses": int(clear["CLR_FN"]),
        "false_alarms": int(clear["CLR_FP"]),
        "faces": int(clear["CLR_TP"] + clear["CLR_FN"]),
    }


def _data(clip: Sequence[Followed]) -> dict[str, Any]:
    """A clip as trackeval takes it."""
    people: dict[int, int] = {}
    tracks: dict[int, int] = {}
    rows: dict[str, list[Any]] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for frame in clip:
        truth = ~frame.ignored
        overlaps = iou(frame.boxes, frame.found)
        best_true = overlaps[truth].max(axis=0, initial=0.0)
        best_ignored = overlaps[~truth].max(axis=0, initial=0.0)
        counted = (best_true >= 0.5) | (best_ignored < IGNORED_OVERLAP)
        rows["gt_ids"].append(_numbered(frame.people[truth], people))
        rows["tracker_ids"].append(_numbered(frame.tracks[counted], tracks))
        rows["similarity_scores"].append(overlaps[truth][:, counted])
    return {
        **rows,
        "num_timesteps": len(clip),
        "num_gt_dets": sum(map(len, rows["gt_ids"])),
        "num_tracker_dets": sum(map(len, rows["tracker_ids"])),
        "num_gt_ids": len(people),
        "num_tracker_ids": len(tracks),
    }


def _numbered(names: npt.NDArray[np.intp], known: dict[int, int]) -> npt.NDArray[np.intp]:
    return np.array([known.setdefault(name, len(known)) for name in names.tolist()], np.intp)
