"""``cascade video``: who is in a video or before a camera, when, and how they look."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cascade.cli.batch import add_no_progress
from cascade.cli.console import CommandError, counted, printable, say, writable_folder, writing
from cascade.cli.keys import add_key_option, secret_of
from cascade.cli.recognition import (
    NOT_PROOF,
    add_options,
    check_gallery_exists,
    checked_threshold,
    load_gallery,
    make_recognizer,
    new_parser,
)
from cascade.private_files import owner_only, replacing

if TYPE_CHECKING:
    from cascade.video import SeenFrame, TrackSummary, VideoAnalyzer, VideoFrame, VideoInfo, VideoReader, VideoWriter

FRAMES, PEOPLE = "frames.jsonl", "people.json"
"""Files in --out: what was seen in each frame, and a summary of each person."""

WINDOW = "cascade video (q to stop)"

DESCRIPTION = """\
Follows the people in a video or before a camera: where their faces are in each frame, from when to when each person is
there, and, where asked for, who it is and how the person looks. A SOURCE is a video file, an animated GIF, an address
such as rtsp://…, or the number of a camera, 0 for the first.
"""

EPILOG = f"""\
{NOT_PROOF}
results:
  Without --json, a line for each person at the end: number, name, times, attributes. With --json, a JSON object a line
  for each frame: {{"time": s, "index": n, "faces": [{{"box": …, "score": …, "landmarks": …, "data": {{"track": 1}}}}]}}

files in --out DIR:
  {FRAMES}   the objects of --json
  {PEOPLE}    a summary of each person: "track", "name", "first", "last", "frames", "attributes", "best"
  person_1.jpg …  the best shot of each
  A run that was stopped goes on with --resume: the frames and people so far stay, and
  whoever is seen from then on gets a new number.

exit status:
  0  read to its end         2  wrong options, or no video
  1  problems on the way   130  stopped with Ctrl-C; results so far are written, and the video of --draw plays

