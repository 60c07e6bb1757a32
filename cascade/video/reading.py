"""Reading videos frame by frame: files, network streams and cameras.

>>> from cascade.video import read_video
>>> for frame in read_video("clip.mp4", every=3):  # doctest: +SKIP
...     print(frame.time, frame.image.shape)
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from cascade.checks import integer, number, thread_count
from cascade.imaging.pixels import RGBImage
from cascade.video.errors import VideoError, VideoWarning, import_av, named, reason_of
from cascade.video.frames import VideoFrame, check_size, display_matrix, to_image

if TYPE_CHECKING:
    from cascade.video.live import LiveSource

__all__ = ["VideoInfo", "VideoReader", "VideoSource", "read_video"]

VideoSource: TypeAlias = str | os.PathLike[str] | int | BinaryIO
"""What `read_video` takes: a path, an address, the number of a camera, or a seekable binary file object."""

LONGEST_VIDEO = 1e9  # seconds
MAX_EVERY = 1_000_000
DEFAULT_RATE = 25.0  # frames a second, of videos that do not say
JUMP = 1.0  # seconds that timestamps must go back to count as a new clock
MAX_FAILURES = 100  # damaged packets one after the other, after which the rest is given up

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "mms")
"""Schemes of addresses whose frames cannot wait."""

# Of a file, nothing but the file itself is opened: a playlist may name others, or addresses.
NOT_VIDEOS = {"hls", "dash", "concat", "tty", "bin", "xbin", "idf", "adf", "sdp", "webm_dash_manifest", "lavfi"}


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before it is read."""

    rate: float | None
    """Mean frames a second, if the video says."""
    duration: float | None
    """Seconds, if the video says; streams and damaged files do not."""
    codec: str
    audio: bool
    """Whether there is sound, too."""
    live: bool
    """A camera or stream: frames that nobody took in time are lost."""


def read_video(
    source: VideoSource,
    *,
    every: int = 1,
    start: float = 0.0,
    stop: float | None = None,
    threads: int | None = None,
    live: bool | None = None,
) -> VideoReader:
    """The frames of a video one after the other, each with its time and its place.

    Parameters
    ----------
    source : path of a video file or animated GIF, an address such as ``rtsp://…`` or ``https://…``, a binary file
        object that can seek, or the number of a camera, 0 for the first (needs the extra ``opencv``).
    every : 1 for all frames, n for every n-th.
    start, stop : seconds from the beginning of the video: frames from ``start`` on and before ``stop`` are read.
    threads : threads that decode; None takes one per available core, at most 4.
    live : whether frames are lost that nobody takes in time, so that the newest one comes next, and a lost connection
        is made again. None: for cameras and for the addresses of `LIVE`.

    Returns
    -------
    An iterator of `VideoFrame`: ``time`` in seconds, ``index``, and ``image`` (H, W, 3) uint8 RGB, upright: the
    rotation that phones write is applied, interlaced fields are joined (bwdif), pixels are square, HDR is mapped to
    ordinary colours. Times are those of the file, also where its frame rate varies, and strictly increase. The memory
    does not depend on the length of the video. It has the attributes ``info`` and ``damaged``, and can be used in a
    ``with`` statement, which closes the file.

    Damaged packets and frames are left out and counted in ``damaged``; a `VideoWarning` says so at the end.

    Raises
    ------
    VideoError
        For what is no video, has no video stream, no frame, or frames of more than `cascade.imaging.pixels.MAX_PIXELS`.
        `CameraError` for a camera that is not there, `StreamError` for a stream that cannot be reached or that was
        lost and did not come back.
    ValueError, TypeError
        For wrong ``every``, ``start`` or ``stop``. ImportError if the extra is not installed.
    """
    step = integer("every", every, 1, MAX_EVERY)
    begin = number("start", start, 0, LONGEST_VIDEO)
    end = None if stop is None else number("stop", stop, begin, LONGEST_VIDEO)
    count = thread_count(threads)
    if isinstance(source, bool) or not (isinstance(source, (str, os.PathLike, int)) or hasattr(source, "read")):
        raise TypeError(f"source: expected a path, address, file or camera number, got {type(source).__name__}")
    if live or (live is None and is_live(source)):
        from cascade.video.live import open_live

        stream = open_live(source, count)
        return VideoReader(stream.frames(step, begin, end), stream)
    if isinstance(source, int):
        raise ValueError("live: expected True or None for a camera, got False")
    recording = Recording(source, count)
    return VideoReader(recording.frames(step, begin, end), recording)


def is_live(source: object) -> bool:
    """Whether a source is a camera or an address of a live stream."""
    if isinstance(source, int):
        return True
    return isinstance(source, str) and is_address(source) and source.partition("://")[0].lower() in LIVE


