"""Does Dask give the shares that one process gives, over ten million spans, and how fast?

A scheduler and two worker processes of one thread, started as a user would; `worthit shares` of
one Parquet file without and with `--dask`. Every number of both answers must be the same. Wall
seconds, which on a shared machine say more about the others; on two cores two workers, the
scheduler and the reading process have no more CPU than one process has.

python -m benchmarks dask_shares                  10 million spans
python -m benchmarks dask_shares --spans 1000000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from benchmarks.support import synthetic_traces

WORKERS = 2
PORT = 18786
_START_SECONDS = 60


def main(argv: Sequence[str]) -> int:
    """Run it; 1 where the answers differ."""
    parser = argparse.ArgumentParser(prog="benchmarks dask_shares", description=__doc__)
    parser.add_argument("--spans", type=int, default=10_000_000)
    parser.add_argument("--partitions", type=int, default=8)
    asked = parser.parse_args(list(argv))
    with tempfile.TemporaryDirectory(prefix="worthit-bench-") as folder, _cluster() as address:
        file = Path(folder) / "spans.parquet"
        count = synthetic_traces.write(file, asked.spans)
        parts = ["--partitions", str(asked.partitions)]
        alone, alone_s = _shares(file, *parts)
        together, together_s = _shares(file, *parts, "--dask", address)
    equal = alone == together
    print(
        f"{count:,} spans in {asked.partitions} parts: {alone_s:.1f} s in one process, "
        f"{together_s:.1f} s with {WORKERS} Dask workers ({alone_s / together_s:.2f} times as "
        f"fast); every number the same: {'yes' if equal else 'NO'}"
    )
    return 0 if equal else 1


@contextmanager
def _cluster() -> Iterator[str]:
    address = f"tcp://127.0.0.1:{PORT}"
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [["scheduler", "--port", str(PORT), *here]]
    commands += [["worker", address, "--nthreads", "1", *here]] * WORKERS
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "dask", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        with Client(address, timeout=_START_SECONDS) as client:
            client.wait_for_workers(WORKERS, timeout=_START_SECONDS)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait()


def _shares(file: Path, *options: str) -> tuple[object, float]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "worthit", "shares", str(file), "--json", *options],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout), time.perf_counter() - began
