"""`read_video` on files: times, rotation, colours, fields, damage, and what is no video."""

from __future__ import annotations

import gc
import io
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

import av
from PIL import Image

from cascade.video import VideoError, VideoWarning, read_video
from cascade.video.errors import named
from cascade.video.frames import PQ, VideoFrame
from tests.photos import PORTRAIT, portrait
from tests.video.clips import CORNERS, quarters, write_clip

QUIET = {"x265-params": "log-level=none"}


def corners(image: np.ndarray) -> np.ndarray:
    """The colours (4, 3) in the middle of each quarter."""
    height, width = image.shape[:2]
    rows, columns = (height // 4, height * 3 // 4), (width // 4, width * 3 // 4)
    return np.array([image[y, x] for y in rows for x in columns], int)


def places(image: np.ndarray) -> list[int]:
    """Which of `CORNERS` each quarter has."""
    away = np.abs(corners(image)[:, None] - np.array(CORNERS)).sum(axis=2)
    assert away.min(axis=1).max() < 60
    return away.argmin(axis=1).tolist()


def shades(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), 20 + 4 * at, np.uint8) for at in range(count)]


def test_gives_every_frame_with_its_time_place_and_pixels(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(30))
    frames = list(read_video(clip))
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.time for frame in frames], np.arange(30) / 25, atol=1e-6)
    assert np.abs(np.array([frame.image.mean() for frame in frames]) - np.arange(20, 140, 4)).max() < 2
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)


def test_gives_the_true_times_of_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 0.9, 2.0, 2.02, 5.0]
    for name in ("a.mp4", "a.mkv"):
        clip = write_clip(tmp_path / name, shades(8), times)
        assert np.allclose([frame.time for frame in read_video(clip)], times, atol=0.001)


def test_takes_every_nth_frame_from_start_to_stop(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(40), options={"g": "10"})
    whole = list(read_video(clip))
    some = list(read_video(clip, every=3))
    assert [frame.index for frame in some] == list(range(0, 40, 3))
    part = list(read_video(clip, start=0.5, stop=1.0))
    assert [frame.time for frame in part] == [frame.time for frame in whole if 0.5 <= frame.time < 1.0]
    expected = next(frame for frame in whole if frame.time == part[0].time)
    assert np.array_equal(part[0].image, expected.image)
    assert list(read_video(clip, start=100)) == []


def test_reads_a_stream_without_timestamps_or_index(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.h264", shades(20))
    reader = read_video(clip)
    assert reader.info.duration is None
    times = [frame.time for frame in reader]
    assert len(times) == 20
    assert np.diff(times).min() > 0
    late = [frame.time for frame in read_video(clip, start=0.4)]
    assert late == [time for time in times if time >= 0.4]


@pytest.mark.parametrize(
    ("rotation", "order"),
    [
        ((90, False, False), [1, 3, 0, 2]),
        ((-90, False, False), [2, 0, 3, 1]),
        ((180, False, False), [3, 2, 1, 0]),
        ((0, True, False), [1, 0, 3, 2]),
        ((0, False, True), [2, 3, 0, 1]),
    ],
)
def test_applies_the_rotation_that_phones_write(
    tmp_path: Path, rotation: tuple[float, bool, bool], order: list[int]
) -> None:
    clip = write_clip(tmp_path / "a.mp4", [quarters()] * 3, rotation=rotation)
    (first, *_) = read_video(clip)
    assert first.image.shape[:2] == ((64, 48) if rotation[0] in (90, -90) else (48, 64))
    assert places(first.image) == order


def test_knows_the_colours_of_large_and_small_videos(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.mp4", [quarters()] * 2)
    large = write_clip(tmp_path / "large.mp4", [quarters(1280, 720)] * 2, colorspace=1)
    untold = write_clip(tmp_path / "untold.mp4", [quarters(64, 48)] * 2, colorspace=1)
    for clip in (small, large, untold):
        (first, *_) = read_video(clip)
        assert np.abs(corners(first.image) - np.array(CORNERS)).max() < 8, clip.name


def test_makes_pixels_square(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [quarters()] * 2, sample_aspect_ratio=Fraction(3, 2))
    (first, *_) = read_video(clip)
    assert first.image.shape == (48, 96, 3)


def test_reads_ten_bits(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", [quarters()] * 2, codec="libx265", pix_fmt="yuv420p10le", options=QUIET)
    (first, *_) = read_video(clip)
    assert places(first.image) == [0, 1, 2, 3]


def pq(luminance: np.ndarray) -> np.ndarray:
    """The PQ signal of a luminance in cd/m²."""
    power = (luminance / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def test_maps_hdr_to_ordinary_colours(tmp_path: Path) -> None:
    grays = pq(np.array([1.0, 20.0, 100.0, 203.0, 1000.0]))
    image = np.repeat(np.repeat(grays[None, :], 48, 0), 32, 1)[..., None].repeat(3, 2)
    deep = np.round(image * 65535).astype(np.uint16)
    clip = write_clip(
        tmp_path / "a.mkv",
        [deep] * 2,
        codec="libx265",
        pix_fmt="yuv420p10le",
        colorspace=9,
        color_trc=PQ,
        options=QUIET,
    )
    (first, *_) = read_video(clip)
    shown = first.image[24, 16::32].mean(axis=1)
    assert np.all(np.diff(shown) > 15)  # dark to bright, all told apart
    assert shown[0] < 40
    assert 150 < shown[3] < 215  # the white of a picture
    assert shown[4] > 235


def test_joins_the_fields_of_interlaced_frames(tmp_path: Path) -> None:
    images = []
    for at in range(12):  # a bar that moves between the fields
        image = np.full((96, 160, 3), 20, np.uint8)
        image[0::2, 10 + 8 * at : 40 + 8 * at] = 230
        image[1::2, 14 + 8 * at : 44 + 8 * at] = 230
        images.append(image)
    clip = write_clip(
        tmp_path / "a.mkv",
        images,
        codec="mpeg2video",
        options={"flags": "+ildct+ilme", "top": "1", "q": "2"},
        bit_rate=8_000_000,
    )
    with av.open(str(clip)) as container:
        raw = list(container.decode(video=0))
    if not raw[0].interlaced_frame:
        pytest.skip("this FFmpeg does not mark the frames as interlaced")
    frames = list(read_video(clip))
    assert len(frames) == 12

    def combing(pixels: np.ndarray) -> float:
        rows = pixels[..., 1].astype(int)
        return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())

    assert combing(frames[6].image) < 0.3 * combing(raw[6].to_ndarray(format="rgb24"))
    assert np.allclose(np.diff([frame.time for frame in frames]), 1 / 25, atol=0.002)


def test_reads_an_animated_gif_with_the_times_of_its_frames(tmp_path: Path) -> None:
    pictures = [Image.fromarray(quarters()).rotate(90 * at) for at in range(4)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 300, 50, 100], loop=0
    )
    frames = list(read_video(tmp_path / "a.gif"))
    assert np.allclose([frame.time for frame in frames], [0, 0.1, 0.4, 0.45], atol=0.011)
    assert places(frames[0].image) == [0, 1, 2, 3]


def test_reads_a_file_object_and_text_paths(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(5))
    assert len(list(read_video(io.BytesIO(clip.read_bytes())))) == 5
    assert len(list(read_video(str(clip)))) == 5


# Damage


def test_leaves_out_damaged_packets_and_counts_them(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 96, 128, 3), np.uint8)
    clip = write_clip(tmp_path / "a.mpg", list(noise), codec="mpeg2video", bit_rate=4_000_000)
    data = bytearray(clip.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 6000):
        data[at] = 0xFF
    broken = tmp_path / "broken.mpg"
    broken.write_bytes(data)
    reader = read_video(broken)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        times = [frame.time for frame in reader]
    assert 20 < len(times) < 60
    assert np.diff(times).min() > 0
    assert reader.damaged > 0
    assert any(issubclass(each.category, VideoWarning) and "damaged" in str(each.message) for each in caught)


def test_reads_what_is_there_of_a_file_that_was_cut_short(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", shades(50), options={"g": "10"})
    short = tmp_path / "short.mkv"
    short.write_bytes(clip.read_bytes()[:-600])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VideoWarning)
        assert 10 < len(list(read_video(short))) <= 50


def test_says_that_the_index_is_missing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(50))
    short = tmp_path / "short.mp4"
    short.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(VideoError, match="cut short before its index"):
        read_video(short)


