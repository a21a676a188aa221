"""Traces with everything wrong that real ones have, drawn from a seeded generator."""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS = ("INTERNAL", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")


def draw(rng: np.random.Generator, traces: int, *, most_spans: int = 12) -> pd.DataFrame:
    """Draw traces whose parents are missing, cyclic or shared.

    Whose times stick out or are absent.

    Names are different within a trace, so that the canonical order leaves nothing to chance.
    """
    rows = []
    for trace in range(traces):
        count = int(rng.integers(1, most_spans + 1))
        ids = [f"{i:016x}" for i in range(count)]
        for i in range(count):
            start = int(rng.integers(0, 60))
            duration = int(rng.integers(0, 40)) if rng.random() > 0.08 else None
            span_id = ids[i] if rng.random() > 0.06 else ids[int(rng.integers(0, count))]
            rows.append(
                {
                    "trace_id": f"{trace:032x}",
                    "span_id": span_id,
                    "parent_span_id": _parent(rng, ids, i),
                    "service": f"s{int(rng.integers(0, 3))}",
                    "name": f"op{i}",
                    "kind": KINDS[int(rng.integers(0, len(KINDS)))],
                    "start_ns": start,
                    "duration_ns": duration,
                    "follows_from": bool(rng.random() < 0.05),
                }
            )
            if rng.random() < 0.04:
                rows.append(dict(rows[-1]))
    table = pd.DataFrame(rows)
    table["duration_ns"] = table["duration_ns"].astype("Int64")
    return table.astype({"parent_span_id": "str"})


def _parent(rng: np.random.Generator, ids: list[str], i: int) -> str | None:
    """Mostly an earlier span; at times none, a missing one, itself, or a later one (a cycle)."""
    what = rng.random()
    if i == 0 or what < 0.04:
        return None
    if what < 0.08:
        return "f" * 16
    if what < 0.14:
        return ids[int(rng.integers(0, len(ids)))]
    return ids[int(rng.integers(0, i))]


def draw_crowded(rng: np.random.Generator, traces: int, *, most_spans: int = 10) -> pd.DataFrame:
    """Draw traces whose spans are alike: few times, names and ids, many delivered again.

    All that tells two spans apart may be the id, the kind or the parent.
    """
    rows: list[dict[str, object]] = []
    for trace in range(traces):
        own: list[dict[str, object]] = []
        for _ in range(int(rng.integers(1, most_spans + 1))):
            if own and rng.random() < 0.25:
                own.append(dict(own[int(rng.integers(0, len(own)))]))
                continue
            above = int(rng.integers(-1, 5))
            own.append(
                {
                    "trace_id": f"{trace:032x}",
                    "span_id": f"{int(rng.integers(0, 4)):016x}",
                    "parent_span_id": None if above < 0 else f"{above:016x}",
                    "service": "s",
                    "name": f"op{int(rng.integers(0, 2))}",
                    "kind": KINDS[int(rng.integers(0, len(KINDS)))],
                    "start_ns": 10 * int(rng.integers(0, 3)),
                    "duration_ns": (None, 0, 10, 20, 30)[int(rng.integers(0, 5))],
                    "follows_from": False,
                }
            )
        rows += own
    table = pd.DataFrame(rows)
    table["duration_ns"] = table["duration_ns"].astype("Int64")
    return table.astype({"parent_span_id": "str"})
