"""The data sets that training and evaluation know by name: where each lies, what it is for, and how it is read.

A new data set is one reader and one entry here. Paths are below a data folder that the caller names. `train` takes only
sets whose split is "train", `eval` those of the splits "holdout" (for choosing models and thresholds) and "test".
"""

from __future__ import annotations

from collections.abc import Mapping

from .entry import Entry, Split

__all__ = ["REGISTRY"]

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
    "cfp_people": Entry(
        kind="cfp_people",
        images="cfp",
        split="test",
        labels=("identity",),
        licence="none stated; for evaluation only, not redistributed",
        title="CFP, people",
        note="CFP complete, 7,000 photos of 500 people, 4 of 14 in profile",
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
