"""``cascade embed``."""

from __future__ import annotations

import json
import signal
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade.cli import console
from cascade.faces import Faces
from cascade.recognize import Recognizer
from eval.recognition.embedding import read_embeddings
from tests.cli.helpers import (
    command,
    names,
    portrait_photo,
    posix_only,
    truncated_portrait,
)
from tests.photos import portrait
from tests.random_recognizer import DIMENSION


def test_records_of_a_photo(run_recognition, recognizer_weights, capsys):
    portrait_photo("a.jpg", people=2)
    assert run_recognition("embed", "a.jpg") == 0
    out, err = capsys.readouterr()
    [record] = [json.loads(line) for line in out.splitlines()]
    recognizer = Recognizer(recognizer_weights)
    faces = Faces.from_dicts(record["faces"])
    assert (record["path"], record["width"], record["height"], len(faces)) == ("a.jpg", 768, 512, 2)
    expected = recognizer.analyze("a.jpg", faces)
    np.testing.assert_allclose([face["embedding"] for face in record["faces"]], expected.embeddings, atol=1e-7)
    np.testing.assert_allclose([face["age"] for face in record["faces"]], expected.ages, atol=0.06)
    assert err == "1 photo, 2 faces\n"


def test_a_file_of_embeddings(run_recognition, recognizer_weights, capsys):
    portrait_photo("in/sub/a.jpg", people=2)
    portrait_photo("in/b.png")
    portrait_photo("in/none.png", people=0)
    assert run_recognition("embed", "in", "--out", "out/faces.npz") == 0
    assert capsys.readouterr().err == "3 photos, 3 faces; results in out/faces.npz\n"
    with np.load("out/faces.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["names"].tolist() == ["b.png", "sub/a.jpg", "sub/a.jpg"]
    assert arrays["face"].tolist() == [1, 1, 2]
    shapes = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    assert shapes["embeddings"] == ("float32", (3, DIMENSION))
    assert shapes["ages"] == ("float32", (3,))
    assert shapes["boxes"] == ("float32", (3, 4))
    assert shapes["landmarks"] == ("float32", (3, 5, 2))
    recognizer = Recognizer(recognizer_weights)
    expected = recognizer.embed("in/sub/a.jpg", arrays["landmarks"][1:])
    np.testing.assert_array_equal(arrays["embeddings"][1:], expected)
    about = json.loads(str(arrays["about"]))
    assert about == {"model": "small", "weights_sha256": recognizer.weights.sha256}


def test_the_evaluators_read_the_file(run_recognition):
    portrait_photo("in/sub/a.jpg", people=2)
    portrait_photo("in/b.png")
    assert run_recognition("embed", "in", "--largest", "--out", "faces.npz") == 0
    embeddings = read_embeddings("faces.npz")
    assert embeddings.names == ("b.png", "sub/a.jpg")
    assert embeddings.about["model"] == "small"


def test_no_faces_at_all(run_recognition, capsys):
    portrait_photo("none.png", people=0)
    for largest in ([], ["--largest"]):
        assert run_recognition("embed", "none.png", "--out", "faces.npz", *largest) == 0
        with np.load("faces.npz") as file:
            assert file["embeddings"].shape == (0, DIMENSION)
            assert file["names"].shape == (0,)
        assert run_recognition("embed", "none.png", *largest) == 0
        assert json.loads(capsys.readouterr().out)["faces"] == []


def test_a_bad_file_among_good_ones(run_recognition, capsys):
    portrait_photo("in/a.jpg")
    truncated_portrait("in/b.jpg")
    Image.fromarray(portrait()).convert("L").save("in/gray.png")
    Image.fromarray(portrait()).convert("RGBA").save("in/alpha.png")
    Image.new("RGB", (1, 1)).save("in/tiny.png")
    assert run_recognition("embed", "in", "nothing", "--out", "faces.npz") == console.SOME_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "nothing: there is no such file or folder"
    assert lines[1].startswith("in/b.jpg: expected complete JPEG data")
    assert lines[2] == "4 of 5 photos, 3 faces, 2 problems; results in faces.npz"
    with np.load("faces.npz") as file:
        assert file["names"].tolist() == ["a.jpg", "alpha.png", "gray.png"]


def test_ctrl_c_keeps_what_was_embedded(run_recognition, capsys, monkeypatch):
    for name in "abc":
        portrait_photo(f"in/{name}.png")
    original, calls = Recognizer.analyze, []

    def interrupted(self, image, faces):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, image, faces)

    monkeypatch.setattr(Recognizer, "analyze", interrupted)
    assert run_recognition("embed", "in", "--out", "faces.npz") == console.INTERRUPTED
    assert "stopped: 2 of 3 photos" in capsys.readouterr().err
    with np.load("faces.npz") as file:
        assert file["names"].tolist() == ["a.png", "b.png"]


