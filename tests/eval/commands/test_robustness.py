"""The command that changes photos: its report, rotations, baselines and their failures, and options refused."""

from __future__ import annotations

import sys

import pytest

from eval.detection.robustness import CONDITIONS
from tests.eval.baselines import fake_packages
from tests.eval.helpers import is_picture, rows_of, run_eval, save_data_root, summary

# Finds the portrait's face where it is in the unchanged photo, in every photo but close-ups, on which it fails.
STUBBORN = """
import numpy
class MTCNN:
    def __init__(self, keep_all, min_face_size, thresholds, device):
        self.score = thresholds[2]
    def detect(self, image, landmarks):
        if max(image.shape) <= 150:
            raise RuntimeError("a small photo")
        return numpy.array([[227.5, 92.5, 337.5, 222.5]]), [self.score], numpy.zeros((1, 5, 2))
"""
BLIND = """
class MTCNN:
    def __init__(self, **settings):
        pass
    def detect(self, image, landmarks):
        return None, [None], None
"""


@pytest.fixture
def data(tmp_path):
    return save_data_root(tmp_path / "data")


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A function that installs a facenet-pytorch made of this source, and returns the options that run it."""

    def install(source):
        (tmp_path / "packages").mkdir()
        monkeypatch.setenv("PYTHONPATH", str(fake_packages.install(tmp_path / "packages", facenet_pytorch=source)))
        return "--baseline", f"facenet-pytorch={sys.executable}"

    return install


def robustness(data, out, *more):
    return run_eval("robustness", "--data", data, "--out", out, "--threads", 1, *more)


def test_report(data, tmp_path, capsys):
    out = tmp_path / "out"
    # of the two photos of wider_val one is broken
    assert robustness(data, out, "--set", "wider_val", "fddb_single", "--rotations", 0, 90, 180, 270) == 0
    assert sorted(path.name for path in out.iterdir()) == ["robustness.csv", "robustness.png", "summary.json"]
    told = summary(out)
    names = [condition.name for condition in CONDITIONS]
    assert list(told["conditions"]) == names
    assert told["photos"] == told["photos_in_set"] == {"wider_val": 2, "fddb_single": 1}
    assert (told["photos_with_faces"], told["faces"], told["broken_photos"]) == (2, 2, 1)
    assert "2.jpg" in told["problems"][0]
    assert told["conditions"]["original"] == {
        **{"group": "colour", "photos": 2, "faces": 2},
        "share_found": {"cascade": 1.0, "cascade, rotations": 1.0},
    }
    for name in ("rotated 90°", "rotated 180°"):
        assert told["conditions"][name]["share_found"]["cascade, rotations"] == 1
    detectors = told["detectors"]
    assert [each["settings"]["rotations"] for each in detectors.values()] == [[0], [0, 90, 180, 270]]
    # thresholds as they are by default, not lowered for a curve
    assert detectors["cascade"]["settings"]["thresholds"][2] == detectors["cascade"]["default_score"] > 0.1
    assert len(detectors["cascade"]["weights_sha256"]) == 64
    assert told["command"].startswith("python -m eval robustness --data")
    rows = rows_of(out / "robustness.csv")
    assert [row["condition"] for row in rows] == [name for name in names for _ in detectors]
    assert {row["faces"] for row in rows} == {"2"}
    assert is_picture(out / "robustness.png")
    printed = capsys.readouterr()
    assert "broken photo" in printed.err
    assert all(name in printed.out for name in (*names, *detectors))
    assert "wider_val: 2 photos" in printed.out


def test_a_baseline_beside_ours_and_a_photo_on_which_it_fails(data, tmp_path, capsys, fakes):
    out = tmp_path / "out"
    assert robustness(data, out, "--set", "fddb_single", "--exposure", "none", *fakes(STUBBORN)) == 0
    told = summary(out)
    title = "MTCNN (facenet-pytorch)"
    found = {name: each["share_found"][title] for name, each in told["conditions"].items()}
    # where the face stays, or the box is cut like the face
    stays = {each.name for each in CONDITIONS if each.group in ("colour", "light")}
    assert {name for name, share in found.items() if share == 1} == stays | {"cut right", "cut bottom"}
    assert {found[name] for name in found if name.startswith("close-up")} == {0}
    assert told["detectors"][title]["failures"] == 6
    assert told["detectors"][title]["settings"]["min_face"] == 20
    assert told["problems"] == ["6 changed photos taken for empty, first: facenet-pytorch: RuntimeError: a small photo"]
    assert "a small photo" in capsys.readouterr().err
    assert told["detectors"]["cascade"]["settings"]["exposure"] == "none"


def test_photos_are_limited(data, tmp_path):
    """Evenly spaced: of the two photos the first, which is not the broken one."""
    assert robustness(data, tmp_path / "out", "--set", "wider_val", "--limit", 1, "--faces", 1) == 0
    told = summary(tmp_path / "out")
    assert (told["photos"], told["photos_in_set"]) == ({"wider_val": 1}, {"wider_val": 2})
    assert told["broken_photos"] == 0
    assert told["protocol"]["faces_per_photo"] == 1
    assert told["notes"][0].startswith("wider_val: subset: 1 of 2 photos; ")


def test_no_reference_face_is_an_error(data, tmp_path, capsys, fakes):
    assert robustness(data, tmp_path / "out", "--set", "fddb_single", *fakes(BLIND)) == 1
    assert "no labelled face that every detector finds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", 0), "--limit of at least 1"),
        (("--faces", 0), "--faces of at least 1"),
        (("--rotations", 45), "rotations"),
        (("--baseline", f"yunet={sys.executable}"), "--baseline yunet: FileNotFoundError: YuNet needs its weights"),
        (("--baseline", "yunet=/nowhere/python"), "--baseline yunet: cannot run"),
        (("--baseline", "yunet=a", "--baseline", "yunet=b"), "same name"),
    ],
)
def test_unfit_options_end_the_run_before_any_figure(data, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.delenv("CASCADE_YUNET", raising=False)
    assert robustness(data, tmp_path / "out", "--set", "fddb_single", *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_sets_without_boxes_are_wrong_usage(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        robustness(data, tmp_path / "out", "--set", "no_face")
    assert "invalid choice: 'no_face'" in capsys.readouterr().err
