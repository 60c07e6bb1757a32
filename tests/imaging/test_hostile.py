"""Files made to take memory or time: refused before they do."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cascade.imaging.opening
import cascade.imaging.reading
from cascade.imaging.reading import ImageError, read_image
from tests.imaging.pictures import JPEG, colours, encode, png_of

MEMORY = 300  # MB that a refused file may take


def entry(tag: int, kind: int, value: int, count: int = 1) -> tuple[int, int, int, int]:
    return tag, kind, count, value


def tiff(*entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries) + bytes(4)
    return (b"II*\0\x08\0\0\0" + directory).ljust(400, b"\0") + body


def deflated(width: int, height: int, *more: tuple[int, int, int, int], size: int) -> bytes:
    body = zlib.compress(bytes(size), 9)
    gray = [entry(258, 3, 8), entry(259, 3, 8), entry(262, 3, 1), entry(277, 3, 1)]
    return tiff(entry(256, 4, width), entry(257, 4, height), *gray, *more, body=body)


def ihdr(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


def idat(size: int) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(bytes(size), 9)


END = (b"IEND", b"")
SCREEN = struct.pack("<HH", 65_500, 65_500)
LARGE_FRAME = b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + SCREEN + b"\0\2\2\x4c\1\0;"
BIG = 14_000
BMP = struct.pack("<IHHIIiiHHIIIIII", 154, 0, 0, 54, 40, BIG, -BIG, 1, 24, *[0] * 6)
FRAME = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", BIG, BIG) + b"\x01\x01\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0"

HOSTILE = {
    "tiff: width twice, once of an odd type": tiff(entry(256, 5, 8), entry(256, 4, 60_000), entry(257, 4, 60_000)),
    "tiff: width twice": deflated(16, 16, entry(256, 4, 60_000), size=10**6),
    "tiff: width as a fraction": tiff(entry(256, 5, 300), entry(257, 4, 60_000)),
    "tiff: huge tiles": deflated(
        16, 16, entry(322, 4, 65_520), entry(323, 4, 32_000), entry(324, 4, 400), entry(325, 4, 10**5), size=10**8
    ),
    "tiff: tile width twice": deflated(
        16, 16, entry(322, 4, 16), entry(322, 4, 65_520), entry(323, 4, 32_000), entry(324, 4, 400), size=10**6
    ),
    "tiff: one strip, no data": deflated(BIG, BIG, entry(273, 4, 400), entry(278, 4, BIG), entry(279, 4, 9), size=99),
    "tiff: not compressed, no data": tiff(entry(256, 4, BIG), entry(257, 4, BIG), entry(262, 3, 1), entry(273, 4, 9)),
    "tiff: the same data in a hundred tags": tiff(
        entry(256, 4, 9),
        entry(257, 4, 9),
        *(entry(60_000 + n, 1, 400, 4_000_000) for n in range(30)),
        body=bytes(10**7),
    ),
    "png: second header": png_of(ihdr(8, 8), ihdr(30_000, 30_000), idat(10**8), END),
    "png: cut short": png_of(ihdr(BIG, BIG), idat(BIG * BIG), END),
    "png: no data": png_of(ihdr(BIG, BIG), idat(99), END),
    "pnm: a comment in the size": b"P6\n8#\n8\n60000 60000\n255\n" + bytes(300),
    "pnm: an odd space in the size": b"P6\x0b8\x0c60000 60000\n255\n" + bytes(300),
    "pnm: no data": f"P6\n{BIG} {BIG}\n255\n".encode() + bytes(10**6),
    "pnm: no numbers": f"P3\n{BIG} {BIG}\n255\n".encode() + b"1 " * 10**5,
    "pnm: a long comment": b"P6 #" + bytes(3 * 10**7),
    "webp: large canvas": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (BIG - 1).to_bytes(3, "little") * 2,
    "webp: no data": b"RIFF\xd9\x0b\0\0WEBPVP8L\xcd\x0b\0\0\x2f\xff\x3f\xc4\x09" + bytes(3000),
    "gif: large screen": b"GIF89a" + SCREEN + LARGE_FRAME,
    "gif: frame larger than the screen": b"GIF89a\x08\0\x08\0" + LARGE_FRAME,
    "bmp: no data": b"BM" + BMP + bytes(3000),
    "jpeg: no data": b"\xff\xd8" + FRAME + b"\xff\xd9",
    "jpeg: no end": b"\xff\xd8" + FRAME + bytes(30_000),
    "tiff: many channels": tiff(entry(256, 4, 9), entry(257, 4, 9), entry(277, 3, 60_000)),
    "ico": struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, 99, 22) + png_of(ihdr(BIG, BIG), idat(99), END),
}

CHILD = """
import sys, warnings
from cascade.imaging.reading import ImageError, read_image
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1000
before = peak()
for path in sys.argv[1:]:
    try:
        print(path, read_image(path).shape)
    except ImageError as error:
        print("refused")
