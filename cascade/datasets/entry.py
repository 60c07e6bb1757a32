"""An entry of the registry: where a data set lies, what it is for, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .labelled import LabelledPhotos, labelled_people
from .layouts import LABEL_READERS, PEOPLE_READERS, PHOTO_READERS, read_photos
from .lfw import read_lfw_pairs
from .people import Pairs, People
from .photo import Dataset, DatasetError
from .wider import read_photo_list

__all__ = ["Entry", "Split", "people_in_folds"]

Split = Literal["train", "holdout", "test"]
Label = Literal[
    "boxes", "landmarks", "no_face", "identity", "age", "pairs", "gender", "ethnicity", "expression", "smile", "pose"
]

Edges = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One data set.

    kind           its layout: a key of `PHOTO_READERS`, `PEOPLE_READERS` or `LABEL_READERS`, or "lfw_pairs"
    images         the folder that the photos' names start from
    annotations    the file of its labels; None where folders or file names have them
    include        a list of the photos that are in the set, one a line; None: all that are there
    exclude        a list of photos to leave out, one a line
    pairs          LFW's list of pairs
    folds          of ``pairs``: those that are in the set; none: all
    without_folds  of ``pairs``: the people in these folds are left out
    split          what the set may be used for
    labels         what is known of its photos
    fully_labelled  False: there may be faces without a label, so that background must not be taken blindly
    box_rule       moves the left, top, right and bottom edge by these parts of width or height, from the set's box
                   convention to that of WIDER FACE; applied in training, while evaluators take boxes as annotated
    crops          True: its photos are crops of one face each, in which a detector need not be sure
    min_size       evaluators ignore faces with a smaller shorter side (pixels); 0: none
    licence        as far as it is stated
    title          short, for figures
    note           what the set is, and what its figures must not be taken for
    """

    kind: str
    images: str
    annotations: str | None = None
    include: str | None = None
    exclude: str | None = None
    pairs: str | None = None
    folds: tuple[int, ...] = ()
    without_folds: tuple[int, ...] = ()
    split: Split
    labels: tuple[Label, ...]
    fully_labelled: bool = True
    box_rule: Edges = (0.0, 0.0, 0.0, 0.0)
    crops: bool = False
    min_size: float = 0.0
    licence: str
    title: str
    note: str

    def read_labels(self, data: Path, *, strict: bool = False) -> LabelledPhotos:
        """Read what the set knows of each face, below a data folder.

        Raises DatasetError when it cannot be read or knows nothing of faces, or, if ``strict``, for the first problem.
        """
        if self.kind in LABEL_READERS:
            annotations = None if self.annotations is None else data / self.annotations
            return LABEL_READERS[self.kind](data / self.images, annotations, strict)
        if self.kind not in PEOPLE_READERS:
            raise DatasetError(f"{self.title}: a set of kind {self.kind} has no attributes")
        return labelled_people(self._people(data, strict))

    def read(self, data: Path, *, strict: bool = False) -> Dataset | People | Pairs | LabelledPhotos:
        """Read the set below a data folder: a Dataset where faces have boxes, People, Pairs, or LabelledPhotos.

        Raises DatasetError when it cannot be read, or, if ``strict``, for the first problem.
        """
        paths = {name: data / getattr(self, name) for name in ("include", "exclude") if getattr(self, name) is not None}
        annotations = None if self.annotations is None else data / self.annotations
        if self.kind in PHOTO_READERS:
            return read_photos(self.kind, data / self.images, annotations, **paths, strict=strict)
        if self.kind in PEOPLE_READERS:
            return self._people(data, strict)
        if self.kind in LABEL_READERS:
            return self.read_labels(data, strict=strict)
        assert self.kind == "lfw_pairs" and self.pairs is not None, self.kind
        pairs = read_lfw_pairs(data / self.pairs, data / self.images, strict=strict)
        chosen = tuple(pair for pair in pairs if not self.folds or pair.fold in self.folds)
        return Pairs(pairs.name, chosen, pairs.problems)

    def _people(self, data: Path, strict: bool) -> People:
        people = PEOPLE_READERS[self.kind](data / self.images, strict=strict)
        excluded = set() if self.exclude is None else set(read_photo_list(data / self.exclude))
        absent: set[str | None] = set()
        if self.without_folds:
            assert self.pairs is not None
            absent = people_in_folds(data / self.pairs, data / self.images, self.without_folds)
        photos = (photo for photo in people if photo.name not in excluded)
        return People(
            people.name,
            tuple(photo for photo in photos if photo.person is None or photo.person not in absent),
            people.problems,
        )


def people_in_folds(pairs: Path, images: Path, folds: tuple[int, ...]) -> set[str | None]:
    """Return everybody in these folds of LFW's pairs. Raises DatasetError, also for a fold that is not there."""
    listed = read_lfw_pairs(pairs, images, require_images=False)
    if not set(folds) <= set(listed.folds()):
        raise DatasetError(f"{pairs}: folds {listed.folds()} expected, got {folds}")
    tested = (pair for pair in listed if pair.fold in folds)
    return {photo.person for pair in tested for photo in (pair.image_a, pair.image_b)}
