"""Photos to packed faces: which face of a photo, what is left out, and the folder of arrays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cascade.datasets import PersonPhoto
from cascade.faces import Faces
from cascade.imaging.alignment import align
from tests.photos import portrait, portrait_faces
from tests.train.drawn_faces import blank, save_photo
from tests.train.packed_faces import packed
from train.recognition.crops import SIDE, FaceCrops, load_crops, save_crops
from train.recognition.pack import _Job, faces_of, largest_over_centre, one_face, pack
from train.recognition.sources import FaceSource


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of two photos each with a photo of nobody and a damaged one, and photos without names."""
    folder = tmp_path_factory.mktemp("photos")
    astronaut = portrait()[:256, 96:352]
    save_photo(folder / "people/Ann/1.png", astronaut)
    save_photo(folder / "people/Ann/2.png", astronaut // 2)
    save_photo(folder / "people/Bob/1.png", astronaut[:, ::-1])
    save_photo(folder / "people/Bob/2.png", cv2.resize(astronaut, (200, 200)))
    save_photo(folder / "people/Bob/3.png", blank(96, 96, np.random.default_rng(0)))
    (folder / "people/Bob/4.png").write_bytes((folder / "people/Bob/1.png").read_bytes()[:500])
    save_photo(folder / "photos/two.png", np.concatenate([astronaut, astronaut], axis=1))
    (folder / "labels.csv").write_text("image,person,age\nAnn/1.png,Ann,41\nBob/1.png,,7\nBob/7.png,Bob,7\n")
    return folder


@pytest.fixture(scope="module")
def faces(root: Path) -> FaceCrops:
    sources = (
        FaceSource("identities", root / "people", about="people"),
        FaceSource("csv", root / "people", labels=root / "labels.csv"),
        FaceSource("photos", root / "photos"),
    )
    return pack(sources, workers=1)


def test_every_face_has_its_labels(faces):
    assert faces.crops.shape == (8, SIDE, SIDE, 3)
    # "Ann" of the second source need not be the one of the first
    assert faces.persons.tolist() == [0, 0, 1, 1, 2, -1, -1, -1]
    np.testing.assert_array_equal(faces.ages, [*[np.nan] * 4, 41, 7, np.nan, np.nan])
    assert faces.sources.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert (faces.persons.dtype, faces.ages.dtype, faces.sources.dtype) == (np.int32, np.float32, np.uint8)


def test_what_is_told_of_them(faces):
    assert faces.meta["kinds"] == ["identities", "csv", "photos"]
    assert faces.meta["sources"] == ["people", "csv", "photos"]
    assert faces.meta["persons"] == ["Ann", "Bob", "Ann"]
    assert [count["faces"] for count in faces.meta["counts"]] == [4, 2, 2]
    assert [count["photos_without_face"] for count in faces.meta["counts"]] == [1, 0, 0]
    damaged, missing = faces.meta["problems"]
    assert damaged.startswith("Bob/4.png: ")
    assert missing.startswith("Bob/7.png: ")


def test_crops_are_aligned(faces):
    expected = align(portrait(), portrait_faces().landmarks)[0].astype(float)
    for row in (0, 4, 6, 7):
        assert np.abs(faces.crops[row] - expected).mean() < 30  # the landmarks were seen by eye
    mirrored = faces.crops[2][:, ::-1].astype(float)
    assert np.abs(mirrored - expected).mean() < 30 < np.abs(faces.crops[2] - expected).mean()


def test_a_limit_takes_the_first_photos(root):
    made = pack([FaceSource("identities", root / "people")], workers=1, limit=1)
    assert made.meta["persons"] == ["Ann"]
    assert len(made) == 1
    assert len(pack([], workers=1)) == 0


def test_one_photo(root):
    def found(name: str, one: bool, min_face: float = 20.0) -> np.ndarray | str:
        cut = faces_of(_Job(PersonPhoto(root / name, name, None), min_face, "identities" if one else "photos"))
        if isinstance(cut, str):
            return cut
        crops, yaws = cut
        assert yaws.shape == crops.shape[:1] and yaws.dtype == np.float32 and (np.abs(yaws) < 30).all()
        return crops

    assert found("people/Ann/1.png", True).shape == (1, SIDE, SIDE, 3)
    assert found("photos/two.png", False).shape == (2, SIDE, SIDE, 3)
    assert found("photos/two.png", True).shape == (0, SIDE, SIDE, 3)  # neither is over the centre
    assert found("people/Bob/3.png", True).shape == (0, SIDE, SIDE, 3)
    assert found("people/Ann/1.png", True, 400.0).shape == (0, SIDE, SIDE, 3)
    assert "Bob/4.png" in found("people/Bob/4.png", True)
    assert "none.png" in found("none.png", True)


def test_the_only_face_may_be_anywhere_in_photos_as_taken():
    image = np.zeros((100, 100, 3), np.uint8)
    aside = of_boxes((0, 0, 30, 30))
    assert len(one_face(aside, image, "identities")) == 0
    assert len(one_face(aside, image, "celeba_people")) == 1
    several = of_boxes((0, 0, 30, 30), (40, 40, 60, 60), (70, 70, 99, 99))
    assert one_face(several, image, "celeba_people").boxes.tolist() == [[40, 40, 60, 60]]


def of_boxes(*boxes: tuple[float, float, float, float]) -> Faces:
    points = np.zeros((len(boxes), 5, 2)) + np.arange(5)[:, None]
    return Faces(np.reshape(boxes, (-1, 4)), np.linspace(0.9, 0.5, len(boxes)), points)


def test_the_largest_face_over_the_centre():
    corner, small, large, beside = (0, 0, 40, 40), (45, 45, 60, 60), (40, 40, 70, 75), (51, 0, 100, 100)
    assert largest_over_centre(of_boxes(corner, small, large, beside), 100, 100).boxes.tolist() == [[40, 40, 70, 75]]
    assert len(largest_over_centre(of_boxes(corner, beside), 100, 100)) == 0
    assert len(largest_over_centre(of_boxes(), 100, 100)) == 0
    wide = of_boxes((90, 0, 110, 50))  # a photo twice as wide as high
    assert len(largest_over_centre(wide, 200, 100)) == 0
    assert len(largest_over_centre(wide, 200, 99)) == 1


# --------------------------------------------------------------------------------------------------
# the folder


def test_a_folder_holds_what_was_saved(tmp_path):
    made = packed(teacher=False)
    save_crops(tmp_path / "deep/faces", made)
    read = load_crops(tmp_path / "deep/faces")
    assert isinstance(read.crops, np.memmap)
    for name in ("crops", "persons", "ages", "sources"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
        assert getattr(read, name).dtype == getattr(made, name).dtype
    assert read.meta == made.meta
    assert len(read) == len(made)
    assert (read.embeddings, read.teacher, read.yaws) == (None, None, None)


def test_yaws_are_known_where_they_were_saved(tmp_path):
    made = packed()
    yaws = np.linspace(-90, 90, len(made), dtype=np.float32)
    save_crops(tmp_path, replace(made, yaws=yaws))
    np.testing.assert_array_equal(load_crops(tmp_path).yaws, yaws)
    save_crops(tmp_path, made)
    assert load_crops(tmp_path).yaws is None
    with pytest.raises(ValueError, match="arrays do not fit"):
        replace(made, yaws=yaws[1:])


def test_a_teachers_embeddings_count_when_they_are_finished(tmp_path):
    made = packed()
    save_crops(tmp_path, made)
    np.save(tmp_path / "embeddings.npy", made.embeddings)
    assert load_crops(tmp_path).embeddings is None
    (tmp_path / "teacher.json").write_text(json.dumps(made.teacher))
    read = load_crops(tmp_path)
    np.testing.assert_array_equal(read.embeddings, made.embeddings)
    assert read.teacher == made.teacher


def test_embeddings_of_earlier_faces_do_not_stay(tmp_path):
    made = packed()
    save_crops(tmp_path, made)
    np.save(tmp_path / "embeddings.npy", made.embeddings)
    (tmp_path / "teacher.json").write_text(json.dumps(made.teacher))
    save_crops(tmp_path, replace(made, crops=made.crops[::-1]))
    assert load_crops(tmp_path).embeddings is None


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_crops(tmp_path)
    made = packed(teacher=False)
    save_crops(tmp_path, made)
    np.save(tmp_path / "ages.npy", made.ages[:-1])
    with pytest.raises(ValueError, match="arrays do not fit"):
        load_crops(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"crops": np.zeros((3, SIDE, SIDE, 3), np.uint8)},
        {"persons": np.zeros(2, np.int32)},
        {"embeddings": np.zeros((5, 8), np.float32)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match="packed faces: arrays do not fit"):
        replace(packed(), **changes)


def test_crops_of_another_kind_are_refused():
    made = packed()
    for crops in (made.crops[:, :96], made.crops.astype(np.float32), made.crops[..., :1]):
        with pytest.raises(ValueError, match="arrays do not fit"):
            replace(made, crops=crops)
