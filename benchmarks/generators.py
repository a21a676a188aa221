"""Is our load as punctual as vegeta's, and what does a request cost it? Judged by the server.

Ours (even and Poisson arrivals) and vegeta take turns against a server in Go that keeps its own
record of when each request came and was answered. Generator and server have one core each. Per
rate and generator the table gives medians over the rounds, with the range of the delay:

- delay: how late requests came to the server, p99. Of even arrivals after the grid that fits them
  from below, the same way for both; of Poisson arrivals after the intended times of our rows;
- reported: the generator's own p99 of the time from its send to the answer, to the server's own
  p99 of the same requests (1 is the truth); and of ours the response time, from the intended send;
- CPU per request, of all processes of the generator, between the first second and the last: its
  start is not in it.

Limits: delay p99 at most 1.5 times vegeta's; reported within 15 % of the server's; CPU per request
at most twice vegeta's. Both generators must be there: Go builds vegeta and the server.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from tests.support.load.locust_process import LOCUST, recorded

VEGETA = "github.com/tsenart/vegeta/v12@v12.13.0"
SERVER = Path(__file__).parent / "support" / "arrivals_server" / "main.go"
LOCUSTFILE = """
from locust import task
from worthit.load import OpenLoopUser


class Look(OpenLoopUser):
    @task
    def look(self):
        self.client.get("/")
"""
OURS = ("ours, even", "ours, Poisson")
DELAY_LIMIT = 1.5
REPORTED_LIMIT = 0.15
CPU_LIMIT = 2.0
_SAMPLE_SECONDS = 0.05
_EDGE_NS = 1_000_000_000
"""Left out of the CPU at both ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one generator did at one rate, once."""

    delay_p99_ms: float
    reported: float
    """Its p99 of the service time over the server's."""
    response: float | None
    """Its p99 of the response time over what server and intended times say; None of vegeta."""
    cpu_ms: float
    verdict: str


@dataclass(slots=True)
class CpuWatch:
    """Samples the CPU time of a process and its children."""

    process: psutil.Process
    samples: list[tuple[int, float]] = field(default_factory=list)

    def run(self) -> None:
        """Sample until the process ends."""
        while True:
            try:
                family = [self.process, *self.process.children(recursive=True)]
                times = [one.cpu_times() for one in family]
            except psutil.Error:
                return
            cpu_s = sum(one.user + one.system for one in times)
            self.samples.append((time.time_ns(), cpu_s))
            time.sleep(_SAMPLE_SECONDS)

    def per_request_ms(self, came_ns: np.ndarray) -> float:
        """Return the CPU per request that came between the first second and the last."""
        at, cpu_s = (np.array(column) for column in zip(*self.samples, strict=True))
        begin, end = came_ns.min() + _EDGE_NS, came_ns.max() - _EDGE_NS
        between = int(np.count_nonzero((came_ns >= begin) & (came_ns < end)))
        used_s = float(np.interp(end, at, cpu_s) - np.interp(begin, at, cpu_s))
        return 1e3 * used_s / between


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Where the built programs are."""

    vegeta: str
    server: str


def built(folder: Path) -> Tools | None:
    """Build the server, and vegeta where it is not installed; None without Go."""
    go = shutil.which("go")
    if go is None:
        return None
    server = folder / "arrivals_server"
    subprocess.run([go, "build", "-o", server, SERVER], check=True)
    vegeta = shutil.which("vegeta")
    if vegeta is None:
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
        subprocess.run([go, "install", VEGETA], check=True, env=environment, capture_output=True)
        vegeta = str(folder / "vegeta")
    return Tools(vegeta=vegeta, server=str(server))


def on_core(core: int, command: list[str]) -> list[str]:
    """Return the command bound to a core, where there is one to spare."""
    taskset = shutil.which("taskset")
    if taskset is None or (os.cpu_count() or 1) < 2:
        return command
    return [taskset, "-c", str(core), *command]


@contextmanager
def arrivals_server(tools: Tools, record: Path) -> Iterator[str]:
    """Run the server; its record is there afterwards."""
    process = subprocess.Popen(
        on_core(1, [tools.server, "-record", str(record)]), stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline()) if process.stdout else 0
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def watched(command: list[str], **options: object) -> CpuWatch:
    """Run a generator to its end."""
    process = subprocess.Popen(on_core(0, command), **options)  # type: ignore[call-overload] # Popen's own
    watch = CpuWatch(psutil.Process(process.pid))
    watcher = threading.Thread(target=watch.run)
    watcher.start()
    process.wait()
    watcher.join()
    return watch


def delay_after_grid_ms(came_ns: np.ndarray, rate: int) -> float:
    """Return the p99 of how late even arrivals came, after the earliest grid that fits."""
    late = np.sort(came_ns) - np.arange(len(came_ns)) * (1e9 / rate)
    return float(np.quantile(late - late.min(), 0.99)) / 1e6


def p99_ms(values_ns: object) -> float:
    """Return the 99th percentile in ms."""
    return float(np.quantile(np.asarray(values_ns, dtype=np.float64), 0.99)) / 1e6


def server_record(path: Path) -> pd.DataFrame:
    """Read the server's own record."""
    return pd.read_csv(path, sep=" ", names=["came", "answered", "traceparent"])


