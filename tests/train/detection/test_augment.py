"""Augmentation: targets move with the pixels, mirroring swaps left and right, colours stay colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train.detection.augment
from cascade.nn.architectures import ARCHITECTURES
from tests.train.drawn_faces import BLUE, GREEN, Face, blank, blueness, centroids, draw, greenness
from train.detection.augment import (
    CHANNEL_ORDERS,
    DISTORTIONS,
    OCCLUDED,
    OCCLUDER,
    crop_randomly,
    cut_slices,
    cut_weighted,
    mirror,
    normalise,
    occlude,
    photometric_distortion,
    recolour,
)
from train.detection.batches import network_inputs

SIZE, WINDOW = 48, 38.0


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dots(n: int, side: int, window: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Black crops (n, side, side, 3) with a soft bright dot at the first landmark of their targets (n, 14)."""
    rng = np.random.default_rng(seed)
    targets = rng.uniform(-0.2, 1.2, (n, 14)).astype(np.float32)
    targets[:, 4:6] = rng.uniform(0.3, 0.7, (n, 2))
    centres = targets[:, 4:6] * window + (side - window) / 2
    y, x = np.mgrid[:side, :side] + 0.5
    squares = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2
    crops = np.round(255 * np.exp(-squares / (2 * 1.3**2))).astype(np.uint8)
    return torch.from_numpy(np.repeat(crops[..., None], 3, axis=3)), torch.from_numpy(targets)


@pytest.mark.parametrize(("size", "window", "margin"), [(48, 38.0, 4), (24, 20.0, 2), (24, 24.0, 3), (23, 12.0, 2)])
def test_targets_move_with_the_pixels_at_every_zoom_and_shift(size, window, margin):
    n, zooms = 32, {}
    for seed in range(40):
        crops, targets = dots(n, size + 2 * margin, window, seed)
        cut, moved = crop_randomly(crops, targets, size, window, seeded(seed))
        assert cut.shape == (n, 3, size, size)
        assert cut.dtype == torch.float32
        assert moved.shape == (n, 14)
        expected = moved[:, 4:6].numpy() * window + (size - window) / 2
        whole = ((expected > 4.5) & (expected < size - 4.5)).all(axis=1)  # dots that no edge cuts
        assert whole.mean() > 0.5
        error = (centroids(cut[:, 0].numpy()) - expected)[whole]
        assert np.abs(error).max() < 0.2
        assert np.abs(error.mean(axis=0)).max() < 0.05, "shifted by a constant: half-pixel rule broken"
        # all points of a target move alike: zoomed by quarters of the batch, then shifted
        before, after = targets.numpy().reshape(n, 7, 2), moved.numpy().reshape(n, 7, 2)
        ratios = (after[:, 1:] - after[:, :1]) / (before[:, 1:] - before[:, :1])
        taken = size / np.median(ratios, axis=(1, 2))
        np.testing.assert_allclose(ratios, np.broadcast_to((size / taken)[:, None, None], ratios.shape), rtol=2e-2)
        for quarter in taken.reshape(4, -1):
            assert np.ptp(quarter) < 0.02
            zooms.setdefault(round(float(quarter[0])) - size, []).append(after[0, 0, 0])
    assert set(zooms) == set(range(-margin, margin + 1))


def test_shifts_cover_the_whole_margin():
    size, margin = 24, 2
    crops, targets = dots(400, size + 2 * margin, 20.0, seed=0)
    shifts = set()
    for seed in range(10):
        _, moved = crop_randomly(crops, targets, size, 20.0, seeded(seed))
        scale = (targets[:, 6] - targets[:, 4]) / (moved[:, 6] - moved[:, 4])
        unzoomed = (scale - 1).abs() < 1e-3
        steps = ((targets - moved) * 20.0)[unzoomed]
        shifts |= {(round(float(x)), round(float(y))) for x, y in steps[:, :2]}
    assert shifts == {(x, y) for x in range(-2, 3) for y in range(-2, 3)}


@pytest.mark.parametrize(("size", "margin"), [(23, 2), (32, 2), (56, 4), (12, 0)])
def test_cuts_by_weights_are_the_cuts_by_slices(size, margin):
    """What a GPU computes, on the CPU: any place and zoom, up to a level of grey that resampling rounds otherwise."""
    side, n = size + 2 * margin, 12
    crops = torch.randint(0, 256, (n, side, side, 3), generator=seeded(0), dtype=torch.uint8)
    for taken in range(size - margin, size + margin + 1):
        corners = torch.randint(0, side - taken + 1, (n, 1, 2), generator=seeded(taken))
        corners[0], corners[1] = 0, side - taken
        expected = cut_slices(crops, corners, taken, size)
        found = cut_weighted(crops, corners, torch.full((n, 1, 1), taken), size)
        assert found.shape == expected.shape == (n, 3, size, size)
        # resampling goes over whole levels after each axis
        assert (found - expected).abs().max() <= (0 if taken == size else 2)
        assert (found - expected).abs().mean() < 0.5
        assert (found == found.round()).all()


