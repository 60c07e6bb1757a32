"""The samples of the three stages: which windows they are, what they are called, and that pixels and targets agree."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import train.detection.samples
from cascade import _native
from cascade.boxes import expand
from cascade.datasets import Photo
from cascade.detect import Detector
from cascade.engines.native import crop_sources
from cascade.imaging.pyramid import level_sizes
from cascade.imaging.reading import read_image
from cascade.nn.architectures import ARCHITECTURES
from cascade.stages import landmark_template
from tests.photos import FACE_BOX, FACE_LANDMARKS, PORTRAIT
from tests.train.drawn_faces import (
    Face,
    blank,
    blueness,
    centroids,
    draw,
    greenness,
    iou,
    random_faces,
    save_coco,
    save_empty,
    save_photo,
)
from train.detection.packed import LANDMARK, NEGATIVE, PART, POSITIVE, Samples
from train.detection.samples import SampleSettings, label, make_samples
from train.detection.sources import Source

SIZE = (120, 96)
PNET = SampleSettings("pnet", passes=2, negatives_per_photo=40, margin=1)
# random weights propose little else than noise: let more of it through
LOOSE = {"proposal_threshold": 0.0005, "proposal_nms": 0.95, "positive_iou": 0.5}
RNET = SampleSettings("rnet", passes=2, min_face=14, square_truth=True, negatives_per_photo=40, margin=2, **LOOSE)
ONET = SampleSettings("onet", passes=2, min_face=14, square_truth=True, negatives_per_photo=40, margin=4, **LOOSE)


@pytest.fixture(scope="module")
def singles(tmp_path_factory) -> Source:
    """Photos of one face each, and one photo without."""
    folder, rng = tmp_path_factory.mktemp("singles"), np.random.default_rng(5)
    photos = {}
    for number in range(8):
        photos[f"{number}.png"] = faces = random_faces(rng, *SIZE, count=1)
        save_photo(folder / f"{number}.png", draw(blank(*SIZE, rng), faces))
    save_photo(folder / "none.png", blank(*SIZE, rng))
    return Source("coco", folder, save_coco(folder, {**photos, "none.png": []}))


CROWD = [
    Face((8, 10, 38, 46)),
    Face((60, 8, 84, 36), marked=False),
    Face((64, 50, 112, 92), ignored=True),
    Face((20, 70, 28, 78)),  # below min_face
]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Source:
    """One photo with two faces to learn, the first with landmarks, an ignored one and one that is too small."""
    folder = tmp_path_factory.mktemp("crowd")
    save_photo(folder / "crowd.png", draw(blank(*SIZE, np.random.default_rng(2)), CROWD))
    return Source("coco", folder, save_coco(folder, {"crowd.png": CROWD}))


def target_ious(samples: Samples, square_truth: bool) -> np.ndarray:
    """Overlap of each sample's window, the unit square of its targets, with its face; NaN for negatives."""
    found = []
    for x1, y1, x2, y2 in samples.targets[:, :4].astype(float):
        grow = max(x2 - x1, y2 - y1) / 2 if square_truth else 0
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        box = (x - grow, y - grow, x + grow, y + grow) if square_truth else (x1, y1, x2, y2)
        found.append(iou((0, 0, 1, 1), box))
    return np.array(found)


def check_kinds(samples: Samples) -> None:
    """The kinds are those of the overlaps that the targets tell."""
    s = samples.meta["settings"]
    overlap = target_ious(samples, s["square_truth"])
    with_face = samples.kinds != NEGATIVE
    assert np.isnan(samples.targets[~with_face]).all()
    assert np.isfinite(samples.targets[with_face, :4]).all()
    assert np.isfinite(samples.targets[samples.kinds == LANDMARK]).all()
    # P-Net's windows are as little out of square as their level's size was rounded
    near = 0.03 if s["square_truth"] and s["stage"] == "pnet" else 1e-4
    for kind in (POSITIVE, LANDMARK):
        assert (overlap[samples.kinds == kind] >= s["positive_iou"] - near).all()
    parts = overlap[samples.kinds == PART]
    assert ((parts >= s["part_iou"] - near) & (parts < s["positive_iou"] + near)).all()


