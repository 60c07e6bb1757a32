"""The WIDER FACE protocol: cases worked out by hand, a literal transcription, and the official figures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.datasets import read_wider, read_wider_predictions, read_wider_subsets
from eval.detection import wider
from tests.eval.helpers import found, photo, shared, subsets

A, B = [10, 10, 50, 50], [100, 100, 160, 160]
NOWHERE = [300, 300, 340, 340]


def evaluate_detector(photos, predictions, **counted):
    return wider.evaluate(photos, subsets(photos, **counted), predictions)


def test_perfect_detections_have_ap_1():
    photos = [photo("e/1", [A, B]), photo("e/2", [A])]
    result = evaluate_detector(photos, {"e/1": found([*A, 0.9], [*B, 0.5]), "e/2": found([*A, 0.7])})
    assert result.easy.ap == result.medium.ap == result.hard.ap == 1.0
    assert (result.photos, result.faces, result.hard.faces) == (2, 3, 3)


@pytest.mark.parametrize("predictions", [{}, {"e/1": found()}])
def test_no_detections_have_ap_0(predictions):
    result = evaluate_detector([photo("e/1", [A])], predictions)
    assert result.hard.ap == 0.0
    assert not result.hard.recall.any()
    assert np.isfinite(result.hard.precision).all()


def test_second_detection_of_a_face_is_a_false_positive():
    photos = [photo("e/1", [A]), photo("e/2", [B])]
    # Scores become 1, 2/3, 1/3, 0: hit, second detection, hit, false alarm.
    detections = {"e/1": found([*A, 0.9], [*A, 0.8]), "e/2": found([*B, 0.7], [*NOWHERE, 0.6])}
    assert evaluate_detector(photos, detections).hard.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-12)


def test_detections_of_ignored_faces_are_left_out():
    photos = [photo("e/1", [A, B])]
    # B does not count as easy: its detections change nothing there, and lower the rest otherwise.
    detections = {"e/1": found([*B, 0.9], [*B, 0.8], [*A, 0.5])}
    result = evaluate_detector(photos, detections, easy={"e/1": [0]}, medium={"e/1": [1]})
    assert result.easy.ap == 1.0
    assert (result.easy.faces, result.medium.faces, result.hard.faces) == (1, 1, 2)
    assert result.medium.ap == 1.0
    assert result.hard.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-12)


def test_detections_of_equal_score_count_together():
    photos = [photo("e/1", [A]), photo("e/2", [B])]
    # At every threshold above 0 the hit and the false alarm of score 0.9 come together: precision 1/2.
    detections = {"e/1": found([*NOWHERE, 0.9], [*A, 0.9]), "e/2": found([*B, 0.1])}
    assert evaluate_detector(photos, detections).hard.ap == pytest.approx(2 / 3, abs=1e-12)
    # 1/2 at the first face, 2/3 at the second, and the envelope lifts the first.


def test_scores_closer_than_a_thousandth_count_together():
    photos = [photo("e/1", [A, B])]
    near = {"e/1": found([*A, 1.0], [*NOWHERE, 0.9995], [*B, 0.0])}
    apart = {"e/1": found([*A, 1.0], [*NOWHERE, 0.9975], [*B, 0.0])}
    assert evaluate_detector(photos, near).hard.ap == pytest.approx(2 / 3, abs=1e-12)
    assert evaluate_detector(photos, apart).hard.ap == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-12)


def test_one_photo_with_one_score_only():
    result = evaluate_detector([photo("e/1", [A])], {"e/1": found([*A, 0.3], [*NOWHERE, 0.3])})
    assert result.hard.ap == 0.5
    assert result.hard.recall[0] == 1.0  # equal scores become 1 rather than 0/0


def test_threshold_without_proposals_is_not_0_over_0():
    # The best detection lies on an ignored face: no proposal is left above 1/2.
    photos = [photo("e/1", [A, B])]
    result = evaluate_detector(photos, {"e/1": found([*B, 0.9], [*A, 0.5], [*NOWHERE, 0.1])}, hard={"e/1": [0]})
    assert result.hard.precision[0] == 1.0
    assert result.hard.recall[0] == 0.0
    assert result.hard.ap == 1.0


def test_level_without_faces_has_no_ap():
    result = evaluate_detector([photo("e/1", [A])], {"e/1": found([*A, 0.9])}, easy={"e/1": []})
    assert result.easy.ap is None
    assert result.hard.ap == 1.0


def test_detection_takes_the_face_that_it_overlaps_most():
    left, right = [0, 0, 100, 100], [10, 0, 110, 100]
    # Nearer to the right face, which does not count: left out although the left one overlaps enough too.
    result = evaluate_detector([photo("e/1", [left, right])], {"e/1": found([8, 0, 108, 100, 0.9])}, hard={"e/1": [0]})
    assert result.hard.ap == 0.0


def test_missing_photo_counts_its_faces():
    photos = [photo("e/1", [A]), photo("e/2", [A])]
    assert evaluate_detector(photos, {"e/1": found([*A, 0.9])}).hard.ap == 0.5


def test_unknown_photos_in_the_predictions_are_not_looked_at():
    photos = [photo("e/1", [A])]
    detections = {"e/1": found([*A, 0.9], [*NOWHERE, 0.8])}
    more = {**detections, "e/9": found([*A, 5.0], [*A, -5.0])}
    assert evaluate_detector(photos, more).hard.ap == evaluate_detector(photos, detections).hard.ap == 1.0


def test_photo_without_a_labelled_face_is_passed_over():
    photos = [photo("e/1", [A]), photo("e/2")]
    assert evaluate_detector(photos, {"e/1": found([*A, 0.5]), "e/2": found([*A, 0.9], [*B, 0.1])}).hard.ap == 1.0


def test_order_of_photos_does_not_matter():
    rng = np.random.default_rng(5)
    photos, detections = random_case(rng, 12)
    result = evaluate_detector(photos, detections)
    reordered = evaluate_detector(photos[::-1], dict(reversed(detections.items())))
    np.testing.assert_array_equal(result.hard.precision, reordered.hard.precision)
    np.testing.assert_array_equal(result.hard.recall, reordered.hard.recall)


def test_face_with_a_negative_size_matches_nothing():
    # The reader puts its corners in order, ignores it, and leaves it valid.
    reordered = photo("e/1", [A, B], ignored=[False, True], attributes={"invalid": np.zeros(2, np.int64)})
    result = evaluate_detector([reordered], {"e/1": found([*B, 0.9], [*A, 0.5])}, hard={"e/1": [0]})
    assert result.hard.ap == 0.5


def test_overlap_rounds_like_whole_numbers_in_matlab():
    face = np.array([[0, 0, 9, 9]], np.float32)  # 10 × 10 pixels
    # Right edge 4.4: the intersection's corner is rounded to 4, so 5 × 10 shared; the areas 100 + 5.4 · 10 stay.
    assert wider.overlaps(np.array([[0, 0, 4.4, 9.0]]), face) == pytest.approx(50 / (154 - 50))
    # 4.5 is rounded away from zero to 5, so 60 shared, of 100 + 55.
    assert wider.overlaps(np.array([[0, 0, 4.5, 9.0]]), face) == pytest.approx(60 / (155 - 60))
    # −0.5 becomes −1: the corner of the face stands. The areas' sum 100 + 10.5 · 9.5 = 199.75 becomes 200.
    assert wider.overlaps(np.array([[-0.5, 0.5, 9.0, 9.0]]), face) == pytest.approx(90 / (200 - 90))


def test_photo_that_the_lists_do_not_know_is_refused():
    known = subsets([photo("e/1", [A])])
    with pytest.raises(ValueError, match="e/2"):
        wider.evaluate([photo("e/2", [A])], known, {})
    with pytest.raises(ValueError, match="no photo"):
        wider.evaluate([], known, {})
    with pytest.raises(ValueError, match="has not"):
        wider.evaluate([photo("e/1")], known, {})


# A literal transcription of the protocol, loop by loop.


def half_away(value):
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def slow_overlap(face, box):
    x1, y1 = max(face[0], half_away(box[0])), max(face[1], half_away(box[1]))
    x2, y2 = min(face[2], half_away(box[2])), min(face[3], half_away(box[3]))
    width, height = x2 - x1 + 1, y2 - y1 + 1
    if width <= 0 or height <= 0:
        return 0.0
    face_area = (face[2] - face[0] + 1) * (face[3] - face[1] + 1)
    area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
    return width * height / (half_away(face_area + area) - width * height)


def slow_ap(photos, detections, counted):
    scores = [score for each in photos for score in detections[each.name].scores]
    low, high = min(scores), max(scores)
    proposals, finds, faces = np.zeros(1000), np.zeros(1000), 0
    for each in photos:
        counts = set(counted[each.name])
        faces += len(counts)
        rows = sorted(zip(detections[each.name].scores, detections[each.name].boxes, strict=True), key=lambda r: -r[0])
        state, proposal, recalled = [0] * len(each), [], []
        for _, box in rows:
            overlaps = [slow_overlap(face, box) for face in each.boxes.astype(float)]
            nearest = overlaps.index(max(overlaps))
            proposal.append(1)
            if overlaps[nearest] >= 0.5:
                if nearest not in counts:
                    state[nearest], proposal[-1] = -1, -1
                elif state[nearest] == 0:
                    state[nearest] = 1
            recalled.append(state.count(1))
        for t in range(1, 1001):
            above = [k for k, row in enumerate(rows) if (row[0] - low) / (high - low) >= 1 - t / 1000]
            if above:
                proposals[t - 1] += proposal[: above[-1] + 1].count(1)
                finds[t - 1] += recalled[above[-1]]
    recall = [0, *(finds / faces), 1]
    precision = [0, *(f / p if p else 0 for f, p in zip(finds, proposals, strict=True)), 0]
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    return sum((recall[k] - recall[k - 1]) * precision[k] for k in range(1, len(recall)))


def random_case(rng, count):
    photos, detections = [], {}
    for at in range(count):
        faces = rng.integers(1, 6)
        corners = rng.integers(0, 100, (faces, 2))
        boxes = np.hstack([corners, corners + rng.integers(8, 50, (faces, 2))])
        wild = np.hstack([rng.uniform(0, 100, (3, 2)), np.zeros((3, 2))])
        wild[:, 2:] = wild[:, :2] + rng.uniform(5, 50, (3, 2))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 4, (2 * faces, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2])
        rows = np.vstack([near, wild])
        photos.append(photo(f"e/{at}", boxes))
        scores = np.round(rng.uniform(0, 1, len(rows)), 2)  # with ties
        detections[f"e/{at}"] = found(*np.column_stack([rows, scores]))
    return photos, detections


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_equals_the_literal_transcription(seed):
    rng = np.random.default_rng(seed)
    photos, detections = random_case(rng, 4)
    counted = {each.name: np.flatnonzero(rng.uniform(size=len(each)) < 0.7) for each in photos}
    counted[photos[0].name] = np.array([0])
    expected = slow_ap(photos, detections, counted)
    assert evaluate_detector(photos, detections, hard=counted).hard.ap == pytest.approx(expected, abs=1e-12)


# The official tool's own figures.


@pytest.fixture(scope="module")
def official():
    truth_folder = shared("data/wider/ground_truth")
    predictions = read_wider_predictions(shared("reference/wider/predictions.zip"))
    truth = read_wider(truth_folder / "wider_face_val.mat", truth_folder, require_images=False, strict=True)
    expected = json.loads(shared("reference/wider/official_ap.json").read_text())
    return truth, read_wider_subsets(truth_folder), predictions, expected


def test_equals_the_official_evaluator(official):
    truth, lists, predictions, expected = official
    result = wider.evaluate(truth, lists, predictions)
    for level, each in result.levels().items():
        assert each.ap == pytest.approx(expected[level], abs=1e-6), level  # all the digits that it printed
    assert (result.photos, result.full_set, result.faces) == (3226, 3226, 39708)


def test_official_figures_do_not_depend_on_the_order_of_the_files(official):
    truth, lists, predictions, _ = official
    some = list(truth)[::7]
    reordered = wider.evaluate(some[::-1], lists, dict(reversed(predictions.items())))
    assert [each.ap for each in reordered.levels().values()] == [
        each.ap for each in wider.evaluate(some, lists, predictions).levels().values()
    ]
