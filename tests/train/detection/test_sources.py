"""The TOML list of training sets, and the photos that come of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.drawn_faces import Face, blank, save_coco, save_photo
from train.detection.sources import Source, SourceError, describe, fingerprint, photos, read_sources, recipe_fingerprint

FACES = {
    "a.png": [Face((10, 10, 30, 40)), Face((50, 10, 70, 30), ignored=True)],
    "sub/b.v2.png": [Face((5, 5, 45, 55), has_landmarks=False)],
    "c d.png": [],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a COCO set in it, photos and annotation."""
    rng = np.random.default_rng(0)
    for name in FACES:
        save_photo(tmp_path / "coco" / name, blank(80, 60, rng))
    save_coco(tmp_path / "coco", FACES)
    return tmp_path


COCO = """
[[source]]
kind = "coco"
annotations = "coco/annotations.json"
images = "coco"
"""


def write(root: Path, text: str) -> Path:
    file = root / "data.toml"
    file.write_text(text)
    return file


def read(root: Path, text: str) -> tuple[Source, ...]:
    return read_sources(write(root, text), root, root / "pseudo")


def test_reading(root):
    text = COCO + 'fully_labelled = false\nbox_rule = [0, 0.5, -1, 2]\npseudo_labels = "t.json"\nexclude = "x.txt"\n'
    first, second = read(root, text + '[[source]]\nkind = "folder"\nimages = "coco/sub"\n')
    assert first == Source(
        "coco",
        images=root / "coco",
        annotations=root / "coco/annotations.json",
        exclude=root / "x.txt",
        fully_labelled=False,
        box_rule=(0.0, 0.5, -1.0, 2.0),
        pseudo_labels=root / "pseudo/t.json",
    )
    assert (second.kind, second.images, second.fully_labelled) == ("folder", root / "coco/sub", True)
    assert describe((first, second)) == "coco coco; folder sub"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('[[source]]\nkind = "folder"', "source 2: .*images"),
        ('[[source]]\nimages = "coco"', "source 2: .*kind"),
        (
            '[[source]]\nkind = "labelme"\nimages = "coco"',
            "source 2: kind: expected wider, coco, folder, facepoint, pseudo, cvat, voc, yolo, labelstudio, jsonl, "
            "csv, parquet, xmp or points68, got 'labelme'",
        ),
        ('[[source]]\nkind = "coco"\nimages = "coco"', "source 2: annotations are missing"),
        ('[[source]]\nkind = "folder"\nimages = 3', "source 2: images: expected a path, got 3"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nimgaes = "x"', "source 2: .*imgaes"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nbox_rule = [0, 1]', "source 2: box_rule: expected four"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nbox_rule = ["a", 0, 0, 0]', "source 2: box_rule"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nbox_rule = 1', "source 2: box_rule"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nbox_rule = [true, 0, 0, 0]', "source 2: box_rule"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nbox_rule = [nan, 0, 0, 0]', "source 2: box_rule"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nfully_labelled = "no"', "source 2: fully_labelled"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nannotations = "x"', "source 2: annotations: a folder .* none"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nlandmarks = 1', "source 2: landmarks: expected true or false"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\npasses = 0', "source 2: passes: expected a whole number"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\npasses = true', "source 2: passes: expected a whole number"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nlandmarks_from = -1', "source 2: landmarks_from: .* pixels"),
        ('[[source]]\nkind = "folder"\nimages = "coco"\nlandmarks_from = inf', "source 2: landmarks_from: .* inf"),
        ('[[source]]\nkind = "points68"\nimages = "a"\nexclude = "x"', "source 2: exclude: .* as a whole"),
        ('[[source]]\nkind = "points68"\nimages = "a"\nannotations = "x"', "source 2: annotations: a folder .* none"),
    ],
)
def test_errors_name_the_entry(root, entry, message):
    with pytest.raises(SourceError, match=rf"data\.toml: {message}"):
        read(root, COCO + entry)


@pytest.mark.parametrize("text", ["[[source]\n", "", "[source]\nkind = 1", "source = 3", "source = ['a']", "[[set]]"])
def test_a_file_without_entries_is_refused(root, text):
    with pytest.raises(SourceError, match=r"data\.toml: expected \[\[source\]\] entries"):
        read(root, text)