def check_pixels(samples: Samples, architecture) -> None:
    """The blue of the left eye lies where the target says, without any shift that they have in common."""
    side = samples.crops.shape[1]
    eyes = samples.targets[:, 4:6]
    inside = ((eyes > 0.15) & (eyes < 0.85)).all(axis=1) & np.isin(samples.kinds, (POSITIVE, LANDMARK))
    assert inside.sum() > 20
    expected = eyes[inside] * architecture.window + (side - architecture.window) / 2
    error = centroids(blueness(samples.crops[inside])) - expected
    assert np.isfinite(error).all()
    assert np.abs(error).max() < 0.7
    assert np.abs(error.mean(axis=0)).max() < 0.12, "a constant shift: the half-pixel rule is broken"


@pytest.mark.parametrize("family", ["default", "paper"])
@pytest.mark.parametrize("square_truth", [False, True])
def test_pnet(singles, tmp_path, family, square_truth):
    samples = make_samples(replace(PNET, family=family, square_truth=square_truth), (singles,), tmp_path / "s")
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
def test_later_stages(singles, tmp_path, random_weights, base):
    for family in ("default", "paper"):
        chosen = replace(base, family=family)
        samples = make_samples(chosen, (singles,), tmp_path / family, random_weights(family))
        architecture = ARCHITECTURES[family][base.stage]
        side = architecture.input_size + 2 * base.margin
        assert samples.crops.shape[1:] == (side, side, 3)
        assert min(samples.counts().values()) > 10
        check_kinds(samples)
        check_pixels(samples, architecture)


@pytest.mark.parametrize("base", [RNET, ONET], ids=["rnet", "onet"])
def test_windows_around_marked_faces(singles, crowd, tmp_path, random_weights, base):
    """Even where the stages before let nothing through."""
    chosen = replace(base, proposal_threshold=0.9999, marked_windows=12, windows_per_face=30)
    samples = make_samples(chosen, (singles, crowd), tmp_path / "s", random_weights("default"))
    check_kinds(samples)
    assert samples.counts()["landmark"] > 60
    architecture = ARCHITECTURES["default"][base.stage]
    check_pixels(make_samples(chosen, (singles,), tmp_path / "t", random_weights("default")), architecture)
    none = make_samples(replace(chosen, marked_windows=0), (singles,), tmp_path / "u", random_weights("default"))
    assert none.counts()["landmark"] == 0


def test_rolled_windows_turn_the_landmarks_with_the_pixels(singles, tmp_path, random_weights):
    weights, chosen = random_weights("default"), replace(ONET, proposal_threshold=0.9999)
    samples = make_samples(replace(chosen, rolled_windows=10), (singles,), tmp_path / "s", weights)
    rolled = samples.kinds == LANDMARK
    assert rolled.sum() == 8 * 2 * 10
    assert np.isnan(samples.targets[rolled, :4]).all()
    eyes, side = samples.targets[rolled, 4:8].reshape(-1, 2, 2), samples.crops.shape[1]
    turns = np.degrees(np.arctan2(*(eyes[:, 1] - eyes[:, 0]).T[::-1]))
    assert 10 < turns.std() < 26
    window = ARCHITECTURES["default"]["onet"].window
    for points, seen in ((eyes[:, 0], blueness), (eyes[:, 1], greenness)):
        expected = points * window + (side - window) / 2
        whole = ((expected > 5) & (expected < side - 5)).all(axis=1)
        error = (centroids(seen(samples.crops[rolled])) - expected)[whole]
        assert whole.mean() > 0.8
        assert np.abs(error).max() < 0.8
        assert np.abs(error.mean(axis=0)).max() < 0.12, "a constant shift: the half-pixel rule is broken"
    assert make_samples(chosen, (singles,), tmp_path / "t", weights).counts()["landmark"] == 0


