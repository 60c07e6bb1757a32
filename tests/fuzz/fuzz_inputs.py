"""Random images, settings and weights for the fuzzer: all follows from the generator that is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cascade import _native
from cascade.detect import THRESHOLDS
from cascade.imaging.pyramid import level_sizes
from cascade.models.detector import DetectorWeights, load_detector, shipped_detectors
from cascade.nn.architectures import ARCHITECTURES, Architecture
from tests.photos import portrait
from tests.random_networks import save_random_weights

# Most windows that P-Net may judge in one image: where all of them pass, O-Net has as many crops to judge.
MOST_WINDOWS = 900
LARGEST_FLOAT = 3e38

Generator = np.random.Generator


def generator(seed: int, number: int) -> Generator:
    """What case ``number`` of a run follows from, whatever the cases before it."""
    return np.random.default_rng([seed, number])


def _spread(rng: Generator, low: float, high: float) -> float:
    """A number of ``low`` to ``high``, each power of ten as likely as the next."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# Images


def _tiny(rng: Generator) -> tuple[int, int]:
    return int(rng.integers(1, 30)), int(rng.integers(1, 30))


def _any_size(rng: Generator) -> tuple[int, int]:
    return int(_spread(rng, 1, 701)), int(_spread(rng, 1, 501))


def _photo_size(rng: Generator) -> tuple[int, int]:
    return int(rng.integers(100, 701)), int(rng.integers(80, 501))


def _strip(rng: Generator) -> tuple[int, int]:
    """From 300 by 1 to 3000 by 12, lying or standing."""
    long, short = int(rng.integers(300, 3001)), int(rng.integers(1, 13))
    return (long, short) if rng.random() < 0.5 else (short, long)


def _even_size(rng: Generator) -> tuple[int, int]:
    """About the multiples of 16 that kernels and strips of rows work in."""
    width, height = 16 * rng.integers(1, [30, 20]) + rng.integers(-1, 2, 2)
    return int(width), int(height)


SIZES: dict[str, Callable[[Generator], tuple[int, int]]] = {
    "tiny": _tiny,
    "any size": _any_size,
    "photo size": _photo_size,
    "strip": _strip,
    "even size": _even_size,
}


