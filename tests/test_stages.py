"""The stages of the detector one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade import _native, stages
from cascade.engines.base import ClassifyCrops, run
from cascade.engines.native import NativeEngine
from cascade.imaging.alignment import similarity_transforms
from cascade.imaging.pyramid import Pyramid, level_sizes
from cascade.models.detector import load_detector
from cascade.stages import Candidates, Framing, landmark_template, logit, run_lnet, run_onet, run_pnet, run_rnet
from tests.photos import FACE_LANDMARKS, portrait


@pytest.fixture(scope="module")
def engine(random_weights: Callable[[str], Path]) -> NativeEngine:
    return NativeEngine(load_detector(random_weights("default")))


@pytest.fixture(scope="module")
def pyramid(engine: NativeEngine) -> Pyramid:
    return engine.pyramid(portrait(), level_sizes(512, 512, 40, None, 12, 0.709))


def test_each_stage_takes_fewer_candidates_the_higher_its_threshold(engine: NativeEngine, pyramid: Pyramid) -> None:
    thresholds = (0.0, 0.3, 0.5, 0.6, 1.0)
    proposed = [run(engine, [run_pnet(engine.weights, pyramid, threshold)])[0] for threshold in thresholds]
    refined = [run(engine, [run_rnet(engine.weights, pyramid, proposed[2], threshold)])[0] for threshold in thresholds]
    faces = [run(engine, [run_onet(engine.weights, pyramid, refined[1], threshold)])[0][0] for threshold in thresholds]
    for found in (proposed, refined, faces):
        counts = [len(some) for some in found]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[3] > counts[4] == 0


def test_candidates_come_best_first_and_suppression_removes_some(engine: NativeEngine, pyramid: Pyramid) -> None:
    (usual,) = run(engine, [run_pnet(engine.weights, pyramid, 0.4)])
    (strict,) = run(engine, [run_pnet(engine.weights, pyramid, 0.4, nms=0.2)])
    assert (np.diff(usual.logits) <= 0).all()
    assert 0 < len(strict) < len(usual)
    assert {tuple(box) for box in strict.boxes.tolist()} <= {tuple(box) for box in usual.boxes.tolist()}


def test_a_pyramid_without_levels_has_no_candidates(engine: NativeEngine) -> None:
    (found,) = run(engine, [run_pnet(engine.weights, engine.pyramid(portrait(), []), 0.0)])
    assert isinstance(found, Candidates)
    assert found.boxes.shape == (0, 4)
    assert (found.boxes.dtype, found.logits.dtype) == (np.float32, np.float32)


NO_FRAMING = Framing(gap=0.0, at_border=0.0, close_up=0.0)


def test_windows_at_the_border_and_close_ups_need_less_in_pnet(
    engine: NativeEngine, pyramid: Pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are what they are without the bonus, which the suppression of 1 leaves to be seen."""
    (found,) = run(engine, [run_pnet(engine.weights, pyramid, 0.0, nms=1.0)])
    monkeypatch.setattr(stages, "PNET_FRAMING", NO_FRAMING)
    (plain,) = run(engine, [run_pnet(engine.weights, pyramid, 0.0, nms=1.0)])
    order, before = np.lexsort(found.boxes.T), np.lexsort(plain.boxes.T)
    np.testing.assert_array_equal(found.boxes[order], plain.boxes[before])
    gains = found.logits[order] - plain.logits[before]
    np.testing.assert_array_equal(np.unique(np.rint(2 * gains) / 2), [0, 2, 2.5])
    np.testing.assert_allclose(gains, np.rint(2 * gains) / 2, atol=1e-5)
    assert 0 < (gains > 1).mean() < 0.5


@pytest.mark.parametrize(
    ("corner", "side", "gain"), [((60, 40), 250, 0.6), ((60, 40), 100, 0.0), ((-20, 40), 100, 1.0)]
)
def test_windows_beyond_the_border_and_close_ups_need_less_in_rnet_and_onet(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, corner: tuple[int, int], side: int, gain: float
) -> None:
    image = np.ascontiguousarray(portrait()[:400, :400])
    pyramid = engine.pyramid(image, level_sizes(400, 400, 40, None, 12, 0.709))
    box = [*corner, corner[0] + side, corner[1] + side]
    candidates = Candidates(np.array([box], np.float32), np.array([9], np.float32))
    monkeypatch.setattr(stages, "AGREEMENT_WEIGHT", 0.0)
    for stage in (run_rnet, run_onet):
        (found,) = run(engine, [stage(engine.weights, pyramid, candidates, 0.0)])
        with monkeypatch.context() as patch:
            patch.setattr(stages, "CROP_FRAMING", NO_FRAMING)
            (plain,) = run(engine, [stage(engine.weights, pyramid, candidates, 0.0)])
        logits = [each.logits if isinstance(each, Candidates) else each[1] for each in (found, plain)]
        np.testing.assert_allclose(logits[0] - logits[1], gain, atol=1e-5)


