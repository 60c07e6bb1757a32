"""Samples of the stages: which windows they are, and that pixels and targets agree."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train.detection.samples
from cascade import _native
from cascade.boxes import expand
from cascade.detect import Detector
from cascade.imaging.pyramid import crop_sources, level_sizes
from cascade.imaging.reading import read_image
from cascade.nn.architectures import ARCHITECTURES
from tests.photos import FACE_BOX, FACE_LANDMARKS, PORTRAIT
from tests.train.drawn_faces import (
    Face,
    blank,
    blueness,
    draw,
    iou,
    save_coco,
    save_empty,
    save_photo,
)
from tests.train.drawn_sets import CROWD, ONET, PNET, RNET, SIZE, check_kinds, check_pixels, covered, squared
from train.detection.labels import LANDMARK, NEGATIVE
from train.detection.sample_store import Samples
from train.detection.samples import SampleSettings, label, make_samples
from train.detection.sources import Source


@pytest.mark.parametrize("family", ["default", "paper"])
@pytest.mark.parametrize("square_ground_truth", [False, True])
def test_pnet(singles, tmp_path, family, square_ground_truth):
    samples = make_samples(
        replace(PNET, family=family, square_ground_truth=square_ground_truth), (singles,), tmp_path / "s"
    )
    architecture = ARCHITECTURES[family]["pnet"]
    assert samples.crops.shape[1:] == (architecture.input_size + 2, architecture.input_size + 2, 3)
    counts = samples.counts()
    assert min(counts.values()) > 10
    assert counts["negative"] == 9 * 2 * 40
    assert max(counts["positive"], counts["part"], counts["landmark"]) <= 8 * 2 * PNET.windows_per_face
    check_kinds(samples)
    check_pixels(samples, architecture)
    assert samples.meta["photos"] == 9
    assert samples.meta["broken"] == []
    assert samples.meta["data"] == f"coco {singles.images.name}"


@pytest.mark.parametrize("base", [RNET, ONET], ids=["rnet", "onet"])
@pytest.mark.parametrize("family", ["default", pytest.param("paper", marks=pytest.mark.slow)])
def test_later_stages(singles, tmp_path, random_weights, base, family):
    samples = make_samples(replace(base, family=family), (singles,), tmp_path / "s", random_weights(family))
    architecture = ARCHITECTURES[family][base.stage]
    side = architecture.input_size + 2 * base.margin
    assert samples.crops.shape[1:] == (side, side, 3)
    assert min(samples.counts().values()) > 10
    check_kinds(samples)
    check_pixels(samples, architecture)


def detection_windows(image: np.ndarray, chosen: SampleSettings, name: str, weights: Path) -> dict[bytes, list]:
    """Every window of detection's dense scan in the one pass of ``chosen``: {pixels: boxes in the photo}."""
    # the phase of the pyramid is the first number drawn for a photo
    phase = np.random.default_rng([chosen.seed, zlib.crc32(name.encode())]).uniform(-0.5, 0.5)
    detector = Detector(weights=weights, threads=1)
    architecture = ARCHITECTURES[chosen.family]["pnet"]
    sizes = level_sizes(
        image.shape[1], image.shape[0], chosen.min_face * 0.709**phase, None, architecture.window, 0.709
    )
    pyramid = detector.engine.pyramid(image, sizes)
    network = _native.Network(detector.weights["pnet"].layers(), architecture.input_size)
    around = architecture.padding + chosen.margin
    found: dict[bytes, list] = {}
    for level, scale in zip(pyramid.images[1:], pyramid.scales[1:], strict=True):
        after = around + architecture.stride
        padded = np.pad(level, ((around, after), (around, after), (0, 0)), constant_values=128)
        rows, columns, stride, field = network.grid(level.shape[1], level.shape[0], architecture.padding)
        side = field + 2 * chosen.margin
        for row in range(rows):
            for column in range(columns):
                y, x = row * stride, column * stride
                corner = np.array([x, y]) - architecture.padding + (field - architecture.window) / 2
                box = np.concatenate([corner, corner + architecture.window]) / np.tile(scale, 2)
                found.setdefault(padded[y : y + side, x : x + side].tobytes(), []).append(box)
    return found


@pytest.mark.parametrize(("family", "margin"), [("default", 0), ("default", 2), ("paper", 1)])
def test_pnets_crops_are_the_pixels_that_detection_scans(crowd, tmp_path, random_weights, family, margin):
    chosen = replace(PNET, family=family, passes=1, margin=margin, negatives_per_photo=300)
    samples = make_samples(chosen, (crowd,), tmp_path / "s")
    image = read_image(crowd.images / "crowd.png")
    windows = detection_windows(image, chosen, "crowd.png", random_weights(family))
    learned, ignored = [face.box for face in CROWD[:2]], [face.box for face in CROWD[2:]]
    assert min(samples.counts().values()) > 0
    for crop, kind, target in zip(samples.crops, samples.kinds, samples.targets, strict=True):
        boxes = windows[crop.tobytes()]  # a KeyError: detection never sees these pixels
        if kind == NEGATIVE:
            for face in (*learned, *ignored):
                assert min(iou(box, face) for box in boxes) < chosen.negative_iou
            for face in ignored:
                assert min(covered(box, face) for box in boxes) < 0.25
        else:
            # the window that the targets are relative to is the one that was cut
            stated = [_window_from(target[:4], face) for face in learned]
            assert min(np.abs(box - window).max() for box in boxes for window in stated) < 0.01


