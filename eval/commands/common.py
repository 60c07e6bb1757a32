"""What the commands share: options, gathering predictions, and the parts of a summary."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from cascade.datasets import Photo
from cascade.version import __version__
from eval.detection.predictions import Found, Matched, Predictions, default_score, match_names, read_predictions
from eval.detection.running import OurDetector, Run, Settings, run
from eval.report.files import subset_note

__all__ = [
    "Entry",
    "Gathered",
    "add_detector",
    "add_labels",
    "add_report",
    "add_shared",
    "check_names",
    "finite_number",
    "gather",
    "listed",
    "progress",
    "read_compared",
    "summary",
]

OURS = "cascade"
LEAVE_OUT, COUNT = "leave-out", "count"
NAMES_SHOWN = 3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One detector's results on the evaluated photos, and which names did not fit."""

    name: str
    found: Mapping[str, Found]
    about: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    min_score: float | None = None

    @property
    def weights_sha256(self) -> str | None:
        """The hash of its weights where known."""
        value = self.about.get("weights_sha256")
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The photos to evaluate, of how many in the set, and the detectors, the main one first."""

    photos: list[Photo]
    full: int
    entries: list[Entry]
    ran: Run | None = None

    @property
    def subset(self) -> str | None:
        """Return "180 of 3,226 photos", or None when all were evaluated."""
        return subset_note(len(self.photos), self.full)

    @property
    def note(self) -> str:
        """The same for titles, where all photos are named too."""
        return f"subset: {self.subset}" if self.subset else f"{self.full:,} photos"


def title_of(data: Path) -> str:
    """Return the end of a path, which names a set well enough in titles."""
    return "/".join(data.resolve().parts[-2:])


def progress(label: str) -> Callable[[Sequence[Item]], Iterable[Item]]:
    """Return what puts a progress bar around a sequence; it is silent where stderr is no terminal."""
    return lambda items: tqdm(items, desc=label, unit="photo", disable=None, leave=False)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add where the report goes, and further detectors to evaluate."""
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        type=name_and_file,
        metavar="NAME=FILE",
        help="evaluate these predictions too and draw them in the same figure (may be repeated)",
    )


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add the options of every evaluation. `gather` settles the default of --missing."""
    add_report(parser)
    parser.add_argument("--name", help="name of the detector in tables and figures")
    parser.add_argument(
        "--missing",
        choices=(LEAVE_OUT, COUNT),
        help="photos without an entry in the predictions: evaluate the others as a subset, or count them as photos in "
        "which nothing was found, as the official tools do (default: count; fddb and wider: leave-out where the labels "
        "themselves are of a subset)",
    )
    parser.add_argument(
        "--min-score",
        type=finite_number,
        metavar="S",
        help='count only detections of at least this score; "landmarks" takes what the file of predictions calls '
        "the detector's own default, the others take all",
    )
    add_detector(parser)


def add_labels(parser: argparse.ArgumentParser, *, data: str, predictions: str) -> None:
    """Add the options of the evaluations on a labelled set; ``data`` and ``predictions`` say what their files are."""
    parser.add_argument("--data", required=True, type=Path, metavar="FILE|DIR", help=data)
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder that the photos' names start from")
    parser.add_argument("--predictions", type=Path, metavar=predictions, help="(default: run our detector)")
    add_shared(parser)
    parser.set_defaults(missing=COUNT)


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Add the options of our own detector."""
    group = parser.add_argument_group("our detector, where it is run")
    group.add_argument("--weights", metavar="NAME|DIR", help="a shipped set or a folder")
    group.add_argument("--min-face", type=float, metavar="PX", help="smallest face in pixels")
    group.add_argument("--max-face", type=float, metavar="PX", help="largest face in pixels")
    group.add_argument("--scale-factor", type=float, metavar="F", help="step of the detector's own pyramid")
    group.add_argument("--thresholds", type=float, nargs=3, metavar=("P", "R", "O"), help="of the networks")
    group.add_argument(
        "--score-floor",
        type=float,
        default=0.02,
        metavar="S",
        help="report faces from this score on, in place of the last threshold, so that the full curve is "
        "evaluated (default: %(default)s)",
    )
    group.add_argument("--engine", choices=("native", "torch", "onnx"))
    group.add_argument("--threads", type=int, metavar="N")
    group.add_argument("--device", metavar="NAME", help="for the torch engine, such as cuda")
    group.add_argument("--precision", choices=("int8", "float32"), help="of the networks")
    _add_photo(parser.add_argument_group("the photos as our detector gets them"))