# What is no video


def test_refuses_text_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("Dear diary, this is no video.\n" * 20)
    with pytest.raises(VideoError, match=r"'.*notes\.mp4' is none that FFmpeg knows.*it is text"):
        read_video(path)


def test_refuses_what_is_missing_empty_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match="there is none at"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="is empty"):
        read_video(tmp_path / "empty.mp4")
    with pytest.raises(VideoError, match="is a directory"):
        read_video(tmp_path)
    with pytest.raises(VideoError, match="empty one"):
        read_video("")


def test_refuses_sound_alone(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video stream, only audio"):
        read_video(tmp_path / "a.m4a")


def test_refuses_a_video_without_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", shades(3))
    data = clip.read_bytes()
    (tmp_path / "none.mkv").write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # before the first cluster
    with pytest.raises(VideoError, match="ends before its first frame"):
        list(read_video(tmp_path / "none.mkv"))


def test_refuses_playlists_and_text_art(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(3))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        read_video(playlist)
    (tmp_path / "a.txt").write_text("hello " * 400)
    with pytest.raises(VideoError):
        list(read_video(tmp_path / "a.txt"))


def test_refuses_frames_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(3))
    monkeypatch.setattr("cascade.video.frames.MAX_PIXELS", 1000)
    with pytest.raises(VideoError, match="at most 1,000 pixels, got 64 × 48"):
        read_video(clip)


def test_refuses_wrong_arguments(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(3))
    with pytest.raises(ValueError, match="every: expected 1"):
        read_video(clip, every=0)
    with pytest.raises(ValueError, match="stop: expected 2"):
        read_video(clip, start=2, stop=1)
    with pytest.raises(TypeError, match="source: expected a path"):
        read_video(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="source: expected a path"):
        read_video(True)


def test_hides_passwords_of_addresses() -> None:
    assert named("rtsp://anna:secret@camera/live") == "'rtsp://***@camera/live'"


def test_a_photo_is_a_video_of_one_frame() -> None:
    (frame,) = read_video(PORTRAIT)
    assert isinstance(frame, VideoFrame)
    assert np.abs(frame.image.astype(int) - portrait()).mean() < 3


def test_closes_its_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", shades(20))
    with read_video(clip) as reader:
        next(reader)
    assert list(reader) == []


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", (portrait() for _ in range(2000)), options={"preset": "ultrafast"})
    marks = []
    for frame in read_video(clip, threads=1):
        if frame.index in (500, 1900):
            gc.collect()
            marks.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert marks[1] - marks[0] < 5 << 20
