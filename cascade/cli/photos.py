"""The photos of a command line, and the names of their results."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.cli.console import counted
from cascade.cli.outputs import is_our_picture
from cascade.imaging.formats import HEIF_SUFFIXES, is_photo, is_unread_picture

if TYPE_CHECKING:
    from cascade.imaging.reading import RGBImage

STANDARD_INPUT = "-"
"""The path that stands for a photo on standard input."""

STANDARD_INPUT_NAME = "stdin"
"""What pictures of that photo are called."""

LONGEST_PATH = 4096
"""Characters of a path beyond which it is no path."""


@dataclass
class Found:
    """The photos of a command line, each once."""

    photos: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Paths that do not exist and folders that cannot be read."""
    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """How many pictures in folders are of kinds that are not read, by suffix."""
    base: str = ""
    """The folder that holds all photos: their names in --out are relative to it."""


def read_photo(photo: str) -> RGBImage:
    """The pixels of a photo, of that on standard input for "-". Raises `cascade.ImageError`."""
    from cascade.imaging.reading import ImageError, read_image

    if photo != STANDARD_INPUT:
        return read_image(photo)
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError("image: expected a photo on standard input, as of `cascade detect - < photo.jpg`")
    return read_image(sys.stdin.buffer)


def find_photos(
    paths: Iterable[str],
    out: str | None = None,
    standard_input: bool = False,
    wanted: Callable[[str], bool] = is_photo,
) -> Found:
    """Photos in the order of ``paths``, those of a folder by name; ``out`` below a folder is not searched.

    With ``standard_input`` the path "-" is the photo there. In folders, ``wanted`` tells files by name.
    """
    found, seen, bases = Found(), set(), []
    for path in paths:
        if standard_input and path == STANDARD_INPUT:
            candidates = [path]
        elif os.path.isdir(path):
            bases.append(os.path.abspath(path))
            candidates = _below(path, out, found, wanted)
        elif os.path.exists(path):
            bases.append(os.path.dirname(os.path.abspath(path)))
            candidates = [path]
        else:
            found.problems.append(f"{path or repr(path)}: there is no such file or folder{_hint(path)}")
            continue
        for photo in candidates:
            absolute = photo if candidates == [STANDARD_INPUT] else os.path.abspath(photo)
            if absolute not in seen:
                seen.add(absolute)
                found.photos.append(photo)
    found.base = os.path.commonpath(bases) if bases else ""
    return found


def _hint(path: str) -> str:
    """What the user may have meant by a path that does not exist."""
    if "://" in path:
        return " (addresses are not fetched: download it first)"
    if path.startswith("~"):
        return " (the shell replaces ~ by your home folder only outside quotation marks)"
    if len(path) > LONGEST_PATH:
        return f" (these are {len(path):,} characters: give the name of a file, not what it holds)"
    return ""


def _below(folder: str, out: str | None, found: Found, wanted: Callable[[str], bool]) -> list[str]:
    """Photos in a folder and those below it, without hidden ones, and without our pictures where results go there."""
    results = None if out is None else os.path.realpath(out)
    into_itself = results is not None and Path(os.path.realpath(folder)).is_relative_to(results)
    names: list[str] = []
    unread: Counter[str] = Counter()
    problems, links, ours = len(found.problems), 0, 0

    def unreadable(error: OSError) -> None:
        found.problems.append(f"{error.filename}: {error.strerror}")

    for where, subfolders, files in os.walk(folder, onerror=unreadable):
        for name in list(subfolders):
            path = os.path.join(where, name)
            if os.path.realpath(path) == results:
                found.notes.append(f"{path}: left out, since results go there")
                subfolders.remove(name)
            elif name.startswith("."):
                subfolders.remove(name)
            else:
                links += os.path.islink(path)  # which `os.walk` does not follow
        photos = [os.path.join(where, name) for name in files if _is_wanted(where, name, wanted)]
        kept = [photo for photo in photos if not (into_itself and _is_result(photo))]
        ours += len(photos) - len(kept)
        names += kept
        unread.update(os.path.splitext(name)[1].lower() for name in files if is_unread_picture(name))
    if links:
        found.notes.append(f"{folder}: left out {counted(links, 'link')} to folders; name the folders themselves")
    if ours:
        found.notes.append(f"{folder}: left out {counted(ours, 'picture')} of an earlier run, since results go there")
    if unread:
        found.notes.append(f"{folder}: {_left_out(unread)}")
        found.left_out.update(unread)
    if not names and len(found.problems) == problems:
        found.notes.append(f"{folder}: no photos in this folder")
    return sorted(names)


def _left_out(unread: Counter[str]) -> str:
    """Which pictures of a folder are not read, for a line on the terminal."""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in unread.most_common())
    hint = "; HEIC needs pip install pillow-heif" if any(suffix in HEIF_SUFFIXES for suffix in unread) else ""
    return f"left out {unread.total()} {'picture' if unread.total() == 1 else 'pictures'} ({kinds}){hint}"


def _is_wanted(folder: str, name: str, wanted: Callable[[str], bool]) -> bool:
    if name.startswith(".") or not wanted(name):
        return False
    path = os.path.join(folder, name)
    # A broken link is reported as a problem later; a pipe is left out, since reading it would wait.
    return os.path.isfile(path) or not os.path.exists(path)


def _is_result(photo: str) -> bool:
    """Whether it is a picture that a command wrote."""
    if not photo.endswith(".jpg"):
        return False
    try:
        with open(photo, "rb") as file:
            return is_our_picture(file)
    except OSError:  # told when its turn comes
        return False


def name_results(photos: list[str], base: str, out: Path) -> dict[str, Path]:
    """The beginning of the names of each photo's pictures: ``out/sub/name`` for ``base/sub/name.jpg``.

    It is unique, and with ``_face…`` added it is never the name of a photo. Where it would be, it gets a number, as for
    ``name.png`` beside ``name.jpg``.
    """
    taken = {key for photo in photos for key in _stems_in_use(photo)}
    names = {}
    for photo in photos:
        relative = STANDARD_INPUT_NAME if photo == STANDARD_INPUT else os.path.relpath(os.path.abspath(photo), base)
        wanted = out / os.path.splitext(relative)[0]
        folder = os.path.realpath(wanted.parent)
        name = next(n for n in numbered(wanted.name) if _key(folder, n) not in taken)
        taken.add(_key(folder, name))
        names[photo] = wanted.with_name(name)
    return names


def _stems_in_use(photo: str) -> Iterator[tuple[str, str]]:
    """What stands before ``_face`` in the name of a photo: pictures whose names begin so could overwrite it."""
    folder, name = os.path.split(os.path.abspath(photo))
    for path in (os.path.join(os.path.realpath(folder), name), os.path.realpath(photo)):  # a link, its target
        folder, name = os.path.split(path)
        parts = name.split("_face")
        for end in range(1, len(parts)):
            yield _key(folder, "_face".join(parts[:end]))


def numbered(name: str) -> Iterator[str]:
    """The name, and the name with 2, 3 … behind it."""
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def _key(folder: str, name: str) -> tuple[str, str]:
    """Equal for names that are the same in some file systems: in upper or lower case, composed or not."""
    return folder.casefold(), unicodedata.normalize("NFC", name).casefold()
