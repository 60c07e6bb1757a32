"""Can hidden faces still be found, or recognised, as they are or after an attack on what hides them?

Each person has two photos: one whose face is hidden, the probe, and one for the gallery. Whoever attacks knows where
the face was, and how it was hidden. Embeddings are compared by cosine; the figures are rank-1, with chance at
1 / people, and the true accept rate at a false accept rate over all pairs of a probe and a gallery photo.

Attacks:

- "as it is": embeddings of hidden faces against those of the gallery
- "both hidden": the gallery's faces are hidden the same way before they are compared (McPherson et al., Defeating Image
  Obfuscation with Deep Learning, 2016, call it parrot recognition)
- "deconvolution": Wiener's filter for a Gaussian blur of the cells' size, before embedding
- "Richardson-Lucy": ten iterations of it for the same blur
- "regression": a linear map from hidden to visible faces, learned on other people, before embedding: it adds what faces
  have in common, as a mean face does
- "same photo": the gallery holds the probe's own photo, hidden again, and the pixels in the middle of the faces are
  compared: it tells whether who has a photo can tell which hidden face comes from it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from cascade.anonymize.methods import hide
from cascade.anonymize.settings import Hiding, Method
from cascade.boxes import iou
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.alignment import TEMPLATE_SIZE, align
from cascade.imaging.pixels import RGBImage
from cascade.recognize import Recognizer
from eval.recognition.verification import roc

__all__ = ["ATTACKS", "CONTROLS", "FAR", "Recovery", "Subject", "Way", "found_share", "measure", "ways_of"]

FAR = 1e-3
"""False accept rate at which the true accept rate is told."""

FOUND = 0.4
"""IoU from which on a detection is one of the hidden face."""

REGRESSED = 28
"""Side in pixels of the faces that the linear map takes and gives."""

ATTACKS = ("as it is", "both hidden", "deconvolution", "Richardson-Lucy", "regression", "same photo")

RIDGE = 0.02
"""Weight of the penalty of the linear map, over the mean variance of its input."""

MIDDLE = slice(TEMPLATE_SIZE // 4, 3 * TEMPLATE_SIZE // 4)
"""Rows and columns of an aligned crop that lie within the shape that hides the face."""

Hide = Callable[[RGBImage, Faces], RGBImage]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subject:
    """A photo of one person, and the face in it, as `Faces` of one."""

    person: str
    image: RGBImage
    face: Faces


@dataclass(frozen=True)
class Way:
    """A way of hiding faces; ``cells`` is the number of cells along a face that deconvolution assumes."""

    name: str
    hide: Hide
    cells: float


@dataclass(frozen=True)
class Recovery:
    """What is found of hidden faces."""

    way: str
    attack: str
    people: int
    rank1: float
    tar: float
    """True accept rate at `FAR`."""


def ways_of(hiding: Hiding, methods: Sequence[Method]) -> list[Way]:
    """The methods with these settings."""
    chosen = [replace(hiding, method=method) for method in methods]
    return [Way(each.method, _hider(each), hiding.cells) for each in chosen]


def _hider(hiding: Hiding) -> Hide:
    return lambda image, faces: hide(image, faces, hiding)


def _slightly_blurred(image: RGBImage, faces: Faces) -> RGBImage:
    side = float((faces.boxes[0, 2:] - faces.boxes[0, :2]).max())
    return np.asarray(cv2.GaussianBlur(image, (0, 0), side / 16), np.uint8)


CONTROLS = (
    Way("visible", lambda image, faces: image, 64),
    Way("Gaussian blur, 1/16 of the face", _slightly_blurred, 8),
    Way("12 cells without noise", _hider(Hiding(method="pixelate", cells=12, noise=0)), 12),
)
"""Ways that hide too little, which show that the attacks work."""


def measure(
    ways: Iterable[Way],
    probes: Sequence[Subject],
    gallery: Sequence[Subject],
    others: Sequence[Subject],
    recognizer: Recognizer,
) -> list[Recovery]:
    """All attacks on each way. ``probes`` and ``gallery`` hold the same people in the same order, ``others`` none."""
    visible = recognizer.embed_crops(_crops(gallery))
    learned = _crops(others)
    results = []
    for way in ways:
        hidden = _crops(probes, way.hide)
        again = _crops(probes, way.hide)
        sigma = 0.5 * TEMPLATE_SIZE / way.cells
        pairs = [
            (recognizer.embed_crops(hidden), visible),
            (recognizer.embed_crops(again), recognizer.embed_crops(_crops(gallery, way.hide))),
            (recognizer.embed_crops(_each(hidden, partial(_wiener, sigma=sigma))), visible),
            (recognizer.embed_crops(_each(hidden, partial(_richardson_lucy, sigma=sigma))), visible),
            (recognizer.embed_crops(_regression(_crops(others, way.hide), learned)(hidden)), visible),
            (_small(hidden), _small(again)),
        ]
        results += [_figures(way.name, name, *pair) for name, pair in zip(ATTACKS, pairs, strict=True)]
    return results


def found_share(way: Way, subjects: Sequence[Subject], detector: Detector) -> float:
    """Share of the hidden faces that a detector still finds."""
    hits = [
        bool((iou(subject.face.boxes, detector.detect(way.hide(subject.image, subject.face)).boxes) >= FOUND).any())
        for subject in subjects
    ]
    return float(np.mean(hits))


def _figures(way: str, attack: str, probes: FloatArray, gallery: FloatArray) -> Recovery:
    similarities = (probes @ gallery.T).astype(np.float64)
    people = len(probes)
    own = np.diagonal(similarities)
    ranks = (similarities >= own[:, None]).sum(axis=1)  # equal similarities count against the attack
    curve = roc(similarities.ravel(), np.eye(people, dtype=bool).ravel())
    return Recovery(way, attack, people, float((ranks == 1).mean()), curve.tar_at(FAR))


def _crops(subjects: Sequence[Subject], change: Hide | None = None) -> RGBImage:
    """Aligned crops (n, 112, 112, 3) by the landmarks of the visible faces."""
    images = [each.image if change is None else change(each.image, each.face) for each in subjects]
    return np.stack([align(image, each.face.landmarks)[0] for image, each in zip(images, subjects, strict=True)])


def _each(crops: RGBImage, change: Callable[[FloatArray], FloatArray]) -> RGBImage:
    changed = [change(crop.astype(np.float32)) for crop in crops]
    return np.clip(np.rint(np.stack(changed)), 0, 255).astype(np.uint8)


def _wiener(crop: FloatArray, sigma: float, noise: float = 1e-3) -> FloatArray:
    """A crop (h, w, 3) after Wiener's filter for a Gaussian blur, with that power of noise over that of the signal."""
    pad = TEMPLATE_SIZE // 2
    padded = np.pad(crop, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    frequency = np.fft.fftfreq(len(padded))
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    spectrum = np.fft.fft2(padded, axes=(0, 1)) * (response / (response**2 + noise))[:, :, None]
    return np.asarray(np.fft.ifft2(spectrum, axes=(0, 1)).real[pad:-pad, pad:-pad], np.float32)


def _richardson_lucy(crop: FloatArray, sigma: float, iterations: int = 10) -> FloatArray:
    """A crop (h, w, 3) after Richardson and Lucy's deconvolution of a Gaussian blur."""
    observed = crop + 1.0
    estimate = observed.copy()
    for _ in range(iterations):
        ratio = observed / np.maximum(cv2.GaussianBlur(estimate, (0, 0), sigma), 1e-3)
        estimate = estimate * cv2.GaussianBlur(ratio, (0, 0), sigma)
    return np.asarray(estimate - 1.0, np.float32)


def _regression(hidden: RGBImage, visible: RGBImage) -> Callable[[RGBImage], RGBImage]:
    """The ridge regression from hidden crops to visible ones, as a function of hidden crops."""
    source, target = _shrunk(hidden), _shrunk(visible)
    means = source.mean(axis=0), target.mean(axis=0)
    centred = source - means[0]
    gram = centred @ centred.T  # fewer photos than pixels: the dual form
    penalty = RIDGE * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), target - means[1])

    def mapped(crops: RGBImage) -> RGBImage:
        found = (_shrunk(crops) - means[0]) @ centred.T @ weights + means[1]
        small = np.clip(found, 0, 255).reshape(-1, REGRESSED, REGRESSED, 3).astype(np.float32)
        size = (TEMPLATE_SIZE, TEMPLATE_SIZE)
        large = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in small])
        return large.clip(0, 255).astype(np.uint8)

    return mapped


def _shrunk(crops: RGBImage) -> npt.NDArray[np.float64]:
    """Crops as rows of the pixels of small pictures."""
    size = (REGRESSED, REGRESSED)
    small = np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops])
    return small.reshape(len(crops), -1).astype(np.float64)


def _small(crops: RGBImage) -> FloatArray:
    """The middles of crops as unit vectors of small pictures without their mean, to be compared pixel by pixel."""
    rows = _shrunk(np.ascontiguousarray(crops[:, MIDDLE, MIDDLE]))
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)
