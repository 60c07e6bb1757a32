"""Model cards of weight files that later measurements add to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def restate_card(weights: Path, facts: Mapping[str, str], sha256: str) -> None:
    """Replaces the lines of a weight file's card about these facts, and the hash, if there is a card beside it."""
    card = weights.with_suffix(".md")
    if not card.exists():
        return
    text = card.read_text(encoding="utf-8")
    for name, fact in {**facts, "SHA-256": f"`{sha256}`"}.items():
        text = re.sub(rf"^- \*\*{name}\*\*: .*\n", "", text, flags=re.MULTILINE) + f"- **{name}**: {fact}\n"
    card.write_text(text, encoding="utf-8")
