"""Augmentation of aligned crops."""

from __future__ import annotations

import pytest
import torch

from tests.train.packed_faces import packed
from train.detection.augment import normalise
from train.recognition import augment as changes_module
from train.recognition.augment import BLUR, BLURRED, LARGEST_BORDER, _rectangle, augment, blur, cover


def smooth(count: int, side: int = 112) -> torch.Tensor:
    """Crops that are dark on the left and bright on the right."""
    return torch.linspace(40, 200, side).expand(count, 3, side, side).clone()


def of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_changed_crops_keep_shape_and_range():
    crops = torch.from_numpy(packed().crops).permute(0, 3, 1, 2).float()
    before = crops.clone()
    changed = augment(crops, of(0))
    assert torch.equal(crops, before)
    assert changed.shape == crops.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() < 20
    assert 235 < changed.max() < 255.001
    assert not any(torch.equal(a, b) for a, b in zip(changed, crops, strict=True))
    assert augment(smooth(3, 64), of(0)).shape == (3, 3, 64, 64)


def test_changes_are_those_of_the_generator():
    crops = smooth(12)
    assert torch.equal(augment(crops, of(5)), augment(crops, of(5)))
    assert not torch.equal(augment(crops, of(5)), augment(crops, of(6)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    augment(crops, of(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_half_of_the_crops_are_mirrored():
    changed = augment(smooth(400), of(2))
    slope = (changed[:, :, 30:80, 70:80] - changed[:, :, 30:80, 30:40]).mean((1, 2, 3))
    share = float((slope < 0).float().mean())
    assert 0.4 < share < 0.6
    assert float((slope.abs() > 5).float().mean()) > 0.9


def test_changes_do_not_depend_on_the_rest_of_their_crops():
    """What a crop looks like plays no part in how the others are changed."""
    crops = smooth(6)
    other = crops.clone()
    other[2] = 7
    found, again = (augment(each, of(3)) for each in (crops, other))
    same = [torch.equal(a, b) for a, b in zip(found, again, strict=True)]
    assert same == [True, True, False, True, True, True]


@pytest.mark.parametrize(("side", "sizes"), [(112, set(BLURRED)), (40, {20, 28})])
def testblurred_crops_keep_as_many_pixels_as_listed(side, sizes, monkeypatch):
    seen = set()
    honest = changes_module.functional.interpolate

    def interpolate(crops, size, **options):
        seen.add(size[0])
        return honest(crops, size, **options)

    monkeypatch.setattr(changes_module.functional, "interpolate", interpolate)
    crops = 100 + 50 * torch.randn(300, 1, side, side, generator=of(1))
    blurred = blur(crops.clone(), of(2))
    assert seen == {side, *sizes}
    changed = (blurred != crops).flatten(1).any(1)
    expected = BLUR * len(sizes) / len(BLURRED)
    assert expected - 0.07 < float(changed.float().mean()) < expected + 0.07
    assert (blurred[changed].std((1, 2, 3)) < 0.9 * crops[changed].std((1, 2, 3))).all()


def test_a_rectangle_by_hand():
    """Of four columns the middle two, of four rows the last two; a pixel counts where its centre does."""
    found = _rectangle(torch.tensor([[0.25, 0.0], [0.5, 0.1]]), torch.tensor([[0.75, 0.0], [1.0, 0.9]]), 4)
    assert found.shape == (2, 1, 4, 4)
    assert found[0, 0].int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    assert not found[1].any()


def test_borders_are_black_andcovers_gray(monkeypatch):
    crops = smooth(60)
    monkeypatch.setattr(changes_module, "COVER", 0.0)
    monkeypatch.setattr(changes_module, "BORDER", 1.0)
    bordered = cover(crops, of(4))
    black = bordered[:, 0] == 0
    widest = LARGEST_BORDER * 112
    inner = slice(int(widest) + 1, 112 - int(widest) - 1)
    assert black.any((1, 2)).float().mean() > 0.9 and not black[:, inner, inner].any()
    assert torch.equal(bordered[~black[:, None].expand_as(crops)], crops[~black[:, None].expand_as(crops)])
    for one in black:  # whole rows and columns
        rows, columns = one.all(1), one.all(0)
        assert torch.equal(one, rows[:, None] | columns)
    monkeypatch.setattr(changes_module, "COVER", 1.0)
    monkeypatch.setattr(changes_module, "BORDER", 0.0)
    for one, before in zip(cover(crops, of(4)), crops, strict=True):
        changed = (one != before).any(0)
        high, wide = int(changed.any(1).sum()), int(changed.any(0).sum())
        assert 10 <= high <= 46 and 10 <= wide <= 46
        assert len(one[:, changed].unique()) == 1
    monkeypatch.setattr(changes_module, "COVER", 0.0)
    assert torch.equal(cover(crops, of(4)), crops)


def test_normalised_as_the_engines_do():
    pixels = torch.tensor([0.0, 127.5, 255.0])
    assert normalise(pixels).tolist() == [-127.5 / 128, 0.0, 127.5 / 128]