def answered(
    engine: NativeEngine, pyramid: Pyramid, boxes: object, answers: list[list[float]], moved: float = 0.0
) -> tuple[Any, ...]:
    """What O-Net's stage makes of candidates if the network gives these log-odds in its two looks.

    It moves boxes by the share ``moved`` of their sides, right and down, in the first look.

    Returns the boxes of both looks' crops, and the stage's results.
    """
    candidates = Candidates(np.array(boxes, np.float32), np.zeros(len(np.array(boxes)), np.float32))
    generator = run_onet(engine.weights, pyramid, candidates, 0.5)
    request, crops = next(generator), []
    for answer in answers:
        assert isinstance(request, ClassifyCrops)
        crops.append(request.regions)
        assert len(request.regions) == len(answer)
        outputs = np.zeros((len(answer), engine.weights["onet"].architecture.outputs), np.float32)
        outputs[:, 1] = answer
        outputs[:, engine.weights["onet"].architecture.output("box")] = moved if len(crops) == 1 else 0.0
        try:
            request = generator.send(outputs)
        except StopIteration as end:
            return (*crops, *end.value)
    raise AssertionError("more requests than answers")


ALONE, AGREEING = (10, 10, 50, 50), [(200, 200, 240, 240), (201, 200, 241, 240), (208, 200, 248, 240)]


def test_onet_looks_again_at_what_nearly_reaches_its_threshold(engine: NativeEngine, pyramid: Pyramid) -> None:
    """Fused with log-odds of 0 before them at half the weight, O-Net's are two thirds of what they were."""
    first, again, boxes, logits, landmarks = answered(engine, pyramid, [ALONE, AGREEING[0]], [[-1.4, -1.6], [4.5]])
    np.testing.assert_array_equal(again, first[:1])
    np.testing.assert_allclose(boxes, [ALONE], atol=1e-4)
    votes = 1 + (1 / (1 + math.exp(1.4 / 1.5))) / (1 / (1 + math.exp(-3.0)))
    np.testing.assert_allclose(logits, 3.0 + 0.5 * math.log(votes / 3), rtol=1e-5)
    assert landmarks.shape == (1, 5, 2)


def test_the_second_look_is_where_the_first_has_moved_a_box(engine: NativeEngine, pyramid: Pyramid) -> None:
    first, again, boxes, _, _ = answered(engine, pyramid, [ALONE], [[4.5], [4.8]], moved=0.25)
    np.testing.assert_allclose(again, first + 10, atol=1e-4)
    np.testing.assert_allclose(boxes, [(20, 20, 60, 60)], atol=1e-4)


def test_fewer_votes_are_usual_where_one_window_is_looked_at(engine: NativeEngine, pyramid: Pyramid) -> None:
    candidates = Candidates(np.array([ALONE], np.float32), np.array([2], np.float32))
    (usual,) = run(engine, [run_onet(engine.weights, pyramid, candidates, 0.0)])
    (fewer,) = run(engine, [run_onet(engine.weights, pyramid, candidates, 0.0, 2.0)])
    np.testing.assert_allclose(fewer[1] - usual[1], 0.5 * math.log(3 / 2), atol=1e-5)


def test_onet_does_not_look_again_at_a_face_that_it_is_sure_of(engine: NativeEngine, pyramid: Pyramid) -> None:
    _, again, _, logits, _ = answered(engine, pyramid, [ALONE], [[6.1], []])
    assert len(again) == 0
    assert logits == pytest.approx(6.1 / 1.5 + 0.5 * math.log(1 / 3))


