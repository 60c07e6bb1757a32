"""Clips made of photos, whose truth is known by construction.

`camera_clip` moves a camera over group photos: pans, zooms, cuts to another photo and back, a pole that passes. Its
faces are those of the photos' labels. `people_clip` moves cut-out heads over backgrounds: people cross, leave and come
back with another photo of theirs, are hidden behind a pole, and a cut shows them in other places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cascade import _native
from cascade.datasets import Photo
from cascade.imaging.pixels import RGBImage
from cascade.imaging.reading import read_image

__all__ = ["Frame", "Head", "camera_clip", "people_clip"]

FloatArray = npt.NDArray[np.float64]

WIDTH, HEIGHT, RATE = 640, 480, 25
LEAST_FACE = 24.0  # shorter side in pixels of faces that must be found; smaller ones are ignored
LEAST_VISIBLE = 0.5  # share of a face that must be seen
MOST_ENLARGED = 1.5

HEAD = (0.36, 0.47)
"""Half axes of a cut-out head's ellipse, over the sides of its photo."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a clip and the faces in it."""

    time: float
    image: RGBImage
    people: npt.NDArray[np.intp]
    """(N,) number of each face's person."""
    boxes: FloatArray
    """(N, 4) in pixels of the image."""
    ignored: npt.NDArray[np.bool_]
    """(N,) faces that are small, or hidden for the most part: neither to be found nor false alarms."""


@dataclass(frozen=True, eq=False)
class Head:
    """A photo of one person: the image (H, W, 3) uint8 RGB and the box (4,) of the face."""

    image: RGBImage
    box: FloatArray


# A camera over group photos


