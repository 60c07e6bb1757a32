"""FairFace: face crops with age group, gender and race."""

from __future__ import annotations

from pathlib import Path

from .label_csv import Row, read_table
from .labelled import LabelledPhotos

__all__ = ["FAIRFACE_AGES", "FAIRFACE_RACES", "read_fairface"]

FAIRFACE_AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
"""FairFace's age groups in years; it writes the last one "more than 70"."""

FAIRFACE_RACES = ("White", "Black", "East Asian", "Southeast Asian", "Indian", "Middle Eastern", "Latino_Hispanic")
"""FairFace's races, as it writes them."""


def read_fairface(file: str | Path, images: str | Path, *, strict: bool = False) -> LabelledPhotos:
    """Read a CSV file of FairFace, such as ``fairface_label_val.csv``; names in it are below ``images``.

    Labels are age (one of `FAIRFACE_AGES`), gender ("male", "female") and ethnicity (one of `FAIRFACE_RACES`). A line
    with another label is left out and noted with its number.

    The data set is K. Kärkkäinen, J. Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age,
    WACV 2021.

    Raises DatasetError when the file cannot be read or has no usable line, or, if ``strict``, for the first problem.
    """
    found = read_table(Path(file), Path(images), "file", _labels, strict)
    return LabelledPhotos("fairface", found.photos, found.problems)


def _labels(row: Row) -> dict[str, str]:
    age = "70+" if row["age"] == "more than 70" else row["age"]
    labels = {"age": age, "gender": row["gender"].lower(), "ethnicity": row["race"]}
    known = {"age": FAIRFACE_AGES, "gender": ("male", "female"), "ethnicity": FAIRFACE_RACES}
    for attribute, label in labels.items():
        if label not in known[attribute]:
            raise ValueError(f"{attribute} {label!r}, expected one of {', '.join(known[attribute])}")
    return labels
