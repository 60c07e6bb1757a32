"""The code blocks of the repository's Markdown files."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "train/recipes/**/*.md")
    for path in ROOT.glob(pattern)
)

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
NEEDS = re.compile(r"# needs (.+)")
INSTALLS = ("pip ", "sudo ", "python -m venv", "python3 -m venv", "pre-commit ", "python setup.py")
"""How the lines begin that install something; such blocks are not run."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line where it begins, and its text without indentation."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs(self) -> str | None:
        """What the block says that it needs; None if it runs anywhere."""
        found = NEEDS.match(self.text)
        return found[1] if found else None

    @property
    def installs(self) -> bool:
        """Whether it installs something."""
        return any(line.startswith(INSTALLS) for line in self.text.splitlines())

    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block."""
        found, line = [], ""
        for part in self.text.replace("\\\n", " ").splitlines():
            line += part
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # a quotation that goes on
                line += "\n"
                continue
            found += [words] if words else []
            line = ""
        return found


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["text"].splitlines()]
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, match["language"], "\n".join(lines) + "\n"))
    return found
