"""What ``python -m benchmarks fps`` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fps import Measured
from benchmarks.peak import Peak
from benchmarks.timing import Timing, ratio, shared_faces
from benchmarks.writing import write_json
from eval.report.files import write_csv

__all__ = ["HEADER", "record", "rows", "table_header", "table_rows", "write"]

HEADER = (
    *("photo", "width", "height", "detector", "runs", "median_ms", "p95_ms", "fps", "faces"),
    *("gflop", "share_of_peak", "peak_rss_mib", "instructions", "ratio", "shared_faces"),
)

TITLES = ("median ms", "p95 ms", "fps", "faces", "GFLOP", "of peak", "RSS MiB", "M instr", "ratio", "shared")
WIDTHS = (11, 10, 8, 7, 7, 9, 9, 9, 8, 10)
NAMES = 26, 26


def rows(measured: Measured, peak: Peak | None, rss_mib: float) -> list[tuple[Any, ...]]:
    """Rows under `HEADER`, ours first; cells that do not apply are None.

    ``peak`` is one core's (None where we ran elsewhere), ``rss_mib`` the most memory of this process so far.
    """
    ours, *baselines = measured.timings
    about = (measured.photo, measured.width, measured.height)
    share = measured.share_of(peak.gflops) if peak else None
    counts = measured.instructions
    found = [(*about, *_cells(ours), measured.gflop, share, rss_mib, counts.get(ours.name), None, None)]
    for baseline in baselines:
        compared = (counts.get(baseline.name), ratio(ours.times, baseline.times), shared_faces(ours, baseline))
        found.append((*about, *_cells(baseline), None, None, None, *compared))
    return found


def _cells(timing: Timing) -> tuple[Any, ...]:
    return timing.name, len(timing.times), timing.median, timing.p95, timing.fps, len(timing.boxes)


def table_header() -> str:
    """The line above `table_rows`."""
    return _line("photo", "detector", TITLES)


def table_rows(measured: Measured, peak: Peak | None, rss_mib: float) -> str:
    """The lines of one photo, for the terminal. Arguments are those of `rows`."""
    lines: list[str] = []
    for row in rows(measured, peak, rss_mib):
        median, p95, fps, faces, gflop, share, rss, count, times, shared = row[5:]
        cells = [f"{median:.1f}", f"{p95:.1f}", f"{fps:.1f}", str(faces)]
        cells += ["" if gflop is None else f"{gflop:.2f}", "" if share is None else f"{share:.0%}"]
        cells += ["" if rss is None else f"{rss:.0f}", "" if count is None else f"{count / 1e6:.1f}"]
        cells += ["" if times is None else f"{times:.2f}x" if times < 10 else f"{times:.1f}x"]
        cells += ["" if shared is None else f"{shared} of {faces}"]
        photo = "" if lines else f"{measured.photo} {measured.width}x{measured.height}"
        lines.append(_line(photo, row[3], cells))
    return "\n".join(lines)


def _line(photo: str, detector: str, cells: Sequence[str]) -> str:
    right = "".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return f"{photo:{NAMES[0]}}  {detector:{NAMES[1]}}{right}".rstrip()


def record(measured: Measured, peak: Peak | None, rss_mib: float) -> dict[str, Any]:
    """One photo's results for JSON: `rows` and beside them every time and box."""
    detectors = []
    for row, timing in zip(rows(measured, peak, rss_mib), measured.timings, strict=True):
        cells = dict(zip(HEADER[3:], row[3:], strict=True))
        detectors.append({**cells, "times_ms": timing.times, "boxes": timing.boxes})
    size = {"width": measured.width, "height": measured.height}
    return {"photo": measured.photo, **size, "failures": measured.failures, "detectors": detectors}


def write(folder: Path, about: dict[str, Any], photos: list[dict[str, Any]], table: list[tuple[Any, ...]]) -> None:
    """Write fps.json (``about`` the run, and what `record` gives) and fps.csv (what `rows` gives)."""
    write_json(folder / "fps.json", {**about, "photos": photos})
    write_csv(folder / "fps.csv", HEADER, table)
