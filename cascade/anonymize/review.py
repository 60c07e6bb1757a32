"""What is hidden and what is not, in one file that can be edited: a review, from which photos are rendered again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

from cascade import private_files
from cascade.anonymize.settings import Hiding
from cascade.anonymize.shapes import faces_of
from cascade.faces import Faces

__all__ = [
    "Decision",
    "Review",
    "ReviewError",
    "ReviewedPhoto",
    "ReviewedTrack",
    "ReviewedVideo",
    "Status",
    "hash_of",
    "is_review",
    "read_review",
    "write_review",
]

FORMAT, VERSION = "cascade anonymize review", 1
LARGEST = 1 << 30  # bytes of a review that is read
BEGINNING = re.compile(rb'\s*\{\s*"format"\s*:\s*"' + FORMAT.encode() + rb'"')

Status = Literal["hide", "keep", "doubtful"]
STATUSES: tuple[Status, ...] = get_args(Status)


class ReviewError(ValueError):
    """A review cannot be read or does not fit its photos. The message names the place in the file."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a face: "hide", "keep" (it stays visible), or "doubtful" (it is hidden, look at it)."""

    status: Status
    reason: str = ""
    """Why it is doubtful."""

    @property
    def hidden(self) -> bool:
        """Whether the face is hidden: what is doubtful is."""
        return self.status != "keep"


@dataclass(frozen=True, eq=False)
class ReviewedPhoto:
    """A photo, its faces in pixels of the upright photo, and what becomes of each.

    ``path`` is relative to `Review.base`, with forward slashes. ``sha256`` is that of the file.
    """

    path: str
    sha256: str
    width: int
    height: int
    faces: Faces
    decisions: tuple[Decision, ...]

    def hidden(self) -> Faces:
        """The faces that are hidden."""
        return self.faces[[each.hidden for each in self.decisions]]


@dataclass(frozen=True, eq=False)
class ReviewedTrack:
    """A face over the frames of a video. ``faces`` has one row for each of ``frames``, rising numbers from 0."""

    frames: tuple[int, ...]
    faces: Faces
    decision: Decision


@dataclass(frozen=True, eq=False)
class ReviewedVideo:
    """A video, and the tracks of its faces in pixels of the upright frames."""

    path: str
    sha256: str
    width: int
    height: int
    frames: int
    tracks: tuple[ReviewedTrack, ...]


@dataclass(frozen=True, eq=False)
class Review:
    """Photos and videos below the folder ``base``, and how faces are hidden."""

    base: str
    hiding: Hiding
    photos: tuple[ReviewedPhoto, ...] = ()
    videos: tuple[ReviewedVideo, ...] = ()


def hash_of(path: str | Path) -> str:
    """The SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_review(path: str | Path) -> bool:
    """Whether a file begins as reviews do, also edited ones. False for what cannot be read."""
    try:
        with open(path, "rb") as file:
            return BEGINNING.match(file.read(200)) is not None
    except OSError:
        return False


def write_review(path: str | Path, review: Review) -> None:
    """Write a review as JSON, for its owner alone: where faces are, and whose stay visible. Raises OSError."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "base": review.base,
        "hiding": asdict(review.hiding),
        "photos": [_photo_record(photo) for photo in review.photos],
        "videos": [_video_record(video) for video in review.videos],
    }
    with private_files.replacing(path, always_private=True) as stream:
        stream.write((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))


