"""The stages of the detector one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cascade import _native, stages
from cascade.engines.base import run
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
    np.testing.assert_array_equal(np.unique(np.rint(gains)), [0, 2])
    np.testing.assert_allclose(gains, np.rint(gains), atol=1e-5)
    assert 0 < (gains > 1).mean() < 0.5


@pytest.mark.parametrize(
    ("corner", "side", "gain"), [((60, 40), 250, 0.7), ((60, 40), 100, 0.0), ((-20, 40), 100, 0.75)]
)
def test_windows_beyond_the_border_and_close_ups_need_less_in_rnet_and_onet(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, corner: tuple[int, int], side: int, gain: float
) -> None:
    image = np.ascontiguousarray(portrait()[:400, :400])
    pyramid = engine.pyramid(image, level_sizes(400, 400, 40, None, 12, 0.709))
    box = [*corner, corner[0] + side, corner[1] + side]
    candidates = Candidates(np.array([box], np.float32), np.array([9], np.float32))
    for stage in (run_rnet, run_onet):
        (found,) = run(engine, [stage(engine.weights, pyramid, candidates, 0.0)])
        with monkeypatch.context() as patch:
            patch.setattr(stages, "CROP_FRAMING", NO_FRAMING)
            (plain,) = run(engine, [stage(engine.weights, pyramid, candidates, 0.0)])
        logits = [each.logits if isinstance(each, Candidates) else each[1] for each in (found, plain)]
        np.testing.assert_allclose(logits[0] - logits[1], gain, atol=1e-5)


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
