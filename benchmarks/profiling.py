"""What sampling its stacks 100 times per second costs a Python service: CPU for the same work."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil

from analysis.stats.intervals import mean
from worthit.contract.profiles import SAMPLES_PER_S
from worthit.counters.profiling import command

PAIRS = 12
"""Turns with and without, side by side, in alternating order."""

LIMIT = 0.05
"""Of the service's CPU."""

WORK = """
import json, sys, time
document = {str(key): list(range(20)) for key in range(200)}
for _ in sys.stdin:
    began = time.process_time()
    for _ in range(500):
        json.loads(json.dumps(document))
    print(time.process_time() - began, flush=True)
"""
"""A fixed amount of work for each line, under a second; answers with the CPU that it took."""


def main(argv: list[str]) -> int:
    """Print by how much more CPU the same work takes, and what py-spy takes itself."""
    del argv
    extra, own = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as service,
    ):
        _work(service)
        for pair in range(PAIRS):
            both = {}
            for sampled in (True, False) if pair % 2 else (False, True):
                if not sampled:
                    both[sampled] = _work(service)
                    continue
                argv = command(service.pid, Path(folder) / f"{pair}.collapsed")
                with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as spy:
                    both[sampled] = _work(service)
                    times = psutil.Process(spy.pid).cpu_times()
                    spy.send_signal(2)
                own.append((times.user + times.system) / both[sampled])
            extra.append(math.log(both[True] / both[False]))
        service.kill()
    estimate = mean(np.array(extra), unit="share", n=PAIRS)
    print(
        f"Sampled {SAMPLES_PER_S} times per second the work takes"
        f" {100 * (estimate.value or 0):+.1f} % CPU ({100 * (estimate.low or -1):+.1f} to"
        f" {100 * (estimate.high or 1):+.1f}) in {PAIRS} pairs; py-spy itself takes"
        f" {100 * float(np.mean(own)):.1f} % of it on another core. Limit {100 * LIMIT:.0f} %."
    )
    return int((estimate.high or 1) > LIMIT)


def _work(service: subprocess.Popen[str]) -> float:
    """Let it do its work once; the CPU seconds that it took."""
    if service.stdin is None or service.stdout is None:
        raise RuntimeError("the service was started without pipes")
    service.stdin.write("work\n")
    service.stdin.flush()
    return float(service.stdout.readline())
