"""`VideoWriter`: times, sound in step, and a file that plays wherever writing stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

import av

from cascade.video import VideoWarning, VideoWriteError, VideoWriter, read_video, sound
from tests.photos import portrait
from tests.video.clips import beeps, flashes, quarters, write_beeps

ROOT = Path(__file__).parents[2]
IN_STEP = 0.04  # seconds
RATES = (48_000, 32_000, 44_100, 32_000, 48_000)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_keeps_the_pixels_and_times_of_frames(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 0.9, 2.0, 2.02, 5.0]
    with VideoWriter(tmp_path / name) as writer:
        for at, moment in enumerate(times):
            writer.write(np.roll(portrait(), 10 * at, axis=1), moment)
    frames = list(read_video(tmp_path / name))
    assert np.allclose([frame.time for frame in frames], times, atol=0.001)
    for at, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - np.roll(portrait(), 10 * at, axis=1)).mean() < 4


def test_starts_at_the_time_asked_for(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", start=10) as writer:
        writer.write(quarters(), 10.0)
        writer.write(quarters(), 10.5)
    assert np.allclose([frame.time for frame in read_video(tmp_path / "a.mp4")], [0, 0.5])


def test_makes_odd_sides_even(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(quarters(65, 49), 0)
    (frame,) = read_video(tmp_path / "a.mp4")
    assert frame.image.shape == (50, 66, 3)


@pytest.mark.parametrize("sound", ["auto", "encode"])
@pytest.mark.parametrize(
    ("codec", "source"),
    [("aac", "mp4"), ("aac", "ts"), ("libmp3lame", "mp4"), ("libopus", "mkv"), ("pcm_s16le", "mkv")],
)
@pytest.mark.parametrize("target", ["mp4", "mkv"])
def test_keeps_the_sound_in_step(tmp_path: Path, codec: str, source: str, target: str, sound: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    clip = write_beeps(tmp_path / f"a.{source}", codec)
    out = tmp_path / f"b.{target}"
    with VideoWriter(out, sound_of=clip, sound=sound) as writer:  # type: ignore[arg-type]
        for frame in read_video(clip):
            writer.write(frame.image, frame.time)
    heard, seen = beeps(out), flashes(read_video(out))
    assert len(heard) == len(seen) == 3
    assert np.abs(np.subtract(heard, seen)).max() < IN_STEP
    assert writer.damaged == 0


def test_keeps_the_sound_of_a_part_in_step(tmp_path: Path) -> None:
    clip = write_beeps(tmp_path / "a.mp4", "aac", seconds=5)
    out = tmp_path / "b.mp4"
    with VideoWriter(out, sound_of=clip, start=1.3) as writer:
        for frame in read_video(clip, start=1.3, stop=4.2):
            writer.write(frame.image, frame.time)
        writer.close(sound_to=4.2)
    heard, seen = beeps(out), flashes(read_video(out))
    assert np.allclose(seen, [0.2, 1.2, 2.2], atol=0.04)
    assert np.abs(np.subtract(heard, seen)).max() < IN_STEP


def test_takes_sound_of_a_video_that_has_none(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(quarters(), 0)
    with VideoWriter(tmp_path / "b.mp4", sound_of=tmp_path / "a.mp4") as writer:
        writer.write(quarters(), 0)
    assert len(list(read_video(tmp_path / "b.mp4"))) == 1


class Damaged:
    """An open file of which a packet in the middle cannot be read."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._packets = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, stream: Any) -> Iterator[Any]:
        for packet in self._container.demux(stream):
            self._packets += 1
            if self._packets == 40:
                raise av.error.InvalidDataError(1, "damaged")
            yield packet


