"""Face regions in XMP, beside photos or in them: what photo managers read and write.

Regions are written in two schemas, that of the Metadata Working Group and Microsoft's, so that digiKam, Lightroom,
programs that came of Picasa, and Immich find them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from cascade.imaging.formats import is_photo
from cascade.imaging.orientation import stored_points, upright_points
from cascade.imaging.reading import ImageError, StoredSize, read_size
from cascade.imaging.xmp import find_xmp, with_xmp
from cascade.private_files import replacing

from ._images import ProblemLog
from ._listing import MODE, NAME, Add, LabelledFace, Listed, faces_of, photos_of, relative_name
from ._xmp_packet import Region, merge_regions, read_regions
from .photo import Dataset, DatasetError, Photo

__all__ = ["open_xmp", "read_xmp"]

Sidecars = Literal["photo.jpg.xmp", "photo.xmp"]

MAX_SIDECAR = 1 << 26  # bytes


def read_xmp(folder: str | Path, *, strict: bool = False) -> Dataset:
    """Read the face regions of all photos below a folder, out of photo.jpg.xmp, photo.xmp or the photo itself.

    The first of the three that has regions counts. Boxes become pixels of the upright photo, x1, y1, x2, y2, by the
    EXIF orientation of the photo's file; the attribute "name" has the names, empty where there are none. There are no
    landmarks. Photos without regions are left out, and none counts as fully labelled: people are named here, and not
    every face has a region.

    Raises DatasetError when there is no such folder, or, if ``strict``, for the first problem.
    """
    root, log = Path(folder), ProblemLog(strict)
    photos = tuple(xmp_photos(root, log))
    return Dataset(root.name, photos, tuple(log.problems))


def xmp_photos(folder: Path, log: ProblemLog) -> Iterator[Photo]:
    """Yield the photos below a folder that have face regions. Raises DatasetError."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    yield from photos_of(folder, folder, _entries(folder, log), log, fully_labelled=False)


def _entries(folder: Path, log: ProblemLog) -> Iterator[Listed]:
    for where, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(where) / name
            if not is_photo(name) or name.startswith("."):
                continue
            try:
                regions = _regions_of(path)
                if regions:
                    yield _listed(path.relative_to(folder).as_posix(), regions, read_size(path))
            except (ImageError, OSError, ValueError) as error:
                log.add(path, None, str(error).removeprefix("image: ").removeprefix(f"{path}: "))


def _regions_of(path: Path) -> list[Region]:
    for sidecar in (path.with_name(f"{path.name}.xmp"), path.with_suffix(".xmp")):
        packet = _read_sidecar(sidecar)
        if packet is not None and (regions := read_regions(packet, str(sidecar))):
            return regions
    embedded = _embedded(path)
    return [] if embedded is None else read_regions(embedded, str(path))


def _listed(name: str, regions: list[Region], size: StoredSize) -> Listed:
    scale = np.array(size.upright, np.float64)
    faces = []
    for region in regions:
        corners = upright_points([[region.x1, region.y1], [region.x2, region.y2]], size.orientation) * scale
        box = [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
        faces.append(LabelledFace(box, None, False, {NAME: region.name}))
    return Listed(name, faces, size.upright)


def _read_sidecar(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_SIDECAR:
        raise DatasetError(f"{path}: expected at most {MAX_SIDECAR:,} bytes of XMP, got more")
    return data


def _embedded(path: Path) -> bytes | None:
    """The XMP packet in a JPEG or PNG file; None in other formats, where it is not looked for."""
    with path.open("rb") as file:
        start = file.read(8)
        if not start.startswith((b"\xff\xd8\xff", b"\x89PNG")):
            return None
        data = start + file.read()
    return find_xmp(data)


# --------------------------------------------------------------------------------------------------
# Writing


@contextmanager
def open_xmp(
    folder: str | Path | None = None, *, into_files: bool = False, sidecars: Sidecars = "photo.jpg.xmp"
) -> Iterator[Add]:
    """Write face regions as XMP: yields the function that adds a photo.

    folder      where the sidecars go, under the photos' names; None: beside the photos
    into_files  write into the photos themselves, which have to be JPEG or PNG, in place of sidecars. Pixels and other
                metadata stay as they are. The file is replaced once the new one is complete
    sidecars    their names: "photo.jpg.xmp", as digiKam, darktable and Immich have them, or "photo.xmp", as Lightroom

    Regions are in parts of the stored picture, as both schemas say: the photo's file has to be there, for its size and
    orientation. Boxes are cut at the photo's edges. ``ignored`` faces, scores and landmarks are left out. Regions that
    are there stay, and so does everything else in a packet; a face that overlaps one by half is the same face. A new
    sidecar begins with what the photo's own packet says, which it replaces for the programs that read it. A photo
    without a face gets no sidecar.

    Raises OSError, and ValueError for a photo that is not there or has another size than its annotation says, for
    packets that are no XMP, and for formats that cannot be written into.
    """
    if into_files and folder is not None:
        raise ValueError("folder: expected None with into_files, which writes into the photos where they are")

    def add(photo: Photo) -> None:
        regions, size = _regions(photo)
        if not regions:
            return
        if into_files:
            _write_into(photo.path, regions, size)
        else:
            _write_sidecar(photo.path, _sidecar_of(photo, folder, sidecars), regions, size)

    yield add


def _sidecar_of(photo: Photo, folder: str | Path | None, sidecars: Sidecars) -> Path:
    base = photo.path if folder is None else Path(folder) / relative_name(photo)
    return base.with_name(f"{base.name}.xmp") if sidecars == "photo.jpg.xmp" else base.with_suffix(".xmp")


def _regions(photo: Photo) -> tuple[list[Region], tuple[int, int]]:
    """The faces in parts of the stored picture, and its size. Raises ValueError."""
    try:
        size = read_size(photo.path)
    except ImageError as error:
        raise ValueError(f"{photo.name}: {str(error).removeprefix('image: ')}") from None
    if photo.size is not None and photo.size != size.upright:
        was, now = ("×".join(map(str, each)) for each in (photo.size, size.upright))
        raise ValueError(f"{photo.name}: it has {now} pixels, and its faces are of a photo of {was}; detect them again")
    scale = np.array(size.upright, np.float64)
    regions = []
    for face in faces_of(photo):
        corners = np.clip(np.array(face.box, np.float64).reshape(2, 2) / scale, 0.0, 1.0)
        if face.ignored or (corners[1] <= corners[0]).any():
            continue
        stored = stored_points(corners, size.orientation)
        (x1, y1), (x2, y2) = stored.min(axis=0).tolist(), stored.max(axis=0).tolist()
        regions.append(Region(x1, y1, x2, y2, str(face.labels.get(NAME, ""))))
    return regions, (size.width, size.height)


def _write_into(path: Path, regions: list[Region], size: tuple[int, int]) -> None:
    data = path.read_bytes()
    packet = merge_regions(find_xmp(data), regions, size, str(path))
    if packet is not None:
        written = with_xmp(data, packet)
        with replacing(path) as stream:
            stream.write(written)


def _write_sidecar(path: Path, sidecar: Path, regions: list[Region], size: tuple[int, int]) -> None:
    before = _read_sidecar(sidecar)
    packet = merge_regions(_embedded(path) if before is None else before, regions, size, str(sidecar))
    if packet is not None:  # else the sidecar, or the photo itself, has all regions
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        with replacing(sidecar, mode=MODE) as stream:
            stream.write(packet)
