"""The options of ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal, NoReturn, cast

from benchmarks.fps import Variant
from benchmarks.scenes import LARGEST_SIDE, SCENES
from cascade._native import simd_levels
from cascade.detect import THRESHOLDS
from cascade.nn.architectures import ARCHITECTURES
from eval.baselines import client
from eval.detection.test_sets import SELECTION_SET, SETS, kind_of

__all__ = ["parser", "size", "weight_set"]


class OneLineParser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and exits with status 2."""
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``command`` of what it parses names a function of `benchmarks.commands`."""
    top = OneLineParser(prog="python -m benchmarks", description="Speed of the detector and of attributes.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fps(commands.add_parser("fps", help="milliseconds for a photo, beside baselines in the same run"))
    scaling = commands.add_parser("scaling", help="time against pixels, smallest face, number of faces and threads")
    _add_scaling(scaling)
    _add_attributes(commands.add_parser("attributes", help="milliseconds for a face, by what is said of it"))
    _add_archive(commands.add_parser("archive", help="photos a second of an index, beside bare loops; its memory"))
    _add_arithmetic(commands.add_parser("arithmetic", help="share of one core's peak, the numbers of crops held"))
    _add_decode(commands.add_parser("decode", help="photos read at a fraction of their size, against full size"))
    _add_pareto(commands.add_parser("pareto", help="AP against milliseconds of many settings, and the best of them"))
    _add_video(commands.add_parser("video", help="frames a second of video: detecting, following, recognising"))
    _add_summary(commands.add_parser("summary", help="draw the chart of README from its figures"))
    return top


def _add_fps(fps: argparse.ArgumentParser) -> None:
    fps.description = (
        "Times the detector, one table row a photo: by default on scenes with 0, 1, 6 and 26 faces made of a bundled "
        "portrait. Exit status: 0, 1 if a photo or a baseline failed, 2 for wrong options."
    )
    fps.add_argument("--image", type=Path, action="append", default=[], metavar="FILE", help="photo to time")
    fps.add_argument("--scene", action="append", default=[], choices=tuple(SCENES), help="scene to time")
    fps.add_argument(
        "--size", type=size, metavar="WxH", help="letterbox photos and compose scenes at this size (scenes: 640x480)"
    )
    fps.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    fps.add_argument("--engine", choices=("native", "torch"), help="(default: native, on cuda torch)")
    fps.add_argument("--precision", choices=("int8", "float32"), help="(default: what the detector chooses)")
    fps.add_argument(
        "--simd",
        type=_variant,
        nargs="+",
        default=[],
        metavar="LEVEL[:PRECISION]",
        help="SIMD levels to time beside each other, such as avx512vnni avx2 avx2:float32; the first one is compared "
        "with the others and with the baselines (default: what the detector chooses)",
    )
    fps.add_argument(
        "--instructions",
        action="store_true",
        help="count the instructions of a detection too, by valgrind's callgrind, which does not know AVX-512",
    )
    fps.add_argument("--min-face", type=_min_face, default=20.0, metavar="PX", help="(default: 20)")
    fps.add_argument("--threads", type=_threads, default=1, help="for ours and baselines (default: 1)")
    fps.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="photos given to the detector together (default: 1)"
    )
    _add_common(fps, runs=15)
    fps.add_argument("--installed-baselines", action="store_true", help="time the baselines that this Python has, too")
    client.add_options(fps)


def _add_scaling(scaling: argparse.ArgumentParser) -> None:
    scaling.description = "Times scenes made of a bundled portrait, one thing changed at a time."
    sizes = [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)]
    scaling.add_argument(
        "--sizes", type=size, nargs="+", default=sizes, metavar="WxH", help="the first is used for the other tables"
    )
    scaling.add_argument("--min-faces", type=_min_face, nargs="+", default=[12.0, 20.0, 40.0, 80.0], metavar="PX")
    scaling.add_argument("--faces", type=_faces, nargs="+", default=[0, 1, 6, 26], metavar="N")
    scaling.add_argument(
        "--threads", type=_threads, nargs="+", metavar="N", help="(default: 1, 2, 4 … up to the cores there are)"
    )
    _add_common(scaling, runs=7)


def _add_attributes(attributes: argparse.ArgumentParser) -> None:
    attributes.description = (
        "Times detection, alignment and the attribute network by its tasks, over all photos of a sequence: by default "
        "over a scene with six faces made of a bundled portrait."
    )
    attributes.add_argument("--image", type=Path, action="append", default=[], metavar="FILE", help="photo to time")
    attributes.add_argument("--folder", type=Path, metavar="DIR", help="photos to time, the frames of a video say")
    attributes.add_argument("--attribute-weights", metavar="W", help="shipped network or file")
    attributes.add_argument("--min-face", type=_min_face, default=20.0, metavar="PX", help="(default: 20)")
    attributes.add_argument("--threads", type=_threads, default=1, help="(default: 1)")
    _add_common(attributes, runs=31)


def _add_arithmetic(arithmetic: argparse.ArgumentParser) -> None:
    arithmetic.description = "Useful multiply-adds over the time of complete detections on one thread, crops held."
    arithmetic.add_argument("--image", type=Path, metavar="FILE", help="photo (default: the scene with 26 faces)")
    arithmetic.add_argument("--size", type=size, metavar="WxH", help="letterbox the photo at this size")
    arithmetic.add_argument("--min-face", type=_min_face, default=20.0, metavar="PX", help="(default: 20)")
    families = tuple(ARCHITECTURES)
    arithmetic.add_argument("--family", choices=families, default="paper", help="networks, without --weights")
    arithmetic.add_argument("--crops", type=_crops, nargs=2, default=[700, 180], metavar="N", help="of R- and O-Net")
    _add_common(arithmetic, runs=21)


def _add_decode(decode: argparse.ArgumentParser) -> None:
    decode.description = 'Reads JPEG files and detects in them, with Detector(decode="full") and "reduced" in turns.'
    decode.add_argument("--photos", type=Path, nargs="+", required=True, metavar="DIR", help="folders of photos")
    decode.add_argument("--every", type=_runs, default=1, metavar="N", help="take every Nth photo (default: all)")
    decode.add_argument("--min-faces", type=_min_face, nargs="+", default=[80.0, 160.0, 320.0], metavar="PX")
    decode.add_argument("--threads", type=_threads, default=1, help="(default: 1)")
    decode.add_argument("--weights", metavar="W", help="shipped set or folder (default: the shipped one)")
    decode.add_argument("--out", type=Path, metavar="DIR", help="write the results there too")


def _add_pareto(pareto: argparse.ArgumentParser) -> None:
    pareto.description = (
        "Takes AP and time of every combination of weights, scale_factor and thresholds, on one thread. AP is that of "
        "the settings timed, with O-Net's threshold alone lowered; faces count from --min-face on."
    )
    pareto.add_argument("--data", required=True, type=Path, metavar="ROOT", help="the data folder of python -m eval")
    sets = [name for name, entry in SETS.items() if kind_of(entry) == "faces"]
    pareto.add_argument(
        "--set",
        choices=sets,
        default=SELECTION_SET,
        help="photos to take AP on (default: %(default)s, which is for choosing; the others are for testing only)",
    )
    pareto.add_argument(
        "--weights",
        type=weight_set,
        nargs="+",
        default=[weight_set("default")],
        metavar="[LABEL=]W",
        help="shipped sets or folders (default: the shipped one)",
    )
    pareto.add_argument("--scale-factors", type=float, nargs="+", default=[0.5, 0.6, 0.709, 0.79], metavar="F")
    pareto.add_argument("--pnet-thresholds", type=float, nargs="+", default=[0.3, 0.5, 0.7], metavar="P")
    pareto.add_argument("--rnet-thresholds", type=float, nargs="+", default=[THRESHOLDS[1]], metavar="P")
    pareto.add_argument("--image", type=Path, metavar="FILE", help="photo to time (default: the scene with six faces)")
    pareto.add_argument("--min-face", type=_min_face, default=20.0, metavar="PX", help="for AP and time (default: 20)")
    pareto.add_argument("--runs", type=_runs, default=31, metavar="N", help="rounds (default: %(default)s)")
    pareto.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the figure, the table and JSON")
    client.add_options(pareto)


def _add_video(video: argparse.ArgumentParser) -> None:
    video.description = (
        "Goes through clips of 640x480 and 1920x1080 with 0, 1 and 6 faces, decoding included: detecting alone, "
        "following, and following with identities and attributes."
    )
    video.add_argument("--size", type=size, action="append", metavar="WxH", help="(default: 640x480 and 1920x1080)")
    video.add_argument("--faces", type=int, action="append", choices=(0, 1, 6), help="(default: 0, 1 and 6)")
    video.add_argument("--frames", type=_runs, default=150, metavar="N", help="of a clip (default: %(default)s)")
    video.add_argument("--every", type=_runs, default=3, metavar="N", help="frames between searches (default: 3)")
    video.add_argument("--min-face", type=_min_face, default=40.0, metavar="PX", help="(default: 40)")
    video.add_argument("--threads", type=_threads, default=1, help="for ours and baselines (default: 1)")
    video.add_argument("--yunet-model", metavar="FILE", help="weights of YuNet, to go through the clips with it too")
    _add_common(video, runs=2)


def _add_archive(archive: argparse.ArgumentParser) -> None:
    archive.description = (
        "Indexes photos made by varying those of a folder: crops, sizes, JPEG qualities. Beside it, as many processes "
        "only read, detect and embed. Needs Linux, for the memory and processor time of all processes."
    )
    archive.add_argument("--photos", type=Path, required=True, metavar="DIR", help="real photos, with folders below")
    archive.add_argument("--count", type=_runs, default=50_000, metavar="N", help="(default: %(default)s)")
    archive.add_argument("--processes", type=_threads, metavar="N", help="(default: one per processor)")
    archive.add_argument("--min-face", type=_min_face, default=20.0, metavar="PX", help="(default: 20)")
    archive.add_argument("--runs", type=_runs, default=10, metavar="N", help="rounds (default: %(default)s)")
    archive.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the photos made and the index")


def _add_summary(summary: argparse.ArgumentParser) -> None:
    summary.description = "Draws AP over milliseconds of the detectors in a CSV file. Measures nothing."
    figures = Path("docs/figures/summary.csv")
    summary.add_argument("--figures", type=Path, default=figures, metavar="CSV", help="(default: %(default)s)")
    summary.add_argument(
        "--out", type=Path, default=figures.with_suffix(".png"), metavar="PNG", help="(default: %(default)s)"
    )


def _add_common(command: argparse.ArgumentParser, runs: int) -> None:
    command.add_argument("--runs", type=_runs, default=runs, metavar="N", help="default: %(default)s")
    command.add_argument("--weights", metavar="W", help="shipped set or folder (default: the shipped one)")
    command.add_argument("--out", type=Path, metavar="DIR", help="write the results there too")


def size(text: str) -> tuple[int, int]:
    """Width and height of "640x480". Raises argparse.ArgumentTypeError."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= LARGEST_SIDE >= int(height) >= 1):
        raise argparse.ArgumentTypeError(f"expected width x height such as 640x480, got {text!r}")
    return int(width), int(height)