examples:
  cascade video clip.mp4
  cascade video clip.mp4 --draw drawn.mp4 --gallery crew.gallery --attributes
  cascade video rtsp://camera/live --out seen --every auto
  cascade video 0 --show
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the main parser's subparsers."""
    parser = new_parser(commands, "video", "follow the people in a video or before a camera", DESCRIPTION, EPILOG)
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("source", metavar="SOURCE", help="a video file, an address, or the number of a camera")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="begin at this second of the video")
    parser.add_argument("--stop", type=float, metavar="S", help="end before this second")
    parser.add_argument(
        "--every",
        default="3",
        metavar="N|auto",
        help="frames from one search of a whole frame to the next, or auto: as the time allows (default: 3)",
    )
    parser.add_argument("--gallery", metavar="FILE", help="people to recognise: see `cascade gallery`")
    add_key_option(parser)
    parser.add_argument("--threshold", type=float, metavar="T", help="least similarity (default: of the network)")
    parser.add_argument("--attributes", action="store_true", help="also age, gender, expression … of each person")
    written = parser.add_argument_group("what to write")
    written.add_argument("--out", metavar="DIR", help="folder for all results; created if it does not exist")
    written.add_argument("--json", action="store_true", help="print a JSON object per frame and line")
    written.add_argument("--draw", metavar="FILE", help="write the video with the people drawn: .mp4, .mov or .mkv")
    written.add_argument(
        "--overwrite", action="store_true", help="replace the video of --draw, once the new one is complete"
    )
    written.add_argument("--no-sound", action="store_true", help="leave the sound out of the video of --draw")
    written.add_argument("--resume", action="store_true", help="go on with a run that was stopped, in the same --out")
    written.add_argument("--show", action="store_true", help="show the video in a window (needs opencv-python)")
    add_no_progress(written)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command and returns its exit status. Raises `CommandError`."""
    from cascade.video import VideoError

    if args.resume and (args.out is None or args.draw):
        args.parser.error("--resume needs --out DIR, and cannot go on with --draw")
    if args.key_file is not None and args.gallery is None:
        args.parser.error("--key-file is for --gallery")
    if args.overwrite and not args.draw:
        args.parser.error("--overwrite is for --draw")
    folder = None if args.out is None else writable_folder(args.out)
    before = _seen_before(folder / FRAMES) if folder and args.resume else _Before(args.start, 0)
    analyzer = _analyzer(args, before.tracks + 1)
    try:
        return _run(args, folder, analyzer, before.start)
    except (VideoError, ImportError) as error:
        raise CommandError(_in_options(str(error))) from error


def _in_options(message: str) -> str:
    """What is wrong with a video, in the words of the command line: the written one is that of --draw."""
    if message.startswith("path: "):
        hint = "; --overwrite replaces it" if message.endswith("exists already") else ""
        return f"--draw: {message.removeprefix('path: ')}{hint}"
    return message


def _run(args: argparse.Namespace, folder: Path | None, analyzer: VideoAnalyzer, start: float) -> int:
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(_opened(args, start))
        frames = reader if args.resume else _begun(args, reader)
        writer = stack.enter_context(_writer(args, start)) if args.draw else None
        results = stack.enter_context(_frames_file(folder, args.resume)) if folder else None
        try:
            _go_through(args, _progress(args, frames, reader.info), analyzer, results, writer)
        finally:
            people = analyzer.summaries()
            names = [person.name for person in people]
            if folder:
                names = _write_people(folder, people, analyzer, args.resume)
            if not args.json and not folder:
                for person in people:
                    print(_in_words(person))
    where = f"; results in {folder}" if folder else ""
    if not args.no_progress:
        say(_said(names, where))
    return 1 if reader.damaged or (writer is not None and writer.damaged) else 0


def _begun(args: argparse.Namespace, reader: VideoReader) -> Iterator[VideoFrame]:
    """The frames, of which there is one from --start on. Raises `CommandError` otherwise."""
    first = next(reader, None)
    duration = reader.info.duration
    if first is None and args.start and (args.stop is None or (duration is not None and args.start >= duration)):
        length = "" if duration is None else f", which is {duration:.4g} s long"
        raise CommandError(f"--start: expected a second of the video{length}, got {args.start:g}, beyond its end")
    return itertools.chain([] if first is None else [first], reader)


def _said(names: list[str | None], where: str) -> str:
    known = sum(name is not None for name in names)
    return f"{len(names)} {'person' if len(names) == 1 else 'people'} seen, {known} known{where}"


def _analyzer(args: argparse.Namespace, first_number: int) -> VideoAnalyzer:
    from cascade.tracking import Tracker
    from cascade.video import VideoAnalyzer

    recognizer = make_recognizer(args)
    gallery = None
    if args.gallery is not None:
        check_gallery_exists(args.gallery)
        gallery = load_gallery(args.gallery, recognizer, secret_of(args.gallery, args.key_file))
    threshold = checked_threshold(args, recognizer)
    every = "auto" if args.every == "auto" else _integer(args.every)
    try:
        return VideoAnalyzer(
            detector=recognizer.detector,
            recognizer=recognizer,
            gallery=gallery,
            attributes=args.attributes,
            every=every,  # type: ignore[arg-type]
            threshold=threshold,
            tracker=Tracker(same=threshold, first_number=first_number),
        )
    except (TypeError, ValueError) as error:
        raise CommandError(f"--{error}") from error


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"--every: expected a number of frames or auto, got {text!r}") from None


def _opened(args: argparse.Namespace, start: float) -> VideoReader:
    from cascade.video import VideoError, read_video

    source = int(args.source) if args.source.isdecimal() and not os.path.exists(args.source) else args.source
    try:
        return read_video(source, start=start, stop=args.stop, threads=args.threads)
    except VideoError:
        raise
    except ValueError as error:
        raise CommandError(f"--{error}") from error


def _writer(args: argparse.Namespace, start: float) -> VideoWriter:
    from cascade.video import VideoWriter
    from cascade.video.reading import is_live

    with contextlib.suppress(OSError, ValueError):  # no file, or none yet
        if os.path.samefile(args.draw, args.source):
            raise CommandError(f"--draw: expected another file than the video that is read, got {args.draw}")
    silent = args.no_sound or args.source.isdecimal() or is_live(args.source)
    sound_of = None if silent else args.source
    return VideoWriter(args.draw, start=start, sound_of=sound_of, overwrite=args.overwrite)


def _go_through(
    args: argparse.Namespace,
    frames: Iterator[VideoFrame],
    analyzer: VideoAnalyzer,
    results: IO[str] | None,
    writer: VideoWriter | None,
) -> None:
    from cascade.video.drawing import draw_tracks

    for frame in frames:
        seen = analyzer.update(frame)
        line = json.dumps(_record(seen)) if results or args.json else ""
        if results:
            with writing(f"{results.name}"):
                results.write(line + "\n")
        if args.json:
            with writing("to standard output"):
                print(line)
        drawn = draw_tracks(seen) if writer or args.show else None
        if writer and drawn is not None:
            writer.write(drawn, seen.time)
        if args.show and drawn is not None and not _shown(drawn):
            break


def _record(seen: SeenFrame) -> dict[str, Any]:
    faces = seen.faces.to_dicts()
    for face in faces:  # NaN is no JSON
        data = face["data"]
        face["data"] = {name: None if _is_nan(value) else value for name, value in data.items()}
    return {"time": round(seen.time, 6), "index": seen.index, "faces": faces}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _progress(args: argparse.Namespace, frames: Iterator[VideoFrame], info: VideoInfo) -> Iterator[VideoFrame]:
    """The frames, with a progress bar that tells the frames a second."""
    from tqdm import tqdm

    end = min(x for x in (args.stop, info.duration, 1e9) if x is not None)
    total = round((end - args.start) * info.rate) if info.rate and end < 1e9 else None
    return iter(tqdm(frames, total=total, unit="frame", disable=True if args.no_progress else None, leave=False))


def _shown(image: Any) -> bool:
    """Shows a frame in a window; False where the window was closed or q pressed."""
    try:
        import cv2

        cv2.imshow(WINDOW, image[..., ::-1])
        pressed = cv2.waitKey(1) & 0xFF
        return pressed != ord("q") and cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) >= 1
    except ImportError as error:
        raise CommandError("--show needs OpenCV with windows: python -m pip install opencv-python") from error
    except cv2.error as error:
        raise CommandError("--show: this OpenCV has no windows, or there is no screen; see opencv-python") from error


# Files


@contextlib.contextmanager
def _frames_file(folder: Path, resume: bool) -> Iterator[IO[str]]:
    """The file of the frames, which must be new, or ours where a run goes on."""
    path = folder / FRAMES
    with writing(str(path)):
        if resume and path.exists():
            _cut_last_line(path)
        for other in () if resume else (path, folder / PEOPLE):
            if other.exists():
                raise CommandError(f"{other} exists already: use --resume, or another --out")
        with open(path, "a", encoding="utf-8", buffering=1, opener=owner_only) as stream:
            yield stream


def _cut_last_line(path: Path) -> None:
    """Removes a last line that a killed run left incomplete."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with open(path, "r+b") as file:
            file.truncate(end)


