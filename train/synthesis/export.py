"""From a trained generator to a weight file with its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cascade.models.aging import load_aging, save_aging
from cascade.version import __version__
from train.common.checkpoints import read_checkpoint
from train.common.settings import revision
from train.detection.export import LICENCE
from train.synthesis.settings import ANCHORS
from train.synthesis.trainer import WEIGHTS, SynthesisRun

STRENGTHS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0)
ALIKE = 0.78  # mean cosine to the face as it was, by our recogniser
MEASURED = 36  # faces held out
PRICES = (0.0, *np.geomspace(0.5, 500, 61))  # years that a cosine of 1 may cost
NONE_GIVEN: Mapping[float, float] = {}


def export_synthesis(run: SynthesisRun, path: Path, command: str, given: Mapping[float, float] = NONE_GIVEN) -> str:
    """Writes the averaged generator and its card beside it; returns the file's SHA-256.

    ``given`` are strengths of changes that are not chosen, by anchor age. After joint training the recogniser's weights
    go into ``recognizer.safetensors`` beside it.
    """
    strengths, measured = chosen_strengths(run, given)
    settings, network = run.settings, run.averaged.cpu()
    arrays = {name: tensor.float().numpy() for name, tensor in network.tensors().items()}
    data = "; ".join(str(each.meta.get("about") or each.meta["source"]) for each in run.faces.sets)
    metadata = {
        "version": __version__,
        "revision": revision(),
        "licence": LICENCE,
        "data": f"{data} ({len(run.faces.learned):,} faces learned from)",
        "command": command,
        "settings": asdict(settings),
        "validation": measured,
    }
    sha256 = save_aging(path, network.graph, ANCHORS, network.conditioned, strengths, arrays, metadata)
    weights = sum(array.size for array in arrays.values())
    facts = _facts(run, weights, strengths, given, metadata, sha256)
    lines = "".join(f"- **{name}**: {fact}\n" for name, fact in facts.items())
    path.with_suffix(".md").write_text(f"# Age synthesis\n\n{lines}")
    if settings.joint:
        save_joint_recognizer(run, path.with_name("recognizer.safetensors"))
    return sha256


def _facts(
    run: SynthesisRun,
    weights: int,
    strengths: tuple[float, ...],
    given: Mapping[float, float],
    metadata: Mapping[str, Any],
    sha256: str,
) -> dict[str, str]:
    """The lines of the model card by their titles."""
    settings, network, measured = run.settings, run.averaged, metadata["validation"]
    held_out = len(run.faces.measured)
    chosen = "chosen on the faces held out"
    if given:
        chosen += f", but given at {', '.join(f'{age:g}' for age in given)} years"
    blocks = f"identity conditional blocks, {settings.share:.0%} of the filters shared with each neighbouring age"
    return {
        "Network": f"{network.graph.name}, {weights:,} weights, "
        f"{network.graph.multiply_adds() / 1e6:.0f} million multiply-adds a face; half precision in the file",
        "Shows": f"a face of {settings.size} pixels at ages from {ANCHORS[0]:g} to {ANCHORS[-1]:g} years",
        "Condition": blocks if settings.condition == "icb" else "one-hot",
        "Learned from": metadata["data"],
        "Learned with": "our recogniser (identity) and our attribute network (age, gender), both frozen, and a small "
        "classifier of ages that learned from the same faces",
        "Held out": f"{held_out} faces; on the {min(MEASURED, held_out)} of them that chose the strengths the "
        f"attribute network's age is off by {measured['age_error']:.1f} years, the classifier's by "
        f"{measured['group_error']:.1f}, the recogniser's cosine is {measured['alike']:.2f}",
        "Steps": _steps(run),
        "Strength": f"changes are {', '.join(f'{each:g}' for each in strengths)} times what the generator "
        f"learned, at {', '.join(f'{age:g}' for age in ANCHORS)} years; {chosen}",
        "Not for": "finding missing people, evidence, age checks, or pictures of people who have not agreed",
        "Command": f"`{metadata['command']}`",
        "Licence": LICENCE,
        "SHA-256": f"`{sha256}`",
    }


def chosen_strengths(
    run: SynthesisRun, given: Mapping[float, float] = NONE_GIVEN
) -> tuple[tuple[float, ...], dict[str, float]]:
    """What changes are multiplied by at each anchor age: the least errors of the age that leave faces alike enough.

    Some ages cost much likeness for a year that they come nearer, others little. So likeness has one price in years for
    all of them, the lowest with which faces stay alike enough on the mean. If none does, changes stay as they are.
    ``given``, by anchor age, are not chosen; what likeness they cost, the other ages save.
    """
    strengths = tuple(sorted({*STRENGTHS, *given.values()}))
    found = run.by_anchor(strengths, MEASURED)
    errors, anchors = (found["age_error"] + found["group_error"]) / 2, np.arange(len(ANCHORS))
    for column, anchor in enumerate(ANCHORS):
        allowed = (given[anchor],) if anchor in given else STRENGTHS
        errors[~np.isin(strengths, allowed), column] = np.inf
    for price in PRICES:
        best = (errors - price * found["alike"]).argmin(axis=0)
        if found["alike"][best, anchors].mean() >= ALIKE:
            break
    else:
        best = np.array([strengths.index(given.get(anchor, 1.0)) for anchor in ANCHORS])
    measured = {name: float(values[best, anchors].mean()) for name, values in found.items()}
    return tuple(strengths[at] for at in best), measured


def _steps(run: SynthesisRun) -> str:
    """How long it learned, with the run that it began from."""
    own = f"{run.step:,} batches of {run.settings.batch}"
    start = Path(run.settings.start)
    if not run.settings.start or not start.exists():
        return own
    if start.suffix == WEIGHTS:
        return f"{own}, after those of the weight file {load_aging(start).sha256[:12]}"
    before = read_checkpoint(start)
    alone = 0 if before["settings"]["start"] else min(before["step"], before["settings"]["prototypes"])
    return f"{own}, after {before['step']:,} of another run, {alone:,} of them with the mean faces alone"


def save_joint_recognizer(run: SynthesisRun, path: Path) -> None:
    """Writes the recogniser as it came out of joint training."""
    from cascade.models.recognizer import load_recognizer, save_recognizer
    from cascade.nn.torch_graph import export_tensors

    shipped = load_recognizer(None)
    arrays = {name: tensor.cpu().numpy() for name, tensor in export_tensors(run.frozen.recognizer).items()}
    about = {**shipped.metadata, "joint": "learned in turns with age synthesis"}
    save_recognizer(path, shipped.graph, {**shipped.tensors, **arrays}, about)
