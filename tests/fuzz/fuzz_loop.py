"""The fuzzers, in turns, until the time is over or one of them finds something."""

from __future__ import annotations

import faulthandler
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from tests.fuzz.fuzz_detector import examine, make_case
from tests.fuzz.fuzz_inputs import generator, weight_sets
from tests.sanitize.build_driver import SANITIZE, build, run

# A case that takes longer than this hangs.
LONGEST = 600.0
# How much of its cases the driver runs for one seed.
PERCENT = 10

Labels = tuple[str, ...]


class FoundError(Exception):
    """Something that must not be."""


class Fuzzer(Protocol):
    """One kind of cases, numbered from 0."""

    name: str

    def step(self, number: int) -> Labels:
        """Runs a case and says of what kinds it was. Raises FoundError."""
        ...


class DriverFuzzer:
    """driver.c under the sanitizers, with a new seed for each case. Raises ToolMissingError without a compiler."""

    name = "driver"

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.driver = build(folder, SANITIZE)

    def step(self, number: int) -> Labels:
        """See Fuzzer."""
        try:
            # far from the seeds of a run whose own seed is the next number
            run([str(self.driver), str(1_000_003 * self.seed + number), str(PERCENT)], LONGEST)
        except Exception as error:
            raise FoundError(str(error)) from error
        return ("driver",)


def serve(connection: Connection, seed: int, folder: Path) -> None:
    """What the detector's process does: answers numbers of cases with their labels, or with what was found."""
    faulthandler.enable()
    sets = weight_sets(folder)
    while True:
        rng = generator(seed, connection.recv())
        case = make_case(rng, sets)
        labels = (*case.labels, f"threads {case.threads}")
        try:
            faces = examine(case, rng)
        except Exception:
            shapes = [image.shape for image in case.images]
            connection.send(f"{', '.join(labels)}\nimages {shapes}, {case.settings}\n{traceback.format_exc()}")
        else:
            connection.send(("detector", "with faces" if faces else "without faces", *labels))


class DetectorFuzzer:
    """Random cases of a Detector, in a process of its own: a crash must not take the reproducer with it."""

    name = "detector"

    def __init__(self, seed: int, folder: Path, work: Callable[[Connection, int, Path], None] = serve) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, its_end = context.Pipe()
        self.process = context.Process(target=work, args=(its_end, seed, folder), daemon=True)
        self.process.start()
        its_end.close()

    def step(self, number: int) -> Labels:
        """See Fuzzer."""
        try:
            self.connection.send(number)
            if not self.connection.poll(LONGEST):
                raise FoundError(f"no answer within {LONGEST:g} seconds")
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise FoundError(f"the process ended with {self.process.exitcode}") from error
        if isinstance(answer, str):
            raise FoundError(answer)
        return tuple(answer)

    def close(self) -> None:
        """Ends the process, also one that hangs."""
        self.process.kill()
        self.process.join()


def fuzz(fuzzers: Sequence[Fuzzer], seed: int, seconds: float, case: int | None = None) -> int:
    """Runs until the time is over, or case ``case`` only. Returns 1 after a finding, printed with its reproducer."""
    counts: Counter[str] = Counter()
    finding = ""
    with _bar(seconds) as show:
        for fuzzer, number in _turns(fuzzers, seconds, case, lambda spent: show(spent, counts)):
            try:
                counts.update(fuzzer.step(number))
            except FoundError as found:
                finding = f"{found}\n\nfound by: {_reproducer(seed, fuzzer.name, number)}"
                break
    for name, total in sorted(counts.items()):
        print(f"{total:8d} {name}")
    if finding:
        print(f"\n{finding}", file=sys.stderr)
    return int(finding != "")


def _turns(
    fuzzers: Sequence[Fuzzer], seconds: float, case: int | None, show: Callable[[float], None]
) -> Iterator[tuple[Fuzzer, int]]:
    """Whose turn it is and the number of its case: each gets as much time as the others."""
    spent, numbers = [0.0] * len(fuzzers), [0] * len(fuzzers)
    if case is not None:
        yield fuzzers[0], case
        return
    while sum(spent) < seconds:
        turn = spent.index(min(spent))
        start = time.monotonic()
        yield fuzzers[turn], numbers[turn]
        numbers[turn] += 1
        spent[turn] += time.monotonic() - start
        show(sum(spent))


def _reproducer(seed: int, name: str, number: int) -> str:
    return f"python tests/fuzz/run.py --seed {seed} --only {name} --case {number}"


@contextmanager
def _bar(seconds: float) -> Iterator[Callable[[float, Counter[str]], None]]:
    """A progress bar over the time, and how to move it."""
    with tqdm(total=round(seconds), mininterval=1, bar_format="{l_bar}{bar}| {n:.0f}/{total} s{postfix}") as bar:

        def show(spent: float, counts: Counter[str]) -> None:
            bar.set_postfix({name: counts[name] for name in ("driver", "detector", "with faces")}, refresh=False)
            bar.update(min(spent, seconds) - bar.n)

        yield show
