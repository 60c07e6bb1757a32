"""A page to look at: the mistakes of a detector as pictures, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from cascade.cli.results import save_jpeg
from cascade.imaging.reading import ImageError, RGBImage, read_image
from eval.detection.error_pictures import COLOURS, crop_picture, photo_picture
from eval.detection.errors import KINDS, REASONS, Detections, Kind, Mistake

__all__ = ["HEADER", "Page", "csv_rows", "write_page"]

PICTURES = "pictures"
WHOLE_PHOTOS = 8
"""As many photos are shown whole at most; each has several mistakes."""

TITLES: dict[Kind, tuple[str, str]] = {
    "miss": ("Missed faces", "the largest first, by the shorter side of the face"),
    "false_alarm": ("False alarms", "the highest score first"),
    "landmarks": ("Landmarks", "the largest mean error over the distance between the eyes first"),
}

HEADER = (
    *("kind", "reason", "photo", "x1", "y1", "x2", "y2"),
    *("shorter_side", "score", "overlap", "landmark_error", "picture"),
)

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
table { border-collapse: collapse; }
td { padding: .1rem .9rem .1rem 0; vertical-align: top; }
td.number { text-align: right; }
.pictures { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.whole { grid-template-columns: repeat(auto-fill, minmax(34rem, 1fr)); }
figure { margin: 0; }
img { height: auto; max-width: 100%; }
figcaption { overflow-wrap: anywhere; }
small { opacity: .75; }
.colour { border: 3px solid; display: inline-block; height: .6em; margin: 0 .3em 0 1em; width: .9em; }
"""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What is told of one detector on one set.

    title          of the page
    facts          lines below the title
    detections     in every photo, by its name
    default_score  from which the detector reports faces; None where it is not known, and all detections count
    mistakes       the worst of each kind first
    totals         what each kind of mistake on the page is counted among, such as "of 798 faces"
    """

    title: str
    facts: Sequence[str]
    detections: Mapping[str, Detections]
    default_score: float | None
    mistakes: Sequence[Mistake]
    totals: Mapping[Kind, str]

    def of(self, kind: Kind) -> list[Mistake]:
        """Return the mistakes of one kind."""
        return [mistake for mistake in self.mistakes if mistake.kind == kind]

    def reasons(self) -> list[tuple[Kind, str, int]]:
        """Return kind, reason and number of all mistakes, the most frequent reason of each kind first."""
        counts = Counter((mistake.kind, mistake.reason) for mistake in self.mistakes)
        ordered = sorted(counts.items(), key=lambda item: (KINDS.index(item[0][0]), -item[1], item[0][1]))
        return [(kind, reason, number) for (kind, reason), number in ordered]


def write_page(folder: Path, page: Page, count: int) -> tuple[dict[int, str], list[str]]:
    """Write page.html and its pictures, at most ``count`` mistakes of each kind.

    Returns the path of the picture of each mistake shown, by its place among all mistakes, and in words which photos
    could not be read again; their mistakes are told without a picture.
    """
    pictures: dict[int, str] = {}
    problems: list[str] = []
    sections = []
    for kind in page.totals:
        shown = [(at, mistake) for at, mistake in enumerate(page.mistakes) if mistake.kind == kind][:count]
        entries = []
        for number, (at, mistake) in enumerate(shown, 1):
            draw = partial(crop_picture, mistake=mistake, detections=page.detections[mistake.photo.name])
            picture = _save(folder, f"{kind}-{number:03d}.jpg", mistake, draw, problems)
            if picture is not None:
                pictures[at] = picture
            entries.append(_figure(picture, _caption(mistake), mistake.photo.name))
        sections.append(_section(page, kind, entries))
    sections.append(_whole_photos(folder, page, problems))
    (folder / "page.html").write_text(_html(page, sections), encoding="utf-8")
    return pictures, list(dict.fromkeys(problems))


def csv_rows(page: Page, pictures: Mapping[int, str]) -> Iterator[tuple[Any, ...]]:
    """Return a row of ``HEADER`` for every mistake; what does not apply is empty."""
    for at, mistake in enumerate(page.mistakes):
        told = (mistake.size, mistake.score, mistake.overlap, mistake.error, pictures.get(at))
        filled = ("" if value is None else value for value in told)
        yield mistake.kind, mistake.reason, mistake.photo.name, *mistake.box.tolist(), *filled


def _save(
    folder: Path, name: str, mistake: Mistake, draw: Callable[[RGBImage], RGBImage], problems: list[str]
) -> str | None:
    """Write what is drawn of a mistake's photo and return its path, or note why the photo cannot be read."""
    try:
        image = read_image(mistake.photo.path)
    except ImageError as error:
        problems.append(f"broken photo: {error}")
        return None
    save_jpeg(folder / PICTURES / name, draw(image))
    return f"{PICTURES}/{name}"


