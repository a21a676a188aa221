"""What does a chat cost the service: against a plain peer, traced and not, 50 and 500 in flight?

Four candidates take turns against the same servers: the service with every stage and every span,
the service untraced, a peer that is written plainly and instrumented automatically, and that peer
without instrumentation. CPU seconds of their processes are counted, so that a busy machine moves
the figures less. Ratios are of medians over the turns.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate

import psutil

from benchmarks.support.chat_servers import Measured, Servers, drive_at, servers, service
from benchmarks.support.span_costs import print_span_costs

SERVICE = [sys.executable, "-m", "reference_service"]
PEER = [sys.executable, "-m", "benchmarks.peer"]
IN_FLIGHT = 50
PEER_RATE_PER_S = 40.0
"""Of the Poisson arrivals of the first comparison: what the peer carries on one core. The model
holds each reply for so long that 50 are in flight (Little: L = lambda W)."""
RATE_PER_S = 200.0
"""Of the Poisson arrivals of the second comparison, the same ones with 50 in flight and 500."""

ARRIVALS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the services, running."""

    name: str
    url: str
    process: psutil.Process


@asynccontextmanager
async def _candidates(running: Servers, names: list[str]) -> AsyncIterator[dict[str, Candidate]]:
    # Two cores shared by everything may hold Redis up for 50 ms; the fallback then must not shed.
    calm = {"LOG_LEVEL": "WARNING", "FALLBACK_WAIT_SECONDS": "5"}
    traced = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": running.recorder.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_LOGS_EXPORTER": "none",
        # The same for both: the SDK's own queue is small enough to lose the peer's spans.
        "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
        **calm,
    }
    known = {
        "service traced": (SERVICE, traced),
        "service untraced": (SERVICE, calm),
        "peer traced": (["opentelemetry-instrument", *PEER], traced),
        "peer untraced": (PEER, {}),
    }
    async with AsyncExitStack() as stack:
        found = {}
        for name in names:
            command, env = known[name]
            if command[0] == "opentelemetry-instrument":
                command = [str(_beside_python("opentelemetry-instrument")), *command[1:]]
            url, process = await stack.enter_async_context(
                service(running, name.replace(" ", "-"), command, env)
            )
            found[name] = Candidate(name=name, url=url, process=process)
        yield found


def _beside_python(name: str) -> str:
    return f"{sys.executable.rpartition('/')[0]}/{name}"


async def _rounds(
    candidates: dict[str, Candidate], *, rounds: int, arrivals_s: list[float]
) -> dict[str, float]:
    """Let the candidates take turns; return the median CPU milliseconds a request of each."""
    costs: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        order = list(candidates.values())
        for candidate in order if number % 2 else reversed(order):
            found = await drive_at(
                candidate.url,
                candidate.process,
                arrivals_s=arrivals_s,
                connections=2 * IN_FLIGHT,
            )
            _refuse_failures(candidate.name, found)
            if number:  # the first turn warms caches, pools and prepared statements
                costs[candidate.name].append(found.cpu_ms)
    return {name: statistics.median(cost) for name, cost in costs.items()}


def _refuse_failures(name: str, found: Measured) -> None:
    if found.failures:
        raise SystemExit(
            f"{name}: {found.failures} of {found.requests} requests failed, so the figures would "
            "be of failures; is the machine busy with something else?"
        )


async def _compare(rounds: int, requests: int, only: str | None) -> int:
    async with servers() as running:
        if only != "in-flight":
            await _against_peer(running, rounds, requests)
        if only != "peer":
            flight = await _in_flight(running, rounds)
            print(f"500 / 50 in flight, same arrivals:  {flight:.2f}   (aim: 0.85 to 1.15)")
        await asyncio.sleep(1)
        stats = await running.recorder.stats()
        print(f"spans recorded {stats['spans']}, refused {stats['refused']}")
    print_span_costs()
    return 0


async def _against_peer(running: Servers, rounds: int, requests: int) -> None:
    names = ["service traced", "service untraced", "peer traced", "peer untraced"]
    await running.llm.fault(kind="chat", extra_ms=1000 * IN_FLIGHT / PEER_RATE_PER_S)
    rng = random.Random(7)
    gaps = (rng.expovariate(PEER_RATE_PER_S) for _ in range(requests))
    async with _candidates(running, names) as candidates:
        cost = await _rounds(candidates, rounds=rounds, arrivals_s=list(accumulate(gaps)))
    await running.llm.fault()
    print(
        f"CPU milliseconds a chat request, all stages, {PEER_RATE_PER_S:g} a second, each held "
        f"{IN_FLIGHT / PEER_RATE_PER_S:g} s by the model ({IN_FLIGHT} in flight):"
    )
    for name, value in cost.items():
        print(f"  {name:<17} {value:5.2f}")
    peer = cost["service traced"] / cost["peer traced"]
    tracing = cost["service traced"] / cost["service untraced"]
    print(f"service / peer, both traced:   {peer:.2f}   (aim: at most 0.50)")
    print(f"service traced / untraced:     {tracing:.2f}   (a finding: the parts follow)")
    peers = cost["peer traced"] / cost["peer untraced"]
    print(f"peer traced / untraced:        {peers:.2f}   (a finding)")


async def _in_flight(running: Servers, rounds: int) -> float:
    """Return CPU a request at 500 in flight over that at 50, on average.

    The arrivals are the same; the model holds each ten times as long (Little: L = lambda W).
    """
    cost: dict[int, list[float]] = {50: [], 500: []}
    rng = random.Random(7)
    gaps = (rng.expovariate(RATE_PER_S) for _ in range(ARRIVALS))
    arrivals_s = list(accumulate(gaps))
    async with _candidates(running, ["service traced"]) as candidates:
        [candidate] = candidates.values()
        for number in range(rounds + 1):
            for in_flight in (50, 500) if number % 2 else (500, 50):
                held_ms = 1000 * in_flight / RATE_PER_S
                await running.llm.fault(kind="chat", extra_ms=held_ms)
                found = await drive_at(
                    candidate.url,
                    candidate.process,
                    arrivals_s=arrivals_s,
                    connections=round(1.5 * in_flight),
                )
                _refuse_failures(candidate.name, found)
                if number:
                    cost[in_flight].append(found.cpu_ms)
    await running.llm.fault()
    print(
        f"CPU milliseconds a request: {statistics.median(cost[50]):.2f} with 50 in flight, "
        f"{statistics.median(cost[500]):.2f} with 500"
    )
    return statistics.median(cost[500]) / statistics.median(cost[50])


def main(argv: list[str]) -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--only", choices=["peer", "in-flight"], help="one of the two comparisons")
    options = parser.parse_args(argv)
    return asyncio.run(_compare(options.rounds, options.requests, options.only))
