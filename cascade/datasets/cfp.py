"""CFP, Celebrities in Frontal-Profile: ten frontal and four profile photos of each of 500 people, and pairs of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ._images import ProblemLog, listed
from ._pairs import ListedPair, Side, find_pairs
from ._text import LineError, count_of, decode, read_lines, show
from .folders import read_folder
from .people import Pairs, People, PersonPhoto
from .photo import DatasetError

__all__ = ["read_cfp_pairs", "read_cfp_people"]

Protocol = Literal["FF", "FP"]
FOLDS = 10
_LISTS = {"FF": ("Pair_list_F.txt", "Pair_list_F.txt"), "FP": ("Pair_list_F.txt", "Pair_list_P.txt")}
_SIDES = ("train", "test")  # some copies divide the people's folders so, which the protocol does not
_IMAGES = Path("Data", "Images")
_NAME = re.compile(r"(?:.+/)?(?P<name>(?P<person>\d{3})/(?:frontal|profile)/\d{2}\.\w+)")


def read_cfp_pairs(root: str | Path, protocol: Protocol, *, require_images: bool = True, strict: bool = False) -> Pairs:
    """Read CFP's frontal-frontal ("FF") or frontal-profile ("FP") protocol: ten splits of 350 + 350 pairs.

    root            the folder that holds ``Data`` and ``Protocol``
    require_images  False: keep pairs whose photos are not on disk

    ``Protocol/Split/FP/01/same.txt`` has lines "frontal,profile", numbers into ``Pair_list_F.txt`` and
    ``Pair_list_P.txt``, whose lines are "number path". Names are "001/frontal/01"; the file may have any image suffix.
    The folders of the people lie in ``Data/Images``, or below ``train`` and ``test`` there.

    The protocol is S. Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.

    Raises DatasetError when a list or the folder cannot be used, or, if ``strict``, for the first problem: a malformed
    line or a missing photo; ValueError for another protocol.
    """
    if protocol not in _LISTS:
        raise ValueError(f"protocol: expected FF or FP, got {protocol!r}")
    root = Path(root)
    log = ProblemLog(strict)
    lists = [_photos(root / "Protocol" / name, log) for name in _LISTS[protocol]]
    folder = root / "Protocol" / "Split" / protocol
    found = []
    for fold in range(1, FOLDS + 1):
        for kind in ("same", "diff"):
            found += _pairs(folder / f"{fold:02d}" / f"{kind}.txt", lists, kind == "same", fold, log)
    images = root / _IMAGES
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder")
    roots = [images, *(images / side for side in _SIDES if (images / side).is_dir())]
    return find_pairs(f"cfp-{protocol.lower()}", found, folder, roots, log, require_images)


def read_cfp_people(root: str | Path, *, strict: bool = False) -> People:
    """Read CFP as it is distributed: ``root/Data/Images/001/frontal/01.jpg``.

    ``root`` may also be the folder of the photos itself. Folders between it and those of the people mean nothing. Names
    begin with the person: 001/frontal/01.jpg.

    The data set is S. Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.

    Raises DatasetError when there is no such photo, or, if ``strict``, for the first problem.
    """
    root = Path(root)
    content = read_folder(root / _IMAGES if (root / _IMAGES).is_dir() else root, strict=strict)
    log = ProblemLog(strict)
    named = [(photo, _NAME.fullmatch(photo.name)) for photo in content]
    photos = [PersonPhoto(photo.path, name["name"], name["person"]) for photo, name in named if name]
    if not photos:
        raise DatasetError(f"{root}: no photos named like 001/frontal/01.jpg")
    if len(photos) < len(named):
        odd = [photo.name for photo, name in named if not name]
        log.add(root, None, f"{len(odd)} photos are not named like 001/frontal/01.jpg: {listed(odd)}")
    return People("cfp_people", tuple(sorted(photos, key=lambda photo: photo.name)), (*content.problems, *log.problems))


def _photos(file: Path, log: ProblemLog) -> dict[int, Side]:
    """The photos of a list by their number."""
    found: dict[int, Side] = {}
    for at, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        number, _, path = line.strip().partition(b" ")
        try:
            parts = decode(path.strip(), at).split("/")
            index = count_of(number)
            if index is None or len(parts) < 3:
                raise LineError(at, f"number and path of a photo expected, found {show(line)}")
            found[index] = Side("/".join(parts[-3:]).rpartition(".")[0], parts[-3])
        except LineError as error:
            log.add(file, error.line, error.message)
    return found


def _pairs(file: Path, lists: list[dict[int, Side]], same: bool, fold: int, log: ProblemLog) -> list[ListedPair]:
    """The pairs of one kind of one split."""
    found = []
    for at, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        numbers = [count_of(field) for field in line.strip().split(b",")]
        sides = [photos.get(number or 0) for photos, number in zip(lists, numbers, strict=False)]
        if len(numbers) != 2 or None in sides:
            log.add(file, at, f"two numbers of photos expected, found {show(line)}")
            continue
        a, b = sides
        assert a is not None and b is not None
        found.append(ListedPair(a, b, same, fold))
    return found
