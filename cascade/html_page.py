"""Pages of small pictures as single HTML files, which ask no other place for anything and run no script."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

__all__ = ["STYLE", "beginning", "head", "is_page", "picture"]

STYLE = """\
:root{color-scheme:light dark}body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem}
ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.75rem}li{width:128px;overflow-wrap:anywhere;font-size:12px}
img{width:128px;height:128px;display:block;border:3px solid #888}
"""


def beginning(title: str) -> str:
    """How a page with this title begins, by which a program knows it for its own."""
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'


def is_page(path: str | Path, title: str) -> bool:
    """Whether a file begins as pages with this title do. False for what cannot be read."""
    first = beginning(title).encode()
    try:
        with open(path, "rb") as file:
            return file.read(len(first)) == first
    except OSError:
        return False


def head(title: str, style: str = "") -> list[str]:
    """The lines before the heading. The policy lets a browser load nothing but pictures within the page."""
    return [
        beginning(title),
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{style}</style></head><body>',
    ]


def picture(jpeg: bytes, about: str) -> str:
    """A picture within the page; ``about`` says what it shows."""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{escape(about)}" src="data:image/jpeg;base64,{data}">'