def is_address(source: object) -> bool:
    """Whether a source is an address, not a file."""
    return isinstance(source, str) and ADDRESS.match(source) is not None and not source.lower().startswith("file://")


class VideoReader(Iterator[VideoFrame]):
    """The frames that `read_video` was asked for."""

    def __init__(self, frames: Generator[VideoFrame], source: Recording | LiveSource) -> None:
        self.info: VideoInfo = source.info
        self._source = source
        self._frames = frames

    @property
    def damaged(self) -> int:
        """Damaged packets and frames that were left out so far."""
        return self._source.damaged

    def __next__(self) -> VideoFrame:
        return next(self._frames)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file, camera or stream. No further frame comes."""
        self._frames.close()
        self._source.close()


class Recording:
    """An opened video file, or a file at an address."""

    def __init__(
        self, source: str | os.PathLike[str] | BinaryIO, threads: int, timeout: float | None = None, **options: str
    ) -> None:
        self._av = import_av()
        self.name = named(getattr(source, "name", source))
        self._opening = partial(open_container, self._av, source, timeout, **options)
        self._threads = threads
        self.damaged = 0
        self._rotation: int | None = None
        self._matrix = (1, 0, 0, 1)
        self._open()
        self.info = info_of(self.container, self.stream)

    def _open(self) -> None:
        self.container = self._opening()
        try:
            self.stream = video_stream(self.container, self.name)
            check_size(self.stream.width, self.stream.height, self.name)
        except BaseException:
            self.container.close()
            raise
        self.stream.codec_context.thread_count = self._threads
        self.stream.codec_context.thread_type = "AUTO" if self._threads > 1 else "NONE"

    def close(self) -> None:
        """Closes the file."""
        self.container.close()

    def frames(self, every: int = 1, start: float = 0.0, stop: float | None = None) -> Generator[VideoFrame]:
        """Every n-th frame from ``start`` in seconds on and before ``stop``."""
        index = 0
        try:
            for frame, time in self.timed(start):
                if stop is not None and time >= stop:
                    break
                if index % every == 0:
                    yield VideoFrame(time, index, self.image(frame))
                index += 1
        finally:
            self.close()
        if self.damaged:
            message = f"{self.name}: {self.damaged} damaged packets or frames were left out"
            warnings.warn(message, VideoWarning, stacklevel=3)

    def image(self, frame: Any) -> RGBImage:
        """The image (H, W, 3) uint8 RGB of a decoded frame, upright."""
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, display_matrix(frame)
        return to_image(frame, self.stream.sample_aspect_ratio, self._matrix)

    def timed(self, start: float = 0.0) -> Iterator[tuple[Any, float]]:
        """The decoded frames from ``start`` on with their times."""
        frames = self._sought(start) if start > 0 else iter(())
        first = next(frames, None)
        if first is None or first[1] > start:
            if start > 0:  # the file has no index, or one that leads behind the place
                self.container.close()
                self._open()
            frames = self._from_here()
            first = next(frames, None)
        if first is None:
            raise VideoError(f"source: expected a video, but {self.name} has no frame that can be decoded")
        yield from (each for each in chain([first], frames) if each[1] >= start)

    def _sought(self, start: float) -> Iterator[tuple[Any, float]]:
        """The decoded frames from the key frame before ``start`` on; none where the file cannot be searched."""
        timestamp = int((start + float(origin_of(self.container))) / self.stream.time_base)
        with contextlib.suppress(self._av.error.FFmpegError):
            self.container.seek(timestamp, stream=self.stream)
            yield from self._from_here()

    def _from_here(self) -> Iterator[tuple[Any, float]]:
        clock = Clock(self.container, self.stream)
        return ((frame, clock.time_of(frame)) for frame in self._decoded())

    def _decoded(self) -> Iterator[Any]:
        """The frames in the order of display, deinterlaced. What is damaged is counted and left out."""
        deinterlacer = Deinterlacer(self._av)
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                else:
                    check_size(frame.width, frame.height, self.name)
                    yield from deinterlacer.add(frame)
        yield from deinterlacer.end()

    def _packets(self) -> Iterator[Any]:
        failures = 0
        packets = self.container.demux(self.stream)
        while failures < MAX_FAILURES:
            try:
                yield next(packets)
                failures = 0
            except StopIteration:
                return
            except (self._av.error.FFmpegError, OSError):
                self.damaged += 1
                failures += 1
                packets = self.container.demux(self.stream)


class Clock:
    """Times of frames in seconds from the beginning of a video. They strictly increase."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.origin = origin_of(container)
        rate = stream.average_rate or stream.guessed_rate
        self.step = 1 / float(rate) if rate else 1 / DEFAULT_RATE
        self.last: float | None = None
        self.shift = 0.0

    def time_of(self, frame: Any) -> float:
        """The time of a frame; where it has none, or one that goes back, that of the frame before and a step."""
        last = self.last
        expected = 0.0 if last is None else last + self.step
        if frame.pts is None or frame.time_base is None:
            time = expected
        else:
            time = float(frame.pts * frame.time_base - self.origin) + self.shift
            if last is not None and time < last - JUMP:  # another clock, as where recordings were joined
                self.shift += expected - time
                time = expected
            elif last is not None and time <= last:
                time = last + self.step / 100
        self.last = max(time, 0.0)
        return self.last


