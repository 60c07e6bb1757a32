"""The manifest of an index: its format, and the networks and settings that all of its rows come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cascade.archive.errors import ArchiveError, ArchiveMismatchError, cannot_be_read
from cascade.gallery_errors import GalleryError
from cascade.gallery_file import EmbeddingModel
from cascade.private_files import replacing

__all__ = ["FORMAT", "MANIFEST", "Manifest", "Network"]

FORMAT = "cascade-index-1"
MANIFEST = "manifest.json"
LARGEST = 1 << 20  # bytes of a manifest; it has about a thousand
COLUMN_KINDS = ("float32", "string")


@dataclass(frozen=True)
class Network:
    """Weights by their name and SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What all rows of an index have in common."""

    detector: Network
    recognizer: Network
    dimension: int
    """Numbers of an embedding."""
    settings: Mapping[str, Any]
    """By name, what the detector, the recogniser and the reading of photos were set to: numbers, text, lists, None."""
    attributes: Network | None = None
    attribute_columns: Mapping[str, str] = field(default_factory=dict)
    """The columns of attributes that the faces' tables have, "float32" or "string" each."""
    earlier: tuple[str, ...] = field(default=(), compare=False)
    """SHA-256 of other files of the same recogniser; they are not written down."""

    def __post_init__(self) -> None:
        for name in ("settings", "attribute_columns"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        columns = dict(self.attribute_columns)
        settings = dict(self.settings)
        rest = (self.attributes, columns, self.earlier)
        return Manifest, (self.detector, self.recognizer, self.dimension, settings, *rest)

    @property
    def model(self) -> EmbeddingModel:
        """The network of the embeddings, as a `cascade.Gallery` knows it."""
        return EmbeddingModel(self.recognizer.name, self.recognizer.sha256, self.dimension)

    def to_dict(self) -> dict[str, Any]:
        """What is written to the file."""
        return {
            "format": FORMAT,
            "detector": asdict(self.detector),
            "recognizer": {**asdict(self.recognizer), "dimension": self.dimension},
            "attributes": None
            if self.attributes is None
            else {**asdict(self.attributes), "columns": dict(self.attribute_columns)},
            "settings": dict(self.settings),
        }

    def write(self, folder: Path) -> None:
        """Writes it to the folder. Raises OSError."""
        with replacing(folder / MANIFEST) as stream:
            stream.write((json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of the index in a folder. Raises `ArchiveError`, `ArchiveMismatchError` for another format."""
        path = folder / MANIFEST
        try:
            with open(path, "rb") as stream:
                data = stream.read(LARGEST + 1)
        except FileNotFoundError:
            raise ArchiveError(f"{folder}: there is no index, as it has no {MANIFEST}") from None
        except OSError as error:
            raise ArchiveError(f"{path}: {cannot_be_read(error)}") from error
        try:
            told = json.loads(data)
            format_of_file = told["format"]
            if format_of_file == FORMAT:
                return cls._from_dict(told)
        except (AttributeError, GalleryError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ArchiveError(f"{path}: damaged, or no manifest of an index ({error!r})") from error
        raise ArchiveMismatchError(f"{path}: expected format {FORMAT!r}, got {str(format_of_file)[:80]!r}")

    @classmethod
    def _from_dict(cls, told: Mapping[str, Any]) -> Manifest:
        recognizer, attributes = dict(told["recognizer"]), told["attributes"]
        dimension = recognizer.pop("dimension")
        attributes = None if attributes is None else dict(attributes)
        columns = dict(attributes.pop("columns")) if attributes else {}
        if not all(kind in COLUMN_KINDS for kind in columns.values()):
            raise ValueError(f"columns: expected {' or '.join(COLUMN_KINDS)}, got {columns}")
        found = cls(
            Network(**told["detector"]),
            Network(**recognizer),
            dimension,
            dict(told["settings"]),
            Network(**attributes) if attributes else None,
            columns,
        )
        found.model  # noqa: B018 its checks
        return found

    def check_same(self, wanted: Manifest, folder: Path) -> None:
        """Raises `ArchiveMismatchError` unless rows of ``wanted`` can be added to the index in the folder."""
        if self.recognizer.sha256 not in (wanted.recognizer.sha256, *wanted.earlier):
            raise _mismatch(folder, "recogniser", self.recognizer, wanted.recognizer)
        if self.detector.sha256 != wanted.detector.sha256:
            raise _mismatch(folder, "detector", self.detector, wanted.detector)
        if self.attribute_columns != wanted.attribute_columns:
            was, now = (", ".join(each.attribute_columns) or "none" for each in (self, wanted))
            raise ArchiveMismatchError(f"{folder}: the index has the attributes {was}; this run would write {now}")
        if self.attributes and wanted.attributes and self.attributes.sha256 != wanted.attributes.sha256:
            raise _mismatch(folder, "attributes", self.attributes, wanted.attributes)
        for name in {**self.settings, **wanted.settings}:
            before, after = self.settings.get(name), wanted.settings.get(name)
            if before != after:
                raise ArchiveMismatchError(
                    f"{folder}: the index was made with {name} {before}, and this run has {after}; "
                    "use the same, or another folder"
                )


def _mismatch(folder: Path, kind: str, before: Network, after: Network) -> ArchiveMismatchError:
    was, now = (f"{network.name[:40]} ({network.sha256[:12]}…)" for network in (before, after))
    return ArchiveMismatchError(f"{folder}: the index is of the {kind} {was}, this run of {now}; use another folder")
