"""Reading videos frame by frame: files, network streams and cameras.

>>> from cascade.video import read_video
>>> for frame in read_video("clip.mp4", every=3):  # doctest: +SKIP
...     print(frame.time, frame.image.shape)
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from cascade.checks import integer, number, thread_count
from cascade.video.frames import VideoFrame
from cascade.video.opening import VideoInfo, is_address
from cascade.video.recording import Recording

if TYPE_CHECKING:
    from cascade.video.live import LiveSource

__all__ = ["VideoInfo", "VideoReader", "VideoSource", "read_video"]

VideoSource: TypeAlias = str | os.PathLike[str] | int | BinaryIO
"""What `read_video` takes: a path, an address, the number of a camera, or a seekable binary file object."""

LONGEST_VIDEO = 1e9  # seconds
MAX_EVERY = 1_000_000

LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "mms")
"""Schemes of addresses whose frames cannot wait."""


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
