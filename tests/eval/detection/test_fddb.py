"""The FDDB protocol: regions and curves by hand, and the official tool's own curves."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cascade.datasets import Detections, read_fddb, read_fddb_detections
from eval.detection import fddb
from eval.detection.regions import Region, draw_ellipse, draw_rectangle, region_overlaps
from tests.eval.helpers import found, oval_photo, photo, shared

FACE = (30, 20, 0.0, 60, 60)
OTHER = (30, 20, 0.0, 160, 60)


def test_rectangle_holds_both_rounded_corners():
    region = draw_rectangle(np.array([1.4, 2.6, 4.5, 5.5]), 100, 100)
    # 4.5 and 5.5 are rounded to the even neighbour: columns 1…4, rows 3…6.
    assert (region.x, region.y, region.mask.shape, region.area) == (1, 3, (4, 4), 16)


@pytest.mark.parametrize(
    ("box", "area"), [((-5, -5, 4, 4), 25), ((95, 95, 120, 120), 25), ((200, 0, 220, 10), 0), ((-9, -9, -2, -2), 0)]
)
def test_rectangle_ends_where_the_photo_ends(box, area):
    assert draw_rectangle(np.array(box, float), 100, 100).area == area


def test_ellipse_has_whole_radii_and_a_rounded_centre():
    region = draw_ellipse(np.array([20.9, 10.9, 0.0, 50.4, 49.6]), 200, 200)
    rows, columns = np.nonzero(region.mask)
    assert (columns.min() + region.x, columns.max() + region.x) == (30, 70)
    assert (rows.min() + region.y, rows.max() + region.y) == (40, 60)
    assert region.area == pytest.approx(np.pi * 20.5 * 10.5, rel=0.02)


def test_ellipse_turns_with_its_angle():
    region = draw_ellipse(np.array([20, 10, np.pi / 2, 50, 50.0]), 200, 200)
    assert np.ptp(np.nonzero(region.mask)[0]) == 40  # high
    assert np.ptp(np.nonzero(region.mask)[1]) == 20


def test_ellipse_ends_where_the_photo_ends():
    whole = draw_ellipse(np.array([20, 20, 0, 50, 50.0]), 200, 200)
    quarter = draw_ellipse(np.array([20, 20, 0, 0, 0.0]), 200, 200)
    assert quarter.area == pytest.approx((whole.area + 2 * 41 - 1) / 4 + 0.5, abs=1)
    assert draw_ellipse(np.array([20, 20, 0, -50, 50.0]), 200, 200).area == 0
    assert draw_ellipse(np.array([20, 20, 0, 50, 1e9]), 200, 200).area == 0


def test_overlap_counts_pixels_wherever_the_masks_begin():
    first = Region(2, 3, np.ones((4, 5), np.uint8))
    second = Region(4, 5, np.ones((4, 5), np.uint8))
    np.testing.assert_allclose(region_overlaps([first], [second, Region(50, 50, first.mask)]), [[6 / 34, 0]])


def test_exact_half_is_no_match():
    # An ellipse of height 0 is a line of 21 pixels; the box covers it and as many again: overlap 1/2 exactly.
    line = oval_photo("a", [(10, 0, 0.0, 50, 50)])
    result = fddb.evaluate([line], {"a": found([40, 50, 60, 51, 0.9])})
    assert result.discrete.tolist() == [0.0]
    assert result.continuous.tolist() == [0.5]
    assert result.false_positives.tolist() == [1]


def test_curve_by_hand():
    photos = [oval_photo("a", [FACE]), oval_photo("b", [FACE, OTHER])]
    same = np.array([FACE, OTHER], float)
    boxes = np.array([[30, 40, 90, 80], [130, 40, 190, 80.0]])
    detections = {
        "a": Detections(
            np.array([[300, 300, 340, 340.0], boxes[0]]),
            np.array([0.9, 0.4]),
            np.array([(20, 20, 0, 320, 320), FACE], float),
        ),
        "b": Detections(boxes, np.array([0.9, 0.6]), same),
    }
    result = fddb.evaluate(photos, detections)
    assert result.thresholds.tolist() == [0.9, 0.6, 0.4]
    assert result.false_positives.tolist() == [1, 1, 1]
    np.testing.assert_allclose(result.discrete, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(result.continuous, [1 / 3, 2 / 3, 1])
    assert result.rate_at(0) == 0.0
    assert result.rate_at(1) == 1.0
    assert result.rates()["continuous"]["2000"] == 1.0


def test_pairing_maximises_the_sum_of_overlaps():
    # Lines of 101 and 81 pixels. The first box suits the upper face best, but the second box has no other.
    upper, lower = (50, 0, 0.0, 100, 50), (40, 0, 0.0, 100, 53)
    both, only_upper = [50, 50, 150, 53, 0.9], [50, 47, 150, 50, 0.8]
    result = fddb.evaluate([oval_photo("a", [upper, lower])], {"a": found(both, only_upper)})
    assert result.continuous[0] == pytest.approx((101 / 404) / 2)
    assert result.continuous[1] == pytest.approx((101 / 404 + 81 / 404) / 2)


def test_pairing_is_made_anew_at_each_threshold():
    # At 0.9 the loose box is the face's own; at 0.8 the exact one takes its place and the loose one is a false alarm.
    loose = [25, 35, 95, 85, 0.9]
    exact = [32, 42, 88, 78, 0.8]
    result = fddb.evaluate([oval_photo("a", [FACE])], {"a": found(loose, exact)})
    assert result.discrete.tolist() == [1.0, 1.0]
    assert result.false_positives.tolist() == [0, 1]
    assert result.continuous[1] > result.continuous[0]


def test_photos_without_detections_count_their_faces():
    photos = [oval_photo("a", [FACE]), oval_photo("b", [FACE])]
    exact = Detections(np.array([[30, 40, 90, 80.0]]), np.array([0.9]), np.array([FACE], float))
    assert fddb.evaluate(photos, {"a": exact}).discrete.tolist() == [0.5]
    nothing = fddb.evaluate(photos, {})
    assert nothing.rates()["discrete"] == {"100": 0.0, "500": 0.0, "1000": 0.0, "2000": 0.0}


def test_known_size_clips_both_regions():
    # Half of the face and half of the box lie outside a photo that is 60 wide; inside they are alike.
    face, box = oval_photo("a", [(30, 20, 0.0, 60, 60)]), {"a": found([30, 40, 400, 80, 0.9])}
    assert fddb.evaluate([face], box).discrete.tolist() == [0.0]
    assert fddb.evaluate([face], box, sizes={"a": (60, 120)}).discrete.tolist() == [1.0]
    stated = oval_photo("a", [(30, 20, 0.0, 60, 60)], size=(60, 120))
    assert fddb.evaluate([stated], box).discrete.tolist() == [1.0]


def test_order_of_photos_and_detections_does_not_matter():
    rng = np.random.default_rng(3)
    photos, detections, reordered = [], {}, {}
    for name in "abcdef":
        photos.append(oval_photo(name, [FACE, OTHER]))
        rows = np.column_stack([np.array([30, 40, 90, 80]) + rng.normal(0, 9, (8, 4)), rng.integers(1, 4, 8) / 4])
        detections[name], reordered[name] = found(*rows), found(*rows[::-1])
    result = fddb.evaluate(photos, detections)
    again = fddb.evaluate(photos[::-1], reordered)
    for part in ("thresholds", "false_positives", "discrete", "continuous"):
        np.testing.assert_array_equal(getattr(result, part), getattr(again, part))


def test_photos_that_cannot_be_evaluated_are_refused():
    with pytest.raises(ValueError, match="no labelled face"):
        fddb.evaluate([], {})
    with pytest.raises(ValueError, match="ellipses"):
        fddb.evaluate([photo("a", [[0, 0, 9, 9]])], {"a": found([0, 0, 9, 9, 1])})


# The official tool's own curves.


def golden(name):
    folds = read_fddb(shared("reference/fddb/FDDB-folds"), require_images=False, strict=True)
    detections = read_fddb_detections(shared(f"reference/fddb/{name}_detections.txt"))
    curves = [np.loadtxt(shared(f"reference/fddb/{name}_{kind}ROC.txt")) for kind in ("Disc", "Cont")]
    return folds, detections, curves


@pytest.mark.parametrize(("name", "discrete", "continuous"), [("s3fd_resnet18", 0.001, 0.002), ("mtcnn", 0.003, 0.004)])
def test_equals_the_official_tool(name, discrete, continuous):
    folds, detections, curves = golden(name)
    start = time.process_time()
    result = fddb.evaluate(folds, detections)
    assert time.process_time() - start < 30  # seconds of one core
    assert (result.photos, result.faces) == (2845, 5171)
    for kind, curve, tolerance in (("discrete", curves[0], discrete), ("continuous", curves[1], continuous)):
        for count, rate in result.rates()[kind].items():
            expected = curve[curve[:, 1] <= int(count), 0].max()
            assert rate == pytest.approx(expected, abs=tolerance), f"{kind} at {count} false positives"


def test_discrete_curve_of_boxes_inside_the_photos_is_the_official_one_to_the_digit():
    folds, detections, (curve, _) = golden("s3fd_resnet18")
    result = fddb.evaluate(folds, detections)
    assert len(result.thresholds) == len(curve)
    np.testing.assert_array_equal(result.false_positives[::-1], curve[:, 1])
    np.testing.assert_allclose(result.discrete[::-1], curve[:, 0], atol=5e-7)
    np.testing.assert_allclose(result.thresholds[::-1], curve[:, 2], atol=5e-7)


def test_one_fold_is_evaluated_alone():
    folder = shared("reference/fddb/FDDB-folds")
    detections = read_fddb_detections(shared("reference/fddb/s3fd_resnet18_detections.txt"))
    one = fddb.evaluate(read_fddb(folder, folds=[3], require_images=False), detections)
    assert one.photos < 300
    assert 0.9 < one.rate_at(100) < 1
