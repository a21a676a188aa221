"""Does the open loop keep its times? Delay at 500/s, and 3,000 requests in flight, on one core.

One worker (a Python process, so one core at most), recording on, against a stub server in a
process of its own. Limits: delay p99 at most 5 ms at 500 arrivals/s and achieved within 1 % of
offered; 1000/s against a server that takes 3 s (3,000 in flight) without a missed arrival. On a
machine that has other things to do, the delay shows those: the load average is printed with it.
What an hour of requests does to memory is ``load_recording_memory``'s question.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.load.locust_process import end_of, recorded, start_locust, stub_server

DELAY_LIMIT_MS = 5.0
RATE_TOLERANCE = 0.01


def drive(
    name: str, *, rate: int, seconds: int, latency_ms: float, folder: Path
) -> tuple[dict[str, Any], int]:
    """Run one load; return the generator's row and how many requests the server saw."""
    out = folder / name.replace("/", " a ")
    with stub_server(latency_ms=latency_ms) as stub:
        locust = start_locust(
            "personality_lookup", "--headless", "--only-summary", "--host", stub.url,
            "--arrival-rate", str(rate), "--duration", f"{seconds}s", "--worthit-out", str(out),
        )  # fmt: skip
        end_of(locust, within_seconds=seconds + 40)
        seen = int(stub.seen()["requests"])
    document = json.loads((out / "generator.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = document["generator"][0]
    rows = len(recorded(out))
    worker = document["workers"][0]
    judged = ", ".join([document["verdict"], *document["reasons"]])
    print(
        f"{name}: offered {row['offered_per_s']:.1f}/s, achieved {row['achieved_per_s']:.1f}/s, "
        f"schedule delay p50 {row['lag_p50_ms']:.2f} ms, p99 {row['lag_p99_ms']:.2f} ms, "
        f"max {row['lag_max_ms']:.1f} ms, in flight up to {row['in_flight_max']}, "
        f"{row['arrivals_sent']} sent of {row['arrivals_planned']}, {seen} seen, {rows} recorded, "
        f"{1e6 * worker['cpu_seconds'] / row['arrivals_sent']:.0f} us of CPU per arrival, "
        f"longest GC pause {worker['gc_pause_max_ms']:.1f} ms, "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; {judged}"
    )
    return row, seen


def all_sent(row: dict[str, Any], seen: int) -> bool:
    """Say whether every planned arrival reached the server, at the offered rate."""
    kept = row["achieved_per_s"] >= (1 - RATE_TOLERANCE) * row["offered_per_s"]
    return bool(kept and row["dropped"] == 0 and seen == row["arrivals_planned"])


def main(argv: list[str]) -> int:
    """Measure both; 0 when each keeps to its limit, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    seconds = parser.parse_args(argv).seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row, seen = drive("500/s", rate=500, seconds=seconds, latency_ms=5, folder=folder)
        delay_ok = row["lag_p99_ms"] <= DELAY_LIMIT_MS and all_sent(row, seen)
        print(f"  delay p99 to its limit of 5 ms: {row['lag_p99_ms'] / DELAY_LIMIT_MS:.2f}")
        row, seen = drive("in flight", rate=1000, seconds=seconds, latency_ms=3e3, folder=folder)
        flight_ok = all_sent(row, seen)
        print(f"  in flight to 3,000: {row['in_flight_max'] / 3000:.2f}")
    return 0 if delay_ok and flight_ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
