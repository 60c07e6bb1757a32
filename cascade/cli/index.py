"""``cascade index``: the faces of a photo archive in Parquet files, by many processes, in as many runs as it takes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import LINE_SECONDS, Progress, Tally, add_no_progress, progress_line, progress_of
from cascade.cli.console import SOME_FAILED, CommandError, counted, say
from cascade.cli.embed import TERMINATED, termination_stops
from cascade.cli.recognition import add_options, make_recognizer, new_parser
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.archive.indexing import Outcome
    from cascade.archive.photos import PhotoIndexer
    from cascade.archive.plan import Plan
    from cascade.archive.scan import Scan
    from cascade.archive.store import Store
    from cascade.attributes import AttributeEstimator

DESCRIPTION = """\
Finds the faces of a photo archive and writes their boxes, scores, landmarks and embeddings to Parquet files. A PATH
is a folder, in which photos are found, also in subfolders; a photo; a URL of either, such as s3://bucket/photos; a text
file with the path or URL of a photo in each line; or - for such a list on standard input.
The next run on the same --out goes on where the last one stopped, however it ended, and takes up new, changed and
deleted photos.
"""

EPILOG = """\
what is in --out DIR:
  manifest.json        the networks and settings; another run has to have the same
  photos/*.parquet     a row per photo: photo_id, path, bytes, mtime_ns, sha256, taken (EXIF), width, height, faces,
                       and error for those that could not be read
  faces/*.parquet      a row per face: face_id, photo_id, path, face (1, 2 …, best first), box, score, landmarks, size,
                       quality, embedding (float16), and with --attributes age, gender …
  removed/*.parquet    rows of earlier files that no longer hold, as their photos were changed or deleted;
                       cascade.archive.Index leaves them out
  Embeddings are biometric data: files can be read by their owner alone.

what is left out:
  hidden files and folders, videos, and links to folders. Changes are noticed by size and time of change.

exit status:
  0  all photos were read           2  wrong options, no photos, another run on the same DIR, or an index of other
  1  some had problems, or the         networks or settings; nothing was done
     index could not be written   130  stopped with Ctrl-C; 143 ended by SIGTERM; the next run goes on

examples:
  cascade index photos --out faces.index
  cascade index photos --out faces.index --min-face 40 --processes 8
  cascade index s3://bucket/photos --out faces.index      (needs the package s3fs)
  cascade index zip://::takeout.zip --out faces.index
  find /archive -name '*.jpg' -newer last -print0 | cascade index - --out faces.index
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "index", "index the faces of a photo archive", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a folder, a photo, a URL of one, a list, or -")
    parser.add_argument("--out", metavar="DIR", help="folder of the index; created if it does not exist")
    work = parser.add_argument_group("how it is done")
    work.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="worker processes, of one thread each (default: one per processor that this process may use)",
    )
    work.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on a Ray cluster, whose machines have the photos and DIR under the same paths: its address, auto "
        "for the one of this machine, or local for a new one here; --processes are then those of all machines",
    )
    work.add_argument("--retry", action="store_true", help="also try photos again that could not be read")
    work.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="report photos with more pixels instead of reading them (default: 100,000,000); decoding takes a process "
        "some 7 bytes a pixel",
    )
    work.add_argument(
        "--decode",
        choices=("full", "reduced"),
        help="reduced: read JPEG files at 1/2, 1/4 or 1/8 of their size where --min-face is 80, 160 or 320 or more, "
        "which is faster and changes embeddings a little (default: full)",
    )
    add_no_progress(work)
    add_options(parser)
    what = parser.add_argument_group("what to say of faces")
    what.add_argument(
        "--attributes",
        metavar="TASK,…",
        help="also what faces look like, as perceived: all, or some of age, gender …; read `cascade analyze --help`",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    if not args.paths:
        args.parser.error("name a folder, a photo or a list")
    if not args.out:
        args.parser.error("--out DIR is needed: the folder of the index")
    if args.threads is not None:
        args.parser.error("--threads: each process has one; see --processes")
    with _archive_errors(args.out), termination_stops() as terminated:
        try:
            _check_processes(args)
            return _run(args, terminated)
        except KeyboardInterrupt:  # before there was anything to do, or after all of it
            if terminated():
                return TERMINATED
            raise


def _check_processes(args: argparse.Namespace) -> None:
    if args.processes is None:
        return
    from cascade.archive.indexing import MOST_PROCESSES

    if not 1 <= args.processes <= MOST_PROCESSES:
        args.parser.error(f"--processes: expected 1 to {MOST_PROCESSES:,}, got {args.processes}")


def _run(args: argparse.Namespace, terminated: Any) -> int:
    from cascade.archive.indexing import planned
    from cascade.archive.locations import local_folder
    from cascade.archive.scan import Scan
    from cascade.archive.store import Store

    folder = local_folder(args.out)
    scan = Scan(args.paths, args.out)
    scan.check()
    indexer = _make_indexer(args)
    with Store.open(folder, indexer.manifest) as store:
        plan = planned(scan, store, args.retry)
        _say_what_was_found(scan, plan)
        tally = _work(args, scan, plan, store, indexer)
    if tally.status() or not args.no_progress:
        say(f"{_summary(tally, plan)}; index in {args.out}")
    return TERMINATED if terminated() else tally.status()


def _work(args: argparse.Namespace, scan: Scan, plan: Plan, store: Store, indexer: PhotoIndexer) -> Tally:
    """Goes through the photos of the plan. Raises OSError and `ArchiveError`."""
    tally = Tally(len(plan.todo), problems=len(scan.problems), left_out=scan.left_out)
    progress = progress_of(len(plan.todo), False, not args.no_progress)
    with closing(_results(args, plan, store, indexer)) as results:
        try:
            for result in _shown(results, tally, progress):
                if result.error is None:
                    tally.add(result.faces)
                else:
                    tally.problems += 1
                    say(f"{os.fsdecode(result.path)}: {result.error}")
        except KeyboardInterrupt:
            tally.stopped = True
        with interrupts_wait():
            results.close()  # writes what there is
    return tally


def _results(
    args: argparse.Namespace, plan: Plan, store: Store, indexer: PhotoIndexer
) -> Generator[Outcome, None, None]:
    """The photos one after another, by processes here or by a cluster."""
    if args.ray is not None:
        from cascade.archive.on_ray import run_plan_on_ray

        return run_plan_on_ray(plan, store, indexer, args.ray, args.processes)
    from cascade.archive.indexing import run_plan

    return run_plan(plan, store, indexer, args.processes)


def _shown(results: Iterator[Outcome], tally: Tally, progress: Progress) -> Iterator[Outcome]:
    """The results, with a bar or lines that tell the rate and the time left."""
    from tqdm import tqdm

    started = printed = time.monotonic()
    bar = tqdm(
        results, total=tally.photos, unit="photo", disable=progress != "bar", file=sys.stderr, dynamic_ncols=True
    )
    for number, result in enumerate(bar, start=1):
        yield result
        now = time.monotonic()
        if progress == "lines" and now - printed >= LINE_SECONDS and number < tally.photos:
            printed = now
            say(progress_line(number, now - started, tally))


def _make_indexer(args: argparse.Namespace) -> PhotoIndexer:
    """What is done with each photo. Raises `CommandError`."""
    from cascade.archive.photos import LARGEST_PHOTO, PhotoIndexer

    args.threads = 1
    recognizer = make_recognizer(args)
    try:
        largest = LARGEST_PHOTO if args.max_pixels is None else args.max_pixels
        return PhotoIndexer(recognizer, _make_estimator(args), max_pixels=largest)
    except ValueError as error:
        raise CommandError(f"--{str(error).replace('max_pixels', 'max-pixels')}") from error


def _make_estimator(args: argparse.Namespace) -> AttributeEstimator | None:
    if args.attributes is None:
        return None
    from cascade.attributes import AttributeEstimator

    tasks = None if args.attributes == "all" else [name.strip() for name in args.attributes.split(",")]
    try:
        return AttributeEstimator(tasks=tasks, threads=1)
    except ValueError as error:
        raise CommandError(f"--attributes: {str(error).removeprefix('tasks: ')}") from error


def _say_what_was_found(scan: Scan, plan: Plan) -> None:
    """Problems, and what is left out. Raises `CommandError` if there is nothing at all."""
    for line in scan.problems + plan.notes:
        say(line)
    if scan.left_out:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in scan.left_out.most_common())
        say(f"left out {counted(scan.left_out.total(), 'picture')} of kinds that are not read ({kinds})")
    if scan.videos:
        say(f"left out {counted(scan.videos, 'video')}; cascade video finds the people in one")
    if scan.linked_folders:
        say(f"left out {counted(scan.linked_folders, 'link')} to folders; name the folders themselves")
    if not (plan.todo or plan.unchanged or plan.deleted or plan.notes):
        raise CommandError(f"no photos found in {', '.join(scan.paths)}")


def _summary(tally: Tally, plan: Plan) -> str:
    words = [tally.summary()]
    if plan.changed:
        words.append(f"{len(plan.changed):,} of them changed")
    words += [
        f"{number:,} {what}"
        for number, what in ((plan.unchanged, "unchanged"), (len(plan.deleted), "deleted"))
        if number
    ]
    return ", ".join(words)


@contextmanager
def _archive_errors(out: str) -> Iterator[None]:
    """Raises what can be wrong with an index as a `CommandError`."""
    from cascade.archive.errors import ArchiveError

    try:
        yield
    except (ArchiveError, ImportError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        rest = "; what it has is complete" if _has_photos(out) else ""
        raise CommandError(f"cannot write the index in {out}: {reason}{rest}", SOME_FAILED) from error


def _has_photos(out: str) -> bool:
    from cascade.archive.store import shard_names

    try:
        return bool(shard_names(Path(out)))
    except OSError:
        return False
