"""Writing videos: frames with their times, and the sound of another video in step with them.

>>> from cascade.video import VideoWriter, read_video
>>> with VideoWriter("out.mp4", sound_of="clip.mp4") as writer:  # doctest: +SKIP
...     for frame in read_video("clip.mp4"):
...         writer.write(frame.image, frame.time)
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from cascade import private_files
from cascade.checks import number
from cascade.imaging.pixels import RGBImage
from cascade.video.errors import VideoWarning, VideoWriteError, import_av, named, reason_of
from cascade.video.sound import Sound

__all__ = ["SUFFIXES", "VideoWriter"]

SUFFIXES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""What the end of a file's name says of its format."""

TICKS = 90_000  # a second: a frame lasts an integer number of them at every usual frame rate
KEY_FRAME_SECONDS = 1.0  # what a killed process loses at most, beside what the encoder holds
CODECS = ("libx264", "mpeg4")  # the first that this FFmpeg has
DEFAULT_QUALITY = 20.0

# Each fragment is readable by itself, so that the file plays wherever writing stopped.
MUXER = {
    "mp4": {"movflags": "frag_keyframe+delay_moov+default_base_moof"},
    "mov": {"movflags": "frag_keyframe+delay_moov+default_base_moof"},
    "matroska": {"cluster_time_limit": "1000"},
}
# Packets reach the file at once, and those of one stream wait at most a second for those of the other.
COMMON = {"flush_packets": "1", "max_interleave_delta": "1000000"}


