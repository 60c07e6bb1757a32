"""The sets of a data folder that every detector of ours is judged on, and the figures taken on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cascade.datasets import Dataset, Photo, read_coco, read_folder, read_photo_list, read_wider
from eval.detection import landmarks
from eval.detection import precision_recall as detection
from eval.detection.landmarks import LandmarkResult
from eval.detection.precision_recall import DetectionResult
from eval.detection.predictions import Found

__all__ = ["SELECTION_SET", "SETS", "TEST_SETS", "SetFigures", "TestSet", "judge", "read_set"]

Kind = Literal["faces", "no_face", "landmarks"]

WIDER_MIN_SIZE = 12.0

SMALL = (20.0, 32.0)
"""The shorter side, in pixels, of the small faces whose recall is told by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class TestSet:
    """The photos of one set, named by their paths relative to the data folder.

    kind      what is measured: finding "faces", false alarms where there is "no_face", or "landmarks"
    title     short, for figures
    note      what the set is, and what its figures must not be taken for
    min_size  faces with a smaller shorter side (pixels) are ignored, and a detector should look for faces
              from this size on; 0: as the detector does by itself
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    name: str
    kind: Kind
    title: str
    note: str
    min_size: float
    photos: tuple[Photo, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SetFigures:
    """One detector's figures on one set; ``default`` is taken at the detector's own default score.

    detection  all detections given, for curves and average precision (sets of faces)
    default    detections of at least the default score (sets of faces, and without)
    landmarks  errors of detections of at least the default score (sets with landmarks)
    """

    detection: DetectionResult | None = None
    default: DetectionResult | None = None
    landmarks: LandmarkResult | None = None

    def summary(self) -> dict[str, Any]:
        """Return the figures by name as summary.json has them."""
        figures: dict[str, Any] = {}
        if self.detection is not None:
            figures |= {"ap": self.detection.curve.ap, "ap_50_95": self.detection.ap_50_95}
            figures["recall_at_fp_per_photo"] = self.detection.recall_at_false_positives()
        if self.default is not None:
            hits = self.default.curve.hits
            if self.detection is not None:
                figures |= {"recall": self.default.curve.final_recall, "faces": self.default.curve.faces}
                figures["recall_{:g}_{:g}".format(*SMALL)] = self.default.sizes[0].recall
            figures |= {"false_positives": len(hits) - int(hits.sum()), "photos": self.default.photos}
        if self.landmarks is not None:
            result = self.landmarks
            figures |= {"error_interocular": result.error_interocular, "error_box": result.error_box}
            figures |= {"matched": result.matched, "faces": result.faces, "photos": result.photos}
            figures["failure_rate"] = result.failure_rate
        return figures


def _wider_val(data: Path) -> Dataset:
    annotation = data / "wider" / "wider_face_split" / "wider_face_val.mat"
    return read_wider(annotation, data / "wider" / "WIDER_val", photos="present", strict=True)


def _wider_validation(data: Path) -> Dataset:
    annotation = data / "wider" / "wider_face_split" / "wider_face_train.mat"
    listed = read_photo_list(data / "wider" / "validation_from_train.txt")
    return read_wider(annotation, data / "wider" / "WIDER_train", photos=listed, strict=True)


_Reader = Callable[[Path], Dataset]

SETS: dict[str, tuple[Kind, str, str, float, _Reader]] = {
    "wider_val": (
        "faces",
        "WIDER FACE, subset of validation",
        "3 of the 61 events of WIDER FACE validation, faces from 12 px; not WIDER FACE AP",
        WIDER_MIN_SIZE,
        _wider_val,
    ),
    "fddb_single": (
        "faces",
        "FDDB, photos of one face",
        "FDDB photos with exactly one labelled face, boxes around the ellipses; not FDDB",
        0.0,
        lambda data: read_coco(data / "fddb_single" / "annotations.json", strict=True),
    ),
    "no_face": (
        "no_face",
        "photos without a face",
        "natural photos without any face",
        0.0,
        lambda data: read_folder(data / "no_face" / "test", fully_labelled=True, strict=True),
    ),
    "net7876": (
        "landmarks",
        "net7876, landmarks",
        "web photos with five landmarks of one face each; others may be there, unlabelled",
        0.0,
        lambda data: read_coco(data / "net7876" / "test.json", strict=True),
    ),
    "wider_train_holdout": (
        "faces",
        "WIDER FACE, held out of training",
        "photos of the WIDER FACE training set kept for choosing models, faces from 12 px",
        WIDER_MIN_SIZE,
        _wider_validation,
    ),
}
"""By name: what is measured, title, note, smallest face that counts (pixels) and reader."""

SELECTION_SET = "wider_train_holdout"
TEST_SETS = tuple(name for name in SETS if name != SELECTION_SET)


def read_set(data: str | Path, name: str) -> TestSet:
    """Read one of ``SETS`` below a data folder; raises DatasetError when it is not whole."""
    data = Path(data)
    kind, title, note, min_size, read = SETS[name]
    photos = tuple(replace(photo, name=photo.path.relative_to(data).as_posix()) for photo in read(data))
    return TestSet(name, kind, title, note, min_size, photos)


def judge(
    test_set: TestSet,
    found: Mapping[str, Found],
    default_score: float | None,
    usual: Mapping[str, Found] | None = None,
) -> SetFigures:
    """Judge one detector on one set; a photo without an entry counts as one in which nothing was found.

    ``found`` may reach down to any score; figures of the default behaviour use ``usual``, what the detector finds by
    default, or without it what ``found`` has at ``default_score`` and better. Raises ValueError for detections without
    landmarks where these are measured.
    """
    photos = test_set.photos
    if usual is None:
        usual = found if default_score is None else {name: each.at_least(default_score) for name, each in found.items()}
    if test_set.kind == "landmarks":
        return SetFigures(landmarks=landmarks.evaluate(photos, usual))
    first, min_size = detection.OVERLAPS[:1], test_set.min_size
    default = detection.evaluate(photos, usual, min_size=min_size, overlaps=first, sizes=[SMALL])
    if test_set.kind == "no_face":
        return SetFigures(default=default)
    return SetFigures(detection=detection.evaluate(photos, found, min_size=min_size), default=default)