@dataclass(frozen=True)
class _Before:
    """What a stopped run left: the second from which to go on, and the highest number of a person."""

    start: float
    tracks: int


def _seen_before(path: Path) -> _Before:
    """What is in the file of the frames. Raises `CommandError` where it is not ours, or there is none."""
    last, tracks = None, 0
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    row = json.loads(line)
                    last = float(row["time"])
                    tracks = max([tracks, *(int(face["data"]["track"]) for face in row["faces"])])
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no run to go on with") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{path}: expected the frames of a run of this command") from None
    return _Before(0.0 if last is None else last + 1e-5, tracks)


def _people_before(path: Path) -> list[Any]:
    """The summaries that a stopped run left; none where it was killed."""
    try:
        return [dict(row) for row in json.loads(path.read_text(encoding="utf-8"))["people"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandError(f"{path}: expected the summaries of a run of this command") from None


def _write_people(folder: Path, people: list[TrackSummary], analyzer: VideoAnalyzer, resume: bool) -> list[str | None]:
    """Writes the summaries and the best shots, for their owner alone. Those of before are joined on ``resume``.

    Returns the names in the file, None for unknown people.
    """
    from cascade.cli.outputs import first_usable, is_our_picture
    from cascade.cli.results import save_jpeg

    rows = _people_before(folder / PEOPLE) if resume else []
    for person in people:
        with writing(str(folder)):
            picture = first_usable(folder / f"person_{person.track}.jpg", is_our_picture)
            save_jpeg(picture, person.best, private=True)
        rows.append({**person.to_dict(), "best": picture.name})
    merged = {str(wrong): right for wrong, right in analyzer.tracker.merged.items()}
    with writing(str(folder / PEOPLE)):
        text = json.dumps({"people": rows, "merged": merged}, indent=1)
        with replacing(folder / PEOPLE) as stream:
            stream.write(text.encode())
    return [row.get("name") for row in rows]


def _in_words(person: TrackSummary) -> str:
    """A person in one line."""
    who = f"{person.name} ({person.similarity:.2f})" if person.name is not None else "unknown"
    told = ", ".join(
        f"{task} {value:.0f}" if isinstance(value, float) else f"{task} {value}"
        for task, value in person.attributes.items()
    )
    times = f"{_clock(person.first)} to {_clock(person.last)}, {counted(person.frames, 'frame')}"
    return printable(f"person {person.track}: {who}; {times}" + (f"; {told}" if told else ""))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}"