def detection_windows(image: np.ndarray, chosen: SampleSettings, name: str, weights: Path) -> dict[bytes, list]:
    """Every window that detection slides over in the one pass of ``chosen``: {pixels: boxes in the photo}."""
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
        padded = np.pad(level, ((around, around), (around, around), (0, 0)), constant_values=128)
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
def test_pnets_crops_are_the_pixels_that_detection_slides_over(crowd, tmp_path, random_weights, family, margin):
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
                assert min(_covered(box, face) for box in boxes) < 0.25
        else:
            # the window that the targets are relative to is the one that was cut
            stated = [_window_from(target[:4], face) for face in learned]
            assert min(np.abs(box - window).max() for box in boxes for window in stated) < 0.01


def _covered(window: np.ndarray, face: tuple) -> float:
    sides = np.minimum(window[2:], face[2:]) - np.maximum(window[:2], face[:2])
    return float(np.clip(sides, 0, None).prod() / (window[2:] - window[:2]).prod())


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
    # cut anew, as the engine's judge() does
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
        chosen = replace(base, square_truth=True, positive_iou=0.5)
        samples = make_samples(chosen, (source,), tmp_path / base.stage, weights)
        check_kinds(samples)
        window, side = ARCHITECTURES["default"][base.stage].window, samples.crops.shape[1]
        marked = np.flatnonzero(samples.kinds == LANDMARK)
        assert len(marked) > 4
        windows = np.stack([_window_from(target[:4], box) for target in samples.targets[marked].astype(float)])
        fresh = _native.cut([image], [(1.0, 1.0)], expand(windows, side / window), side).astype(float)
        assert np.abs(fresh - samples.crops[marked]).mean() < 5
        # the targets of the landmarks, brought back to the photo, are the hand-set ones
        sides = windows[:, None, 2:] - windows[:, None, :2]
        found = windows[:, None, :2] + samples.targets[marked, 4:].reshape(-1, 5, 2) * sides
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


# --------------------------------------------------------------------------------------------------
# label() by itself, against the rules written out


@st.composite
def photos_and_windows(draw_from):
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    n, m = draw_from(st.integers(0, 6)), draw_from(st.integers(0, 80))
    sides = rng.uniform(4, 60, (n, 1)) * rng.uniform(0.8, 1.25, (n, 2))
    corners = rng.uniform(0, 60, (n, 2))
    landmarks = rng.uniform(0, 60, (n, 5, 2))
    landmarks[rng.random(n) < 0.4] = np.nan
    photo = Photo(
        Path("x.png"),
        "x.png",
        np.concatenate([corners, corners + sides], axis=1),
        rng.random(n) < 0.3,
        landmarks,
        fully_labelled=draw_from(st.booleans()),
    )
    # windows anywhere, and windows near the faces
    wide = rng.uniform(5, 60, (m, 1))
    places = rng.uniform(-10, 70, (m, 2))
    if n:
        near = rng.integers(0, n, m)
        close = rng.random(m) < 0.6
        side = sides[near].max(axis=1, keepdims=True) * rng.uniform(0.8, 1.3, (m, 1))
        centre = corners[near] + sides[near] / 2 + rng.normal(0, 0.12, (m, 2)) * side
        wide[close], places[close] = side[close], (centre - side / 2)[close]
    windows = np.concatenate([places, places + wide], axis=1).astype(np.float32)
    chosen = replace(
        PNET,
        square_truth=draw_from(st.booleans()),
        negatives_per_photo=draw_from(st.integers(0, 30)),
        windows_per_face=draw_from(st.integers(1, 5)),
    )
    return photo, windows, chosen, draw_from(st.booleans())


def squared(box: np.ndarray) -> np.ndarray:
    half, centre = (box[2:] - box[:2]).max() / 2, (box[:2] + box[2:]) / 2
    return np.concatenate([centre - half, centre + half])


