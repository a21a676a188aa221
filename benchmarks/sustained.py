"""How many chats a second does the whole hold, with everything on one machine and the LLM at 3 s?

Generator, simulator, PostgreSQL, Redis, recorder and one service process share the machine; every
span is recorded; a rate counts only when the run that held it is VALID. Rates go up from the first
until one fails (or down until one holds); then the parts' CPU says what was short.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.parts.simulator import Simulator
from harness.workspace import Workspace

LLM_MS = 3_000
STEP = 50
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
env = {{ REDIS_ENABLED = true, PERSONALITY_PREWARM = 50 }}
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
    """Of each part, CPU seconds a second of the run; the simulator's are in the machine's only."""
    spans: int


def _run(rate: int, *, seconds: int, instances: int, llm: str, folder: Path) -> Held:
    plan = folder / f"sustained-{rate}.toml"
    plan.write_text(
        EXPERIMENT.format(
            rate=rate, instances=instances, seconds=seconds, warmup_rate=min(rate, 100)
        )
    )
    ended = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(plan), "--out", str(folder), "--quiet"],
        env={**os.environ, "LLM_BASE_URL": llm},
        capture_output=True,
        text=True,
        check=False,
    )
    found = sorted(folder.glob(f"*_sustained-{rate}"))
    if not found:
        raise SystemExit(f"The run at {rate}/s left nothing behind: {ended.stderr.strip()}")
    manifest = json.loads((found[-1] / "manifest.json").read_text())
    generator = manifest["generator"][0] if manifest["generator"] else {}
    return Held(
        rate=rate,
        verdict=manifest["verdict"]["verdict"],
        reasons=manifest["verdict"]["reasons"],
        achieved_per_s=generator.get("achieved_per_s", 0.0),
        lag_p99_ms=generator.get("lag_p99_ms", float("nan")),
        cpu_share=_cpu_share(found[-1], manifest["blocks"]),
        spans=manifest["recorded"]["spans"],
    )


def _cpu_share(run: Path, blocks: list[dict[str, object]]) -> dict[str, float]:
    """Return each part's CPU seconds a second within the counted blocks."""
    counters = pd.read_parquet(run / "counters.parquet")
    counted = [block for block in blocks if not block["warmup"]]
    start, end = counted[0]["start_ns"], counted[-1]["end_ns"]
    cpu = counters[
        (counters.name == "cpu_seconds") & counters.t_ns.between(start, end)
    ].sort_values("t_ns")
    shares = {}
    for (source, labels), samples in cpu.groupby(["source", "labels"]):
        elapsed = (samples.t_ns.iloc[-1] - samples.t_ns.iloc[0]) / 1e9
        if elapsed > 0:
            used = samples.value.iloc[-1] - samples.value.iloc[0]
            shares[f"{source} {labels}"] = float(used / elapsed)
    machine = counters[
        (counters.name == "cpu_percent") & counters.t_ns.between(start, end)
    ].value.mean()
    shares["the machine, all of it"] = float(machine) / 100 * (os.cpu_count() or 1)
    return shares


def _tell(held: Held) -> None:
    print(
        f"{held.rate:>5}/s  {held.verdict:<8} achieved {held.achieved_per_s:6.1f}/s, lag p99 "
        f"{held.lag_p99_ms:6.1f} ms, {held.spans} spans",
        flush=True,
    )
    for reason in held.reasons:
        print(f"         {reason}")


async def _search(options: argparse.Namespace) -> int:
    best: Held | None = None
    failed: Held | None = None
    with tempfile.TemporaryDirectory() as name:
        async with Workspace() as workspace, Simulator(workspace, profile="native") as llm:
            await llm.fault(kind="chat", extra_ms=LLM_MS)
            rate = options.rate
            while rate > 0 and (best is None or failed is None):
                held = await asyncio.to_thread(
                    _run,
                    rate,
                    seconds=options.seconds,
                    instances=options.instances,
                    llm=llm.base_url,
                    folder=Path(name),
                )
                _tell(held)
                if held.verdict == "VALID":
                    best, rate = held, rate + STEP
                else:
                    failed, rate = held, rate - STEP
    if failed is not None:
        print(f"CPU seconds a second of each part at {failed.rate}/s, on {os.cpu_count()} cores:")
        for part, share in sorted(failed.cpu_share.items(), key=lambda one: -one[1]):
            print(f"  {share:5.2f}  {part}")
    print(f"highest rate held: {best.rate if best else 'none'}   (aim: at least 400 on 2 cores)")
    return 0 if best is not None else 1


def main(argv: list[str]) -> int:
    """Search for the highest rate and print what was short beyond it."""
    parser = argparse.ArgumentParser(prog="benchmarks sustained", description=__doc__)
    parser.add_argument("--rate", type=int, default=400, help="the first rate to try")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--instances", type=int, default=1)
    return asyncio.run(_search(parser.parse_args(argv)))
