"""``cascade embed``: embeddings and ages of the faces in photos and folders of photos."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli.batch import Progress, Tally, add_no_progress, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, say, writable_folder, writing
from cascade.cli.photos import Found
from cascade.cli.recognition import add_largest, add_options, make_recognizer, new_parser
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.faces import Faces
    from cascade.imaging.reading import RGBImage
    from cascade.recognize import Analysis, Recognizer

TERMINATED = 128 + signal.SIGTERM
"""Exit status after SIGTERM, that of a shell."""

DECIMALS = 8
"""Decimals of an embedding in JSON: the precision of float32 below 1."""

DESCRIPTION = """\
Computes an embedding of every face: numbers that are similar for photos of one person. A PATH is a photo, or a
folder, in which photos are found, also in subfolders. Results go to the terminal, or with --out to a file.
"""

EPILOG = """\
results:
  The terminal gets one JSON object per photo and line, as from `cascade detect`; each face also has
    "embedding": [D numbers whose squares sum to 1], "age": years
  FILE.npz, which numpy.load opens, has a row per face: names (path from the folder that holds all photos), face
    (1, 2 …, best first), boxes, scores, landmarks, embeddings (float32), ages. Its entry about is JSON text that
    names the network. `python -m eval … --embeddings FILE.npz` takes the file if --largest was given.
  The similarity of two embeddings is their cosine, which is their dot product. Only embeddings of the same
  network can be compared.

exit status:
  0  all photos were read           2  wrong options, no photos, or nowhere to write; nothing was done
  1  some had problems            130  stopped with Ctrl-C; the results so far are written
                                  143  ended by SIGTERM; the same

examples:
  cascade embed photo.jpg
  cascade embed photos --out faces.npz
  cascade embed portraits --largest --out faces.npz
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "embed", "compute embeddings of the faces in photos", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a photo, or a folder with photos")
    parser.add_argument("--out", metavar="FILE.npz", help="file for all results; an earlier one is replaced")
    add_largest(parser)
    add_no_progress(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    if not args.paths:
        args.parser.error("name a photo or a folder")
    out = None if args.out is None else _checked_out(args.out)
    found = photos_of(args.paths)
    recognizer = make_recognizer(args)
    progress = progress_of(len(found.photos), out is None, not args.no_progress)
    if out is None:
        tally = _to_terminal(found, recognizer, args, progress)
    else:
        with termination_stops() as terminated:
            try:
                tally = _to_file(out, found, recognizer, args, progress)
            except KeyboardInterrupt:  # before the first photo or after the last one
                if terminated():
                    return TERMINATED
                raise
        if terminated():
            say(f"{tally.summary()}; results in {out}")
            return TERMINATED
    if tally.status() or not args.no_progress:
        say(tally.summary() + (f"; results in {out}" if out else ""))
    return tally.status()


@contextmanager
def termination_stops() -> Iterator[Callable[[], bool]]:
    """Lets SIGTERM stop the work as Ctrl-C does, but once: what is written then is not stopped again.

    Gives a function that tells whether that happened.
    """
    seen: list[int] = []

    def stop(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGINT)  # so that it waits where Ctrl-C waits

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield lambda: False
        return
    signal.signal(signal.SIGTERM, stop)
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:  # as in background jobs of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _checked_out(name: str) -> Path:
    """The file given as ``--out``, in a folder that can be written."""
    from cascade.npz import is_replaceable

    path = Path(name)
    if path.suffix.lower() != ".npz":
        raise CommandError(f"--out {name}: expected a file whose name ends with .npz")
    if path.is_dir():
        raise CommandError(f"--out {name}: this is a folder, not a file")
    if not is_replaceable(path, "embeddings"):
        raise CommandError(f"--out {name}: there is a file without embeddings, which is not replaced")
    writable_folder(str(path.parent))
    return path


def _embed_all(
    found: Found,
    recognizer: Recognizer,
    args: argparse.Namespace,
    progress: Progress,
    keep: Callable[[str, RGBImage, Faces, Analysis], None],
) -> Tally:
    """Calls ``keep`` with each photo, its pixels, its faces and their analysis."""
    from cascade.imaging.reading import read_image
    from cascade.recognize import only_face

    def embed(photo: str, tally: Tally) -> None:
        image = read_image(photo)
        faces = recognizer.detector.detect(image)
        if args.largest and len(faces):
            faces = only_face(faces, photo, largest=True)
        analysis = recognizer.analyze(image, faces)
        with interrupts_wait():
            keep(photo, image, faces, analysis)
            tally.add(len(faces))

    return go_through(found.photos, embed, progress, len(found.problems), found.left_out)


def _to_terminal(found: Found, recognizer: Recognizer, args: argparse.Namespace, progress: Progress) -> Tally:
    def keep(photo: str, image: RGBImage, faces: Faces, analysis: Analysis) -> None:
        record = {"path": photo, "width": image.shape[1], "height": image.shape[0], "faces": faces.to_dicts()}
        for face, embedding, age in zip(record["faces"], analysis.embeddings, analysis.ages, strict=True):
            face["embedding"] = [round(value, DECIMALS) for value in embedding.tolist()]
            face["age"] = round(float(age), 1)
        with writing("to standard output"):
            print(json.dumps(record), flush=True)

    if sys.stdout.closed:
        raise CommandError("standard output is closed; give a file for the results with --out")
    return _embed_all(found, recognizer, args, progress, keep)


def _to_file(out: Path, found: Found, recognizer: Recognizer, args: argparse.Namespace, progress: Progress) -> Tally:
    from cascade.embedding_file import EmbeddingWriter

    about = {"model": recognizer.weights.name, "weights_sha256": recognizer.weights.sha256}
    with writing(str(out)), EmbeddingWriter(out, recognizer.dimension, about) as writer:

        def keep(photo: str, image: RGBImage, faces: Faces, analysis: Analysis) -> None:
            name = os.path.relpath(os.path.abspath(photo), found.base)
            with writing(str(out)):
                writer.add(Path(name).as_posix(), faces, analysis)

        tally = _embed_all(found, recognizer, args, progress, keep)
        with interrupts_wait():
            writer.end()
    return tally
