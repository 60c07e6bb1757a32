"""The reference detectors of the docs: in numpy here, and in a browser."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra [onnx]")
pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")

from cascade.detect import Detector
from cascade.exporting.files import export_onnx
from cascade.faces import Faces
from tests.docs.blocks import ROOT, blocks
from tests.photos import PORTRAIT, portrait

EXAMPLES = ROOT / "docs" / "examples"
PIXELS = 0.1
PATIENCE = 300_000  # milliseconds, for busy machines
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_onnx(folder, ["detector"])
    return folder


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detect_onnx", EXAMPLES / "detect_onnx.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected_faces(photo: Any) -> Faces:
    return Detector(precision="float32", exposure="none", threads=1).detect(photo)


def agree(boxes: Any, scores: Any, landmarks: Any, expected: Faces) -> None:
    assert len(boxes) == len(expected)
    np.testing.assert_allclose(boxes, expected.boxes, rtol=0, atol=PIXELS)
    np.testing.assert_allclose(scores, expected.scores, rtol=0, atol=0.001)
    np.testing.assert_allclose(landmarks, expected.landmarks, rtol=0, atol=PIXELS)


def test_the_script_imports_nothing_of_ours() -> None:
    assert "cascade" not in [
        line.split()[1].partition(".")[0]
        for line in (EXAMPLES / "detect_onnx.py").read_text("utf-8").splitlines()
        if line.startswith(("import ", "from "))
    ]


def test_the_script_finds_the_portraits_face(models: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "detect_onnx.py"), str(models), str(PORTRAIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    (face,) = [json.loads(line) for line in done.stdout.splitlines()]
    agree([face["box"]], [face["score"]], [face["landmarks"]], expected_faces(PORTRAIT))


@pytest.mark.parametrize("case", ["cut off", "small", "nobody", "tiny"])
def test_the_script_on_other_photos(case: str, models: Path, script: ModuleType) -> None:
    photo = {
        "cut off": portrait()[90:330, 200:420],
        "small": portrait()[::3, ::3],
        "nobody": np.full((120, 160, 3), 200, np.uint8),
        "tiny": np.zeros((1, 1, 3), np.uint8),
    }[case]
    photo = np.ascontiguousarray(photo)
    expected = expected_faces(photo)
    assert len(expected) == (case in ("cut off", "small"))
    agree(*script.Detector(models).detect(photo), expected)


def runtime_folder() -> Path | None:
    """Where npm has put onnxruntime-web: the folder that CASCADE_ORT_WEB names, or the global one."""
    if named := os.environ.get("CASCADE_ORT_WEB"):
        return Path(named)
    if shutil.which("npm") is None:
        return None
    done = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=False, timeout=60)
    folder = Path(done.stdout.strip()) / "onnxruntime-web" / "dist"
    return folder if done.returncode == 0 and folder.is_dir() else None


def test_the_blocks_of_the_page_that_need_the_extra_run(tmp_path: Path) -> None:
    parts = [block.text for block in blocks("docs/onnx.md") if block.language == "python" and block.needs]
    shutil.copy(PORTRAIT, tmp_path / "photo.jpg")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "".join(parts)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert parts and done.stdout.count("[[") == 2


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address(models: Path, tmp_path: Path) -> Iterator[str]:
    """The example as docs/onnx.md lays it out, on a server of this machine."""
    runtime = runtime_folder()
    if runtime is None:
        pytest.skip("needs onnxruntime-web: npm install --global onnxruntime-web")
    site = tmp_path / "site"
    shutil.copytree(EXAMPLES / "browser", site)
    shutil.copytree(models, site / "models")
    shutil.copy(PORTRAIT, site / "portrait.jpg")
    (site / "ort").mkdir()
    for name in RUNTIME:
        shutil.copy(runtime / name, site / "ort")
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as of Debian's package chromium")
def test_the_page_finds_the_portraits_face_in_chromium(address: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    problems: list[str] = []
    outside: list[str] = []
    with sync_api.sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto(address, wait_until="commit")
        page.wait_for_function("!document.getElementById('status').textContent.startsWith('Loading')")
        assert page.text_content("#status").startswith("1 face in"), page.text_content("#status")
        (face,) = page.evaluate("globalThis.faces")
        (tmp_path / "broken.jpg").write_bytes(b"no photo")
        page.set_input_files("#file", str(tmp_path / "broken.jpg"))
        page.wait_for_selector("#status:has-text('This photo cannot be used')")
        if folder := os.environ.get("CASCADE_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "onnx.png")
        browser.close()
    assert problems == []
    assert [url for url in outside if not url.startswith((address.rpartition("/")[0], "blob:"))] == []
    agree([face["box"]], [face["score"]], [face["landmarks"]], expected_faces(PORTRAIT))
