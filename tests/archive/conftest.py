"""Photos, and an indexer with a small random recognition network."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from cascade import Detector, Recognizer
from cascade.archive.photos import PhotoIndexer
from tests.cli.helpers import portrait_photo
from tests.random_recognizer import save_random_recognizer


@pytest.fixture(scope="session")
def indexer(tmp_path_factory: pytest.TempPathFactory) -> PhotoIndexer:
    weights = save_random_recognizer(tmp_path_factory.mktemp("recognition") / "small.safetensors")
    return PhotoIndexer(Recognizer(weights, 1, detector=Detector(min_face=40, threads=1)), max_pixels=2_000_000)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with photos of one, two and no people, one of them below another folder."""
    folder = tmp_path / "photos"
    portrait_photo(str(folder / "one.jpg"))
    portrait_photo(str(folder / "2024" / "two.jpg"), people=2)
    portrait_photo(str(folder / "none.png"), people=0)
    return folder
