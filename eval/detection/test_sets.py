"""The sets of a data folder that every detector of ours is evaluated on, and the figures taken on each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cascade.datasets import PHOTO_READERS, REGISTRY, Dataset, Entry, Photo
from eval.detection import landmarks
from eval.detection import precision_recall as detection
from eval.detection.landmarks import LandmarkResult
from eval.detection.precision_recall import DetectionResult
from eval.detection.predictions import Found

__all__ = [
    "SELECTION_SET",
    "SETS",
    "TEST_SETS",
    "EqualFalsePositives",
    "SetFigures",
    "TestSet",
    "equal_false_positives",
    "evaluate_detector",
    "kind_of",
    "read_set",
]

Kind = Literal["faces", "no_face", "landmarks"]

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
            if self.detection is not None:
                figures |= {"recall": self.default.curve.final_recall, "faces": self.default.curve.faces}
                figures["recall_{:g}_{:g}".format(*SMALL)] = self.default.sizes[0].recall
            figures |= {"false_positives": self.default.curve.false_positive_count, "photos": self.default.photos}
        if self.landmarks is not None:
            result = self.landmarks
            figures |= {"error_interocular": result.error_interocular, "error_box": result.error_box}
            figures |= {"matched": result.matched, "faces": result.faces, "photos": result.photos}
            figures["failure_rate"] = result.failure_rate
        return figures


def kind_of(entry: Entry) -> Kind:
    """Return what is measured on a registered set of photos."""
    return "no_face" if "no_face" in entry.labels else "landmarks" if "landmarks" in entry.labels else "faces"


SETS = {name: entry for name, entry in REGISTRY.items() if entry.kind in PHOTO_READERS and entry.split != "train"}
"""The registered sets that detectors are evaluated on, by name."""

LABELS = Path(__file__).resolve().parents[2] / "train" / "recipes" / "pseudo_labels"
"""The pseudo-labels of photos, which come with the repository, as the photos do not."""

SELECTION_SET = "wider_train_holdout"
TEST_SETS = tuple(name for name, entry in SETS.items() if entry.split == "test")


def read_set(data: str | Path, name: str) -> TestSet:
    """Read one of ``SETS`` below a data folder; raises DatasetError when it is not complete."""
    data, entry = Path(data), SETS[name]
    if entry.kind == "pseudo" and entry.annotations is not None:
        entry = replace(entry, annotations=str(LABELS / Path(entry.annotations).name))
    read = entry.read(data, strict=True)
    assert isinstance(read, Dataset)
    photos = tuple(replace(photo, name=photo.path.relative_to(data).as_posix()) for photo in read)
    return TestSet(name, kind_of(entry), entry.title, entry.note, entry.min_size, photos)


def evaluate_detector(
    test_set: TestSet,
    found: Mapping[str, Found],
    default_score: float | None,
    usual: Mapping[str, Found] | None = None,
) -> SetFigures:
    """Evaluate one detector on one set; a photo without an entry counts as one in which nothing was found.

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


@dataclass(frozen=True, slots=True)
class EqualFalsePositives:
    """Recalls at the number of false positives that one detector, the reference, makes at its default score."""

    false_positives: int
    recall: Mapping[str, float | None]


def equal_false_positives(
    results: Mapping[str, SetFigures], references: Iterable[str]
) -> dict[str, EqualFalsePositives]:
    """Return, for each reference by name, the recall of all detectors at no more false positives than it makes.

    ``results`` are all detectors on one set. A set without a curve gives nothing.
    """
    curves = {name: result.detection.curve for name, result in results.items() if result.detection is not None}
    found = {}
    for reference in references:
        default = results[reference].default
        if curves and default is not None:
            count = default.curve.false_positive_count
            found[reference] = EqualFalsePositives(count, {name: c.recall_at(count) for name, c in curves.items()})
    return found
