"""What the commands of ``python -m benchmarks`` do with their options."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from benchmarks import arithmetic, attributes, decode, fps_report, instructions, machine, pareto, scaling
from benchmarks.fps import Settings, load, measure, missing_device
from benchmarks.peak import Peak, one_core
from benchmarks.scenes import SCENES, scene
from benchmarks.timing import Timing
from benchmarks.writing import failed, maybe_folder, say, write_json
from cascade.datasets import read_folder
from cascade.detect import Detector
from cascade.imaging.reading import ImageError, RGBImage, read_image
from cascade.models.attributes import load_attributes
from cascade.models.detector import DetectorWeights, load_detector
from eval.baselines.client import BaselineError, BaselineProcess, installed
from eval.detection.test_sets import TestSet, read_set
from eval.report.files import table, write_csv

__all__ = [
    "execute_archive",
    "execute_arithmetic",
    "execute_attributes",
    "execute_decode",
    "execute_fps",
    "execute_pareto",
    "execute_scaling",
    "execute_summary",
    "execute_video",
]


def execute_fps(args: argparse.Namespace) -> int:
    """Time, print and write; return 0, or 1 where a photo or a baseline failed. Raises ValueError or OSError."""
    engine = args.engine or ("torch" if args.device == "cuda" else "native")
    if args.device == "cuda" and engine != "torch":
        raise ValueError("--engine native computes on the CPU only: leave it out with --device cuda")
    reason = missing_device(args.device)
    if reason:
        print(reason)
        return 0
    if args.simd and engine != "native":
        raise ValueError("--simd is for the native engine")
    settings = Settings(args.device, engine, args.threads, args.min_face, args.runs, args.precision, args.batch)
    if args.simd:
        first, *others = args.simd
        settings = replace(settings.of(first), others=tuple(others))
    weights, about = _begin(args)
    detector = settings.detector(weights)  # says what is wrong before anything is timed
    about["precision"] = getattr(detector.engine, "precision", "float32")
    about["levels"] = [variant.name for variant in args.simd]
    with maybe_folder(args.out) as folder, ExitStack() as stack:
        baselines = [stack.enter_context(baseline) for baseline in _baselines(args)]
        peak = one_core() if args.device == "cpu" else None
        _say_settings(settings, about, peak)
        photos, table, failures = _each_photo(args, settings, weights, baselines, peak)
        if folder is not None:
            about |= {"device": args.device, "engine": engine, "threads": args.threads, "batch": args.batch}
            about |= {"min_face": args.min_face, "peak_gflops": peak and peak.gflops, "peak_of": peak and peak.of}
            about |= {"baselines": {baseline.name: baseline.version for baseline in baselines}, "failures": failures}
            about["seconds"] = round(time.perf_counter() - args.started, 3)
            fps_report.write(folder, about, photos, table)
    return 1 if failures else 0


def _begin(args: argparse.Namespace) -> tuple[DetectorWeights, dict[str, Any]]:
    """Load the weights; return them and what every benchmark writes of itself."""
    args.started = time.perf_counter()
    weights = load_detector(args.weights)
    about = {"command": args.command_line, "machine": machine.describe()}
    about |= {"runs": args.runs} if hasattr(args, "runs") else {}
    return weights, {**about, "weights": {"name": weights.name, "sha256": weights.sha256}}


def _baselines(args: argparse.Namespace) -> list[BaselineProcess]:
    """The baselines asked for, those named one by one first; says which of --installed-baselines are not there."""
    found: dict[str, str] = dict(args.baselines)
    if args.installed_baselines:
        here, left_out = installed(args.yunet_model)
        found = {**found, **{name: python for name, python in here.items() if name not in found}}
        absent = [reason for reason in left_out if reason.split()[0] not in found]
        if absent:
            print(f"not timed here: {', '.join(absent)}")
    options = (args.threads, args.device, args.yunet_model)
    return [BaselineProcess(name, python, *options) for name, python in found.items()]


def _say_settings(settings: Settings, about: dict[str, Any], peak: Peak | None) -> None:
    level = settings.level or about["machine"]["simd_level"]
    where = level if settings.engine == "native" else settings.device
    print(
        f"weights {about['weights']['name']} ({about['weights']['sha256'][:12]}), {settings.engine} engine ({where}), "
        f"{about['precision']}, {settings.threads} thread{'s' if settings.threads > 1 else ''}, "
        f"min_face {settings.min_face:g}, {settings.runs} runs"
        + (f", {settings.batch} photos given together" if settings.batch > 1 else "")
    )
    if peak:
        print(f"peak of one core: {peak.gflops:.0f} GFLOP/s float32, measured now with {peak.of}")
    print(fps_report.table_header())


def _each_photo(
    args: argparse.Namespace,
    settings: Settings,
    weights: DetectorWeights,
    baselines: list[BaselineProcess],
    peak: Peak | None,
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]], list[str]]:
    """Time and print photo by photo; return their records, rows of the table, and what failed."""
    records, table, failures = [], [], []
    sources: list[str | Path] = [*args.scene, *args.image] or list(SCENES)
    with tqdm(total=len(sources) * settings.runs, unit="run", disable=None, leave=False) as bar:
        for at, source in enumerate(sources, 1):
            bar.set_description(str(source))
            try:
                name, image = load(source, args.size)
                measured = measure(name, image, settings, weights, baselines, bar.update)
            except ImageError as error:
                failures.append(f"{source}: {error}")
                failed(failures[-1])
            else:
                if args.instructions:
                    measured = instructions.counted(measured, image, settings, args.weights)
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
        lines, given = scaling.lines(results), scaling.given(results)
        print(scaling.table(results))
        said = [scaling.sentence(changed, line) for changed, line in lines.items()]
        speed_up = scaling.speed_up(results)
        print("\n".join([*said, *([speed_up] if speed_up else []), *scaling.given_sentences(given)]))
        if folder is not None:
            from benchmarks.scaling_plot import draw

            write_csv(folder / "scaling.csv", scaling.HEADER, [result.row() for result in results])
            fits = {changed: line.to_dict() for changed, line in lines.items()}
            times = [
                {
                    **dict(zip(scaling.HEADER, result.row(), strict=True)),
                    "times_ms": result.times,
                    "processes_times_ms": result.processes,
                }
                for result in results
            ]
            cores = [each.to_dict() for each in given]
            write_json(folder / "scaling.json", {**about, "lines": fits, "cores": cores, "points": times})
            draw(folder / "scaling.png", results, lines)
    return 0


def execute_attributes(args: argparse.Namespace) -> int:
    """Time, print and write; return 0. Raises ValueError, which an unreadable photo is, or OSError."""
    weights, about = _begin(args)
    network = load_attributes(args.attribute_weights)
    about["attribute_weights"] = {"name": network.name, "sha256": network.sha256}
    files = [*args.image, *([photo.path for photo in read_folder(args.folder)] if args.folder else [])]
    images = [read_image(file) for file in files] if files else [scene("six", 640, 480).image]
    detector = Detector(weights=weights, min_face=args.min_face, threads=args.threads)
    with maybe_folder(args.out) as folder:
        with tqdm(total=args.runs + 1, unit="round", disable=None, leave=False, file=sys.stderr) as bar:
            costs = attributes.measure(images, network, detector, args.runs, bar.update)
        print(f"{len(images)} photos with {costs[0].faces} faces, {args.threads} threads, median of {args.runs} runs")
        print(attributes.table(costs))
        if folder is not None:
            write_csv(folder / "attributes.csv", attributes.HEADER, [cost.row() for cost in costs])
            write_json(folder / "attributes.json", {**about, "costs": [asdict(cost) for cost in costs]})
    return 0


def execute_decode(args: argparse.Namespace) -> int:
    """Time, compare, print and write; return 0. Raises ValueError, which an unreadable photo is, or OSError."""
    weights, about = _begin(args)
    photos = [photo.path for folder in args.photos for photo in read_folder(folder)]
    photos = [photo for photo in photos if photo.suffix.lower() in (".jpg", ".jpeg")][:: args.every]
    if not photos:
        raise ValueError("--photos: expected folders with JPEG files, found none")
    with maybe_folder(args.out) as folder:
        with tqdm(total=len(photos) * len(args.min_faces), unit="photo", disable=None, leave=False) as bar:
            rows = [decode.measure(photos, weights, each, args.threads, bar.update).row() for each in args.min_faces]
        print(table(decode.HEADER, rows))
        if folder is not None:
            write_csv(folder / "decode.csv", decode.HEADER, rows)
            write_json(folder / "decode.json", {**about, "threads": args.threads, "photos": len(photos)})
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


def execute_pareto(args: argparse.Namespace) -> int:
    """Measure, print and write; return 0. Raises ValueError, OSError or, without matplotlib or scipy, ImportError."""
    started = time.perf_counter()
    importlib.import_module("matplotlib")  # what is missing is said before anything is measured
    settings = pareto.settings(args.weights, args.scale_factors, args.pnet_thresholds, args.rnet_thresholds)
    detectors = [setting.detector(args.min_face) for setting in settings]
    # faces count from the size on that detectors are told to look for
    test_set = replace(read_set(args.data, args.set), min_size=args.min_face)
    name, image = load(args.image or "six", None)
    about: dict[str, Any] = {"command": args.command_line, "machine": machine.describe()}
    about |= {"photo": name, "width": image.shape[1], "height": image.shape[0], "threads": 1, "runs": args.runs}
    about |= {"set": args.set, "photos": len(test_set.photos), "min_face": args.min_face}
    about |= {"score_floor": pareto.SCORE_FLOOR}
    about["weights"] = {s.label: d.weights.sha256 for s, d in zip(settings, detectors, strict=True)}
    with maybe_folder(args.out) as folder:
        assert folder is not None
        timings, about["baselines"] = _time_in_turns(args, image, detectors)
        results = _with_precision(args, settings, test_set, timings)
        about["seconds"] = round(time.perf_counter() - started, 3)
        _write_pareto(folder, about, test_set, results)
    print(pareto.table(results))
    best = pareto.front(results)
    told = [pareto.sentence(each, best) for each in results if each.setting and each.setting.default]
    print("\n".join(told))
    return 0


def _time_in_turns(
    args: argparse.Namespace, image: RGBImage, detectors: list[Detector]
) -> tuple[list[Timing], dict[str, str | None]]:
    """Times of ours and then of the baselines, and the baselines' versions. Raises ValueError where one fails."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        file = Path(place, "photo.png")
        if not cv2.imwrite(str(file), image[..., ::-1]):
            raise OSError(f"cannot write {file}")
        named = [BaselineProcess(name, python, 1, "cpu", args.yunet_model) for name, python in args.baselines]
        found = [stack.enter_context(baseline) for baseline in named]
        try:
            for baseline in found:
                baseline.open(file, args.min_face)
            turns = [("cascade", pareto.ours(each, image)) for each in detectors]
            turns += [(baseline.name, baseline.detect) for baseline in found]
            with tqdm(total=args.runs * len(turns), desc="time", unit="run", disable=None, leave=False) as bar:
                timings = pareto.in_turns(turns, args.runs, bar.update)
            return timings, {baseline.name: baseline.version for baseline in found}
        except BaselineError as error:
            raise ValueError(str(error)) from error


