"""How faces are hidden: the settings, checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from cascade.checks import integer, number

__all__ = ["METHODS", "SHAPES", "Hiding", "Method", "Outline", "Shape"]

Method = Literal["blur", "pixelate", "solid", "drawn"]
Shape = Literal["ellipse", "box"]

METHODS: tuple[Method, ...] = get_args(Method)
SHAPES: tuple[Shape, ...] = get_args(Shape)

MARGINS: dict[Shape, float] = {"box": 0.0, "ellipse": 0.1}
"""Where none is given. An ellipse within the box would leave the corners of the jaw visible."""


class Outline(NamedTuple):
    """The shape that hides a face, and its margin."""

    shape: Shape
    margin: float


@dataclass(frozen=True)
class Hiding:
    """How a face is hidden. All lengths are relative to the face, so that large faces are hidden as well as small ones.

    method   "blur" and "pixelate" replace the face by the means of a few cells with noise, shown smoothly or as
             squares; "solid" by one colour; "drawn" by a drawn face, of which only place, size and lean are the
             photo's. With the last two nothing of the pixels within the shape is in the result.
    shape    "ellipse" or "box"; None: an ellipse for "drawn", else a box
    margin   how far the shape extends beyond the face's box on each side, over the box's width and height; None: 0.1
             of an ellipse, 0 of a box
    padding  pixels by which the shape extends further: boxes of small faces are less exact
    feather  width of the soft edge over the box's shorter side. It lies outside the shape: within, nothing shows
             through.
    cells    of "blur" and "pixelate": cells along the longer side of the shape. Fewer hide more.
    noise    of "blur" and "pixelate": standard deviation of the noise that is added to the mean of each cell, in grey
             levels of 0 to 255. It comes from the operating system's random numbers, so that it cannot be repeated.
    fill     of "solid": red, green and blue, 0 to 255 each

    Raises ValueError or TypeError naming a wrong setting.
    """

    method: Method = "blur"
    shape: Shape | None = None
    margin: float | None = None
    padding: float = 3.0
    feather: float = 0.1
    cells: int = 3
    noise: float = 20.0
    fill: tuple[int, int, int] = (128, 128, 128)

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, METHODS), ("shape", self.outline.shape, SHAPES)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if self.margin is not None:
            number("margin", self.margin, 0, 2)
        number("padding", self.padding, 0, 1000)
        number("feather", self.feather, 0, 2)
        integer("cells", self.cells, 1, 32)
        number("noise", self.noise, 0, 255)
        if not isinstance(self.fill, Iterable):
            raise TypeError(f"fill: expected red, green and blue, got {type(self.fill).__name__}")
        if len(tuple(self.fill)) != 3:
            raise ValueError(f"fill: expected red, green and blue, got {self.fill!r}")
        object.__setattr__(self, "fill", tuple(integer("fill", value, 0, 255) for value in self.fill))

    @property
    def outline(self) -> Outline:
        """The shape and the margin that are used, also where none is given."""
        usual: Shape = "ellipse" if self.method == "drawn" else "box"
        shape = usual if self.shape is None else self.shape
        return Outline(shape, MARGINS.get(shape, 0.0) if self.margin is None else self.margin)
