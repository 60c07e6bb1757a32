"""Detection in JPEG files read at a fraction of their size."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.reading import ImageError
from tests.imaging.pictures import exif, oriented
from tests.photos import PORTRAIT, portrait

SIZE = 1537  # no multiple of a reduction
FACE_SIDE = 312


def large_portrait(orientation: int = 1) -> bytes:
    large = np.asarray(Image.fromarray(portrait()).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    buffer = io.BytesIO()
    oriented(large, orientation).save(buffer, "JPEG", quality=92, exif=exif(orientation))
    return buffer.getvalue()


def assert_alike(found: Faces, expected: Faces, tolerance: float) -> None:
    assert len(found) == len(expected) == 1
    assert np.abs(found.boxes - expected.boxes).max() < tolerance
    assert np.abs(found.landmarks - expected.landmarks).max() < tolerance


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize(("min_face", "reduction"), [(80, 2), (160, 4)])
def test_the_face_is_where_it_is_at_full_size(orientation: int, min_face: float, reduction: int) -> None:
    data = large_portrait(orientation)
    reduced = Detector(min_face=min_face, threads=1, decode="reduced")
    assert reduced.read(data).frame.reduction == reduction
    assert_alike(reduced.detect(data), Detector(min_face=min_face, threads=1).detect(data), 0.05 * FACE_SIDE)


def test_rotations_and_batches_are_in_pixels_of_the_photo() -> None:
    data = large_portrait()
    detector = Detector(min_face=160, threads=1, decode="reduced", rotations=(0, 90))
    once = detector.detect(data)
    batch = detector.detect_batch([data, portrait(), b"no photo", detector.read(data), PORTRAIT], on_error="return")
    assert np.array_equal(batch[0].boxes, once.boxes)
    assert np.array_equal(batch[3].landmarks, once.landmarks)
    assert_alike(once, Detector(min_face=160, threads=1).detect(data), 0.05 * FACE_SIDE)
    assert isinstance(batch[2], ImageError)
    assert batch[2].index == 2
    for found, alone in ((batch[1], portrait()), (batch[4], PORTRAIT)):
        assert found.to_dicts() == detector.detect(alone).to_dicts()


def test_the_torch_engine_takes_photos_of_several_reductions_together() -> None:
    pytest.importorskip("torch")
    data = large_portrait()
    detector = Detector(min_face=160, engine="torch", decode="reduced")
    array = np.asarray(Image.open(io.BytesIO(data)))
    found = detector.detect_batch([data, array])
    native = Detector(min_face=160, threads=1, precision="float32", decode="reduced")
    assert_alike(found[0], native.detect(data), 0.5)
    assert_alike(found[1], native.detect(array), 0.5)


def test_boxes_are_clipped_to_the_photo() -> None:
    cut = Image.fromarray(portrait()[60:180, 176:281]).resize((843, 963))  # a close-up
    buffer = io.BytesIO()
    cut.save(buffer, "JPEG", quality=92)
    faces = Detector(min_face=320, threads=1, decode="reduced", thresholds=(0.2, 0.1, 0.1)).detect(buffer.getvalue())
    assert len(faces)
    assert (faces.boxes >= 0).all()
    assert (faces.boxes[:, ::2] <= 843).all()
    assert (faces.boxes[:, 1::2] <= 963).all()


def test_small_faces_and_arrays_are_searched_at_full_size() -> None:
    data = large_portrait()
    detector = Detector(min_face=79, threads=1, decode="reduced")
    full = Detector(min_face=79, threads=1)
    assert np.array_equal(detector.detect(data).boxes, full.detect(data).boxes)
    large = Detector(min_face=80, threads=1, decode="reduced")
    assert np.array_equal(large.detect(portrait()).boxes, Detector(min_face=80, threads=1).detect(portrait()).boxes)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"^decode: expected 'full' or 'reduced', got 'half'"):
        Detector(decode="half")  # type: ignore[arg-type]


def test_it_is_pickled_with_its_setting() -> None:
    again = pickle.loads(pickle.dumps(Detector(min_face=80, threads=1, decode="reduced")))
    assert again.decode == "reduced"
