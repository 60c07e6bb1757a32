"""Settings of hiding are checked once, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.anonymize import FaceFinder, Hiding, anonymize
from tests.photos import portrait


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "smear"),
        ("shape", "star"),
        ("margin", -0.1),
        ("padding", -1),
        ("feather", 3),
        ("cells", 0),
        ("noise", 256),
        ("fill", (0, 0)),
        ("fill", (0, 0, 256)),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        Hiding(**{name: value})


def test_a_setting_of_another_type_is_named():
    with pytest.raises(TypeError, match=r"^cells: expected an integer"):
        Hiding(cells=2.5)
    with pytest.raises(TypeError, match=r"^fill: expected red, green and blue, got int"):
        Hiding(fill=5)
    for name in ("settings", "finder"):
        with pytest.raises(TypeError, match=rf"^{name}: expected \w+ or None, got str"):
            anonymize(portrait(), **{name: "blur"})
    with pytest.raises(TypeError, match=r"^scales: expected numbers"):
        FaceFinder(scales=1.5)


def test_a_colour_may_come_as_a_list():
    assert Hiding(fill=[1, 2, 3]).fill == (1, 2, 3)


@pytest.mark.parametrize(
    ("settings", "outline"),
    [
        ({}, ("box", 0)),
        ({"method": "drawn"}, ("ellipse", 0.1)),
        ({"method": "drawn", "shape": "box"}, ("box", 0)),
        ({"method": "solid", "shape": "ellipse"}, ("ellipse", 0.1)),
        ({"method": "drawn", "margin": 0}, ("ellipse", 0)),
    ],
)
def test_drawn_faces_are_ellipses_unless_told(settings, outline):
    assert Hiding(**settings).outline == outline
    assert replace(Hiding(), **settings).outline == outline
