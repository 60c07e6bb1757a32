"""Videos: hidden in every frame, also where the face was not found; sound in step; playable wherever it stopped."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cascade import Gallery, Recognizer
from cascade.anonymize import FaceFinder, Hiding, People, hide
from cascade.anonymize.review import Decision, ReviewedVideo
from cascade.anonymize.videos import find_in_video, render_video, visible_frames
from cascade.boxes import iou
from cascade.detect import Detector
from tests.photos import portrait

av = pytest.importorskip("av", reason="needs the extra video")

from cascade.video import VideoError, VideoWriter, read_video  # noqa: E402

FRAMES, RATE, SIDE = 24, 25, 200
COVERED = range(10, 14)
"""Frames in which something is in front of the face."""


def frame_of(index: int) -> np.ndarray:
    """The portrait's face in a window that moves over it; in the last six frames another scene without a face."""
    if index >= FRAMES - 6:
        return np.ascontiguousarray(255 - portrait()[300:500, :SIDE])
    image = portrait()[30 : 30 + SIDE, 120 + 2 * index : 120 + 2 * index + SIDE].copy()
    if index in COVERED:
        image[:, 50:130] = 150
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with sound and metadata."""
    folder = tmp_path_factory.mktemp("clip")
    with VideoWriter(folder / "plain.mp4", quality=12) as writer:
        for index in range(FRAMES):
            writer.write(frame_of(index), index / RATE)
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as out, av.open(str(folder / "plain.mp4")) as source:
        out.metadata["title"] = "a secret title"
        out.metadata["location"] = "+48.1+011.5/"
        picture = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream("aac", rate=16_000)
        sound.codec_context.layout = "mono"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        tone = (8000 * np.sin(np.arange(16_000 * FRAMES // RATE) * 0.17)).astype(np.int16)
        for first in range(0, len(tone) - 1023, 1024):
            samples = av.AudioFrame.from_ndarray(tone[None, first : first + 1024], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 16_000, first, Fraction(1, 16_000)
            out.mux(sound.encode(samples))
        out.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(min_face=40, scales=(1,), mirrored=False, rotations=(0,), threads=1)


@pytest.fixture(scope="module")
def found(clip: Path, finder: FaceFinder) -> ReviewedVideo:
    return find_in_video(clip, "clip.mp4", finder)[0]


def main_track(video: ReviewedVideo):
    return max(video.tracks, key=lambda track: (len(track.frames), max(track.faces.scores)))


def test_the_face_is_followed_behind_what_hides_it_and_not_across_the_cut(found):
    assert (found.width, found.height, found.frames) == (SIDE, SIDE, FRAMES)
    track = main_track(found)
    assert track.frames == tuple(range(FRAMES - 6))
    assert track.decision.status == "hide"


def test_every_frame_of_the_copy_is_hidden(clip, found, tmp_path):
    out = tmp_path / "out.mp4"
    assert render_video(clip, out, found, Hiding(method="solid", fill=(0, 255, 0))) == FRAMES
    frames = [each.image for each in read_video(out)]
    track = main_track(found)
    for index, box in zip(track.frames, track.faces.boxes, strict=True):
        x, y = (int(each) for each in (box[:2] + box[2:]) / 2)
        assert np.abs(frames[index][y, x].astype(int) - (0, 255, 0)).max() < 40
    assert np.abs(frames[-1].astype(int) - frame_of(FRAMES - 1)).mean() < 8


def test_the_copy_has_the_sound_in_step_and_no_metadata(clip, found, tmp_path):
    out = tmp_path / "out.mp4"
    render_video(clip, out, found, Hiding())
    assert b"secret" in clip.read_bytes()
    assert b"secret" not in out.read_bytes()
    assert b"+48.1" not in out.read_bytes()
    with av.open(str(clip)) as before, av.open(str(out)) as after:
        starts = [float(each.streams.audio[0].start_time * each.streams.audio[0].time_base) for each in (before, after)]
        assert starts[0] == pytest.approx(starts[1], abs=0.04)
        assert len(list(after.decode(audio=0))) == len(list(before.decode(audio=0))) > 5
    times = [[frame.time for frame in read_video(each)] for each in (clip, out)]
    np.testing.assert_allclose(*times, atol=0.001)


def test_the_sound_can_be_left_out(clip, found, tmp_path):
    render_video(clip, tmp_path / "out.mp4", found, Hiding(), sound=False)
    assert not read_video(tmp_path / "out.mp4").info.audio


def test_a_copy_that_is_stopped_plays(clip, found, tmp_path):
    out = tmp_path / "out.mp4"

    def stopped(frames):
        for frame in frames:
            if frame.index == 15:
                raise KeyboardInterrupt
            yield frame

    with pytest.raises(KeyboardInterrupt):
        render_video(clip, out, found, Hiding(), progress=stopped)
    assert len(list(read_video(out))) == 15


def test_frames_between_those_that_are_searched_are_hidden_too(clip, finder):
    video = find_in_video(clip, "clip.mp4", finder, every=4)[0]
    assert main_track(video).frames == tuple(range(FRAMES - 6))


@pytest.fixture(scope="module")
def people() -> People:
    """The portrait's face stays visible."""
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    gallery.add("Eileen Collins", recognizer.enrol(portrait(), largest=True))
    return People(gallery, "keep", recognizer)