def _with_precision(
    args: argparse.Namespace, settings: list[pareto.Setting], test_set: TestSet, timings: list[Timing]
) -> list[pareto.Result]:
    """Take the AP of every setting and baseline; ``timings`` are those of the settings, then of the baselines."""
    theirs = pareto.baseline_precisions(args.baselines, args.yunet_model, args.data, test_set, args.out)
    results = []
    for at, (setting, timing) in enumerate(zip(settings, timings, strict=False), 1):
        ap = pareto.average_precision(setting, test_set, f"AP {at} of {len(settings)}")
        results.append(pareto.Result(timing, ap, setting))
    return results + [pareto.Result(timing, theirs[timing.name]) for timing in timings[len(settings) :]]


def _write_pareto(folder: Path, about: dict[str, Any], test_set: TestSet, results: list[pareto.Result]) -> None:
    """Write pareto.csv, pareto.json (``about`` the run, every time besides) and pareto.png."""
    from benchmarks.pareto_plot import draw

    table, best = pareto.rows(results), pareto.front(results)
    write_csv(folder / "pareto.csv", pareto.HEADER, table)
    points = [
        {
            "detector": each.name,
            "setting": each.setting and asdict(each.setting),
            "ap": each.ap,
            "median_ms": each.timing.median,
            "p95_ms": each.timing.p95,
            "on_front": each in best,
            "times_ms": each.timing.times,
        }
        for each in results
    ]
    write_json(folder / "pareto.json", {**about, "points": points})
    x = f"ms of a {about['width']}×{about['height']} photo, one thread, min_face {test_set.min_size:g}"
    y = f"AP, faces from {test_set.min_size:g} px"
    draw(folder / "pareto.png", results, f"{test_set.title} ({len(test_set.photos):,} photos)", x, y)


