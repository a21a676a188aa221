"""What did PostgreSQL execute in each arm's blocks, statement by statement?

The recorder reads ``pg_stat_statements`` once a second. Of each block the stretch between its
first and its last reading is taken; the spans of queries that ended in it are held against what
was counted in it. Nothing else is in a stretch: no start-up, no warm-up, no other arm. PostgreSQL
counts a statement when it ends, which is while its span lasts, so what remains open are the calls
that were under way at one of the two readings; they are counted from the spans themselves.

Not counted: control statements, which are no queries in spans either; the recorder's own readings;
statements inside of functions, unless the extension is older than PostgreSQL 14's. Autovacuum
sends no statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.calls.classify import find_calls, queries_to
from analysis.calls.statements import of_texts
from analysis.checks.counts.statement_counts import is_query
from analysis.rundir.manifest import Block, Manifest
from analysis.stats.intervals import Floats

NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementCount:
    """One statement in an arm's stretches, as the spans and PostgreSQL counted it."""

    statement: str
    from_spans: int
    counted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCount:
    """An arm's stretches together."""

    arm: str
    stretches: tuple[tuple[float, float], ...]
    """Begin and end of each, ns."""
    from_spans: int
    """Queries that ended in them."""
    under_way: int
    """Queries that were under way at the begin or end of one: each may be in it or not."""
    counted: float
    statements: tuple[StatementCount, ...]
    """Those on which the two differ most come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """All readings: when each began and ended, and the calls of each statement by then."""

    begins: Floats
    ends: Floats
    calls: Floats
    """One row a reading, one column a statement."""
    statements: tuple[str, ...]
    """Their normal forms."""


def by_arm(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame
) -> tuple[ArmCount, ...]:
    """Hold spans and PostgreSQL against each other in each arm's blocks.

    Nothing where a block of some arm lasted for less than two readings, where somebody reset the
    counts meanwhile, or where the extension was not asked.
    """
    readings = _readings(counters)
    if readings is None:
        return ()
    calls = _queries(spans)
    counts = []
    for arm in [one.name for one in manifest.arms]:
        own = [block for block in manifest.measured_blocks if block.arm == arm]
        pairs = list(_stretches(own, readings))
        if not pairs:
            return ()
        counts.append(_of_arm(arm, pairs, readings, calls))
    if any((np.diff(readings.calls[a : b + 1], axis=0) < 0).any() for a, b in _all(counts)):
        return ()
    return tuple(count for count, _ in counts)


def short_of_readings(manifest: Manifest, counters: pd.DataFrame) -> tuple[str, ...]:
    """Arms none of whose blocks holds two readings, where there are readings."""
    readings = _readings(counters)
    if readings is None:
        return ()
    blocks = {
        arm.name: [block for block in manifest.measured_blocks if block.arm == arm.name]
        for arm in manifest.arms
    }
    return tuple(arm for arm, own in blocks.items() if own and not list(_stretches(own, readings)))


_Pairs = list[tuple[int, int]]


def _all(counts: list[tuple[ArmCount, _Pairs]]) -> Iterator[tuple[int, int]]:
    for _, pairs in counts:
        yield from pairs


def _readings(counters: pd.DataFrame) -> _Readings | None:
    """Read the recorder's readings; None where there are fewer than two."""
    rows = counters[counters["source"] == "postgres"]
    taken = rows[rows["name"] == "statement_reading"].sort_values("t_ns")
    texts = {
        str(label["queryid"]): str(label["query"])
        for label in map(
            json.loads, rows.loc[rows["name"] == "statement_calls", "labels"].unique()
        )
        if "queryid" in label
    }
    queries = {number: text for number, text in texts.items() if is_query(text)}
    if len(taken) < 2 or not queries:  # noqa: PLR2004 - begin and end
        return None
    said = rows[rows["name"] == "statement_calls_by_id"]
    said = said.assign(queryid=[json.loads(label)["queryid"] for label in said["labels"]])
    table = said.pivot_table(index="t_ns", columns="queryid", values="value", aggfunc="last")
    table = table.reindex(taken["t_ns"]).ffill().fillna(0.0).reindex(columns=list(queries))
    begins = taken["t_ns"].to_numpy(np.float64)
    forms = of_texts(pd.Series(list(queries.values()), dtype="str"), "postgresql")
    return _Readings(
        begins=begins,
        ends=begins + taken["value"].to_numpy(np.float64) * NS_PER_S,
        calls=table.fillna(0.0).to_numpy(np.float64),
        statements=tuple(map(str, forms)),
    )


def _queries(spans: pd.DataFrame) -> pd.DataFrame:
    """Give begin, end and statement of each query that PostgreSQL may have counted."""
    if not spans.index.is_unique:
        spans = spans.reset_index(drop=True)
    chosen = queries_to(spans, "postgresql")
    found = find_calls(spans)
    forms = pd.Series(found.statements, dtype="str").reindex(found.statement).to_numpy()
    by_row = pd.Series(forms, index=spans.index[found.rows])
    starts = chosen["start_ns"].to_numpy(np.float64)
    took = chosen["duration_ns"].fillna(0).to_numpy(np.float64)
    statements = by_row.reindex(chosen.index).to_numpy()
    return pd.DataFrame({"start": starts, "end": starts + took, "statement": statements})


def _stretches(blocks: list[Block], readings: _Readings) -> Iterator[tuple[int, int]]:
    """Give the first and last reading in each block that holds two."""
    for block in blocks:
        first = int(np.searchsorted(readings.begins, block.start_ns, side="left"))
        last = int(np.searchsorted(readings.ends, block.end_ns, side="right")) - 1
        if last > first:
            yield first, last


def _of_arm(
    arm: str, pairs: _Pairs, readings: _Readings, calls: pd.DataFrame
) -> tuple[ArmCount, _Pairs]:
    start, end = calls["start"].to_numpy(), calls["end"].to_numpy()
    ended = np.zeros(len(calls), bool)
    under_way = 0
    grown = np.zeros(len(readings.statements))
    for first, last in pairs:
        ended |= (end > readings.ends[first]) & (end <= readings.begins[last])
        for at in (first, last):
            # a call that ended just before the reading, or began while it was taken, is settled
            under_way += int(((start <= readings.ends[at]) & (end >= readings.begins[at])).sum())
        grown += readings.calls[last] - readings.calls[first]
    spoken = calls["statement"][ended].value_counts()
    counted = pd.Series(grown, index=list(readings.statements)).groupby(level=0).sum()
    both = pd.DataFrame({"spans": spoken, "counted": counted}).fillna(0.0)
    both = both[(both > 0).any(axis=1)]
    both = both.loc[(both["spans"] - both["counted"]).abs().sort_values(ascending=False).index]
    return (
        ArmCount(
            arm=arm,
            stretches=tuple((readings.ends[a], readings.begins[b]) for a, b in pairs),
            from_spans=int(ended.sum()),
            under_way=under_way,
            counted=float(grown.sum()),
            statements=tuple(
                StatementCount(statement=str(name), from_spans=int(told), counted=float(own))
                for name, told, own in zip(both.index, both["spans"], both["counted"], strict=True)
            ),
        ),
        pairs,
    )
