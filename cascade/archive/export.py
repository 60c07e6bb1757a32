"""The faces of an index for other programs: photos as `cascade.datasets` writes them, with the names of people."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.archive import remote
from cascade.archive.errors import ArchiveError
from cascade.archive.index import Index
from cascade.archive.locations import absolute, is_below
from cascade.archive.people import PeopleOfIndex
from cascade.archive.schema import path_of
from cascade.datasets.photo import Photo
from cascade.datasets.results import PhotoFaces, photos_from_faces
from cascade.faces import Faces

__all__ = ["photos_of_index"]

PHOTO_COLUMNS = ("photo_id", "path", "raw_path", "width", "height")
FACE_COLUMNS = ("photo_id", "face_id", "box", "score", "landmarks")


def photos_of_index(index: Index, images: str | Path | None = None, *, opened: bool = False) -> Iterator[Photo]:
    """Yield the photos of an index for `cascade.datasets.write_photos`, one shard in memory at a time.

    images  the folder that names start from; without it, and for photos elsewhere, the name is the path. A photo with a
            URL is a path without the protocol, that of its archive first, or what is below ``images``, then a URL, too.
            The protocol is a folder before it where paths of two stores begin alike
    opened  whether the photos are opened to write the format (`cascade.datasets.formats.Format.opens`), which those
            with a URL cannot be: then there may be none. Their paths may be those of other files here

    A face has the attributes "score", "quality", those of the index, and where somebody was given a name, "name".
    Photos that could not be read are left out, and so are embeddings: what is written is not for its owner alone.

    Raises `ArchiveError` for a damaged index, and before the first photo for those that cannot be opened.
    """
    if opened:
        _check_files(index)
    paths = _Paths(index, None if images is None else absolute(os.fsencode(images)))
    folder = None if images is None or remote.is_url(str(images)) else images
    for each in _results(index, _names(index)):
        if remote.is_url(each.path):
            yield from photos_from_faces([each._replace(path=paths(each.path))])
        else:
            yield from photos_from_faces([each], folder)


def _check_files(index: Index) -> None:
    for photos in index.iter_photos(("path", "width")):
        for photo in photos.to_pylist():
            if photo["width"] is not None and remote.is_url(photo["path"]):
                what = "expected photos in files of this machine, as they are opened"
                raise ArchiveError(f"{index.folder}: {what}, got {photo['path']}")


class _Paths:
    """What stands for the photos' URLs, as other programs take none; an archive is like a folder.

    Where two stores have a bucket of one name, or there is a folder of that name below ``root``, its photos are in a
    folder with the name of their store.
    """

    def __init__(self, index: Index, root: bytes | None) -> None:
        self._root = root
        self._stores: dict[str, set[str]] = {}
        """By the first folder of a path, or the photo itself."""
        for photos in index.iter_photos(("path", "raw_path", "width")):
            for photo in photos.to_pylist():
                if photo["width"] is not None:
                    store, path = self._place(path_of(photo["path"], photo["raw_path"]))
                    self._stores.setdefault(path.partition("/")[0], set()).add(store)

    def __call__(self, url: str) -> str:
        """A relative path with slashes."""
        store, path = self._place(url)
        if not store or len(self._stores[path.partition("/")[0]]) == 1:
            return path
        while store in self._stores:
            store += "_"
        return f"{store}/{path}"

    def _place(self, path: str) -> tuple[str, str]:
        """The protocol of the store and a path; no protocol for what is below the root, and for other files."""
        if self._root is not None and is_below(os.fsencode(path), self._root):
            root, name = (
                each.partition(remote.CHAIN)[0].replace(os.sep, "/") for each in (os.fsdecode(self._root), path)
            )
            return "", name[len(root.rstrip("/")) :].lstrip("/")
        if not remote.is_url(path):
            return "", path.replace(os.sep, "/")
        parts = [part.rpartition("://") for part in reversed(path.split(remote.CHAIN))]
        return parts[0][0] or "file", "/".join(name.strip("/") for _, _, name in parts)


def _names(index: Index) -> dict[str, str]:
    """The names of people by the ids of their faces."""
    people = PeopleOfIndex.load(index.folder)
    persons = zip(people.face_ids, people.persons.tolist(), strict=True)
    return {face: people.names[person] for face, person in persons if person in people.names}


def _results(index: Index, names: dict[str, str]) -> Iterator[PhotoFaces]:
    kinds = {"quality": "float32", **index.manifest.attribute_columns}
    shards = zip(index.iter_photos(PHOTO_COLUMNS), index.iter_faces([*FACE_COLUMNS, *kinds]), strict=True)
    for photos, faces in shards:
        of_photo: dict[str, list[dict[str, Any]]] = {}
        for face in faces.to_pylist():
            of_photo.setdefault(face["photo_id"], []).append(face)
        for photo in photos.to_pylist():
            if photo["width"] is not None:
                found = _faces(of_photo.get(photo["photo_id"], []), kinds, names)
                yield PhotoFaces(path_of(photo["path"], photo["raw_path"]), photo["width"], photo["height"], found)


def _faces(rows: list[dict[str, Any]], kinds: Mapping[str, str], names: Mapping[str, str]) -> Faces:
    if not rows:
        return Faces.empty()
    data = {name: _column([row[name] for row in rows], kind) for name, kind in kinds.items()}
    data["names"] = np.array([names.get(row["face_id"], "") for row in rows], np.str_)
    boxes, scores, points = (np.array([row[name] for row in rows]) for name in ("box", "score", "landmarks"))
    return Faces(boxes, scores, points.reshape(-1, 5, 2), data)


def _column(values: list[Any], kind: str) -> npt.NDArray[Any]:
    """Texts or numbers; what is not known is empty or NaN."""
    if kind == "string":
        return np.array([value or "" for value in values], np.str_)
    return np.array([np.nan if value is None else value for value in values], np.float32)
