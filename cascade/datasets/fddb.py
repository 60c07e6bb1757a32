"""FDDB: the folds with their ellipses, and the standard detection files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ._geometry import ellipse_boxes, no_landmarks
from ._images import ImageFinder, ProblemLog, listed
from ._text import Block, LineError, decode, first_text, iterate_blocks, read_lines, take_block
from .detections import Boxed, Detections, checked_name, from_ellipses, from_rows, to_text
from .photo import Dataset, DatasetError, Photo

__all__ = ["ellipse_boxes", "read_fddb", "read_fddb_detections", "write_fddb_detections"]


def read_fddb(
    folds_dir: str | Path,
    images: str | Path | None = None,
    folds: Iterable[int] | None = None,
    *,
    require_images: bool = True,
    strict: bool = False,
) -> Dataset:
    """Read FDDB-fold-NN.txt (the photos) and FDDB-fold-NN-ellipseList.txt (their faces).

    images          the folder of 2002/ and 2003/; by default originalPics beside the folder of the folds, or
                    that folder's parent
    folds           the folds to read, in this order; by default all that are there
    require_images  False: keep photos that are not on disk, with the path they would have

    Names are as in the folds ("2002/08/11/big/img_591"); a photo is found by its stem with any of .jpg .jpeg
    .png .webp. ``ellipses`` are as in the file: major radius, minor radius (pixels), angle of the major axis
    (radians), centre. ``boxes`` are the tightest upright boxes around them, not clipped to the photo; without
    area they are ``ignored``. A photo with a broken entry is left out. Missing photos are reported once
    for each fold.

    Raises DatasetError when a fold cannot be read, none is there, or, if ``strict``, for the first problem.
    """
    folds_dir = Path(folds_dir)
    log = ProblemLog(strict)
    numbers = _folds_present(folds_dir) if folds is None else list(dict.fromkeys(folds))
    if images is None:
        beside = folds_dir.parent / "originalPics"
        images = beside if beside.is_dir() else folds_dir.parent
    finder = ImageFinder(Path(images))
    photos: dict[str, Photo] = {}
    for number in numbers:
        blocks = _fold(folds_dir, number, log)
        missing: list[str] = []
        source = folds_dir / f"FDDB-fold-{number:02d}-ellipseList.txt"
        for block in blocks:
            path = finder.by_stem(block.name)
            if path is None:
                missing.append(block.name)
                if require_images:
                    continue
                path = finder.root / f"{block.name}.jpg"
            if block.name in photos:
                log.add(source, block.line, f"{block.name}: listed twice, the first entry is kept")
                continue
            try:
                photos[block.name] = _photo(block, path)
            except ValueError as error:
                log.add(source, block.line, str(error))
        if require_images:
            log.add_missing(source, missing, len(blocks), finder.root)
    return Dataset("fddb", tuple(photos.values()), tuple(log.problems))


def read_fddb_detections(file: str | Path) -> dict[str, Detections]:
    """Read a detection file: for each photo its name, a count, and lines of x y width height score.

    Returns boxes in pixels (x1, y1, x2, y2) and scores by photo, in the order of the file. Lines of six
    numbers are ellipses (major radius, minor radius, angle, centre x, centre y, score): then ``ellipses`` is
    set too, and ``boxes`` are the boxes around them. A file holds one kind or the other.

    Raises DatasetError, with file and line, for a malformed line, another number of lines than announced,
    numbers that are not finite, negative sizes, a photo that comes twice, and an empty file.
    """
    file = Path(file)
    lines = read_lines(file)
    blocks: dict[str, Block] = {}
    widths: tuple[int, ...] = (5, 6)
    start = first_text(lines, 0)
    if start is None:
        raise DatasetError(f"{file}: holds no photo")
    try:
        while start is not None:
            block, behind = take_block(lines, start, widths)
            if block.name in blocks:
                raise LineError(block.line, "the photo comes twice", block.name)
            blocks[block.name] = block
            if len(block.rows):
                widths = (block.rows.shape[1],)
            start = first_text(lines, behind)
        make = from_ellipses if widths == (6,) else from_rows
        return {name: make(block.rows, block.line + 2, name) for name, block in blocks.items()}
    except LineError as error:
        raise DatasetError(f"{file}:{error.line}: {error}") from error


def write_fddb_detections(file: str | Path, detections: Mapping[str, Boxed]) -> None:
    """Write a detection file for ``read_fddb_detections`` or the official tool, photos in the order given.

    ``detections`` maps names to anything with ``boxes`` (N, 4) x1, y1, x2, y2 in pixels and ``scores`` (N,).
    Where they are Detections with ``ellipses``, ellipses are written. Numbers have all their digits.

    Raises ValueError, naming the photo, for an unfit name, unfit boxes or scores, and boxes mixed with
    ellipses.
    """
    filled = [found for found in detections.values() if len(found.scores)]
    kinds = {getattr(found, "ellipses", None) is not None for found in filled}
    if len(kinds) > 1:
        raise ValueError("a detection file cannot hold boxes in some photos and ellipses in others")
    text = "".join(to_text(name, found, checked_name(name), elliptic=True) for name, found in detections.items())
    Path(file).write_bytes(text.encode())


def _folds_present(folder: Path) -> list[int]:
    numbers = [n for n in range(1, 100) if (folder / f"FDDB-fold-{n:02d}-ellipseList.txt").is_file()]
    if not numbers:
        raise DatasetError(f"{folder}: no FDDB-fold-NN-ellipseList.txt")
    return numbers


def _fold(folder: Path, number: int, log: ProblemLog) -> list[Block]:
    """Return one fold's good entries in the order of its photo list, or of the ellipses where it has none."""
    source = folder / f"FDDB-fold-{number:02d}-ellipseList.txt"
    blocks: dict[str, Block] = {}
    broken: set[str | None] = set()
    for block in iterate_blocks(read_lines(source), (6, 5)):
        if isinstance(block, LineError):
            log.add(source, block.line, str(block))
            broken.add(block.name)
        elif block.name in blocks:
            log.add(source, block.line, f"{block.name}: listed twice, the first entry is kept")
        else:
            blocks[block.name] = block
    if not blocks:
        raise DatasetError(f"{source}: no photo can be read: not a list of ellipses, or entirely damaged")
    names = folder / f"FDDB-fold-{number:02d}.txt"
    return _ordered(names, blocks, broken, log) if names.exists() else list(blocks.values())


