"""What is not an image raises an ImageError that says what it is; nothing is printed, forks and threads are safe."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.imaging import reading as images
from cascade.imaging import tiff
from cascade.imaging.reading import ImageError, read_image
from tests.imaging.pictures import (
    JPEG,
    WHOLE,
    colours,
    encode,
    png_of,
)
from tests.photos import PORTRAIT

BAD = {
    "none": (None, "got None.*cv2.imread"),
    "list": ([[1, 2], [3, 4]], "got list.*one image at a time"),
    "int": (7, "got int"),
    "object": (object(), "got object"),
    "no bytes": (b"", "got 0"),
    "text": (b"hello, this is not an image", "begin with b'hello, this '"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(99), "HEI[CF]"),
    "video": (b"\0\0\0\x18ftypisom" + bytes(99), "a video .*cv2.VideoCapture"),
    "web page": (b"<!DOCTYPE html>" + bytes(99), "HTML"),
    "raw photo": (b"FUJIFILMCCD-RAW", "a camera's raw file"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "text file": (io.StringIO("hello"), 'text mode; open it with "rb"'),
    "empty file object": (io.BytesIO(), "empty"),
    "empty path": ("", "empty"),
    "missing": ("no/such/file.jpg", "none at 'no/such/file.jpg'"),
    "address": ("https://example.org/a.jpg", "not fetched"),
    "address as path": (Path("https://example.org/a.jpg"), "not fetched"),
    "file address": ("file:///tmp/a.jpg", "without file://"),
    "home": ("~/no such photo.jpg", "expanduser"),
    "base64": (base64.b64encode(JPEG * 40).decode(), "b64decode"),
    "data address": ("data:image/png;base64,iVBORw0KGgo" + "A" * 5000, "b64decode"),
    "base64 bytes": (base64.b64encode(JPEG), "b64decode"),
    "zero byte in path": ("a\0b", "null"),
    "directory": (os.curdir, "is a directory"),
    "device": (os.devnull, "not a regular file"),
    "zero-sized": (np.zeros((0, 5, 3), np.uint8), "got 5×0"),
    "zero-sized pillow": (Image.new("RGB", (0, 5)), "got 0×5"),
    "number": (np.float32(1), r"got \(\)"),
    "line": (np.zeros(9), r"got \(9,\)"),
    "file as array": (np.frombuffer(b"\xff\xd8\xff", np.uint8), r"image\.tobytes\(\)"),
    "five channels": (np.zeros((4, 4, 5)), r"got \(4, 4, 5\)"),
    "no channels": (np.zeros((4, 4, 0)), r"got \(4, 4, 0\)"),
    "channels first": (np.zeros((3, 40, 50), np.uint8), r"transpose\(1, 2, 0\)"),
    "batch": (np.zeros((1, 4, 4, 3), np.uint8), "one image at a time"),
    "int64": (np.zeros((4, 4, 3), np.int64), r"got int64; .*astype\(numpy\.uint8\)"),
    "int16": (np.zeros((4, 4, 3), np.int16), "got int16"),
    "bool": (np.zeros((4, 4), bool), "got bool; a mask"),
    "complex": (np.zeros((4, 4), complex), "got complex128"),
    "objects": (np.full((4, 4), None), "got object"),
    "nan": (np.array([[0.5, np.nan]]), "NaN"),
    "inf": (np.array([[0.5, np.inf]]), "infinity"),
    "minus inf": (np.array([[0.5, -np.inf]], np.float16), "infinity"),
    "0..255 floats": (np.array([[0.0, 254.5]]), r"got 0 to 254\.5; divide it by 255"),
    "-1..1 floats": (np.array([[-1.0, 1.0]], np.float32), r"got -1 to 1; scale it to 0\.\.1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    image, words = BAD[name]
    with pytest.raises(ImageError, match=rf"(?s)^image: .*{words}") as caught:
        read_image(image)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) <= 300


def test_bad_color() -> None:
    with pytest.raises(ImageError, match=r"^color: .*'BGR'"):
        read_image(colours(), color="BGR")  # type: ignore[arg-type]


def test_errors_in_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(JPEG[:500])
    with pytest.raises(ImageError, match=r"cut short after 500 bytes \(file '.*broken\.jpg'\)"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encode(colours(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match=r"image: .*secret.*ermission"):
        read_image(path)


def test_long_names_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 240 + ".jpg")
    path.write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r" … x") as caught:
        read_image(path)
    assert len(str(caught.value)) <= 300


def test_closed_file() -> None:
    file = io.BytesIO(JPEG)
    file.close()
    with pytest.raises(ImageError, match=r"image: the file object cannot be read"):
        read_image(file)


def test_pillow_image_that_cannot_be_loaded() -> None:
    lazy = Image.open(io.BytesIO(JPEG[:-400]))
    with pytest.raises(ImageError, match=r"image: Pillow cannot load"):
        read_image(lazy)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    profile = (b"iCCP", b"x\0\0" + zlib.compress(b"not a profile"))
    data = encode(colours(), "PNG")
    end = 8 + 25
    read_image(data[:end] + png_of(profile)[8:] + data[end:])
    for whole in WHOLE.values():
        for length in (40, len(whole) // 2):
            with pytest.raises(ImageError):
                read_image(whole[:length])
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_another_thread_reads() -> None:
    data = WHOLE["tiff"]
    with tiff._opening:  # as if another thread were just opening a TIFF
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if read_image(data).shape == (20, 28, 3) else 1)
            finally:
                os._exit(2)
    deadline = time.monotonic() + 20
    done = status = 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0


def test_opencv_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from cascade.detect import detect\n"
        f"faces = detect({str(PORTRAIT)!r})\n"
        f"print(faces.draw({str(PORTRAIT)!r}).shape, len(faces), faces.crop({str(PORTRAIT)!r})[0].ndim)"
    )
    root = Path(images.__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "(512, 512, 3) 1 3"
