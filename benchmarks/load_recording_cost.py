"""What does the plugin cost a locustfile? Requests per second of one full core, stock and plugin.

Both run the same closed-loop locustfile against the same server, in pairs whose order alternates
(stock, plugin, plugin, stock, ...), so that a machine that grows busy is unfair to neither.
The load process is one, so one core at most. Printed are its CPU per request, whose inverse is the
throughput of a full core, and the requests per second that it reached. The answer is the median
of the pairs' ratios; the limit is 20 % less throughput.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.load.locust_process import PLUGIN, end_of, start_locust, stub_server

LOCUSTFILE = """
import time
from locust import FastHttpUser, constant, events, task

class Stranger(FastHttpUser):
    wait_time = constant(0)

    @task
    def look(self):
        self.client.get("/personalities/elara")

marks = {}

@events.spawning_complete.add_listener
def begin(**_):
    marks["cpu"], marks["wall"] = time.process_time(), time.monotonic()

@events.quitting.add_listener
def end(environment, **_):
    cpu, wall = time.process_time() - marks["cpu"], time.monotonic() - marks["wall"]
    requests = environment.stats.total.num_requests
    print(f"MEASURED {1e6 * cpu / requests:.2f} {requests / wall:.1f}", flush=True)
"""
LEAST_THROUGHPUT = 0.8


class Cost(NamedTuple):
    """What one run of the locustfile took."""

    cpu_us: float
    """CPU of the load process per request, in microseconds."""
    per_s: float
    """Requests per second."""


def cost(host: str, files: str, folder: Path, seconds: int, *arguments: str) -> Cost:
    """Run the locustfile for a few seconds; return what a request took."""
    locust = start_locust(
        "--headless", "--only-summary", "--users", "4", "--spawn-rate", "4", "--reset-stats",
        "--run-time", f"{seconds}s", "--host", host, *arguments, files=files, cwd=folder,
    )  # fmt: skip
    code, output = end_of(locust)
    found = re.search(r"MEASURED ([0-9.]+) ([0-9.]+)", output)
    if code != 0 or found is None:
        raise RuntimeError(f"Locust ended with {code}: {output[-2000:]}")
    return Cost(float(found[1]), float(found[2]))


def measure(pairs: int, seconds: int) -> dict[str, list[Cost]]:
    """Return the costs of each kind, pair by pair."""
    costs: dict[str, list[Cost]] = {"stock": [], "plugin": []}
    with tempfile.TemporaryDirectory() as name, stub_server() as stub:
        folder = Path(name)
        (folder / "theirs.py").write_text(LOCUSTFILE, encoding="utf-8")
        for pair in range(pairs):
            for kind in ("stock", "plugin") if pair % 2 == 0 else ("plugin", "stock"):
                files = "theirs.py" if kind == "stock" else f"theirs.py,{PLUGIN}"
                extra = () if kind == "stock" else ("--worthit-out", str(folder / f"{pair}"))
                costs[kind].append(cost(stub.url, files, folder, seconds, *extra))
    return costs


def main(argv: list[str]) -> int:
    """Compare; 0 when the plugin keeps to its limit, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=5)
    given = parser.parse_args(argv)
    costs = measure(given.pairs, given.seconds)
    for kind, found in costs.items():
        cpu_us, per_s = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{kind:6}  {cpu_us:6.1f} us of CPU per request, {per_s:6.0f} requests/s")
    both = list(zip(costs["stock"], costs["plugin"], strict=True))
    by_cpu = [stock.cpu_us / ours.cpu_us for stock, ours in both]
    by_rate = [ours.per_s / stock.per_s for stock, ours in both]
    for name, ratios in (("CPU per request", by_cpu), ("requests/s", by_rate)):
        each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"throughput, plugin to stock, by {name}: {statistics.median(ratios):.3f} ({each})")
    print(f"limit {LEAST_THROUGHPUT}")
    return 0 if statistics.median(by_cpu) >= LEAST_THROUGHPUT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
