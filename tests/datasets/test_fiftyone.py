"""Photos as a dataset of FiftyOne, where that is installed."""

from __future__ import annotations

import math
import sys

import pytest

from cascade.datasets import to_fiftyone
from tests.datasets.exchanged import make_photos


def test_without_fiftyone_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ImportError, match="pip install fiftyone"):
        to_fiftyone(make_photos(tmp_path))


@pytest.mark.slow
def test_faces_become_detections_and_keypoints(tmp_path):
    pytest.importorskip("fiftyone")
    dataset = to_fiftyone(make_photos(tmp_path))
    try:
        first = dataset.first()
        face = first.faces.detections[0]
        assert face.bounding_box == pytest.approx([10.25 / 120, 5.5 / 80, 30.5 / 120, 39.625 / 80])
        assert (face.confidence, face.person) == (1.0, 'Åsa "Q" <O\'Neil> & 47')
        assert [each.tags for each in first.faces.detections] == [[], [], ["ignored"]]
        assert len(first.landmarks.keypoints) == 2
        assert not math.isnan(first.landmarks.keypoints[0].points[0][0])
        assert len(dataset) == 3
    finally:
        dataset.delete()