print(peak() - before)
"""


def run(paths: list[Path]) -> list[str]:
    """What `CHILD` prints for these files: "refused" for each, then the memory in MB that it took."""
    root = Path(cascade.imaging.reading.__file__).parents[2]
    command = [sys.executable, "-c", CHILD, *map(str, paths)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of memory is read from /proc")
@pytest.mark.slow
def test_hostile_files_are_refused_in_little_memory(tmp_path: Path) -> None:
    paths = []
    for number, data in enumerate(HOSTILE.values()):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(data)
    for name in ("a.jpg", "a.tif", "a.ppm", "a.png"):
        paths.append(tmp_path / name)
        start = {"a.jpg": JPEG[:200], "a.tif": tiff(entry(256, 4, 9), entry(257, 4, 9))}.get(name, b"P6 #")
        paths[-1].write_bytes(start)
        os.truncate(paths[-1], 3 << 30 if name == "a.jpg" else 1 << 30)
    *results, memory = run(paths)
    assert results == ["refused"] * len(paths)
    assert int(memory) < MEMORY


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "png: cut short"])
def test_hostile_files_are_refused_fast(name: str) -> None:
    start = time.process_time()
    for way in (HOSTILE[name], io.BytesIO(HOSTILE[name])):
        with pytest.raises(ImageError, match=r"^image: ") as caught:
            read_image(way)
        assert len(str(caught.value)) <= 300
    assert time.process_time() - start < 5


def many_scans(hidden: bool = False) -> bytes:
    """A JPEG with the last scan of a progressive one five thousand times."""
    data = encode(np.zeros((640, 640), np.uint8), "JPEG", progressive=True)
    scan = data[data.rfind(b"\xff\xda") : -2]
    comment = b"\xff\xfe\0\x06\xff\xd9\xff\xd9" * hidden  # looks like an end
    return data[:-2] + comment + scan * 5000 + b"\xff\xd9"


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_a_jpeg_of_thousands_of_scans_is_refused(hidden: bool, opened: bool) -> None:
    start = time.process_time()
    data = many_scans(hidden)
    with pytest.raises(ImageError, match="at most 100 scans"):
        read_image(Image.open(io.BytesIO(data)) if opened else data)
    assert time.process_time() - start < 2


def test_scans_after_the_end_do_not_count() -> None:
    data = encode(colours(), "JPEG", progressive=True)
    np.testing.assert_array_equal(read_image(data + b"\xff\xda" * 5000), read_image(data))


def test_the_limit_of_scans_falls_with_the_size() -> None:
    from cascade.imaging.jpeg import check_scans

    check_scans(b"\xff\xd8" + b"\xff\xda\0\2" * 20, 20_000, 10_000)
    with pytest.raises(ImageError, match="at most 20 scans at 20,000×10,000"):
        check_scans(b"\xff\xd8" + b"\xff\xda\0\2" * 21, 20_000, 10_000)


def test_a_stream_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def read(self, size: int = -1) -> bytes:
            assert size >= 0, "would never return"
            return b"\xff\xd8\xff".ljust(size, b"\0")

    monkeypatch.setattr(cascade.imaging.opening, "MAX_PIPE_BYTES", 1 << 20)
    with pytest.raises(ImageError, match="from a stream"):
        read_image(Endless())


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    path.write_bytes(JPEG)
    os.truncate(path, 3 << 30)
    with path.open("rb") as file:
        for way in (path, file):
            with pytest.raises(ImageError, match="got 3,221,225,472"):
                read_image(way)
