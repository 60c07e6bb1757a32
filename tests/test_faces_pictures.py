"""Faces on pictures: drawing them, cutting them out, aligned crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.faces import Faces
from cascade.imaging.reading import ImageError
from tests.photos import FACE_LANDMARKS, PORTRAIT, portrait, portrait_faces

POINTS = np.array([FACE_LANDMARKS])

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


@pytest.mark.parametrize("margin", [-0.5, -3, float("nan"), float("inf"), "0.2", None, True])
def test_bad_margins(margin: Any) -> None:
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


def test_arrays_from_opencv_give_rgb_pictures() -> None:
    faces, bgr = portrait_faces(), portrait()[:, :, ::-1]
    np.testing.assert_array_equal(faces.draw(bgr, color="bgr"), faces.draw(portrait()))
    np.testing.assert_array_equal(faces.crop(bgr, color="bgr")[0], faces.crop(portrait())[0])
    np.testing.assert_array_equal(faces.align(bgr, color="bgr"), faces.align(portrait()))
    red = (255, 0, 0)
    np.testing.assert_array_equal(faces.draw(portrait(), box_color=red), faces.draw(portrait(), color=red))
