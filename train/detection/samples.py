"""Cuts training samples: windows over the annotated photos, labelled by how they overlap the faces.

P-Net's windows are those of its dense scan, at every pyramid phase. R-Net's windows are what P-Net lets through,
O-Net's what P-Net and R-Net let through: their own false alarms and misalignments. Crops come from the same pyramid
and the same C resampling that detection uses.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cascade import _native
from cascade.boxes import expand, iou, square, window_boxes
from cascade.datasets import Photo
from cascade.engines.base import Engine, StageGenerator, run
from cascade.engines.factory import make_engine
from cascade.imaging.pyramid import PADDING_VALUE, Pyramid, build_pyramid, crop_sources, level_sizes
from cascade.imaging.reading import ImageError, read_image
from cascade.models.detector import DetectorWeights, load_detector, stage_file
from cascade.nn.architectures import ARCHITECTURES, LANDMARK_STAGE, STAGES, Architecture, Stage
from cascade.stages import Candidates, run_pnet, run_rnet
from train.detection.aligned_crops import aligned_crops
from train.detection.in_plane_rotation import rotated_windows, windows_around_landmarks
from train.detection.labels import LANDMARK, NEGATIVE, PART, POINT_COLUMNS, POSITIVE
from train.detection.photo_changes import change_photo
from train.detection.sample_store import Samples, SampleWriter
from train.detection.sources import Source, describe, fingerprint, photos, recipe_fingerprint

# Size of a pyramid level over the one before. Each photo has another phase, so windows have every size in between.
SCALE_FACTOR = 0.709


@dataclass(frozen=True)
class SampleSettings:
    """How windows become samples. The overlaps are those of the paper; the presets state where they deviate."""

    stage: Stage
    family: str = "default"  # which architectures, see cascade.nn.architectures
    seed: int = 1
    passes: int = 1  # times each photo is gone through, each at another pyramid phase
    min_face: float = 10.0  # smallest face that becomes a sample, shorter side in pixels; smaller ones are ignored
    negative_iou: float = 0.3  # below this with every face: negative
    positive_iou: float = 0.65  # from this with some face: positive
    part_iou: float = 0.4  # from this: part
    square_ground_truth: bool = False  # compare windows with the square around a face; the windows are squares too
    negatives_per_photo: int = 60
    windows_per_face: int = 4  # at most this many positives, and parts, and landmark windows of one face in one pass
    near_share: float = 0.3  # of the negatives of P-Net that touch a face
    proposal_threshold: float = 0.3  # a stage's probability above which its windows go on to the next
    proposal_nms: float = 0.8  # loose, so that several windows of a face remain
    landmark_windows: int = 0  # further windows of each face with landmarks, shifted and scaled at random
    rotated_windows: int = 0  # and further ones rotated in the plane, for the landmarks only
    jitter: tuple[float, float] = (0.12, 0.18)  # of those: most shift in sides of the face, most change of log size
    photo_changes: bool = False  # rotate, cut and degrade photos first, see train.detection.photo_changes
    margin: int = 0  # pixels stored around a crop, for shifts on the fly


@dataclass(frozen=True)
class Labels:
    """Indices of the windows chosen, the kind of each and the face that it belongs to (-1: none)."""

    indices: np.ndarray
    kinds: np.ndarray
    faces: np.ndarray


def make_samples(
    settings: SampleSettings,
    sources: tuple[Source, ...],
    out: Path,
    weights: Path | None = None,
    workers: int = 1,
    limit: int | None = None,
) -> Samples:
    """Cuts a folder of samples for one stage; ``weights`` holds the stages before it (P-Net needs none).

    The same settings give the same samples whatever the number of ``workers``.
    """
    architecture = ARCHITECTURES[settings.family][settings.stage]
    writer = SampleWriter(out, architecture.input_size + 2 * settings.margin)
    jobs = [
        (photo, replace(settings, passes=settings.passes * source.passes), weights)
        for source in sources
        for photo in photos(source)
        if _useful(photo, settings)
    ]
    # in random order, so that the last samples, which training holds out for validation, are of every kind
    jobs = [jobs[i] for i in np.random.default_rng(settings.seed).permutation(len(jobs))][:limit]
    broken: list[str] = []
    bar = tqdm(_each(jobs, workers), total=len(jobs), desc=f"{settings.stage} samples", unit="photo")
    for done, result in enumerate(bar):
        if isinstance(result, str):
            broken.append(result)
            tqdm.write(result)
        else:
            writer.add(*result)
        if done % 50 == 0:
            bar.set_postfix_str("neg/pos/part/landmark " + "/".join(map(str, writer.counts())))
    meta = {
        "settings": asdict(settings),
        "input": {"size": architecture.input_size, "window": architecture.window},
        "data": describe(sources),
        **provenance(settings.stage, sources, weights, limit),
        "photos": len(jobs),
        "broken": broken,
        "weights": str(weights) if weights else None,
    }
    return writer.finish(meta)


def provenance(stage: Stage, sources: tuple[Source, ...], weights: Path | None, limit: int | None) -> dict[str, Any]:
    """What the samples of a stage come from: annotations, number of photos, and the weights of the stages before it."""
    files: dict[Stage, Path] = {}
    if weights is not None and stage != LANDMARK_STAGE:
        files = {name: stage_file(weights, name) for name in STAGES[: STAGES.index(stage)]}
    return {
        "annotations_sha256": fingerprint(sources),
        "recipe_sha256": recipe_fingerprint(sources),
        "limit": limit,
        "weights_sha256": {name: _sha256(file) for name, file in files.items() if file.exists()},
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _useful(photo: Photo, settings: SampleSettings) -> bool:
    """L-Net learns from photos with landmarks only."""
    return settings.stage != "lnet" or bool(np.isfinite(photo.landmarks).all(axis=(1, 2)).any())


def _each(jobs: list[Any], workers: int) -> Iterator[Any]:
    if workers <= 1:
        yield from map(_photo_samples, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_photo_samples, jobs, chunksize=4)


def _photo_samples(job: tuple[Photo, SampleSettings, Path | None]) -> tuple[np.ndarray, ...] | str:
    """Crops, kinds and targets of one photo, or what is wrong with it."""
    photo, settings, weights = job
    try:
        original = read_image(photo.path)
    except ImageError as error:
        return f"{photo.path}: {error}"
    labelled = photo
    architecture = ARCHITECTURES[settings.family][settings.stage]
    photo_seed = zlib.crc32(photo.name.encode())
    rng = np.random.default_rng([settings.seed, photo_seed])
    results = []
    for _ in range(settings.passes):
        image, photo = change_photo(original, labelled, rng) if settings.photo_changes else (original, labelled)
        # another phase of the pyramid each time: windows of every size in between
        min_face = settings.min_face * SCALE_FACTOR ** rng.uniform(-0.5, 0.5)
        if settings.stage == "pnet":
            results.append(_scanned(photo, image, settings, architecture, min_face, rng))
        elif settings.stage == "lnet":
            # the crops may come from any level that is fine enough, as in detection
            pyramid = _pyramid(image, min_face, ARCHITECTURES[settings.family]["pnet"].window)
            results.append(aligned_crops(photo, pyramid, architecture, settings.landmark_windows, settings.margin, rng))
        else:
            results.append(_proposed(photo, image, settings, architecture, min_face, weights, rng))
    crops, kinds, targets = zip(*results, strict=True)
    return np.concatenate(crops), np.concatenate(kinds), np.concatenate(targets)


def _faces(photo: Photo, settings: SampleSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the faces to learn, the boxes windows are compared with, and the boxes to keep away from."""
    sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1, initial=np.inf)
    learn = np.flatnonzero(~photo.ignored & (sides >= settings.min_face))
    other = np.setdiff1d(np.arange(len(photo.boxes)), learn)
    boxes = photo.boxes[learn]
    return learn, (square(boxes) if settings.square_ground_truth else boxes), photo.boxes[other]


