"""Whatever is in a file, a reader returns a Dataset or raises DatasetError: nothing else gets out."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.datasets import DatasetError, read_celeba, read_coco, read_fddb, read_fddb_detections, read_wider

pieces = st.sampled_from(
    [
        *("e/a.jpg", "a", "1", "0", "-3", "2", "1 2 3 4 0 0 0 0 0 0", "1 2 3 4 5", "1 2 3 4 5 6", "1_0", ""),
        *(
            "nan 1 1 1 1",
            "1e999 1 1 1 1",
            "0 0 0 0 0",
            "x.jpg 1 2 3 4",
            "x.jpg 7",
            "9" * 5000,
            "\ud800",
            "☃/b",
        ),
    ]
)
lines = st.lists(pieces, max_size=12).map(lambda rows: "\n".join(rows).encode("utf-8", "surrogatepass"))
contents = st.one_of(lines, st.binary(max_size=60))
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text("aé/\0.", max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)
images = st.fixed_dictionaries({"id": st.integers(0, 2) | json_values, "file_name": st.text("ab/\0") | json_values})
faces = st.fixed_dictionaries(
    {"image_id": st.integers(0, 2) | json_values, "bbox": st.lists(st.integers() | json_values, max_size=4)},
    optional={"keypoints": json_values, "category_id": json_values, "iscrowd": json_values},
)


@settings(max_examples=80, deadline=None)
@given(contents)
@pytest.mark.parametrize("reader", ["wider", "fddb", "detections", "celeba", "coco"])
def test_damaged_text(reader, content):
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DatasetError):
        root = Path(folder)
        for name in (
            "x_bbx_gt.txt",
            "FDDB-fold-01-ellipseList.txt",
            "FDDB-fold-01.txt",
            "list_bbox_celeba.txt",
        ):
            (root / name).write_bytes(content)
        if reader == "wider":
            read_wider(root / "x_bbx_gt.txt", require_images=False)
        elif reader == "fddb":
            read_fddb(root, require_images=False)
        elif reader == "detections":
            read_fddb_detections(root / "x_bbx_gt.txt")
        elif reader == "celeba":
            read_celeba(root, require_images=False)
        else:
            read_coco(root / "x_bbx_gt.txt", require_images=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(images | json_values, max_size=4), st.lists(faces | json_values, max_size=4), json_values)
def test_damaged_json(image_list, face_list, info):
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DatasetError):
        file = Path(folder, "x.json")
        file.write_text(json.dumps({"images": image_list, "annotations": face_list, "info": info}))
        dataset = read_coco(file, require_images=False)
        assert all(str(problem) for problem in dataset.problems)
