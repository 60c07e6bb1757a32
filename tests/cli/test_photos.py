"""Which photos a command line means, and how their results are called."""

from __future__ import annotations

import os

from cascade.cli.photos import find_photos, name_results
from tests.cli.helpers import (
    photo,
    posix_only,
)


def test_find_photos_gives_the_folder_that_holds_them(tmp_path):
    for name in ("p/a/x.jpg", "p/b/y.jpg"):
        photo(tmp_path / name)
    assert find_photos([str(tmp_path / "p")]).base == str(tmp_path / "p")
    assert find_photos([str(tmp_path / "p/a/x.jpg")]).base == str(tmp_path / "p/a")
    assert find_photos([str(tmp_path / "p/a"), str(tmp_path / "p/b/y.jpg")]).base == str(tmp_path / "p")


@posix_only
def test_a_pipe_in_a_folder_is_left_alone(tmp_path):
    path = photo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert find_photos([str(tmp_path)]).photos == [str(path)]


def test_names_for_results_are_found_without_looking_at_files(tmp_path):
    photos = ["/p/a.jpg", "/p/sub/a.jpg"]
    out = tmp_path / "out"
    assert name_results(photos, "/p", out) == {"/p/a.jpg": out / "a", "/p/sub/a.jpg": out / "sub/a"}


def test_pictures_of_a_folder_that_cannot_be_read_are_counted(tmp_path):
    for name in ("a.jpg", "b.jfif", "c.avif", "d.dng", "e.DNG", "f.jxl", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    found = find_photos([str(tmp_path)])
    assert [os.path.basename(photo) for photo in found.photos] == ["a.jpg", "b.jfif", "c.avif"]
    assert found.notes == [f"{tmp_path}: left out 3 pictures (2 .dng, 1 .jxl)"]


@posix_only
def test_links_to_folders_are_left_out_and_told(tmp_path):
    photos = tmp_path / "photos"
    path = photo(photos / "a.jpg")
    photo(tmp_path / "elsewhere" / "b.jpg")
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    (photos / "loop").symlink_to(photos)
    (photos / "c.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    found = find_photos([str(photos)])
    assert found.photos == [str(path), str(photos / "c.jpg")]
    assert found.notes == [f"{photos}: left out 2 links to folders; name the folders themselves"]
    assert len(find_photos([str(photos / "link")]).photos) == 1
