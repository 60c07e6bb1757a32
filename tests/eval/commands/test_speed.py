"""Full-size evaluations in their limits of time and memory, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import read_wider
from tests.eval.helpers import shared

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
MEASURE = """
import json, resource, sys
from pathlib import Path
from eval.commands.main import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
memory = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
if Path("/proc/self/status").exists():  # ru_maxrss is at least that of the process which started this one
    memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([code, used.ru_utime + used.ru_stime, memory]))
"""


def measured(*arguments):
    """Return exit status, seconds of processor time and the largest memory in MiB of one evaluation."""
    command = [sys.executable, "-c", MEASURE, *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["s3fd_resnet18", "mtcnn"])
def test_fddb_takes_at_most_30_seconds_and_1_gib(name, tmp_path):
    folder = shared("reference/fddb")
    files = ("--annotations", folder / "FDDB-folds", "--detections", folder / f"{name}_detections.txt")
    code, seconds, memory = measured("fddb", *files, "--out", tmp_path / "out")
    assert code == 0
    assert seconds < 30
    assert memory < 1024


def test_wider_with_a_million_detections_takes_at_most_120_seconds_and_2_gib(tmp_path):
    truth = shared("data/wider/ground_truth")
    rng = np.random.default_rng(0)
    photos = list(read_wider(truth / "wider_face_val.mat", truth, require_images=False))
    per_photo = rng.multinomial(1_000_000, rng.dirichlet(np.full(len(photos), 2.0)))
    for photo, count in zip(photos, per_photo.tolist(), strict=True):
        faces = photo.boxes[rng.integers(0, len(photo), count)].astype(float)
        boxes = np.maximum(
            np.column_stack([faces[:, :2], faces[:, 2:] - faces[:, :2]]) + rng.normal(0, 4, (count, 4)), 1
        )
        file = tmp_path / "predictions" / f"{photo.name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = np.column_stack([boxes, rng.uniform(0, 1, count)])
        lines = [file.stem, str(count), *(" ".join(f"{value:.3f}" for value in row) for row in rows.tolist())]
        file.write_text("\n".join(lines) + "\n")
    files = ("--ground-truth", truth, "--predictions", tmp_path / "predictions")
    code, seconds, memory = measured("wider", *files, "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (code, summary["photos"], summary["faces"]) == (0, 3226, 39708)
    assert seconds < 120
    assert memory < 2048
    print(f"{seconds:.1f} s, {memory:.0f} MiB")
