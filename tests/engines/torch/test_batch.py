"""Several images together: the same faces as one by one, in few large steps and bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cascade.detect import Detector
from cascade.engines.base import BatchEngine, ClassifyCrops, DenseScan, StageGenerator, run
from cascade.engines.native import NativeEngine
from cascade.engines.torch import canvas as torch_canvas
from cascade.engines.torch import engine as module
from cascade.engines.torch.engine import TorchEngine
from cascade.faces import Faces
from cascade.imaging.pyramid import Pyramid
from cascade.imaging.reading import ImageError
from cascade.models.detector import DetectorWeights, load_detector
from tests.engines.torch.cases import for_both_families, noise, on_every_device
from tests.photos import portrait

pytestmark = pytest.mark.usefixtures("one_look")

Weights = Callable[[str], DetectorWeights]


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Path]) -> Weights:
    return lambda family: load_detector(random_weights(family))


def photos() -> list[np.ndarray]:
    """Of several sizes, three of them equal, one blank and two without any level."""
    photo = portrait()
    return [
        photo[:300, :400],
        photo[50:250, 100:420],
        photo[100:400, 50:450],
        np.zeros((40, 60, 3), np.uint8),
        photo[:300, :400][:, ::-1],
        np.zeros((1, 1, 3), np.uint8),
        photo[::2, ::2],
        noise(5, 300),
    ]


def assert_equal(found: list[Faces], expected: list[Faces], pixels: float = 1e-4, score: float = 1e-4) -> None:
    """But for rounding."""
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=pixels)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=score)
        apart = np.abs(one.landmarks - other.landmarks).max(axis=(1, 2), initial=0)
        # landmarks are snapped to sixteenths before L-Net sees them: rounding may take one to the next
        assert apart.max(initial=0) <= max(pixels, 1 / 16) and (apart > pixels).sum() <= len(one) / 10


# Results


@on_every_device
@for_both_families
def test_a_batch_is_its_images_one_by_one(weights: Weights, family: str, device: str) -> None:
    detector = Detector(engine="torch", weights=weights(family), device=device)
    expected = [detector.detect(photo) for photo in photos()]
    assert sum(len(faces) > 1 for faces in expected) >= 4
    # a GPU adds in another order for another number of crops; where a window then falls on the other side of the
    # sixteenth of a pixel that crops are cut at, boxes move by hundredths
    within = {} if device == "cpu" else {"pixels": 0.1, "score": 0.01}
    for batch in (photos(), tuple(photos()), iter(photos())):
        assert_equal(detector.detect_batch(batch), expected, **within)
    assert detector.detect_batch([]) == []


@pytest.mark.parametrize("rotations", [(0,), (0, 90)])
def test_an_array_that_a_generator_uses_again_is_copied(weights: Weights, rotations: tuple[int, ...]) -> None:
    detector = Detector(engine="torch", weights=weights("default"), min_face=32, rotations=rotations)
    pictures = [photo for photo in photos() if photo.shape == (300, 400, 3)]
    buffer = np.empty_like(pictures[0])

    def frames() -> Iterator[np.ndarray]:
        for picture in (*pictures, np.zeros_like(buffer)):
            buffer[:] = picture
            yield buffer

    expected = [*(detector.detect(picture) for picture in pictures), detector.detect(np.zeros_like(buffer))]
    assert len({len(faces) for faces in expected}) > 1
    assert_equal(detector.detect_batch(frames()), expected)
    read = (detector.read(frame) for frame in frames())
    assert_equal(detector.detect_batch(read), expected)


def test_results_do_not_depend_on_who_else_is_in_the_batch(weights: Weights) -> None:
    detector = Detector(engine="torch", weights=weights("default"), min_face=32)
    expected = detector.detect_batch(photos())
    assert_equal(detector.detect_batch(photos()[::-1])[::-1], expected)
    assert_equal(detector.detect_batch([photos()[0]] * 3), [expected[0]] * 3)


@pytest.mark.parametrize("bounds", [(1, 1 << 23, 1), (3, 1 << 23, 20_000), (16, 200_000, 300_000)])
def test_the_bounds_of_memory_change_nothing(
    weights: Weights, monkeypatch: pytest.MonkeyPatch, bounds: tuple[int, int, int]
) -> None:
    detector = Detector(engine="torch", weights=weights("default"), min_face=32)
    expected = detector.detect_batch(photos())
    for name, bound in zip(("GROUP_IMAGES", "GROUP_PIXELS"), bounds[:2], strict=True):
        monkeypatch.setattr(module, name, bound)
    monkeypatch.setitem(torch_canvas.STRIP_PIXELS, "cpu", bounds[2])
    assert_equal(detector.detect_batch(photos()), expected)


def test_a_batch_of_the_native_engine_is_its_images_one_by_one(weights: Weights) -> None:
    native, other = (Detector(engine=engine, weights=weights("default")) for engine in ("native", "torch"))
    for one, two, photo in zip(native.detect_batch(photos()), other.detect_batch(photos()), photos(), strict=True):
        np.testing.assert_array_equal(one.boxes, native.detect(photo).boxes)
        np.testing.assert_allclose(two.boxes, one.boxes, rtol=0, atol=1e-3)


def test_an_image_that_cannot_be_used_is_named(weights: Weights) -> None:
    with pytest.raises(ImageError, match=r"images\[1\]: .*no/such/file\.jpg"):
        Detector(engine="torch", weights=weights("default")).detect_batch([portrait(), "no/such/file.jpg"])


def test_images_that_cannot_be_used_keep_their_places(weights: Weights) -> None:
    detector = Detector(engine="torch", weights=weights("default"))
    batch = ["no/such/file.jpg", *photos()[:2], b"no photo", photos()[2]]
    found = detector.detect_batch(batch, on_error="return")
    assert [getattr(each, "index", None) for each in found] == [0, None, None, 3, None]
    assert_equal([found[1], found[2], found[4]], detector.detect_batch(photos()[:3]))


# Steps


def test_each_network_is_asked_once_for_a_group(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(weights("default"))
    asked: list[tuple[str, int]] = []
    scan, classify, networks = engine.dense_scan_pyramids, engine.classify_crops_of_pyramids, dict(engine._networks)
    inputs: list[int] = []

    def scanning(pyramids: list[Any], thresholds: list[list[float]]) -> list[list[np.ndarray]]:
        asked.append(("pnet", len(pyramids)))
        return scan(pyramids, thresholds)

    def classifying(stage: Any, pyramids: list[Pyramid], regions: list[np.ndarray]) -> list[np.ndarray]:
        asked.append((stage, len(pyramids)))
        return classify(stage, pyramids, regions)

    def running(pixels: torch.Tensor) -> torch.Tensor:
        inputs.append(len(pixels))
        return networks["pnet"](pixels)

    monkeypatch.setattr(engine, "dense_scan_pyramids", scanning)
    monkeypatch.setattr(engine, "classify_crops_of_pyramids", classifying)
    engine._networks["pnet"] = running
    alike = [portrait()[:200, :300], portrait()[100:300, 150:450], portrait()[200:400, :300]]
    detector = Detector(engine=engine)
    detector.detect_batch(alike)
    assert asked == [("pnet", 3), ("rnet", 3), ("onet", 3), ("onet", 3), ("lnet", 3)]  # O-Net looks twice
    assert inputs == [3]  # all levels of photos of equal size together


def test_groups_are_bounded_by_images_and_by_pixels(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_IMAGES", 3)
    monkeypatch.setattr(module, "GROUP_PIXELS", 100)
    engine, taken = TorchEngine(weights("default")), []

    def images(*sides: int) -> Iterator[np.ndarray]:
        for side in sides:
            taken.append(side)
            yield np.zeros((side, side, 3), np.uint8)

    def sides(*given: int) -> list[list[int]]:
        return [[len(image) for image in group] for group in engine.groups(images(*given))]

    assert sides(1, 1, 1, 1, 1, 1, 1) == [[1, 1, 1], [1, 1, 1], [1]]
    assert sides(8, 6, 8, 7) == [[8, 6], [8], [7]]
    assert sides(50, 1, 50) == [[50], [1], [50]]
    assert sides() == []
    taken.clear()
    next(engine.groups(images(*[1] * 100)))
    assert len(taken) == 4  # no more are read than a group needs, and the first of the next


def test_generators_are_advanced_side_by_side(weights: Weights) -> None:
    """By any engine, also by one that is not a BatchEngine."""
    log: list[str] = []

    class Answering(NativeEngine):
        def classify_crops(self, stage: Any, pyramid: Pyramid, boxes: np.ndarray) -> np.ndarray:
            log.append(f"{stage} {boxes[0, 0]:g}")
            return boxes * 2

    def steps(name: int) -> StageGenerator[float]:
        first = yield ClassifyCrops("rnet", Pyramid([], np.ones((1, 2))), np.full((1, 4), float(name)))
        second = yield ClassifyCrops("onet", Pyramid([], np.ones((1, 2))), first)
        return float(second[0, 0])

    engine = Answering(weights("default"))
    assert run(engine, [steps(1), steps(2)]) == [4, 8]
    assert log == ["rnet 1", "rnet 2", "onet 2", "onet 4"]
    assert run(engine, []) == []


def test_generators_with_different_requests_are_refused(weights: Weights) -> None:
    def steps(stage: Any) -> StageGenerator[None]:
        yield ClassifyCrops(stage, Pyramid([], np.ones((1, 2))), np.empty((0, 4)))

    def scanning() -> StageGenerator[None]:
        yield DenseScan(Pyramid([], np.ones((1, 2))), [0.0])

    engine = TorchEngine(weights("default"))
    assert isinstance(engine, BatchEngine)
    for several in ([steps("rnet"), steps("onet")], [steps("rnet"), scanning()]):
        with pytest.raises(ValueError, match=r"unpack|both kinds"):
            run(engine, several)


# Engines made before


@pytest.mark.parametrize("kind", [NativeEngine, TorchEngine])
def test_a_detector_takes_an_engine_with_its_weights(weights: Weights, kind: type[Any]) -> None:
    engine = kind(weights("default"))
    detector = Detector(engine=engine)
    assert detector.engine is engine
    assert detector.weights is engine.weights
    expected = Detector(engine="native" if kind is NativeEngine else "torch", weights=weights("default"))
    assert_equal([detector.detect(portrait())], [expected.detect(portrait())])
    assert_equal(
        [Detector(engine=engine, weights=weights("default")).detect(portrait())], [detector.detect(portrait())]
    )


def test_the_threads_are_those_of_the_engine(weights: Weights) -> None:
    assert Detector(engine=NativeEngine(weights("default"), threads=3)).threads == 3


@pytest.mark.parametrize("kind", [NativeEngine, TorchEngine])
def test_settings_that_contradict_an_engine_are_named(
    weights: Weights, random_weights: Callable[[str], Path], kind: type[Any]
) -> None:
    engine = kind(weights("default"))
    with pytest.raises(ValueError, match=r"^device: the engine that is given has its own, got 'cpu'"):
        Detector(engine=engine, device="cpu")
    with pytest.raises(ValueError, match=r"^threads: the engine that is given has its own, got 2"):
        Detector(engine=engine, threads=2)
    for other in (weights("paper"), random_weights("paper")):
        with pytest.raises(ValueError, match=r"^weights: the engine that is given runs 'default.*', got 'paper"):
            Detector(engine=engine, weights=other)


@pytest.mark.parametrize("engine", [TorchEngine, NativeEngine, object(), 3])
def test_what_is_no_engine_is_named(weights: Weights, engine: Any) -> None:
    with pytest.raises(ValueError, match=r"^engine: expected 'native', 'torch' or 'onnx', got"):
        Detector(engine=engine, weights=weights("default"))