@given(photos_and_windows())
@settings(max_examples=150)
def test_labels_follow_the_rules(case):
    photo, windows, chosen, hardest_first = case
    labels = label(windows, photo, chosen, np.random.default_rng(0), hardest_first=hardest_first)
    assert len(labels.indices) == len(labels.kinds) == len(labels.faces)

    boxes = photo.boxes.astype(float)
    small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < chosen.min_face
    learn = [i for i in range(len(boxes)) if not photo.ignored[i] and not small[i]]
    avoid = [i for i in range(len(boxes)) if i not in learn]
    truth = {i: squared(boxes[i]) if chosen.square_truth else boxes[i] for i in learn}
    table = np.array([[iou(w, truth[i]) for i in learn] for w in windows.astype(float)]).reshape(
        len(windows), len(learn)
    )
    best = table.max(axis=1, initial=0)
    near = 1e-5

    def of(kind: int) -> np.ndarray:
        return labels.indices[labels.kinds == kind]

    for kind in (NEGATIVE, POSITIVE, PART, LANDMARK):
        assert len(set(of(kind))) == len(of(kind)), "a window twice"
    for kind, low, high in ((POSITIVE, 0.65, 9), (LANDMARK, 0.65, 9), (PART, 0.4, 0.65)):
        assert ((best[of(kind)] >= low - near) & (best[of(kind)] < high + near)).all()
        owners = labels.faces[labels.kinds == kind]
        for index, owner in zip(of(kind), owners, strict=True):
            assert owner in learn
            assert table[index, learn.index(owner)] >= best[index] - near
        if kind == LANDMARK:
            assert np.isfinite(photo.landmarks[owners]).all()
        # of each face as many as there are, up to the limit
        eligible = np.flatnonzero((best >= low) & (best < high))
        for i in learn:
            there = sum(learn[int(table[index].argmax())] == i for index in eligible)
            if kind == LANDMARK and not np.isfinite(photo.landmarks[i]).all():
                there = 0
            assert (owners == i).sum() == min(there, chosen.windows_per_face)

    background = [
        k
        for k, window in enumerate(windows.astype(float))
        if best[k] < chosen.negative_iou and all(_covered(window, boxes[i]) < 0.2 for i in avoid)
    ]
    negatives = of(NEGATIVE)
    assert (labels.faces[labels.kinds == NEGATIVE] == -1).all()
    if not photo.fully_labelled:
        assert len(negatives) == 0
    elif hardest_first:
        assert negatives.tolist() == background[: chosen.negatives_per_photo]
    else:
        assert len(negatives) == min(len(background), chosen.negatives_per_photo)
        assert set(negatives) <= set(background)


def test_lnet_learns_from_marked_faces_turned_upright(singles, tmp_path):
    chosen = SampleSettings("lnet", min_face=14, marked_windows=40, margin=2)
    samples = make_samples(chosen, (singles,), tmp_path / "s")
    assert samples.meta["photos"] == 8, "the photo without a face is not opened"
    assert samples.counts() == {"negative": 0, "positive": 0, "part": 0, "landmark": 8 * 40}
    assert np.isnan(samples.targets[:, :4]).all()
    architecture = ARCHITECTURES["default"]["lnet"]
    points = samples.targets[:, 4:].reshape(-1, 5, 2) * architecture.window
    template = landmark_template(architecture)
    # on average the points are where the template has them, and not always
    assert np.abs(points.mean(axis=0) - template).max() < 0.12 * architecture.window
    assert points.std(axis=0).min() > 0.5
    margin = (samples.crops.shape[1] - architecture.window) / 2
    for point, seen in ((0, blueness), (1, greenness)):
        expected = points[:, point] + margin
        whole = ((expected > 5) & (expected < samples.crops.shape[1] - 5)).all(axis=1)
        error = (centroids(seen(samples.crops)) - expected)[whole]
        assert whole.mean() > 0.8
        assert np.abs(error.mean(axis=0)).max() < 0.25, "a constant shift: the half-pixel rule is broken"
