"""What happened when? The run's events, and where the schedule stands now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from worthit.contract import manifest
from worthit.contract.plan import Block
from worthit.contract.tables import EVENTS
from worthit.experiments.plan import Plan

NS_PER_S: Final = 1_000_000_000


class Events:
    """The run's events, in order of their telling."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.rows: list[tuple[int, str, str]] = []

    def add(self, kind: str, t_ns: int | None = None, **detail: object) -> None:
        """Note an event, now or at `t_ns`."""
        when = self._now_ns() if t_ns is None else t_ns
        self.rows.append((when, kind, json.dumps(detail)))

    def add_schedule(self, plan: Plan, t0_ns: int, until_ns: int) -> None:
        """Note the begin and end of every block and step that had begun by `until_ns`."""
        steps: dict[int, list[int]] = {}
        for block in blocks_run(plan, t0_ns, until_ns):
            about = {"block": block.block, "arm": block.arm, "step": block.step}
            self.add("block_start", block.start_ns, **about)
            self.add("block_end", block.end_ns, **about)
            if not block.warmup:
                ends = steps.setdefault(block.step, [block.start_ns, block.end_ns])
                ends[1] = block.end_ns
        for step, (start_ns, end_ns) in steps.items():
            self.add("step_start", start_ns, step=step)
            self.add("step_end", end_ns, step=step)
        if steps and plan.blocks[0].warmup:
            self.add("warmup_end", min(start for start, _ in steps.values()))

    def write(self, path: Path) -> None:
        """Write events.parquet, in order of time."""
        rows = sorted(self.rows)
        columns = {name: [row[index] for row in rows] for index, name in enumerate(EVENTS.names)}
        pq.write_table(pa.table(columns, schema=EVENTS), path)


def blocks_run(plan: Plan, t0_ns: int, until_ns: int) -> tuple[manifest.Block, ...]:
    """Give the manifest's ``blocks``: those that began before `until_ns`, cut there."""
    found = []
    for block in plan.blocks:
        start_ns = t0_ns + round(block.start_s * NS_PER_S)
        if start_ns >= until_ns:
            continue
        found.append(
            manifest.Block(
                block=block.block,
                pair=block.pair,
                arm=block.arm,
                step=block.step,
                rate_per_s=block.rate_per_s,
                warmup=block.warmup,
                start_ns=start_ns,
                end_ns=min(t0_ns + round(block.end_s * NS_PER_S), until_ns),
            )
        )
    return tuple(found)


def current_block(plan: Plan, elapsed_s: float) -> tuple[int, Block] | None:
    """Give the running block and its place; None before the first, between two, after the last.

    The place, not the block's number: what is left of an interrupted run keeps its numbers.
    """
    for place, block in enumerate(plan.blocks):
        if block.start_s <= elapsed_s < block.end_s:
            return place, block
    return None


def spell_position(plan: Plan, elapsed_s: float) -> str:
    """Say where the schedule stands, for the progress."""
    current = current_block(plan, elapsed_s)
    if current is None:
        if elapsed_s < 0:
            return "starting Locust"
        after = elapsed_s >= plan.load_s
        return "waiting for the last replies" if after else "between two steps"
    number, block = current
    if block.warmup:
        return f"warming up, arm {block.arm}"
    place = f"block {number + 1} of {len(plan.blocks)}"
    return f"load {block.rate_per_s:g}/s, arm {block.arm}, {place}"
