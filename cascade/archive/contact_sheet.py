"""A page to look through the people of an index: their best shots, and the faces that fit least.

The page holds small pictures of faces and is readable by its owner alone. Photos are read, never written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade import html_page, private_files
from cascade.archive.index import Index
from cascade.archive.locations import read_photo
from cascade.archive.people import PeopleOfIndex
from cascade.archive.schema import path_of
from cascade.imaging.errors import ImageError
from cascade.imaging.thumbnails import face_square
from cascade.imaging.writing import encode_jpeg

__all__ = ["BEST", "DOUBTFUL", "MOST_PEOPLE", "is_contact_sheet", "write_contact_sheet"]

MOST_PEOPLE = 200
"""People that a page shows, those with most faces; a larger page is slow to open."""

BEST, DOUBTFUL = 8, 4
"""Faces of a person: the best, and those that are least similar to the others."""

TITLE = "People of an index"
STYLE = "img{border-color:#0a7}.doubtful img{border-color:#d80}\n"
QUALITY = 80  # of the JPEG data

Progress = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True)
class _Shown:
    """A face of the page: its row in the index, and whether it fits least."""

    row: int
    doubtful: bool


def is_contact_sheet(path: str | Path) -> bool:
    """Whether a file begins as the pages do. False for what cannot be read."""
    return html_page.is_page(path, TITLE)


def write_contact_sheet(
    path: str | Path,
    index: Index,
    people: PeopleOfIndex,
    *,
    most: int = MOST_PEOPLE,
    progress: Progress | None = None,
) -> list[str]:
    """Write the page as one HTML file without outside requests, for its owner alone; what could not be shown, and why.

    ``people`` are those of the index as it is. It shows the ``most`` people with most faces. ``progress`` wraps the
    photos. Raises OSError where the page cannot be written, and `ArchiveError`.
    """
    table = index.faces(["path", "raw_path", "face", "box", "score"])
    embeddings = index.embeddings()
    counts = people.counts()
    shown = {person: _shown(people.members(person), embeddings) for person in list(counts)[:most]}
    rows = sorted({each.row for faces in shown.values() for each in faces})
    faces = dict(zip(rows, table.take(rows).to_pylist(), strict=True))
    pictures, problems = _pictures(faces, progress)
    lines = [*html_page.head(TITLE, STYLE), "<h1>People</h1>", f"<p>{_summary(people, counts, most)}</p>"]
    for person, of_person in shown.items():
        lines.append(_person(person, people, counts[person], [(each, faces[each.row]) for each in of_person], pictures))
    lines.append("</body></html>\n")
    with private_files.replacing(path, always_private=True) as stream:
        stream.write("\n".join(lines).encode("utf-8", "backslashreplace"))
    return problems


def _shown(members: npt.NDArray[np.int64], embeddings: npt.NDArray[np.float16]) -> list[_Shown]:
    """The best of a person's faces, and the least similar to the mean of all, the least one last."""
    if len(members) <= BEST + DOUBTFUL:
        return [_Shown(row, False) for row in members.tolist()]
    best = members[:BEST]
    rest = members[BEST:]
    rows = embeddings[members].astype(np.float32)
    similar = embeddings[rest].astype(np.float32) @ rows.sum(axis=0)
    least = rest[np.argsort(-similar, kind="stable")[-DOUBTFUL:]]
    return [_Shown(row, False) for row in best.tolist()] + [_Shown(row, True) for row in least.tolist()]


def _pictures(faces: dict[int, dict[str, Any]], progress: Progress | None) -> tuple[dict[int, bytes], list[str]]:
    """JPEG data of the faces by row, each photo read once, and why photos could not be read."""
    of_photo: dict[str, list[int]] = defaultdict(list)
    for row, face in faces.items():
        of_photo[path_of(face["path"], face["raw_path"])].append(row)
    found: dict[int, bytes] = {}
    problems = []
    photos = list(of_photo)
    for photo in photos if progress is None else progress(photos):
        try:
            image = read_photo(photo)
        except ImageError as error:
            problems.append(f"{faces[of_photo[photo][0]]['path']}: {str(error).removeprefix('image: ')}")
            continue
        for row in of_photo[photo]:
            found[row] = encode_jpeg(face_square(image, faces[row]["box"]), QUALITY)
    return found, problems


def _summary(people: PeopleOfIndex, counts: dict[int, int], most: int) -> str:
    alone = len(people.persons) - sum(counts.values())
    left = f" The {most:,} with most faces are shown." if len(counts) > most else ""
    return (
        f"{len(counts):,} people with {sum(counts.values()):,} faces; {alone:,} faces are like no other.{left} "
        f"Of a person with more than {BEST + DOUBTFUL} faces, the {BEST} best are shown, and with another border the "
        f"{DOUBTFUL} that are least similar to all of them: look there for mistakes."
    )


def _person(
    person: int,
    people: PeopleOfIndex,
    count: int,
    shown: list[tuple[_Shown, dict[str, Any]]],
    pictures: dict[int, bytes],
) -> str:
    name = people.names.get(person)
    heading = f"{person}" if name is None else f"{person}: {escape(name)}"
    items = [_item(each, face, pictures[each.row]) for each, face in shown if each.row in pictures]
    return f"<h2>{heading}, {count:,} faces</h2>\n<ul>{''.join(items)}</ul>"


def _item(each: _Shown, face: dict[str, Any], jpeg: bytes) -> str:
    where = f"{face['path']}#{face['face']}"
    kind = ' class="doubtful"' if each.doubtful else ""
    return f"<li{kind}>{html_page.picture(jpeg, f'Face of {where}')}{escape(where)}</li>"
