"""The page of mistakes: as many as the figures count, each with its reason, and pictures that show them."""

from __future__ import annotations

import csv
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from cascade.imaging.reading import read_image
from eval.commands.sets import evaluate_file
from eval.detection import errors
from eval.detection.error_pictures import (
    CROP_SIDE,
    DETECTED,
    IGNORED,
    LABELLED,
    UNREPORTED,
    crop_picture,
    photo_picture,
)
from eval.detection.errors import Detections, detections_of
from eval.detection.predictions import Predictions, read_predictions, to_json
from eval.detection.test_sets import TestSet, evaluate_detector, read_set
from tests.eval.helpers import found, photo, run_eval, save_data_root, shared, summary
from tests.photos import FACE_BOX, FACE_LANDMARKS, PORTRAIT, portrait

FACE = [100, 100, 200, 200]
POINTS = np.array([[130, 140], [170, 140], [150, 160], [135, 180], [165, 180]], float)


def set_of(*photos, kind="faces", min_size=0.0):
    return TestSet("x", kind, "", "", min_size, tuple(photos))


def find_mistakes(test_set, rows, default_score, usual=None):
    return errors.find_mistakes(test_set, detections_of(test_set, rows, default_score, usual))


def reasons(faces, *rows, kind="miss"):
    mistakes = find_mistakes(set_of(photo("a", faces)), {"a": found(*rows)}, 0.5)
    return [(each.reason, each.detection) for each in mistakes if each.kind == kind]


def test_reasons_of_a_miss():
    far, half, well = [300, 300, 400, 400], [100, 100, 200, 140], [100, 100, 200, 180]
    assert reasons([FACE], [*FACE, 0.5]) == []
    assert reasons([FACE]) == [(errors.NOTHING, None)]
    assert reasons([FACE], [*far, 0.9]) == [(errors.NOTHING, None)]
    assert reasons([FACE], [*far, 0.9], [*half, 0.8], [*well, 0.3]) == [(errors.LOW_SCORE, 2)]
    assert reasons([FACE], [*far, 0.9], [*half, 0.8]) == [(errors.BAD_BOX, 1)]
    assert reasons([FACE], [*half, 0.4]) == [(errors.LOW_AND_BAD, 0)]
    # Of two faces in one place only one is found, by the one detection there is.
    assert reasons([FACE, [100, 100, 200, 190]], [*FACE, 0.9]) == [(errors.TAKEN, 0)]


def test_lower_thresholds_tell_the_reasons_of_misses_and_count_nothing():
    other, moved = [300, 300, 400, 400], [100, 100, 200, 190]
    photos = set_of(photo("a", [FACE, other]), photo("b", [FACE]))
    # by default one face of three is found; lower thresholds find it a little elsewhere, and the others
    rows = {"a": found([*moved, 0.9], [*other, 0.8], [500, 0, 600, 100, 0.7]), "b": found([*FACE, 0.3])}
    usual = {"a": found([*FACE, 0.9])}
    detections = detections_of(photos, rows, 0.5, usual)
    np.testing.assert_array_equal(detections["a"].found.scores, [0.9, 0.8, 0.7])
    np.testing.assert_array_equal(detections["a"].reported, [True, False, False])
    told = [(each.kind, each.photo.name, each.reason) for each in errors.find_mistakes(photos, detections)]
    assert told == [("miss", "a", errors.REJECTED), ("miss", "b", errors.LOW_SCORE)]
    figures = evaluate_detector(photos, rows, 0.5, usual).summary()
    assert (figures["recall"], figures["false_positives"]) == (pytest.approx(1 / 3), 0)


def test_reasons_of_a_false_alarm():
    def alarms(*rows):
        return reasons([FACE], *rows, kind="false_alarm")

    assert alarms([*FACE, 0.9], [300, 300, 400, 400, 0.4]) == []
    assert alarms([300, 300, 400, 400, 0.6]) == [(errors.NO_FACE, 0)]
    assert alarms([100, 100, 200, 140, 0.6]) == [(errors.BAD_BOX, 0)]
    assert alarms([100, 100, 200, 180, 0.6], [*FACE, 0.9]) == [(errors.DUPLICATE, 0)]


def test_worst_come_first():
    photos = photo("a", [FACE, [300, 0, 320, 90]]), photo("b", [[0, 0, 150, 150]])
    rows = {"a": found([500, 500, 600, 600, 0.6]), "b": found([500, 500, 600, 600, 0.8], [600, 0, 700, 100, 0.7])}
    mistakes = find_mistakes(set_of(*photos), rows, 0.5)
    assert [each.kind for each in mistakes] == ["miss"] * 3 + ["false_alarm"] * 3
    assert [each.weight for each in mistakes] == [150, 100, 20, 0.8, 0.7, 0.6]


