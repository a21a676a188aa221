"""How much of the time was emulated?

Every nanosecond that a latency profile added is marked on its span (``worthit.emulated_ns``), so
that no report mixes emulated and measured time unseen.

Answer of ``emulated``: arm, service, operation (none for whole requests), spans, emulated_ms (mean
a marked span), share (of the marked spans' time). Of ``wholes``: arm, service, operation, which
(all, hits, misses), spans, emulated_ms, share, with all that runs inside the operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees
from analysis.calltree.stages import by_stage
from analysis.checks.cross_checks import roots
from analysis.formats.attributes import numbers
from analysis.kernels import sums
from analysis.questions.measured import Measured
from analysis.questions.rows import typed

KEY = "worthit.emulated_ns"
"""The attribute that carries the mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedRow:
    """Emulated time of an operation in an arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str | None
    operation: str | None
    """None for whole requests."""
    spans: int
    emulated_ms: float
    """Mean of a marked span."""
    share: float | None
    """Of the marked spans' time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRow:
    """Emulated time of an operation with all that runs inside it."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str
    operation: str
    which: str
    """all, hits or misses."""
    spans: int
    emulated_ms: float
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """How much of the time was emulated."""

    profile: str
    rows: tuple[EmulatedRow, ...]
    stages: tuple[EmulatedRow, ...]
    wholes: tuple[WholeRow, ...]


def answer(measured: Measured) -> Emulated:
    """Emulated time by arm: of operations, of stages, and with all that runs inside."""
    spans, tops = measured.spans, measured.roots
    marked = marks(spans)
    staged = by_stage(spans, measured.call_trees)
    return Emulated(
        profile=measured.manifest.profile,
        rows=typed(emulated(spans, marked, tops), EmulatedRow),
        stages=typed(emulated(staged, marked, tops), EmulatedRow),
        wholes=typed(wholes(spans, marked, measured.call_trees), WholeRow),
    )


def marks(spans: pd.DataFrame) -> pd.Series[float]:
    """The emulated ns of every span that carries the mark, by the spans' index."""
    if KEY in spans.columns:
        return spans[KEY].dropna()
    may_hold = spans["attributes"].str.contains(KEY, regex=False).fillna(value=False)
    return numbers(spans.loc[may_hold, "attributes"], KEY).fillna(0.0)


def emulated(
    spans: pd.DataFrame,
    marked_ns: pd.Series[float] | None = None,
    tops: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Emulated time by arm and operation, and of whole requests.

    ``marked_ns`` as ``marks`` gives and ``tops`` as ``roots``, where the same spans are asked
    about by other names.
    """
    columns = ["arm", "service", "operation", "spans", "emulated_ms", "share"]
    added = marks(spans) if marked_ns is None else marked_ns
    keys = ["arm", "service", "name"]
    marked = spans[[*keys, "duration_ns"]].take(_rows(spans.index, added.index))
    if marked.empty:
        return pd.DataFrame(columns=columns)
    marked = marked.assign(
        added=added.to_numpy(),
        took=marked["duration_ns"].astype("float64"),
    )
    groups = marked.groupby(keys, dropna=False)
    table = groups[["added", "took"]].sum()
    table["spans"] = groups.size()
    table = table.reset_index().rename(columns={"name": "operation"})
    tops = roots(spans) if tops is None else tops
    whole = tops[["arm"]].assign(took=tops["duration_ns"].astype("float64"))
    whole = whole.groupby("arm", dropna=False)["took"].agg(["sum", "size"])
    total = marked.groupby("arm", dropna=False)["added"].sum().reindex(whole.index).fillna(0.0)
    requests = pd.DataFrame({"added": total, "took": whole["sum"], "spans": whole["size"]})
    both = pd.concat([requests.reset_index(), table], ignore_index=True)
    both["emulated_ms"] = both["added"] / both["spans"] / 1e6
    both["share"] = (both["added"] / both["took"].where(both["took"] > 0)).clip(upper=1.0)
    return both.reindex(columns=columns)


_WHICH = ("all", "hits", "misses")


def wholes(
    spans: pd.DataFrame, marked_ns: pd.Series[float], call_trees: CallTrees
) -> pd.DataFrame:
    """Emulated time by arm and operation with all that runs inside it; hits and misses apart.

    A lookup is measured, the query inside it may be emulated: a hit makes none. Columns arm,
    service, operation, which (all, hits, misses), spans, emulated_ms (mean a span), share.
    """
    columns = ["arm", "service", "operation", "which", "spans", "emulated_ms", "share"]
    if not (marked_ns > 0).any():
        return pd.DataFrame(columns=columns)
    own = np.zeros(len(spans), np.int64)
    own[_rows(spans.index, marked_ns.index)] = marked_ns.to_numpy(np.int64)
    inside = sums.gathered(call_trees.queue, call_trees.parent, own[call_trees.order])
    took = call_trees.end - call_trees.start
    arms, names = pd.factorize(spans["arm"], use_na_sentinel=False)
    hit = spans["cache_hit"]
    kind = np.where(hit.isna(), 0, np.where(hit.fillna(value=False).astype(bool), 1, 2))
    operations = len(call_trees.operations)
    group = (arms[call_trees.order] * operations + call_trees.operation) * 3 + kind[
        call_trees.order
    ]
    size = len(names) * operations * 3
    table = np.stack(
        [
            np.bincount(group, minlength=size),
            np.bincount(group, np.minimum(inside, took), minlength=size),
            np.bincount(group, took, minlength=size),
        ]
    ).reshape(3, len(names), operations, 3)
    table = np.concatenate([table.sum(axis=3, keepdims=True), table[..., 1:]], axis=3)
    rows = [
        (
            names[arm] if isinstance(names[arm], str) else None,
            *call_trees.operations.iloc[operation],
            _WHICH[which],
            int(count),
            added / count / 1e6,
            added / whole if whole else 0.0,
        )
        for arm, operation, which in np.argwhere(table[0] > 0)
        for count, added, whole in [table[:, arm, operation, which]]
    ]
    return pd.DataFrame(rows, columns=columns)


def _rows(index: pd.Index, labels: pd.Index) -> NDArray[np.int64]:
    """Where in ``index`` the labels are, which are some of its own, in order."""
    if isinstance(index, pd.RangeIndex):
        return ((labels.to_numpy() - index.start) // index.step).astype(np.int64)
    return np.flatnonzero(index.isin(labels))
