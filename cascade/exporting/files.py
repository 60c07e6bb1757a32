"""Which networks can be exported, and writing them: one ONNX file for each network, and a manifest of all.

The manifest says for each file what goes in and what comes out, and it holds the numbers that the stages between the
detector's networks need, so that they can be written again in another language.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.attributes import BY_NAME
from cascade.detect import THRESHOLDS, Detector
from cascade.exporting.networks import Precision, attributes_model, landmarks_model, recognizer_model, stage_model
from cascade.imaging.pyramid import CLOSE_UP_SHARE, SMALLEST_SHARE
from cascade.models.attributes import load_attributes
from cascade.models.detector import load_detector
from cascade.models.landmarks import load_landmarks
from cascade.models.recognizer import load_recognizer
from cascade.private_files import whole_file
from cascade.stages import (
    AGREEMENT_WEIGHT,
    CROP_FRAMING,
    ONET_NMS,
    ONET_VOTING,
    PNET_FRAMING,
    PNET_NMS,
    RNET_NMS,
    SCORE_FUSION_WEIGHT,
    SECOND_LOOK_MARGIN,
    SECOND_LOOK_NMS,
    SURE,
    USUAL_VOTES,
)
from cascade.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

NETWORKS = ("detector", "recognizer", "attributes", "landmarks")
"""What can be exported, by name."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Exported:
    """A file that was written, and the SHA-256 of its content."""

    path: Path
    sha256: str
    bytes: int


def export_onnx(
    out: str | Path,
    networks: Iterable[str] = NETWORKS,
    *,
    detector: str | os.PathLike[str] | None = None,
    recognizer: str | os.PathLike[str] | None = None,
    attributes: str | os.PathLike[str] | None = None,
    landmarks: str | os.PathLike[str] | None = None,
    tasks: Iterable[str] | None = None,
    precision: Precision = "float32",
) -> list[Exported]:
    """Writes networks as ONNX files into the folder ``out``, and ``manifest.json`` about them; returns the files.

    ``networks`` are some of `NETWORKS`; the detector is several files. The others are weights as `load_detector` and
    the other loaders take them, by default those that come with the package. ``tasks`` are the attributes to export;
    by default all but those in `cascade.attributes.BY_NAME`. ``precision`` is the detector's: "int8" takes weights with
    activation ranges, as the default set has. Files of the same name are replaced, each at once. All weights are loaded
    before the first file is written.

    Raises ValueError for unknown networks or tasks, `cascade.WeightsError` for weights that cannot be used, and OSError
    where nothing can be written.
    """
    chosen = _chosen("networks", networks, NETWORKS)
    if precision not in ("float32", "int8"):
        raise ValueError(f"precision: expected 'float32' or 'int8', got {precision!r}")
    makers: dict[str, Callable[[], Iterator[tuple[str, ModelProto]]]] = {
        "detector": lambda: _detector(detector, precision),
        "recognizer": lambda: _recognizer(recognizer),
        "attributes": lambda: _attributes(attributes, tasks),
        "landmarks": lambda: _landmarks(landmarks),
    }
    models = {f"{name}.onnx": model for network in chosen for name, model in makers[network]()}
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    found, described = list[Exported](), dict[str, Any]()
    for name, model in models.items():
        data = model.SerializeToString()
        found.append(_write(folder / name, data))
        described[name] = {"sha256": found[-1].sha256, "bytes": len(data), **_described(model)}
    manifest: dict[str, Any] = {"cascade": __version__, "files": described}
    if "detector" in chosen:
        manifest["detector"] = pipeline()
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    return [*found, _write(folder / MANIFEST, text.encode())]


def pipeline() -> dict[str, Any]:
    """The numbers of the detector's stages: see `cascade.detect.Detector` and `cascade.stages`."""
    defaults = inspect.signature(Detector).parameters
    return {
        **{name: defaults[name].default for name in ("min_face", "scale_factor")},
        "smallest_share": SMALLEST_SHARE,
        "thresholds": list(THRESHOLDS),
        "nms": {
            "pnet": [[PNET_NMS, "union"]],
            "rnet": [[RNET_NMS, "union"]],
            "onet": [list(each) for each in ONET_NMS],
        },
        "voting": {"onet": ONET_VOTING},
        "agreement": {"weight": AGREEMENT_WEIGHT, "usual_votes": USUAL_VOTES},
        "second_look": {"nms": SECOND_LOOK_NMS, "margin": SECOND_LOOK_MARGIN, "sure": SURE},
        "score_fusion_weight": SCORE_FUSION_WEIGHT,
        "close_up_share": CLOSE_UP_SHARE,
        "framing": {"pnet": asdict(PNET_FRAMING), "rnet": asdict(CROP_FRAMING), "onet": asdict(CROP_FRAMING)},
    }


def _detector(weights: str | os.PathLike[str] | None, precision: Precision) -> Iterator[tuple[str, ModelProto]]:
    loaded = load_detector(weights)
    for stage, stored in loaded.stages.items():
        yield stage, stage_model(stored, loaded.name, precision)


def _recognizer(weights: str | os.PathLike[str] | None) -> Iterator[tuple[str, ModelProto]]:
    yield "recognizer", recognizer_model(load_recognizer(weights))


def _attributes(
    weights: str | os.PathLike[str] | None, tasks: Iterable[str] | None
) -> Iterator[tuple[str, ModelProto]]:
    loaded = load_attributes(weights)
    known = tuple(task.name for task in loaded.tasks)
    default = tuple(name for name in known if name not in BY_NAME)
    yield "attributes", attributes_model(loaded, default if tasks is None else _chosen("tasks", tasks, known))


def _landmarks(weights: str | os.PathLike[str] | None) -> Iterator[tuple[str, ModelProto]]:
    yield "landmarks", landmarks_model(load_landmarks(weights))


def _chosen(argument: str, names: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each once. Raises TypeError or ValueError unless they are some of those known."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{argument}: expected a list of names, got {names!r}")
    found = tuple(dict.fromkeys(names))
    wrong = [name for name in found if name not in known]
    if wrong or not found:
        got = repr(wrong[0]) if wrong else "none"
        raise ValueError(f"{argument}: expected some of {', '.join(known)}, got {got}")
    return found


def _described(model: ModelProto) -> dict[str, Any]:
    """What the manifest says of a model: its inputs and outputs with their sizes, and its metadata."""

    def shapes(tensors: Any) -> dict[str, list[int | str]]:
        return {
            each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
            for each in tensors
        }

    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return {"inputs": shapes(model.graph.input), "outputs": shapes(model.graph.output), "metadata": metadata}


def _write(path: Path, data: bytes) -> Exported:
    with whole_file(path) as stream:
        stream.write(data)
    return Exported(path, hashlib.sha256(data).hexdigest(), len(data))
