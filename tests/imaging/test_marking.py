"""Marks and metadata of synthetic pictures."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cascade.imaging.marking import CELL, DIGITAL_SOURCE, contact_sheet, mark_synthetic, synthetic_xmp
from cascade.imaging.writing import encode_jpeg
from tests.photos import portrait


def test_the_mark_is_in_a_corner_of_a_copy() -> None:
    before = portrait().copy()
    marked = mark_synthetic(portrait(), "age 60")
    changed = np.argwhere((marked != before).any(axis=2))
    assert np.array_equal(portrait(), before) and len(changed) > 500
    assert changed[:, 0].min() > 0.9 * len(before) and changed[:, 1].max() < 0.5 * len(before)
    for side in (1, 5, 20):
        assert mark_synthetic(np.zeros((side, side, 3), np.uint8)).shape == (side, side, 3)


def test_narrow_pictures_have_the_whole_word() -> None:
    narrow = np.full((64, 64, 3), 200, np.uint8)
    assert np.array_equal(mark_synthetic(narrow, "age 60"), mark_synthetic(narrow))
    assert (mark_synthetic(narrow)[-5:, -3:] == 200).all()  # the plate ends within the picture


def test_metadata_come_back_from_the_file() -> None:
    packet = synthetic_xmp("a face <at> 60 & more")
    ElementTree.fromstring(packet.decode().split("?>", 1)[1].rsplit("<?", 1)[0])
    with Image.open(io.BytesIO(encode_jpeg(portrait(), xmp=packet))) as picture:
        assert picture.info["xmp"] == packet and DIGITAL_SOURCE.encode() in packet
    assert "trainedAlgorithmicMedia".lower() in DIGITAL_SOURCE.lower()
    assert b"xmp" not in encode_jpeg(portrait()).lower()


def test_a_sheet_holds_every_picture() -> None:
    cells = [(np.full((CELL, CELL, 3), 40 * n, np.uint8), f"n {n}") for n in range(5)]
    sheet = contact_sheet([cells[:3], cells[3:]])
    assert sheet.shape[1] > 3 * CELL and sheet.shape[0] > 2 * CELL
    for n in range(5):
        assert (sheet == 40 * n).all(axis=2).sum() >= (CELL * CELL if n else 0)
    for rows in ([], [[]]):
        with pytest.raises(ValueError, match="rows"):
            contact_sheet(rows)