def _noise(rng: Generator, width: int, height: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def _flat(rng: Generator, width: int, height: int) -> np.ndarray:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.choice([0, 127, 128, 255, int(rng.integers(256))])
    return image


def _checkers(rng: Generator, width: int, height: int) -> np.ndarray:
    """Black and white, as far apart as pixels can be."""
    side = int(rng.integers(1, 9))
    rows, columns = np.indices((height, width)) // side
    return np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def _gradient(rng: Generator, width: int, height: int) -> np.ndarray:
    ends = rng.uniform(0, 255, (4, 3))
    x, y = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
    upper, lower = ends[0] + (ends[1] - ends[0]) * x, ends[2] + (ends[3] - ends[2]) * x
    return np.asarray(upper + (lower - upper) * y).astype(np.uint8)


def _photo(rng: Generator, width: int, height: int) -> np.ndarray:
    """Any piece of the portrait, stretched as need be, and perhaps a little beyond its edge."""
    corner = rng.uniform(-20, 350, 2)
    sides = rng.uniform(30, 532 - corner)
    return _native.resample(portrait(), (*corner, *(corner + sides)), width, height)


CONTENTS: dict[str, Callable[[Generator, int, int], np.ndarray]] = {
    "noise": _noise,
    "flat": _flat,
    "checkers": _checkers,
    "gradient": _gradient,
    "photo": _photo,
}


def random_image(rng: Generator, size: str) -> tuple[str, np.ndarray]:
    """An image of one of SIZES and what it shows, one of CONTENTS; sometimes it lies oddly in memory."""
    content = str(rng.choice(list(CONTENTS), p=[0.2, 0.1, 0.1, 0.1, 0.5]))
    image = CONTENTS[content](rng, *SIZES[size](rng))
    if rng.random() < 0.2:
        image = image[::-1, ::-1]
    return content, image


# Settings


def random_settings(rng: Generator, images: list[np.ndarray], pnet: Architecture) -> dict[str, Any]:
    """Keyword arguments of a Detector, but for weights and threads."""
    factors = [0.5, 0.709, 0.8, 0.95, rng.uniform(0.5, 0.95)]
    factor = float(rng.choice(factors, p=[0.15, 0.4, 0.15, 0.05, 0.25]))
    min_face = _spread(rng, 4, 150)
    while max(_windows(image, min_face, factor, pnet) for image in images) > MOST_WINDOWS:
        min_face *= 1.2
    max_face = min_face * rng.uniform(1, 9) if rng.random() < 0.4 else None
    # lenient ones let random networks find faces in most photos
    lenient = rng.random() < 0.4
    thresholds = tuple(rng.uniform(0, 0.3) if lenient else _threshold(rng, usual) for usual in THRESHOLDS)
    return {"min_face": min_face, "max_face": max_face, "scale_factor": factor, "thresholds": thresholds}


def _windows(image: np.ndarray, min_face: float, factor: float, pnet: Architecture) -> int:
    """About as many windows as P-Net judges."""
    sizes = level_sizes(image.shape[1], image.shape[0], min_face, None, pnet.window, factor)
    return sum((width // pnet.stride + 1) * (height // pnet.stride + 1) for width, height in sizes)


def _threshold(rng: Generator, usual: float) -> float:
    choices = [usual, rng.uniform() ** 2, 0.0, 1e-12, 1 - 1e-12, 1.0]
    return float(rng.choice(choices, p=[0.3, 0.25, 0.35, 0.04, 0.02, 0.04]))


# Weights


def weight_sets(folder: Path) -> dict[str, DetectorWeights]:
    """Random weights of every family, of two seeds, and the trained ones that are shipped."""
    found = {f"trained {name}": load_detector(name) for name in shipped_detectors()}
    for family in ARCHITECTURES:
        for seed in (0, 100):
            path = save_random_weights(family, folder / f"{family}-{seed}", seed)
            found[f"random {family} {seed}"] = load_detector(path)
    return found


Tensors = dict[str, np.ndarray]


def _jittered(rng: Generator, tensors: Tensors) -> Tensors:
    return {name: values * (1 + 0.1 * rng.normal(size=values.shape)) for name, values in tensors.items()}


def _one_scaled(rng: Generator, tensors: Tensors, factor: float) -> Tensors:
    name = str(rng.choice(sorted(tensors)))
    scaled = tensors[name].astype(np.float64) * factor
    return {**tensors, name: np.clip(scaled, -LARGEST_FLOAT, LARGEST_FLOAT)}


def _zeros(rng: Generator, tensors: Tensors) -> Tensors:
    return _one_scaled(rng, tensors, 0)


def _denormal(rng: Generator, tensors: Tensors) -> Tensors:
    return _one_scaled(rng, tensors, 10 ** rng.uniform(-45, -36))


def _huge(rng: Generator, tensors: Tensors) -> Tensors:
    return _one_scaled(rng, tensors, rng.choice([-1, 1]) * 10 ** rng.uniform(2, 40))


def _clashing(rng: Generator, tensors: Tensors) -> Tensors:
    """Outputs of infinity minus infinity: the largest weights of both signs, for some outputs or all."""
    name = str(rng.choice([name for name in sorted(tensors) if name.endswith("weight")]))
    values = tensors[name].copy()
    rows = rng.random(len(values)) < rng.choice([0.1, 0.5, 1.0])
    values[rows] = rng.choice([-LARGEST_FLOAT, LARGEST_FLOAT], values[rows].shape)
    return {**tensors, name: values}


def _wild_outputs(rng: Generator, tensors: Tensors) -> Tensors:
    """Some of a network's outputs are far too large for every window, the face's own logits seldom."""
    last = max(int(name.split(".")[0]) for name in tensors)
    name = f"{last}.bias"
    values = tensors[name].astype(np.float64)
    rows = rng.random(len(values)) < 0.3
    rows[:2] &= rng.random() < 0.2
    values[rows] = (rng.choice([-1, 1], len(values)) * 10 ** rng.uniform(0, rng.choice([3, 39]), len(values)))[rows]
    return {**tensors, name: np.clip(values, -LARGEST_FLOAT, LARGEST_FLOAT)}


UNCHANGED = "as they are"
CHANGES: dict[str, Callable[[Generator, Tensors], Tensors]] = {
    UNCHANGED: lambda rng, tensors: tensors,
    "jittered": _jittered,
    "zeros": _zeros,
    "denormal": _denormal,
    "huge": _huge,
    "clashing": _clashing,
    "wild outputs": _wild_outputs,
}
# With these, outputs are about as large as those of trained networks, and sums as exact.
TAME = (UNCHANGED, "jittered", "zeros", "denormal")


def changed(rng: Generator, weights: DetectorWeights, change: str) -> DetectorWeights:
    """The weights after one of CHANGES to one stage or to all."""
    stages = list(weights.stages)
    some = stages if rng.random() < 0.3 else [stages[rng.integers(len(stages))]]
    found = dict(weights.stages)
    for stage in some:
        tensors = CHANGES[change](rng, found[stage].tensors)
        found[stage] = replace(
            found[stage], tensors={name: values.astype(np.float32) for name, values in tensors.items()}
        )
    return replace(weights, stages=found)