def label(
    windows: np.ndarray, photo: Photo, settings: SampleSettings, rng: np.random.Generator, hardest_first: bool
) -> Labels:
    """Chooses windows (n, 4) and labels them.

    Negatives overlap no face by `negative_iou` and no ignored face by much; a photo that is not fully labelled gives
    none. With ``hardest_first`` the first windows are the hardest negatives and are taken in that order.
    """
    learn, truth, avoid = _faces(photo, settings)
    overlaps = iou(windows, truth) if len(learn) else np.zeros((len(windows), 1))
    best, face = overlaps.max(axis=1), overlaps.argmax(axis=1)
    chosen, kinds, faces = [], [], []

    def take(indices: np.ndarray, kind: int, owner: np.ndarray | None) -> None:
        chosen.append(indices)
        kinds.append(np.full(len(indices), kind))
        faces.append(np.full(len(indices), -1) if owner is None else learn[owner])

    if len(learn):
        positive, part = best >= settings.positive_iou, (best >= settings.part_iou) & (best < settings.positive_iou)
        landmark = positive & np.isfinite(photo.landmarks[learn].reshape(len(learn), -1)).all(axis=1)[face]
        for mask, kind in ((positive, POSITIVE), (part, PART), (landmark, LANDMARK)):
            indices = _some_of_each(np.flatnonzero(mask), face, settings.windows_per_face, rng)
            take(indices, kind, face[indices])
    if photo.fully_labelled:
        negative = best < settings.negative_iou
        if len(avoid):
            negative &= _covered(windows, avoid) < 0.2
        indices = np.flatnonzero(negative)
        count = min(settings.negatives_per_photo, len(indices))
        if hardest_first or count == 0:
            indices = indices[:count]
        else:
            touching = indices[best[indices] > 0.02]
            near = rng.permutation(touching)[: int(count * settings.near_share)]
            far = rng.permutation(np.setdiff1d(indices, near))[: count - len(near)]
            indices = np.concatenate([near, far])
        take(indices, NEGATIVE, None)
    if not chosen:
        return Labels(np.empty(0, int), np.empty(0, int), np.empty(0, int))
    return Labels(np.concatenate(chosen), np.concatenate(kinds), np.concatenate(faces).astype(int))


