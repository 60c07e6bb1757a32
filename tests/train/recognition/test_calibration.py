"""Probabilities fitted to held-out people, and what quality is worth, on embeddings that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.calibration import calibration_of
from cascade.models.recognizer import load_recognizer
from cascade.quality import FaceQuality
from tests.random_recognizer import save_random_recognizer
from train.recognition import calibration, quality_curves
from train.recognition.calibration import CHILD, RATES, all_pairs, fit, reliability, thresholds
from train.recognition.cards import restate_card
from train.recognition.held_out import HeldOutFaces
from train.recognition.quality_curves import PHOTOS, REFUSED, gallery_rates, reject_curves


def made_up(people: int = 40, photos: int = 12, alike: float = 0.0, age: float = 30.0, seed: int = 0) -> HeldOutFaces:
    """People as random directions, their photos with noise; the worse the photo's quality, the more noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 16)) + alike * np.ones(16)
    persons = np.repeat(np.arange(people), photos)
    noise = rng.uniform(0.3, 2.0, len(persons))
    rows = centres[persons] + noise[:, None] * rng.normal(size=(len(persons), 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    flat = np.full(len(persons), 100.0, np.float32)
    quality = FaceQuality(flat, (1000 / noise).astype(np.float32), 0 * flat, flat / 100, 0 * flat)
    return HeldOutFaces(rows.astype(np.float32), np.full(len(persons), age, np.float32), persons, quality)


def test_every_set_counts_alike():
    pairs = all_pairs([made_up(), made_up(people=10, seed=1)])
    for kind in (pairs.same, ~pairs.same):
        assert pairs.weights[kind].sum() == pytest.approx(2)
    assert set(np.unique(pairs.fold)) == {-1, 0, 1}
    assert not pairs.children.any()


def test_children_who_are_alike_need_more_similarity():
    pairs = all_pairs([made_up(), made_up(alike=1.0, age=CHILD, seed=1)])
    children, everybody = fit(pairs, "nobody").curves
    assert -children.offset / children.slope > -everybody.offset / everybody.slope
    assert children.oldest == CHILD


def test_stated_probabilities_come_true():
    rows = reliability(all_pairs([made_up(people=120)]))
    stated, observed, counts = (np.array(each) for each in zip(*rows, strict=True))
    assert (np.diff(stated) > 0).all()
    assert np.average(np.abs(stated - observed), weights=counts) < 0.1


def test_thresholds_keep_to_their_false_accept_rates_across_sets():
    sets = [made_up(people=40), made_up(people=20, seed=1)]
    embeddings = np.concatenate([faces.embeddings for faces in sets])
    persons = np.concatenate([sets[0].persons, sets[1].persons + 40])
    first, second = np.triu_indices(len(persons), 1)
    cosines, same = (embeddings @ embeddings.T)[first, second], persons[first] == persons[second]
    found = thresholds(sets)
    for point, rate in zip(found, RATES, strict=True):
        assert (cosines[~same] >= point["threshold"]).mean() == pytest.approx(point["false_accept_rate"], abs=1e-5)
        assert point["false_accept_rate"] <= rate < 1.5 * point["false_accept_rate"]
        assert point["true_accept_rate"] == pytest.approx((cosines[same] >= point["threshold"]).mean(), abs=1e-3)
    assert [point["threshold"] for point in found] == sorted(point["threshold"] for point in found)


def test_refusing_bad_faces_helps_and_chance_does_not():
    curves = reject_curves(made_up(), 1e-2)
    assert all(len(row) == len(REFUSED) for row in curves.values())
    assert curves["sharpness"][-1] < 0.85 * curves["sharpness"][0]
    assert curves["score"][-1] < 0.85 * curves["score"][0]
    assert curves["chance"][-1] == pytest.approx(curves["chance"][0], rel=0.15)


def test_means_of_photos_find_more():
    rates = gallery_rates(made_up(), PHOTOS[1], rounds=3)
    assert set(rates) == {"best", "mean", "by quality"}
    assert rates["mean"] > rates["best"]


def test_a_weight_file_states_its_curves(tmp_path, monkeypatch):
    file = save_random_recognizer(tmp_path / "small.safetensors")
    (tmp_path / "small.md").write_text("# Recognition\n\n- **SHA-256**: `old`\n")
    sets = [made_up(), made_up(people=20, seed=1), made_up(alike=1.0, age=8, seed=2)]
    monkeypatch.setattr(calibration, "held_out_faces", lambda data, names, recognizer: sets)
    found = calibration.calibrate(tmp_path, file, tmp_path / "out")
    weights = load_recognizer(file)
    assert calibration_of(weights.metadata, file) == found
    assert (tmp_path / "out/calibration.png").stat().st_size > 5000
    header, *rows = (tmp_path / "out/thresholds.csv").read_text().splitlines()
    assert header == "false_accept_rate,threshold,true_accept_rate"
    assert len(rows) == len(RATES)
    card = (tmp_path / "small.md").read_text()
    assert "- **Probability**: cosine of probability one half" in card
    assert card.endswith(f"- **SHA-256**: `{weights.sha256}`\n")
    restate_card(tmp_path / "none.safetensors", {}, "x")  # there is no card
    monkeypatch.setattr(quality_curves, "held_out_faces", lambda data, names, recognizer: sets[:2])
    lines = quality_curves.measure_quality(tmp_path, str(file), tmp_path / "quality")
    assert any(line.startswith("  5 photos a person: best ") for line in lines)
    assert (tmp_path / "quality/quality.png").stat().st_size > 5000
