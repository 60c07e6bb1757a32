"""Faces: checked on construction, never changed afterwards, and true to themselves in every other form."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import types
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.faces import LANDMARK_NAMES, Face, Faces
from cascade.imaging.reading import ImageError
from tests.photos import FACE_BOX, FACE_LANDMARKS, PORTRAIT, portrait, portrait_faces


def some_faces(count: int, seed: int = 0) -> Faces:
    rng = np.random.default_rng(seed)
    low = rng.uniform(-50, 400, (count, 2))
    boxes = np.hstack([low, low + rng.uniform(1, 200, (count, 2))])
    return Faces(boxes, rng.uniform(0, 1, count), rng.uniform(-50, 600, (count, 5, 2)))


def assert_same(one: Faces, other: Faces) -> None:
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.landmarks, other.landmarks)


# Construction


@pytest.mark.parametrize("faces", [Faces.empty(), Faces([], [], []), some_faces(0), some_faces(3)])
def test_arrays_have_the_promised_form(faces: Faces) -> None:
    count = len(faces)
    for array, shape in (
        (faces.boxes, (count, 4)),
        (faces.scores, (count,)),
        (faces.landmarks, (count, 5, 2)),
    ):
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert bool(faces) == (count > 0)


def test_the_callers_arrays_are_copied_and_left_alone() -> None:
    boxes = np.array([FACE_BOX], np.float32)
    faces = Faces(boxes, np.ones(1, np.float32), np.array([FACE_LANDMARKS], np.float32))
    boxes[0, 0] = 0
    assert faces.boxes[0, 0] == FACE_BOX[0]


def test_nothing_can_be_changed() -> None:
    faces = portrait_faces()
    with pytest.raises(FrozenInstanceError):
        faces.scores = np.zeros(1)  # type: ignore[misc, assignment]
    with pytest.raises(ValueError, match=r"read-only"):
        faces.boxes[0, 0] = 1
    with pytest.raises(ValueError, match=r"read-only"):
        faces[0].landmarks[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        faces[0].score = 1.0  # type: ignore[misc]


BOX, POINTS = np.array([FACE_BOX]), np.array([FACE_LANDMARKS])


@pytest.mark.parametrize(
    ("boxes", "scores", "landmarks", "words"),
    [
        (BOX, [0.5, 0.5], POINTS, r"^boxes: expected shape \(2, 4\), got \(1, 4\)"),
        (BOX[0], [0.5], POINTS, r"^boxes: expected shape \(1, 4\), got \(4,\)"),
        (BOX, 0.5, POINTS, r"^scores: expected shape \(N,\), got \(\)"),
        (BOX, [[0.5]], POINTS, r"^scores: expected shape \(N,\), got \(1, 1\)"),
        (BOX, [0.5], POINTS[0], r"^landmarks: expected shape \(1, 5, 2\), got \(5, 2\)"),
        (BOX, [0.5], POINTS.reshape(1, 10), r"^landmarks: .*got \(1, 10\)"),
        (np.zeros((0, 5)), [], [], r"^boxes: expected shape \(0, 4\), got \(0, 5\)"),
        (BOX * np.nan, [0.5], POINTS, "^boxes: .*finite"),
        (BOX, [np.nan], POINTS, "^scores: .*finite"),
        (BOX, [0.5], POINTS * np.inf, "^landmarks: .*finite"),
        (BOX, [0.5], POINTS * 1e300, "^landmarks: .*finite"),
        (BOX, [1.001], POINTS, r"^scores: expected values in 0\.\.1, got 1\.001"),
        (BOX, [-0.001], POINTS, r"^scores: .*got -0\.001"),
        ([[100, 50, 40, 60]], [0.5], POINTS, r"^boxes: .*got \[100\.0, 50\.0, 40\.0, 60\.0\]; .*width"),
        ([[0, 50, 40, 10]], [0.5], POINTS, "^boxes: expected x1 ≤ x2"),
        (BOX, ["sure"], POINTS, "^scores: expected an array of numbers"),
        ([[1, 2, 3], [4]], [0.5], POINTS, "^boxes: expected an array of numbers"),
        (None, [0.5], POINTS, "^boxes: "),
    ],
)
def test_bad_arguments(boxes: object, scores: object, landmarks: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Faces(boxes, scores, landmarks)  # type: ignore[arg-type]


def test_the_constructor_keeps_the_order() -> None:
    np.testing.assert_array_equal(
        Faces(BOX.repeat(3, 0), [0.1, 0.9, 0.5], POINTS.repeat(3, 0)).scores[:2], np.float32([0.1, 0.9])
    )


# Order


def test_sort_goes_by_score_then_from_the_top_left() -> None:
    boxes = [[5, 1, 9, 9], [0, 5, 9, 9], [2, 1, 9, 9], [7, 7, 9, 9]]
    faces = Faces(boxes, [0.5, 0.5, 0.5, 0.9], POINTS.repeat(4, 0)).sort()
    np.testing.assert_array_equal(faces.boxes[:, :2], [[7, 7], [2, 1], [5, 1], [0, 5]])


@given(st.permutations(range(12)))
def test_sort_does_not_depend_on_the_order_before(order: list[int]) -> None:
    coarse = np.random.default_rng(3).integers(0, 3, (12, 4))
    boxes = np.hstack([coarse[:, :2], coarse[:, :2] + coarse[:, 2:]]) + 1e-3 * np.arange(12)[:, None] * [
        0,
        0,
        0,
        1,
    ]
    faces = Faces(boxes, np.arange(12) % 3 / 3, np.random.default_rng(4).uniform(0, 9, (12, 5, 2)))
    assert_same(faces[order].sort(), faces.sort())
    assert (np.diff(faces.sort().scores) <= 0).all()


# Sequence


def test_integer_index_and_iteration_give_single_faces() -> None:
    faces = some_faces(4)
    for index, face in enumerate(faces):
        assert isinstance(face, Face)
        assert type(face.score) is float
        for same in (faces[index - 4], faces[np.int64(index)], face):
            np.testing.assert_array_equal(same.box, faces.boxes[index])
            assert same.score == face.score == faces.scores[index]
            np.testing.assert_array_equal(same.landmarks, faces.landmarks[index])
    assert index == 3
    assert portrait_faces()[0].width == 88.0
    assert portrait_faces()[0].height == 104.0


@given(hnp.arrays(bool, 7))
def test_masks(mask: np.ndarray) -> None:
    faces = some_faces(7)
    chosen = faces[mask]
    assert isinstance(chosen, Faces)
    np.testing.assert_array_equal(chosen.boxes, faces.boxes[mask])
    assert_same(faces[mask.tolist()], chosen)
    assert_same(faces[np.flatnonzero(mask)], chosen)


def test_slices_and_lists() -> None:
    faces = some_faces(7)
    assert_same(faces[:], faces)
    assert_same(faces[::-1][::-1], faces)
    np.testing.assert_array_equal(faces[2:4].scores, faces.scores[2:4])
    np.testing.assert_array_equal(faces[[6, 0, 0]].scores, faces.scores[[6, 0, 0]])
    for nothing in (faces[7:], faces[[]], faces[faces.scores > 2], Faces.empty()[[]], Faces.empty()[:5]):
        assert_same(nothing, Faces.empty())


@pytest.mark.parametrize("index", [7, -8, [7], [True]])
def test_indices_out_of_range(index: object) -> None:
    with pytest.raises(IndexError):
        some_faces(7)[index]  # type: ignore[call-overload]


@pytest.mark.parametrize("index", [1.0, "a", (1, 2), None, [[1]], [0.5], True])
def test_indices_of_wrong_types(index: object) -> None:
    with pytest.raises(TypeError, match=r"^index: expected"):
        some_faces(7)[index]  # type: ignore[call-overload]


def test_repr() -> None:
    assert repr(Faces.empty()) == "<Faces: none>"
    assert repr(portrait_faces()) == "<Faces: 1; 1.00 at [182, 74, 270, 178]>"
    assert repr(some_faces(500)).endswith("; 497 more>")
    assert len(repr(some_faces(500))) < 150


# Other forms


def test_dict_keys_and_plain_numbers() -> None:
    (row,) = portrait_faces().to_dicts()
    assert list(row) == ["box", "score", "landmarks"]
    assert row["box"] == list(FACE_BOX)
    assert list(row["landmarks"]) == list(LANDMARK_NAMES)
    assert row["landmarks"]["nose"] == pytest.approx(FACE_LANDMARKS[2])
    assert row["landmarks"]["left_eye"][0] < row["landmarks"]["right_eye"][0]  # as seen in the image
    numbers = [*row["box"], row["score"], *(value for point in row["landmarks"].values() for value in point)]
    assert {type(number) for number in numbers} == {float}


@settings(max_examples=50)
@given(st.integers(0, 20), st.integers(0, 1000))
def test_round_trips_are_exact(count: int, seed: int) -> None:
    faces = some_faces(count, seed)
    assert_same(Faces.from_dicts(faces.to_dicts()), faces)
    assert_same(Faces.from_dicts(json.loads(faces.to_json(indent=2))), faces)
    for copied in (pickle.loads(pickle.dumps(faces)), copy.deepcopy(faces)):
        assert_same(copied, faces)
        assert not copied.boxes.flags.writeable


def test_json_layout() -> None:
    assert Faces.empty().to_json() == "[]"
    assert "\n" not in portrait_faces().to_json()
    assert "\n  " in portrait_faces().to_json(indent=2)


@pytest.mark.parametrize(
    "change",
    [
        {"box": [1, 2, 3]},
        {"score": 2},
        {"score": None},
        {"landmarks": {"nose": [1, 2]}},
        {"landmarks": POINTS[0]},
    ],
)
def test_from_bad_dicts(change: dict[str, object]) -> None:
    (row,) = portrait_faces().to_dicts()
    with pytest.raises(ValueError, match=r"^(boxes|scores|dicts): "):
        Faces.from_dicts([{**row, **change}])
    for key in row:
        with pytest.raises(ValueError, match=rf"dicts: .*{key}"):
            Faces.from_dicts([{name: value for name, value in row.items() if name != key}])


def test_from_dicts_leaves_further_keys_aside() -> None:
    assert_same(Faces.from_dicts([{**portrait_faces().to_dicts()[0], "name": "Eileen"}]), portrait_faces())


def test_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("supervision")
    module.Detections = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    faces = some_faces(3)
    detections = faces.to_supervision()
    np.testing.assert_array_equal(detections.xyxy, faces.boxes)
    np.testing.assert_array_equal(detections.confidence, faces.scores)
    np.testing.assert_array_equal(detections.class_id, [0, 0, 0])
    np.testing.assert_array_equal(detections.data["landmarks"], faces.landmarks)
    detections.xyxy[:] = 0  # theirs to change
    assert faces.boxes.any()


def test_real_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    detections = portrait_faces().to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert len(detections) == 1
    assert len(Faces.empty().to_supervision()) == 0


def test_supervision_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"pip install supervision"):
        portrait_faces().to_supervision()


# Drawing


def test_drawing_changes_a_copy_and_only_around_the_faces() -> None:
    before = portrait().copy()
    drawn = portrait_faces().draw(portrait())
    np.testing.assert_array_equal(portrait(), before)
    assert drawn.shape == before.shape
    assert drawn.dtype == np.uint8
    changed = (drawn != before).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert 160 < columns[0] <= 182
    assert 269 <= columns[-1] < 280
    assert 40 < rows[0] <= 74
    assert 177 <= rows[-1] < 190
    assert not changed[90:98, 215:235].any()  # the forehead stays free


def test_drawing_is_in_place_to_the_pixel() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    faces = Faces([[20, 30, 60, 80]], [0.5], [[[30.5, 40.5]] * 5])
    drawn = faces.draw(image, color=(255, 0, 0), width=1, scores=False, landmarks=False)
    # A line one pixel wide along x = 20 covers 19.5 to 20.5: half of the pixels on either side.
    left = drawn[50, :40, 0].astype(float)
    assert (left * (np.arange(40) + 0.5)).sum() / left.sum() == pytest.approx(20, abs=0.1)
    top = drawn[:50, 40, 0].astype(float)
    assert (top * (np.arange(50) + 0.5)).sum() / top.sum() == pytest.approx(30, abs=0.1)
    dots = faces.draw(image, color=(255, 0, 0), width=1, scores=False)
    dot = (dots.astype(int) - drawn)[35:47, 25:37, 0].clip(0)
    assert (dot.sum(0) * np.arange(12)).sum() / dot.sum() == pytest.approx(5, abs=0.1)
    assert (dot.sum(1) * np.arange(12)).sum() / dot.sum() == pytest.approx(5, abs=0.1)


def test_colour_width_and_switches() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    faces = Faces([[50, 60, 150, 180]], [0.5], [np.full((5, 2), 100)])
    drawn = faces.draw(image, color=(1, 2, 250), width=5, scores=False, landmarks=False)
    np.testing.assert_array_equal(drawn[120, 49:51], [(1, 2, 250)] * 2)
    thick, thin = ((faces.draw(image, width=width, landmarks=False)[120] > 160).sum() for width in (8, 1))
    assert thick > 4 * thin > 0
    bare = faces.draw(image, scores=False, landmarks=False)
    assert (faces.draw(image, scores=False)[95:105, 95:105] != 90).any()
    assert (bare[95:105, 95:105] == 90).all()
    assert (bare[40:55] == 90).all()
    label = faces.draw(image)[40:58, 52:60]
    assert label.min() < 40  # dark backing above the box


def test_line_width_follows_the_image() -> None:
    def drawn_pixels(scale: int) -> int:
        image = np.zeros((100 * scale, 100 * scale, 3), np.uint8)
        box = np.array([[20, 20, 80, 80]]) * scale
        faces = Faces(box, [0.5], [np.full((5, 2), -1e6)])
        return int((faces.draw(image, scores=False)[50 * scale] > 100).any(axis=1).sum())

    assert 1 <= drawn_pixels(1) <= 4
    assert drawn_pixels(20) >= 12


FAR = st.floats(-(2.0**126), 2.0**126)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, (3, 2, 2), elements=FAR | st.floats(-50, 80)),
    hnp.arrays(np.float64, (3, 5, 2), elements=FAR | st.floats(-50, 80)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([None, 1, 9]),
)
def test_any_boxes_can_be_drawn_on_any_image(
    corners: np.ndarray, points: np.ndarray, shape: tuple[int, int], width: int | None
) -> None:
    faces = Faces(np.sort(corners, axis=1).reshape(3, 4), [0.9, 0.5, 0.0], points)
    assert faces.draw(np.zeros((*shape, 3), np.uint8), width=width).shape == (*shape, 3)


def test_a_box_reaching_out_shows_its_inner_part() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    faces = Faces([[-500, 20, 60, 1e6]], [0.5], [np.full((5, 2), -9)])
    drawn = faces.draw(image, color=(0, 255, 0), width=3, scores=False)
    assert drawn[60, 60, 1] == 255
    assert drawn[20, 30, 1] == 255
    assert not drawn[60, 5].any()


def written(faces: Faces, image: np.ndarray) -> np.ndarray:
    """Return where the scores changed the picture, (H, W) bool."""
    return (faces.draw(image) != faces.draw(image, scores=False)).any(axis=2)


def nowhere(count: int) -> np.ndarray:
    return np.full((count, 5, 2), -99)


def test_scores_stay_off_the_middle_of_other_faces() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    corners = np.stack(np.meshgrid(np.arange(0, 640, 40), np.arange(0, 480, 40)), -1).reshape(-1, 2)
    corners += np.random.default_rng(0).integers(0, 9, corners.shape)
    boxes = np.hstack([corners, corners + 32])
    faces = Faces(boxes, np.linspace(0.1, 1, len(boxes)), nowhere(len(boxes)))
    labels = written(faces, image)
    assert labels.sum() > 5000
    for x, y in corners:
        assert not labels[y + 9 : y + 23, x + 9 : x + 23].any()


def test_scores_do_not_hide_each_other() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    boxes = [[80, 80, 110, 120]] * 3
    one, two, three = (written(Faces(boxes[:n], [0.9, 0.5, 0.1][:n], nowhere(n)), image) for n in (1, 2, 3))
    assert one[:80].any()
    assert not one[80:].any()
    np.testing.assert_array_equal(two[:80], one[:80])  # the surer face keeps its place
    assert two[120:].any()
    np.testing.assert_array_equal(three, two)  # no third place: left out
    assert not written(Faces([[50, 50, 62, 62]], [0.9], nowhere(1)), image).any()  # too small to label


def test_no_faces_draw_nothing() -> None:
    drawn = Faces.empty().draw(portrait())
    np.testing.assert_array_equal(drawn, portrait())
    assert drawn.flags.writeable
    assert not np.shares_memory(drawn, portrait())


def test_draw_takes_every_kind_of_image() -> None:
    expected = portrait_faces().draw(portrait())
    np.testing.assert_array_equal(portrait_faces().draw(PORTRAIT), expected)
    np.testing.assert_array_equal(portrait_faces().draw(portrait() / 255), expected)
    assert portrait_faces().draw(portrait()[:, :, 0]).shape == (512, 512, 3)


BAD_COLORS = [{"color": (0, 0)}, {"color": (0, 0, 256)}, {"color": "green"}, {"color": 7}]
BAD_WIDTHS = [{"width": 0}, {"width": 1.5}, {"width": "thick"}]


@pytest.mark.parametrize("arguments", [*BAD_COLORS, *BAD_WIDTHS])
def test_bad_drawing_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(arguments))}: expected"):
        portrait_faces().draw(portrait(), **arguments)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        portrait_faces().draw(None)  # type: ignore[arg-type]


# Crops


def test_crop_of_whole_pixels() -> None:
    (crop,) = portrait_faces().crop(portrait())
    np.testing.assert_array_equal(crop, portrait()[74:178, 182:270])
    assert not np.shares_memory(crop, portrait())
    assert Faces.empty().crop(portrait()) == []


def test_crop_holds_every_pixel_that_is_touched() -> None:
    faces = Faces([[10.2, 20.9, 12.1, 22.0], [5.0, 5.0, 5.0, 5.0]], [0.5, 0.5], POINTS.repeat(2, 0))
    touched, point = faces.crop(portrait())
    np.testing.assert_array_equal(touched, portrait()[20:22, 10:13])
    np.testing.assert_array_equal(point, portrait()[5:6, 5:6])


def test_crop_margin_and_black_outside() -> None:
    image = np.full((40, 30, 3), 200, np.uint8)
    faces = Faces([[-4, 10, 16, 50], [100, 100, 110, 120]], [0.9, 0.8], POINTS.repeat(2, 0))
    partly, outside = faces.crop(image)
    assert partly.shape == (40, 20, 3)
    assert (partly[:30, 4:] == 200).all()
    assert not partly[:, :4].any()
    assert not partly[30:].any()
    assert outside.shape == (20, 10, 3)
    assert not outside.any()
    wide, _ = faces.crop(image, margin=0.25)
    assert wide.shape == (60, 30, 3)
    np.testing.assert_array_equal(wide[10:50, 5:25], np.where(partly, 200, partly))
    narrow, _ = faces.crop(image, margin=-0.25)
    assert narrow.shape == (20, 10, 3)


@pytest.mark.parametrize("margin", [-0.5, -3, float("nan"), float("inf")])
def test_bad_margins(margin: float) -> None:
    with pytest.raises(ValueError, match=r"^margin: "):
        portrait_faces().crop(portrait(), margin)


def test_boundless_crops_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^boxes: expected crops of at most"):
        Faces([[0, 0, 1e9, 1e9]], [0.5], POINTS).crop(portrait())
    with pytest.raises(ValueError, match=r"^boxes: expected crops of at most"):
        portrait_faces().crop(portrait(), margin=1e6)


def test_align() -> None:
    crops = portrait_faces().align(portrait())
    assert crops.shape == (1, 112, 112, 3)
    assert portrait_faces().align(PORTRAIT, 64).shape == (1, 64, 64, 3)
    assert Faces.empty().align(portrait()).shape == (0, 112, 112, 3)
    # The pupils are the darkest spots around the eyes: they come to lie where the template has them.
    gray = crops[0].mean(axis=2)
    for x, y in ((38.8, 52.2), (74.0, 52.0)):
        patch = gray[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6]
        row, column = np.unravel_index(patch.argmin(), patch.shape)
        assert abs(row - 5) <= 2
        assert abs(column - 5) <= 2


@pytest.mark.parametrize("scores", [[0.5 + 0j], np.array([0.5 + 1j])])
def test_complex_numbers_are_refused(scores: object) -> None:
    with pytest.raises(ValueError, match=r"^scores: expected an array of numbers"):
        Faces([(0, 0, 1, 1)], scores, np.zeros((1, 5, 2)))  # type: ignore[arg-type]
