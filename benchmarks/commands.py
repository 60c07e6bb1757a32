"""What ``python -m benchmarks fps``, ``scaling`` and ``arithmetic`` do with their options."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import arithmetic, fps_report, machine, scaling
from benchmarks.fps import Settings, load, measure, missing_device
from benchmarks.peak import Peak, one_core
from benchmarks.peers import Peer, installed
from benchmarks.scenes import SCENES
from benchmarks.writing import failed, maybe_folder, say, write_json
from cascade.images import ImageError
from cascade.weights import DetectorWeights, load_detector
from eval.report import write_csv

__all__ = ["execute_arithmetic", "execute_fps", "execute_scaling"]


def execute_fps(args: argparse.Namespace) -> int:
    """Time, print and write; return 0, or 1 where a photo or a peer failed. Raises ValueError or OSError."""
    engine = args.engine or ("torch" if args.device == "cuda" else "native")
    if args.device == "cuda" and engine != "torch":
        raise ValueError("--engine native computes on the CPU only: leave it out with --device cuda")
    reason = missing_device(args.device)
    if reason:
        print(reason)
        return 0
    settings = Settings(args.device, engine, args.threads, args.min_face, args.runs)
    weights, about = _begin(args)
    settings.detector(weights)  # says what is wrong before anything is timed
    with maybe_folder(args.out) as folder, ExitStack() as stack:
        peers = [stack.enter_context(peer) for peer in _peers(args)]
        peak = one_core() if args.device == "cpu" else None
        _say_settings(settings, about, peak)
        photos, table, failures = _each_photo(args, settings, weights, peers, peak)
        if folder is not None:
            about |= {"device": args.device, "engine": engine, "threads": args.threads}
            about |= {"min_face": args.min_face, "peak_gflops": peak and peak.gflops, "peak_of": peak and peak.of}
            about |= {"peers": {peer.name: peer.version for peer in peers}, "failures": failures}
            about["seconds"] = round(time.perf_counter() - args.started, 3)
            fps_report.write(folder, about, photos, table)
    return 1 if failures else 0


def _begin(args: argparse.Namespace) -> tuple[DetectorWeights, dict[str, Any]]:
    """Load the weights; return them and what every benchmark writes of itself."""
    args.started = time.perf_counter()
    weights = load_detector(args.weights)
    about = {"command": args.command_line, "machine": machine.describe(), "runs": args.runs}
    return weights, {**about, "weights": {"name": weights.name, "sha256": weights.sha256}}


def _peers(args: argparse.Namespace) -> list[Peer]:
    """The peers asked for, those named one by one first; says which of --peers are not there."""
    found: dict[str, str] = dict(args.peer)
    if args.peers:
        here, left_out = installed(args.yunet_model)
        found = {**found, **{name: python for name, python in here.items() if name not in found}}
        absent = [reason for reason in left_out if reason.split()[0] not in found]
        if absent:
            print(f"not timed here: {', '.join(absent)}")
    return [Peer(name, python, args.threads, args.device, args.yunet_model) for name, python in found.items()]


def _say_settings(settings: Settings, about: dict[str, Any], peak: Peak | None) -> None:
    where = about["machine"]["level"] if settings.engine == "native" else settings.device
    print(
        f"weights {about['weights']['name']} ({about['weights']['sha256'][:12]}), {settings.engine} engine ({where}), "
        f"{settings.threads} thread{'s' if settings.threads > 1 else ''}, min_face {settings.min_face:g}, "
        f"{settings.runs} runs"
    )
    if peak:
        print(f"peak of one core: {peak.gflops:.0f} GFLOP/s float32, measured now with {peak.of}")
    print(fps_report.table_header())


def _each_photo(
    args: argparse.Namespace, settings: Settings, weights: DetectorWeights, peers: list[Peer], peak: Peak | None
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]], list[str]]:
    """Time and print photo by photo; return their records, rows of the table, and what failed."""
    records, table, failures = [], [], []
    sources: list[str | Path] = [*args.scene, *args.image] or list(SCENES)
    with tqdm(total=len(sources) * settings.runs, unit="run", disable=None, leave=False) as bar:
        for at, source in enumerate(sources, 1):
            bar.set_description(str(source))
            try:
                name, image = load(source, args.size)
                measured = measure(name, image, settings, weights, peers, bar.update)
            except ImageError as error:
                failures.append(f"{source}: {error}")
                failed(failures[-1])
            else:
                rss = machine.peak_rss_mib()
                say(fps_report.table_rows(measured, peak, rss))
                records.append(fps_report.record(measured, peak, rss))
                table += fps_report.rows(measured, peak, rss)
                for reason in measured.failures:
                    failures.append(f"{name}: {reason}")
                    failed(failures[-1])
            bar.update(at * settings.runs - bar.n)
    return records, table, failures


def execute_scaling(args: argparse.Namespace) -> int:
    """Time, print and write; return 0. Raises ValueError, OSError or, with --out and no matplotlib, ImportError."""
    weights, about = _begin(args)
    if args.out is not None:
        importlib.import_module("matplotlib")  # what is missing is said before anything is timed
    points = scaling.points(args.sizes, args.min_faces, args.faces, args.threads or scaling.thread_counts())
    with maybe_folder(args.out) as folder:
        with tqdm(total=args.runs * len(points), unit="run", disable=None, leave=False, file=sys.stderr) as bar:
            results = scaling.measure(points, weights, args.runs, bar.update)
        lines = scaling.lines(results)
        print(scaling.table(results))
        said = [scaling.sentence(changed, line) for changed, line in lines.items()]
        print("\n".join([*said, scaling.speed_up(results) or ""]).rstrip())
        if folder is not None:
            from benchmarks.scaling_plot import draw

            write_csv(folder / "scaling.csv", scaling.HEADER, [result.row() for result in results])
            fits = {changed: line.to_dict() for changed, line in lines.items()}
            times = [{**dict(zip(scaling.HEADER, r.row(), strict=True)), "times_ms": r.times} for r in results]
            write_json(folder / "scaling.json", {**about, "lines": fits, "points": times})
            draw(folder / "scaling.png", results, lines)
    return 0


def execute_arithmetic(args: argparse.Namespace) -> int:
    """Time, print and write; return 0. Raises ValueError or OSError."""
    weights = load_detector(args.weights) if args.weights else arithmetic.random_weights(args.family)
    name, image = load(args.image or "group", args.size)
    peak, crops = one_core(), tuple(args.crops)
    with tqdm(total=args.runs, unit="run", disable=None, leave=False) as bar:
        found = arithmetic.measure(image, weights, crops, args.min_face, args.runs, bar.update)
    print(f"peak of one core: {peak.gflops:.0f} GFLOP/s float32, measured now with {peak.of}")
    print(
        f"{name}, networks {weights.name}, min_face {args.min_face:g}, {crops[0]} crops for R-Net and {crops[1]} for "
        f"O-Net: {found.gflop:.2f} GFLOP in {found.median:.1f} ms (median of {args.runs}) are "
        f"{found.gflops:.0f} GFLOP/s, {found.gflops / peak.gflops:.0%} of the peak"
    )
    if args.out is not None:
        with maybe_folder(args.out) as folder:
            assert folder is not None
            record = {"command": args.command_line, "machine": machine.describe(), "photo": name, "crops": crops}
            record |= {
                "weights": weights.name,
                "min_face": args.min_face,
                "gflop": found.gflop,
                "times_ms": found.times,
            }
            write_json(folder / "arithmetic.json", {**record, "peak_gflops": peak.gflops, "peak_of": peak.of})
    return 0