def test_a_file_that_is_not_text_or_not_there(root):
    (root / "data.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"data\.toml"):
        read_sources(root / "data.toml", root, root)
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        read_sources(root / "none.toml", root, root)


def source(root: Path, **fields) -> Source:
    return Source("coco", root / "coco", root / "coco/annotations.json", **fields)


def names(of: Source) -> list[str]:
    return [photo.name for photo in photos(of)]


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ("a.png\n", ["sub/b.v2.png", "c d.png"]),
        ("a\n\n", ["sub/b.v2.png", "c d.png"]),
        ("a.jpg\r\n", ["sub/b.v2.png", "c d.png"]),  # recompressed since the list was written
        ("sub/b.v2\n", ["a.png", "c d.png"]),
        ("sub/b.v2.png", ["a.png", "c d.png"]),
        ("sub/b\nsub/b.v3.png\n", ["a.png", "sub/b.v2.png", "c d.png"]),
        ("c d.png\n", ["a.png", "sub/b.v2.png"]),
        (" \n", ["a.png", "sub/b.v2.png", "c d.png"]),
    ],
)
def test_exclude(root, listed, left):
    (root / "out.txt").write_text(listed)
    assert names(source(root, exclude=root / "out.txt")) == left


def test_exclude_in_a_wider_set(tmp_path):
    """Its photos are named by event and stem, the list by file."""
    rows = "10 10 20 20 0 0 0 0 0 0\n"
    listing = "".join(f"0--Parade/{stem}.jpg\n1\n{rows}" for stem in ("0_Parade_1", "0_Parade_2"))
    (tmp_path / "bbx_gt.txt").write_text(listing)
    for stem in ("0_Parade_1", "0_Parade_2"):
        save_photo(tmp_path / "images/0--Parade" / f"{stem}.png", np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "out.txt").write_text("0--Parade/0_Parade_1.webp\n")
    wider = Source("wider", tmp_path / "images", tmp_path / "bbx_gt.txt", exclude=tmp_path / "out.txt")
    assert names(wider) == ["0--Parade/0_Parade_2"]
    # a set that is said not to be fully labelled is not
    half = Source("wider", tmp_path / "images", tmp_path / "bbx_gt.txt", fully_labelled=False)
    assert not any(photo.fully_labelled for photo in photos(half))


def test_the_box_rule_moves_the_edges_by_shares_of_width_and_height(root):
    rule = (-0.1, 0.2, 0.3, -0.05)
    for before, after in zip(photos(source(root)), photos(source(root, box_rule=rule)), strict=True):
        wide = before.boxes[:, 2] - before.boxes[:, 0]
        high = before.boxes[:, 3] - before.boxes[:, 1]
        moves = np.stack([-0.1 * wide, 0.2 * high, 0.3 * wide, -0.05 * high], axis=1)
        np.testing.assert_allclose(after.boxes, before.boxes + moves, rtol=1e-6)
        np.testing.assert_array_equal(after.landmarks, before.landmarks)
        np.testing.assert_array_equal(after.ignored, before.ignored)
    first = next(iter(photos(source(root, box_rule=rule))))
    np.testing.assert_allclose(first.boxes[0], (10 - 2, 10 + 6, 30 + 6, 40 - 1.5))


def row(*box: float) -> list[float]:
    return [*box, 0.9, *range(10)]


def test_faces_that_only_the_pseudo_labels_have_are_ignored(root):
    seen = {"a.png": [row(11, 11, 31, 41), row(60, 40, 75, 55)], "sub/b.v2.png": [row(6, 6, 44, 54)], "z.png": []}
    (root / "t.json").write_text(json.dumps(seen))
    labelled = {photo.name: photo for photo in photos(source(root, pseudo_labels=root / "t.json"))}
    plain = {photo.name: photo for photo in photos(source(root))}
    a = labelled["a.png"]
    # the first one is labelled already, under a box that overlaps it
    np.testing.assert_allclose(a.boxes, [*plain["a.png"].boxes, (60, 40, 75, 55)])
    assert a.ignored.tolist() == [False, True, True]
    assert np.isnan(a.landmarks[2]).all()
    assert len(labelled["sub/b.v2.png"]) == 1
    assert len(labelled["c d.png"]) == 0