def random_photos(rng, count):
    for at in range(count):
        corners = rng.integers(0, 300, (8, 2))
        boxes = np.hstack([corners, corners + rng.integers(0, 60, (8, 2))])
        near = boxes + rng.normal(0, 6, (8, 4))
        rows = np.vstack([near, boxes[:2], rng.integers(0, 90, (3, 4))]).astype(float)
        rows[:, 2:] = np.maximum(rows[:, 2:], rows[:, :2])
        # As in WIDER FACE, where a face that is ignored but not marked invalid is an inverted box.
        invalid = rng.uniform(size=8) < 0.1
        ignored = invalid | (rng.uniform(size=8) < 0.1)
        faces = photo(f"{at:02d}", boxes, ignored=ignored, attributes={"invalid": invalid.astype(np.uint8)})
        yield faces, found(*np.column_stack([rows, np.round(rng.uniform(0, 1, len(rows)), 1)]))


@pytest.mark.parametrize("default_score", [0.5, None])
def test_as_many_mistakes_as_the_figures_count(default_score):
    drawn = list(random_photos(np.random.default_rng(5), 20))
    test_set = set_of(*(faces for faces, _ in drawn), min_size=12.0)
    rows = {faces.name: each for faces, each in drawn}
    mistakes = find_mistakes(test_set, rows, default_score)
    curve = evaluate_detector(test_set, rows, default_score).default.curve
    counts = {kind: sum(each.kind == kind for each in mistakes) for kind in errors.KINDS}
    assert counts == {
        "miss": curve.faces - int(curve.hits.sum()),
        "false_alarm": int((~curve.hits).sum()),
        "landmarks": 0,
    }
    assert min(counts["miss"], counts["false_alarm"]) > 10
    assert not any(each.photo.ignored[each.face] for each in mistakes if each.face is not None)


def test_landmark_sets_have_errors_and_misses_but_no_false_alarms():
    names = "abcd"
    photos = [photo(name, [FACE], landmarks=POINTS[None], fully_labelled=False) for name in names]
    shifts = {"a": 3.0, "b": 5.0, "c": 9.0}
    rows = {
        name: found([0, 0, 50, 50, 0.9], [*FACE, 0.9], landmarks=np.stack([POINTS, np.add(POINTS, [shift, 0])]))
        for name, shift in shifts.items()
    }
    rows["d"] = found([*FACE, 0.2], landmarks=POINTS[None])
    test_set = set_of(*photos, kind="landmarks")
    mistakes = find_mistakes(test_set, rows, 0.5)
    told = [(each.kind, each.photo.name, each.reason, each.detection) for each in mistakes]
    assert told == [
        ("miss", "d", errors.LOW_SCORE, 0),
        ("landmarks", "c", errors.BAD_POINTS, 1),
        ("landmarks", "b", errors.BAD_POINTS, 1),
    ]
    assert mistakes[1].weight == pytest.approx(9 / 40)
    result = evaluate_detector(test_set, rows, 0.5).landmarks
    assert (result.faces - result.matched, round(result.failure_rate * result.matched)) == (1, 2)


# Pictures. The portrait is large and has one face; what is drawn on it is found again by its colour.


