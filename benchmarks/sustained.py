"""How many chats per second does the whole setup sustain on one machine, with the LLM at 3 s?

Generator, simulator, PostgreSQL, Redis, recorder and the service's processes share the machine;
every span is recorded; a rate counts only when the run that held it is VALID. Rates go up from the
first until one fails (or down until one holds); then the parts' CPU says what was short.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from worthit.environment.simulator import Simulator
from worthit.process.workspace import Workspace

LLM_MS = 3_000
# Eight connections a process are busy a tenth of the time. More would only be opened in the first
# moment of overload, and then take turns on the two cores with what waits for them.
WARMUP = 0.7
"""Of the rate: with 3 s a reply, 400/s are 1,200 connections on either side of the service; opened
all at once they cost more than a second of what is sustained afterwards."""
SAMPLE_SECONDS = 0.5
FULL = 0.9
"""Of a core, or of all of them: from here on a part waits for CPU."""
EXPERIMENT = """
name = "sustained-{rate}"
question = "Does the whole hold {rate} chats a second?"
profile = "native"
seed = 7
instances = {instances}
cached_operation = "personality.lookup"
cached_collection = "personalities"

[load]
rates_per_s = [{rate}]
blocks = 1
block_s = {seconds}
warmup_s = 10
warmup_rate_per_s = {warmup_rate}

[load.knobs]
cold_fraction = 0.05

[data]
users = 500
memories_per_user = 5