def test_a_face_is_surer_the_more_boxes_agree(engine: NativeEngine, pyramid: Pyramid) -> None:
    """The first two of those that agree overlap by more than 0.9, so that one of them is looked at again."""
    looks = [[3.0, 3.0, 2.9, 2.0], [3.0, 3.0, 2.0]]
    _, _, boxes, logits, _ = answered(engine, pyramid, [ALONE, *AGREEING], looks)
    assert len(boxes) == 2
    alone, agreed = np.argmin(boxes[:, 0]), np.argmax(boxes[:, 0])
    assert logits[alone] == pytest.approx(2.0 + 0.5 * math.log(2 / 3), rel=1e-5)
    assert logits[agreed] > 2.0 + 0.5 * math.log(4 / 3)


def test_a_box_that_no_other_agrees_with_needs_more_than_the_threshold(engine: NativeEngine, pyramid: Pyramid) -> None:
    """In both looks it has its own vote alone, 2 of the usual 3, so that it falls short by half of the log of 3/2."""
    for log_odds, faces in ((0.15, 0), (0.25, 1)):
        _, _, boxes, _, _ = answered(engine, pyramid, [ALONE], [[1.5 * log_odds], [1.5 * log_odds]])
        assert len(boxes) == faces


def test_what_is_not_finite_is_no_face_in_either_look(engine: NativeEngine, pyramid: Pyramid) -> None:
    assert len(answered(engine, pyramid, [ALONE], [[math.inf], []])[2]) == 0
    _, _, boxes, logits, _ = answered(engine, pyramid, [ALONE], [[4.5], [math.nan]])
    np.testing.assert_allclose(boxes, [ALONE], atol=1e-4)
    assert logits == pytest.approx(3.0 + 0.5 * math.log(1 / 3))


def test_how_windows_are_framed() -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    windows = [(10, 10, 40, 40), (9, 50, 39, 80), (160, 50, 190, 80), (170, 50, 199, 79), (50, 72, 70, 92)]
    windows += [(50, 71, 75, 96), (90, 20, 139, 69), (70, 22, 120, 72), (0, 0, 50, 50)]
    table = np.array(windows, np.float32)
    assert Framing(1 / 3, 1.0, 5.0).bonus(table, photo).tolist() == [0, 1, 0, 1, 0, 1, 0, 5, 5]
    beyond = np.array([(-2, 40, 28, 70), (-4, 40, 26, 70), (175, 40, 205, 70), (172, 40, 202, 70)], np.float32)
    assert Framing(-0.1, 1.0, 5.0).bonus(beyond, photo).tolist() == [0, 1, 1, 0]


def test_a_threshold_is_a_probability() -> None:
    assert logit(0.5) == 0
    assert logit(0.7) == pytest.approx(math.log(0.7 / 0.3))
    assert (logit(0), logit(1)) == (-math.inf, math.inf)


def test_lnet_moves_the_landmarks_in_the_frame_of_the_aligned_crop(engine: NativeEngine, pyramid: Pyramid) -> None:
    rotated = np.array(FACE_LANDMARKS) @ [[0.8, 0.6], [-0.6, 0.8]]
    faces = np.stack([FACE_LANDMARKS, rotated]).astype(np.float32)
    (found,) = run(engine, [run_lnet(engine.weights, pyramid, faces)])
    architecture = engine.weights["lnet"].architecture
    for before, after in zip(faces, found, strict=True):
        matrix = similarity_transforms(_native.snap(before)[None], landmark_template(architecture))
        outputs = engine.classify_aligned_crops("lnet", pyramid, matrix)[0, 6:].reshape(5, 2)
        in_crop = after @ matrix[0, :, :2].T + matrix[0, :, 2]
        np.testing.assert_allclose(in_crop, outputs * architecture.window, atol=1e-3)


def test_landmarks_that_no_crop_can_be_aligned_by_stay(engine: NativeEngine, pyramid: Pyramid) -> None:
    good = np.asarray(FACE_LANDMARKS, np.float32)
    others = [np.full((5, 2), 7.0), good * 1e7, np.full((5, 2), np.inf), good / 500, good]
    faces = np.stack(others).astype(np.float32)
    (found,) = run(engine, [run_lnet(engine.weights, pyramid, faces)])
    np.testing.assert_array_equal(found[:4], faces[:4])
    assert np.isfinite(found[4]).all()
    assert not np.array_equal(found[4], faces[4])
    (nothing,) = run(engine, [run_lnet(engine.weights, pyramid, faces[:0])])
    assert nothing.shape == (0, 5, 2)
