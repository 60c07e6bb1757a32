"""What is written in a format is read back: boxes, points, scores, names, ignored faces, photos without faces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.datasets import (
    FORMATS,
    DatasetError,
    Photo,
    PhotoFaces,
    format_of_file,
    iterate_photos,
    photos_from_faces,
    read_coco,
    read_cvat,
    read_label_studio,
    read_voc,
    read_wider,
    read_yolo,
    write_photos,
)
from cascade.faces import Faces
from tests.datasets.exchanged import make_photos

KEPT = {
    "coco": ("landmarks", "score", "name", "ignored", "empty"),
    "cvat": ("landmarks", "score", "name", "ignored", "empty"),
    "voc": ("score", "name", "ignored", "empty"),
    "csv": ("landmarks", "score", "name", "ignored", "empty"),
    "parquet": ("landmarks", "score", "name", "ignored", "empty"),
    "jsonl": ("landmarks", "score", "name", "ignored", "empty"),
    "json": ("landmarks", "score", "name", "ignored", "empty"),
    "wider": ("ignored", "empty"),
    "yolo": ("empty",),
    "yolo-pose": ("landmarks", "empty"),
    "xmp": ("name",),
}
"""What each format holds besides boxes."""

TOLERANCE = {"wider": 1.01, "cvat": 0.006, "voc": 0.006, "yolo": 1e-3, "yolo-pose": 1e-3, "xmp": 1e-3}


def write(kind: str, folder: Path, photos: list[Photo]) -> Path:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    target = folder / "photos" if kind == "xmp" else folder / "written" / ("folder" if FORMATS[kind].folder else "file")
    target.parent.mkdir(exist_ok=True)
    write_photos(kind, target, photos)
    return target


@pytest.mark.parametrize("kind", KEPT)
def test_formats_are_read_as_they_were_written(kind, tmp_path):
    photos = make_photos(tmp_path / "photos")
    target = write(kind, tmp_path, photos)
    problems: list[str] = []
    images = None if kind.startswith("yolo") else tmp_path / "photos"
    found = {
        photo.name.removeprefix("train/"): photo for photo in iterate_photos(kind, target, images, problems=problems)
    }
    assert problems == []
    kept, tolerance = KEPT[kind], TOLERANCE.get(kind, 1e-3)
    wanted = [photo for photo in photos if len(photo) or "empty" in kept]
    assert list(found) == [photo.name for photo in sorted(wanted, key=lambda p: p.name if FORMATS[kind].folder else "")]
    for before in wanted:
        after = found[before.name]
        rows = slice(None) if "ignored" in kept else ~before.ignored
        assert np.abs(after.boxes - before.boxes[rows]).max(initial=0) <= tolerance
        assert after.path.read_bytes() == before.path.read_bytes()
        assert "ignored" not in kept or after.ignored.tolist() == before.ignored.tolist()
        if "landmarks" in kept:
            assert np.array_equal(np.isnan(after.landmarks), np.isnan(before.landmarks[rows]))
            assert np.nanmax(np.abs(after.landmarks - before.landmarks[rows]), initial=0) <= tolerance
        for name in ("score", "name"):
            if name in kept and len(before):
                values = after.attributes.get(name, np.full(len(after), ""))
                assert values.tolist() == pytest.approx(before.attributes[name][rows].tolist())


def test_label_studio_reads_what_was_accepted(tmp_path):
    photos = make_photos(tmp_path / "photos")
    write_photos("labelstudio", tmp_path / "tasks.json", photos)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[1]["data"]["image"] == "/data/local-files/?d=sub/b%20c.png"
    for task in tasks:  # as if somebody had accepted every prediction
        task["annotations"] = [
            {"result": [{"value": {}}], "was_cancelled": True},
            {"result": task["predictions"][0]["result"]},
        ]
        del task["predictions"]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    found = read_label_studio(tmp_path / "export.json", tmp_path / "photos", strict=True)
    for before, after in zip(photos, found, strict=True):
        assert (after.name, len(after)) == (before.name, len(before))
        assert np.abs(after.boxes - before.boxes).max(initial=0) < 1e-3
        assert np.array_equal(np.isnan(after.landmarks), np.isnan(before.landmarks))
        assert np.nanmax(np.abs(after.landmarks - before.landmarks), initial=0) < 1e-3
        assert after.ignored.tolist() == before.ignored.tolist()
    assert found[0].attributes["name"].tolist() == photos[0].attributes["name"].tolist()


def test_label_studio_leaves_out_what_nobody_looked_at(tmp_path):
    photos = make_photos(tmp_path)
    write_photos("labelstudio", tmp_path / "tasks.json", photos)
    found = read_label_studio(tmp_path / "tasks.json")
    assert len(found) == 0
    assert "3 tasks have no annotation" in str(found.problems[0])


def region(kind, **value):
    return {"type": kind, "original_width": 200, "original_height": 100, "id": value.pop("id"), "value": value}


def test_label_studio_uploads_rotated_boxes_and_points_without_a_parent(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not decoded")
    box = region("rectanglelabels", id="1", x=10, y=20, width=20, height=40, rotation=90, rectanglelabels=["face"])
    nose = region("keypointlabels", id="2", x=10 / 2, y=30, keypointlabels=["nose"])
    task = {"data": {"image": "/data/upload/3/0123abcd-a.jpg"}, "annotations": [{"result": [box, nose]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (photo,) = read_label_studio(tmp_path / "export.json", strict=True)
    # 40×40 px about its corner (20, 20), by a quarter turn clockwise: to the left of the corner
    assert photo.boxes == pytest.approx(np.array([[-20, 20, 20, 60]]), abs=1e-4)
    assert (photo.name, photo.size) == ("a.jpg", (200, 100))
    assert photo.landmarks[0, 2].tolist() == [10, 30]
    assert np.isnan(photo.landmarks[0, [0, 1, 3, 4]]).all()


@given(st.lists(st.tuples(*[st.floats(-50, 150, width=32)] * 2, *[st.floats(0.5, 90, width=32)] * 2), max_size=4))
def test_yolo_cuts_boxes_and_leaves_out_what_lies_outside(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("yolo")
    base = make_photos(folder)[0]
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in rows], np.float32).reshape(-1, 4)
    points = np.full((len(rows), 5, 2), np.nan)
    photo = Photo(base.path, base.name, boxes, np.zeros(len(rows), bool), points, True, size=base.size)
    write_photos("yolo-pose", folder / "set", [photo])
    (found,) = read_yolo(folder / "set", strict=True)
    numbers = np.array([line.split() for line in (folder / "set/labels/train/a.txt").read_text().splitlines()], float)
    assert numbers.size == 0 or (numbers.min() >= 0 and numbers.max() <= 1)
    cut = np.clip(boxes, 0, [120, 80, 120, 80])
    inside = cut[(cut[:, 2:] > cut[:, :2]).all(axis=1)]
    assert np.abs(found.boxes - inside).max(initial=0) < 1e-3


def test_voc_counts_pixels_from_one_unless_told(tmp_path):
    photos = make_photos(tmp_path / "photos")
    write_photos("voc", tmp_path / "one", photos)
    write_photos("voc", tmp_path / "zero", photos, first_pixel=0)
    text = (tmp_path / "one/Annotations/sub/b c.xml").read_text()
    assert "<xmin>1</xmin>" in text
    assert "<xmax>64</xmax>" in text
    assert "<xmin>0</xmin>" in (tmp_path / "zero/Annotations/sub/b c.xml").read_text()
    read = read_voc(tmp_path / "zero" / "Annotations", tmp_path / "photos", first_pixel=0, strict=True)
    assert read[0].boxes == pytest.approx(photos[0].boxes, abs=0.006)


@pytest.mark.parametrize("bring", ["link", "copy"])
@pytest.mark.parametrize("target", ["set", "also"])
def test_yolo_written_into_the_set_that_was_read_keeps_its_links(tmp_path, bring, target):
    photos = make_photos(tmp_path / "photos")
    write_photos("yolo", tmp_path / "set", photos)
    links = {path: path.readlink() for path in (tmp_path / "set").rglob("*") if path.is_symlink()}
    (tmp_path / "also").symlink_to("set")
    read = [replace(photo, name=photo.name.removeprefix("train/")) for photo in read_yolo(tmp_path / "set")]
    write_photos("yolo", tmp_path / target, read, bring=bring)
    assert len(links) == len(photos)
    assert {path: path.readlink() for path in links} == links
    assert len(read_yolo(tmp_path / "set", strict=True)) == len(photos)


def test_yolo_links_copies_or_leaves_the_photos(tmp_path):
    photos = make_photos(tmp_path / "photos")
    for bring, link, there in (("link", True, True), ("copy", False, True), ("none", False, False)):
        write_photos("yolo", tmp_path / bring, photos, bring=bring)
        place = tmp_path / bring / "images/train/sub/b c.png"
        assert (place.is_symlink(), place.is_file()) == (link, there)
    write_photos("yolo", tmp_path / "link", photos[:1], part="val")
    described = (tmp_path / "link/data.yaml").read_text()
    assert "train: images/train\n" in described
    assert "val: images/val\n" in described


def test_cvat_groups_points_and_turns_boxes(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not decoded")
    points = '<points label="p" points="1,1;2,1;1.5,2;1,3;2,3"{}/>'
    box = '<box label="{}" xtl="{}" ytl="0" xbr="{}" ybr="4"{}><attribute name="blur">2</attribute></box>'
    shapes = box.format("face", 0, 4, "") + box.format("mask", 10, 14, ' rotation="90"') + points.format("")
    file = tmp_path / "a.xml"
    file.write_text(f'<annotations><image name="a.jpg" width="20" height="10">{shapes}</image></annotations>')
    (photo,) = read_cvat(file, strict=True)
    assert photo.boxes == pytest.approx(np.array([[0, 0, 4, 4], [10, 0, 14, 4]]), abs=1e-6)
    assert photo.landmarks[0, 2].tolist() == [1.5, 2]
    assert np.isnan(photo.landmarks[1]).all()
    assert photo.attributes["label"].tolist() == ["", "mask"]
    assert photo.attributes["blur"].tolist() == [2, 2]


def test_results_with_embeddings_and_names_become_photos():
    faces = Faces([[1, 2, 3, 4]], [0.5], np.zeros((1, 5, 2)), {"names": ["Ann"], "embedding": np.ones((1, 3))})
    (photo,) = photos_from_faces([PhotoFaces("photos/a.jpg", 10, 20, faces)], "photos")
    assert (photo.name, photo.size, photo.attributes["name"].tolist()) == ("a.jpg", (10, 20), ["Ann"])
    assert photo.attributes["embedding"].shape == (1, 3)
    with pytest.raises(ValueError, match="from 1 on, got 0×20"):
        list(photos_from_faces([PhotoFaces("a.jpg", 0, 20, faces)]))


def test_results_laid_out_in_another_way(tmp_path):
    write_photos("json", tmp_path / "a.json", make_photos(tmp_path))
    records = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(records, indent=2))
    assert [photo.name for photo in iterate_photos("json", tmp_path / "b.json", tmp_path)] == [
        photo.name for photo in iterate_photos("json", tmp_path / "a.json", tmp_path)
    ]


def test_the_first_match_of_identify_is_the_name(tmp_path):
    face = {"box": [1, 2, 3, 4], "score": 0.5, "landmarks": None}
    matches = [[{"name": "Ann", "similarity": 0.7}, {"name": "Bob", "similarity": 0.6}], []]
    record = {"path": "a.jpg", "width": 9, "height": 9, "faces": [{**face, "matches": each} for each in matches]}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    (photo,) = iterate_photos("jsonl", tmp_path / "a.jsonl")
    assert photo.attributes["name"].tolist() == ["Ann", ""]


def test_parquet_keeps_embeddings(tmp_path):
    pytest.importorskip("pyarrow")
    faces = Faces([[1, 2, 3, 4]], [0.5], np.zeros((1, 5, 2)), {"embedding": np.ones((1, 3)), "track": [7]})
    write_photos("parquet", tmp_path / "a", photos_from_faces([PhotoFaces("a.jpg", 10, 20, faces)]))
    (photo,) = iterate_photos("parquet", tmp_path / "a")
    assert photo.attributes["embedding"].tolist() == [[1, 1, 1]]
    assert photo.attributes["track"].tolist() == [7]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in ("yolo-pose", "xmp")])
def test_a_format_is_told_by_the_file(kind, tmp_path):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    suffix = {"coco": ".json", "cvat": ".xml", "wider": ".txt", "labelstudio": ".json"}.get(kind, f".{kind}")
    target = tmp_path / f"written{'' if FORMATS[kind].folder else suffix}"
    write_photos(kind, target, make_photos(tmp_path / "photos"))
    assert format_of_file(target) == kind


def test_a_format_that_is_not_known(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(DatasetError, match="not to be told; name it"):
        format_of_file(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="kind: expected one of coco, yolo"):
        write_photos("gif", tmp_path / "b", [])


def test_pycocotools_reads_what_is_written(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    write_photos("coco", tmp_path / "a.json", make_photos(tmp_path))
    read = coco.COCO(str(tmp_path / "a.json"))
    faces = read.loadAnns(read.getAnnIds(imgIds=[1], iscrowd=False))
    assert [face["bbox"] for face in faces] == [[10.25, 5.5, 30.5, 39.625], [60, 20, 30, 50]]
    assert [face.get("num_keypoints") for face in faces] == [5, None]


def test_wider_is_in_whole_pixels_as_others_read_it(tmp_path):
    write_photos("wider", tmp_path / "a.txt", make_photos(tmp_path))
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines[:3] == ["a.jpg", "3", "10 6 31 39 0 0 0 0 0 0"]
    assert lines[-3:] == ["empty.jpg", "0", "0 0 0 0 0 0 0 0 0 0"]
    assert len(read_wider(tmp_path / "a.txt", tmp_path, strict=True)) == 3


def test_coco_says_what_is_not_fully_labelled(tmp_path):
    (photo, *_) = make_photos(tmp_path)
    half = Photo(photo.path, photo.name, photo.boxes, photo.ignored, photo.landmarks, False, size=photo.size)
    write_photos("coco", tmp_path / "a.json", [half])
    assert not read_coco(tmp_path / "a.json")[0].fully_labelled
