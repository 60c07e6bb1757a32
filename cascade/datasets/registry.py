"""The data sets that training and evaluation know by name: where each lies, what it is for, and how it is read.

A new data set is one reader and one entry here. Paths are below a data folder that the caller names. `train` takes only
sets whose split is "train", `eval` those of the splits "holdout" (for choosing models and thresholds) and "test".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ._images import without_suffix
from .agedb import read_agedb
from .celeba_attributes import read_celeba_attributes
from .celeba_people import read_celeba_people
from .class_folders import read_class_folders
from .coco import read_coco
from .fairface import read_fairface
from .fgnet import read_fgnet
from .folders import read_folder
from .genki4k import read_genki4k
from .identities import read_identities
from .labelled import LabelledPhotos, labelled_people
from .lfw import read_lfw_pairs
from .people import Pairs, People
from .photo import Dataset, DatasetError
from .pseudo_labels import read_pseudo_labels
from .utkface import read_utkface
from .wider import read_photo_list, read_wider

__all__ = [
    "LABEL_READERS",
    "PEOPLE_READERS",
    "PHOTO_READERS",
    "REGISTRY",
    "Entry",
    "people_in_folds",
    "read_photos",
]

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


def read_photos(
    kind: str,
    images: Path,
    annotations: Path | None = None,
    *,
    include: Path | None = None,
    exclude: Path | None = None,
    strict: bool = False,
) -> Dataset:
    """Read photos for the detector in one of the layouts of `PHOTO_READERS`, those that are on disk.

    ``include`` and ``exclude`` are lists with one photo a line; image suffixes in them mean nothing. Raises
    DatasetError as the readers do.
    """
    dataset = PHOTO_READERS[kind](images, annotations, include, strict)
    excluded = set() if exclude is None else {without_suffix(name.strip()) for name in read_photo_list(exclude)}
    photos = tuple(photo for photo in dataset if without_suffix(photo.name) not in excluded)
    return Dataset(dataset.name, photos, dataset.problems)


def people_in_folds(pairs: Path, images: Path, folds: tuple[int, ...]) -> set[str | None]:
    """Return everybody in these folds of LFW's pairs. Raises DatasetError, also for a fold that is not there."""
    listed = read_lfw_pairs(pairs, images, require_images=False)
    if not set(folds) <= set(listed.folds()):
        raise DatasetError(f"{pairs}: folds {listed.folds()} expected, got {folds}")
    tested = (pair for pair in listed if pair.fold in folds)
    return {photo.person for pair in tested for photo in (pair.image_a, pair.image_b)}


