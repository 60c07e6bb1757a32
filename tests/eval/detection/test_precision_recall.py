"""Plain detection figures: by hand, against a slow transcription of the rule, and against the project's ruler."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.detection.precision_recall import FALSE_POSITIVE, LEFT_OUT, evaluate, match
from eval.detection.predictions import Found
from eval.detection.test_sets import evaluate_detector, read_set
from tests.eval.helpers import found, photo, shared

A, B = [10, 10, 50, 50], [100, 100, 160, 160]
SMALL = [200, 200, 210, 230]
NOWHERE = [300, 300, 340, 340]


def test_perfect_detections():
    result = evaluate([photo("a", [A, B])], {"a": found([*A, 0.9], [*B, 0.8])})
    assert (result.curve.ap, result.ap_50_95, result.curve.final_recall) == (1.0, 1.0, 1.0)
    assert result.recall_at_false_positives() == {"0.01": 1.0, "0.1": 1.0, "1": 1.0}


def test_curve_by_hand():
    photos = [photo("a", [A]), photo("b", [B])]
    result = evaluate(photos, {"a": found([*A, 0.9], [*A, 0.7]), "b": found([*NOWHERE, 0.8], [*B, 0.6])})
    np.testing.assert_array_equal(result.curve.hits, [True, False, False, True])
    np.testing.assert_array_equal(result.curve.false_positives, [0, 1, 2, 2])
    assert result.curve.ap == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    # No more than 0.1 · 2 false positives: only the first face. 1 · 2: both.
    assert result.recall_at_false_positives() == {"0.01": 0.5, "0.1": 0.5, "1": 1.0}


def test_stricter_overlaps_lower_the_mean():
    shifted = [14, 10, 54, 50]  # overlap 36/44 = 0.818: found at 0.5 … 0.8
    result = evaluate([photo("a", [A])], {"a": found([*shifted, 0.9])})
    assert result.curve.ap == 1.0
    assert result.ap_50_95 == pytest.approx(0.7)


def test_small_and_ignored_faces_are_neither_wanted_nor_wrong():
    photos = [photo("a", [A, B, SMALL], ignored=[False, True, False])]
    detections = {"a": found([*SMALL, 0.95], [*B, 0.9], [*B, 0.85], [*A, 0.8])}
    result = evaluate(photos, detections, min_size=12)
    assert (result.curve.faces, result.curve.ap, len(result.curve.hits)) == (1, 1.0, 1)
    assert evaluate(photos, detections, min_size=10).curve.faces == 2


def test_taken_face_gives_way_to_the_next_best():
    left, right = [0, 0, 100, 100], [10, 0, 110, 100]
    detections = {"a": found([*left, 0.9], [4, 0, 104, 100, 0.8])}
    assert evaluate([photo("a", [left, right])], detections).curve.hits.tolist() == [True, True]


def test_detection_near_an_ignored_face_prefers_one_that_counts():
    photos = [photo("a", [[0, 0, 100, 100], [2, 0, 102, 100]], ignored=[False, True])]
    result = evaluate(photos, {"a": found([2, 0, 102, 100, 0.9])})
    assert result.curve.hits.tolist() == [True]


def test_photos_without_faces_have_false_positives_only():
    result = evaluate([photo("a"), photo("b")], {"a": found([*A, 0.9], [*B, 0.8])})
    assert (result.curve.ap, result.ap_50_95, result.curve.final_recall) == (None, None, None)
    assert result.curve.false_positives[-1] == 2
    assert set(result.recall_at_false_positives().values()) == {None}


def test_photo_without_an_entry_counts_as_empty():
    assert evaluate([photo("a", [A]), photo("b", [B])], {"a": found([*A, 0.9])}).curve.ap == 0.5


def test_faces_are_sorted_by_size():
    # Shorter sides 10, 40 and 60. The large false alarm counts among the large only.
    photos = [photo("a", [A, B, SMALL])]
    result = evaluate(photos, {"a": found([300, 0, 390, 90, 0.95], [*A, 0.9], [*B, 0.8])})
    sizes = {(each.smallest, each.largest): each for each in result.sizes}
    assert [each.faces for each in result.sizes] == [1, 0, 0, 2, 0, 0]
    assert sizes[0, 12].recall == 0.0
    assert sizes[12, 20].ap is None
    assert sizes[40, 80].recall == 1.0
    assert sizes[40, 80].ap == 1.0
    assert evaluate(photos, {}, min_size=12).sizes[0].smallest == 12


def test_detection_of_another_size_that_finds_the_face_counts():
    # 36 px high where the face is 40: of another class, yet it finds the face.
    result = evaluate([photo("a", [A])], {"a": found([10, 12, 50, 48, 0.9])})
    assert {each.smallest: each.recall for each in result.sizes}[40.0] == 1.0


def test_boxes_without_area_are_not_looked_at():
    photos = [photo("a", [A, [60, 60, 60, 80]], ignored=[False, True])]
    assert evaluate(photos, {"a": found([*A, 0.9], [60, 60, 60, 80, 0.8])}).curve.hits.tolist() == [True, False]


def test_order_of_photos_does_not_matter():
    photos, detections = random_case(np.random.default_rng(1), 9)
    one, other = evaluate(photos, detections), evaluate(photos[::-1], dict(reversed(detections.items())))
    np.testing.assert_array_equal(one.curve.hits, other.curve.hits)
    assert one.ap_50_95 == other.ap_50_95


def test_no_photo_is_refused():
    with pytest.raises(ValueError, match="no photo"):
        evaluate([], {})


def test_matches_of_one_photo_are_told_in_the_order_given():
    flat = [60, 60, 60, 80]
    faces = photo("a", [flat, A, SMALL, B], ignored=[False, False, False, True])
    detections = found([*NOWHERE, 0.5], [*B, 0.9], [*A, 0.7], [*SMALL, 0.6], [*A, 0.8])
    matches = match(faces, detections, min_size=10)
    assert matches.faces.tolist() == [FALSE_POSITIVE, LEFT_OUT, FALSE_POSITIVE, 2, 1]
    assert matches.counted.tolist() == [False, True, True, False]
    assert matches.missed.tolist() == []
    assert match(faces, detections.at(np.array([0, 1])), min_size=10).missed.tolist() == [1, 2]
    assert match(faces, detections, min_size=11).faces.tolist() == [
        FALSE_POSITIVE,
        LEFT_OUT,
        FALSE_POSITIVE,
        LEFT_OUT,
        1,
    ]


def test_classes_of_sizes_may_be_chosen():
    photos, detections = [photo("a", [A, B, SMALL])], {"a": found([*A, 0.9])}
    (size,) = evaluate(photos, detections, sizes=[(40, 61)]).sizes
    assert (size.smallest, size.largest, size.faces, size.recall) == (40, 61, 2, 0.5)


# A slow transcription of the rule that the header of the project's ruler states.


def random_case(rng, count):
    photos, detections = [], {}
    for at in range(count):
        faces = int(rng.integers(0, 5))
        corners = rng.integers(0, 60, (faces, 2))
        boxes = np.hstack([corners, corners + rng.integers(6, 40, (faces, 2))])
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 3, (2 * faces, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])
        rows = np.vstack([near, [[0, 0, 30, 30]]])
        photos.append(photo(f"{at:02d}", boxes, ignored=rng.uniform(size=faces) < 0.2))
        detections[f"{at:02d}"] = found(*np.column_stack([rows, np.round(rng.uniform(0, 1, len(rows)), 1)]))
    return photos, detections


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def slow_figures(photos, detections, min_size):
    rows, faces = [], 0
    for each in photos:
        out = [
            bool(i) or min(x2 - x1, y2 - y1) < min_size
            for i, (x1, y1, x2, y2) in zip(each.ignored, each.boxes.astype(float), strict=True)
        ]
        faces += out.count(False)
        taken = set()
        given = list(zip(detections[each.name].scores, detections[each.name].boxes, strict=True))
        for score, box in sorted(given, key=lambda pair: -pair[0]):
            near = [(overlap(box, face), k) for k, face in enumerate(each.boxes.astype(float))]
            near = [(value, k) for value, k in near if value >= 0.5]
            free = [(value, -k) for value, k in near if k not in taken and not out[k]]
            if free:
                taken.add(-max(free)[1])
                rows.append((score, 1))
            elif not any(out[k] for _, k in near):
                rows.append((score, 0))
    rows.sort(key=lambda row: -row[0])
    hits, best, ap = 0, [], 0.0
    for k, (_, hit) in enumerate(rows, 1):
        hits += hit
        best.append(hits / k)
    for k, (_, hit) in enumerate(rows):
        ap += hit * max(best[k:]) / max(faces, 1)
    return faces, hits, len(rows) - hits, ap


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_equals_the_slow_transcription(seed):
    photos, detections = random_case(np.random.default_rng(seed), 6)
    faces, hits, wrong, ap = slow_figures(photos, detections, 10)
    curve = evaluate(photos, detections, min_size=10).curve
    assert (curve.faces, int(curve.hits.sum()), int((~curve.hits).sum())) == (faces, hits, wrong)
    assert (curve.ap or 0.0) == pytest.approx(ap, abs=1e-12)


@pytest.mark.parametrize("name", ["wider_val", "wider_train_holdout", "fddb_single", "no_face"])
def test_equals_the_project_s_ruler(name):
    path = shared("tools/plain_ap.py")
    spec = importlib.util.spec_from_file_location("plain_ap", path)
    ruler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ruler)
    data = shared("data")
    samples = ruler.load(name, str(data))
    rng = np.random.default_rng(11)
    predictions = {}
    for photo_name, truth, _ in samples:
        near = np.repeat(truth, 2, axis=0) + rng.normal(0, 4, (2 * len(truth), 4))
        near = np.vstack([near, [[5, 5, 60, 60]]])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        scores = np.round(rng.uniform(0, 1, len(near)), 2)  # with ties
        predictions[photo_name] = np.column_stack([near, scores]).tolist()
    expected = ruler.figures(samples, predictions)
    found_rows = {key: Found.from_rows(rows) for key, rows in predictions.items()}
    figures = evaluate_detector(read_set(data, name), found_rows, None).summary()
    assert figures["false_positives"] == expected["false_positives"]
    assert figures["photos"] == expected["photos"]
    if expected["faces"]:
        assert figures["faces"] == expected["faces"]
        assert figures["recall"] == expected["recall"]
        assert figures["ap"] == pytest.approx(expected["ap"], abs=1e-12)