[[arms]]
name = "on"
baseline = true
env = {{ REDIS_ENABLED = true, PERSONALITY_PREWARM = 50, DB_POOL_MIN = 8, DB_POOL_MAX = 8 }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What came of one rate."""

    rate: int
    verdict: str
    reasons: list[str]
    achieved_per_s: float
    lag_p99_ms: float
    cpu_share: dict[str, float]
    """Of each part, CPU seconds a second of the counted block."""
    ended: dict[str, int]
    """How the counted requests ended, by status and error."""
    spans: int


class CpuWatch:
    """CPU seconds of a process that the harness did not start, sampled in a thread."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._samples: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def share(self, start_ns: int, end_ns: int) -> float:
        """Return CPU seconds a second between two moments."""
        inside = [sample for sample in self._samples if start_ns <= sample[0] <= end_ns]
        if len(inside) < 2:
            return float("nan")
        return (inside[-1][1] - inside[0][1]) / ((inside[-1][0] - inside[0][0]) / 1e9)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            used = self._process.cpu_times()
            self._samples.append((time.time_ns(), used.user + used.system))


def _run(
    rate: int, *, seconds: int, instances: int, llm: Simulator, watch: CpuWatch, folder: Path
) -> Held:
    plan = folder / f"sustained-{rate}.toml"
    plan.write_text(
        EXPERIMENT.format(
            rate=rate, instances=instances, seconds=seconds, warmup_rate=round(rate * WARMUP)
        )
    )
    ended = subprocess.run(
        [sys.executable, "-m", "worthit", "run", str(plan), "--out", str(folder), "--quiet"],
        env={**os.environ, "LLM_BASE_URL": llm.base_url},
        capture_output=True,
        text=True,
        check=False,
    )
    found = sorted(folder.glob(f"*_sustained-{rate}"))
    if not found:
        raise SystemExit(f"The run at {rate}/s left nothing behind: {ended.stderr.strip()}")
    manifest = json.loads((found[-1] / "manifest.json").read_text())
    generator = manifest["generator"][0] if manifest["generator"] else {}
    counted = [block for block in manifest["blocks"] if not block["warmup"]]
    start_ns, end_ns = counted[0]["start_ns"], counted[-1]["end_ns"]
    shares = _cpu_share(found[-1], start_ns, end_ns)
    return Held(
        rate=rate,
        verdict=manifest["verdict"]["verdict"],
        reasons=manifest["verdict"]["reasons"],
        achieved_per_s=generator.get("achieved_per_s", 0.0),
        lag_p99_ms=generator.get("lag_p99_ms", float("nan")),
        cpu_share={**shares, "LLM simulator": watch.share(start_ns, end_ns)},
        ended=_ended(found[-1], {block["block"] for block in counted}),
        spans=manifest["recorded"]["spans"],
    )


def _cpu_share(run: Path, start_ns: int, end_ns: int) -> dict[str, float]:
    """Return each part's CPU seconds a second within the counted blocks."""
    counters = pd.read_parquet(run / "counters.parquet")
    inside = counters[counters.t_ns.between(start_ns, end_ns)].sort_values("t_ns")
    shares = {}
    processes = inside[inside.name == "cpu_seconds"].groupby(["source", "labels"])
    for (source, labels), samples in processes:
        elapsed = (samples.t_ns.iloc[-1] - samples.t_ns.iloc[0]) / 1e9
        if elapsed > 0:
            used = samples.value.iloc[-1] - samples.value.iloc[0]
            shares[_called(str(source), json.loads(str(labels)))] = float(used / elapsed)
    machine = inside[inside.name == "cpu_percent"].value.mean()
    shares["the machine, all of it"] = float(machine) / 100 * (os.cpu_count() or 1)
    return shares


def _called(source: str, labels: dict[str, Any]) -> str:
    return str(labels["part"]) if "part" in labels else f"{source}, process {labels.get('pid')}"


def _ended(run: Path, blocks: set[int]) -> dict[str, int]:
    requests = pd.read_parquet(run / "requests.parquet", columns=["block", "status_code", "error"])
    counted = requests[requests.block.isin(blocks)]
    how = counted.status_code.astype(str) + " " + counted.error.fillna("").astype(str)
    return {str(one): int(count) for one, count in how.value_counts().head(5).items()}


def _tell(held: Held) -> None:
    print(
        f"{held.rate:>5}/s  {held.verdict:<8} achieved {held.achieved_per_s:6.1f}/s, lag p99 "
        f"{held.lag_p99_ms:6.1f} ms, {held.spans} spans",
        flush=True,
    )
    for reason in held.reasons:
        print(f"         {reason}")
    if held.ended.keys() != {"200 "}:
        print(f"         requests by how they ended: {held.ended}", flush=True)


def _tell_cpu(held: Held) -> None:
    """Print where the CPU went, and which part had none left."""
    cores = os.cpu_count() or 1
    print(f"CPU at {held.rate}/s, {held.verdict}, on {cores} cores (cores in use, ms a request):")
    for part, share in sorted(held.cpu_share.items(), key=lambda one: -one[1]):
        print(f"  {share:5.2f}  {1000 * share / held.rate:5.2f}  {part}")
    machine = held.cpu_share.get("the machine, all of it", 0.0)
    full = [part for part, share in held.cpu_share.items() if FULL <= share < machine]
    if machine >= FULL * cores:
        print(f"short: CPU, {machine:.2f} of {cores} cores in use")
    elif full:
        print(f"short: the one core that a process can use, of {', '.join(full)}")


async def _search(options: argparse.Namespace) -> int:
    best: Held | None = None
    failed: Held | None = None
    keep = nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory()
    with keep as name:
        async with Workspace() as workspace, Simulator(workspace, profile="native") as llm:
            await llm.fault(kind="chat", extra_ms=LLM_MS)
            watch = CpuWatch(llm.process.pid)
            rate = options.rate
            while rate > 0 and (best is None or failed is None):
                held = await asyncio.to_thread(
                    _run,
                    rate,
                    seconds=options.seconds,
                    instances=options.instances,
                    llm=llm,
                    watch=watch,
                    folder=Path(name),
                )
                _tell(held)
                if held.verdict == "VALID":
                    best, rate = held, rate + options.step
                else:
                    failed, rate = held, rate - options.step
            watch.stop()
    for held in filter(None, (best, failed)):
        _tell_cpu(held)
    print(f"highest rate held: {best.rate if best else 'none'}   (aim: at least 300 on 2 cores)")
    return 0 if best is not None else 1


def main(argv: list[str]) -> int:
    """Search for the highest rate and print what was short beyond it."""
    parser = argparse.ArgumentParser(prog="benchmarks sustained", description=__doc__)
    parser.add_argument("--rate", type=int, default=300, help="the first rate to try")
    parser.add_argument("--step", type=int, default=25, help="from one rate to the next")
    parser.add_argument("--seconds", type=int, default=30, help="counted, after 10 s of warm-up")
    parser.add_argument(
        "--instances", type=int, default=os.cpu_count(), help="processes of the service"
    )
    parser.add_argument("--keep", type=Path, help="keep the run directories here")
    return asyncio.run(_search(parser.parse_args(argv)))
