"""How much of the time was emulated?

Every nanosecond that a latency profile added is marked on its span (``worthit.emulated_ns``), so
that no report mixes emulated and measured time unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import self_time
from analysis.calltree.call_tree import CallTrees
from analysis.calltree.stages import of_stages, request_parents, stage_of
from analysis.formats.attributes import numbers
from analysis.kernels import sums
from analysis.questions.measured import Measured
from worthit.contract.names import EMULATED_NS as KEY


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
class StageEmulationRow:
    """Emulated time of a stage with all that runs inside it; of a root, of its own time."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str
    operation: str
    emulated_ms: float
    """Mean per request of the arm."""
    share: float | None
    """Of all of the stage's time, whether a span of it carries a mark or not."""


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
    stages: tuple[StageEmulationRow, ...]
    wholes: tuple[WholeRow, ...]


def answer(measured: Measured) -> Emulated:
    """Emulated time by arm: of operations, of stages, and with all that runs inside."""
    spans, tops = measured.spans, measured.roots
    marked = marks(spans)
    return Emulated(
        profile=measured.manifest.profile,
        rows=emulated(spans, marked, tops),
        stages=stages(spans, marked, measured.call_trees),
        wholes=wholes(spans, marked, measured.call_trees),
    )


def marks(spans: pd.DataFrame) -> pd.Series[float]:
    """The emulated ns of every span that carries the mark, by the spans' index."""
    if KEY in spans.columns:
        return spans[KEY].dropna()
    may_hold = spans["attributes"].str.contains(KEY, regex=False).fillna(value=False)
    return numbers(spans.loc[may_hold, "attributes"], KEY).fillna(0.0)


def emulated(
    spans: pd.DataFrame, marked_ns: pd.Series[float], tops: pd.DataFrame
) -> tuple[EmulatedRow, ...]:
    """Emulated time by arm and operation, and of whole requests.

    ``marked_ns`` as ``marks`` gives, ``tops`` the roots.
    """
    keys = ["arm", "service", "name"]
    marked = spans[[*keys, "duration_ns"]].take(_rows(spans.index, marked_ns.index))
    if marked.empty:
        return ()
    marked = marked.assign(
        added=marked_ns.to_numpy(), took=marked["duration_ns"].astype("float64")
    )
    groups = marked.groupby(keys, dropna=False)
    sums = groups[["added", "took"]].sum()
    whole = tops[["arm"]].assign(took=tops["duration_ns"].astype("float64"))
    whole = whole.groupby("arm", dropna=False)["took"].agg(["sum", "size"])
    added = marked.groupby("arm", dropna=False)["added"].sum().reindex(whole.index).fillna(0.0)
    requests = [
        _row((arm, None, None), int(size), float(plus), float(took))
        for arm, size, plus, took in zip(
            whole.index, whole["size"], added, whole["sum"], strict=True
        )
    ]
    operations = [
        _row(names, int(count), float(row["added"]), float(row["took"]))
        for (names, row), count in zip(sums.iterrows(), groups.size(), strict=True)
    ]
    return (*requests, *operations)


def _row(names: Any, spans: int, added: float, took: float) -> EmulatedRow:  # noqa: ANN401 - pandas' labels
    arm, service, operation = (name if isinstance(name, str) else None for name in names)
    return EmulatedRow(
        arm=arm,
        service=service,
        operation=operation,
        spans=spans,
        emulated_ms=added / spans / 1e6,
        share=min(added / took, 1.0) if took > 0 else None,
    )


def stages(
    spans: pd.DataFrame, marked_ns: pd.Series[float], call_trees: CallTrees
) -> tuple[StageEmulationRow, ...]:
    """Emulated time by arm and stage, over all time of the stage's spans below their roots."""
    if not (marked_ns > 0).any():
        return ()
    parent = request_parents(call_trees)
    tops = np.flatnonzero(stage_of(parent) == np.arange(parent.size))
    is_root = parent[tops] < 0
    own = _by_position(spans, marked_ns, call_trees)
    inside = sums.gathered(call_trees.queue, call_trees.parent, own)[tops]
    took = (call_trees.end - call_trees.start)[tops]
    staged = of_stages(call_trees)
    table = pd.DataFrame(
        {
            "arm": spans["arm"].array[call_trees.order[tops]],
            "operation": staged.operation[tops],
            "added": np.minimum(np.where(is_root, own[tops], inside), took),
            "took": np.where(is_root, self_time.by_position(call_trees)[tops], took),
            "root": call_trees.parent[tops] < 0,
        }
    )
    requests = table.groupby("arm", dropna=False)["root"].sum().rename("requests")
    groups = table.groupby(["arm", "operation"], dropna=False, as_index=False)
    rows = groups[["added", "took"]].sum().merge(requests, on="arm")
    names = staged.operations
    return tuple(
        StageEmulationRow(
            arm=row["arm"] if isinstance(row["arm"], str) else None,
            service=str(names["service"].iloc[row["operation"]]),
            operation=str(names["name"].iloc[row["operation"]]),
            emulated_ms=row["added"] / max(row["requests"], 1) / 1e6,
            share=min(row["added"] / row["took"], 1.0) if row["took"] > 0 else None,
        )
        for row in rows[rows["added"] > 0].to_dict("records")
    )


_WHICH = ("all", "hits", "misses")


def wholes(
    spans: pd.DataFrame, marked_ns: pd.Series[float], call_trees: CallTrees
) -> tuple[WholeRow, ...]:
    """Emulated time by arm and operation with all that runs inside it; hits and misses apart.

    A lookup is measured, the query inside it may be emulated: a hit makes none.
    """
    if not (marked_ns > 0).any():
        return ()
    own = _by_position(spans, marked_ns, call_trees)
    inside = sums.gathered(call_trees.queue, call_trees.parent, own)
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
    services, called = call_trees.operations["service"], call_trees.operations["name"]
    return tuple(
        WholeRow(
            arm=names[arm] if isinstance(names[arm], str) else None,
            service=services.iloc[operation],
            operation=called.iloc[operation],
            which=_WHICH[which],
            spans=int(count),
            emulated_ms=float(added / count / 1e6),
            share=float(added / whole) if whole else 0.0,
        )
        for arm, operation, which in np.argwhere(table[0] > 0)
        for count, added, whole in [table[:, arm, operation, which]]
    )


def _by_position(
    spans: pd.DataFrame, marked_ns: pd.Series[float], call_trees: CallTrees
) -> NDArray[np.int64]:
    """Each span's own emulated ns, in the order of the call trees."""
    own = np.zeros(len(spans), np.int64)
    own[_rows(spans.index, marked_ns.index)] = marked_ns.to_numpy(np.int64)
    return own[call_trees.order]


def _rows(index: pd.Index, labels: pd.Index) -> NDArray[np.int64]:
    """Where in ``index`` the labels are, which are some of its own, in order."""
    if isinstance(index, pd.RangeIndex):
        return ((labels.to_numpy() - index.start) // index.step).astype(np.int64)
    return np.flatnonzero(index.isin(labels))
