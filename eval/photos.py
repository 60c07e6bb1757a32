"""Reading the photos of a set: one that is broken is noted, and the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cascade.datasets import Photo
from cascade.imaging.reading import ImageError, RGBImage, read_image

__all__ = ["images_of"]


def images_of(photos: Iterable[Photo], broken: dict[str, str]) -> Iterator[tuple[Photo, RGBImage]]:
    """Each photo and its image (H, W, 3) uint8 RGB; those that cannot be read go to ``broken``, by name with reason."""
    for photo in photos:
        try:
            image = read_image(photo.path)
        except ImageError as error:
            broken[photo.name] = str(error)
            continue
        yield photo, image
