"""UTKFace: face crops named by age, gender and race."""

from __future__ import annotations

import re
from pathlib import Path

from ._file_names import read_file_names
from ._images import without_suffix
from .people import People, PersonPhoto
from .photo import Photo

__all__ = ["UTKFACE_RACES", "read_utkface"]

UTKFACE_RACES = ("White", "Black", "Asian", "Indian", "other")
"""What the numbers of the attribute race mean in UTKFace."""

# The date's length varies; the aligned crops of the official archive end in ".jpg.chip.jpg".
_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+")


def read_utkface(root: str | Path, *, strict: bool = False) -> People:
    """Read every photo below a folder of UTKFace; file names are "age_gender_race_date.jpg".

    Attributes are gender, 0 male or 1 female, and race, a number into ``UTKFACE_RACES``. UTKFace does not
    say who is who: ``person`` is None. Names are paths below ``root``. Files named otherwise, of which the
    official archive has a few, are left out and reported together.

    The data set is Z. Zhang, Y. Song, H. Qi, Age Progression/Regression by Conditional Adversarial
    Autoencoder, CVPR 2017.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem.
    """
    return read_file_names("utkface", root, _label, _person_photo, "26_1_0_20170116184024662.jpg", strict)


def _person_photo(photo: Photo, label: re.Match[str]) -> PersonPhoto:
    labels = {"gender": int(label["gender"]), "race": int(label["race"])}
    return PersonPhoto(photo.path, photo.name, None, float(label["age"]), None, labels)


def _label(name: str) -> re.Match[str] | None:
    stem = without_suffix(without_suffix(name.rpartition("/")[2]).removesuffix(".chip"))
    return _NAME.fullmatch(stem)
