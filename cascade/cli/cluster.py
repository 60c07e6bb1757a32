"""``cascade cluster``: the faces of an index grouped by person."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.archives import (
    archive_errors,
    block_progress,
    open_index,
    operating_point,
    people_in_words,
    people_to_change,
)
from cascade.cli.console import CommandError, counted, say
from cascade.cli.recognition import NOT_PROOF, new_parser

if TYPE_CHECKING:
    from cascade.archive import Index
    from cascade.archive.people import PeopleOfIndex

DESCRIPTION = f"""\
Groups the faces of an index (`cascade index`) by person, and writes who is in which photo into the folder people of the
index. People get numbers, which stay from run to run. Faces that came since the last run join the people there are.
`cascade people` shows the people, names them, and corrects mistakes.

{NOT_PROOF}"""

EPILOG = """\
what is in INDEX/people:
  people.parquet  a row per face: face_id, person (null: like no other face), rank (1 is the person's best shot), name
  people.json     the names, and what you said of faces

exit status:
  0  everything went well           2  wrong options, or no index; nothing was done
  1  the people could not be written

examples:
  cascade cluster faces.index
  cascade people sheet faces.index --out people.html
  cascade people name faces.index 3 "Sally Ride"
  cascade people different faces.index 3 photos/1.jpg#2
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "cluster", "group the faces of an index by person", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("index", metavar="INDEX", help="the folder of the index")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="similarity at which two groups join, -1 to 1 (default: one chosen for the recogniser of the index); "
        "lower it if people fall apart, raise it if people are mixed",
    )
    parser.add_argument(
        "--smallest",
        type=float,
        metavar="N",
        help="faces below that many pixels join people, but make none (default: what is small for the recogniser)",
    )
    parser.add_argument(
        "--least-quality",
        type=float,
        metavar="Q",
        help="the same of faces below that quality, 0 to 1 (default: 0.1)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="group all faces anew; people keep their numbers as far as they stay together",
    )


def run(args: argparse.Namespace) -> int:
    """Groups the faces, writes the people and prints how many there are. Raises `CommandError`."""
    index = open_index(args.index)
    settings = _settings(args, index)
    with people_to_change(args.index) as earlier, archive_errors(args.index):
        from cascade.archive.people import group_index

        people = group_index(index, earlier, **settings, again=args.again, progress=block_progress)
        people.save(Path(args.index))
    for name in sorted(set(earlier.names.values()) - set(people.names.values())):
        say(f"{name}: this name is given up; the faces are of people with other names now, or of nobody")
    say(_summary(people, earlier, settings["threshold"]))
    return 0


def _settings(args: argparse.Namespace, index: Index) -> dict[str, float]:
    """The settings of `group_index`. Raises `CommandError`."""
    from cascade.archive.people import LEAST_QUALITY, join_threshold

    for option, low, high in (("threshold", -1, 1), ("smallest", 0, 100_000), ("least_quality", 0, 1)):
        given = getattr(args, option)
        if given is not None and not low <= given <= high:
            raise CommandError(f"--{option.replace('_', '-')}: expected {low} to {high:,}, got {given}")
    point = operating_point(index)
    if point is None and args.threshold is None:
        name = index.manifest.recognizer.name
        raise CommandError(f"the recogniser of the index, {name}, has no measured threshold; give one with --threshold")
    smallest = 0.0 if point is None else point.smallest_good_face
    return {
        "threshold": join_threshold(point) if args.threshold is None else args.threshold,
        "smallest": smallest if args.smallest is None else args.smallest,
        "least_quality": LEAST_QUALITY if args.least_quality is None else args.least_quality,
    }


def _summary(people: PeopleOfIndex, earlier: PeopleOfIndex, threshold: float) -> str:
    counts = people.counts()
    alone = len(people.persons) - sum(counts.values())
    new = len(counts.keys() - earlier.counts().keys())
    since = f" ({new:,} new)" if earlier.face_ids else ""
    faces = counted(sum(counts.values()), "face")
    return f"{people_in_words(len(counts))}{since} with {faces}; {alone:,} like no other; threshold {threshold:.3f}"
