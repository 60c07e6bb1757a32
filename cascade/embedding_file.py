"""Writing the embeddings of many photos to one .npz file, without keeping them in memory."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cascade import private_files

if TYPE_CHECKING:
    from cascade.faces import Faces
    from cascade.recognize import Analysis

__all__ = ["EmbeddingWriter"]

INT64, FLOAT32 = np.dtype("<i8"), np.dtype("<f4")


class EmbeddingWriter:
    """Takes the faces of one photo after another; `end` writes the file, which replaces an earlier one.

    Rows wait in unnamed temporary files beside ``path``, which nobody else can read and which are gone with the
    process. A new file can be read by its owner alone; where it replaces a file, that file's mode stays, as
    somebody chose it. Use it in a ``with`` block. Every method raises OSError.
    """

    def __init__(self, path: Path, dimension: int, about: dict[str, Any]) -> None:
        self.path = path
        self.about = about
        self._shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "face": (INT64, ()),
            "boxes": (FLOAT32, (4,)),
            "scores": (FLOAT32, ()),
            "landmarks": (FLOAT32, (5, 2)),
            "embeddings": (FLOAT32, (dimension,)),
            "ages": (FLOAT32, ()),
        }
        self._faces = 0
        self._longest_name = 1
        self._stack = ExitStack()

    def __enter__(self) -> EmbeddingWriter:
        try:
            self._rows = {name: self._spool() for name in (*self._shapes, "names")}
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def add(self, name: str, faces: Faces, analysis: Analysis) -> None:
        """Keeps the faces of a photo."""
        count = len(faces)
        rows = {
            "face": np.arange(1, count + 1),
            "boxes": faces.boxes,
            "scores": faces.scores,
            "landmarks": faces.landmarks,
            "embeddings": analysis.embeddings,
            "ages": analysis.ages,
        }
        for key, values in rows.items():
            self._rows[key].write(np.ascontiguousarray(values, self._shapes[key][0]).tobytes())
        self._rows["names"].write(json.dumps(name).encode() + b"\n" if count else b"")
        self._rows["names"].write(b"\n" * (count - 1))  # an empty line: the name before
        self._faces += count
        self._longest_name = max(self._longest_name, len(name) if count else 0)

    def end(self) -> None:
        """Writes the file."""
        with private_files.replacing(self.path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
            with _member(file, "names", np.dtype(("<U", self._longest_name)), (self._faces,)) as member:
                self._write_names(member)
            for key, (dtype, shape) in self._shapes.items():
                with _member(file, key, dtype, (self._faces, *shape)) as member:
                    self._rows[key].seek(0)
                    shutil.copyfileobj(self._rows[key], member, 1 << 20)
            about = np.array(json.dumps(self.about))
            with _member(file, "about", about.dtype, ()) as member:
                member.write(about.tobytes())

    def _write_names(self, member: IO[bytes]) -> None:
        self._rows["names"].seek(0)
        row = b""
        for line in self._rows["names"]:
            if line != b"\n":
                row = np.array(json.loads(line), dtype=("<U", self._longest_name)).tobytes()
            member.write(row)

    def _spool(self) -> IO[bytes]:
        stream: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # noqa: SIM115
        return stream


def _member(file: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> IO[bytes]:
    """A new array of a file, behind its header."""
    member: IO[bytes] = file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    return member