def test_an_out_that_cannot_be_written(run_recognition, capsys, tmp_path, monkeypatch):
    portrait_photo("a.jpg")
    Path("file").write_text("in the way")
    Path("folder.npz").mkdir()
    monkeypatch.setattr(Recognizer, "analyze", lambda *args: pytest.fail("work was done"))
    for out in ("file/faces.npz", "folder.npz", ""):
        assert run_recognition("embed", "a.jpg", "--out", out) == console.BAD_USAGE
        assert "--out" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg", "file"]


@posix_only
def test_a_file_of_embeddings_is_its_owners(run_recognition):
    portrait_photo("a.jpg")
    for mode in (0o600, 0o640):
        assert run_recognition("embed", "a.jpg", "--out", "faces.npz") == 0
        assert stat.S_IMODE(Path("faces.npz").stat().st_mode) == mode
        Path("faces.npz").chmod(0o640)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_termination_keeps_what_was_embedded(recognizer_weights, tmp_path):
    photos = tmp_path / "in"
    for number in range(3):
        portrait_photo(str(photos / f"{number}.png"))
    for number in range(3, 400):
        (photos / f"{number}.png").symlink_to("0.png")
    options = ["--recognizer", recognizer_weights, "--min-face", "40", "--threads", "1"]
    process = command("embed", str(photos), "--out", str(tmp_path / "faces.npz"), *options)
    time.sleep(0.5)
    while process.poll() is None and not _has_begun(process.pid):
        time.sleep(0.05)
    time.sleep(0.5)
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "stopped: " in err
    with np.load(tmp_path / "faces.npz") as file:
        kept = len(file["names"])
        assert f"stopped: {kept} of 400 photos, {kept} face" in err
        assert file["embeddings"].shape == (kept, DIMENSION)
        assert file["face"].tolist() == [1] * kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.npz", "in"]


def _has_begun(process: int) -> bool:
    """Whether the process has opened its temporary files, that is, has begun with the photos."""
    links = []
    for path in Path(f"/proc/{process}/fd").glob("*"):
        try:
            links.append(str(path.readlink()))
        except OSError:
            continue
    return (
        sum("(deleted)" in link for link in links) > 1
    )  # one alone is that which tries whether the folder is writable


def test_names_of_several_faces_and_lengths(run_recognition):
    portrait_photo("in/a.png", people=3)
    portrait_photo("in/Zoë and a longer name.png", people=2)
    assert run_recognition("embed", "in", "--out", "faces.npz") == 0
    with np.load("faces.npz") as file:
        assert file["names"].tolist() == ["Zoë and a longer name.png"] * 2 + ["a.png"] * 3
        assert file["face"].tolist() == [1, 2, 1, 2, 3]
        assert (np.diff(file["scores"][2:]) <= 0).all()


def test_files_of_others_are_not_replaced(run_recognition, capsys):
    photo = portrait_photo("a.jpg")
    before = photo.read_bytes()
    Path("link.npz").symlink_to("a.jpg")
    np.savez("mine.npz", results=np.zeros(3))
    kept = Path("mine.npz").read_bytes()
    for out in ("link.npz", "mine.npz"):
        assert run_recognition("embed", "a.jpg", "--out", out) == console.BAD_USAGE
        assert f"--out {out}: there is a file without embeddings" in capsys.readouterr().err
    assert (photo.read_bytes(), Path("mine.npz").read_bytes()) == (before, kept)
    Path("empty.npz").touch()
    assert run_recognition("embed", "a.jpg", "--out", "empty.npz") == 0