def weight_set(text: str) -> tuple[str, str]:
    """What a set of weights is called, by default its folder's name, and the shipped name or folder itself.

    Raises argparse.ArgumentTypeError.
    """
    label, _, source = text.partition("=") if "=" in text else (Path(text).name, "", text)
    if not label or not source:
        raise argparse.ArgumentTypeError(f"expected a shipped set or a folder, or LABEL= before it, got {text!r}")
    return label, source


def _variant(text: str) -> Variant:
    level, _, precision = text.partition(":")
    if level not in simd_levels():
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(simd_levels())} on this machine, got {level!r}")
    if precision not in ("", "int8", "float32"):
        raise argparse.ArgumentTypeError(f"expected int8 or float32 after the level, got {precision!r}")
    return Variant(level, cast('Literal["int8", "float32"]', precision) if precision else None)


def _whole(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected an integer from {low} to {high:,}, got {text!r}")
    return int(text)


def _threads(text: str) -> int:
    return _whole(text, 1, 256)


def _runs(text: str) -> int:
    return _whole(text, 1, 1_000_000)


def _faces(text: str) -> int:
    return _whole(text, 0, 500)


def _batch(text: str) -> int:
    return _whole(text, 1, 10_000)


def _crops(text: str) -> int:
    return _whole(text, 1, 100_000)


def _min_face(text: str) -> float:
    try:
        pixels = float(text)
    except ValueError:
        pixels = -1.0
    if not 4 <= pixels <= 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of pixels from 4 to 1,000,000, got {text!r}")
    return pixels
