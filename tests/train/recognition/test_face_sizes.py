"""Error rates by face size: counted, and stated in a weight file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cascade.datasets import DatasetError
from cascade.imaging.alignment import AlignError
from cascade.models.recognizer import load_recognizer, restate_recognizer
from cascade.recognize import Recognizer
from tests.photos import portrait
from tests.random_recognizer import DIMENSION, FIGURES, save_random_recognizer
from train.recognition.face_sizes import Rates, embed_by_size, held_out_photos, measure_face_sizes, rates_by_size


def test_pairs_are_counted():
    rows = np.array([[1, 0], [1, 0], [0, 1], [0.8, 0.6], [np.nan, np.nan]], np.float32)
    persons = np.array([0, 0, 1, 1, 1])
    [rates] = rates_by_size(persons, {20: rows}, 0.7)
    # of one person: (0, 1) accepted, (2, 3) not; of two: (0, 3) and (1, 3) accepted, (0, 2) and (1, 2) not
    assert rates == Rates(20, 4, 4, 2, 2, 1)
    assert rates.to_dict() == {"face_size": 20, "false_accept_rate": 0.5, "true_accept_rate": 0.5, "pairs": 4}
    assert Rates(20, 4, 4, 0, 2, 1).to_dict()["false_accept_rate"] == 0.25  # fewer cannot be measured
    with pytest.raises(ValueError, match="20 pixels"):
        rates_by_size(persons[:2], {20: rows[:2]}, 0.7)


@pytest.fixture
def people(tmp_path):
    """Photos of two people, and a list of them."""
    for name, brightness in (("Ann", (1, 0.9)), ("Bob", (0.5, 0.6)), ("Eve", (0.7,))):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number, factor in enumerate(brightness):
            picture = (portrait()[:256, 94:350] * factor).astype(np.uint8)  # the face is in the centre
            Image.fromarray(picture).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "people.txt").write_text("Ann\nBob\n")
    return tmp_path


def test_only_people_held_out_are_measured(people):
    photos = held_out_photos(people / "images", people / "people.txt")
    assert [photo.person for photo in photos] == ["Ann", "Ann", "Bob", "Bob"]
    (people / "people.txt").write_text("Ann\nZoë\n")
    with pytest.raises(DatasetError, match="Zoë"):
        held_out_photos(people / "images", people / "people.txt")


def test_faces_are_shrunk_and_never_enlarged(people):
    photos = held_out_photos(people / "images", people / "people.txt")
    recognizer = Recognizer(save_random_recognizer(people / "small.safetensors"), threads=1)
    persons, found = embed_by_size(photos, recognizer, (30, 60, 500))
    assert persons.tolist() == [0, 0, 1, 1]
    assert {size: rows.shape for size, rows in found.items()} == dict.fromkeys((30, 60, 500), (4, DIMENSION))
    assert np.isfinite(found[60]).all()
    assert np.isnan(found[500]).all()
    assert not np.array_equal(found[30], found[60])


def test_photos_that_cannot_be_used_do_not_take_the_others_along(people, monkeypatch, capsys):
    photos = held_out_photos(people / "images", people / "people.txt")
    photos[0].path.write_bytes(b"broken")
    recognizer = Recognizer(save_random_recognizer(people / "small.safetensors"), threads=1)
    persons, found = embed_by_size(photos, recognizer, (60,))
    assert persons.tolist() == [0, 1, 1]
    assert np.isfinite(found[60]).all()
    assert "left out: " in capsys.readouterr().out

    def refuse(*_):
        raise AlignError("landmarks[0]: points: expected points apart from each other")

    monkeypatch.setattr(Recognizer, "embed", refuse)
    assert np.isnan(embed_by_size(photos, recognizer, (60,))[1][60]).all()


def test_a_weight_file_states_the_rates(people, monkeypatch):
    monkeypatch.setattr("train.recognition.face_sizes.SIZES", (30, 60))
    monkeypatch.setattr(embed_by_size, "__defaults__", ((30, 60),))
    weights = save_random_recognizer(people / "small.safetensors")
    (people / "small.md").write_text("# Small\n\n- **Licence**: none\n- **SHA-256**: `old`\n")
    before = load_recognizer(weights)
    measure_face_sizes(people / "images", people / "people.txt", weights, 1)
    after = load_recognizer(weights)
    assert after.earlier_sha256 == (before.sha256,)
    assert after.sha256 != before.sha256
    assert all(np.array_equal(after.tensors[name], array) for name, array in before.tensors.items())
    point = Recognizer(weights).operating_point
    assert (point.threshold, point.false_accept_rate) == (FIGURES["threshold"], FIGURES["false_accept_rate"])
    assert [each.face_size for each in point.by_face_size] == [30, 60]
    card = (people / "small.md").read_text()
    assert f"- **SHA-256**: `{after.sha256}`\n" in card
    assert card.count("SHA-256") == 1
    assert "- **Small faces**: false accepts" in card
    Recognizer(weights).embed_crops(np.zeros((0, 112, 112, 3), np.uint8))


def test_restating_keeps_all_earlier_hashes(tmp_path):
    path = save_random_recognizer(tmp_path / "small.safetensors")
    first = load_recognizer(path).sha256
    second = restate_recognizer(path, {"licence": "other"})
    third = restate_recognizer(path, {"licence": "another"})
    loaded = load_recognizer(path)
    assert (loaded.sha256, loaded.earlier_sha256) == (third, (first, second))
    assert loaded.metadata["licence"] == "another"