def _ordered(file: Path, blocks: dict[str, Block], broken: set[str | None], log: ProblemLog) -> list[Block]:
    ordered: dict[str, Block] = {}
    for line, text in enumerate(read_lines(file), 1):
        if not text.strip():
            continue
        try:
            name = decode(text, line)
        except LineError as error:
            log.add(file, line, str(error))
            continue
        if name in ordered:
            log.add(file, line, f"{name}: listed twice")
        elif name in blocks:
            ordered[name] = blocks[name]
        elif name not in broken:
            log.add(file, line, f"{name}: has no entry in the list of ellipses")
    extra = [name for name in blocks if name not in ordered]
    if extra:
        log.add(file, None, f"{len(extra)} photos of the list of ellipses are missing here: {listed(extra)}")
    return list(ordered.values())


def _photo(block: Block, path: Path) -> Photo:
    ellipses = block.rows[:, :5]
    if (ellipses[:, :2] < 0).any():
        raise ValueError(f"{block.name}: negative radius")
    n = len(ellipses)
    flat = (ellipses[:, :2] == 0).any(axis=1)
    boxes = ellipse_boxes(ellipses)
    return Photo(
        path=path,
        name=block.name,
        boxes=boxes,  # type: ignore[arg-type]  # Photo makes them float32, and refuses what overflows
        ignored=flat,
        landmarks=no_landmarks(n),
        fully_labelled=True,
        ellipses=ellipses,
    )