def _window_from(target: np.ndarray, face: tuple) -> np.ndarray:
    """The window (4,) in pixels of the photo in whose units ``target`` (4,) is the face."""
    face = np.array(face)
    sides = (face[2:] - face[:2]) / (target[2:] - target[:2])
    corner = face[:2] - target[:2] * sides
    return np.concatenate([corner, corner + sides])


@pytest.mark.parametrize("base", [RNET, ONET], ids=["rnet", "onet"])
def test_later_crops_are_those_of_detection(singles, tmp_path, random_weights, monkeypatch, base):
    """Without a margin to the byte; with one the middle differs only by where the crop was snapped to."""
    weights = random_weights("default")
    asked = []

    def recorded(windows, photo, *rest, **named):
        labels = label(windows, photo, *rest, **named)
        asked.append((photo, windows[labels.indices], labels))
        return labels

    monkeypatch.setattr(train.detection.samples, "label", recorded)
    chosen = replace(base, passes=1, margin=0)
    samples = make_samples(chosen, (singles,), tmp_path / "bare", weights)
    middle = make_samples(replace(base, passes=1), (singles,), tmp_path / "wide", weights)
    m = base.margin
    np.testing.assert_array_equal(samples.kinds, middle.kinds)
    np.testing.assert_array_equal(samples.targets, middle.targets)
    # cut anew, as detection cuts them
    context, side = ARCHITECTURES["default"][base.stage].context, ARCHITECTURES["default"][base.stage].input_size
    expected = []
    for photo, windows, _ in asked[: len(asked) // 2]:
        image = read_image(photo.path)
        phase = np.random.default_rng([chosen.seed, zlib.crc32(photo.name.encode())]).uniform(-0.5, 0.5)
        detector = Detector(weights=weights, threads=1)
        sizes = level_sizes(image.shape[1], image.shape[0], chosen.min_face * 0.709**phase, None, 12, 0.709)
        images, scales = crop_sources(detector.engine.pyramid(image, sizes))
        expected.append(_native.cut(images, scales, expand(windows, context), side))
    np.testing.assert_array_equal(samples.crops, np.concatenate(expected))
    inner = middle.crops[:, m:-m, m:-m].astype(float)
    assert np.abs(inner - samples.crops).mean() < 4
    # the negatives stay away from every face, here from the squares about them
    for photo, windows, labels in asked:
        for window in windows[labels.kinds == NEGATIVE].astype(float):
            assert all(iou(window, squared(box.astype(float))) < 0.3 for box in photo.boxes)


def test_ignored_and_small_faces_are_neither_positive_nor_negative(tmp_path):
    """A photo of nothing else gives no sample with a face, and no negative upon one."""
    faces = [Face((20, 20, 60, 68), ignored=True), Face((80, 30, 88, 38))]
    save_photo(tmp_path / "p" / "a.png", draw(blank(*SIZE, np.random.default_rng(0)), faces))
    source = Source("coco", tmp_path / "p", save_coco(tmp_path / "p", {"a.png": faces}))
    samples = make_samples(replace(PNET, negatives_per_photo=2000, margin=0), (source,), tmp_path / "s")
    assert (samples.kinds == NEGATIVE).all()
    assert len(samples) > 200
    # no negative has the ignored face's blue eye in the middle of its window
    middle = samples.crops[:, 9:-9, 9:-9]
    assert (blueness(middle).max(axis=(1, 2)) > 60).sum() == 0


def test_photos_that_are_not_fully_labelled_give_no_negatives(singles, tmp_path, random_weights):
    half = replace(singles, fully_labelled=False)
    samples = make_samples(PNET, (half,), tmp_path / "p")
    assert samples.counts()["negative"] == 0
    assert samples.counts()["positive"] > 10
    check_kinds(samples)
    later = make_samples(RNET, (half,), tmp_path / "r", random_weights("default"))
    assert later.counts()["negative"] == 0
    assert later.counts()["positive"] > 10


def test_a_folder_without_faces_gives_negatives_alone(tmp_path):
    save_empty(tmp_path / "none", 3, seed=0)
    samples = make_samples(PNET, (Source("folder", tmp_path / "none"),), tmp_path / "s")
    assert samples.counts() == {"negative": 3 * 2 * 40, "positive": 0, "part": 0, "landmark": 0}


def test_the_portrait(tmp_path, random_weights):
    """A real photo: each crop is what the photo shows in the window that its targets state."""
    folder = tmp_path / "portrait"
    x, y = 120, 20  # the corner of the part around the face that is enough here
    box = np.array(FACE_BOX) - (x, y, x, y)
    points = np.array(FACE_LANDMARKS) - (x, y)
    save_photo(folder / "face.png", read_image(PORTRAIT)[y : y + 220, x : x + 220])
    keypoints = np.c_[points, np.full(5, 2)].ravel().tolist()
    entry = {"image_id": 1, "bbox": [*box[:2], *(box[2:] - box[:2])], "keypoints": keypoints}
    listing = {"images": [{"id": 1, "file_name": "face.png"}], "annotations": [entry]}
    (folder / "a.json").write_text(json.dumps(listing))
    source, image = Source("coco", folder, folder / "a.json"), read_image(folder / "face.png")
    for base, weights in ((PNET, None), (replace(ONET, passes=8, min_face=25), random_weights("default"))):
        chosen = replace(base, square_ground_truth=True, positive_iou=0.5)
        samples = make_samples(chosen, (source,), tmp_path / base.stage, weights)
        check_kinds(samples)
        window, side = ARCHITECTURES["default"][base.stage].window, samples.crops.shape[1]
        labelled = np.flatnonzero(samples.kinds == LANDMARK)
        assert len(labelled) > 4
        windows = np.stack([_window_from(target[:4], box) for target in samples.targets[labelled].astype(float)])
        fresh = _native.cut([image], [(1.0, 1.0)], expand(windows, side / window), side).astype(float)
        assert np.abs(fresh - samples.crops[labelled]).mean() < 5
        # the targets of the landmarks, brought back to the photo, are the hand-set ones
        sides = windows[:, None, 2:] - windows[:, None, :2]
        found = windows[:, None, :2] + samples.targets[labelled, 4:].reshape(-1, 5, 2) * sides
        np.testing.assert_allclose(found, np.broadcast_to(points, found.shape), atol=0.05)


def same(a: Samples, b: Samples) -> bool:
    return all(
        np.array_equal(getattr(a, n), getattr(b, n), equal_nan=n == "targets") for n in ("crops", "kinds", "targets")
    )


@pytest.mark.parametrize("base", [PNET, RNET], ids=["pnet", "rnet"])
def test_workers_do_not_matter_and_the_seed_does(singles, tmp_path, random_weights, base):
    weights = None if base.stage == "pnet" else random_weights("default")
    base = replace(base, passes=1)
    one = make_samples(base, (singles,), tmp_path / "one", weights, workers=1)
    two = make_samples(base, (singles,), tmp_path / "two", weights, workers=2)
    other = make_samples(replace(base, seed=2), (singles,), tmp_path / "other", weights)
    assert same(one, two)
    assert (tmp_path / "one/crops.npy").read_bytes() == (tmp_path / "two/crops.npy").read_bytes()
    assert one.meta == two.meta
    assert not same(one, other)


def test_a_broken_photo_is_reported_and_the_rest_is_done(singles, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(singles.images, folder)
    broken = folder / "3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    source = Source("coco", folder, folder / "annotations.json")
    for workers in (1, 2):
        samples = make_samples(PNET, (source,), tmp_path / "s", workers=workers)
        (message,) = samples.meta["broken"]
        assert message.startswith(f"{broken}: ")
        assert samples.counts()["negative"] == 8 * 2 * 40
        assert samples.meta["photos"] == 9


def test_limit_takes_some_of_the_photos(singles, tmp_path):
    samples = make_samples(PNET, (singles,), tmp_path / "s", limit=2)
    assert samples.meta["photos"] == 2
    assert samples.counts()["negative"] == 2 * 2 * 40


def test_later_stages_need_weights(singles, tmp_path):
    with pytest.raises(ValueError, match="weights: rnet samples need"):
        make_samples(RNET, (singles,), tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 200), (30, 30)])
def test_photos_too_small_for_a_window(tmp_path, random_weights, size):
    save_photo(tmp_path / "p" / "tiny.png", np.zeros((size[1], size[0], 3), np.uint8))
    source = Source("folder", tmp_path / "p")
    for base, weights in ((PNET, None), (RNET, random_weights("default")), (ONET, random_weights("default"))):
        samples = make_samples(base, (source,), tmp_path / base.stage, weights)
        assert (samples.kinds == NEGATIVE).all()


def test_a_source_is_gone_through_as_often_as_it_says(singles, tmp_path):
    """As if the settings had said so, and the settings' passes count for each of them."""
    once = make_samples(PNET, (singles,), tmp_path / "once")
    twice = make_samples(PNET, (replace(singles, passes=2),), tmp_path / "twice")
    settings = make_samples(replace(PNET, passes=2 * PNET.passes), (singles,), tmp_path / "settings")
    assert len(twice) > 1.6 * len(once)
    assert np.array_equal(twice.crops, settings.crops)