def _some_of_each(indices: np.ndarray, face: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``most`` windows of each face, at random."""
    indices = rng.permutation(indices)
    order = np.argsort(face[indices], kind="stable")
    sorted_faces = face[indices][order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_faces, sorted_faces)
    return np.asarray(indices[order[rank < most]])


def _covered(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The largest share of each window that one box covers."""
    corner = np.minimum(windows[:, None, 2:], boxes[None, :, 2:]) - np.maximum(windows[:, None, :2], boxes[None, :, :2])
    shared = np.clip(corner, 0, None).prod(axis=2)
    window_areas = (windows[:, 2:] - windows[:, :2]).prod(axis=1)
    return np.asarray((shared / np.maximum(window_areas, 1e-9)[:, None]).max(axis=1))


def _targets(windows: np.ndarray, labels: Labels, photo: Photo) -> np.ndarray:
    """Targets (n, 14) in units of each window; NaN for negatives and unknown landmarks."""
    targets = np.full((len(windows), POINT_COLUMNS), np.nan, np.float32)
    real = labels.faces >= 0
    windows, faces = windows[real], labels.faces[real]
    corners, sides = windows[:, :2], windows[:, 2:] - windows[:, :2]
    targets[real, :4] = (photo.boxes[faces] - np.tile(corners, 2)) / np.tile(sides, 2)
    targets[real, 4:] = ((photo.landmarks[faces] - corners[:, None]) / sides[:, None]).reshape(-1, 10)
    return targets


def _pyramid(image: np.ndarray, min_face: float, window: float) -> Pyramid:
    """The pyramid on whose first level a face of ``min_face`` pixels fills P-Net's window."""
    height, width = image.shape[:2]
    return build_pyramid(image, level_sizes(width, height, min_face, None, window, SCALE_FACTOR))


def _scanned(
    photo: Photo,
    image: np.ndarray,
    settings: SampleSettings,
    architecture: Architecture,
    min_face: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """P-Net's samples: windows of its dense scan of every level, cut straight from the levels."""
    pyramid = _pyramid(image, min_face, architecture.window)
    windows, places = [], []
    for number, (level, scale) in enumerate(zip(pyramid.images[1:], pyramid.scales[1:], strict=True)):
        grid = _grid(level, architecture)
        boxes = window_boxes([grid], architecture, scale[None])
        keep = _preselect(boxes, photo, settings, rng)
        windows.append(boxes[keep])
        places.append(np.c_[np.full(keep.sum(), number), grid[keep]])
    if not windows:
        side = architecture.input_size + 2 * settings.margin
        return np.empty((0, side, side, 3), np.uint8), np.empty(0, int), np.empty((0, POINT_COLUMNS))
    merged, where = np.concatenate(windows), np.concatenate(places)
    labels = label(merged, photo, settings, rng, hardest_first=False)
    crops = _cut_grid(pyramid, where[labels.indices].astype(int), architecture, settings.margin)
    return crops, labels.kinds, _targets(merged[labels.indices], labels, photo)


def _grid(level: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Columns and rows (n, 2) float32 of all windows of a level's dense scan."""
    y, x = np.mgrid[: architecture.windows(level.shape[0]), : architecture.windows(level.shape[1])]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _preselect(boxes: np.ndarray, photo: Photo, settings: SampleSettings, rng: np.random.Generator) -> np.ndarray:
    """Windows worth comparing with every face: those of about a face's size that touch it, and some at random."""
    keep = rng.random(len(boxes)) < min(1.0, 3 * settings.negatives_per_photo / max(len(boxes), 1))
    if len(boxes) == 0:
        return keep
    side = boxes[0, 2] - boxes[0, 0]
    for face in photo.boxes[~photo.ignored]:
        if 0.4 < max(face[2:] - face[:2]) / side < 2.5:
            centre = (face[:2] + face[2:]) / 2
            keep |= (np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - centre) < 0.6 * side).all(axis=1)
    return keep


def _cut_grid(pyramid: Pyramid, places: np.ndarray, architecture: Architecture, margin: int) -> np.ndarray:
    """Crops of windows (level, column, row), pixel for pixel what the dense scan sees."""
    around, side = architecture.padding + margin, architecture.input_size + 2 * margin
    sides = (around, around + architecture.stride - 1)  # the last windows may reach as far beyond the padding
    crops = np.empty((len(places), side, side, 3), np.uint8)
    for number in np.unique(places[:, 0]):
        level = np.pad(pyramid.images[number + 1], (sides, sides, (0, 0)), constant_values=PADDING_VALUE)
        for i in np.flatnonzero(places[:, 0] == number):
            x, y = places[i, 1:] * architecture.stride
            crops[i] = level[y : y + side, x : x + side]
    return crops


@cache
def _engine(stage: Stage, weights: Path) -> Engine:
    """Runs the stages before the one in training; one engine a process."""
    return make_engine("native", 1, load_detector(weights, STAGES[: STAGES.index(stage)]), None)


def _proposals(weights: DetectorWeights, pyramid: Pyramid, settings: SampleSettings) -> StageGenerator[Candidates]:
    """What the stages before the one in training let through, more than in detection."""
    threshold, nms = settings.proposal_threshold, settings.proposal_nms
    candidates = yield from run_pnet(weights, pyramid, threshold, nms)
    if settings.stage == "onet":
        candidates = yield from run_rnet(weights, pyramid, candidates, threshold, nms)
    return candidates


def _proposed(
    photo: Photo,
    image: np.ndarray,
    settings: SampleSettings,
    architecture: Architecture,
    min_face: float,
    weights: Path | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """R-Net's and O-Net's samples: what the stages before them let through."""
    if weights is None:
        raise ValueError(f"weights: {settings.stage} samples need the weights of the stages before it")
    engine = _engine(settings.stage, weights)
    pyramid = _pyramid(image, min_face, engine.weights["pnet"].architecture.window)
    (candidates,) = run(engine, [_proposals(engine.weights, pyramid, settings)])
    around, _ = windows_around_landmarks(photo, settings.landmark_windows, settings.jitter, rng)
    windows = np.concatenate([square(candidates.boxes), around])
    labels = label(windows, photo, settings, rng, hardest_first=True)
    windows = windows[labels.indices]
    return _cut_windows(photo, pyramid, windows, labels, settings, architecture, rng)


def _cut_windows(
    photo: Photo,
    pyramid: Pyramid,
    windows: np.ndarray,
    labels: Labels,
    settings: SampleSettings,
    architecture: Architecture,
    rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """Crops, kinds and targets of labelled windows (n, 4), and of the rotated windows that the settings ask for."""
    side = architecture.input_size + 2 * settings.margin
    context = architecture.context * side / architecture.input_size
    images, scales = crop_sources(pyramid)
    crops = _native.cut(images, scales, expand(windows, context), side)
    found = crops, labels.kinds, _targets(windows, labels, photo)
    if not settings.rotated_windows:
        return found
    rotated = rotated_windows(photo, pyramid, settings.rotated_windows, side, context, settings.jitter, rng)
    return tuple(np.concatenate(pair) for pair in zip(found, rotated, strict=True))
