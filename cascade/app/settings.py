"""Settings of the local page, and the limits of what it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cascade.checks import available_cores, integer, number

__all__ = ["LOOPBACK", "Limits", "Settings"]

MEBIBYTE = 1 << 20

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other machine has."""


@dataclass(frozen=True)
class Limits:
    """What a request can be, and what its work can take. Raises ValueError or TypeError naming what is wrong."""

    photo_bytes: int = 32 * MEBIBYTE
    """Of the file of one photo."""
    photo_pixels: int = 50_000_000
    """Of one photo, checked before it is decoded."""
    gallery_bytes: int = 32 * MEBIBYTE
    """Of a gallery that is opened."""
    people: int = 10_000
    """In the gallery."""
    table_bytes: int = 8 * MEBIBYTE
    """Of results that come back to be written as CSV."""
    waiting: int = 24
    """Requests that wait for a worker, or whose photos are being received. More are refused for the moment."""
    upload_seconds: float = 60
    """For a request to arrive."""
    work_seconds: float = 180
    """For the work on one request. The worker is ended then."""
    worker_bytes: int = 1536 * MEBIBYTE
    """Address space of a worker beyond what it has after loading its networks, on systems that limit it."""

    def __post_init__(self) -> None:
        for name in ("photo_bytes", "photo_pixels", "gallery_bytes", "people", "table_bytes", "worker_bytes"):
            integer(name, getattr(self, name), 1)
        integer("waiting", self.waiting, 0, 10_000)
        for name in ("upload_seconds", "work_seconds"):
            number(name, getattr(self, name), 0.001, 86_400)


def _default_workers() -> int:
    return min(2, available_cores())


@dataclass(frozen=True)
class Settings:
    """How the page is served. Raises ValueError or TypeError naming what is wrong."""

    limits: Limits = field(default_factory=Limits)
    workers: int = field(default_factory=_default_workers)
    """Processes that decode and search photos, each with its own networks and one thread."""
    min_face: float = 20
    """The smallest face to find, in pixels of the photo."""
    token: str | None = field(default=None, repr=False)
    """What a request must bring, if any."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names by which the server may be addressed."""
    any_address: bool = False
    """Whether it may also be addressed by any IP address. Names alone can be made to point elsewhere."""
    gallery: Path | None = None
    """The file that people are stored in; None: in memory alone."""
    passphrase: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    """One of the two if that file is encrypted, or is to be where it does not exist."""

    def __post_init__(self) -> None:
        integer("workers", self.workers, 1, 64)
        number("min_face", self.min_face, 12, 1000)
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise ValueError(f"token: expected at least {SHORTEST_TOKEN} characters, got {len(self.token)}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ValueError("token: expected printable ASCII characters without blanks")


SHORTEST_TOKEN = 16
