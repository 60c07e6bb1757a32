"""``cascade gallery``: embeddings of people in a file, and which of the people are in photos."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.cli import enrol, people, protect
from cascade.cli.batch import Tally, go_through, photos_of, progress_of
from cascade.cli.console import CommandError, say, writable_folder, writing
from cascade.cli.detect import add_rotations
from cascade.cli.keys import add_key_option, secret_of
from cascade.cli.recognition import (
    NOT_PROOF,
    add_options,
    add_search,
    check_gallery_exists,
    check_search,
    checked_threshold,
    load_gallery,
    make_recognizer,
    new_parser,
    say_expired,
)
from cascade.cli.results import Pictures
from cascade.interrupts import interrupts_wait

if TYPE_CHECKING:
    from cascade.faces import Face, Faces
    from cascade.gallery import Gallery, Match

DESCRIPTION = f"""\
Stores embeddings of people's faces in one file, and finds these people in photos.

{NOT_PROOF}"""

EPILOG = """\
A gallery holds embeddings of one network, and no photos. Embeddings are personal data all the same: who has the file
can look for these people. The file is created for its owner alone. Every change writes a new file, which replaces the
old one once it is complete. Several commands can change a gallery at once; none undoes what another did. Every change
is noted in the file (`audit`). `add --encrypt` creates an encrypted gallery, which all commands ask the passphrase of.

exit status:
  0  everything went well           2  wrong options, no such person or gallery; nothing was done
  1  some photos had problems     130  stopped with Ctrl-C; the gallery stays as it was

