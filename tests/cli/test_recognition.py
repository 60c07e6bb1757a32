"""``cascade embed``, ``verify`` and ``gallery``: what they write, and what they say when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cascade.cli.gallery
from cascade.cli import console, main
from cascade.cli.names import draw_names, writable
from cascade.faces import Faces
from cascade.gallery import Gallery
from cascade.imaging.reading import read_image
from cascade.recognize import Recognizer
from tests.photos import PORTRAIT, portrait
from tests.random_recognizer import DIMENSION, FIGURES, save_random_recognizer


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_recognizer(tmp_path_factory.mktemp("recognition") / "small.safetensors"))


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_random_recognizer(tmp_path_factory.mktemp("recognition") / "other.safetensors", seed=1))


@pytest.fixture
def run(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command with the random weights, in tmp_path; it has options that keep the detector quick."""
    monkeypatch.chdir(tmp_path)
    options = ["--recognizer", weights, "--min-face", "40", "--threads", "1"]
    return lambda *argv: main([*map(str, argv), *options])


def photo(path: str, people: int = 1, brightness: float = 1.0) -> Path:
    """A photo with that many faces: the portrait, and beside it smaller copies."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas = np.full((512, 512 + 256 * max(0, people - 1), 3), 128, np.uint8)
    if people:
        canvas[:, :512] = portrait()
    for number in range(people - 1):
        canvas[: 512 // 2, 512 + 256 * number :][:, :256] = portrait()[::2, ::2]
    Image.fromarray(np.clip(canvas * brightness, 0, 255).astype(np.uint8)).save(file)
    return file


def truncated(path: str) -> Path:
    file = photo(path)
    file.write_bytes(file.read_bytes()[:-3000])
    return file


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------
# Help and options


@pytest.mark.parametrize(
    "argv",
    [["embed"], ["verify"], ["gallery"], *(["gallery", action] for action in ("add", "list", "remove", "identify"))],
)
def test_help(argv, capsys):
    assert main([*argv, "--help"]) == 0
    assert f"usage: cascade {' '.join(argv)}" in capsys.readouterr().out


def test_a_gallery_alone_prints_help(capsys):
    assert main(["gallery"]) == 0
    assert "identify" in capsys.readouterr().out


def test_help_is_quick():
    package = str(Path(cascade.cli.gallery.__file__).parents[1])
    code = (
        "import sys, types; sys.modules['cascade'] = package = types.ModuleType('cascade');"
        f"package.__path__ = [{package!r}]; from cascade.cli import main\n"
        "for argv in (['embed'], ['verify'], ['gallery', 'identify']): assert main([*argv, '--help']) == 0\n"
        "heavy = {'numpy', 'cv2', 'torch', 'tqdm', 'safetensors'} & set(sys.modules); assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["embed"], "name a photo or a folder"),
        (["embed", "a.jpg", "--out", "faces.csv"], ".npz"),
        (["embed", "a.jpg", "--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["embed", "nothing.jpg"], "nothing.jpg: there is no such file or folder"),
        (["verify"], "name two photos, got 0"),
        (["verify", "a.jpg"], "name two photos, got 1"),
        (["verify", "a.jpg", "b.jpg", "c.jpg"], "name two photos, got 3"),
        (["verify", "a.jpg", "nothing.jpg"], "nothing.jpg: "),
        (["verify", "a.jpg", "a.jpg", "--threshold", "2"], "--threshold: expected -1 to 1"),
        (["verify", "a.jpg", "a.jpg", "--threshold", "nan"], "--threshold: expected -1 to 1"),
        (["verify", "a.jpg", "a.jpg", "--threads", "0"], "--threads: expected"),
        (["verify", "a.jpg", "a.jpg", "--min-face", "1"], "--min-face: expected"),
        (["verify", "a.jpg", "a.jpg", "--weights", "nothing"], "nothing"),
        (["verify", "a.jpg", "a.jpg", "--recognizer", "nothing"], "--recognizer: expected a safetensors file"),
        (["gallery", "frobnicate"], "invalid choice"),
        (["gallery", "add"], "GALLERY"),
        (["gallery", "add", "g"], "give a name and photos"),
        (["gallery", "add", "g", "Ann"], "give a name and photos"),
        (["gallery", "add", "g", "Ann", "--folder", "people"], "give a name and photos"),
        (["gallery", "add", "g", "--folder", "nothing"], "--folder nothing: No such file"),
        (["gallery", "add", "g", "Ann", "nothing.jpg"], "nothing.jpg: there is no such file"),
        (["gallery", "add", "g", "a\nb", "a.jpg"], "name: expected no control characters"),
        (["gallery", "add", "nowhere/g", "Ann", "a.jpg"], "cannot write there"),
        (["gallery", "add", ".", "Ann", "a.jpg"], "this is a folder"),
        (["gallery", "list", "nothing"], "nothing: there is no such gallery"),
        (["gallery", "list", "a.jpg"], "a.jpg: not a gallery"),
        (["gallery", "remove", "nothing"], "name a person"),
        (["gallery", "identify", "nothing"], "name a photo"),
        (["gallery", "identify", "nothing", "a.jpg"], "nothing: there is no such gallery"),
        (["gallery", "identify", "nothing", "a.jpg", "--top", "0"], "--top: expected"),
        (["gallery", "identify", "nothing", "a.jpg", "--threshold", "-7"], "--threshold: expected"),
    ],
)
def test_bad_usage(argv, message, weights, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo("a.jpg")
    takes_options = argv[0] != "gallery" or argv[1:2] in (["add"], ["identify"])
    named = "--recognizer" in argv or not takes_options
    assert main([*argv, *([] if named else ["--recognizer", weights])]) == console.BAD_USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert names(tmp_path) == ["a.jpg"]


def test_weights_without_a_threshold(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    silent = ["--recognizer", str(save_random_recognizer(tmp_path / "silent.safetensors", verification=None))]
    photo("a.jpg")
    assert main(["gallery", "add", "g", "Ann", "a.jpg", *silent]) == 0
    for argv in (["verify", "a.jpg", "a.jpg"], ["gallery", "identify", "g", "a.jpg"]):
        assert main([*argv, *silent]) == console.BAD_USAGE
        assert "give one with --threshold" in capsys.readouterr().err
        assert main([*argv, *silent, "--threshold", "0.5"]) == 0


# --------------------------------------------------------------------------------------------------
# verify


def test_the_same_person(run, capsys):
    photo("a.jpg")
    photo("b.png", brightness=0.8)
    assert run("verify", "a.jpg", "b.png") == 0
    out, err = capsys.readouterr()
    assert "the same person" in out
    assert "threshold   0.5000" in out
    assert "1 % of pairs of different people" in out
    assert f"measured on {FIGURES['measured_on']}" in out
    assert err == ""


def test_different_people(run, capsys):
    photo("a.jpg")
    photo("b.jpg", brightness=0.5)
    assert run("verify", "a.jpg", "--threshold", "1", "b.jpg") == 1
    out = capsys.readouterr().out
    assert "different people" in out
    assert "not measured for this threshold" in out


def test_the_number_of_faces(run, capsys):
    photo("one.jpg")
    photo("two.jpg", people=2)
    photo("none.jpg", people=0)
    assert run("verify", "one.jpg", "two.jpg") == console.BAD_USAGE
    assert "two.jpg: expected one face, found 2; --largest takes the largest" in capsys.readouterr().err
    assert run("verify", "none.jpg", "one.jpg", "--largest") == console.BAD_USAGE
    assert "none.jpg: expected one face, found 0\n" in capsys.readouterr().err
    assert run("verify", "one.jpg", "two.jpg", "--largest") == 0


def test_photos_that_cannot_be_compared(run, capsys, monkeypatch):
    photo("a.jpg")
    truncated("cut.jpg")
    Image.new("RGB", (1, 1)).save("tiny.png")
    for name, message in (("cut.jpg", "cut short"), ("tiny.png", "found 0"), (".", "directory")):
        assert run("verify", "a.jpg", name) == console.BAD_USAGE
        err = capsys.readouterr().err
        assert f"cascade: {name}: " in err
        assert message in err
    monkeypatch.setattr(Recognizer, "verify", lambda *args, **options: 1 / 0)
    assert run("verify", "a.jpg", "a.jpg") == console.BAD_USAGE  # not 1, which would mean different people
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_not_a_decision(weights):
    argv = ["verify", str(PORTRAIT), str(PORTRAIT), "--recognizer", weights]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cascade", *argv], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == console.BAD_USAGE
    assert b"cannot write to standard output" in done.stderr


def test_verify_with_the_shipped_weights(capsys, tmp_path):
    Image.fromarray(portrait()[:, ::-1]).save(tmp_path / "mirrored.jpg")
    assert main(["verify", str(PORTRAIT), str(tmp_path / "mirrored.jpg")]) == 0
    assert "the same person" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------
# embed


def test_records_of_a_photo(run, weights, capsys):
    photo("a.jpg", people=2)
    assert run("embed", "a.jpg") == 0
    out, err = capsys.readouterr()
    [record] = [json.loads(line) for line in out.splitlines()]
    recognizer = Recognizer(weights)
    faces = Faces.from_dicts(record["faces"])
    assert (record["path"], record["width"], record["height"], len(faces)) == ("a.jpg", 768, 512, 2)
    expected = recognizer.analyze("a.jpg", faces)
    np.testing.assert_allclose([face["embedding"] for face in record["faces"]], expected.embeddings, atol=1e-7)
    np.testing.assert_allclose([face["age"] for face in record["faces"]], expected.ages, atol=0.06)
    assert err == "1 photo, 2 faces\n"


def test_a_file_of_embeddings(run, weights, capsys):
    photo("in/sub/a.jpg", people=2)
    photo("in/b.png")
    photo("in/none.png", people=0)
    assert run("embed", "in", "--out", "out/faces.npz") == 0
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
    recognizer = Recognizer(weights)
    expected = recognizer.embed("in/sub/a.jpg", arrays["landmarks"][1:])
    np.testing.assert_array_equal(arrays["embeddings"][1:], expected)
    about = json.loads(str(arrays["about"]))
    assert about == {"model": "small", "weights_sha256": recognizer.weights.sha256}


def test_the_evaluators_read_the_file(run):
    reading = pytest.importorskip("eval.recognition.embedding").read_embeddings
    photo("in/sub/a.jpg", people=2)
    photo("in/b.png")
    assert run("embed", "in", "--largest", "--out", "faces.npz") == 0
    embeddings = reading("faces.npz")
    assert embeddings.names == ("b.png", "sub/a.jpg")
    assert embeddings.about["model"] == "small"


def test_no_faces_at_all(run, capsys):
    photo("none.png", people=0)
    for largest in ([], ["--largest"]):
        assert run("embed", "none.png", "--out", "faces.npz", *largest) == 0
        with np.load("faces.npz") as file:
            assert file["embeddings"].shape == (0, DIMENSION)
            assert file["names"].shape == (0,)
        assert run("embed", "none.png", *largest) == 0
        assert json.loads(capsys.readouterr().out)["faces"] == []


def test_a_bad_file_among_good_ones(run, capsys):
    photo("in/a.jpg")
    truncated("in/b.jpg")
    Image.fromarray(portrait()).convert("L").save("in/gray.png")
    Image.fromarray(portrait()).convert("RGBA").save("in/alpha.png")
    Image.new("RGB", (1, 1)).save("in/tiny.png")
    assert run("embed", "in", "nothing", "--out", "faces.npz") == console.SOME_FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "nothing: there is no such file or folder"
    assert lines[1].startswith("in/b.jpg: expected whole JPEG data")
    assert lines[2] == "4 of 5 photos, 3 faces, 2 problems; results in faces.npz"
    with np.load("faces.npz") as file:
        assert file["names"].tolist() == ["a.jpg", "alpha.png", "gray.png"]


def test_ctrl_c_keeps_what_was_embedded(run, capsys, monkeypatch):
    for name in "abc":
        photo(f"in/{name}.png")
    original, calls = Recognizer.analyze, []

    def interrupted(self, image, faces):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, image, faces)

    monkeypatch.setattr(Recognizer, "analyze", interrupted)
    assert run("embed", "in", "--out", "faces.npz") == console.INTERRUPTED
    assert "stopped: 2 of 3 photos" in capsys.readouterr().err
    with np.load("faces.npz") as file:
        assert file["names"].tolist() == ["a.png", "b.png"]


def test_an_out_that_cannot_be_written(run, capsys, tmp_path, monkeypatch):
    photo("a.jpg")
    Path("file").write_text("in the way")
    Path("folder.npz").mkdir()
    monkeypatch.setattr(Recognizer, "analyze", lambda *args: pytest.fail("work was done"))
    for out in ("file/faces.npz", "folder.npz", ""):
        assert run("embed", "a.jpg", "--out", out) == console.BAD_USAGE
        assert "--out" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg", "file"]


# --------------------------------------------------------------------------------------------------
# gallery


def test_a_gallery_from_beginning_to_end(run, capsys):
    photo("ann.jpg")
    photo("ann2.jpg", brightness=0.9)
    assert run("gallery", "add", "crew.gallery", "Ann Smith", "ann.jpg") == 0
    assert "1 photo, 1 face; 1 added or extended, crew.gallery holds 1" in capsys.readouterr().err
    assert run("gallery", "add", "crew.gallery", "Ann Smith", "ann2.jpg") == console.BAD_USAGE
    assert "Ann Smith: is in the gallery already; --extend" in capsys.readouterr().err
    assert run("gallery", "add", "crew.gallery", "Ann Smith", "ann2.jpg", "--extend") == 0
    assert run("gallery", "add", "crew.gallery", "--extend", "Zoë", "ann.jpg", "ann2.jpg") == 0
    capsys.readouterr()
    assert main(["gallery", "list", "crew.gallery"]) == 0
    out, err = capsys.readouterr()
    assert out == "Ann Smith\t2\nZoë\t2\n"
    assert err.startswith("2 people; embeddings of small (")
    assert run("gallery", "identify", "crew.gallery", "ann.jpg", "--top", "1") == 0
    out, err = capsys.readouterr()
    assert out.startswith("ann.jpg: face 1 at (22")
    assert out.endswith("): Ann Smith (1.00)\n")
    assert err == "1 photo, 1 face; threshold 0.5000\n"
    assert main(["gallery", "remove", "crew.gallery", "Zoë", "Eve"]) == console.BAD_USAGE
    assert "crew.gallery: there is no 'Eve'" in capsys.readouterr().err
    assert main(["gallery", "remove", "crew.gallery", "Zoë"]) == 0
    assert Gallery.load("crew.gallery").names == ("Ann Smith",)


def test_a_folder_of_people(run, capsys):
    photo("people/Ann/a.jpg")
    photo("people/Ann/deep/b.png", brightness=0.9)
    photo("people/Bob/group.jpg", people=2)
    photo("people/Zoë/a.png", brightness=0.7)
    photo("people/.hidden/a.jpg")
    truncated("people/Cut/a.jpg")
    Path("people/Empty").mkdir()
    photo("people/stray.jpg")
    assert run("gallery", "add", "g", "--folder", "people") == console.SOME_FAILED
    err = capsys.readouterr().err
    assert "Empty: no photos in this folder" in err
    assert "group.jpg: expected one face, found 2; --largest" in err
    assert "Bob: not added, since there is no usable photo" in err
    assert "Cut/a.jpg: " in err
    assert Gallery.load("g").counts == {"Ann": 2, "Zoë": 1}
    assert run("gallery", "add", "g", "--folder", "people", "--largest") == console.SOME_FAILED
    assert "Ann: is in the gallery already" in capsys.readouterr().err
    assert Gallery.load("g").counts == {"Ann": 2, "Zoë": 1, "Bob": 1}
    Path("nobody").mkdir()
    assert run("gallery", "add", "g", "--folder", "nobody") == console.BAD_USAGE
    assert "expected a subfolder for each person" in capsys.readouterr().err


def test_no_usable_photo_makes_no_gallery(run, tmp_path):
    photo("none.jpg", people=0)
    assert run("gallery", "add", "g", "Ann", "none.jpg") == console.SOME_FAILED
    assert names(tmp_path) == ["none.jpg"]


def test_identifying(run, capsys, tmp_path):
    photo("ann.jpg")
    photo("in/group.jpg", people=2)
    photo("in/none.jpg", people=0)
    truncated("in/cut.jpg")
    assert run("gallery", "add", "g", "Ann", "ann.jpg") == 0
    capsys.readouterr()
    assert run("gallery", "identify", "g", "in", "--threshold", "-1", "--draw", "out") == console.SOME_FAILED
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.partition(" at ")[0] for line in lines[:2]] == ["in/group.jpg: face 1", "in/group.jpg: face 2"]
    assert all("Ann (" in line for line in lines[:2])
    assert lines[2:] == ["in/none.jpg: no face"]
    assert "in/cut.jpg: expected whole JPEG" in err
    assert err.endswith("2 of 3 photos, 2 faces, 1 problem; threshold -1.0000; pictures in out\n")
    assert names(tmp_path / "out") == ["group_faces.jpg", "none_faces.jpg"]
    drawn = read_image("out/group_faces.jpg").astype(int)
    assert np.abs(drawn - read_image("in/group.jpg")).max() > 100


def test_identifying_as_json(run, capsys):
    photo("a.jpg")
    assert run("gallery", "add", "g", "Ann", "a.jpg") == 0
    capsys.readouterr()
    assert run("gallery", "identify", "g", "a.jpg", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["path"], record["width"], record["height"]) == ("a.jpg", 512, 512)
    [face] = record["faces"]
    assert face["matches"] == [{"name": "Ann", "similarity": 1.0}]
    assert len(Faces.from_dicts(record["faces"])) == 1


def test_an_empty_gallery(run, weights, capsys):
    photo("a.jpg")
    Gallery(Recognizer(weights)).save("g")
    assert main(["gallery", "list", "g"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nobody; ")
    assert run("gallery", "identify", "g", "a.jpg") == 0
    assert capsys.readouterr().out.endswith(": unknown\n")


def test_a_gallery_of_another_model(run, other_weights, capsys):
    photo("a.jpg")
    assert run("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()
    for argv in (["identify", "g", "a.jpg"], ["add", "g", "Bob", "a.jpg"]):
        assert main(["gallery", *argv, "--recognizer", other_weights]) == console.BAD_USAGE
        err = capsys.readouterr().err
        assert "not comparable" in err
        assert Recognizer(other_weights).weights.sha256 in err
    assert Path("g").read_bytes() == before


def test_a_damaged_gallery_is_kept(run, capsys):
    photo("a.jpg")
    assert run("gallery", "add", "g", "Ann", "a.jpg") == 0
    damaged = Path("g").read_bytes()[:-40]
    Path("g").write_bytes(damaged)
    capsys.readouterr()
    for argv in (["add", "g", "Bob", "a.jpg"], ["identify", "g", "a.jpg"]):
        assert run("gallery", *argv) == console.BAD_USAGE
        assert "g: not a gallery, or damaged or cut short" in capsys.readouterr().err
    assert main(["gallery", "remove", "g", "Ann"]) == console.BAD_USAGE
    assert Path("g").read_bytes() == damaged


def test_a_gallery_that_cannot_be_replaced(run, capsys, monkeypatch):
    photo("a.jpg")
    assert run("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()

    def failing(*args):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("os.fsync", failing)
    assert run("gallery", "add", "g", "Bob", "a.jpg") == console.BAD_USAGE
    assert "g: the gallery cannot be written: Read-only file system" in capsys.readouterr().err
    assert Path("g").read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(run, capsys):
    photo("a.jpg")
    Path("closed").mkdir(mode=0o555)
    assert run("gallery", "add", "closed/g", "Ann", "a.jpg") == console.BAD_USAGE
    assert "closed/g: cannot write there" in capsys.readouterr().err


def test_ctrl_c_leaves_a_gallery_as_it_was(run, capsys, monkeypatch):
    photo("a.jpg")
    assert run("gallery", "add", "g", "Ann", "a.jpg") == 0
    before = Path("g").read_bytes()
    for name in "bc":
        photo(f"in/{name}.jpg")
    original, calls = Recognizer.embed, []

    def interrupted(self, image, faces):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, image, faces)

    monkeypatch.setattr(Recognizer, "embed", interrupted)
    assert run("gallery", "add", "g", "Bob", "in") == console.INTERRUPTED
    assert "stopped: 1 of 2 photos" in capsys.readouterr().err
    assert Path("g").read_bytes() == before


# --------------------------------------------------------------------------------------------------
# Names on pictures


def test_names_that_the_font_can_write():
    assert writable("José Ñandú", 1) == "Jose Nandu"
    assert writable("日本", 2) == "face 2"
    assert writable("Łukasz", 3) == "face 3"


def test_names_are_drawn_beside_their_faces():
    image = np.full((300, 400, 3), 200, np.uint8)
    boxes = [[50, 60, 130, 160], [200, 60, 280, 160], [330, 250, 399, 299], [0, 0, 5, 5]]
    faces = Faces(boxes, [0.9, 0.8, 0.7, 0.6], np.full((4, 5, 2), 100))
    drawn = draw_names(image, faces, ["Ann", None, "A name that is much longer than the picture is wide" * 3, "x"])
    assert (image == 200).all()
    assert drawn.shape == image.shape
    assert (drawn[162:190, 60:120] != 200).any()
    assert (drawn[162:190, 210:270] != 200).any()
    assert (draw_names(image[:4, :4], faces[3:], ["Ann"]) != 200).any()
    np.testing.assert_array_equal(draw_names(image, Faces.empty(), []), image)


# --------------------------------------------------------------------------------------------------
# models


def test_models_lists_recognizers(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cascade.models.recognizer.FOLDER", tmp_path / "recognition")
    path = save_random_recognizer(tmp_path / "recognition/light.safetensors")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "light (recognition, used unless --recognizer names another): " in out
    assert "light.safetensors" in out
    assert "verification: threshold 0.5, false accept rate 0.01" in out
    path.write_bytes(b"no")
    assert main(["models"]) == console.SOME_FAILED
    assert "damaged: " in capsys.readouterr().out