@pytest.mark.parametrize("how", ["copy", "encode"])
def test_damaged_sound_is_left_out_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    clip = write_beeps(tmp_path / "a.mp4", "aac")
    opened = sound.open_container
    monkeypatch.setattr(sound, "open_container", lambda *given: Damaged(opened(*given)))
    out = tmp_path / "b.mp4"
    writer = VideoWriter(out, sound_of=clip, sound=how)  # type: ignore[arg-type]
    for frame in read_video(clip):
        writer.write(frame.image, frame.time)
    with pytest.warns(VideoWarning, match=r"a\.mp4'?: 1 damaged packets of sound were left out"):
        writer.close()
    assert writer.damaged == 1
    heard, seen = beeps(out), flashes(read_video(out))
    assert len(heard) == len(seen) == 3
    assert np.abs(np.subtract(heard, seen)).max() < IN_STEP


def write_wave(path: Path, codec: str, begins: float, layout: str, rate: int) -> Path:
    """A second of sound alone, from a time on: silence but for a tone in each second's sixth tenth."""
    times = begins + np.arange(rate) / rate
    wave = np.where((times % 1 >= 0.5) & (times % 1 < 0.6), np.sin(2 * np.pi * 1000 * times), 0).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout, stream.codec_context.bit_rate = layout, 64_000
        frame = av.AudioFrame.from_ndarray(np.stack([wave] * (1 + (layout == "stereo"))), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, round(begins * rate), Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "parts",
    [
        [("mono", 48_000), ("stereo", 48_000), ("mono", 48_000)],
        [("stereo", 44_100), ("stereo", 32_000), ("stereo", 44_100)],
        [("mono", 32_000), ("stereo", 48_000)],
    ],
)
def test_sound_whose_layout_or_rate_changes_on_the_way_stays_in_step(
    tmp_path: Path, parts: list[tuple[str, int]]
) -> None:
    clip, out = tmp_path / "a.ts", tmp_path / "b.mp4"
    # what the encoders hold makes each part longer than its second
    files = [write_wave(tmp_path / f"{at}.ts", "aac", 1.1 * at, *part) for at, part in enumerate(parts)]
    clip.write_bytes(b"".join(file.read_bytes() for file in files))
    with VideoWriter(out, sound_of=clip) as writer:
        writer.write(quarters(), 0)
    heard, expected = beeps(out), beeps(clip)
    assert len(heard) == len(parts)
    assert np.abs(np.subtract(heard, expected)).max() < IN_STEP


def test_nothing_of_the_sound_is_lost_where_its_rate_changes(tmp_path: Path) -> None:
    frames: list[av.AudioFrame] = []

    class Output:  # of an encoder, which could not tell a lost millisecond from its own padding
        def add_stream(self, codec: str, rate: int) -> Any:
            return SimpleNamespace(codec_context=SimpleNamespace(sample_rate=rate), encode=self.encode)

        def encode(self, frame: av.AudioFrame | None) -> list[Any]:
            frames.extend([frame] if frame else [])
            return []

    files = [write_wave(tmp_path / f"{at}.ts", "aac", 1.1 * at, "mono", rate) for at, rate in enumerate(RATES)]
    clip = tmp_path / "a.ts"
    clip.write_bytes(b"".join(file.read_bytes() for file in files))
    with av.open(str(clip)) as container:
        expected = sum(frame.samples * RATES[0] / frame.sample_rate for frame in container.decode(audio=0))
    sound_of = sound.Sound(clip, 0.0, "encode")
    sound_of.add_to(Output(), "mp4")
    assert [*sound_of.until(None), *sound_of.end()] == []
    sound_of.close()
    assert {frame.sample_rate for frame in frames} == {RATES[0]}
    assert abs(sum(frame.samples for frame in frames) - expected) <= len(RATES)


@pytest.mark.parametrize("how", ["copy", "encode"])
def test_sound_that_goes_back_in_time_is_left_out(tmp_path: Path, how: str) -> None:
    clip, out = tmp_path / "a.ts", tmp_path / "b.mkv"
    # a recorder that starts anew: the second part begins where the first did, and the third goes on
    files = [write_wave(tmp_path / f"{at}.ts", "mp2", at, "mono", 48_000) for at in (0.0, 0.0, 1.2)]
    clip.write_bytes(b"".join(file.read_bytes() for file in files))
    writer = VideoWriter(out, sound_of=clip, sound=how)  # type: ignore[arg-type]
    for at in range(60):
        writer.write(quarters(), at / 25)
    with pytest.warns(VideoWarning, match="damaged packets of sound were left out"):
        writer.close()
    assert 30 < writer.damaged < 60  # a second of packets of 24 ms
    heard = beeps(out)
    assert len(heard) == 2
    assert abs(heard[1] - heard[0] - 1) < IN_STEP


