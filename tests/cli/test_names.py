"""Names of people on pictures."""

from __future__ import annotations

import numpy as np

from cascade.cli.names import draw_names, in_ascii
from cascade.faces import Faces


def test_names_that_the_font_can_write():
    assert in_ascii("José Ñandú", 1) == "Jose Nandu"
    assert in_ascii("日本", 2) == "face 2"
    assert in_ascii("Łukasz", 3) == "face 3"


def test_names_are_drawn_beside_their_faces():
    image = np.full((300, 400, 3), 200, np.uint8)
    boxes = [[50, 60, 130, 160], [200, 60, 280, 160], [330, 250, 399, 299], [0, 0, 5, 5]]
    faces = Faces(boxes, [0.9, 0.8, 0.7, 0.6], np.full((4, 5, 2), 100))
    drawn = draw_names(image, faces, ["Ann", None, "A name that is much longer than the picture is wide" * 3, "x"])
    assert (image == 200).all()
    assert drawn.shape == image.shape
    assert (drawn[162:190, 60:120] != 200).any()
    assert (drawn[162:190, 210:270] != 200).any()
    assert (draw_names(image[:4, :4], faces[3:], ["Ann"]) != 200).any()
    np.testing.assert_array_equal(draw_names(image, Faces.empty(), []), image)