def test_cuts_by_weights_with_a_zoom_for_each_crop():
    crops, _ = dots(9, 32, 20.0, seed=0)
    taken = torch.arange(20, 29)[:, None, None]
    corners = torch.minimum(torch.randint(0, 13, (9, 1, 2), generator=seeded(1)), 32 - taken)
    found = cut_weighted(crops, corners, taken, 24)
    for i in range(9):
        alone = cut_slices(crops[i : i + 1], corners[i : i + 1], int(taken[i]), 24)
        assert (found[i] - alone[0]).abs().max() <= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_augmentation_on_a_gpu_keeps_pixels_and_targets_together():
    size, window, margin = 48, 38.0, 4
    crops, targets = dots(400, size + 2 * margin, window, seed=0)
    generator = torch.Generator("cuda").manual_seed(0)
    cut, moved = crop_randomly(crops.cuda(), targets.cuda(), size, window, generator)
    cut, moved = mirror(cut, moved, torch.rand(400, generator=generator, device="cuda") < 0)
    assert (cut.device.type, cut.shape, moved.shape) == ("cuda", (400, 3, size, size), (400, 14))
    expected = moved[:, 4:6].cpu().numpy() * window + (size - window) / 2
    whole = ((expected > 4.5) & (expected < size - 4.5)).all(axis=1)
    assert np.abs((centroids(cut[:, 0].cpu().numpy()) - expected)[whole]).max() < 0.2
    changed = occlude(recolour(cut, generator), generator)
    assert changed.shape == cut.shape
    assert 0 <= changed.min() < changed.max() <= 255


