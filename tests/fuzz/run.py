"""Fuzzes the C core under the sanitizers, and detectors with random weights, settings and images.

    python tests/fuzz/run.py --minutes 10

From the root of a clone in which the package is built (`pip install -e . --group dev`, or `python setup.py build_ext
--inplace` with its dependencies installed). The core's part needs gcc with its sanitizers, the detectors' part torch.
Whatever is found comes with a command that runs that case alone; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "sanitize"), str(TESTS / "fuzz")]

from tests.fuzz.fuzz_loop import DetectorFuzzer, DriverFuzzer, Fuzzer, fuzz  # noqa: E402
from tests.sanitize.build_driver import ToolMissingError  # noqa: E402

KINDS = ("driver", "detector")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    print(f"seed {options.seed}", flush=True)
    seconds = 1e9 if options.case is not None else 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        fuzzers = _fuzzers(options, Path(folder))
        try:
            return fuzz(fuzzers, options.seed, seconds, options.case) if fuzzers else 2
        finally:
            for fuzzer in fuzzers:
                if isinstance(fuzzer, DetectorFuzzer):
                    fuzzer.close()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to run (default 10)")
    parser.add_argument("--seed", type=int, default=time.time_ns() // 10**9, help="default: the time")
    parser.add_argument("--only", choices=KINDS, help="one kind of cases instead of both")
    parser.add_argument("--case", type=int, help="one case instead of many; needs --only")
    options = parser.parse_args(arguments)
    if options.case is not None and options.only is None:
        parser.error("--case needs --only")
    if min(options.seed, options.case or 0) < 0:
        parser.error("--seed and --case are not negative")
    return options


def _fuzzers(options: argparse.Namespace, folder: Path) -> list[Fuzzer]:
    """Those asked for, without those that lack something, which is said."""
    found: list[Fuzzer] = []
    if options.only != "detector":
        try:
            found.append(DriverFuzzer(options.seed, folder))
        except ToolMissingError as missing:
            print(f"no driver: {missing}", file=sys.stderr)
    if options.only != "driver":
        if importlib.util.find_spec("torch"):
            found.append(DetectorFuzzer(options.seed, folder))
        else:
            print("no detector: torch is missing, which makes random networks", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
