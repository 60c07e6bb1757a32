"""The sound of a video on its way into another file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any, Literal

from cascade.video.errors import VideoWriteError, import_av
from cascade.video.opening import open_container, origin_of
from cascade.video.packets import packets_of

__all__ = ["Sound"]

# Codecs whose packets each format takes as they are. Of Matroska the muxer is asked: it takes nearly all.
COPIED = {"mp4": {"aac", "mp3", "ac3", "eac3", "opus", "alac"}, "mov": {"aac", "mp3", "ac3", "eac3", "alac"}}
BIT_RATE = 128_000  # of sound that is encoded anew
HIGHEST_RATE = 48_000


class Sound:
    """The first audio stream of a video, packet by packet. Sound that is encoded anew is AAC, mono or stereo.

    Times are seconds from ``start``, which counts like the times of frames of `read_video`. A video without sound gives
    nothing.
    """

    def __init__(
        self, source: str | os.PathLike[str], start: float, how: Literal["auto", "copy", "encode"] = "auto"
    ) -> None:
        self._av = import_av()
        self._how = how
        self._input = open_container(self._av, source)
        self._stream: Any = next(iter(self._input.streams.audio), None)
        self._origin = origin_of(self._input) + Fraction(start).limit_denominator(90_000)
        self._output: Any = None
        self._copied = False
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None
        self._kind: tuple[str, str, int] | None = None  # format, layout and rate that the resampler takes
        self._follows: int | None = None  # where the last decoded frame ends in the output, in the source's time base
        self._written = Fraction(0)  # seconds of the output up to which there is sound
        self.damaged = 0
        """Packets that could not be read or decoded, or that go back in time, and were left out."""
        if self._stream is not None:
            if start > 0:
                self._seek(start)
            self._packets = packets_of(self._av, self._input, self._stream, self._count_damaged)

    def _seek(self, start: float) -> None:
        with contextlib.suppress(self._av.error.FFmpegError):  # what comes before is left out packet by packet
            self._input.seek(int((start + float(origin_of(self._input))) * 1_000_000))

    def _count_damaged(self) -> None:
        self.damaged += 1

    def add_to(self, container: Any, kind: str) -> None:
        """Adds a stream for the sound to an output container of a format.

        Raises VideoWriteError if the sound is to be copied and the format has no such sound at all.
        """
        if self._stream is None:
            return
        codec = self._stream.codec_context.name
        if kind == "matroska":
            takes = codec in container.supported_codecs
        else:
            takes = any(codec.startswith(each) for each in COPIED[kind])
        if self._how == "copy" and codec not in container.supported_codecs:
            raise VideoWriteError(f"sound: expected 'auto' or 'encode', as {kind} takes no {codec}, got 'copy'")
        if codec.startswith("aac"):  # that of an MPEG transport stream has its description in each packet instead
            takes = codec == "aac" and bool(self._stream.codec_context.extradata)
        self._copied = self._how == "copy" or (self._how == "auto" and takes)
        if self._copied:
            self._output = container.add_stream_from_template(self._stream)
            return
        rate = min(self._stream.codec_context.sample_rate, HIGHEST_RATE)
        layout = "mono" if self._stream.codec_context.channels == 1 else "stereo"
        self._output = container.add_stream("aac", rate=rate)
        self._output.codec_context.layout = layout
        self._output.codec_context.bit_rate = BIT_RATE
        self._new_resampler = partial(self._av.AudioResampler, format="fltp", layout=layout, rate=rate)
        self._resampler = self._new_resampler()

    def until(self, time: Fraction | None) -> Iterator[Any]:
        """Packets for the output up to a time in seconds; None: up to the end."""
        while self._output is not None:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None or not packet.size:  # the end: the demuxer's last packet is empty
                self._packets = iter(())
                return
            if packet.pts is None:
                continue
            begins = packet.pts * packet.time_base - self._origin
            if time is not None and begins >= time:
                self._waiting = packet
                return
            if begins >= 0:
                yield from self._moved(packet)

    def end(self) -> Iterator[Any]:
        """What the decoder and the encoder hold at the end."""
        if self._output is not None and not self._copied:
            yield from self._encoded(self._decoded(None))
            yield from self._flushed()
            yield from self._output.encode(None)

    def close(self) -> None:
        """Closes the video that the sound comes from."""
        self._input.close()

    def _moved(self, packet: Any) -> Iterator[Any]:
        """The packet at its time in the output, copied or encoded anew."""
        shift = round(self._origin / packet.time_base)
        if self._copied:
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._output
            if self._is_new(packet.dts * packet.time_base, (packet.duration or 1) * packet.time_base):
                yield packet
            return
        yield from self._encoded(self._decoded(packet))

    def _is_new(self, begins: Fraction, length: Fraction) -> bool:
        """Whether sound of that length in seconds is not all before what was written, as where a recorder restarts."""
        if begins + length <= self._written:
            self._count_damaged()
            return False
        self._written = begins + length
        return True

    def _decoded(self, packet: Any) -> list[Any]:
        """The frames of a packet; None: those that the decoder holds at the end, as one of WMA does."""
        try:
            return list(self._stream.decode(packet))
        except self._av.error.FFmpegError:
            self._count_damaged()
            return []

    def _encoded(self, frames: list[Any]) -> Iterator[Any]:
        """Packets of decoded frames, at their times in the output. A frame without a time follows the one before."""
        for frame in frames:
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if kind != self._kind:  # as in a broadcast, from one programme to the next
                yield from self._flushed()
                self._resampler, self._kind = self._new_resampler(), kind
            frame.time_base = frame.time_base or self._stream.time_base  # the decoder's last frames have none
            frame.pts = self._follows if frame.pts is None else frame.pts - round(self._origin / frame.time_base)
            # The encoder takes the unit of its first frame for all, and a resampler may pass on that of its input.
            unit = Fraction(1, self._output.codec_context.sample_rate)
            if frame.pts is not None:
                self._follows = frame.pts + round(Fraction(frame.samples, frame.sample_rate) / frame.time_base)
                frame.pts = round(frame.pts * frame.time_base / unit)
            frame.time_base = unit
            begins = self._written if frame.pts is None else frame.pts * unit
            if not self._is_new(begins, Fraction(frame.samples, frame.sample_rate)):
                continue
            for resampled in self._resampler.resample(frame):
                yield from self._output.encode(resampled)

    def _flushed(self) -> Iterator[Any]:
        """Packets of what the resampler holds."""
        for frame in self._resampler.resample(None):
            yield from self._output.encode(frame)
