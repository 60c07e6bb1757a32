"""Bad annotations are refused or left out with a line that says why; bad photos do not end the others."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import (
    FORMATS,
    DatasetError,
    iterate_photos,
    read_csv,
    read_cvat,
    read_label_studio,
    read_results,
    read_voc,
    read_yolo,
    write_photos,
)
from tests.datasets.exchanged import make_photos

BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotations>&a;</annotations>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_document_types_are_refused(text, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DatasetError, match="document type"):
        read_cvat(tmp_path / "a.xml")
    (problem,) = read_voc(tmp_path).problems
    assert "document type" in str(problem)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image", ":1: not XML"),
        ("", ":1: not XML"),
        ("<other/>", "not a file of"),
        ("<annotations><track/></annotations>", "not a file of"),
    ],
)
def test_broken_cvat_files(text, message, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_cvat(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<box label="face" xtl="1" ytl="2" xbr="3"/>', "ybr is missing"),
        ('<box label="face" xtl="a" ytl="2" xbr="3" ybr="4"/>', "xtl: expected a number, got 'a'"),
        ('<box label="face" xtl="nan" ytl="2" xbr="3" ybr="4"/>', "not finite"),
        ('<box label="face" xtl="1e30" ytl="2" xbr="3" ybr="4"/>', "out of reach"),
        ('<points points="1,2;3"/>', "points: expected pairs"),
    ],
)
def test_a_photo_with_a_broken_shape_is_left_out(shape, message, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"not decoded")
    good = '<image name="b.jpg"><box label="face" xtl="1" ytl="2" xbr="3" ybr="4"/></image>'
    (tmp_path / "a.xml").write_text(f'<annotations><image name="a.jpg">{shape}</image>{good}</annotations>')
    found = read_cvat(tmp_path / "a.xml")
    assert [photo.name for photo in found] == ["b.jpg"]
    assert message in str(found.problems[0])
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        read_cvat(tmp_path / "a.xml", strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1\n", "5 or 6 or 15"),
        ("0 0.5 0.5 0.1 nan\n", "not a finite number"),
        ("face 0.5 0.5 0.1 0.1\n", "not a finite number"),
    ],
)
def test_broken_yolo_lines(text, message, tmp_path):
    write_photos("yolo", tmp_path / "set", make_photos(tmp_path / "photos"))
    (tmp_path / "set/labels/train/a.txt").write_text(text)
    found = read_yolo(tmp_path / "set")
    assert len(found) == 2
    assert message in str(found.problems[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"width": 1}', "no path"),
        ('{"path": "a.jpg", "width": 0, "height": 5, "faces": []}', "from 1 on, got 0×5"),
        ('{"path": "a.jpg", "width": 1, "height": 1, "faces": [{"box": [1, 2, 3]}]}', "four numbers"),
        ('{"path": "a.jpg", "width": 1, "height": 1, "faces": [{"box": [1, 2, 3, NaN]}]}', "four numbers"),
        (f'{{"path": "a.jpg", "width": 1, "height": 1, "faces": [{{"box": [1, 2, 3, {10**400}]}}]}}', "four numbers"),
        ('{"path": "a.jpg", "width": 1, "height": 1, "faces": [{"box": [3, 2, 1, 4]}]}', "x1 <= x2"),
        ('{"path": "a.jpg", "width": 1, "height": 1, "faces": [{"box": [1,2,3,4], "landmarks": {}}]}', "landmarks"),
        ("[[[[", "not JSON"),
    ],
)
def test_broken_records(line, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Path(name).write_bytes(b"not decoded")
    Path("faces.jsonl").write_text('{"path": "b.jpg", "width": 2, "height": 2, "faces": []}\n' + line + "\n")
    found = read_results("faces.jsonl")
    assert [photo.name for photo in found] == ["b.jpg"]
    assert message in str(found.problems[0])


def test_tables_with_broken_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(f"{name}.jpg").write_bytes(b"not decoded")
    Path("a.csv").write_text("path,x1,y1,x2,y2\na.jpg,1,2,3,x\nb.jpg,1,2,3\nc.jpg,1,2,3,4\n")
    found = read_csv("a.csv")
    assert [photo.name for photo in found] == ["c.jpg"]
    assert len(found.problems) == 2
    Path("b.csv").write_text("path,x1\n")
    with pytest.raises(DatasetError, match="lacking: y1, x2, y2"):
        read_csv("b.csv")


@pytest.mark.parametrize("text", ["{}", "[1]", "not JSON", '[{"id": 1}]'])
def test_files_that_are_no_export_of_label_studio(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match="JSON"):
        read_label_studio(tmp_path / "a.json")


def test_parquet_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        list(iterate_photos("parquet", tmp_path / "a.parquet"))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "xmp"])
def test_one_photo_that_cannot_be_written_leaves_the_others(kind, tmp_path):
    """Its size is not known, and it is not there."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    one, two, _ = make_photos(tmp_path / "photos")
    lost = replace(one, name="lost.jpg", path=tmp_path / "lost.jpg", size=None)
    opened = FORMATS[kind].open
    assert opened is not None
    refused = []
    with opened(tmp_path / "out") as add:
        for photo in (one, lost, two):
            try:
                add(photo)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) == (kind != "wider")  # which needs no size
    if kind not in ("wider", "labelstudio"):
        images = None if kind.startswith("yolo") else tmp_path / "photos"
        names = [photo.name.removeprefix("train/") for photo in iterate_photos(kind, tmp_path / "out", images)]
        assert sorted(names) == [one.name, two.name]


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelstudio", "csv", "json"])
def test_nothing_is_left_of_a_file_that_was_not_finished(kind, tmp_path):
    opened = FORMATS[kind].open
    assert opened is not None
    (photo, *_) = make_photos(tmp_path / "photos")

    def interrupted():
        with opened(tmp_path / "out") as add:
            add(photo)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(os.listdir(tmp_path)) == ["photos"]


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg"])
@pytest.mark.parametrize("kind", ["yolo", "voc", "wider"])
def test_names_do_not_lead_out_of_a_folder(kind, name, tmp_path):
    (photo, *_) = make_photos(tmp_path / "photos")
    with pytest.raises(ValueError, match="folder"):
        write_photos(kind, tmp_path / "out", [replace(photo, name=name)])


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode here")
@pytest.mark.parametrize("kind", ["cvat", "voc", "labelstudio", "yolo", "wider", "parquet"])
def test_names_that_are_no_utf8(kind, tmp_path):
    """JSON and CSV hold them, the others say that they cannot."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    (photo, *_) = make_photos(tmp_path / "photos")
    name = os.fsdecode(b"\xff.jpg")
    path = tmp_path / "photos" / name
    photo.path.rename(path)
    odd = replace(photo, name=name, path=path)
    with pytest.raises(ValueError, match="not UTF-8"):
        write_photos(kind, tmp_path / "out", [odd])
    for able in ("jsonl", "csv", "coco"):
        write_photos(able, tmp_path / able, [odd])
        (found,) = iterate_photos(able, tmp_path / able, tmp_path / "photos")
        assert (found.name, found.path) == (name, path)


def test_line_ends_in_names_stay(tmp_path):
    (photo, *_) = make_photos(tmp_path / "photos")
    named = replace(photo, attributes={"name": np.array(["a\nb\t\"<&'", "", "=1+1"])})
    for kind in ("cvat", "csv", "jsonl", "coco", "voc"):
        write_photos(kind, tmp_path / kind, [named])
        (found,) = iterate_photos(kind, tmp_path / kind, tmp_path / "photos")
        assert found.attributes["name"].tolist() == named.attributes["name"].tolist()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"type": "rectanglelabels", "value": {"rectanglelabels": 5}}, "rectanglelabels: expected a list"),
        ({"type": "rectanglelabels", "value": {"rectanglelabels": [None]}}, "rectanglelabels: expected a list"),
        ({"type": "keypointlabels", "value": {"keypointlabels": {"nose": 1}}}, "keypointlabels: expected a list"),
        ({"type": "rectanglelabels", "value": {"x": None}}, "x: expected a number"),
    ],
)
def test_a_task_with_a_broken_region_is_left_out(region, message, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not decoded")
    (tmp_path / "b.jpg").write_bytes(b"not decoded")
    place = {"x": 1, "y": 2, "width": 3, "height": 4}
    regions = [{**region, "value": place | region["value"], "original_width": 100, "original_height": 50}]
    unlabelled = {**regions[0], "type": "rectanglelabels", "value": place | {"rectanglelabels": None}}
    named = {"type": "textarea", "value": {"text": [47]}}
    tasks = [
        {"data": {"image": name}, "annotations": [{"result": result}]}
        for name, result in (("a.jpg", regions), ("b.jpg", [unlabelled, named]))
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    found = read_label_studio(tmp_path / "export.json")
    assert [(photo.name, len(photo)) for photo in found] == [("b.jpg", 1)]
    assert message in str(found.problems[0])


@pytest.mark.parametrize(("kind", "file"), [("yolo", "labels/train/a.txt"), ("voc", "Annotations/a.xml")])
def test_photos_whose_names_differ_by_the_suffix_alone(kind, file, tmp_path):
    first, *_ = make_photos(tmp_path)
    second = replace(first, name="a.png")
    with FORMATS[kind].open(tmp_path / "written") as add:
        add(first)
        before = (tmp_path / "written" / file).read_text()
        with pytest.raises(ValueError, match=r"a\.png: .* is that of a\.jpg"):
            add(second)
        assert (tmp_path / "written" / file).read_text() == before
