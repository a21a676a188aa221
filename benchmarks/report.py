"""How long does a report take, and how large is it?

Prints seconds from opening the run to the written page, with what findings, assembling and
drawing take of it, and the page's size: for a run of the demo's size, and with ``--spans N`` for
a larger one; ``--run RUN`` takes a real one for the first. Then the command as it is typed, with
Python's start and all imports, and how much drawing gains by several processes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from analysis.questions.asking import findings
from analysis.report import assembly, writing
from analysis.report.pictures import pictures
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import Truth, write_run

SPANS_A_REQUEST = 14
"""Of the reference service's chat request."""

LIMIT_S, LIMIT_LARGE_S, LIMIT_MB = 5.0, 30.0, 3.0
"""For the demo's run, for ten million spans, for the page."""


def main(argv: list[str]) -> int:
    """Make reports and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report")
    parser.add_argument("--spans", type=int, help="also for a run of so many spans (10000000)")
    parser.add_argument("--run", type=Path, help="this run instead of a made-up one")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="worthit-report-") as folder:
        small = Path(folder) / "demo"
        if options.run:
            shutil.copytree(options.run, small)
        else:
            _judged(write_run(small, Truth(pairs=6, block_s=4.0)))
        _report(small)  # compiles and imports what a second report finds ready
        print(_measured("demo", small, LIMIT_S))
        print(_typed(small))
        print(_alone(small))
        if options.spans:
            large = _judged(write_run(Path(folder) / "large", _truth(options.spans)))
            print(_measured(f"{options.spans:,} spans", large, LIMIT_LARGE_S))
    return 0


def _truth(spans: int) -> Truth:
    """Six pairs at three rates in blocks of a minute.

    As fast as it takes to make so many spans.
    """
    blocks, seconds = 6 * 2 * 3, 60.0
    rate = math.ceil(spans / SPANS_A_REQUEST / blocks / seconds)
    return Truth(rates_per_s=(0.5 * rate, rate, 1.5 * rate), pairs=6, block_s=seconds)


def _judged(run: Path) -> Path:
    """The run with its verdict, as the harness leaves it: a report does not judge it again."""
    file = run / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["verdict"] = {"verdict": "VALID", "reasons": []}
    file.write_text(json.dumps(manifest), encoding="utf-8")
    return run


def _report(run: Path) -> tuple[float, float, float, Path]:
    """Seconds for findings, for assembling and for drawing and writing; and the page."""
    begin = time.perf_counter()
    opened = open_run(run)
    found = findings(opened)
    answered = time.perf_counter()
    document = assembly.assemble(opened, found)
    assembled = time.perf_counter()
    page = writing.write(document, found, run)
    return answered - begin, assembled - answered, time.perf_counter() - assembled, page


def _measured(name: str, run: Path, limit_s: float) -> str:
    """One line: the whole and its parts, against the limit."""
    before = time.process_time()
    answering, assembling, drawing, page = _report(run)
    busy = time.process_time() - before
    whole, size = answering + assembling + drawing, page.stat().st_size / 1e6
    return (
        f"{name:>20}: {whole:5.1f} s, {whole / limit_s:4.2f} of {limit_s:g} s allowed"
        f" ({busy:.1f} s of CPU; findings {answering:.1f}, assembling {assembling:.1f},"
        f" drawing and writing {drawing:.1f});"
        f" page {size:.2f} MB, {size / LIMIT_MB:.2f} of {LIMIT_MB:g} MB allowed"
    )


def _typed(run: Path) -> str:
    """One line: the command as a person types it, the better of two."""
    command = [sys.executable, "-m", "worthit", "report", str(run)]
    took = []
    for _ in range(2):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - begin)
    whole = min(took)
    return (
        f"{'worthit report':>20}: {whole:5.1f} s, {whole / LIMIT_S:4.2f} of {LIMIT_S:g} s allowed"
    )


def _alone(run: Path) -> str:
    """One line: drawing by all processes against drawing by one."""
    opened = open_run(run)
    document = assembly.assemble(opened, findings(opened))
    took = []
    for processes in (None, 1):
        begin = time.perf_counter()
        pictures(document, processes=processes)
        took.append(time.perf_counter() - begin)
    return f"{'drawing':>20}: {took[0]:5.1f} s, {took[0] / took[1]:4.2f} of what one process takes"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
