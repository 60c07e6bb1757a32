"""Trains the generator of age synthesis; the loop is `train.common.loop`.

    python -m train synthesis --data train/recipes/synthesis.toml --root DATA --out runs/synthesis

A step is one of the discriminator, one of the generator and, with ``joint``, one of the recogniser. It runs in one
process, or in several under torchrun.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from torch import nn

from cascade.models.aging import load_aging
from cascade.models.attributes import load_attributes
from cascade.models.files import WeightsError
from cascade.models.recognizer import load_recognizer
from train.common.averaging import update_ema
from train.common.checkpoints import TrainingError, read_checkpoint
from train.common.device import Processes
from train.common.loop import Run
from train.common.prefetch import Prefetcher
from train.common.schedule import set_rate
from train.detection.augment import normalise
from train.synthesis import losses
from train.synthesis.classifier import anchor_ages, trained_classifier, varied
from train.synthesis.faces import AgedFaces, Batch, shares
from train.synthesis.frozen import FrozenNetworks, anchor_matrix, expected_ages
from train.synthesis.networks import Generator, PatchDiscriminator
from train.synthesis.prototypes import Prototypes, mean_faces
from train.synthesis.settings import ANCHORS, SynthesisSettings
from train.synthesis.sheets import save_sheet

WEIGHTS = ".safetensors"
LOG_EVERY, SAVE_EVERY = 20, 300
GRADIENT = 5.0  # largest norm of a step's gradient
DECAYS = (0.5, 0.99)  # Adam's
RECOGNIZER_RATE = 0.02  # learning rate of the recogniser over that of the generator
MOST_MEASURED = 18  # held-out faces that a validation looks at
WRONG_AGE = 2  # anchors by which a wrong age is off at least


class SynthesisRun(Run):
    """A generator on its way, in one of the ``processes``."""

    title, losses = "train synthesis", losses.NAMES

    def __init__(
        self, settings: SynthesisSettings, faces: AgedFaces, out: Path, processes: Processes | None = None
    ) -> None:
        torch.manual_seed(settings.seed)
        self.processes = processes = processes or Processes.alone()
        self.settings, self.faces, self.out, self.device = settings, faces, out, processes.device
        self.writes, self.every = processes.rank == 0, (LOG_EVERY, SAVE_EVERY)
        out.mkdir(parents=True, exist_ok=True)
        count = len(ANCHORS)
        self.generator = self._placed(Generator(settings.size, count, settings.condition, settings.share))
        self.discriminator = self._placed(PatchDiscriminator(count))
        if settings.start:  # before the classifier, which takes long
            self._start_from(Path(settings.start))
        self.frozen = self._placed(FrozenNetworks(load_recognizer(None), load_attributes(None)))
        self.classifier = trained_classifier(faces, settings.classifier, out / "classifier.pt", processes)
        self.before = self.frozen  # says who a face was; it never learns
        self.averaged: Generator = deepcopy(self.generator).eval().requires_grad_(False)
        self.optimisers = {
            "generator": self._optimiser(self.generator.parameters()),
            "discriminator": self._optimiser(self.discriminator.parameters()),
        }
        self.parts = {"network": self.generator, "averaged": self.averaged, "discriminator": self.discriminator}
        if settings.joint:
            self.before = deepcopy(self.frozen)
            self.optimisers["recognizer"] = self._optimiser(self.frozen.learn())
            self.parts["recognizer"] = self.frozen.recognizer
        self.parts.update({f"{name}_optimiser": each for name, each in self.optimisers.items()})
        self._prototypes: Prototypes | None = None
        self._groups = anchor_matrix(101, ANCHORS).to(self.device)
        self.batches = Prefetcher(faces.batch)

    def _placed(self, network: nn.Module):  # type: ignore[no-untyped-def]
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _optimiser(self, parameters) -> torch.optim.Optimizer:  # type: ignore[no-untyped-def]
        return torch.optim.Adam(parameters, self.settings.learning_rate, betas=DECAYS)

    def _start_from(self, file: Path) -> None:
        """Begins from the networks of another run of any size, or from a weight file and a new discriminator.

        Raises TrainingError for a file of other networks.
        """
        if file.suffix == WEIGHTS:
            self._start_from_weights(file)
            return
        state = read_checkpoint(file)
        try:
            self.generator.load_state_dict(state["averaged"])
            self.discriminator.load_state_dict(state["discriminator"])
        except (KeyError, RuntimeError) as error:
            raise TrainingError(f"start: {file} has other networks") from error

    def _start_from_weights(self, file: Path) -> None:
        try:
            weights = load_aging(file)
            if weights.anchors != ANCHORS:
                raise ValueError(f"anchors {weights.anchors}, expected {ANCHORS}")
            self.generator.fill({name: torch.from_numpy(array) for name, array in weights.tensors.items()})
        except (WeightsError, KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(f"start: {file} has other networks ({error})") from error

    def train_step(self) -> dict[str, torch.Tensor]:
        """One step of every network that learns; the losses."""
        # of what is drawn in a step, so that a resumed run draws the same
        seed = self.settings.seed * self.processes.world + self.processes.rank
        torch.manual_seed(seed * 1_000_003 + self.step)
        batch: Batch = self.batches.take(self.step).to(self.device)
        rate = self.rate(self.step)
        for name, optimiser in self.optimisers.items():
            set_rate(optimiser, rate * (RECOGNIZER_RATE if name == "recognizer" else 1))
        asked = shares(batch.targets)
        self.generator.train()
        with self.autocast():
            aged = self.generator(batch.crops, asked)
        if self.step < self.settings.prototypes and not self.settings.start:
            found = self._prototype_step(batch, aged)
        else:
            found = self._full_step(batch, aged, asked)
        self.step += 1
        update_ema(self.averaged, self.generator, self.settings.ema, self.step)
        if self.writes and self.step % self.settings.sheet_every == 0:
            save_sheet(self, self.out / "sheets" / f"{self.step:06}.png")
        return found

    def _prototype_step(self, batch: Batch, aged: torch.Tensor) -> dict[str, torch.Tensor]:
        """One step towards the face with what differs between the mean faces of the two ages."""
        loss = self._prototype_loss(batch, aged)
        self._update("generator", self.generator, loss)
        return {"total": loss, "prototype": loss}

    def _prototype_loss(self, batch: Batch, aged: torch.Tensor) -> torch.Tensor:
        if self._prototypes is None:
            self._prototypes = mean_faces(self.faces, self.device)
        change = self._prototypes.change(batch.crops, batch.genders, batch.ages, batch.targets)
        return losses.prototype_loss(aged, batch.crops, change)

    def _full_step(self, batch: Batch, aged: torch.Tensor, asked: torch.Tensor) -> dict[str, torch.Tensor]:
        """A step of the discriminator and the generator, of the recogniser if joint; or half of that, in turns."""
        against, examines = (self.step % 2 == 0, self.step % 2 == 1) if self.settings.turns else (True, True)
        found = {}
        if against:
            found["discriminator"] = self._discriminator_step(batch, aged.detach(), asked)
        found |= self._generator_step(batch, aged, asked, against, examines)
        if self.settings.joint and examines:
            found["recognizer"] = self._recognizer_step(batch, aged.detach())
        return found

    def _discriminator_step(self, batch: Batch, aged: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Real faces of their age against synthesised ones, and against real faces of a wrong age."""
        own = shares(batch.ages)
        off = torch.randint(WRONG_AGE, len(ANCHORS) - WRONG_AGE + 1, (len(own),), device=self.device)
        wrong = shares(torch.tensor(ANCHORS, device=self.device)[(own.argmax(1) + off) % len(ANCHORS)])
        with self.autocast():
            features = self.discriminator(torch.cat([batch.crops, aged]))
            real, fake = features.chunk(2)
            scores = [self.discriminator.scores(*each) for each in ((real, own), (fake, asked), (real, wrong))]
        loss = losses.real_loss(scores[0]) + 0.5 * (losses.fake_loss(scores[1]) + losses.fake_loss(scores[2]))
        self._update("discriminator", self.discriminator, loss)
        return loss

    def _generator_step(
        self, batch: Batch, aged: torch.Tensor, asked: torch.Tensor, against: bool, examines: bool
    ) -> dict[str, torch.Tensor]:
        """One step of the generator, ``against`` the discriminator, and with what the frozen networks see."""
        gap = batch.targets - batch.ages
        found = {
            "own": losses.own_loss(aged, batch.crops, gap),
            "change": losses.change_loss(aged, batch.crops),
            "smooth": losses.smooth_loss(aged, batch.crops),
            "prototype": self._prototype_loss(batch, aged),
            "group": self._group_loss(aged, asked),
        }
        if against:
            found["adversary"] = self._adversary(aged, asked)
        if examines:
            found |= self._examined(batch, aged, asked)
        weighted = [getattr(self.settings, f"lambda_{name}") * loss for name, loss in found.items()]
        total = torch.stack(weighted).sum()
        self._update("generator", self.generator, total)
        return {"total": total, **found}

    def _adversary(self, aged: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        self.discriminator.requires_grad_(False)
        with self.autocast():
            scores = self.discriminator.scores(self.discriminator(aged), asked)
        self.discriminator.requires_grad_(True)
        return losses.real_loss(scores)

    def _group_loss(self, aged: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            logits = self.classifier(varied(aged))
        return losses.group_loss(logits, asked)

    def _examined(self, batch: Batch, aged: torch.Tensor, asked: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the frozen networks say of the first faces of a batch."""
        few = slice(self.settings.examined)
        targets, ages = batch.targets[few], batch.ages[few]
        with self.autocast():
            embeddings, found, genders = self.frozen(aged[few], moved=True)
            with torch.no_grad():
                before, _, own = self.before(batch.crops[few])
        return {
            "age": losses.age_loss(found, targets, self._groups, asked[few]),
            "gender": losses.gender_loss(genders, own, torch.minimum(targets, ages)),
            "identity": losses.identity_loss(embeddings, before, targets - ages),
        }

    def _recognizer_step(self, batch: Batch, aged: torch.Tensor) -> torch.Tensor:
        """The face at another age is still the same person, and nobody else has changed."""
        with self.autocast():
            crops, aged = batch.crops[: self.settings.examined], aged[: self.settings.examined]
            with torch.no_grad():
                before = self.before(crops)[0]
            now = self.frozen(torch.cat([crops, aged]))[0]
        real, synthesised = now.chunk(2)
        loss: torch.Tensor = (2 - (real * before).sum(1) - (synthesised * before).sum(1)).mean()
        self._update("recognizer", self.frozen.recognizer, loss)
        return loss

    def _update(self, name: str, network: nn.Module, loss: torch.Tensor) -> None:
        """One step of a network's optimiser, on the mean gradient of all processes."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        learning = [p for p in network.parameters() if p.grad is not None]
        if self.processes.world > 1:
            for gradient in [p.grad for p in learning if p.grad is not None]:
                torch.distributed.all_reduce(gradient)
                gradient.div_(self.processes.world)
        nn.utils.clip_grad_norm_(learning, GRADIENT)
        optimiser.step()

    @torch.no_grad()
    def aged(self, rows: np.ndarray, targets: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops (n, 3, size, size) of rows, and the same at each of these ages (n, targets, 3, size, size).

        The averaged generator makes them.
        """
        crops = torch.from_numpy(self.faces.crops(rows)).permute(0, 3, 1, 2).float()
        crops = normalise(crops).contiguous(memory_format=torch.channels_last).to(self.device)
        found = []
        for age in targets:
            with self.autocast():
                found.append(self.averaged(crops, shares(torch.full((len(rows),), age, device=self.device))))
        return crops, torch.stack(found, 1)

    def validate(self) -> dict[str, float]:
        """On faces held out, by the frozen networks: mean errors of the age, in years, and likeness."""
        return {name: float(values.mean()) for name, values in self.by_anchor((1.0,), MOST_MEASURED).items()}

    @torch.no_grad()
    def by_anchor(self, strengths: Sequence[float], most: int) -> dict[str, np.ndarray]:
        """What the frozen networks say of ``most`` faces held out at each anchor age, with stronger or weaker changes.

        Each (strengths, anchors): ``age_error`` and ``group_error``, the mean errors of the attribute network's age and
        the classifier's in years; ``alike``, the mean cosine to the face as it was.
        """
        rows = self.faces.measured[:: max(1, len(self.faces.measured) // most)][:most]
        crops, aged = self.aged(rows, list(ANCHORS))
        before = self.before(crops)[0]
        found = {name: np.empty((len(strengths), len(ANCHORS))) for name in ("age_error", "group_error", "alike")}
        for row, strength in enumerate(strengths):
            for column, anchor in enumerate(ANCHORS):
                changed = (crops + strength * (aged[:, column] - crops)).clamp(-1, 1)
                embeddings, ages, _ = self.before(changed)
                found["age_error"][row, column] = (expected_ages(ages) - anchor).abs().mean()
                found["group_error"][row, column] = (anchor_ages(self.classifier(changed)) - anchor).abs().mean()
                found["alike"][row, column] = (embeddings * before).sum(1).mean()
        return found

    @property
    def defaults(self) -> SynthesisSettings:
        """The settings of a run that says nothing else."""
        return SynthesisSettings()
