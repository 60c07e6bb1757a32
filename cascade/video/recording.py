"""A video file that is being read: its frames decoded, deinterlaced and upright, each with its time."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Generator, Iterator
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from cascade.imaging.pixels import RGBImage
from cascade.video.errors import VideoError, VideoWarning, import_av, named
from cascade.video.frames import VideoFrame, check_size, display_matrix, to_image
from cascade.video.opening import info_of, open_container, origin_of, video_stream
from cascade.video.packets import packets_of

__all__ = ["Clock", "Deinterlacer", "Recording"]

DEFAULT_RATE = 25.0  # frames a second, of videos that do not say
JUMP = 1.0  # seconds that timestamps must go back to count as a new clock


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
            self._aspect = self.stream.sample_aspect_ratio
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
        """The image (H, W, 3) uint8 RGB of a decoded frame, upright.

        It may be called after `close`, and in another thread than that which closes: nothing here asks the container or
        its stream, whose memory is gone then. PyAV would read it all the same.
        """
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, display_matrix(frame)
        return to_image(frame, self._aspect, self._matrix)

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
        for packet in packets_of(self._av, self.container, self.stream, self._count_damaged):
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

    def _count_damaged(self) -> None:
        self.damaged += 1


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