def extent(picture, colour):
    """Return x1, y1, x2, y2 of the pixels of a colour, or None."""
    y, x = np.nonzero((np.abs(picture.astype(int) - colour) <= 3).all(axis=2))
    return (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else None


def portrait_mistakes(*rows, boxes=(FACE_BOX,), ignored=None):
    points = np.array([FACE_LANDMARKS] * len(boxes))
    faces = photo("a", boxes, landmarks=points, path=PORTRAIT, ignored=ignored)
    detections = Detections.of(found(*rows, landmarks=np.zeros((len(rows), 5, 2))), 0.5)
    return detections, errors.find_mistakes(set_of(faces), {"a": detections})


def test_crop_shows_face_and_detection_in_their_places():
    near = (FACE_BOX[0] + 44, FACE_BOX[1], FACE_BOX[2] + 44, FACE_BOX[3])  # overlap 1/3
    detections, mistakes = portrait_mistakes([*near, 0.9])
    assert [each.kind for each in mistakes] == ["miss", "false_alarm"]
    picture = crop_picture(portrait(), mistakes[0], detections)
    assert max(picture.shape[:2]) == CROP_SIDE
    face, box = extent(picture, LABELLED), extent(picture, DETECTED)
    # The crop is 2.6 times as wide as the 132 pixels of both boxes together.
    scale = CROP_SIDE / (2.6 * 132)
    assert box[0] - face[0] == pytest.approx(44 * scale, abs=3)
    assert face[3] - face[1] == pytest.approx(104 * scale, abs=6)
    assert extent(picture, UNREPORTED) is None


def test_detection_below_the_default_score_has_its_own_colour():
    detections, mistakes = portrait_mistakes([*FACE_BOX, 0.3], [400, 400, 450, 450, 0.3])
    picture = crop_picture(portrait(), mistakes[0], detections)
    assert extent(picture, UNREPORTED) is not None
    assert extent(picture, DETECTED) is None


def test_mistakes_beyond_the_photo_are_drawn():
    outside = ((-60.0, -90.0, -10.0, -20.0), (505.0, 500.0, 700.0, 800.0))
    detections, mistakes = portrait_mistakes(boxes=outside)
    for mistake in mistakes:
        picture = crop_picture(portrait(), mistake, detections)
        assert max(picture.shape[:2]) == CROP_SIDE


def test_whole_photo_keeps_its_size_and_tells_missed_faces_from_those_that_do_not_count():
    alarm = (400.0, 400.0, 450.0, 450.0)
    detections, mistakes = portrait_mistakes(
        [*alarm, 0.9], boxes=(FACE_BOX, (300, 100, 360, 200)), ignored=[False, True]
    )
    black = np.zeros((512, 512, 3), np.uint8)
    picture = photo_picture(black, mistakes, detections)
    assert picture.shape == black.shape
    np.testing.assert_allclose(extent(picture, LABELLED), FACE_BOX, atol=3)
    np.testing.assert_allclose(extent(picture, DETECTED), alarm, atol=3)
    # A thin line may lie between two pixels, each of a share of its colour: grey in any case.
    line = picture[150, 296:304].astype(int)
    assert line.max() > 50
    assert (np.ptp(line, axis=1) <= np.ptp(IGNORED) + 9).all()


# The command.


class Page(HTMLParser):
    """Every start tag, and the text."""

    def __init__(self, file):
        super().__init__()
        self.tags, self.text = [], ""
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def rows_of(file):
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def wrong(tmp_path):
    """A data folder, and predictions that miss the portrait's face and see another on it."""
    rows = found([10, 10, 90, 90, 0.9], [300, 300, 380, 380, 0.8], [*FACE_BOX, 0.3])
    (tmp_path / "p.json").write_text(
        to_json(
            {"wider/WIDER_val/images/e/1.jpg": rows, "wider/WIDER_val/images/e/2.jpg": rows}, {"default_score": 0.5}
        )
    )
    return save_data_root(tmp_path / "data"), tmp_path / "p.json", tmp_path / "out"


def test_page_shows_what_the_benchmark_counts(wrong, tmp_path, capsys):
    data, predictions, out = wrong
    arguments = ("--data", data, "--set", "wider_val")
    assert run_eval("errors", *arguments, "--predictions", predictions, "--out", out) == 0
    printed = capsys.readouterr()
    assert "score too low" in printed.out
    assert "broken photo" in printed.err and "2.jpg" in printed.err
    report, rows, page = summary(out), rows_of(out / "errors.csv"), Page(out / "page.html")
    assert report["mistakes"] == {"miss": 2, "false_alarm": 4}
    assert len(report["problems"]) == 1
    assert run_eval("compare", *arguments, "--compare", f"p={predictions}", "--out", tmp_path / "figures") == 0
    figures = summary(tmp_path / "figures")["detectors"]["p"]["wider_val"]
    assert figures["false_positives"] == report["mistakes"]["false_alarm"]
    assert figures["faces"] * (1 - figures["recall"]) == report["mistakes"]["miss"]
    assert [row["kind"] for row in rows] == ["miss"] * 2 + ["false_alarm"] * 4
    assert rows[0]["reason"] == "score too low"
    assert (float(rows[0]["shorter_side"]), float(rows[0]["score"])) == (88, 0.3)
    # Of the readable photo: its miss, its two false alarms, and the whole.
    sources = [image["src"] for image in page.of("img")]
    assert len(sources) == 4
    assert {row["picture"] for row in rows} - {""} == set(sources[:3])
    for source in sources:
        assert read_image(out / source).std() > 5
    assert page.text.count("The photo cannot be read.") == 4
    assert "http" not in page.source
    assert not page.of("script") and not page.of("link")


def test_names_are_escaped_and_count_is_kept(tmp_path):
    root = save_data_root(tmp_path / "data")
    name = 'no_face/test/<b>&"x.jpg'
    cv2.imwrite(str(tmp_path / "x.jpg"), np.zeros((80, 80, 3), np.uint8))
    (tmp_path / "x.jpg").rename(root / name)
    rows = found(*([5, 5, 30, 30, score] for score in (0.9, 0.8, 0.7, 0.6)))
    (tmp_path / "p.json").write_text(to_json({name: rows}, {}))
    arguments = ("errors", "--data", root, "--set", "no_face", "--predictions", tmp_path / "p.json", "--out")
    assert run_eval(*arguments, tmp_path / "out", "--count", 3) == 0
    page = Page(tmp_path / "out" / "page.html")
    assert page.text.count(name) == 4
    assert len(page.of("img")) == 4
    assert len(rows_of(tmp_path / "out" / "errors.csv")) == 4
    assert "False alarms: 4 in 2 photos" in page.text
    assert run_eval(*arguments, tmp_path / "none", "--count", 0) == 1
    assert not (tmp_path / "none").exists()


def test_nothing_wrong_gives_an_empty_page(wrong, tmp_path):
    data, predictions, out = wrong
    name = "fddb_single/images/1.png"
    predictions.write_text(to_json({name: found([*FACE_BOX, 0.9])}, {"default_score": 0.5}))
    arguments = ("errors", "--data", data, "--set", "fddb_single", "--predictions", predictions, "--out", out)
    assert run_eval(*arguments) == 0
    assert Page(out / "page.html").of("img") == []
    assert summary(out)["mistakes"] == {"miss": 0, "false_alarm": 0}
    assert sorted(path.name for path in out.iterdir()) == ["errors.csv", "page.html", "summary.json"]


def test_our_detector_is_run_and_landmarks_are_shown(wrong, random_weights):
    data, _, out = wrong
    detector = ("--weights", random_weights("paper"), "--min-face", 60, "--threads", 1)
    arguments = ("errors", "--data", data, "--set", "net7876", *detector)
    assert run_eval(*arguments, "--out", out) == 0
    report = summary(out)
    assert set(report["mistakes"]) == {"miss", "landmarks"}
    assert sum(report["mistakes"].values()) == 1  # random weights do not find the landmarks of the one face
    assert len(Page(out / "page.html").of("img")) == 1
    assert run_eval(*arguments[:5], "--predictions", out / "predictions.json", "--out", out / "again") == 0
    assert rows_of(out / "again" / "errors.csv") == rows_of(out / "errors.csv")


def test_the_page_counts_what_the_benchmark_counts_of_our_detector(wrong, random_weights, tmp_path):
    data, _, out = wrong
    detector = ("--weights", random_weights("paper"), "--min-face", 40, "--threads", 1)
    arguments = ("--data", data, "--set", "wider_val")
    assert run_eval("benchmark", *arguments, *detector, "--out", tmp_path / "figures") == 0
    assert run_eval("errors", *arguments, *detector, "--out", out) == 0
    mine = f"mine={out / 'predictions.json'}"
    assert run_eval("compare", *arguments, "--compare", mine, "--out", tmp_path / "compared") == 0
    figures = summary(tmp_path / "figures")["detectors"]["cascade"]["wider_val"]
    compared = summary(tmp_path / "compared")["detectors"]["mine"]["wider_val"]
    assert compared["false_positives"] == figures["false_positives"]
    mistakes = summary(out)["mistakes"]
    assert mistakes["false_alarm"] == figures["false_positives"] > 0
    assert mistakes["miss"] == round(figures["faces"] * (1 - figures["recall"]))
    # lower thresholds find more of the default score
    lower = evaluate_file([read_set(data, "wider_val")], Predictions(read_predictions(out / "predictions.json").found))
    assert lower.sets["wider_val"].figures.default.curve.false_positive_count > figures["false_positives"]


@pytest.mark.parametrize("name", ["wider_train_holdout", "net7876"])
def test_mistakes_of_detections_around_the_labels_equal_the_figures(name):
    whole = read_set(shared("data"), name)
    test_set = replace(whole, photos=whole.photos[:30])
    rng = np.random.default_rng(3)
    rows = {}
    for each in test_set.photos:
        near = each.boxes.astype(float) + rng.normal(0, 5, (len(each), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        scored = np.column_stack([near, rng.uniform(0, 1, len(near))])
        rows[each.name] = found(*scored, landmarks=np.nan_to_num(each.landmarks) + rng.normal(0, 5, (len(near), 5, 2)))
    mistakes = find_mistakes(test_set, rows, 0.3)
    figures = evaluate_detector(test_set, rows, 0.3).summary()
    misses = sum(each.kind == "miss" for each in mistakes)
    if name == "net7876":
        assert misses == figures["faces"] - figures["matched"]
        failed = sum(each.kind == "landmarks" for each in mistakes)
        assert failed == round(figures["failure_rate"] * figures["matched"])
    else:
        assert misses == round(figures["faces"] * (1 - figures["recall"]))
        assert sum(each.kind == "false_alarm" for each in mistakes) == figures["false_positives"]
