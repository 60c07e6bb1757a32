"""``cascade index``: what it says, its exit statuses, full disks, and runs that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from cascade.archive import Index
from cascade.archive.indexing import planned
from cascade.archive.photos import PhotoIndexer
from cascade.archive.scan import Scan
from cascade.archive.store import Store
from cascade.cli import main
from cascade.detect import Detector
from cascade.recognize import Recognizer
from tests.cli.helpers import portrait_photo, posix_only

INDEX = "faces.index"


@pytest.fixture
def run(recognizer_weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run ``cascade index`` with a random recognition network and one process, in tmp_path."""
    monkeypatch.chdir(tmp_path)
    portrait_photo("photos/one.jpg")
    portrait_photo("photos/two.jpg", people=2)
    options = ["--recognizer", recognizer_weights, "--min-face", "40", "--processes", "1", "--out", INDEX]
    return lambda *argv: main(["index", *options, *map(str, argv)])


def test_a_folder_and_what_is_wrong_with_it(run, capsys) -> None:
    Path("photos/bad.jpg").write_bytes(b"no photo")
    Path("photos/film.mp4").write_bytes(b"x")
    Path("photos/raw.nef").write_bytes(b"x")
    assert run("photos") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{Path('photos/bad.jpg').absolute()}: expected JPEG, PNG" in said.err
    assert "left out 1 video" in said.err
    assert "left out 1 picture of kinds that are not read (1 .nef)" in said.err
    assert said.err.endswith(f"2 of 3 photos, 3 faces, 1 problem, 1 left out (.nef); index in {INDEX}\n")
    assert Index.open(INDEX).counts() == {"photos": 3, "faces": 3, "errors": 1}
    Path("photos/bad.jpg").unlink()
    assert run("photos") == 0
    assert "0 photos, 0 faces, 1 left out (.nef), 2 unchanged, 1 deleted" in capsys.readouterr().err


def test_another_setting_is_refused(run, capsys) -> None:
    assert run("photos/one.jpg") == 0
    assert run("photos/one.jpg", "--flip") == 2
    assert "the index was made with flip False, and this run has True" in capsys.readouterr().err


def test_a_second_run_is_refused(run, recognizer_weights, capsys) -> None:
    indexer = PhotoIndexer(Recognizer(recognizer_weights, 1, detector=Detector(min_face=40, threads=1)))
    with Store.open(Path(INDEX), indexer.manifest):
        assert run("photos") == 2
    assert "another run is writing this index" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a folder, a photo or a list"),
        (["photos", "--threads", "2"], "each process has one; see --processes"),
        (["photos", "--attributes", "mood"], "--attributes: expected"),
        (["photos", "--max-pixels", "0"], "--max-pixels: expected 1 to 200,000,000"),
        (["photos", "--processes", "0"], "--processes: expected 1 to 1,024"),
        (["nothing"], "nothing: there is no such file or folder"),
        (["empty"], "no photos found in empty"),
        (["photos", "--out", "photos"], "photos: there are other files"),
    ],
)
def test_bad_usage(run, argv, message, capsys) -> None:
    Path("empty").mkdir()
    assert run(*argv) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["nothing"], ["photos", "nothing"], ["film.mp4"], ["long.txt"]])
def test_no_index_is_created_for_wrong_paths(run, argv, capsys) -> None:
    Path("film.mp4").write_bytes(b"x")
    Path("long.txt").write_bytes(b"x" * (1 << 17))
    assert run(*argv) == 2
    assert argv[-1] in capsys.readouterr().err
    assert not Path(INDEX).exists()


def test_an_index_that_cannot_be_created_has_nothing(run, capsys) -> None:
    assert run("photos", "--out", "photos/one.jpg/index") == 1
    said = capsys.readouterr().err
    assert "cannot write the index in photos/one.jpg/index: " in said and "complete" not in said


def test_out_is_needed(capsys) -> None:
    assert main(["index", "photos"]) == 2
    assert "--out DIR is needed" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes, and limits of file sizes")
def test_a_full_disk_ends_the_run_and_the_next_goes_on(run, recognizer_weights, tmp_path) -> None:
    """A file of 2,000 bytes at most stands for a full disk: the manifest has fewer, the faces have more."""
    shutil.copy("photos/one.jpg", os.fsdecode(b"photos/caf\xe9.jpg"))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from cascade.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    limited = [sys.executable, "-c", code]
    argv = ["index", "photos", "--out", INDEX, "--recognizer", recognizer_weights, "--min-face", "40"]
    argv += ["--processes", "1"]
    done = subprocess.run([*limited, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"cannot write the index in {INDEX}: File too large\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in Path(INDEX).rglob("*") if path.is_file()] == ["manifest.json"]
    assert run("photos") == 0
    assert Index.open(INDEX).counts() == {"photos": 3, "faces": 4, "errors": 0}
    shutil.copy("photos/one.jpg", "photos/new.jpg")
    done = subprocess.run([*limited, *argv], capture_output=True, text=True, check=False)
    assert f"cannot write the index in {INDEX}: File too large; what it has is complete\n" in done.stderr


SLOWLY = """
import sys, time
import cascade.archive.indexing as indexing
from cascade.cli import main
indexing.SHARD_PHOTOS = 2
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@posix_only
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_goes_on(run, how, recognizer_weights, tmp_path) -> None:
    for number in range(60):
        shutil.copy("photos/one.jpg", f"photos/copy{number:02}.jpg")
    Path("slowly.py").write_text(SLOWLY)
    argv = ["index", "photos", "--out", INDEX, "--recognizer", recognizer_weights, "--min-face", "40"]
    process = subprocess.Popen(
        [sys.executable, "slowly.py", *argv, "--processes", "2"], stderr=subprocess.PIPE, start_new_session=True
    )
    shards = Path(INDEX, "photos")
    while process.poll() is None and (not shards.exists() or len(list(shards.glob("*.parquet"))) < 3):
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate()
    wanted = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    assert process.returncode == wanted[how], said
    before = Index.open(INDEX).counts()
    assert 6 <= before["photos"] < 62
    assert run("photos") == 0
    index = Index.open(INDEX)
    paths, faces = index.photos(["path"])["path"].to_pylist(), index.faces(["face_id"])["face_id"].to_pylist()
    assert len(paths) == len(set(paths)) == 62
    assert len(faces) == len(set(faces)) == 63
    assert not list(Path(INDEX).rglob("*.partial"))
    with Store.open(Path(INDEX), index.manifest) as store:
        assert planned(Scan(["photos"]), store).todo == []


STOPPED_AT_THE_START = """
import os, signal, sys
from multiprocessing import util
from cascade.cli import main

def launch(path, args, fds, launch=util.spawnv_passfds):
    if any("spawn_main" in str(each) for each in args):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return launch(path, args, fds)

if __name__ == "__main__":
    util.spawnv_passfds = launch
    sys.exit(main(sys.argv[2:]))
"""


@posix_only
@pytest.mark.parametrize(("how", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_run_that_is_ended_as_its_processes_start(run, how, status, recognizer_weights) -> None:
    Path("stopped.py").write_text(STOPPED_AT_THE_START)
    argv = ["index", "photos", "--out", INDEX, "--recognizer", recognizer_weights, "--min-face", "40"]
    argv += ["--processes", "2"]
    done = subprocess.run(
        [sys.executable, "stopped.py", how, *argv], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == status, done.stderr
    assert "stopped: 0 of 2 photos" in done.stderr
    assert "Traceback" not in done.stderr
