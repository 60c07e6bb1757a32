"""`Detector.detect_batch`: what it takes for several images, and what becomes of those that cannot be used."""

from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade import Detector, Faces, ImageError
from tests.photos import PORTRAIT, portrait


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector(min_face=60, threads=request.param)


class Tensor:
    """What has a shape and becomes an array, as torch's tensors."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.array

    def __iter__(self) -> Any:
        return iter(self.array)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (portrait(), r"one array of shape \(512, 512, 3\)"),
        (portrait()[:, :, 0], r"one array of shape \(512, 512\)"),
        (portrait()[:, :, :1], r"one array of shape \(512, 512, 1\)"),
        (portrait().transpose(2, 0, 1), r"one array of shape \(3, 512, 512\)"),
        (Tensor(portrait()), r"one array of shape \(512, 512, 3\)"),
        (np.array(None), r"one array of shape \(\)"),
        (np.zeros(9, np.uint8), r"one array of shape \(9,\)"),
        ("/", "one path"),
        (PORTRAIT, "one path"),
        (PORTRAIT.read_bytes(), "the bytes of one"),
        (memoryview(b"abc"), "the bytes of one"),
        (io.BytesIO(PORTRAIT.read_bytes()), "one file"),
        (Image.fromarray(portrait()), "Image"),
        ({"a": portrait()}, "dict"),
        (None, "NoneType"),
        (7, "int"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip", "return"])
def test_one_image_is_no_batch(one: Any, words: str, on_error: Any, detector: Detector) -> None:
    with pytest.raises(TypeError, match=f"images: expected several images, as a list, got {words}"):
        detector.detect_batch(one, on_error=on_error)


def test_several_images_in_any_form(detector: Detector) -> None:
    expected = detector.detect(portrait()).to_dicts()
    objects = np.empty(2, object)
    objects[:] = [portrait(), PORTRAIT]
    for batch, images in (
        (np.stack([portrait()] * 2), 2),
        (objects, 2),
        (np.array([str(PORTRAIT)]), 1),
        ((path for path in [PORTRAIT] * 2), 2),
        ({PORTRAIT: 1, "": 2}.keys(), 1),
    ):
        found = detector.detect_batch(batch, on_error="skip")
        assert [faces.to_dicts() for faces in found] == [expected] * images
    assert len(detector.detect_batch(np.zeros((5, 64, 80), np.uint8))) == 5  # gray images


def test_an_error_has_the_place_of_its_image(detector: Detector) -> None:
    with pytest.raises(
        ImageError, match=r"^images\[2\]: expected an image file, but there is none at 'no\.jpg'"
    ) as got:
        detector.detect_batch([PORTRAIT, portrait(), "no.jpg", None])
    assert got.value.index == 2
    with pytest.raises(ImageError, match=r"^image: ") as alone:
        detector.detect("no.jpg")
    assert alone.value.index is None


@pytest.mark.parametrize(("rotations", "threads"), [((0,), 1), ((0, 90), 1), ((0, 90), 3)])
def test_bad_images_do_not_take_the_others_along(rotations: Any, threads: int, tmp_path: Path) -> None:
    detector = Detector(min_face=60, threads=threads, rotations=rotations)
    (tmp_path / "empty.jpg").touch()
    batch = [None, PORTRAIT, tmp_path / "empty.jpg", b"no photo", portrait()[:300], np.zeros((0, 5, 3))]
    good = [detector.detect(image).to_dicts() for image in (PORTRAIT, portrait()[:300])]
    assert [faces.to_dicts() for faces in detector.detect_batch(batch, on_error="skip")] == good
    found = detector.detect_batch(batch, on_error="return")
    assert [each.to_dicts() for each in found if isinstance(each, Faces)] == good
    errors = {at: each for at, each in enumerate(found) if isinstance(each, ImageError)}
    assert list(errors) == [0, 2, 3, 5]
    for at, error in errors.items():
        assert error.index == at
        assert str(error).startswith(f"images[{at}]: expected ")


def test_a_wrong_argument_is_raised_in_any_case(detector: Detector) -> None:
    for on_error in ("raise", "skip", "return"):
        with pytest.raises(ImageError, match=r"^color: "):
            detector.detect_batch([PORTRAIT], color="gbr", on_error=on_error)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="on_error: expected 'raise', 'skip' or 'return', got 'ignore'"):
        detector.detect_batch([], on_error="ignore")  # type: ignore[call-overload]


def test_a_failing_source_of_images_raises_its_own_error(detector: Detector) -> None:
    def images() -> Any:
        yield PORTRAIT
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        detector.detect_batch(images(), on_error="skip")


def test_threads_that_take_images_of_their_own_give_the_same_results() -> None:
    batch = [portrait()[top:, left:] for top in (0, 20, 40) for left in (0, 30, 60)]
    one = Detector(min_face=60, threads=1, precision="float32")
    several = Detector(min_face=60, threads=3, precision="float32")
    expected = [one.detect(image) for image in batch]
    for _ in range(2):  # again with the memory of the first time
        for found, alone in zip(several.detect_batch(batch), expected, strict=True):
            assert np.array_equal(found.boxes, alone.boxes)
            assert np.array_equal(found.scores, alone.scores)
            assert np.array_equal(found.landmarks, alone.landmarks)
    assert 1 <= len(several.engine._single) <= 3  # type: ignore[union-attr]


def test_two_batches_at_once_and_a_pickled_detector() -> None:
    detector = Detector(min_face=60, threads=2)
    expected = detector.detect(portrait()).to_dicts()
    with ThreadPoolExecutor(2) as callers:
        batches = list(callers.map(detector.detect_batch, [[portrait()] * 5] * 2))
    batches.append(pickle.loads(pickle.dumps(detector)).detect_batch([portrait()] * 2))
    assert [[faces.to_dicts() for faces in batch] for batch in batches] == [[expected] * n for n in (5, 5, 2)]


def test_an_array_that_a_generator_uses_again_is_read_in_time() -> None:
    detector = Detector(min_face=60, threads=2)
    buffer = np.empty_like(portrait())

    def frames() -> Any:
        for picture in (portrait(), np.zeros_like(portrait()), portrait()):
            buffer[:] = picture
            yield buffer

    assert [len(faces) for faces in detector.detect_batch(frames())] == [1, 0, 1]
