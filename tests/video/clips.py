"""Small videos made for the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TICKS = 90_000
CORNERS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 60))
"""Colours of the quarters of `quarters`: top left, top right, bottom left, bottom right."""


def quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """A picture (height, width, 3) uint8 whose quarters have the colours `CORNERS`."""
    image = np.empty((height, width, 3), np.uint8)
    for at, color in enumerate(CORNERS):
        rows = slice(height // 2) if at < 2 else slice(height // 2, None)
        columns = slice(width // 2) if at % 2 == 0 else slice(width // 2, None)
        image[rows, columns] = color
    return image


def write_clip(
    path: Path,
    images: Iterable[np.ndarray],
    times: Sequence[float] | None = None,
    *,
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    **settings: Any,
) -> Path:
    """Writes images to a file, at times in seconds or a fixed rate; ``settings`` are those of the encoder."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pix_fmt
        if rotation:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for at, image in enumerate(images):
            if at == 0:
                stream.height, stream.width = image.shape[:2]
                stream.codec_context.time_base = Fraction(1, TICKS if times else rate)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.dtype == np.uint8 else "rgb48le")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=settings.get("colorspace", 5), dst_color_range=1)
            frame.time_base = Fraction(1, TICKS if times else rate)
            frame.pts = round(times[at] * TICKS) if times else at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_beeps(path: Path, codec: str, seconds: int = 3, rate: int = 30) -> Path:
    """A video that is white for a tenth of a second, and beeps as long, half a second after each full second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=48_000)
        sound.codec_context.layout = "mono"
        for at in range(rate * seconds):
            white = at % rate in range(rate // 2, rate // 2 + rate // 10)
            image = np.full((48, 64, 3), 255 if white else 20, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image)))
        times = np.arange(48_000 * seconds) / 48_000
        beep = (times % 1 >= 0.5) & (times % 1 < 0.6)
        wave = np.where(beep, np.sin(2 * np.pi * 1000 * times), 0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        resampler = av.AudioResampler(
            sound.codec_context.format, "mono", 48_000, frame_size=sound.codec_context.frame_size or 1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(sound.encode(part))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def beeps(path: Path) -> list[float]:
    """Seconds at which the beeps of a file begin."""
    begins: list[float] = []
    last = -1.0
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / 1e6
        for frame in container.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(np.float32)).max(axis=0)
            wave /= 32768 if "s16" in frame.format.name else 1
            for at in np.flatnonzero(wave > 0.3):
                time = float(frame.pts * frame.time_base) - origin + at / frame.sample_rate
                if time - last > 0.3:
                    begins.append(time)
                last = time
    return begins


def flashes(frames: Iterable[Any]) -> list[float]:
    """Seconds at which white begins, in what `read_video` gives."""
    begins, white = [], False
    for frame in frames:
        was, white = white, bool(frame.image.mean() > 150)
        if white and not was:
            begins.append(frame.time)
    return begins
