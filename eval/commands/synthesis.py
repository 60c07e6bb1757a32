"""``python -m eval synthesis``."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from PIL import Image

from cascade.aging import AgeSynthesizer
from cascade.version import __version__
from eval.commands.common import progress
from eval.report import files as report
from eval.synthesis import evaluation, sheets
from eval.synthesis.evaluators import AgeEstimator, IdentityNetwork

SETS = ("utkface_test", "fgnet", "fairface_val")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("synthesis", help="faces at other ages, evaluated by independent networks")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder of the data sets")
    parser.add_argument("--set", nargs="+", default=["utkface_test"], metavar="NAME", help=f"of {', '.join(SETS)}")
    parser.add_argument(
        "--face-api", required=True, type=Path, metavar="DIR", help='folder "model" of npm\'s @vladmandic/face-api'
    )
    parser.add_argument("--weights", metavar="FILE", help="generator to evaluate (default: the shipped one)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument("--faces", type=int, default=100, metavar="N", help="faces to synthesise (default: 100)")
    parser.add_argument(
        "--real", type=int, default=60, metavar="N", help="real faces of each age group and set (default: 60)"
    )
    parser.add_argument(
        "--sheet", action="store_true", help="also pictures: the best and the worst, people beside later photos"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Evaluate, print and write the report. Raises ValueError, OSError or ImportError for unfit input."""
    started = time.perf_counter()
    synthesizer = AgeSynthesizer(args.weights)
    age, identity = AgeEstimator(), IdentityNetwork(args.face_api)
    faces, problems = evaluation.read_faces(args.data, args.set, args.real, progress("finding faces"))
    if not faces:
        raise ValueError(f"--set: no face in {', '.join(args.set)}")
    results = evaluation.evaluate(synthesizer, faces, age, identity, args.faces, progress("evaluating"))
    if not results.sources:
        raise ValueError("--set: no face that can be synthesised")
    found = evaluation.figures(results)
    with report.output_folder(args.out) as folder:
        summary = {
            "task": "synthesis",
            "sets": args.set,
            **found,
            "evaluators": {"age, gender": age.name, "identity, features": identity.name},
            "problems": [*problems, *results.unknown],
            "weights_sha256": synthesizer.weights.sha256,
            "command": shlex.join(args.command_line),
            "version": __version__,
            "seconds": round(time.perf_counter() - started, 3),
        }
        report.write_summary(folder, summary)
        if args.sheet:
            Image.fromarray(sheets.extremes(synthesizer, results)).save(folder / "sheet.png")
            later = sheets.beside_later(synthesizer, faces)
            if later is not None:
                Image.fromarray(later).save(folder / "later.png")
    print(as_text(found, ", ".join(args.set)))


def as_text(found: dict[str, Any], sets: str) -> str:
    """The tables on the terminal."""
    names = ("real", "synthesised", "difference", "kid", "kid_real", "fid", "fid_real", "diversity", "diversity_real")
    rows = [[row["group"], *(row.get(name) for name in names)] for row in found["by_target"]]
    verified = [[name.replace("_", " "), each["share"], each["pairs"]] for name, each in found["verified"].items()]
    gaps = [[f"{each['from']}–{each['below']}", each["cosine"], each["pairs"]] for each in found["cosine_by_gap"]]
    lines = [
        f"{sets}: {found['sources']:,} faces at nine ages beside {found['real_faces']:,} real ones; "
        f"{found['left_as_they_are']} too small or in profile",
        report.table(["target group", *names], rows),
        "",
        report.table([f"the same person at FAR {found['far']:g}", "share", "pairs"], verified),
        "",
        report.table(["cosine by years between", "mean", "pairs"], gaps),
        "",
        f"estimated ages rise: through 25, 45, 65 for {found['rising_25_45_65']:.1%} of the faces; through all nine "
        f"for {found['rising_all']:.1%}, with steps down of up to 3 years for {found['rising_all_3_years']:.1%}",
        f"gender kept: {found['gender_kept']:.1%}",
    ]
    return "\n".join(lines)