def execute_summary(args: argparse.Namespace) -> int:
    """Draw; return 0. Raises ValueError, OSError or, without matplotlib, ImportError."""
    summary_plot = importlib.import_module("benchmarks.summary_plot")
    summary_plot.draw(args.out, summary_plot.read(args.figures))
    print(f"{args.out} written")
    return 0


def execute_archive(args: argparse.Namespace) -> int:
    """Make photos, time, print; return 0. Raises ValueError or OSError, and ImportError where pyarrow is missing."""
    from benchmarks import archive
    from cascade.archive.cpus import available_cpus
    from cascade.archive.photos import PhotoIndexer
    from cascade.imaging.formats import is_photo
    from cascade.recognize import Recognizer

    sources = sorted(path for path in args.photos.rglob("*") if is_photo(path.name))
    archive.vary(sources, args.work / "photos", args.count)
    photos = [os.fsencode(path) for path in sorted((args.work / "photos").rglob("*.jpg"))][: args.count]
    indexer = PhotoIndexer(Recognizer(threads=1, detector=Detector(min_face=args.min_face, threads=1)))
    processes = args.processes or available_cpus()
    rounds = []
    for each in archive.measure(photos, args.work / "index", indexer, processes, args.runs):
        rounds.append(each)
        words = f"{each.index:.3g} photos/s, bare loops {each.loops:.3g}; {max(each.megabytes, default=0):,.0f} MB"
        print(words, flush=True)
    print(archive.summary(rounds, len(photos), processes))
    return 0


