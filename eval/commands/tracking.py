"""``python -m eval tracking``: MOTA, IDF1 and HOTA on clips made of photos."""

from __future__ import annotations

import argparse
import itertools
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cascade.datasets import REGISTRY, Pairs, PersonPhoto
from cascade.detect import Detector
from cascade.imaging.reading import read_image
from cascade.recognize import Recognizer
from cascade.video.analysis import VideoAnalyzer
from cascade.video.frames import VideoFrame
from eval.commands.sets import add_data
from eval.detection.test_sets import read_set
from eval.report import files as report
from eval.tracking.clips import Frame, Head, camera_clip, people_clip
from eval.tracking.metrics import Followed, scores

SETS = {
    "holdout": ("wider_train_holdout", "lfw_train"),
    "test": ("wider_val", "lfw_pairs"),
}
"""Where the photos of groups, and those of single people, come from."""

LEAST_FACES, LEAST_PHOTOS = 3, 3
PEOPLE = (2, 3, 4)
HEADER = ("clips", "setting", "mota", "idf1", "hota", "deta", "assa", "switches", "misses", "false_alarms", "faces")


def add_parsers(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser("tracking", help="how well people are followed through clips made of photos")
    add_data(parser)
    parser.add_argument("--split", choices=tuple(SETS), default="test", help="photos to use (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    parser.add_argument("--clips", type=int, default=6, metavar="N", help="clips of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8, metavar="S", help="of a clip (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, nargs="+", default=[1, 3, 5], metavar="N", help="frames from one search to the next"
    )
    parser.add_argument("--save", action="store_true", help="write the clips with their tracks drawn, too")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="(default: %(default)s)")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> None:
    """Make the clips, follow the people in them, and report. Raises ValueError or OSError for unfit input."""
    begun = time.perf_counter()
    detector = Detector(threads=args.threads)
    recognizer = Recognizer(threads=args.threads, detector=detector)
    kinds = {"camera": list(_camera_clips(args)), "people": list(_people_clips(args, detector))}
    settings: dict[str, dict[str, Any]] = {f"every {n}": {"every": n} for n in args.every}
    settings[f"every {args.every[-1]}, no embeddings"] = {"every": args.every[-1], "recognizer": False}
    first = next(iter(settings))  # whose clips are drawn
    rows: list[tuple[Any, ...]] = []
    with report.output_folder(args.out) as folder:
        for kind, clips in kinds.items():
            followed: dict[str, list[list[Followed]]] = {name: [] for name in settings}
            for at, clip in enumerate(tqdm(clips, desc=kind, unit="clip", disable=None, leave=False)):
                frames = list(clip())
                for name, options in settings.items():
                    given = {"detector": detector, "recognizer": recognizer, **options}
                    draw = folder / f"{kind}_{at}.mp4" if args.save and name == first else None
                    followed[name].append(_followed(frames, VideoAnalyzer(**given), draw))
            rows += [(kind, name, *_rounded(scores(of_all))) for name, of_all in followed.items()]
        report.write_csv(folder / "tracking.csv", HEADER, rows)
        about = {"command": shlex.join(args.command_line), "seconds": time.perf_counter() - begun}
        weights = {"detector": detector.weights.sha256, "recognizer": recognizer.weights.sha256}
        figures = [dict(zip(HEADER, row, strict=True)) for row in rows]
        report.write_summary(folder, {**about, "weights_sha256": weights, "figures": figures})
    print(report.table(HEADER, rows))


def _rounded(found: dict[str, float]) -> list[Any]:
    return [round(found[name], 1) if isinstance(found[name], float) else found[name] for name in HEADER[2:]]


def _camera_clips(args: argparse.Namespace) -> Iterator[Any]:
    """Functions that make the clips of each pair of photos with some larger faces."""
    good = [
        photo
        for photo in read_set(args.data, SETS[args.split][0]).photos
        if ((photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1)[~photo.ignored] >= 40).sum() >= LEAST_FACES
    ]
    step = max(1, len(good) // (2 * args.clips))
    chosen = good[::step]
    for at in range(min(args.clips, len(chosen) // 2)):
        photos = chosen[2 * at : 2 * at + 2]
        yield lambda photos=photos, at=at: camera_clip(photos, args.seconds, seed=at)


def _people_clips(args: argparse.Namespace, detector: Detector) -> Iterator[Any]:
    """Functions that make the clips of different people."""
    backgrounds = [read_image(photo.path) for photo in read_set(args.data, "no_face").photos[:12]]
    people = _heads(args, detector)
    for at in range(args.clips):
        heads = dict(enumerate(itertools.islice(people, PEOPLE[at % len(PEOPLE)])))
        if len(heads) < 2:
            raise ValueError(f"tracking: expected more people of {LEAST_PHOTOS} photos in {SETS[args.split][1]}")
        some = [backgrounds[2 * at % len(backgrounds)], backgrounds[(2 * at + 1) % len(backgrounds)]]
        yield lambda heads=heads, some=some, at=at: people_clip(heads, some, args.seconds, seed=at)


def _heads(args: argparse.Namespace, detector: Detector) -> Iterator[list[Head]]:
    """The photos of each person of whom there are enough, in which exactly one large face is found."""
    for photos in _people(args).values():
        found = []
        for photo in photos:
            image = read_image(photo.path)
            faces = detector.detect(image)
            if len(faces) == 1 and faces[0].width > 40:
                found.append(Head(image, np.asarray(faces.boxes[0], np.float64)))
            if len(found) == LEAST_PHOTOS:
                yield found
                break


def _people(args: argparse.Namespace) -> dict[str, list[PersonPhoto]]:
    found = REGISTRY[SETS[args.split][1]].read(args.data)
    people: dict[str, list[PersonPhoto]] = {}
    for photo in found.photos() if isinstance(found, Pairs) else found:
        assert isinstance(photo, PersonPhoto)
        people.setdefault(str(photo.person), []).append(photo)
    return {name: some for name, some in people.items() if len(some) >= LEAST_PHOTOS}


def _followed(clip: list[Frame], analyzer: VideoAnalyzer, draw: Path | None) -> list[Followed]:
    """What an analyzer says of each frame, with the numbers that it gives a person in the end."""
    frames = []
    pictures = []
    for index, frame in enumerate(clip):
        seen = analyzer.update(VideoFrame(frame.time, index, frame.image))
        frames.append((frame, seen.faces.data["track"], seen.faces.boxes))
        pictures.append(seen if draw else None)
    merged = analyzer.tracker.merged
    if draw:
        _draw(draw, [each for each in pictures if each is not None])
    return [
        Followed(
            frame.people,
            frame.boxes,
            frame.ignored,
            np.array([merged.get(number, number) for number in tracks.tolist()], np.intp),
            boxes.astype(np.float64),
        )
        for frame, tracks, boxes in frames
    ]


def _draw(path: Path, frames: list[Any]) -> None:
    from cascade.video import VideoWriter
    from cascade.video.drawing import draw_tracks

    with VideoWriter(path, overwrite=True) as writer:
        for seen in frames:
            writer.write(draw_tracks(seen), seen.time)