class VideoWriter:
    """Writes frames with their times to an MP4, MOV or Matroska file, H.264.

    Parameters
    ----------
    path : the file, which must not exist. Its end says the format: one of `SUFFIXES`.
    start : time in seconds of the first moment of the file; frames and sound before it cannot be written.
    sound_of : a video whose sound goes into the file, in step with the times of its frames as `read_video` gives them.
    sound : "copy" where the format takes it and "encode" (AAC) otherwise is "auto".
    quality : constant rate factor of H.264, 0 (lossless) to 51, smaller is better.
    overwrite : whether a file of this name may be replaced. That happens once the new one is complete: after an
        exception or a crash the old one is still there.

    Frames are RGB (H, W, 3) uint8 of one size; an odd width or height is made even by repeating the last column or
    row. Times are stored to 1/90,000 s (Matroska: 1/1000 s), so variable frame rates stay. A new file is written in
    fragments: also after a crash or SIGKILL it plays, but for about the last second. `close`, which the ``with``
    statement calls, ends it; after an exception in there the sound ends with the last frame.

    Damaged packets of sound, and those that go back in time, are left out and counted in ``damaged``; a `VideoWarning`
    says so at the end.

    Raises `VideoWriteError` where the file cannot be written or is that of ``sound_of``, ValueError or TypeError naming
    a wrong setting, and `VideoWriteError` from `write` for a full disk, frames that the encoder refuses, frames of
    different sizes, times that do not increase, and sound to copy that the format does not take.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float = 0.0,
        sound_of: str | os.PathLike[str] | None = None,
        sound: Literal["auto", "copy", "encode"] = "auto",
        quality: float = DEFAULT_QUALITY,
        overwrite: bool = False,
    ) -> None:
        self._av = import_av()
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path: expected a path, got {type(path).__name__}")
        self.path = Path(path)
        self.start = number("start", start, -1e9, 1e9)
        self.quality = number("quality", quality, 0, 51)
        if sound not in ("auto", "copy", "encode"):
            raise ValueError(f"sound: expected 'auto', 'copy' or 'encode', got {sound!r}")
        self.frames = 0
        self._format = _format_of(self.path)
        self._last = -1  # ticks
        self._step = TICKS // 25  # between the last two frames
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        if sound_of is not None:
            _check_other_file(self.path, sound_of)
        self._sound = Sound(sound_of, self.start, sound) if sound_of is not None else None
        self._sound_name = named(sound_of)
        self._place = contextlib.ExitStack()  # its end has the file replace an earlier one
        try:
            self._file = self._place.enter_context(_destination(self.path, overwrite))
        except VideoWriteError:
            if self._sound:
                self._sound.close()
            raise
        self._container: Any = None
        self._failed = False

    @property
    def damaged(self) -> int:
        """Damaged packets of sound that were left out so far."""
        return self._sound.damaged if self._sound else 0

    def write(self, image: RGBImage, time: float) -> None:
        """Adds a frame (H, W, 3) uint8 RGB at a time in seconds."""
        pixels = self._checked(image)
        time = number("time", time, -1e9, 1e9)
        ticks = round((time - self.start) * TICKS)
        if ticks < 0:
            raise VideoWriteError(f"time: expected {self.start:g} s or more, got {time:.4f} s, before the start")
        if ticks <= self._last:
            raise VideoWriteError(f"time: expected more than that of the frame before, got {time:.4f} s")
        if self._container is None:
            self._open(pixels)
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=1, src_color_range=2, dst_color_range=1, threads=1)
        frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
        frame.pict_type = self._picture_type(ticks)
        self._mux(lambda: self._stream.encode(frame))
        if self._sound:
            self._mux(lambda: self._sound.until(Fraction(ticks, TICKS)))
        self._step = ticks - self._last if self._last >= 0 else self._step
        self._last = ticks
        self.frames += 1

    def close(self, *, sound_to: float | None = None) -> None:
        """Writes what the encoder holds and the sound, up to a time in seconds or its end, and closes the file."""
        end = None if sound_to is None else Fraction(number("sound_to", sound_to, -1e9, 1e9) - self.start)
        self._end(end, whole=sound_to is None)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(VideoWriteError):  # what ended the block says more
            self._end(Fraction(self._last + self._step, TICKS), whole=False, error=error)

    # The parts

    def _open(self, pixels: RGBImage) -> None:
        height, width = pixels.shape[:2]
        name = next((each for each in CODECS if each in self._av.codecs_available), None)
        if name is None:
            raise VideoWriteError(f"path: expected FFmpeg with one of the encoders {', '.join(CODECS)}, it has none")
        options = MUXER[self._format] | COMMON
        try:
            self._container = self._av.open(self._file, "w", format=self._format, options=options)
            self._stream = stream = self._container.add_stream(name, rate=30)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
            stream.codec_context.max_b_frames = 0  # no frame waits for a later one
            stream.colorspace = stream.color_primaries = stream.color_trc = 1  # BT.709
            stream.color_range = 1
            if name == "libx264":
                stream.options = {"crf": str(self.quality), "preset": "veryfast", "rc-lookahead": "10"}
            else:
                stream.codec_context.bit_rate = width * height * 6
            stream.codec_context.open()
        except (self._av.error.FFmpegError, ValueError, OverflowError) as error:
            self._abandon(error)
            raise VideoWriteError(
                f"image: the encoder {name} refuses frames of {width} × {height} pixels: {error}"
            ) from error
        if self._sound:
            try:
                self._sound.add_to(self._container, self._format)
            except VideoWriteError as error:
                self._abandon(error)
                raise

    def _checked(self, image: RGBImage) -> RGBImage:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise VideoWriteError(f"image: expected uint8 (H, W, 3), got {got}")
        if self._failed or self._file.closed:
            raise VideoWriteError(f"path: {named(self.path)} was closed")
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise VideoWriteError(f"image: expected the shape {self._shape} of the frames before, got {image.shape}")
        odd = (image.shape[0] % 2, image.shape[1] % 2)
        if any(odd):
            image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        return np.ascontiguousarray(image)

    def _picture_type(self, ticks: int) -> Any:
        """A key frame where the last one is old enough, so that a fragment can end."""
        seconds = ticks // round(KEY_FRAME_SECONDS * TICKS)
        due = self._last < 0 or seconds != self._last // round(KEY_FRAME_SECONDS * TICKS)
        picture = self._av.video.frame.PictureType
        return picture.I if due else picture.NONE

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets():
                self._container.mux(packet)
        except (self._av.error.FFmpegError, OSError) as error:
            self._abandon(error)
            raise VideoWriteError(f"path: {named(self.path)} cannot be written: {reason_of(error)}") from error

    def _end(self, until: Fraction | None, whole: bool, error: BaseException | None = None) -> None:
        if self._file.closed:
            return
        if self._container is None:
            nothing = VideoWriteError(f"path: no frame was written to {named(self.path)}")
            self._abandon(nothing)
            raise nothing
        self._mux(lambda: self._stream.encode(None))
        if self._sound:
            self._mux(lambda: self._sound.until(None if whole else until))
            self._mux(self._sound.end)
        try:
            self._container.close()
            self._place.__exit__(type(error) if error else None, error, None)
        except (self._av.error.FFmpegError, OSError) as failure:
            self._abandon(failure)
            raise VideoWriteError(f"path: {named(self.path)} cannot be written: {reason_of(failure)}") from failure
        finally:
            if self._sound:
                self._sound.close()
        if self.damaged and error is None:
            message = f"{self._sound_name}: {self.damaged} damaged packets of sound were left out"
            warnings.warn(message, VideoWarning, stacklevel=3)

    def _abandon(self, error: BaseException) -> None:
        """Closes the file as it is; it replaces no other."""
        self._failed = True
        with contextlib.suppress(self._av.error.FFmpegError, OSError, ValueError):
            if self._container is not None:
                self._container.close()
        with contextlib.suppress(OSError):
            self._place.__exit__(type(error), error, error.__traceback__)
        if self._sound:
            self._sound.close()


def _format_of(path: Path) -> str:
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise VideoWriteError(f"path: expected a name with one of {', '.join(SUFFIXES)}, got {named(path)}")
    return kind


def _check_other_file(path: Path, sound_of: object) -> None:
    try:
        same = os.path.samefile(path, sound_of)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError):  # the file is new, or the sound is not that of a file
        same = False
    if same:
        raise VideoWriteError(f"sound_of: expected another file than path, got {named(sound_of)}")


@contextlib.contextmanager
def _destination(path: Path, overwrite: bool) -> Iterator[Any]:
    """The file to write: of that name from the beginning if it is new, else one that replaces the file at the end.

    If the block raises, nothing is replaced.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    with contextlib.ExitStack() as stack:
        try:
            replaces = overwrite and target.is_file()
            file = stack.enter_context(private_files.replacing(target) if replaces else _created(target, overwrite))
        except FileExistsError:
            raise VideoWriteError(f"path: {named(path)} exists already") from None
        except (OSError, ValueError) as error:
            raise VideoWriteError(f"path: {named(path)} cannot be written: {reason_of(error)}") from error
        yield file


@contextlib.contextmanager
def _created(path: Path, overwrite: bool) -> Iterator[Any]:
    """A new file, or a device that is there. A new file is deleted if the block raises before something is in it."""
    mode = "wb" if overwrite and path.exists() else "xb"
    file = open(path, mode, buffering=0)  # noqa: SIM115
    try:
        with file:
            yield file
    except BaseException:
        with contextlib.suppress(OSError):
            if mode == "xb" and not path.stat().st_size:
                path.unlink()
        raise