def execute_video(args: argparse.Namespace) -> int:
    """Time, print and write; return 0. Raises ValueError or OSError, and ImportError where PyAV is missing."""
    from benchmarks import video

    weights, about = _begin(args)
    header = ("clip", "what", "fps", "fps_cpu", "median_ms", "p95_ms", "p95_cpu_ms")
    rows: list[list[Any]] = []
    with maybe_folder(args.out) as folder, tempfile.TemporaryDirectory() as clips:
        for size in args.size or video.SIZES:
            for faces in args.faces or video.FACES:
                clip = Path(clips, f"{size[0]}x{size[1]}_{faces}.mp4")
                video.make_clip(clip, faces, size, args.frames)
                theirs, left_out = video.baseline_loops(args.threads, args.min_face, args.yunet_model)
                loops = [*video.our_loops(weights, args.threads, args.min_face, args.every), *theirs]
                video.measure(clip, loops, args.threads, args.runs)
                for loop in loops:
                    figures = [round(value, 1) for value in loop.figures().values()]
                    rows.append([clip.stem, loop.name, *figures])
        print(table(header, rows))
        if left_out:
            print(f"not timed here: {', '.join(left_out)}")
        if folder is not None:
            write_csv(folder / "video.csv", header, rows)
            about |= {"threads": args.threads, "min_face": args.min_face, "every": args.every}
            write_json(folder / "summary.json", about | {"seconds": round(time.perf_counter() - args.started, 3)})
    return 0
