"""Opening video files and streams with FFmpeg, and what they say of themselves."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from cascade.video.errors import VideoError, named, reason_of

__all__ = ["VideoInfo", "info_of", "is_address", "open_container", "origin_of", "video_stream"]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

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


def is_address(source: object) -> bool:
    """Whether a source is an address, not a file."""
    return isinstance(source, str) and ADDRESS.match(source) is not None and not source.lower().startswith("file://")


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


def origin_of(container: Any) -> Fraction:
    """The timestamp in seconds at which a file begins, for all of its streams."""
    return Fraction(container.start_time or 0, 1_000_000)
