"""The entry of `python -m train`."""

from __future__ import annotations

from pathlib import Path

from train.__main__ import main


def test_a_missing_file_to_begin_from_is_told_before_any_photo_is_read(tmp_path: Path, capsys) -> None:
    data = tmp_path / "data.toml"
    data.write_text('[[source]]\nname = "utkface_full"\n')
    given = ["--data", data, "--root", tmp_path, "--out", tmp_path / "out", "--initial", tmp_path / "none.pt"]
    assert main(["synthesis", *map(str, given)]) == 1
    assert f"error: --initial: there is no file {tmp_path / 'none.pt'}" in capsys.readouterr().err
