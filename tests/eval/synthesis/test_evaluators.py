"""Readers of the evaluators' files, and the face-api network on weights that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eval.synthesis.evaluators import MEAN_FACE, IdentityNetwork, dlib_template, read_tfjs_weights
from tests.photos import portrait

MANIFEST = "face_recognition_model-weights_manifest.json"
FACE = np.array([[[200, 100], [260, 102], [231, 135], [207, 168], [256, 169]]], np.float32)


def write(folder: Path, arrays: dict[str, np.ndarray], quantised: bool = False) -> Path:
    entries, data = [], b""
    for name, array in arrays.items():
        entry: dict = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if quantised:
            low = float(array.min())
            scale = max((float(array.max()) - low) / 255, 1e-12)
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": low}
            data += np.rint((array - low) / scale).astype(np.uint8).tobytes()
        else:
            data += array.astype("<f4").tobytes()
        entries.append(entry)
    half = len(data) // 2
    (folder / "a.bin").write_bytes(data[:half])
    (folder / "b.bin").write_bytes(data[half:])
    file = folder / MANIFEST
    file.write_text(json.dumps([{"paths": ["a.bin", "b.bin"], "weights": entries}]))
    return file


@pytest.mark.parametrize("quantised", [False, True])
def test_weights_come_back(tmp_path: Path, quantised: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {"a/filters": rng.normal(size=(3, 3, 2, 4)), "fc": rng.normal(size=(5,))}
    found = read_tfjs_weights(write(tmp_path, arrays, quantised))
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, atol=0.02 if quantised else 1e-6)


def test_files_that_do_not_fit_their_manifest(tmp_path: Path) -> None:
    file = write(tmp_path, {"a": np.zeros((4, 4))})
    (tmp_path / "b.bin").write_bytes(bytes(99))
    with pytest.raises(ValueError, match=r"no weights of TensorFlow\.js"):
        read_tfjs_weights(file)
    (tmp_path / "b.bin").unlink()
    with pytest.raises(OSError, match=r"b\.bin"):
        read_tfjs_weights(file)
    file.write_text("{}")
    assert read_tfjs_weights(file) == {}
    file.write_text("[1]")
    with pytest.raises(ValueError, match="no weights"):
        read_tfjs_weights(file)


def face_api_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def block(name: str, into: int, out: int, kernel: int = 3) -> None:
        arrays[f"{name}/conv/filters"] = rng.normal(size=(kernel, kernel, into, out)) / (kernel * into**0.5)
        arrays[f"{name}/conv/bias"] = rng.normal(size=out) * 0.1
        arrays[f"{name}/scale/weights"], arrays[f"{name}/scale/biases"] = np.ones(out), np.zeros(out)

    block("conv32_down", 3, 32, 7)
    before = 32
    for width, count in ((32, 3), (64, 3), (128, 2), (256, 2)):
        names = [f"conv{width}_down"] * (width > 32) + [f"conv{width}_{n}" for n in range(1, count + 1)]
        for name in names:
            block(f"{name}/conv1", before, width)
            block(f"{name}/conv2", width, width)
            before = width
    block("conv256_down_out/conv1", 256, 256)
    block("conv256_down_out/conv2", 256, 256)
    arrays["fc"] = rng.normal(size=(256, 128))
    return arrays


def test_a_face_has_one_embedding_and_a_mirrored_crop_another(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write(tmp_path, face_api_arrays())
    network = IdentityNetwork(tmp_path)
    first, again, other = (
        network.embed(photo, FACE)[0] for photo in (portrait(), portrait(), portrait()[:, ::-1].copy())
    )
    assert first.shape == (128,) and np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(first, again) and not np.allclose(first, other, atol=1e-3)


def test_the_template_leaves_its_padding_around_the_mean_face() -> None:
    for padding in (0.2, 0.25):
        template = dlib_template(padding) / 112 * (1 + 2 * padding) - padding
        np.testing.assert_allclose(template, MEAN_FACE)
