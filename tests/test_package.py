"""What `import cascade` promises: no torch, the module under its own name, weights small enough for a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import cascade
import cascade.detect
from cascade.models.detector import load_detector, shipped_detectors
from cascade.models.files import SHIPPED

LARGEST_WEIGHTS = 13 * 2**20  # so that the wheel stays small; 12 until O-Net grew


def test_detecting_needs_no_torch() -> None:
    code = (
        "import sys, numpy; import cascade.detect; from cascade import Detector; "
        "Detector().detect(numpy.zeros((60, 80, 3), numpy.uint8)); "
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_detector_starts_without_what_it_may_never_need() -> None:
    code = (
        "import sys; from cascade.detect import Detector; Detector(threads=1); "
        "unused = {'tqdm', 'torch', 'cv2', 'asyncio', 'cascade.recognize', 'cascade.video', 'PIL.PngImagePlugin', "
        "'concurrent.futures', 'PIL.TiffImagePlugin', 'PIL.AvifImagePlugin'} & set(sys.modules); "
        "assert not unused, unused"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_detect_is_the_module() -> None:
    assert cascade.detect.__name__ == "cascade.detect"
    assert callable(cascade.detect.detect)


def test_version_is_that_of_the_package() -> None:
    assert version("cascade-faces") == cascade.__version__


def test_default_weights_are_shipped_and_small() -> None:
    assert shipped_detectors()[0] == "default"
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < LARGEST_WEIGHTS


def test_every_weight_file_has_a_card_with_its_hash_and_licence() -> None:
    for name in shipped_detectors():
        for weights in load_detector(name).stages.values():
            card = weights.path.with_suffix(".md").read_text()
            assert weights.sha256 in card
            assert weights.metadata["licence"] in card
            assert weights.metadata["data"] in card


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


def test_both_licences_are_stated_and_carried(project: dict[str, Any]) -> None:
    assert project["project"]["license"] == "MIT AND LicenseRef-cascade-weights"
    assert project["project"]["license-files"] == ["LICENSE", "LICENSE-WEIGHTS"]
    assert "non-commercial research" in " ".join((Path(__file__).parents[1] / "LICENSE-WEIGHTS").read_text().split())


def test_extras_promise_only_what_the_wheel_holds(project: dict[str, Any]) -> None:
    """`train` and `eval` need a clone, where they are dependency groups."""
    extras = {"app", "archive", "encryption", "heif", "onnx", "opencv", "ray", "torch", "video"}
    assert set(project["project"]["optional-dependencies"]) == extras
    assert {"train", "eval", "dev"} <= set(project["dependency-groups"])
    assert all(name.startswith("cascade") for name in project["tool"]["setuptools"]["packages"])


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Also the page, weights and photo, for which setuptools has nothing to warn of."""
    pytest.importorskip("setuptools")
    clone, ignored = Path(__file__).parents[1], shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(clone / "cascade", tmp_path / "cascade", ignore=ignored)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "LICENSE-WEIGHTS"):
        shutil.copy(clone / name, tmp_path)
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "build_py", "--build-lib", "built"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "absent from the `packages` configuration" not in done.stderr
    files = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "cascade", tmp_path / "built" / "cascade")
    ]
    assert files[0] == files[1]


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, as of a clone in which nothing was built."""
    tree, clone = tmp_path_factory.mktemp("clone"), Path(__file__).parents[1]
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "*.safetensors", "__pycache__")
    shutil.copytree(clone / "cascade", tree / "cascade", ignore=ignored)
    return tree


@pytest.mark.parametrize(
    "command", [["-c", "import cascade"], ["-c", "import cascade.datasets"], ["-m", "cascade", "--version"]]
)
def test_an_unbuilt_tree_says_what_to_do(unbuilt: Path, command: list[str]) -> None:
    """Without the packages that are installed (-S), one of which may be a built cascade."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        [sys.executable, "-S", *command], cwd=unbuilt, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(f"ImportError: the native core of cascade is not built in {unbuilt / 'cascade'}")
    assert "`pip install -e .`" in last
    assert "circular" not in done.stderr
