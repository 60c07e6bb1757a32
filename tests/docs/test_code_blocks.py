"""Every code block of the docs runs, or says what it needs; and all options of commands exist."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks

ALL = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in ALL if block.language == "sh"]
PORTRAIT = ROOT / "cascade" / "data" / "astronaut.jpg"
LEAST_SECONDS, COMMAND_SECONDS = 300, 60
"""What a page's blocks may take, and each of many commands: one takes a second, and much longer on a busy machine."""

PHOTOS = (
    "photo.jpg",
    "portrait.jpg",
    "then.jpg",
    "now.jpg",
    "party.jpg",
    "holiday/1.jpg",
    "photos/1.jpg",
    "photos/2.jpg",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the photos that the docs speak of, and the command ``cascade``."""
    for name in (*PHOTOS, "people/Sally Ride/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PORTRAIT, tmp_path / name)
    command = tmp_path / "bin" / "cascade"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cascade "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{command.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_have_a_language_that_is_tested_or_is_no_code() -> None:
    assert {block.language for block in ALL} <= {"python", "sh", "mermaid", "text", "toml"}
    assert len(SHELL) > 20


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))])
def test_python_blocks_run(page: str, folder: Path) -> None:
    """The blocks of a page run one after the other, as a reader would type them."""
    parts = []
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, str(block), "exec")
            if block.needs is None:
                # the line numbers of the page, for the traceback
                parts.append("\n" * (block.line - sum(part.count("\n") for part in parts)) + block.text)
    if not parts:
        pytest.skip(f"all blocks need something: {', '.join(sorted({str(b.needs) for b in blocks(page) if b.needs}))}")
    script = folder / f"{Path(page).stem}_blocks.py"  # onnx.py would be taken for the package
    script.write_text("".join(parts), encoding="utf-8")
    run([sys.executable, str(script)], page)


@pytest.mark.skipif(sys.platform == "win32", reason="the docs' shell blocks are for a POSIX shell")
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "sh" for b in blocks(page))])
def test_shell_blocks_run(page: str, folder: Path) -> None:
    runnable = [block for block in blocks(page) if block.language == "sh" and block.needs is None]
    lines = [line for block in runnable for line in block.text.replace("\\\n", " ").splitlines()]
    commands = [line for line in lines if line.startswith(("cascade ", "python -c "))]
    others = [line for block in runnable if not block.installs for line in block.text.splitlines() if line]
    assert [line for line in others if not line.startswith(("cascade ", "python -c ", " "))] == []
    if not commands:
        pytest.skip("all blocks install something or need something")
    typed = Path(__file__).with_name("typed.py")
    run([sys.executable, str(typed)], page, COMMAND_SECONDS * len(commands), "\n".join(commands))


def run(command: list[str], page: str, seconds: int = LEAST_SECONDS, typed: str = "") -> None:
    limit = max(seconds, LEAST_SECONDS)
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=limit, check=False)
    assert done.returncode == 0, f"{page}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_have_the_options_that_the_docs_use(block: Block) -> None:
    for words in block.commands():
        program = program_of(words)
        if program is None:
            continue
        module, rest = program
        known = help_of(module, subcommand(rest))
        options = [word.split("=")[0] for word in rest if word.startswith("--")]
        assert [option for option in options if option not in known.split() and f"{option}," not in known] == [], (
            f"{block}: {' '.join(words)}"
        )


def program_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The module of ours that a command runs, and the words after it."""
    if words[0] == "cascade":
        return "cascade.cli", words[1:]
    if words[0] in ("python", "torchrun") and "-m" in words[:3]:
        name, *rest = words[words.index("-m") + 1 :]
        modules = {"cascade": "cascade.cli", "train": "train.__main__", "benchmarks": "benchmarks.__main__"}
        modules["eval"] = "eval.commands.main"
        return (modules[name], rest) if name in modules else None
    return None


def subcommand(rest: list[str]) -> tuple[str, ...]:
    names = []
    for word in rest[: 2 if rest[:1] in (["gallery"], ["people"], ["experiment"], ["export"]) else 1]:
        if word.startswith("-"):
            break
        names.append(word)
    return tuple(names)


@cache
def help_of(module: str, names: tuple[str, ...]) -> str:
    """What ``--help`` prints, as words."""
    text = io.StringIO()
    main: Any = importlib.import_module(module).main
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*names, "--help"])
    return text.getvalue().replace("[", " ").replace("]", " ").replace("|", " ").replace(",", " ")