def visible_in(video: ReviewedVideo) -> set[int]:
    return {frame for track in video.tracks if not track.decision.hidden for frame in track.frames}


def test_a_person_is_visible_only_where_they_are_recognized(clip, finder, people):
    video, pictures = find_in_video(clip, "clip.mp4", finder, people, pictures=True)
    visible = visible_in(video)
    assert visible == set(range(10))  # the four frames after it was covered are too few
    hidden = {frame for track in video.tracks if track.decision.hidden for frame in track.frames}
    assert hidden >= set(range(18)) - visible
    assert len(pictures) == len(video.tracks)


@pytest.mark.parametrize("every", [1, 3])
def test_whoever_takes_the_place_of_a_visible_person_is_hidden(tmp_path, finder, people, every):
    person = portrait()[30 : 30 + SIDE, 120 : 120 + SIDE].copy()
    stranger = hide(person, finder.find(person), Hiding(method="drawn"))
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, quality=12) as writer:
        for index in range(30):
            writer.write(person if index < 21 else stranger, index / RATE)
    video = find_in_video(path, "clip.mp4", finder, people, every=every)[0]
    visible = visible_in(video)
    assert visible == set(range(21 if every == 1 else 19))
    (kept,) = (track for track in video.tracks if not track.decision.hidden)
    for frame in set(range(30)) - visible:
        hidden = [
            track.faces.boxes[track.frames.index(frame)]
            for track in video.tracks
            if track.decision.hidden and frame in track.frames
        ]
        assert iou(kept.faces.boxes[-1:], np.stack(hidden)).max() > 0.6


KEEP, HIDE = Decision("keep"), Decision("hide")
DEFAULT_SCORE = Detector().thresholds[2]


@pytest.mark.parametrize(
    ("decisions", "every", "visible"),
    [
        (dict.fromkeys(range(3, 9), KEEP), 1, range(3, 9)),
        ({0: KEEP, 4: KEEP, 8: KEEP}, 4, range(9)),
        ({0: KEEP, 4: KEEP, 12: KEEP, 16: KEEP, 20: KEEP}, 4, [*range(5), *range(12, 21)]),
        ({frame: Decision("doubtful") if frame == 6 else KEEP for frame in range(14)}, 1, [*range(6), *range(7, 14)]),
        ({frame: KEEP if frame in (5, 6, 7, 8) else HIDE for frame in range(14)}, 1, []),
    ],
)
def test_a_track_is_visible_between_comparisons_that_say_so(decisions, every, visible):
    assert visible_frames(decisions, every, 5) == list(visible)


def test_the_hidden_face_is_not_found_again(clip, found, finder, tmp_path):
    out = tmp_path / "out.mp4"
    render_video(clip, out, found, Hiding(method="solid"))
    again = find_in_video(out, "out.mp4", finder)[0]
    boxes = main_track(found).faces.boxes
    # hair, neck and shoulders are still those of a head, and the finder of faces to hide takes such scores, too
    places = [track for track in again.tracks if iou(track.faces.boxes[:1], boxes).max() >= 0.4]
    assert all(track.faces.scores.max() < DEFAULT_SCORE for track in places)
    assert main_track(found).faces.scores.max() >= DEFAULT_SCORE


def test_a_video_of_another_size_is_refused(clip, found, tmp_path):
    wrong = ReviewedVideo("a", "b", 100, 100, 10, found.tracks)
    with pytest.raises(VideoError, match=r"expected 100 × 100 pixels, got 200 × 200"):
        render_video(clip, tmp_path / "out.mp4", wrong, Hiding())


def test_a_track_that_is_kept_is_not_hidden(clip, found, tmp_path):
    kept = [type(track)(track.frames, track.faces, Decision("keep")) for track in found.tracks]
    video = ReviewedVideo(found.path, found.sha256, found.width, found.height, found.frames, tuple(kept))
    render_video(clip, tmp_path / "out.mp4", video, Hiding())
    first = next(iter(read_video(tmp_path / "out.mp4"))).image
    assert np.abs(first.astype(int) - frame_of(0)).mean() < 8