def test_pseudo_labels_are_compared_with_the_moved_ones(root):
    (root / "t.json").write_text(json.dumps({"a.png": [row(10, 10, 30, 40)]}))
    moved = next(iter(photos(source(root, pseudo_labels=root / "t.json", box_rule=(2, 0, 2, 0)))))
    np.testing.assert_allclose(moved.boxes[0], (50, 10, 70, 40))
    np.testing.assert_allclose(moved.boxes[2], (10, 10, 30, 40))
    assert moved.ignored[2]


def test_fully_labelled(root):
    assert all(photo.fully_labelled for photo in photos(source(root)))
    assert not any(photo.fully_labelled for photo in photos(source(root, fully_labelled=False)))
    # what the file itself says is not overruled
    save_coco(root / "coco", FACES, fully_labelled=False)
    assert not any(photo.fully_labelled for photo in photos(source(root)))
    folder = Source("folder", root / "coco")
    assert [len(photo) for photo in photos(folder)] == [0, 0, 0]
    assert all(photo.fully_labelled for photo in photos(folder))
    unknown = Source("folder", root / "coco", fully_labelled=False)
    assert not any(photo.fully_labelled for photo in photos(unknown))


def test_landmarks_that_nothing_learns(root):
    with_them, without = (list(photos(source(root, landmarks=learned))) for learned in (True, False))
    assert np.isfinite(with_them[0].landmarks).any()
    for photo, plain in zip(without, with_them, strict=True):
        assert np.isnan(photo.landmarks).all()
        np.testing.assert_array_equal(photo.boxes, plain.boxes)


def test_landmarks_of_small_faces_are_not_learned(root):
    (root / "coco" / "annotations.json").unlink()
    save_coco(root / "coco", {"a.png": [Face((10, 10, 30, 40)), Face((40, 10, 70, 50))]})
    (first, *_) = photos(source(root, landmarks_from=25))
    assert np.isfinite(first.landmarks).all(axis=(1, 2)).tolist() == [False, True]


def test_68_points_give_a_box_and_five_landmarks(root):
    points = np.stack(np.divmod(np.arange(68), 9)[::-1], axis=1) * 4.0 + (20, 10)
    (root / "coco" / "a.pts").write_text("\n".join(f"{x} {y}" for x, y in points))
    (only,) = photos(Source("points68", root / "coco", box_rule=(0.0, -0.5, 0.0, 0.0)))
    assert not only.fully_labelled
    np.testing.assert_allclose(only.boxes, [[19.5, 9.5 - 14, 51.5, 37.5]])
    expected = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    np.testing.assert_allclose(only.landmarks[0], np.array(expected) - 0.5)


def test_paths_beside_the_file(root):
    """What comes with a recipe is found wherever the data is."""
    recipe = root / "recipes" / "data.toml"
    recipe.parent.mkdir()
    recipe.write_text('[[source]]\nname = "classes"\nannotations = "./labels/classes.json"\n')
    (found,) = read_sources(recipe, root / "data", root / "pseudo")
    assert found.annotations == root / "recipes/labels/classes.json"
    assert found.images == root / "data/photos/classes"


def test_what_a_reader_leaves_out_is_told(root, capsys):
    save_coco(root / "coco", {**FACES, "gone.png": []})
    assert len(names(source(root))) == 3
    assert "gone.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"fully_labelled": False},
        {"box_rule": (0.1, 0.0, 0.0, 0.0)},
        {"landmarks": False},
        {"landmarks_from": 40.0},
        {"passes": 2},
        {"images": Path("other")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_recipe_shows_in_its_fingerprint(root, change):
    before = source(root)
    assert recipe_fingerprint((replace(before, **change),)) != recipe_fingerprint((before,))
    assert recipe_fingerprint((before, replace(before, **change))) != recipe_fingerprint((before,))
    moved = replace(before, images=Path("elsewhere") / before.images.name)
    assert recipe_fingerprint((moved,)) == recipe_fingerprint((before,))


def test_labels_beside_the_photos_show_in_the_fingerprint_too(tmp_path):
    points = (Source("points68", tmp_path),)
    before = recipe_fingerprint(points)
    (tmp_path / "a.pts").write_text("1 2\n")
    assert recipe_fingerprint(points) != before


def test_the_fingerprint_follows_the_annotations(root):
    before = fingerprint((source(root),))
    assert before == fingerprint((source(root),))
    save_coco(root / "coco", {"a.png": []})
    assert fingerprint((source(root),)) != before