def read_review(path: str | Path) -> Review:
    """Read a review that `write_review` wrote and somebody may have edited. Raises `ReviewError` naming the file."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ReviewError(f"expected at most {LARGEST:,} bytes")
        return _review(json.loads(data.decode("utf-8", "surrogateescape")))
    except OSError as error:
        raise ReviewError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and ReviewError are ValueErrors
        raise ReviewError(f"{path}: {str(error)[:300]}") from error


# Writing


def _photo_record(photo: ReviewedPhoto) -> dict[str, Any]:
    faces = [
        {"status": decision.status, "reason": decision.reason, **face}
        for decision, face in zip(photo.decisions, photo.faces.to_dicts(), strict=True)
    ]
    return _file_record(photo) | {"faces": [_rounded(face) for face in faces]}


def _video_record(video: ReviewedVideo) -> dict[str, Any]:
    tracks = [
        {
            "status": track.decision.status,
            "reason": track.decision.reason,
            "frames": [
                _rounded({"frame": frame, **face})
                for frame, face in zip(track.frames, track.faces.to_dicts(), strict=True)
            ],
        }
        for track in video.tracks
    ]
    return _file_record(video) | {"frames": video.frames, "tracks": tracks}


def _file_record(file: ReviewedPhoto | ReviewedVideo) -> dict[str, Any]:
    return {name: getattr(file, name) for name in ("path", "sha256", "width", "height")}


def _rounded(face: dict[str, Any]) -> dict[str, Any]:
    """A face with coordinates of a tenth of a pixel and without further data."""
    points = {name: [round(value, 1) for value in point] for name, point in face["landmarks"].items()}
    box = [round(value, 1) for value in face["box"]]
    further = {name: face[name] for name in ("status", "reason", "frame") if name in face}
    return further | {"box": box, "score": round(face["score"], 4), "landmarks": points}


# Reading


def _review(record: Any) -> Review:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ReviewError(f'expected an object with "format": "{FORMAT}"')
    if record.get("version") != VERSION:
        raise ReviewError(f"version: expected {VERSION}, got {record.get('version')!r}")
    known = {field.name for field in fields(Hiding)}
    hiding = _mapping(record.get("hiding", {}), "hiding")
    if unknown := sorted(set(hiding) - known):
        raise ReviewError(f"hiding: there is no setting {unknown[0]!r}")
    try:
        settings = Hiding(**hiding)
    except (TypeError, ValueError) as error:
        raise ReviewError(f"hiding: {error}") from error
    photos = [_photo(each, f"photos[{at}]") for at, each in enumerate(_list(record.get("photos", []), "photos"))]
    videos = [_video(each, f"videos[{at}]") for at, each in enumerate(_list(record.get("videos", []), "videos"))]
    return Review(_value(record, "base", str, "base"), settings, tuple(photos), tuple(videos))


def _photo(record: Any, where: str) -> ReviewedPhoto:
    rows = _list(_value(record, "faces", list, where), where)
    faces = _faces(rows, f"{where}.faces")
    decisions = tuple(_decision(row, f"{where}.faces[{at}]") for at, row in enumerate(rows))
    return ReviewedPhoto(**_file(record, where), faces=faces, decisions=decisions)


def _video(record: Any, where: str) -> ReviewedVideo:
    count = _value(record, "frames", int, where)
    tracks = []
    for at, each in enumerate(_value(record, "tracks", list, where)):
        place = f"{where}.tracks[{at}]"
        rows = _value(each, "frames", list, place)
        frames = tuple(_value(row, "frame", int, f"{place}.frames[{k}]") for k, row in enumerate(rows))
        if any(later <= earlier for earlier, later in pairwise((-1, *frames))):
            raise ReviewError(f"{place}.frames: expected rising frame numbers from 0")
        tracks.append(ReviewedTrack(frames, _faces(rows, f"{place}.frames"), _decision(each, place)))
    return ReviewedVideo(**_file(record, where), frames=count, tracks=tuple(tracks))


def _file(record: Any, where: str) -> dict[str, Any]:
    path = _value(record, "path", str, where)
    if Path(path).is_absolute() or ".." in Path(path).parts or not path:
        raise ReviewError(f"{where}.path: expected a path below the base folder, got {path!r}")
    kinds = {"sha256": str, "width": int, "height": int}
    return {"path": path, **{name: _value(record, name, kind, where) for name, kind in kinds.items()}}


def _faces(rows: Sequence[Any], where: str) -> Faces:
    """Faces; one that was added by hand needs its box alone."""
    try:
        return Faces.from_dicts([_completed(row) for row in rows]) if rows else Faces.empty()
    except (ValueError, TypeError, LookupError) as error:
        raise ReviewError(f"{where}: {error}") from error


def _completed(row: Any) -> Mapping[str, Any]:
    """A face with a score and landmarks where it has none."""
    return {**faces_of([row["box"]]).to_dicts()[0], **row}


def _decision(record: Any, where: str) -> Decision:
    status = _value(record, "status", str, where)
    if status not in STATUSES:
        raise ReviewError(f"{where}.status: expected one of {', '.join(STATUSES)}, got {status!r}")
    return Decision(status, str(record.get("reason", "")))


def _value(record: Any, name: str, kind: type, where: str) -> Any:
    value = _mapping(record, where).get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {str: "text", int: "an integer", list: "a list"}
        raise ReviewError(f"{where}.{name}: expected {words[kind]}, got {value!r:.60}")
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReviewError(f"{where}: expected an object, got {value!r:.60}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ReviewError(f"{where}: expected a list, got {value!r:.60}")
    return value