def origin_of(container: Any) -> Fraction:
    """The timestamp in seconds at which a file begins, for all of its streams."""
    return Fraction(container.start_time or 0, 1_000_000)


class Deinterlacer:
    """Joins the fields of interlaced frames; other frames pass."""

    def __init__(self, av: Any) -> None:
        self._av = av
        self._graph: Any = None

    def add(self, frame: Any) -> Iterator[Any]:
        """Takes a frame, and returns those that are ready."""
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph = self._new_graph(frame)
        self._graph.push(frame)
        yield from self._ready()

    def end(self) -> Iterator[Any]:
        """The last frames."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _new_graph(self, frame: Any) -> Any:
        graph = self._av.filter.Graph()
        buffer = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        graph.link_nodes(
            buffer, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
        ).configure()
        return graph

    def _ready(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return


# Opening


def open_container(
    av: Any, source: str | os.PathLike[str] | BinaryIO, timeout: float | None = None, **options: str
) -> Any:
    """An open ``av`` container, of a source that may be silent for ``timeout`` seconds.

    Raises `VideoError` with the reason and what was given.
    """
    target = _target(source)
    name = named(getattr(source, "name", source))
    if not is_address(source) and isinstance(target, str):
        options["protocol_whitelist"] = "file"
    try:
        container = av.open(target, options=options, metadata_errors="ignore", timeout=timeout)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, av.error.InvalidDataError):
            raise VideoError(
                f"source: expected a video, but {name} is none that FFmpeg knows{_what(target)}"
            ) from error
        if isinstance(error, av.error.EOFError):
            raise VideoError(f"source: expected a video, but {name} ends before its first frame") from error
        raise VideoError(f"source: expected a readable video, but {name} gives: {reason_of(error)}") from error
    if container.format.name.split(",")[0] in NOT_VIDEOS and not is_address(source):
        kind = container.format.name
        container.close()
        raise VideoError(f"source: expected a video, but {name} is a file of kind {kind!r}")
    return container


def _target(source: str | os.PathLike[str] | BinaryIO) -> str | BinaryIO:
    """What FFmpeg opens: the address, the path in a form that is never taken for an address, or the file object."""
    if is_address(source):
        return str(source)
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = os.fspath(source)
    if not path:
        raise VideoError("source: expected a path, got an empty one")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise VideoError(f"source: expected a video file, but there is none at {named(path)}") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"source: expected a readable file, but {named(path)} gives: {reason_of(error)}") from error
    if stat.S_ISDIR(mode):
        raise VideoError(f"source: expected a video file, but {named(path)} is a directory")
    if stat.S_ISREG(mode) and not os.path.getsize(path):
        raise VideoError(f"source: expected a video file, but {named(path)} is empty")
    return f"file:{path}"


def _what(target: str | BinaryIO) -> str:
    """A hint at what a file is that is no video."""
    if not isinstance(target, str) or not target.startswith("file:"):
        return ""
    with Path(target.removeprefix("file:")).open("rb") as file:
        start = file.read(512)
    try:
        start[:-4].decode()
    except UnicodeDecodeError:
        return " (damaged, or cut short before its index?)" if start[4:8] == b"ftyp" else ""
    return " (it is text)" if not re.search(rb"[\x00-\x08]", start) else ""


def video_stream(container: Any, name: str) -> Any:
    """The first stream of moving pictures. Raises `VideoError` if there is none."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition.name or "").lower() and stream.codec_context is not None:
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    found = f"only {', '.join(kinds)}" if kinds else "nothing"
    raise VideoError(f"source: expected a video, but {name} has no video stream, {found}")


def info_of(container: Any, stream: Any) -> VideoInfo:
    """What is known of a stream."""
    rate = stream.average_rate or stream.guessed_rate
    length = None
    if container.duration and container.duration > 0:
        length = container.duration / 1_000_000
    elif stream.duration and stream.time_base:
        length = float(stream.duration * stream.time_base)
    return VideoInfo(
        rate=float(rate) if rate else None,
        duration=length,
        codec=stream.codec_context.name,
        audio=bool(container.streams.audio),
        live=False,
    )