def vegeta_turn(tools: Tools, rate: int, seconds: int, folder: Path) -> Turn:
    """Run vegeta once."""
    record, results = folder / "record", folder / "results.bin"
    with arrivals_server(tools, record) as url:
        (folder / "targets").write_text(f"GET {url}/\n", encoding="utf-8")
        watch = watched([
            tools.vegeta, "attack", "-rate", str(rate), "-duration", f"{seconds}s", "-targets",
            str(folder / "targets"), "-output", str(results),
        ])  # fmt: skip
    told = subprocess.run(
        [tools.vegeta, "report", "-type=json", str(results)], check=True, capture_output=True
    )
    truth = server_record(record)
    came = truth["came"].to_numpy()
    reported_ms = json.loads(told.stdout)["latencies"]["99th"] / 1e6
    return Turn(
        delay_p99_ms=delay_after_grid_ms(came, rate),
        reported=reported_ms / p99_ms(truth["answered"] - truth["came"]),
        response=None,
        cpu_ms=watch.per_request_ms(came),
        verdict="-",
    )


def our_turn(tools: Tools, name: str, rate: int, seconds: int, folder: Path) -> Turn:
    """Run ours once."""
    record, out, theirs = folder / "record", folder / "out", folder / "look.py"
    theirs.write_text(LOCUSTFILE, encoding="utf-8")
    arrivals = "even" if name == OURS[0] else "poisson"
    with arrivals_server(tools, record) as url, (folder / "log").open("wb") as log:
        watch = watched(
            [
                str(LOCUST), "-f", str(theirs), "--headless", "--only-summary", "--host", url,
                "--arrival-rate", str(rate), "--duration", f"{seconds}s", "--arrivals", arrivals,
                "--worthit-out", str(out),
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    truth, rows = server_record(record), recorded(out)
    truth = truth[truth["traceparent"] != "-"]
    truth["trace_id"] = truth["traceparent"].str.split("-").str[1]
    both = rows.merge(truth, on="trace_id", validate="one_to_one")
    if len(both) < len(rows):
        raise RuntimeError(f"{len(rows)} rows, of which the server knows {len(both)}")
    came = both["came"].to_numpy()
    late = both["came"] - both["intended_ns"]
    on_grid = name == OURS[0]
    return Turn(
        delay_p99_ms=delay_after_grid_ms(came, rate) if on_grid else p99_ms(late),
        reported=p99_ms(both["end_ns"] - both["sent_ns"])
        / p99_ms(both["answered"] - both["came"]),
        response=p99_ms(both["end_ns"] - both["intended_ns"])
        / p99_ms(both["answered"] - both["intended_ns"]),
        cpu_ms=watch.per_request_ms(came),
        verdict=json.loads((out / "generator.json").read_text(encoding="utf-8"))["verdict"],
    )


def print_table(turns: dict[tuple[int, str], list[Turn]], rates: list[int]) -> bool:
    """Print what each did; return whether ours keep to the limits."""
    print(
        f"{'rate':>6} {'generator':14} {'delay p99 at the server, ms':>30} {'reported':>9} "
        f"{'response':>9} {'CPU ms':>7}  VALID"
    )
    kept = True
    for rate in rates:
        vegeta = turns[rate, "vegeta"]
        for name in ("vegeta", *OURS):
            found = turns[rate, name]
            delays = [turn.delay_p99_ms for turn in found]
            delay = statistics.median(delays)
            cpu = statistics.median(turn.cpu_ms for turn in found)
            reported = statistics.median(turn.reported for turn in found)
            responses = [turn.response for turn in found if turn.response is not None]
            response = f"{statistics.median(responses):.3f}" if responses else "-"
            valid = sum(turn.verdict == "VALID" for turn in found)
            print(
                f"{rate:>6} {name:14} {delay:>8.2f} [{min(delays):.2f} to {max(delays):.2f}]"
                f"{'':>6} {reported:>9.3f} {response:>9} {cpu:>7.3f}  "
                + (f"{valid} of {len(found)}" if name in OURS else "-")
            )
            if name in OURS:
                by_delay = delay / statistics.median(turn.delay_p99_ms for turn in vegeta)
                by_cpu = cpu / statistics.median(turn.cpu_ms for turn in vegeta)
                print(f"{'':>21} to vegeta: delay {by_delay:.2f}, CPU {by_cpu:.2f}")
                kept &= by_delay <= DELAY_LIMIT and by_cpu <= CPU_LIMIT
                kept &= abs(reported - 1) <= REPORTED_LIMIT
    return kept


def main(argv: list[str]) -> int:
    """Measure; 0 when ours keep to the limits, 1 otherwise, 2 where vegeta cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    given = parser.parse_args(argv)
    turns: dict[tuple[int, str], list[Turn]] = {}
    with tempfile.TemporaryDirectory() as home:
        tools = built(Path(home))
        if tools is None:
            print("Go is not there: neither vegeta nor the server can be built.", file=sys.stderr)
            return 2
        for number in range(given.rounds):
            for rate in given.rates:
                order = ("vegeta", *OURS) if number % 2 == 0 else (*OURS[::-1], "vegeta")
                for name in order:
                    folder = Path(tempfile.mkdtemp(dir=home))
                    if name == "vegeta":
                        turn = vegeta_turn(tools, rate, given.seconds, folder)
                    else:
                        turn = our_turn(tools, name, rate, given.seconds, folder)
                    turns.setdefault((rate, name), []).append(turn)
                    print(f"  {rate}/s {name}: {turn}", file=sys.stderr, flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    return 0 if print_table(turns, given.rates) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