def _wider(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
    photos = "present" if include is None else read_photo_list(include)
    assert annotations is not None
    return read_wider(annotations, images, photos=photos, strict=strict)


def _coco(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
    assert annotations is not None and include is None
    return read_coco(annotations, images, strict=strict)


def _no_face(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
    assert annotations is None and include is None
    return read_folder(images, fully_labelled=True, strict=strict)


def _pseudo(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
    assert annotations is not None and include is None
    return read_pseudo_labels(annotations, images, strict=strict)


PHOTO_READERS: Mapping[str, Callable[[Path, Path | None, Path | None, bool], Dataset]] = {
    "wider": _wider,
    "coco": _coco,
    "folder": _no_face,
    "pseudo": _pseudo,
}
"""By layout: takes the folder of the photos, the annotation, the list of photos, and whether to be strict."""

PEOPLE_READERS: Mapping[str, Callable[..., People]] = {
    "identities": read_identities,
    "lfw": read_identities,
    "celeba_people": read_celeba_people,
    "utkface": read_utkface,
    "agedb": read_agedb,
    "fgnet": read_fgnet,
}
"""By layout: takes the folder of the photos, each of which shows one person."""


def _fairface(images: Path, annotations: Path | None, strict: bool) -> LabelledPhotos:
    assert annotations is not None
    return read_fairface(annotations, images, strict=strict)


def _celeba(images: Path, annotations: Path | None, strict: bool) -> LabelledPhotos:
    assert annotations is not None
    return read_celeba_attributes(annotations, images, strict=strict)


LABEL_READERS: Mapping[str, Callable[[Path, Path | None, bool], LabelledPhotos]] = {
    "fairface": _fairface,
    "fer2013": lambda images, _, strict: read_class_folders(images, "expression", strict=strict),
    "genki4k": lambda images, _, strict: read_genki4k(images, strict=strict),
    "celeba": _celeba,
}
"""By layout: takes the folder of the photos, the annotation, and whether to be strict; each photo shows one face."""

_WIDER_MIN_SIZE = 12.0
_NET7876_BOX_RULE = (-0.02, -0.305, 0.045, 0.13)
_RESEARCH = "research only, as far as it is stated; no redistribution"


def _pseudo_labelled(name: str, licence: str, note: str) -> Entry:
    """A set of photos without labels. The files of their pseudo-labels are in ``train/recipes/pseudo_labels``."""
    return Entry(
        kind="pseudo",
        images=f"photos/{name}",
        annotations=f"photos/{name}.json.gz",
        split="train",
        labels=("boxes",),
        licence=licence,
        title=f"{name}, pseudo-labelled",
        note=f"{note}, pseudo-labelled",
    )


_NOT_STATED = "none stated; for training only, not redistributed"


_FAIRFACE = "CC BY 4.0 as far as is known"


def _fer2013(part: str, split: Split, note: str) -> Entry:
    """One part of FER2013 as published."""
    return Entry(
        kind="fer2013",
        crops=True,
        images=f"fer2013/{part}",
        split=split,
        labels=("expression",),
        licence=_RESEARCH,
        title=f"FER2013, {part}",
        note=note,
    )


REGISTRY: Mapping[str, Entry] = {
    # Testing the detector.
    "wider_val": Entry(
        kind="wider",
        images="wider/WIDER_val",
        annotations="wider/wider_face_split/wider_face_val.mat",
        split="test",
        labels=("boxes",),
        min_size=_WIDER_MIN_SIZE,
        licence=_RESEARCH,
        title="WIDER FACE, subset of validation",
        note="3 of the 61 events of WIDER FACE validation, faces from 12 px; not WIDER FACE AP",
    ),
    "fddb_single": Entry(
        kind="coco",
        images="fddb_single",
        annotations="fddb_single/annotations.json",
        split="test",
        labels=("boxes",),
        licence=_RESEARCH,
        title="FDDB, photos of one face",
        note="FDDB photos with exactly one labelled face, boxes around the ellipses; not FDDB",
    ),
    "no_face": Entry(
        kind="folder",
        images="no_face/test",
        split="test",
        labels=("no_face",),
        licence=_RESEARCH,
        title="photos without a face",
        note="natural photos without any face",
    ),
    "net7876": Entry(
        kind="coco",
        images="net7876",
        annotations="net7876/test.json",
        split="test",
        labels=("boxes", "landmarks"),
        fully_labelled=False,
        licence=_RESEARCH,
        title="net7876, landmarks",
        note="web photos with five landmarks of one face each; others may be there, unlabelled",
    ),
    # Choosing among detectors, thresholds and settings.
    "wider_train_holdout": Entry(
        kind="wider",
        images="wider/WIDER_train",
        annotations="wider/wider_face_split/wider_face_train.mat",
        include="wider/validation_from_train.txt",
        split="holdout",
        labels=("boxes",),
        min_size=_WIDER_MIN_SIZE,
        licence=_RESEARCH,
        title="WIDER FACE, held out of training",
        note="photos of the WIDER FACE training set kept for choosing models, faces from 12 px",
    ),
    "photos_holdout": Entry(
        kind="pseudo",
        images="photos",
        annotations="photos/holdout.json.gz",
        split="holdout",
        labels=("boxes",),
        min_size=_WIDER_MIN_SIZE,
        licence=_NOT_STATED,
        title="photos held out, pseudo-labelled",
        note="300 photos of the pseudo-labelled sets, for choosing models; faces from 12 px, as detectors see them",
    ),
    # Training the detector.
    "wider_train": Entry(
        kind="wider",
        images="wider/WIDER_train/images",
        annotations="wider/wider_face_split/wider_face_train.mat",
        exclude="wider/validation_from_train.txt",
        split="train",
        labels=("boxes",),
        licence=_RESEARCH,
        title="WIDER FACE, training",
        note="WIDER FACE training photos (Parade, Handshaking, Demonstration and Press Conference)",
    ),
    "net7876_train": Entry(
        kind="coco",
        images="net7876",
        annotations="net7876/train.json",
        split="train",
        labels=("boxes", "landmarks"),
        fully_labelled=False,
        # Boxes from brow to chin, one face labelled in each photo. The rule moves the edges to where a detector trained
        # on WIDER FACE puts them: the median over the 2,000 training faces.
        box_rule=_NET7876_BOX_RULE,
        licence=_RESEARCH,
        title="net7876, training",
        note="2,000 net_7876 training photos, boxes moved to the WIDER FACE convention",
    ),
    "face_masks": Entry(
        kind="coco",
        images="face_masks",
        annotations="face_masks/annotations.json",
        split="train",
        labels=("boxes",),
        fully_labelled=False,
        box_rule=(-0.015, -0.07, 0.0, -0.02),
        licence="none stated: web photos of a student project",
        title="faces with masks",
        note="320 photos with face masks, boxes moved; a few faces in the background have no label",
    ),
    "no_face_train": Entry(
        kind="folder",
        images="no_face/train",
        split="train",
        labels=("no_face",),
        licence=_RESEARCH,
        title="photos without a face, training",
        note="184 BSDS500 photos without faces",
    ),
    # Training the detector on photos without labels.
    "portraits": _pseudo_labelled("portraits", _RESEARCH, "portraits (HELEN, training part, and AFW)"),
    "classes": _pseudo_labelled("classes", _NOT_STATED, "classes and meetings (SCUT-HEAD, part B)"),
    "everyday": _pseudo_labelled("everyday", _NOT_STATED, "everyday scenes (OSIE), half of them without people"),
    "masks": _pseudo_labelled("masks", _NOT_STATED, "crowds with face masks, web photos of a student project"),
    "objects": _pseudo_labelled("objects", _NOT_STATED, "one photo of each ImageNet class, mostly without people"),
    "sports": _pseudo_labelled("sports", _NOT_STATED, "sports: teams, crowds, podiums; web photos"),
    "fashion": _pseudo_labelled("fashion", _NOT_STATED, "street fashion (Clothing Co-Parsing)"),
    # Recognition and age.
    "lfw_train": Entry(
        kind="lfw",
        images="lfw/images",
        pairs="lfw/pairs.txt",
        without_folds=(9, 10),
        split="train",
        labels=("identity",),
        licence=_RESEARCH,
        title="LFW, training",
        note="Labeled Faces in the Wild, at most 8 photos a person, without the people in folds 9 and 10 of View 2",
    ),
    "lfw_pairs": Entry(
        kind="lfw_pairs",
        images="lfw/images",
        pairs="lfw/pairs.txt",
        folds=(9, 10),
        split="test",
        labels=("pairs",),
        licence=_RESEARCH,
        title="LFW, folds 9 and 10",
        note="the 1,200 pairs of folds 9 and 10 of View 2; not LFW's ten-fold accuracy",
    ),
    "celeba_people": Entry(
        kind="celeba_people",
        images="celeba/images",
        split="train",
        labels=("identity",),
        licence="non-commercial research",
        title="CelebA, people",
        note="6,300 CelebA photos as taken of 299 people, who are numbers",
    ),
    "utkface_train": Entry(
        kind="utkface",
        crops=True,
        images="utkface/train",
        split="train",
        labels=("age", "gender", "ethnicity"),
        licence="non-commercial research",
        title="UTKFace, training",
        note="UTKFace, 8,179 training photos with ages (non-commercial research)",
    ),
    "utkface_full": Entry(
        kind="utkface",
        crops=True,
        images="utkface_full",
        exclude="utkface_excluded.txt",
        split="train",
        labels=("age", "gender", "ethnicity"),
        licence="non-commercial research",
        title="UTKFace, all but the test part",
        note="UTKFace without the photos of the validation and test parts and their near-duplicates",
    ),
    "utkface_val": Entry(
        kind="utkface",
        crops=True,
        images="utkface/val",
        split="holdout",
        labels=("age", "gender", "ethnicity"),
        licence="non-commercial research",
        title="UTKFace, validation",
        note="1,366 UTKFace crops for choosing models",
    ),
    "utkface_test": Entry(
        kind="utkface",
        crops=True,
        images="utkface/test",
        split="test",
        labels=("age", "gender", "ethnicity"),
        licence="non-commercial research",
        title="UTKFace, test",
        note="1,325 UTKFace crops",
    ),
    "fgnet": Entry(
        kind="fgnet",
        images="fgnet",
        split="test",
        labels=("identity", "age", "landmarks"),
        licence=_RESEARCH,
        title="FG-NET",
        note="FG-NET complete, 1,002 photos of 82 people aged 0 to 69",
    ),
    # What a face tells.
    "fairface_train": Entry(
        kind="fairface",
        crops=True,
        images="fairface",
        annotations="fairface/train.csv",
        split="train",
        labels=("age", "gender", "ethnicity"),
        licence=_FAIRFACE,
        title="FairFace, training",
        note="40,000 FairFace training crops: nine age groups, gender, seven races",
    ),
    "fairface_val": Entry(
        kind="fairface",
        crops=True,
        images="fairface",
        annotations="fairface/val.csv",
        split="test",
        labels=("age", "gender", "ethnicity"),
        licence=_FAIRFACE,
        title="FairFace, validation",
        note="5,000 FairFace validation crops",
    ),
    "fer2013_train": _fer2013("train", "train", "28,709 FER2013 training crops of 48 pixels, gray; some wrong labels"),
    "fer2013_val": _fer2013("validation", "holdout", "FER2013 PublicTest, 3,589 crops for choosing models"),
    "fer2013_test": _fer2013("test", "test", "FER2013 PrivateTest, 3,589 crops"),
    "genki4k": Entry(
        kind="genki4k",
        images="genki4k",
        split="train",
        labels=("smile", "pose"),
        licence=_RESEARCH,
        title="GENKI-4K",
        note="GENKI-4K, 4,000 web photos, smile or not; tested in four folds",
    ),
    "celeba_attributes": Entry(
        kind="celeba",
        images="celeba/images",
        annotations="celeba/list_attr_celeba.zip",
        split="train",
        labels=("gender", "smile"),
        licence="non-commercial research",
        title="CelebA, part",
        note="6,300 CelebA photos as taken, 40 attributes",
    ),
}
"""The data sets by name."""
