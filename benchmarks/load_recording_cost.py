"""What does the plugin cost a locustfile? CPU a request, stock and with the plugin.

Both run the same closed-loop locustfile against the same server, in turns (stock, plugin, plugin,
stock, ...), and the CPU of the load process alone is counted: throughput on a full core is its
inverse. The limit is 20 % less throughput.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.locust_process import ROOT, end_of, start_locust, stub_server

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
    marks["cpu"] = time.process_time()

@events.quitting.add_listener
def end(environment, **_):
    cpu = time.process_time() - marks["cpu"]
    print(f"CPU_US {1e6 * cpu / environment.stats.total.num_requests:.2f}", flush=True)
"""
LEAST_THROUGHPUT = 0.8
_SECONDS = 6


def cpu_us_a_request(host: str, files: str, folder: Path, *arguments: str) -> float:
    """Run the locustfile for a few seconds; return its CPU a request in microseconds."""
    locust = start_locust(
        "--headless", "--only-summary", "--users", "4", "--spawn-rate", "4", "--reset-stats",
        "--run-time", f"{_SECONDS}s", "--host", host, *arguments, files=files, cwd=folder,
    )  # fmt: skip
    code, output = end_of(locust)
    found = re.search(r"CPU_US ([0-9.]+)", output)
    if code != 0 or found is None:
        raise RuntimeError(f"Locust ended with {code}: {output[-2000:]}")
    return float(found[1])


def main(argv: list[str]) -> int:
    """Compare; 0 when the plugin keeps to its limit, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(argv).rounds
    plugin = ROOT / "loadtests" / "_plugin.py"
    costs: dict[str, list[float]] = {"stock": [], "plugin": []}
    with tempfile.TemporaryDirectory() as name, stub_server() as stub:
        folder = Path(name)
        (folder / "theirs.py").write_text(LOCUSTFILE, encoding="utf-8")
        for turn in range(rounds):
            for kind in ("stock", "plugin") if turn % 2 == 0 else ("plugin", "stock"):
                out = folder / f"{kind}-{turn}"
                files = "theirs.py" if kind == "stock" else f"theirs.py,{plugin}"
                extra = () if kind == "stock" else ("--worthit-out", str(out))
                costs[kind].append(cpu_us_a_request(stub.url, files, folder, *extra))
    stock, ours = (statistics.median(costs[kind]) for kind in ("stock", "plugin"))
    print(f"stock FastHttpUser     {stock:7.1f} us of CPU a request  {costs['stock']}")
    print(f"with plugin, recording {ours:7.1f} us of CPU a request  {costs['plugin']}")
    print(f"throughput of a core, plugin to stock: {stock / ours:.3f} (limit {LEAST_THROUGHPUT})")
    return 0 if stock / ours >= LEAST_THROUGHPUT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
