"""What a face's attributes cost: detection, alignment and networks, for each set of tasks, on a sequence of photos."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascade.attributes import AttributeEstimator
from cascade.detect import Detector
from cascade.faces import Faces
from cascade.imaging.alignment import align
from cascade.imaging.reading import RGBImage
from cascade.landmarks import LandmarkEstimator
from cascade.models.attributes import AttributeWeights

__all__ = ["HEADER", "Cost", "measure", "table"]

HEADER = ("of", "ms_a_photo", "ms_a_face", "photos_a_second")


@dataclass(frozen=True)
class Cost:
    """Times of one step over all photos: the median of ``times``, which are seconds for all of them.

    faces   how many the photos show together
    alone   whether the detection before it is left out of the times
    """

    name: str
    times: tuple[float, ...]
    photos: int
    faces: int
    alone: bool

    @property
    def milliseconds(self) -> float:
        """Median time for a photo."""
        return 1e3 * statistics.median(self.times) / self.photos

    @property
    def milliseconds_a_face(self) -> float | None:
        """Median time for a face; None with detection, whose time is the photo's, and without a face."""
        return 1e3 * statistics.median(self.times) / self.faces if self.alone and self.faces else None

    def row(self) -> tuple[str, float, float | None, float]:
        """The cells of `HEADER`."""
        return self.name, self.milliseconds, self.milliseconds_a_face, 1e3 / self.milliseconds


def measure(
    images: Sequence[RGBImage],
    weights: AttributeWeights,
    detector: Detector,
    runs: int,
    done: Callable[[], object] = lambda: None,
) -> list[Cost]:
    """Times every step ``runs`` times, all steps in turn, so that other load falls on all of them alike.

    The tasks are timed one by one, and together, those that are computed only by name too. A first round is not
    counted. ``done`` is called after each round.
    """
    found = [detector.detect(image) for image in images]
    steps = _steps(weights, detector)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(runs + 1):
        for name, (step, _) in steps.items():
            started = time.perf_counter()
            for image, faces in zip(images, found, strict=True):
                step(image, faces)
            if turn:
                times[name].append(time.perf_counter() - started)
        done()
    count = sum(map(len, found))
    return [Cost(name, tuple(times[name]), len(images), count, alone) for name, (_, alone) in steps.items()]


Step = Callable[[RGBImage, Faces], object]


def _steps(weights: AttributeWeights, detector: Detector) -> dict[str, tuple[Step, bool]]:
    """By name, what is timed, and whether it goes on from faces that are found already."""
    threads = detector.threads
    tasks = [task.name for task in weights.tasks]

    def of(*names: str) -> AttributeEstimator:
        return AttributeEstimator(weights, names or None, threads, min_face=0, max_yaw=90, detector=detector)

    usual, landmarks = of(), LandmarkEstimator(threads=threads, min_face=0, max_yaw=90, detector=detector)
    steps: dict[str, tuple[Step, bool]] = {
        "detection": (lambda image, faces: detector.detect(image), False),
        "alignment": (lambda image, faces: align(image, faces.landmarks), True),
    }
    for name in tasks:
        steps[f"alignment, {name}"] = (of(name).predict, True)
    steps[f"alignment, {', '.join(usual.tasks)}"] = (usual.predict, True)
    if len(tasks) > len(usual.tasks):
        steps["alignment, all tasks"] = (of(*tasks).predict, True)
    steps["alignment, 68 points"] = (landmarks.predict, True)
    steps[f"detection, alignment, {', '.join(usual.tasks)}"] = (lambda image, faces: usual.predict(image), False)
    return steps


def table(costs: Sequence[Cost]) -> str:
    """The costs as lines for people."""
    width = max(len(cost.name) for cost in costs)
    lines = [f"{'':{width}}  ms/photo   ms/face  photos/s"]
    for cost in costs:
        face = "–" if cost.milliseconds_a_face is None else f"{cost.milliseconds_a_face:.2f}"
        lines.append(f"{cost.name:{width}}  {cost.milliseconds:8.2f}  {face:>8}  {1e3 / cost.milliseconds:8.1f}")
    return "\n".join(lines)
