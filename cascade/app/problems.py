"""What can go wrong with a request, each kind with its HTTP status. The words are for the person at the page."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["KINDS", "STATUS", "Kind", "Problem"]

Kind = Literal[
    "request",
    "token",
    "origin",
    "missing",
    "method",
    "slow upload",
    "exists",
    "too large",
    "media type",
    "host",
    "photo",
    "faces",
    "gallery",
    "too slow",
    "crashed",
    "busy",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

STATUS: dict[Kind, int] = {
    "request": 422,
    "token": 401,
    "origin": 403,
    "missing": 404,
    "method": 405,
    "slow upload": 408,
    "exists": 409,
    "too large": 413,
    "media type": 415,
    "host": 421,
    "photo": 422,
    "faces": 422,
    "gallery": 422,
    "too slow": 422,
    "crashed": 500,
    "busy": 503,
}
"""The HTTP status of each kind."""


class Problem(Exception):
    """Ends a request with words for the person, a kind for the program, and headers."""

    def __init__(self, kind: Kind, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.kind: Kind = kind
        self.words = words
        self.headers = headers or {}