def _add_photo(group: argparse._ArgumentGroup) -> None:
    """Add what is done with a photo before our detector sees it."""
    group.add_argument(
        "--input",
        choices=("original", "vga"),
        default="original",
        help="photos as they are, or scaled so that the longer side has 640 pixels (default: %(default)s)",
    )
    group.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="F",
        help="look at the photo at each of these further scales and merge (default: 1)",
    )
    group.add_argument(
        "--rotations",
        type=int,
        nargs="+",
        metavar="DEGREES",
        help="search the photo rotated by each of these angles, of 0, 90, 180 and 270, and merge (default: 0)",
    )
    group.add_argument(
        "--exposure",
        choices=("auto", "none"),
        help="auto: bring dark, pale and colour-cast photos to an ordinary tonal range (default); none: never",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings of our detector that the options ask for."""
    scan = ("weights", "min_face", "max_face", "scale_factor", "score_floor")
    given = {name: getattr(args, name) for name in (*scan, "engine", "threads", "device", "precision", "exposure")}
    several = {name: getattr(args, name) for name in ("thresholds", "rotations")}
    given |= {name: None if values is None else tuple(values) for name, values in several.items()}
    return Settings(**given, input_rule=args.input, scales=tuple(args.scales))


def finite_number(text: str) -> float:
    """Return the number; raises ArgumentTypeError for NaN and infinity too, which no figure can be taken with."""
    with suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"a finite number expected, got {text!r}")


def name_and_file(text: str) -> tuple[str, Path]:
    """Split NAME=FILE; raises ArgumentTypeError."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"NAME=FILE expected, got {text!r}")
    return name, Path(file)


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError when two of what is compared have the same name."""
    if len(set(names)) < len(names):
        raise ValueError(f"two have the same name: {', '.join(sorted(names))}")


def read_compared(pairs: Sequence[tuple[str, Path]], main: str | None) -> dict[str, Predictions]:
    """Read the files of --compare; raises ValueError when two detectors have the same name."""
    check_names([name for name, _ in pairs] + ([] if main is None else [main]))
    return {name: read_predictions(file) for name, file in pairs}


def gather(
    args: argparse.Namespace,
    photos: Sequence[Photo],
    source: Path | None,
    full: int,
    *,
    own_score: bool = False,
) -> Gathered:
    """Read or compute all predictions and settle which photos are evaluated.

    With a ``source`` file these are all ``photos``, or with ``--missing leave-out`` those that it has entries for. By
    default they are all, unless ``photos`` are a subset of the ``full`` set; ``args.missing`` becomes what was chosen.
    Without a source, our detector is run on the photos that are there and can be read. The detectors of --compare are
    evaluated on the same photos. ``full`` is the size of the full set. Detections below --min-score are left out, or,
    with ``own_score``, below the score from which each detector reports faces by itself. Raises ValueError when no
    photo is left.
    """
    name = args.name or (OURS if source is None else source.stem)
    others = read_compared(args.compare, name)
    ran: Run | None = None
    if source is None:
        ran, about = run_ours(args, photos)
        evaluated = [photo for photo in photos if photo.name in ran.found]
        main = Entry(name, ran.found, about)
    else:
        predictions = read_predictions(source)
        matched = match_names([photo.name for photo in photos], predictions.found)
        args.missing = args.missing or (COUNT if len(photos) == full else LEAVE_OUT)
        keep_all = args.missing == COUNT
        evaluated = [photo for photo in photos if keep_all or photo.name in matched.found]
        main = _entry(name, matched, predictions.about)
        if not matched.found:
            raise ValueError(f"{source}: none of its {len(predictions.found)} photos is among those to evaluate")
    if not evaluated:
        raise ValueError("there is no photo to evaluate")
    names = [photo.name for photo in evaluated]
    entries = [main]
    for other, predictions in others.items():
        matched = match_names(names, predictions.found)
        entries.append(_entry(other, matched, predictions.about))
    limited = [_at_least(entry, args.min_score, own_score) for entry in entries]
    return Gathered(evaluated, full, limited, ran)


def _entry(name: str, matched: Matched, about: Mapping[str, Any]) -> Entry:
    return Entry(name, matched.found, about, matched.missing, matched.unknown)


def _at_least(entry: Entry, min_score: float | None, own_score: bool) -> Entry:
    if min_score is None and own_score:
        min_score = default_score(entry.about)
    if min_score is None:
        return entry
    kept = {name: each.at_least(min_score) for name, each in entry.found.items()}
    return replace(entry, found=kept, min_score=min_score)


def run_ours(args: argparse.Namespace, photos: Sequence[Photo]) -> tuple[Run, dict[str, Any]]:
    """Run our detector on the photos that are on disk; raises ValueError when none is."""
    present = [photo for photo in photos if photo.path.is_file()]
    if not present:
        where = photos[0].path if photos else "none listed"
        raise ValueError(f"no photo of the set is there to look at (first: {where})")
    detector = OurDetector(settings_of(args))
    return run(progress("detecting")(present), detector), detector.about()


def summary(
    task: str, args: argparse.Namespace, gathered: Gathered, figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what summary.json holds for every task; ``figures`` are each detector's own by its name."""
    main, *others = gathered.entries
    problems = _problems(gathered)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return {
        "task": task,
        "detector": main.name,
        **figures[main.name],
        "photos": len(gathered.photos),
        "photos_in_set": gathered.full,
        "subset": gathered.subset,
        "broken_photos": len(gathered.ran.broken) if gathered.ran else 0,
        "missing_predictions": len(main.missing),
        "unknown_predictions": len(main.unknown),
        "problems": problems,
        "settings": {**main.about.get("settings", {}), "min_score": main.min_score},
        "weights_sha256": main.weights_sha256,
        "compared": {each.name: {**figures[each.name], **_fit(each)} for each in others},
        "command": shlex.join(args.command_line),
        "version": __version__,
        "seconds": round(time.perf_counter() - args.started, 3),
    }


def _fit(entry: Entry) -> dict[str, Any]:
    return {
        "missing_predictions": len(entry.missing),
        "unknown_predictions": len(entry.unknown),
        "min_score": entry.min_score,
        "weights_sha256": entry.weights_sha256,
    }


def _problems(gathered: Gathered) -> list[str]:
    problems = [f"broken photo: {reason}" for reason in (gathered.ran.broken.values() if gathered.ran else ())]
    for entry in gathered.entries:
        if entry.missing:
            problems.append(f"{entry.name}: no entry for {listed(entry.missing)}")
        if entry.unknown:
            problems.append(f"{entry.name}: not among the photos: {listed(entry.unknown)}")
    return problems


def listed(names: Sequence[str]) -> str:
    """How many photos these are, with the first of their names."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{len(names)} photos ({shown}{f' and {more} more' if more > 0 else ''})"