examples:
  cascade gallery add crew.gallery "Eileen Collins" portrait.jpg training.jpg
  cascade gallery add crew.gallery --folder people      people/Eileen Collins/*.jpg, people/…
  cascade gallery list crew.gallery
  cascade gallery identify crew.gallery party.jpg --draw found
  cascade gallery remove crew.gallery "Eileen Collins"
  cascade gallery add crew.gallery --encrypt --expires 2027-01-31 --note "signed form 12" "Sally Ride" portrait.jpg
  cascade gallery export crew.gallery "Sally Ride" --out sally.json
"""

IDENTIFYING = f"""\
Finds people of the gallery in photos. It prints one line per face, with the most similar people that reach the
threshold, best first, or "unknown".

{NOT_PROOF}"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(
        commands, "gallery", "store embeddings of people and find these people in photos", DESCRIPTION, EPILOG
    )
    parser.set_defaults(run=_print_help, parser=parser)
    actions = parser.add_subparsers(title="what to do", metavar="ACTION")
    enrol.add_parser(actions)
    for name, summary, words, work in (
        ("list", "list the people and how many embeddings each has", None, run_list),
        ("remove", "remove people", "NAME", people.run_remove),
    ):
        action = new_parser(actions, name, summary, f"{summary[0].upper()}{summary[1:]}.", "")
        action.set_defaults(run=work, parser=action)
        action.add_argument("gallery", metavar="GALLERY", help="the file")
        if words:
            action.add_argument("paths", nargs="*", metavar=words, help="a person's name")
        add_key_option(action)
    _add_identifying(actions)
    people.add_parsers(actions)
    protect.add_parsers(actions)


def _add_identifying(actions: Any) -> None:
    parser = new_parser(actions, "identify", "find people in photos", IDENTIFYING, "")
    parser.set_defaults(run=run_identify, parser=parser)
    parser.add_argument("gallery", metavar="GALLERY", help="the file")
    add_search(parser, 5, "gallery")
    parser.add_argument(
        "--once", action="store_true", help="name nobody twice in a photo: the most similar face is the person's"
    )
    parser.add_argument(
        "--pooled",
        action="store_true",
        help="compare with the mean of a person's photos, not the most similar one",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object per photo, as cascade detect does")
    parser.add_argument("--draw", metavar="DIR", help="folder for copies of the photos with names on them")
    add_key_option(parser)
    add_rotations(parser)
    add_options(parser)


def _print_help(args: argparse.Namespace) -> int:
    args.parser.print_help()
    return 0


# --------------------------------------------------------------------------------------------------
# list, remove


def run_list(args: argparse.Namespace) -> int:
    """Prints the people, one per line."""
    check_gallery_exists(args.gallery)
    gallery = load_gallery(args.gallery, None, secret_of(args.gallery, args.key_file))
    with writing("to standard output"):
        for name, count in gallery.counts.items():
            print(f"{name}\t{count}{_until(gallery, name)}")
    people = "nobody" if not len(gallery) else "1 person" if len(gallery) == 1 else f"{len(gallery):,} people"
    encrypted = "; encrypted" if gallery.encrypted else ""
    say(f"{people}; embeddings of {gallery.model.name} ({gallery.model.sha256[:12]}){encrypted}")
    say_expired(gallery)
    return 0


def _until(gallery: Gallery, name: str) -> str:
    """The last column of a person's line: empty where there is no end."""
    record = gallery.record(name)
    return "" if record.expires is None else f"\t{'expired' if record.expired() else 'until'} {record.expires}"


# --------------------------------------------------------------------------------------------------
# identify


def run_identify(args: argparse.Namespace) -> int:
    """Prints who is in each photo, and draws names on copies of the photos if asked to."""
    check_search(args)
    found = photos_of(args.paths, args.draw)
    recognizer = make_recognizer(args)
    threshold = checked_threshold(args, recognizer)
    check_gallery_exists(args.gallery)
    gallery = load_gallery(args.gallery, recognizer, secret_of(args.gallery, args.key_file))
    say_expired(gallery)
    pictures = None
    if args.draw is not None:
        pictures = Pictures(found.photos, found.base, _draw_folder(args.draw))

    def identify(photo: str, tally: Tally) -> None:
        from cascade.imaging.reading import read_image

        image = read_image(photo)
        faces = recognizer.detector.detect(image)
        embeddings = recognizer.embed(image, faces)
        matches = gallery.identify(embeddings, args.top, threshold, once=args.once, pooled=args.pooled)
        with interrupts_wait(), writing("to standard output"):
            print(_record(photo, image.shape, faces, matches) if args.json else _in_words(photo, faces, matches))
        if pictures:
            from cascade.cli.names import draw_names

            names = [likely[0].name if likely else None for likely in matches]
            pictures.save(photo, {"_faces": draw_names(image, faces, names)})
        tally.add(len(faces))

    tally = go_through(
        found.photos, identify, progress_of(len(found.photos), True), len(found.problems), found.left_out
    )
    say(f"{tally.summary()}; threshold {threshold:.4f}" + (f"; pictures in {args.draw}" if pictures else ""))
    return tally.status()


def _record(photo: str, shape: tuple[int, ...], faces: Faces, matches: list[list[Match]]) -> str:
    dicts = faces.to_dicts()
    for face, likely in zip(dicts, matches, strict=True):
        face["matches"] = [{"name": name, "similarity": round(similarity, 4)} for name, similarity in likely]
    return json.dumps({"path": photo, "width": shape[1], "height": shape[0], "faces": dicts})


def _in_words(photo: str, faces: Faces, matches: list[list[Match]]) -> str:
    """A line for each face, or one line if there is no face."""
    if not len(faces):
        return f"{photo}: no face"
    lines = []
    for number, (face, likely) in enumerate(zip(faces, matches, strict=True), start=1):
        who = ", ".join(f"{name} ({similarity:.2f})" for name, similarity in likely) or "unknown"
        lines.append(f"{photo}: face {number} at {_place(face)}: {who}")
    return "\n".join(lines)


def _place(face: Face) -> str:
    x1, y1, x2, y2 = face.box
    return f"({(x1 + x2) / 2:.0f}, {(y1 + y2) / 2:.0f})"


def _draw_folder(name: str) -> Path:
    try:
        return writable_folder(name)
    except CommandError as error:
        raise CommandError(str(error).replace("--out", "--draw", 1)) from error
