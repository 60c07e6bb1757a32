"""The layouts that data sets lie in, and the reader of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ._images import without_suffix
from .agedb import read_agedb
from .celeba_attributes import read_celeba_attributes
from .celeba_people import read_celeba_people
from .cfp import read_cfp_people
from .class_folders import read_class_folders
from .coco import read_coco
from .cvat import read_cvat
from .facepoint import read_facepoint
from .fairface import read_fairface
from .fgnet import read_fgnet
from .folders import read_folder
from .genki4k import read_genki4k
from .identities import read_identities
from .label_studio import read_label_studio
from .labelled import LabelledPhotos
from .people import People
from .photo import Dataset
from .pseudo_labels import read_pseudo_labels
from .results import read_results
from .tables import read_csv, read_parquet
from .utkface import read_utkface
from .voc import read_voc
from .wider import read_photo_list, read_wider
from .xmp import read_xmp
from .yolo import read_yolo

__all__ = ["LABEL_READERS", "PEOPLE_READERS", "PHOTO_READERS", "read_photos"]


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


def _xmp(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
    assert annotations is None and include is None
    return read_xmp(images, strict=strict)


def _exchanged(read: Callable[..., Dataset]) -> Callable[[Path, Path | None, Path | None, bool], Dataset]:
    """A reader of a file or folder of annotations, given the photos' folder."""

    def photos(images: Path, annotations: Path | None, include: Path | None, strict: bool) -> Dataset:
        assert annotations is not None and include is None
        return read(annotations, images, strict=strict)

    return photos


PHOTO_READERS: Mapping[str, Callable[[Path, Path | None, Path | None, bool], Dataset]] = {
    "wider": _wider,
    "coco": _coco,
    "folder": _no_face,
    "facepoint": _exchanged(read_facepoint),
    "pseudo": _pseudo,
    "cvat": _exchanged(read_cvat),
    "voc": _exchanged(read_voc),
    "yolo": _exchanged(read_yolo),
    "labelstudio": _exchanged(read_label_studio),
    "jsonl": _exchanged(read_results),
    "csv": _exchanged(read_csv),
    "parquet": _exchanged(read_parquet),
    "xmp": _xmp,
}
"""By layout: takes the folder of the photos, the annotation, the list of photos, and whether to be strict."""

PEOPLE_READERS: Mapping[str, Callable[..., People]] = {
    "identities": read_identities,
    "lfw": read_identities,
    "celeba_people": read_celeba_people,
    "utkface": read_utkface,
    "agedb": read_agedb,
    "fgnet": read_fgnet,
    "cfp_people": read_cfp_people,
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