def camera_clip(photos: Sequence[Photo], seconds: float, seed: int) -> Iterator[Frame]:
    """A camera over two photos: the first, the second, and the first again."""
    random = np.random.default_rng(seed)
    shots = [0, 1, 0] if len(photos) > 1 else [0]
    count = round(seconds * RATE)
    paths: dict[int, list[FloatArray]] = {at: _windows(photo, random) for at, photo in enumerate(photos[:2])}
    images = {at: read_image(photo.path) for at, photo in enumerate(photos[:2])}
    first_number = {0: 0, 1: len(photos[0].boxes)}
    for index in range(count):
        time = index / RATE
        shot = shots[min(len(shots) - 1, index * len(shots) // count)]
        window = _between(paths[shot], index / count)
        image = _native.resample(images[shot], tuple(window), WIDTH, HEIGHT).copy()
        scale = WIDTH / (window[2] - window[0])
        boxes = (photos[shot].boxes - np.tile(window[:2], 2)) * scale
        owner = np.zeros((HEIGHT, WIDTH), np.intp)
        _pass_pole(image, owner, time, seconds, random_colour=seed)
        inside = (np.minimum(boxes[:, 2:], (WIDTH, HEIGHT)) - np.maximum(boxes[:, :2], 0)).min(axis=1) > 2
        chosen = np.flatnonzero(inside)
        visible = np.array([_free_share(owner, boxes[at], 0) for at in chosen])
        small = (boxes[chosen, 2:] - boxes[chosen, :2]).min(axis=1) < LEAST_FACE
        ignored = photos[shot].ignored[chosen] | small | (visible < LEAST_VISIBLE)
        yield Frame(time, image, chosen + first_number[shot], boxes[chosen].astype(np.float64), ignored)


def _windows(photo: Photo, random: np.random.Generator) -> list[FloatArray]:
    """Parts of a photo of 4:3, each around one of its larger faces, through which the camera goes."""
    image = read_image(photo.path)
    height, width = image.shape[:2]
    largest = min(width, height * WIDTH / HEIGHT)
    smallest = min(largest, WIDTH / MOST_ENLARGED)
    sizes = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1)
    good = np.flatnonzero((sizes >= np.sort(sizes)[-min(8, len(sizes))]) & ~photo.ignored)
    found = []
    for _ in range(4):
        box = photo.boxes[random.choice(good)] if len(good) else np.array([0, 0, width, height])
        across = np.exp(random.uniform(np.log(smallest), np.log(largest)))
        sides = np.array([across, across * HEIGHT / WIDTH])
        centre = (box[:2] + box[2:]) / 2 + random.uniform(-0.2, 0.2, 2) * sides
        corner = np.clip(centre - sides / 2, 0, np.array([width, height]) - sides)
        found.append(np.concatenate([corner, corner + sides]))
    return found


def _between(windows: list[FloatArray], share: float) -> FloatArray:
    """The window at a share 0..1 of the way through all, gently from one to the next."""
    place = share * (len(windows) - 1)
    at = min(int(place), len(windows) - 2)
    gentle = (1 - np.cos(np.pi * (place - at))) / 2
    return np.asarray((1 - gentle) * windows[at] + gentle * windows[at + 1])


# People over a background


@dataclass(frozen=True, eq=False)
class _Visit:
    """Times in seconds from which to which somebody is there, with which photo, and how the person moves."""

    begin: float
    end: float
    head: Head
    centre: FloatArray
    sway: FloatArray
    pace: float
    side: float
    scale: float


def people_clip(
    heads: Mapping[int, Sequence[Head]], backgrounds: Sequence[RGBImage], seconds: float, seed: int
) -> Iterator[Frame]:
    """People, by their number with some photos of each, before a background, and from the middle on another one."""
    random = np.random.default_rng(seed)
    visits = {person: _visits(some, seconds, random) for person, some in heads.items()}
    cut = seconds / 2
    for index in range(round(seconds * RATE)):
        time = index / RATE
        background = backgrounds[min(len(backgrounds) - 1, int(time >= cut))]
        image = _native.resample(background, (0, 0, background.shape[1], background.shape[0]), WIDTH, HEIGHT).copy()
        owner = np.zeros((HEIGHT, WIDTH), np.intp)
        boxes = {}
        for person, some in visits.items():
            visit = next((each for each in some if each.begin <= time < each.end), None)
            if visit is not None:
                boxes[person] = _paste(image, owner, visit, time, person + 1)
        _pass_pole(image, owner, time, seconds, seed)
        people = np.array(list(boxes), np.intp)
        places = np.array(list(boxes.values()), np.float64).reshape(-1, 4)
        visible = np.array([_free_share(owner, box, person + 1) for person, box in boxes.items()])
        small = (places[:, 2:] - places[:, :2]).min(axis=1, initial=np.inf) < LEAST_FACE
        there = visible > 0.05
        yield Frame(time, image, people[there], places[there], (small | (visible < LEAST_VISIBLE))[there])


def _visits(heads: Sequence[Head], seconds: float, random: np.random.Generator) -> list[_Visit]:
    """Two visits before the cut and one after it, each with the next photo."""
    cut = seconds / 2
    away = random.uniform(0.15, 0.3) * cut
    leaves = random.uniform(0.3, 0.6) * cut
    times = [(0.0, leaves), (leaves + away, cut), (cut, seconds)]
    return [
        _Visit(
            begin,
            end,
            heads[at % len(heads)],
            random.uniform((0.2, 0.3), (0.8, 0.7)) * (WIDTH, HEIGHT),
            random.uniform(0.05, 0.3, 2) * (WIDTH, HEIGHT / 2),
            random.uniform(0.1, 0.35),
            float(random.choice([-1.0, 1.0])),
            random.uniform(0.7, 1.3),
        )
        for at, (begin, end) in enumerate(times)
    ]


def _paste(image: RGBImage, owner: npt.NDArray[np.intp], visit: _Visit, time: float, mark: int) -> FloatArray:
    """Draws a head where it is at a time, and returns the box (4,) of its face."""
    height, width = visit.head.image.shape[:2]
    phase = 2 * np.pi * visit.pace * (time - visit.begin)
    centre = visit.centre + visit.sway * (np.sin(phase), np.sin(1.7 * phase) / 2)
    # whoever comes or leaves does so to the side, within half a second
    outside = max(0.0, 0.5 - (time - visit.begin)) if visit.begin > 0 else 0.0
    outside = max(outside, 0.5 - (visit.end - time))
    centre[0] += visit.side * 2 * outside * WIDTH
    scale = visit.scale * (1 + 0.15 * np.sin(0.7 * phase))
    columns, rows = max(2, round(width * scale)), max(2, round(height * scale))
    head = _native.resample(visit.head.image, (0, 0, width, height), columns, rows)
    corner = np.round(centre - (columns / 2, rows / 2)).astype(int)
    x, y = (np.arange(columns) + 0.5) / columns - 0.5, (np.arange(rows) + 0.5) / rows - 0.5
    radius = np.hypot(x[None] / HEAD[0], y[:, None] / HEAD[1])
    opacity = np.clip((1 - radius) / 0.12, 0, 1)
    left, top = np.maximum(corner, 0)
    right, bottom = np.minimum(corner + np.array([columns, rows]), np.array([WIDTH, HEIGHT]))
    if left < right and top < bottom:
        part = np.s_[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
        below = image[top:bottom, left:right]
        below[...] = np.rint(below + opacity[part][..., None] * (head[part].astype(np.float64) - below))
        owner[top:bottom, left:right][opacity[part] > 0.5] = mark
    return np.asarray(visit.head.box * scale + np.tile(corner, 2), np.float64)


def _pass_pole(image: RGBImage, owner: npt.NDArray[np.intp], time: float, seconds: float, random_colour: int) -> None:
    """Draws a pole that passes through the frame once in each half of the clip."""
    half = seconds / 2
    share = (time % half) / half
    if not 0.3 < share < 0.8:
        return
    middle = (share - 0.3) / 0.5 * WIDTH
    left, right = int(max(0, middle - 40)), int(min(WIDTH, middle + 40))
    shades = 60 + 40 * np.sin(np.arange(right - left) / 9 + random_colour)
    image[:, left:right] = shades.astype(np.uint8)[None, :, None]
    owner[:, left:right] = -1


def _free_share(owner: npt.NDArray[np.intp], box: npt.ArrayLike, mark: int) -> float:
    """The share of a box in which the owner of the pixels is this one; outside the frame nothing is."""
    x1, y1, x2, y2 = np.rint(np.asarray(box)).astype(int)
    part = owner[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
    return int((part == mark).sum()) / max(1, int((x2 - x1) * (y2 - y1)))
