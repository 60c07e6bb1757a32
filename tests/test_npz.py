"""Reading .npz files of anybody: nothing larger than the file, and typed errors."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from cascade.npz import NpzError, read_npz

ARRAYS = {
    "names": np.array(["Ann", "Zoë"]),
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.empty((0, 4), np.float32),
    "about": np.array("text"),
    "yes": np.array([True, False]),
}


def stored(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def member(name: str, data: bytes, **options: object) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as file:
        file.writestr(name, data)
    return stream.getvalue()


def npy(shape: str, dtype: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def test_what_numpy_wrote(tmp_path):
    (tmp_path / "a.npz").write_bytes(stored(**ARRAYS))
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
    assert list(read_npz(tmp_path / "a.npz", ("rows", "others"))) == ["rows"]
    with pytest.raises(NpzError, match="expected others, rows; it holds about"):
        read_npz(tmp_path / "a.npz", ("rows", "others"), exactly=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (member("a.npy", npy("(1 << 30,)", "|u1", bytes(1 << 24)), compression=zipfile.ZIP_DEFLATED), "is compressed"),
        (member("a.npy", npy("(1000000000000,)", "<f8", b"")), "not as large as its header"),
        (member("a.npy", npy("(1000000000, 1000000000, 1000000000)", "<f8", b"")), "not as large as its header"),
        (member("a.npy", npy("(1,)", "<U100000000", b"")), "not as large as its header"),
        (member("a.npy", npy("(-1,)", "<f8", b"")), "damaged"),
        (member("a.npy", npy("(1,)", "|O", bytes(8))), "Python objects"),
        (member("a.npy", npy("(1,)", "<f8", bytes(8), b"\x07\x00")), "version"),
        (member("a.npy", b"no array"), "damaged"),
        (b"", "damaged"),
        (b"\xff\xd8\xff\xe0 a picture", "damaged"),
    ],
)
def test_files_that_are_refused(data, message):
    tracemalloc.start()
    with pytest.raises(NpzError, match=message):
        read_npz(io.BytesIO(data))
    assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + (4 << 20)
    tracemalloc.stop()


def test_members_that_share_their_bytes():
    data = stored(a=np.zeros(50_000), b=np.zeros(50_000))
    second = data.rindex(b"PK\x01\x02")
    at = struct.unpack_from("<I", data, data.index(b"PK\x01\x02") + 42)
    overlapping = bytearray(data)
    struct.pack_into("<I", overlapping, second + 42, *at)
    with pytest.raises(NpzError):
        read_npz(io.BytesIO(bytes(overlapping)))


def test_a_sparse_file_is_not_read(tmp_path):
    with (tmp_path / "large.npz").open("wb") as stream:
        stream.truncate(9 << 30)
    with pytest.raises(NpzError):
        read_npz(tmp_path / "large.npz")


def test_damage_is_told():
    good = stored(**ARRAYS)
    rng, longest = random.Random(7), 0
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 8))):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            read_npz(io.BytesIO(bytes(bad[: rng.choice((len(bad), rng.randrange(len(bad))))])))
        except NpzError as error:
            longest = max(longest, len(str(error)))
    assert 0 < longest < 300
