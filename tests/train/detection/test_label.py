"""How windows are labelled, against the rules written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.datasets import Photo
from tests.train.drawn_faces import (
    iou,
)
from tests.train.drawn_sets import PNET, covered, squared
from train.detection.labels import LANDMARK, NEGATIVE, PART, POSITIVE
from train.detection.samples import label


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
        square_ground_truth=draw_from(st.booleans()),
        negatives_per_photo=draw_from(st.integers(0, 30)),
        windows_per_face=draw_from(st.integers(1, 5)),
    )
    return photo, windows, chosen, draw_from(st.booleans())


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
    truth = {i: squared(boxes[i]) if chosen.square_ground_truth else boxes[i] for i in learn}
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
        if best[k] < chosen.negative_iou and all(covered(window, boxes[i]) < 0.2 for i in avoid)
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
