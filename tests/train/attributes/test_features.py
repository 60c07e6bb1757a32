"""Maps of a trunk, cached for views of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cascade.models.recognizer import load_recognizer
from tests.photos import portrait
from train.attributes.features import Trunk, cache_maps
from train.attributes.store import LabelledCrops

LAST = 3


def packed(count: int = 3) -> LabelledCrops:
    """Moved crops of the portrait."""
    crops = np.stack([portrait()[40 + n : 152 + n, 170:282] for n in range(count)])
    labels, found = np.zeros((count, 1), np.int16), np.ones(count, bool)
    return LabelledCrops(crops, labels, found, {"smile": ["no"]}, [f"{n}.jpg" for n in range(count)], {"source": "x"})


def test_maps_are_cached_once_and_are_those_of_the_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, crops = Trunk(load_recognizer(None), LAST), packed()
    cached = cache_maps(crops, trunk, tmp_path / "maps", 1, 1)
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == [
        "cache.json",
        "scale.npy",
        "view-0.npy",
        "view-1.npy",
    ]
    low, step = cached.scale.numpy()
    expected = trunk.maps(np.asarray(crops.crops))
    off = np.abs(cached.take(np.arange(3), 0) * step + low - expected)
    assert (off > step).mean() < 1e-3  # rounded; a few beyond the ends of the scale are cut off
    monkeypatch.setattr(trunk, "maps", None)  # nothing is computed again
    again = cache_maps(crops, trunk, tmp_path / "maps", 1, 1)
    np.testing.assert_array_equal(again.take(np.arange(3), 1), cached.take(np.arange(3), 1))