def test_sound_that_cannot_be_copied_is_an_error(tmp_path: Path) -> None:
    if "wmav2" not in av.codecs_available:
        pytest.skip("this FFmpeg has no wmav2")
    clip, out = write_wave(tmp_path / "a.asf", "wmav2", 0, "mono", 44_100), tmp_path / "b.mp4"
    writer = VideoWriter(out, sound_of=clip, sound="copy")
    with pytest.raises(VideoWriteError, match="sound: expected 'auto' or 'encode', as mp4 takes no wmav2, got 'copy'"):
        writer.write(quarters(), 0)
    assert not out.exists()


@pytest.mark.parametrize("target", ["mp4", "mkv"])
def test_sound_that_the_format_does_not_take_is_encoded_anew(tmp_path: Path, target: str) -> None:
    if "wmav2" not in av.codecs_available:
        pytest.skip("this FFmpeg has no wmav2")
    clip, out = write_wave(tmp_path / "a.asf", "wmav2", 0, "mono", 44_100), tmp_path / f"b.{target}"
    with VideoWriter(out, sound_of=clip) as writer:
        for at in range(25):
            writer.write(quarters(), at / 25)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert np.allclose(beeps(out), beeps(clip), atol=IN_STEP)


def test_the_last_sound_that_a_decoder_holds_is_kept(tmp_path: Path) -> None:
    if "wmav2" not in av.codecs_available:
        pytest.skip("this FFmpeg has no wmav2, whose decoder gives its last frame at the end alone")
    clip, out = write_wave(tmp_path / "a.asf", "wmav2", 0, "mono", 44_100), tmp_path / "b.mkv"
    with av.open(str(clip)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    with VideoWriter(out, sound_of=clip, sound="encode") as writer:
        writer.write(quarters(), 0)
    with av.open(str(out)) as container:
        times, samples = zip(*((frame.time, frame.samples) for frame in container.decode(audio=0)), strict=True)
    assert sum(samples) >= decoded
    assert np.allclose(np.diff(times), 1024 / 44_100, atol=0.002)


LONG = """
import signal, sys, numpy as np
from cascade.video import VideoWriter
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background may have it ignored
noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
with VideoWriter(sys.argv[1], sound_of=sys.argv[2]) as writer:
    for at in range(1500):
        writer.write(np.roll(noise, at, axis=0), at / 30)
        print(at, flush=True)
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_process_leaves_a_file_that_plays(tmp_path: Path, name: str, kill: int) -> None:
    clip = write_beeps(tmp_path / "sound.mp4", "aac", seconds=20)
    command = [sys.executable, "-c", LONG, str(tmp_path / name), str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert process.stdout is not None
    written = -1
    for line in process.stdout:
        written = int(line)
        if written == 150:
            os.kill(process.pid, kill)
    assert process.wait(30) != 0
    assert written < 1499
    frames = list(read_video(tmp_path / name))
    missing = written / 30 - frames[-1].time
    assert missing < (2.5 if kill == signal.SIGKILL else 0.1)
    with av.open(str(tmp_path / name)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert abs(heard - frames[-1].time) < 1.5


def test_an_exception_ends_the_file_with_the_last_frame(tmp_path: Path) -> None:
    clip = write_beeps(tmp_path / "a.mp4", "aac", seconds=5)

    def copy_a_part() -> None:
        with VideoWriter(tmp_path / "b.mp4", sound_of=clip) as writer:
            for frame in read_video(clip):
                writer.write(frame.image, frame.time)
                if frame.index == 40:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_a_part()
    assert len(list(read_video(tmp_path / "b.mp4"))) == 41
    with av.open(str(tmp_path / "b.mp4")) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert abs(heard - 41 / 30) < 0.06


# What cannot be written


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_reports_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "full.mkv").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)

    def write() -> None:
        with VideoWriter(tmp_path / "full.mkv", overwrite=True) as writer:
            for at in range(200):
                writer.write(np.roll(noise, at, axis=0), at / 30)

    with pytest.raises(VideoWriteError, match="the disk is full"):
        write()


def test_refuses_names_and_places_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    with pytest.raises(VideoWriteError, match="exists already"):
        VideoWriter(tmp_path / "there.mp4")
    with pytest.raises(VideoWriteError, match=r"one of \.mp4"):
        VideoWriter(tmp_path / "a.txt")
    with pytest.raises(VideoWriteError, match="cannot be written: No such file"):
        VideoWriter(tmp_path / "no" / "a.mp4")
    assert (tmp_path / "there.mp4").read_bytes() == b""
    with pytest.raises(TypeError, match="path: expected a path, got int"):
        VideoWriter(1)  # type: ignore[arg-type]


def test_does_not_overwrite_the_video_that_the_sound_comes_from(tmp_path: Path) -> None:
    clip = write_beeps(tmp_path / "a.mp4", "aac")
    (tmp_path / "link.mp4").symlink_to(clip)
    before = clip.read_bytes()
    for path in (clip, tmp_path / "link.mp4"):
        with pytest.raises(VideoWriteError, match="sound_of: expected another file than path"):
            VideoWriter(path, sound_of=clip, overwrite=True)
    assert clip.read_bytes() == before


def test_replaces_a_file_only_by_a_complete_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    path.chmod(0o640)
    with pytest.raises(VideoWriteError, match="no frame was written"), VideoWriter(path, overwrite=True):
        pass

    def interrupted() -> None:
        with VideoWriter(path, overwrite=True) as writer:
            writer.write(quarters(), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(VideoWriteError, match="refuses frames"), VideoWriter(path, overwrite=True) as writer:
        writer.write(np.zeros((64, 20_000, 3), np.uint8), 0)
    assert path.read_bytes() == b"before"
    with VideoWriter(path, overwrite=True) as writer:
        for frame in range(3):
            writer.write(quarters(), frame)
        assert path.read_bytes() == b"before"
    assert len(list(read_video(path))) == 3
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_can_be_read_while_its_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path) as writer:
        for at in range(50):
            writer.write(quarters(), at / 25)
    with VideoWriter(path, overwrite=True) as writer:
        for frame in read_video(path):
            writer.write(frame.image, frame.time)
    assert len(list(read_video(path))) == 50


def test_refuses_frames_that_are_too_large_for_the_encoder(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4")
    with pytest.raises(VideoWriteError, match="refuses frames of 20000 × 64 pixels"):
        writer.write(np.zeros((64, 20_000, 3), np.uint8), 0)


def test_refuses_wrong_frames_and_times(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        with pytest.raises(VideoWriteError, match="expected uint8"):
            writer.write(quarters().astype(np.float32), 0)  # type: ignore[arg-type]
        with pytest.raises(VideoWriteError, match="before the start"):
            writer.write(quarters(), -1)
        with pytest.raises(ValueError, match="time: expected"):
            writer.write(quarters(), float("nan"))
        with pytest.raises(TypeError, match="time: expected a number"):
            writer.write(quarters(), "1")  # type: ignore[arg-type]
        writer.write(quarters(), 1.0)
        with pytest.raises(VideoWriteError, match="time: expected more"):
            writer.write(quarters(), 1.0)
        with pytest.raises(VideoWriteError, match="of the frames before"):
            writer.write(quarters(32, 32), 2.0)
    with pytest.raises(VideoWriteError, match="was closed"):
        writer.write(quarters(), 3.0)
    assert len(list(read_video(tmp_path / "a.mp4"))) == 1


def test_leaves_no_file_without_frames(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4"):
        pass
    assert not (tmp_path / "a.mp4").exists()