def test_without_a_margin_nothing_is_cropped():
    rng = np.random.default_rng(0)
    crops = torch.from_numpy(rng.integers(0, 256, (6, 23, 23, 3), dtype=np.uint8))
    targets = torch.from_numpy(rng.uniform(-1, 2, (6, 14)).astype(np.float32))
    targets[2:] = math.nan
    cut, moved = crop_randomly(crops, targets, 23, 12.0, seeded(0))
    assert torch.equal(cut, crops.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(moved, targets, equal_nan=True)


@given(st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=30)
def test_mirroring_twice_is_the_identity(n, seed):
    generator = seeded(seed)
    crops = torch.rand(n, 3, 8, 8, generator=generator)
    targets = torch.rand(n, 14, generator=generator) * 2 - 0.5
    targets[0, 4:] = math.nan
    which = torch.rand(n, generator=generator) < 0.5
    once, moved = mirror(crops, targets, which)
    assert torch.equal(once[~which], crops[~which])
    assert torch.equal(once[which], crops[which].flip(3))
    again, back = mirror(once, moved, which)
    assert torch.equal(again, crops)
    torch.testing.assert_close(back, targets, equal_nan=True, rtol=0, atol=1e-6)
    # a box stays a box
    boxes = torch.tensor([[0.1, 0.2, 0.8, 0.9]]).expand(n, 4)
    _, flipped = mirror(crops, torch.cat([boxes, targets[:, 4:]], dim=1), torch.ones(n, dtype=torch.bool))
    torch.testing.assert_close(flipped[:, :4], torch.tensor([[0.2, 0.2, 0.9, 0.9]]).expand(n, 4))


def drawn_crop(side: int, window: float) -> tuple[torch.Tensor, torch.Tensor, Face]:
    """A crop (1, side, side, 3) of a drawn face, not in the middle, and its targets (1, 14)."""
    face = Face((side * 0.2, side * 0.15, side * 0.75, side * 0.85))
    image = draw(blank(side, side, np.random.default_rng(1)), [face])
    points = np.concatenate([np.reshape(face.box, (2, 2)), face.landmarks])
    targets = ((points - (side - window) / 2) / window).astype(np.float32).reshape(1, 14)
    return torch.from_numpy(image[None]), torch.from_numpy(targets), face


def pixels_at(crop: torch.Tensor, targets: torch.Tensor, number: int, window: float) -> np.ndarray:
    """The colour (3,) of crop (1, 3, size, size) at a landmark."""
    x, y = (targets[0, 4 + 2 * number : 6 + 2 * number] * window + (crop.shape[3] - window) / 2).int().tolist()
    return crop[0, :, y, x].numpy()


def test_mirroring_swaps_left_and_right():
    crop, targets, _ = drawn_crop(SIZE, WINDOW)
    crop = crop.permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(pixels_at(crop, targets, 0, WINDOW), BLUE, atol=2)
    flipped, moved = mirror(crop, targets, torch.tensor([True]))
    # the left eye of the mirrored face is the one that was the right eye
    np.testing.assert_allclose(pixels_at(flipped, moved, 0, WINDOW), GREEN, atol=2)
    np.testing.assert_allclose(pixels_at(flipped, moved, 1, WINDOW), BLUE, atol=2)
    marks = moved[0, 4:].reshape(5, 2)
    assert marks[0, 0] < marks[2, 0] < marks[1, 0], "left eye, nose, right eye from left to right"
    assert marks[3, 0] < marks[4, 0], "mouth corners from left to right"
    before = targets[0, 4:].reshape(5, 2)
    torch.testing.assert_close(marks[:, 1], before[[1, 0, 2, 4, 3], 1])


@pytest.mark.parametrize("family", sorted(ARCHITECTURES))
@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
def test_prepare_keeps_pixels_and_targets_together(monkeypatch, family, stage):
    monkeypatch.setattr(train.detection.augment, "DISTORTIONS", ())  # eyes are told by their colours here
    architecture = ARCHITECTURES[family][stage]
    size, window, margin = architecture.input_size, architecture.window, 3
    crop, targets, _ = drawn_crop(size + 2 * margin, window)
    inputs, unmoved = network_inputs(crop, targets, architecture, None)
    middle = crop[:, margin:-margin, margin:-margin].permute(0, 3, 1, 2).float()
    assert torch.equal(inputs, (middle - 127.5) * 0.0078125)
    assert torch.equal(unmoved, targets)

    many, goals = crop.expand(64, -1, -1, -1), targets.expand(64, -1)
    inputs, moved = network_inputs(many, goals, architecture, seeded(3))
    assert inputs.shape == (64, 3, size, size)
    assert inputs.abs().max() <= 1
    # gray and noisy ones cannot be measured by colour; most can
    colours = (inputs / 0.0078125 + 127.5).permute(0, 2, 3, 1).numpy()
    left, right = (moved[:, at : at + 2].numpy() * window + (size - window) / 2 for at in (4, 6))
    assert (left[:, 0] < right[:, 0]).all()
    blue, green = centroids(blueness(colours)), centroids(greenness(colours))
    # the left eye is blue, and green in a mirrored crop
    plain = np.hypot(*(blue - left).T) + np.hypot(*(green - right).T)
    mirrored = np.hypot(*(green - left).T) + np.hypot(*(blue - right).T)
    assert np.nanmedian(np.minimum(plain, mirrored)) < 0.04 * size
    assert 0.2 < np.mean(plain < mirrored) < 0.8
    again, same = network_inputs(many, goals, architecture, seeded(3))
    assert torch.equal(inputs, again)
    assert torch.equal(moved, same)


def test_recolour_keeps_shape_and_range():
    crops = torch.rand(200, 3, 12, 12, generator=seeded(0)) * 255
    untouched = crops.clone()
    changed = recolour(crops, seeded(1))
    assert torch.equal(crops, untouched), "the input is changed in place"
    assert changed.shape == crops.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(changed, recolour(crops, seeded(1)))
    assert not torch.equal(changed, recolour(crops, seeded(2)))
    gray = (changed[:, 0] == changed[:, 1]).all(dim=2).all(dim=1)
    assert 5 < gray.sum() < 40
    for level in (0, 255):
        flat = recolour(torch.full((50, 3, 12, 12), float(level)), seeded(4))
        assert torch.isfinite(flat).all()


def photo_like(n: int, side: int = 12) -> torch.Tensor:
    """Crops (n, 3, side, side) whose channels differ, away from black and white."""
    crops = torch.rand(n, 3, side, side, generator=seeded(0)) * 30
    return crops + torch.tensor([60.0, 110.0, 160.0])[:, None, None]


def test_photometric_distortion_changes_some_crops_and_each_in_one_way():
    crops = photo_like(4000)
    changed = photometric_distortion(crops.clone(), seeded(1))
    assert changed.shape == crops.shape
    assert 0 <= changed.min() < changed.max() <= 255
    assert torch.equal(changed, photometric_distortion(crops.clone(), seeded(1)))
    assert not torch.equal(changed, photometric_distortion(crops.clone(), seeded(2)))
    untouched = (changed == crops).flatten(1).all(dim=1).float().mean().item()
    assert untouched == pytest.approx(1 - sum(share for share, _ in DISTORTIONS), abs=0.03)
    assert torch.isfinite(photometric_distortion(torch.zeros(500, 3, 8, 8), seeded(3))).all()
    assert photometric_distortion(torch.full((500, 3, 8, 8), 255.0), seeded(3)).max() <= 255


@pytest.mark.parametrize("number", range(len(DISTORTIONS)))
def test_every_distortion_has_its_share(monkeypatch, number):
    """The crops that change when the others do nothing."""
    share, _ = DISTORTIONS[number]
    alone = [(part, kept if i == number else lambda some, _: some) for i, (part, kept) in enumerate(DISTORTIONS)]
    monkeypatch.setattr(train.detection.augment, "DISTORTIONS", alone)
    crops = photo_like(4000)
    changed = (photometric_distortion(crops.clone(), seeded(number)) != crops).flatten(1).any(dim=1)
    # a shadow may fall outside a crop
    assert changed.float().mean().item() == pytest.approx(share, abs=0.02)


def test_photometric_distortion_on_every_device_changes_the_chosen_crops_alone(monkeypatch):
    """A GPU distorts all crops in every way and chooses then."""
    crops, chosen = photo_like(600), []

    def everywhere(crops, which, change):
        chosen.append(which)
        return torch.where(which[:, None, None, None], change(crops, slice(None)), crops)

    monkeypatch.setattr(train.detection.augment, "_change", everywhere)
    changed = photometric_distortion(crops.clone(), seeded(1))
    assert 0 <= changed.min() < changed.max() <= 255
    assert torch.stack(chosen).sum(dim=0).max() == 1
    kept = ~torch.stack(chosen).any(dim=0)
    assert torch.equal(changed[kept], crops[kept])
    shares = torch.stack(chosen).float().mean(dim=1).tolist()
    assert shares == pytest.approx([share for share, _ in DISTORTIONS], abs=0.05)


def test_what_the_distortions_do():
    crops = photo_like(300, side=16)
    distorted = {change.__name__: change(crops.clone(), seeded(4)) for _, change in DISTORTIONS}
    orders = {tuple(crop.mean(dim=(1, 2)).argsort().tolist()) for crop in distorted["swap_channels"]}
    assert len(orders) == len(set(CHANNEL_ORDERS))
    assert torch.equal(distorted["swap_channels"].sort(dim=1).values, crops.sort(dim=1).values)
    assert (distorted["colour_light"] / crops).std(dim=(2, 3)).max() < 1e-4, "not one factor for each channel"
    levels = [len(crop.unique()) for crop in distorted["low_light"]]
    assert np.median(levels) < 60 < len(crops[0].unique()) / 5
    assert (distorted["low_contrast"].std(dim=(1, 2, 3)) < 0.7 * crops.std(dim=(1, 2, 3))).all()
    assert (distorted["overexpose"] >= 255).any(dim=1).any(dim=1).any(dim=1).float().mean() > 0.5
    # a gamma keeps the order of the pixels
    order = crops.flatten(1).argsort(dim=1)
    assert (distorted["gamma"].flatten(1).gather(1, order).diff(dim=1) >= -1e-3).all()
    ratio = distorted["shade_half"] / crops
    shaded = ratio < 1 - 1e-4
    assert 0.3 < shaded.float().mean() < 0.7
    factors = [crop[where] for crop, where in zip(ratio, shaded, strict=True) if where.any()]
    assert all(factor.max() - factor.min() < 1e-4 for factor in factors)


def test_the_same_seed_gives_the_same_crops():
    crops, targets = dots(20, SIZE + 8, WINDOW, 0)
    first = crop_randomly(crops, targets, SIZE, WINDOW, seeded(7))
    second = crop_randomly(crops, targets, SIZE, WINDOW, seeded(7))
    other = crop_randomly(crops, targets, SIZE, WINDOW, seeded(8))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_normalise_is_what_the_engines_do():
    values = normalise(torch.tensor([0.0, 127.5, 255.0]))
    assert values.tolist() == [-0.99609375, 0.0, 0.99609375]


def test_occlude_covers_a_rectangle_of_some_crops_with_another():
    n, side = 500, 40
    crops = torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(n, 3, side, side).clone()
    covered = occlude(crops.clone(), seeded(1))
    changed = covered != crops
    some = torch.nonzero(changed.flatten(1).any(dim=1))[:, 0]
    offsets: list[float] = []
    assert abs(len(some) / n - OCCLUDED) < 0.06
    for i in some.tolist():
        mask = changed[i, 0]
        assert (changed[i] == mask).all()
        (occluder,) = covered[i][changed[i]].unique().tolist()
        offsets.append((occluder - i) % n)
        rows, columns = mask.any(dim=1).sum().item(), mask.any(dim=0).sum().item()
        assert mask.sum() == rows * columns, "not a rectangle"
        for extent in (rows, columns):
            assert OCCLUDER[0] * side - 1 <= extent <= OCCLUDER[1] * side + 1
    assert len(set(offsets)) > 0.8 * len(offsets), "the batch's order decides who covers whom"
    where = changed[:, 0].float().mean(dim=0)
    assert (where[5:-5, 5:-5] > 0).all(), "some place is never covered"
