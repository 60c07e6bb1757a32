"""The faces of large photo archives in files that other tools read: Parquet tables beside a manifest.

>>> from cascade.archive import Index
>>> Index.open("faces.index").faces(["path", "box", "score"])  # doctest: +SKIP
"""

from cascade.archive.errors import ArchiveError, ArchiveLockedError, ArchiveMismatchError
from cascade.archive.index import Index
from cascade.archive.manifest import Manifest, Network

__all__ = ["ArchiveError", "ArchiveLockedError", "ArchiveMismatchError", "Index", "Manifest", "Network"]
