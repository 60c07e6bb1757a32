"""A gallery that several programs change, and copies of one."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest

from cascade.gallery import EmbeddingModel, Gallery, GalleryError, Match, unlike
from tests.cli.helpers import posix_only
from tests.galleries import MODEL, OTHER, same, small, unit

ADD = """
import sys
import numpy as np
from cascade.gallery import EmbeddingModel, Gallery
model = EmbeddingModel("small", "ab" * 32, 4)
for number in range(5):
    with Gallery.changing(sys.argv[1], model, create=True) as gallery:
        gallery.add(f"{sys.argv[2]} {number}", np.eye(4)[number % 4])
"""


def test_programs_that_add_at_once_lose_nobody(tmp_path):
    argv = [sys.executable, "-c", ADD, str(tmp_path / "g")]
    processes = [subprocess.Popen([*argv, name]) for name in ("Ann", "Bob", "Zoë", "Eve")]
    assert [process.wait() for process in processes] == [0] * 4
    expected = {f"{name} {number}" for name in ("Ann", "Bob", "Zoë", "Eve") for number in range(5)}
    assert set(Gallery.load(tmp_path / "g").names) == expected
    assert os.listdir(tmp_path) == ["g"]


def test_what_others_changed_is_not_undone(tmp_path):
    path = tmp_path / "g"
    small().save(path)
    mine = Gallery.load(path)
    with Gallery.changing(path) as theirs:
        theirs.remove("Bob")
    mine.add("Eve", unit([1, 1, 1, 1]))
    with pytest.raises(GalleryError, match="somebody else has changed the gallery since it was loaded"):
        mine.save(path)
    assert Gallery.load(path).names == ("Ann", "Zoë")
    mine.save(tmp_path / "other")  # another file
    path.unlink()
    with pytest.raises(GalleryError, match="somebody else has changed"):
        mine.save(path)
    assert not path.exists()  # a deleted gallery does not come back either


def test_ones_own_changes_can_be_saved_again(tmp_path):
    gallery = small()
    for name in ("Bob", "Zoë"):
        gallery.remove(name)
        gallery.save(tmp_path / "g")
    loaded = Gallery.load(tmp_path / "g")
    loaded.save(tmp_path / "g")
    loaded.add("Eve", unit([1, 1, 1, 1]))
    loaded.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g").names == ("Ann", "Eve")


def test_a_change_that_fails_changes_nothing(tmp_path):
    small().save(tmp_path / "g")
    before = (tmp_path / "g").read_bytes()

    def fail() -> None:
        with Gallery.changing(tmp_path / "g", MODEL) as gallery:
            gallery.remove("Ann")
            gallery.remove("nobody")

    with pytest.raises(GalleryError, match="nobody"):
        fail()
    assert (tmp_path / "g").read_bytes() == before
    with pytest.raises(GalleryError, match="not comparable"), Gallery.changing(tmp_path / "g", OTHER):
        pass
    with pytest.raises(GalleryError, match="No such file"), Gallery.changing(tmp_path / "none"):
        pass
    with pytest.raises(TypeError, match="model: expected"), Gallery.changing(tmp_path / "none", create=True):
        pass
    assert os.listdir(tmp_path) == ["g"]


def test_a_file_that_is_no_gallery_is_not_replaced(tmp_path):
    np.savez(tmp_path / "mine.npz", results=np.zeros(3))
    (tmp_path / "a.jpg").write_bytes(b"a photo")
    for name in ("mine.npz", "a.jpg"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(GalleryError, match="which is no gallery"):
            small().save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


@posix_only
def test_a_gallery_is_its_owners(tmp_path):
    small().save(tmp_path / "g")
    assert stat.S_IMODE((tmp_path / "g").stat().st_mode) == 0o600
    (tmp_path / "g").chmod(0o660)
    with Gallery.changing(tmp_path / "g") as gallery:
        gallery.remove("Bob")
    assert stat.S_IMODE((tmp_path / "g").stat().st_mode) == 0o660


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda gallery: pickle.loads(pickle.dumps(gallery))])
def test_copies(copied, tmp_path):
    small().save(tmp_path / "g")
    gallery = Gallery.load(tmp_path / "g")
    other = copied(gallery)
    assert same(other, gallery)
    assert other.identify(unit(np.eye(4))) == gallery.identify(unit(np.eye(4)))
    other.remove("Ann")
    assert "Ann" in gallery
    with pytest.raises(AttributeError, match="settings of a Gallery are fixed"):
        other.model = OTHER
    other.save(tmp_path / "g")
    with pytest.raises(GalleryError, match="somebody else has changed"):
        gallery.save(tmp_path / "g")  # for which its copy is somebody else
    assert Gallery.load(tmp_path / "g").names == ("Bob", "Zoë")


def test_embeddings_of_the_same_network_under_another_hash():
    gallery = small()
    gallery.check_model(EmbeddingModel("renamed", "ef" * 32, 4, earlier=(MODEL.sha256,)))
    with pytest.raises(GalleryError, match="not comparable"):
        gallery.check_model(EmbeddingModel("renamed", "ef" * 32, 4, earlier=(OTHER.sha256,)))


# --------------------------------------------------------------------------------------------------
# Search


def test_nobody_is_twice_in_a_photo():
    gallery = small()
    faces = unit([[1, 0.2, 0, 0], [1, 0, 0.1, 0], [0.5, 0, 1, 0]])
    found = gallery.identify(faces, top=3, threshold=0.3, once=True)
    assert [[match.name for match in likely] for likely in found] == [[], ["Ann"], ["Bob"]]
    assert [likely[0].name for likely in gallery.identify(faces, threshold=0.3)] == ["Ann", "Ann", "Bob"]
    best = gallery.identify(faces)[1][0]
    assert found[1] == [Match("Ann", best.similarity)]
    assert gallery.identify(faces[:1], once=True, threshold=0.3) == gallery.identify(faces[:1], threshold=0.3)
    assert gallery.identify(np.empty((0, 4)), once=True) == []


def test_everybody_is_given_to_a_face_without_a_threshold():
    found = small().identify(unit(np.ones((5, 4))), once=True)
    assert sorted(match.name for likely in found for match in likely) == ["Ann", "Bob", "Zoë"]


def test_faces_unlike_the_others():
    ann = unit([[1, 0.1, 0, 0], [1, 0, 0.1, 0], [1, -0.1, 0, 0]])
    bob = unit([[0, 0, 0, 1], [0, 0, 0.1, 1]])
    assert unlike(np.concatenate([bob[:1], ann]), 0.5).tolist() == [True, False, False, False]
    assert unlike(np.concatenate([ann, bob]), 0.5).tolist() == [False] * 3 + [True] * 2
    assert unlike(np.stack([ann[0], bob[0]]), 0.5).any()
    assert not unlike(ann, 0.5).any()
    assert unlike(ann[:1], 0.5).tolist() == [False]
    assert unlike(np.eye(4), 0.5).sum() == 3  # four people
