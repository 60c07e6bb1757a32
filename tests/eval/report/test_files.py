"""Reports: nothing half-written, plain JSON, legible tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eval.report.files import (
    check_output,
    markdown_table,
    output_folder,
    plain,
    subset_note,
    table,
    write_csv,
    write_summary,
)


def test_files_arrive_together(tmp_path):
    out = tmp_path / "deep" / "out"
    with output_folder(out) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
        write_summary(folder, {"x": 1})
        assert not out.exists()
    assert (out / "sub" / "a.txt").read_text() == "a"
    assert json.loads((out / "summary.json").read_text()) == {"x": 1}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_nothing_arrives_when_something_fails(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text("before")

    def write_half():
        with output_folder(out) as folder:
            write_summary(folder, {"x": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert (out / "summary.json").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(NotADirectoryError), output_folder(tmp_path / "out"):
        pass


def test_a_folder_that_exists_is_filled_from_within(tmp_path):
    """It may be a file system of its own, into which nothing can be moved from beside it."""
    out = tmp_path / "out"
    out.mkdir()
    with output_folder(out) as folder:
        assert folder.parent == out
        write_summary(folder, {"x": 1})
    assert [path.name for path in out.iterdir()] == ["summary.json"]


def test_the_check_creates_nothing(tmp_path):
    check_output(tmp_path / "new" / "out")
    check_output(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    for wrong in (tmp_path / "link", tmp_path / "link" / "out"):
        with pytest.raises(NotADirectoryError, match=r"^--out .*link is not a folder"):
            check_output(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_plain_values():
    value = {"a": np.float64(0.5), "b": np.array([1, 2]), "c": (np.nan, np.inf), "d": None, 3: np.bool_(True)}
    assert plain(value) == {"a": 0.5, "b": [1, 2], "c": [None, None], "d": None, "3": True}


def test_csv(tmp_path):
    write_csv(tmp_path / "a.csv", ("x", "y"), [("a,b", 1 / 3), ("c", 2)])
    assert (tmp_path / "a.csv").read_text() == 'x,y\n"a,b",0.333333333\nc,2\n'


def test_tables():
    text = table(["name", "ap"], [["a", 0.5], ["longer", None], ["n", 1234]])
    assert text.splitlines() == [
        "name        ap",
        "--------------",
        "a       0.5000",
        "longer       –",
        "n        1,234",
    ]
    assert markdown_table(["n", "x"], [["a", 0.25]]) == "| n | x |\n| --- | ---: |\n| a | 0.2500 |"


def test_subset_note():
    assert subset_note(180, 3226) == "180 of 3,226 photos"
    assert subset_note(3226, 3226) is None
