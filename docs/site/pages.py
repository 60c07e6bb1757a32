"""A hook of MkDocs: model cards from the weight files, `--help` of the commands, and pages from outside of docs/."""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.cli import main
from cascade.models.detector import load_detector, shipped_detectors
from cascade.models.recognizer import load_recognizer, shipped_recognizers

ROOT = Path(__file__).resolve().parents[2]

OUTSIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "train/recipes/pseudo_labels/README.md": "pseudo-labels.md",
}
"""Files of the repository that are pages of the site, too."""
HOME = {
    "README.md": "index.md",
    "cascade/models/weights/detection/default/onet.md": "models/default.md",
}
"""What the site has in place of a file."""

ACTIONS = ("add", "identify", "list", "remove", "note", "purge", "forget", "export", "audit", "encrypt", "rekey")
GALLERY = tuple(f"gallery {action}" for action in (*ACTIONS, "decrypt", "new-key"))
ARCHIVES = ("index", "cluster", "search", "duplicates", "export onnx")
PEOPLE = tuple(f"people {action}" for action in ("sheet", "list", "name", "same", "different", "gallery"))
COMMANDS = (
    *("detect", "video", "analyze", "age", "anonymize", "verify", "embed"),
    *(*GALLERY, *ARCHIVES, *PEOPLE, "export coco", "export xmp", "app", "models"),
)

LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    pages = {site: (ROOT / path).read_text(encoding="utf-8") for path, site in OUTSIDE.items()}
    for name, text in {**pages, **model_cards()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Points links between files of the repository to their pages, and fills in the commands."""
    place = page.file.src_uri
    origin = next((path for path, site in OUTSIDE.items() if site == place), f"docs/{place}")
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n".join(_helps()))
    return LINK.sub(lambda link: link[1] + _target(link[2], origin, place) + link[3], markdown)


def _target(link: str, origin: str, place: str) -> str:
    """Where a link of the file ``origin`` leads from the page ``place``."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    site = {**OUTSIDE, **HOME}.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return link if site is None else posixpath.relpath(site, posixpath.dirname(place) or ".")


def _helps() -> Iterator[str]:
    for command in COMMANDS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            main([*command.split(), "--help"])
        yield f"## cascade {command}\n\n```text\n{text.getvalue().strip()}\n```\n"


def model_cards() -> dict[str, str]:
    """The page of each shipped set of weights, by its path in the site."""
    detectors = {f"models/{name}.md": _detector_card(name) for name in shipped_detectors()}
    return {**detectors, **{f"models/{name}.md": _recognizer_card(name) for name in shipped_recognizers()}}


def _detector_card(name: str) -> str:
    weights = load_detector(name)
    first = weights["pnet"]
    rows = [
        f"| {stage} | {one.architecture.input_size}, {one.architecture.window:g} | {one.architecture.weights():,} | "
        f"{one.architecture.multiply_adds() / 1e6:.2f} | `{one.sha256}` |"
        for stage, one in weights.stages.items()
    ]
    parts = [
        f"# Detector: {name}",
        f'`Detector(weights="{name}")`. Licence of the weights: **{first.metadata["licence"]}**.',
        "| network | input and window, pixels | weights | multiply-adds per window, million | SHA-256 |\n"
        "|---|---:|---:|---:|---|\n" + "\n".join(rows),
        f"**int8:** {'calibrated' if weights.calibrated else 'not calibrated, runs in float32'}.",
        f"**Learned from:** {first.metadata['data']}.",
        "## Figures",
        _figures(weights["onet"].path),
        "## How they were trained",
        RECORD,
        *(f"**{stage}**\n\n{_facts(one.metadata)}" for stage, one in weights.stages.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _recognizer_card(name: str) -> str:
    weights = load_recognizer(name)
    parts = [
        f"# Recognition: {name}",
        f'`Recognizer(weights="{name}")`. Licence of the weights: **{weights.metadata["licence"]}**.',
        f"{weights.graph.weights():,} weights, {weights.graph.multiply_adds() / 1e6:.0f} million multiply-adds a face, "
        f"SHA-256 `{weights.sha256}`.",
        f"**Learned from:** {weights.metadata['data']}.",
        "[Recognition](../recognition.md) has error rates by group, and "
        "[what recognition is not for](../recognition.md#what-recognition-is-not-for).",
        "## What was measured",
        _facts({key: value for key, value in weights.metadata.items() if key not in TRAINING}),
        "## How it was trained",
        RECORD,
        _facts({key: value for key, value in weights.metadata.items() if key in TRAINING}),
    ]
    return "\n\n".join(parts) + "\n"


SHOWN_ABOVE = ("architecture", "graph", "data", "licence", "format", "stage", "family")
TRAINING = ("command", "revision", "settings", "teacher", "version", "seed")
RECORD = "What the file says, word for word. Options have the names of the version that it was trained with."


def _facts(metadata: Mapping[str, Any]) -> str:
    """The other metadata of a weight file, as they are in it."""
    facts = [(key, value) for key, value in metadata.items() if key not in SHOWN_ABOVE and value not in ("", None)]
    return "\n".join(f"- {key.replace('_', ' ')}: {_value(value)}" for key, value in facts)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"\n    - {key.replace('_', ' ')}: {_value(part)}" for key, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"`{value}`" if isinstance(value, str) and " " in value and value.startswith("python") else str(value)


def _figures(weight_file: Path) -> str:
    """What the model card beside a weight file says below its list of facts."""
    text = weight_file.with_suffix(".md").read_text(encoding="utf-8")
    return text.rpartition("\n- **")[2].partition("\n\n")[2].strip()
