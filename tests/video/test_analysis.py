"""`VideoAnalyzer` and `analyze` on clips of the bundled portrait."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from cascade.attributes import AttributeEstimator, Attributes
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.gallery import Gallery
from cascade.models.attributes import AttributeTask
from cascade.recognize import Recognizer
from cascade.video import VideoAnalyzer, VideoFrame, VideoWriter, analyze
from cascade.video.drawing import draw_tracks
from cascade.video.following import CutFinder, find_again
from tests.photos import FACE_BOX, portrait
from tests.random_attributes import save_random_attributes

RATE = 25


@cache
def detector() -> Detector:
    # the rocket, where the border of a frame cuts it, scores 0.9
    return Detector(min_face=40, thresholds=(0.7, 0.3, 0.95), threads=1)


@cache
def recognizer() -> Recognizer:
    return Recognizer(threads=1, detector=detector())


def moving(frames: int, hidden: range = range(0)) -> Iterator[tuple[VideoFrame, np.ndarray]]:
    """A camera that pans over the portrait, frame by frame, with the box of the face; it is covered in some frames."""
    wide = np.pad(portrait(), ((60, 60), (120, 120), (0, 0)), mode="reflect")
    for at in range(frames):
        left, top = round(60 + 55 * np.sin(at / 9)), round(40 + 30 * np.sin(at / 13))
        image = np.ascontiguousarray(wide[top : top + 480, left : left + 640])
        if at in hidden:
            image[:, 200:500] = 128
        yield VideoFrame(at / RATE, at, image), np.array(FACE_BOX) + np.tile([120 - left, 60 - top], 2)


@pytest.mark.parametrize("every", [1, 3, 10])
def test_follows_a_face_in_every_frame(every: int) -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer(), every=every)
    searched = 0
    for frame, box in moving(40):
        seen = analyzer.update(frame)
        searched += seen.detected
        assert seen.faces.data["track"].tolist() == [1]
        assert iou(seen.faces.boxes, box)[0, 0] > 0.5
    assert searched == -(-40 // every)
    (person,) = analyzer.summaries()
    assert (person.track, person.frames, person.first, person.last) == (1, 40, 0.0, 39 / RATE)
    assert len(detector().detect(person.best)) == 1


def test_a_face_that_was_hidden_has_its_number_again() -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer())
    hidden = range(20, 60)
    tracks = [analyzer.update(frame).faces.data["track"].tolist() for frame, _ in moving(80, hidden)]
    assert tracks[25:60] == [[]] * 35
    assert tracks[66:] == [[1]] * 14
    assert len(analyzer.summaries()) == 1


def test_what_was_said_of_a_face_before_it_was_recognised_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_sharpness(self: AttributeEstimator, image: np.ndarray, faces: Faces) -> Attributes:
        lean = 80.0 if image is soft else 10.0
        return Attributes({}, {}, {"lean": np.full(len(faces), lean, np.float32)}, ("",) * len(faces))

    sharp, soft = portrait().copy(), portrait().astype(np.float32)
    for axis in (0, 1) * 24:
        soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    soft = soft.astype(np.uint8)  # too blurred to be embedded
    monkeypatch.setattr(AttributeEstimator, "predict", from_sharpness)
    file = save_random_attributes(tmp_path / "a.safetensors", tasks=(AttributeTask("lean", "regression", (), -90, 90),))
    analyzer = VideoAnalyzer(
        detector=detector(), recognizer=recognizer(), every=1, attributes=AttributeEstimator(file, threads=1)
    )
    frames = [VideoFrame(0.0, 0, sharp), VideoFrame(2.0, 1, soft), VideoFrame(3.0, 2, sharp)]
    assert [analyzer.update(frame).faces.data["track"].tolist() for frame in frames] == [[1], [2], [1]]
    assert analyzer.tracker.merged == {2: 1}
    (person,) = analyzer.summaries()
    assert 11 < float(person.attributes["lean"]) < 45


def test_a_cut_is_found_and_the_person_recognised_behind_it() -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer())
    noise = np.full((480, 640, 3), (20, 90, 30), np.uint8)
    shot = noise.copy()
    shot[40:280, 380:620] = portrait()[20:260, 110:350][:, ::-1]
    frames = [frame for frame, _ in moving(10)]
    frames += [VideoFrame((10 + at) / RATE, 10 + at, shot) for at in range(5)]
    seen = [analyzer.update(frame) for frame in frames]
    assert [each.cut for each in seen] == [False] * 10 + [True] + [False] * 4
    assert [each.faces.data["track"].tolist() for each in seen] == [[1]] * 15


def test_a_pan_is_no_cut() -> None:
    finder = CutFinder()
    assert not any(finder.add(frame.image) for frame, _ in moving(60))


def test_says_who_it_is_and_how_the_person_looks() -> None:
    gallery = Gallery(recognizer())
    gallery.add("Eileen Collins", recognizer().embed(portrait()))
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer(), gallery=gallery, attributes=True)
    for frame, _ in moving(5):
        seen = analyzer.update(frame)
    assert seen.faces.data["name"].tolist() == ["Eileen Collins"]
    assert 20 < seen.faces.data["age"][0] < 50
    (person,) = analyzer.summaries()
    assert person.name == "Eileen Collins"
    assert person.attributes["gender"] == "female"
    assert "ethnicity" not in person.attributes
    drawn = draw_tracks(seen)
    assert np.abs(drawn.astype(int) - seen.image).sum() > 0


@pytest.mark.parametrize("min_face", [24, 1000])
def test_attributes_have_one_type_whether_they_are_known_or_not(tmp_path: Path, min_face: int) -> None:
    tasks = (
        AttributeTask("lean", "regression", (), -90, 90),
        AttributeTask("years", "ordinal", (), 0, 9),
        AttributeTask("mood", "classification", ("good", "bad")),
    )
    file = save_random_attributes(tmp_path / "a.safetensors", tasks=tasks)
    estimator = AttributeEstimator(file, threads=1, min_face=min_face)
    analyzer = VideoAnalyzer(detector=detector(), recognizer=False, attributes=estimator)
    (frame, _), *_ = moving(1)
    data = analyzer.update(frame).faces.data
    assert data["lean"].dtype == data["years"].dtype == np.float32
    assert data["mood"].dtype.kind == "U"
    known = min_face == 24
    assert np.isfinite([data["lean"][0], data["years"][0]]).tolist() == [known, known]
    assert (data["mood"][0] in ("good", "bad")) == known


def test_a_stranger_is_unknown() -> None:
    gallery = Gallery(recognizer())
    gallery.add("Somebody else", np.eye(1, recognizer().dimension, dtype=np.float32))
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer(), gallery=gallery)
    for frame, _ in moving(3):
        seen = analyzer.update(frame)
    assert seen.faces.data["name"].tolist() == [""]
    assert analyzer.summaries()[0].name is None


def test_without_a_recognizer_faces_are_followed_by_their_places() -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=False)
    assert [analyzer.update(frame).faces.data["track"].tolist() for frame, _ in moving(12)] == [[1]] * 12
    assert len(analyzer.summaries()) == 1
    with pytest.raises(ValueError, match="gallery: expected a recognizer"):
        VideoAnalyzer(recognizer=False, gallery=Gallery(recognizer()))


def test_a_frame_without_faces_gives_empty_arrays() -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer(), attributes=True)
    for at in range(4):
        seen = analyzer.update(VideoFrame(at / RATE, at, np.zeros((100, 100, 3), np.uint8)))
        assert len(seen.faces) == 0
        assert len(seen.faces.data["track"]) == 0
    assert analyzer.summaries() == []


def test_searches_as_often_as_the_budget_allows() -> None:
    def searches(budget: float) -> int:
        analyzer = VideoAnalyzer(detector=detector(), recognizer=False, every="auto", budget=budget)
        return sum(analyzer.update(frame).detected for frame, _ in moving(30))

    assert searches(10.0) == 30
    assert searches(0.0001) < 8


def test_finds_a_face_again_near_where_it_was() -> None:
    near = np.add(FACE_BOX, [6, -5, 8, -3]).astype(np.float32)
    away = np.array([20, 300, 100, 400], np.float32)
    outside = np.array([700, 700, 800, 800], np.float32)
    found = find_again(detector(), portrait().copy(), np.stack([near, away, outside]))
    assert found[1] is None
    assert found[2] is None
    assert found[0] is not None
    assert iou(found[0].box, FACE_BOX)[0, 0] > 0.6


def test_analyze_reads_a_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for frame, _ in moving(10):
            writer.write(frame.image, frame.time)
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer())
    seen = list(analyze(tmp_path / "a.mp4", start=0.1, analyzer=analyzer))
    assert len(seen) == 7
    assert all(len(each.faces) == 1 for each in seen)
    with pytest.raises(TypeError, match="analyzer: expected no settings"):
        next(iter(analyze(tmp_path / "a.mp4", analyzer=analyzer, every=2)))


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_frames() -> None:
    analyzer = VideoAnalyzer(detector=detector(), recognizer=recognizer(), attributes=True)
    marks = []
    for frame, _ in moving(1400):
        analyzer.update(frame)
        if frame.index in (300, 1350):
            gc.collect()
            marks.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert marks[1] - marks[0] < 5 << 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("detector", 1), ("recognizer", True), ("gallery", "x"), ("attributes", "age"), ("tracker", 1)],
)
def test_an_argument_of_another_type_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{name}: expected \w+ or None, got {type(value).__name__}$"):
        VideoAnalyzer(**{name: value})  # type: ignore[arg-type]