def _whole_photos(folder: Path, page: Page, problems: list[str]) -> str:
    """Write the photos with the most mistakes, and return their part of the page."""
    by_photo: dict[str, list[Mistake]] = {}
    for mistake in page.mistakes:
        by_photo.setdefault(mistake.photo.name, []).append(mistake)
    several = sorted((each for each in by_photo.items() if len(each[1]) > 1), key=lambda each: (-len(each[1]), each[0]))
    entries = []
    for number, (name, mistakes) in enumerate(several[:WHOLE_PHOTOS], 1):
        draw = partial(photo_picture, mistakes=mistakes, detections=page.detections[name])
        picture = _save(folder, f"photo-{number:03d}.jpg", mistakes[0], draw, problems)
        kinds = Counter(mistake.kind for mistake in mistakes)
        caption = ", ".join(f"{TITLES[kind][0].lower()}: {kinds[kind]}" for kind in KINDS if kinds[kind])
        entries.append(_figure(picture, escape(caption), name))
    if not entries:
        return ""
    head = f"<h2>Photos with several mistakes: {len(several):,}</h2>\n<p>The most first; {len(entries)} are shown.</p>"
    return f'{head}\n<div class="pictures whole">\n{"".join(entries)}</div>\n'


def _section(page: Page, kind: Kind, entries: Sequence[str]) -> str:
    title, order = TITLES[kind]
    number = len(page.of(kind))
    told = f"{order[0].upper()}{order[1:]}; {len(entries):,} are shown." if entries else "None."
    head = f"<h2>{title}: {number:,} {escape(page.totals[kind])}</h2>\n<p>{told}</p>\n"
    return head + f'<div class="pictures">\n{"".join(entries)}</div>\n'


def _figure(picture: str | None, caption: str, photo: str) -> str:
    """Return one picture with its caption (HTML) and the name of its photo."""
    shown = "<p>The photo cannot be read.</p>"
    if picture is not None:
        shown = f'<a href="{picture}"><img src="{picture}" alt="" loading="lazy"></a>'
    return f"<figure>{shown}<figcaption>{caption}<br><small>{escape(photo)}</small></figcaption></figure>\n"


def _caption(mistake: Mistake) -> str:
    """Return what is known of a mistake, its weight first (HTML)."""
    size, score = f"{mistake.size:.0f} px", None if mistake.score is None else f"score {mistake.score:.2f}"
    told: list[str | None] = {
        "miss": [size, mistake.reason, score],
        "false_alarm": [score, mistake.reason, size],
        "landmarks": [f"{mistake.weight:.1%} of the eye distance", size, score],
    }[mistake.kind]
    if mistake.overlap is not None:
        told.append(f"overlap {mistake.overlap:.2f}")
    first, *others = (escape(each) for each in told if each is not None)
    return f"<b>{first}</b>, {', '.join(others)}"


def _html(page: Page, sections: Sequence[str]) -> str:
    facts = "".join(f"<p>{escape(fact)}</p>\n" for fact in page.facts)
    colours = "".join(
        f'<span class="colour" style="border-color: rgb{colour}"></span>{escape(name)}'
        for name, colour in COLOURS.items()
    )
    rows = "".join(
        f"<tr><td>{TITLES[kind][0]}</td><td>{escape(reason)}</td><td class=number>{number:,}</td>"
        f"<td><small>{escape(REASONS[reason])}</small></td></tr>\n"
        for kind, reason, number in page.reasons()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(page.title)}</h1>
{facts}<table>
{rows}</table>
<p>Thick: what the caption tells of.{colours}</p>
{"".join(sections)}</body>
</html>
"""
