"""The reader of .mat files: as scipy reads good ones, and DatasetError for all others."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from cascade.datasets import DatasetError, read_agedb_pairs, read_wider, read_wider_subsets
from cascade.datasets._mat import DEEPEST, LARGEST, read_mat_file
from tests.datasets.conftest import cell, text_cell
from tests.eval.helpers import shared

CONTENT = {
    "whole": np.arange(6, dtype=np.int32).reshape(2, 3),
    "real": np.array([[0.5, np.nan], [-np.inf, 1e300]]),
    "single": np.float32([[1.5]]),
    "cube": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "long": np.array([[-(2**60)]], np.int64),
    "none": np.zeros((0, 4)),
    "name": "a photo, ä ☺",
    "names": np.array(["one", "two"]),
    "cells": cell([np.ones((1, 2)), text_cell(["x", ""]), cell([])]),
    "wide": np.array([[cell([1]), "b", 2.5]], object),
    "record": {"a": 1, "b": "text"},
    "records": np.array([[(1, "x"), (2, "y")]], [("n", object), ("s", object)]),
}


def assert_same(ours, theirs):
    assert ours.dtype == theirs.dtype or ours.dtype.kind == theirs.dtype.kind == "U"
    assert ours.shape == theirs.shape
    if ours.dtype.names:
        for name in ours.dtype.names:
            assert_same(ours[name], theirs[name])
    elif ours.dtype == object:
        for a, b in zip(ours.ravel(), theirs.ravel(), strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_what_scipy_reads(tmp_path, compressed):
    file = tmp_path / "good.mat"
    savemat(file, CONTENT, do_compression=compressed)
    ours, theirs = read_mat_file(file, CONTENT), loadmat(file)
    assert list(ours) == list(CONTENT)
    for name, values in ours.items():
        assert_same(values, theirs[name])


def test_reads_the_official_files_as_scipy_does():
    folder = shared("data/wider/ground_truth")
    for name in ("wider_face_val.mat", "wider_hard_val.mat"):
        theirs = {key: value for key, value in loadmat(folder / name).items() if not key.startswith("__")}
        ours = read_mat_file(folder / name, theirs)
        assert ours.keys() == theirs.keys()
        for key, values in ours.items():
            assert_same(values, theirs[key])


def test_leaves_out_what_is_not_asked_for(tmp_path):
    savemat(tmp_path / "x.mat", {"sparse": np.array([[1j]]), "good": 1})
    assert list(read_mat_file(tmp_path / "x.mat", ["good", "absent"])) == ["good"]


def big_endian(name, values):
    """A file of one array of doubles as a big-endian machine writes it."""

    def element(kind, data):
        return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    array = (
        element(6, struct.pack(">II", 6, 0))
        + element(5, struct.pack(">ii", *values.shape))
        + struct.pack(">HH4s", len(name), 1, name.ljust(4, b"\0"))
        + element(9, values.astype(">f8").tobytes(order="F"))
    )
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H2s", 0x0100, b"MI") + element(14, array)


def test_reads_big_endian_files(tmp_path):
    (tmp_path / "x.mat").write_bytes(big_endian(b"ab", np.array([[1.5, 2.0, -3.0]])))
    values = read_mat_file(tmp_path / "x.mat", ["ab"])["ab"]
    assert values.tolist() == [[1.5, 2.0, -3.0]]
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([[1j]]), "complex"),
        (cell([np.array([[1j]])]), "complex"),
    ],
)
def test_refuses_types_that_annotations_do_not_use(tmp_path, content, message):
    savemat(tmp_path / "x.mat", {"x": content})
    with pytest.raises(DatasetError, match=rf"x\.mat.*{message}"):
        read_mat_file(tmp_path / "x.mat", ["x"])


def test_refuses_deep_nesting(tmp_path):
    deep = np.ones((1, 1))
    for _ in range(DEEPEST):
        deep = cell([deep])
    savemat(tmp_path / "x.mat", {"x": deep})
    with pytest.raises(DatasetError, match="nested"):
        read_mat_file(tmp_path / "x.mat", ["x"])


def test_refuses_version_7_3(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\0" * 400)
    with pytest.raises(DatasetError, match="-v7"):
        read_mat_file(tmp_path / "x.mat", ["x"])


def test_refuses_large_files_before_reading_and_inflating(tmp_path):
    file = tmp_path / "large.mat"
    with file.open("wb") as sparse:
        sparse.truncate(LARGEST + 1)
    with pytest.raises(DatasetError, match="128 MiB"):
        read_mat_file(file, ["x"])
    bomb = zlib.compress(b"\0" * (LARGEST + 1), 1)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    file.write_bytes(header + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(DatasetError, match="inflates to more than 128 MiB"):
        read_mat_file(file, ["x"])


def mutate(data: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, cut out, or put in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(128, len(changed))
        kind = chance.randrange(6)
        if kind < 3:
            changed[at] = chance.choice((0, 1, 7, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 3:
            changed[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 8, 1 << 16, 1 << 31, (1 << 32) - 1)))
        elif kind == 4:
            del changed[at : at + chance.randrange(1, 40)]
        else:
            changed[at:at] = chance.randbytes(chance.randrange(1, 40))
    return bytes(changed)


@pytest.mark.filterwarnings("error")
def test_damaged_files_raise_dataset_errors_alone(tmp_path, save_wider_mat):
    row = [10, 20, 30, 40, 0, 0, 0, 0, 0, 0]
    events = {"0--Parade": {"a": [row, row], "b": []}, "1--Handshaking": {"c": [row]}}
    counted = {"0--Parade/a": [1, 2], "0--Parade/b": [], "1--Handshaking/c": [1]}
    good = save_wider_mat(tmp_path / "good.mat", events, counted).read_bytes()
    split = np.empty((1, 1), [("pairs", object), ("labels", object)])
    split[0, 0] = (np.array([[{"name": "1_A_20_f"}], [{"name": "2_A_50_f"}]], object), np.array([[1]]))
    savemat(tmp_path / "pairs.mat", {"splits": cell([split] * 10)})
    pairs = (tmp_path / "pairs.mat").read_bytes()
    chance = random.Random(7)
    levels = [tmp_path / f"wider_{level}_val.mat" for level in ("easy", "medium", "hard")]
    outcomes = set()
    for _ in range(120):
        for file in levels:
            file.write_bytes(mutate(good, chance))
        (tmp_path / "pairs.mat").write_bytes(mutate(pairs, chance))
        for read in (
            lambda: read_wider(levels[0], require_images=False),
            lambda: read_wider_subsets(tmp_path),
            lambda: read_agedb_pairs(tmp_path / "pairs.mat", require_images=False),
        ):
            try:
                read()
                outcomes.add("read")
            except DatasetError as error:
                outcomes.add("refused" if ".mat" in str(error) else f"no file in {error}")
    assert outcomes == {"read", "refused"}
