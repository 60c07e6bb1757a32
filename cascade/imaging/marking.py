"""Saying that a picture is synthetic: a visible mark in it, and metadata that programs read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cascade.imaging.drawing import DARK, Label
from cascade.imaging.pixels import RGBImage

__all__ = ["CELL", "DIGITAL_SOURCE", "contact_sheet", "mark_synthetic", "synthetic_xmp"]

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""What the IPTC calls a photo that a trained network has changed."""

TEXT = "synthetic"
SHARE, SMALLEST, LARGEST = 1 / 45, 7, 40  # height of the mark's digits: of the picture's longer side, and in pixels
CELL = 224
"""Pixels: the side of a picture in a contact sheet."""
GAP = 4

XMP = """\
<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" Iptc4xmpExt:DigitalSourceType="{source}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{about}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def synthetic_xmp(about: str) -> bytes:
    """An XMP packet that says that a picture is synthetic, and what it shows, for `encode_jpeg`."""
    escaped = about.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return XMP.format(source=DIGITAL_SOURCE, about=escaped).encode("utf-8")


def mark_synthetic(image: RGBImage, more: str = "") -> RGBImage:
    """A copy of an image (H, W, 3) uint8 RGB with the word "synthetic", and ``more``, on a plate at its lower left.

    Images too narrow for both have the word alone.
    """
    canvas: RGBImage = image.copy()
    height = min(max(SHARE * max(image.shape[:2]), SMALLEST), LARGEST)
    label = Label(f"{TEXT}{more and f': {more}'}", height)
    if label.width > canvas.shape[1]:
        label = Label(TEXT, height)
    label.draw(canvas, 0, max(0, canvas.shape[0] - label.height))
    return canvas


def contact_sheet(rows: Sequence[Sequence[tuple[RGBImage, str]]]) -> RGBImage:
    """One picture of rows of images (side, side, 3) uint8 RGB, each with a text below it.

    Raises ValueError for none.
    """
    if not rows or not all(rows):
        raise ValueError("rows: expected one image or more in each")
    labels = [[Label(text, SMALLEST + 2) for _, text in row] for row in rows]
    line = max(label.height for row in labels for label in row)
    side = rows[0][0][0].shape[0]
    width = max(len(row) for row in rows) * (side + GAP) + GAP
    canvas: npt.NDArray[np.uint8] = np.full((len(rows) * (side + line + GAP) + GAP, width, 3), DARK, np.uint8)
    for down, row in enumerate(rows):
        top = GAP + down * (side + line + GAP)
        for across, (image, _) in enumerate(row):
            left = GAP + across * (side + GAP)
            canvas[top : top + side, left : left + side] = image
            labels[down][across].draw(canvas, left, top + side)
    return canvas
