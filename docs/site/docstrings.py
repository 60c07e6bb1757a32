"""An extension of griffe: the lists in this package's docstrings as lists of Markdown.

Docstrings list arguments as ``name : meaning`` under "Parameters", or as ``name   meaning`` in columns. Both read well
in a terminal, and run together in Markdown.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
PARAMETER = re.compile(r"^(?P<name>[\w*, ]{1,60}) : (?P<text>\S.*)$")
COLUMNS = re.compile(r"^(?P<name>[\w*]+(?:, [\w*]+)*) {2,}(?P<text>\S.*)$")


class Lists(Extension):
    """Changes the docstring of each object that is collected."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Rewrites the docstring of ``obj``, if it has one."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """The docstring with its lists as Markdown's."""
    lines: list[str] = []
    inside = False
    for line in HEADING.sub(r"**\1**\n", text).splitlines():
        item = PARAMETER.match(line) or COLUMNS.match(line)
        if item:
            if not inside and lines and lines[-1]:
                lines.append("")
            lines.append(f"- `{item['name']}`: {item['text']}")
            inside = True
        elif inside and line.startswith("    "):
            lines[-1] += f" {line.strip()}"
        else:
            inside = False
            lines.append(line)
    return "\n".join(lines)
