"""Which traces of a run does somebody want to see? All, one, one arm's, or the slowest few."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.rundir.run import Run, measured
from worthit.errors import UsageError

NAMES_SHOWN: Final = 8
"""How many names an error lists before it says how many more there are: one line of a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to send. All fields empty: everything, warm-up included."""

    trace_id: str | None = None
    """One trace, by its whole id or by a beginning that only it has."""
    slowest: int | None = None
    """This many traces whose first span took longest; warm-up is never among them."""
    arm: str | None = None
    """Only traces of this arm; with ``slowest``, the slowest of this arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The traces to send, and how much that is."""

    traces: frozenset[str] | None
    """Ids of the traces; None stands for all of the run, so that no set of millions is built."""
    trace_count: int
    span_count: int


def choose(run: Run, wanted: Selection) -> Chosen:
    """Find the traces of ``run`` that ``wanted`` asks for, from its narrow columns only.

    Raises
    ------
    UsageError
        When the run has no such trace or arm; the message lists what there is.
    """
    columns = ["trace_id", "span_id", "parent_span_id", "duration_ns", "arm", "block"]
    spans = pq.read_table(run.path / "spans.parquet", columns=columns)
    if spans.num_rows == 0:
        raise UsageError(
            f"{run.path}: the run holds no spans, so there is nothing to send; record it again."
        )
    if wanted == Selection():
        count = pc.count_distinct(spans["trace_id"]).as_py()
        return Chosen(traces=None, trace_count=count, span_count=spans.num_rows)
    table: pd.DataFrame = spans.to_pandas()
    if wanted.arm is not None:
        table = _of_arm(run.path, table, wanted.arm)
    if wanted.trace_id is not None:
        table = _one_trace(run.path, table, wanted.trace_id)
    if wanted.slowest is not None:
        table = _slowest(run, table, wanted.slowest)
    traces = frozenset(table["trace_id"])
    return Chosen(traces=traces, trace_count=len(traces), span_count=len(table))


def _of_arm(path: Path, table: pd.DataFrame, arm: str) -> pd.DataFrame:
    kept = table[table["arm"] == arm]
    if kept.empty:
        arms = sorted(table["arm"].dropna().unique())
        there = f"its arms are {_listed(arms)}" if arms else "its spans name no arm"
        raise UsageError(f"{path}: no span of arm '{arm}' was found; {there}.")
    return kept


def _one_trace(path: Path, table: pd.DataFrame, asked: str) -> pd.DataFrame:
    beginning = asked.strip().lower()
    kept = table[table["trace_id"].str.startswith(beginning)] if beginning else table.iloc[:0]
    found = kept["trace_id"].unique()
    if len(found) == 0:
        raise UsageError(
            f"{path}: no trace whose id begins with '{asked}' was found among its"
            f" {table['trace_id'].nunique():,};"
            " take an id from the report or from requests.parquet."
        )
    if len(found) > 1:
        raise UsageError(
            f"{path}: '{asked}' is the beginning of {len(found):,} trace ids ({_listed(found)});"
            " give more of it."
        )
    return kept


def _slowest(run: Run, table: pd.DataFrame, count: int) -> pd.DataFrame:
    counted = measured(table, run.manifest)
    # A caller that records no spans is a parent outside the run: the trace begins at its child.
    begins = counted["parent_span_id"].isna() | ~counted["parent_span_id"].isin(table["span_id"])
    roots = counted[begins & counted["duration_ns"].notna()]
    if roots.empty:
        raise UsageError(
            f"{run.path}: no trace with a finished first span was found outside warm-up, so none"
            " is the slowest; send all of them, without --slowest."
        )
    slow = roots.groupby("trace_id")["duration_ns"].max().nlargest(count)
    return table[table["trace_id"].isin(slow.index)]


def _listed(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(list(names)[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
