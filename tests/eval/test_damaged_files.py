"""The readers of predictions, ages and embeddings raise DatasetError with the file's name for damaged files."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.datasets import DatasetError
from cascade.datasets import wider_predictions as wider
from eval.detection.predictions import Predictions, read_predictions
from eval.recognition.ages import read_ages
from eval.recognition.embedding import read_embeddings

NAMES = np.array([f"e--x/{number}.jpg" for number in range(4)])
ROWS = np.array([[1.0, 2, 30, 40, 0.5], [5, 6, 7, 8, 0.25], [9, 9, 20, 30, 0.125]])
SAID = {"detector": "x", "default_score": 0.5, "milliseconds": {"a": 1.5}}
PHOTOS = {"a": [[1, 2, 30, 40, 0.5]], "b": [], "c": [[1.0, 2, 3, 4, 0.5, *range(10)]]}


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def packed(compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for number in range(3):
            archive.writestr(f"e--x/{number}.txt", f"{number}\n2\n1 2 3 4 0.5\n5 6 7 8 0.25\n")
    return stream.getvalue()


FILES: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "p.json": (read_predictions, json.dumps({**SAID, "photos": PHOTOS}).encode()),
    "p.npz": (read_predictions, npz(photos=NAMES, counts=np.array([1, 2, 0, 0]), rows=ROWS)),
    "p.zip": (read_predictions, packed(zipfile.ZIP_DEFLATED)),
    "stored.zip": (read_predictions, packed(zipfile.ZIP_STORED)),
    "p.txt": (read_predictions, b"2002/a\n2\n1 2 3 4 0.5\n30 20 60 60 0.9\n2002/b\n0\n"),
    "a.csv": (read_ages, b'name,age,other\na.jpg,30.5,x\n"b,c",,y\n\'=d,7,\n'),
    "a.npz": (read_ages, npz(names=NAMES, ages=np.array([1.0, 2, np.nan, 4]))),
    "e.npz": (
        read_embeddings,
        npz(names=NAMES, embeddings=np.eye(4, dtype=np.float32), about=np.array(json.dumps(SAID))),
    ),
}
INSERTS = (b"9" * 400, b"9" * 5000, b"[" * 2000, b"1e999", b"NaN", b"\xff" * 4, b"\0" * 4, b"\n", b"-", b"true", b'"')


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with a few bytes changed, cut out, doubled, cut off or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, kind = rng.randrange(len(changed) + 1), rng.random()
        if kind < 0.5 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind < 0.65 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind < 0.75:
            del changed[at : at + rng.randrange(1, 20)]
        elif kind < 0.85:
            changed[at:at] = changed[rng.randrange(len(changed) + 1) :][: rng.randrange(1, 40)]
        elif kind < 0.92:
            del changed[at:]
        else:
            changed[at : at + 1] = rng.choice(INSERTS)
    return bytes(changed)


def check(name: str, folder: Path, mutants: int, seed: int) -> None:
    read, data = FILES[name]
    rng, file = random.Random(f"{name} {seed}"), folder / name
    for _ in range(mutants):
        file.write_bytes(mutated(data, rng))
        found, message = _read(read, file)
        assert str(file) in message
        if isinstance(found, Predictions):
            assert found.default_score is None or isinstance(found.default_score, float)
            assert all(isinstance(value, float) for value in found.milliseconds.values())


def _read(read: Callable[[Path], Any], file: Path) -> tuple[Any, str]:
    """What was read, and the message of a DatasetError or else the file's name."""
    try:
        return read(file), str(file)
    except DatasetError as error:
        return None, str(error)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    FILES[name][0](_write(tmp_path / name, FILES[name][1]))
    check(name, tmp_path, mutants=60, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_damaged_files(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, mutants=1000, seed=2)


def _write(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_is_cut_short_or_empty(name: str, tmp_path: Path) -> None:
    read, data = FILES[name]
    for length in {*range(0, len(data), max(1, len(data) // 40)), len(data) - 1}:
        file = _write(tmp_path / name, data[:length])
        assert str(file) in _read(read, file)[1]  # text may happen to end where a line does


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1" * 400, "is not a finite number"),
        ("1" * 5000, "not JSON"),
        ("1e999", "finite"),
        ("NaN", "finite"),
        ("true", "finite"),
    ],
)
def test_numbers_that_no_float_holds(value: str, words: str, tmp_path: Path) -> None:
    file = _write(tmp_path / "p.json", f'{{"a": [[1, 2, {value}, 4, 0.5]]}}'.encode())
    with pytest.raises(DatasetError, match=words) as raised:
        read_predictions(file)
    assert len(str(raised.value)) < 300
    said = f'{{"default_score": {value}, "milliseconds": {{"a": {value}}}, "photos": {{"a": []}}}}'
    if len(value) < 4300:
        read = read_predictions(_write(tmp_path / "p.json", said.encode()))
        assert (read.default_score, read.milliseconds) == (None, {})


def test_a_zip_cut_in_a_compressed_member(tmp_path: Path) -> None:
    """Whose reader raises EOFError."""
    data = bytearray(packed(zipfile.ZIP_DEFLATED))
    entry = data.index(b"PK\x01\x02")
    data[entry + 20 : entry + 24] = (3).to_bytes(4, "little")  # the compressed size
    with pytest.raises(DatasetError, match="neither a folder nor a readable zip file"):
        read_predictions(_write(tmp_path / "p.zip", bytes(data)))


def test_an_unknown_compression_is_told(tmp_path: Path) -> None:
    """For which zipfile raises NotImplementedError."""
    for data, read in ((packed(zipfile.ZIP_STORED), read_predictions), (FILES["a.npz"][1], read_ages)):
        changed = bytearray(data)
        for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            at = changed.index(signature) + place
            changed[at : at + 2] = (97).to_bytes(2, "little")
        file = _write(tmp_path / ("p.zip" if read is read_predictions else "a.npz"), bytes(changed))
        with pytest.raises(DatasetError, match=str(file.name)):
            read(file)


def test_a_photo_that_inflates_to_much_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wider, "LARGEST_FILE", 20)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *arguments: pytest.fail("it was read"))
    with pytest.raises(DatasetError, match=r"p\.zip/e--x/0\.txt: expected at most 20 bytes, got 29"):
        read_predictions(_write(tmp_path / "p.zip", packed(zipfile.ZIP_DEFLATED)))
