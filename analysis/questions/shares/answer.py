"""Where does one request's time go, in each arm?

``analysis.shares`` answers for any spans; here it is asked arm by arm, and asked again under the
other definition of the critical path, to say how far that would move the answer.

Answer of ``shares``: arm, service, operation, spans, per_request, self_ms, critical_ms, share (own
time on the critical path), whole (with all that runs inside it), stage (whether it lies directly
below a root). Of ``stages``: arm, service, operation, critical_ms, share; they add up to 1. Of
``definitions``: arm, operation, jaeger, crisp, moves (crisp - jaeger), the operation that moves
most. Of ``requests``: arm, mean_ms, n.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.calltree.call_tree import CallTrees
from analysis.calltree.stages import stage_of
from analysis.critical_path import critical_times
from analysis.questions.measured import Measured
from analysis.questions.rows import typed
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.shares import from_sums, sums_of
from analysis.stats.intervals import Estimate, ratio_of_sums, too_few


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRow:
    """One operation's part of a request's time, in one arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str
    operation: str
    spans: int
    per_request: float
    self_ms: float
    critical_ms: float
    share: Estimate
    """Its own time on the critical path."""
    whole: Estimate
    """With all that runs inside it."""
    stage: bool
    """Whether it lies directly below a root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage with all that runs inside it, or the root's own time; they add up to 1."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str
    operation: str
    critical_ms: float
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """The operation whose share another definition of the critical path moves most."""

    arm: str | None
    """Which arm; none where the run names none."""
    operation: str
    jaeger: float | None
    """Its share by Jaeger's rules."""
    crisp: float | None
    """Its share by CRISP's rules."""
    moves: float
    """crisp - jaeger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """How long a request took, as the service saw it."""

    arm: str | None
    """Which arm; none where the run names none."""
    mean_ms: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Where a request's time goes."""

    rows: tuple[ShareRow, ...]
    stages: tuple[StageRow, ...]
    definitions: tuple[DefinitionRow, ...]
    requests: tuple[RequestRow, ...]


def answer(measured: Measured) -> Shares:
    """Shares of operations and stages by arm, and how far other definitions would move them."""
    manifest, found = measured.manifest, measured.once(shared_tables)
    return Shares(
        rows=typed(shares(manifest, found), ShareRow),
        stages=typed(stages(manifest, found), StageRow),
        definitions=typed(definitions(found), DefinitionRow),
        requests=typed(requests(measured.roots, measured.blocks), RequestRow),
    )


def shared_tables(measured: Measured) -> Tables:
    """``tables`` of a run."""
    return tables(measured.manifest, measured.spans, measured.call_trees)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Shares of the same trees, added up three ways; columns as ``request_shares`` by arm."""

    own: pd.DataFrame
    """By operation, Jaeger's rules."""
    stages: pd.DataFrame
    """By stage: all that runs inside a span directly below a root is that span's."""
    crisp: pd.DataFrame
    """By operation, CRISP's rules."""


def tables(manifest: Manifest, spans: pd.DataFrame, call_trees: CallTrees) -> Tables:
    """The three tables from one planting, because planting is what takes the time."""
    by = "arm" if manifest.arms else None
    critical = critical_times(call_trees, "jaeger")
    whole = replace(call_trees, operation=call_trees.operation[stage_of(call_trees.parent)])
    made = [
        from_sums([sums_of(trees, times, spans, by=by)])
        for trees, times in (
            (call_trees, critical),
            (whole, critical),
            (call_trees, critical_times(call_trees, "crisp")),
        )
    ]
    own, inside, crisp = (table if by else table.assign(arm=None) for table in made)
    return Tables(own=own, stages=inside, crisp=crisp)


def shares(manifest: Manifest, found: Tables) -> pd.DataFrame:
    """Shares by arm and operation, ``whole`` from the stages; no arms, no arm named."""
    table = _named(manifest, found.own)
    keys = ["arm", "service", "operation"]
    inside = _named(manifest, found.stages).set_index(keys)["share"]
    known = pd.MultiIndex.from_frame(table[keys]).isin(inside.index)
    whole = [
        inside.loc[tuple(key)] if is_stage else own
        for key, is_stage, own in zip(table[keys].to_numpy(), known, table["share"], strict=True)
    ]
    table["whole"] = pd.Series(whole, index=table.index, dtype="object")
    table["stage"] = known
    return table


def stages(manifest: Manifest, found: Tables) -> pd.DataFrame:
    """Shares of the stages, each with all that runs inside it, and of the roots' own time."""
    return _named(manifest, found.stages)[["arm", "service", "operation", "critical_ms", "share"]]


def _named(manifest: Manifest, table: pd.DataFrame) -> pd.DataFrame:
    counts = _blocks(manifest)
    estimates = [
        _estimate(row, counts.get(str(row["arm"]), 0)) for row in table.to_dict("records")
    ]
    named = table.rename(columns={"name": "operation"}).assign(
        share=pd.Series(estimates, index=table.index, dtype="object")
    )
    return named[
        ["arm", "service", "operation", "spans", "per_request", "self_ms", "critical_ms", "share"]
    ]


def definitions(found: Tables) -> pd.DataFrame:
    """By arm, the operation whose share another definition of the critical path moves most."""
    keys = ["arm", "service", "name"]
    both = found.own[[*keys, "share"]].merge(
        found.crisp[[*keys, "share"]], on=keys, how="outer", suffixes=("_jaeger", "_crisp")
    )
    both["moves"] = both["share_crisp"].fillna(0.0) - both["share_jaeger"].fillna(0.0)
    order = both["moves"].abs().sort_values(ascending=False).index
    most = both.loc[order].drop_duplicates("arm").sort_index()
    renamed = {"name": "operation", "share_jaeger": "jaeger", "share_crisp": "crisp"}
    return most.rename(columns=renamed)[["arm", "operation", "jaeger", "crisp", "moves"]]


def requests(roots: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Mean duration of a request as the service saw it, by arm."""
    took = roots.assign(ms=roots["duration_ns"].astype("float64") / 1e6)
    if not len(blocks) or blocks["arm"].isna().all():
        took = took.assign(block=0)
    sums = took.groupby("block")["ms"].agg(["sum", "size"])
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        total = by_block(sums["sum"], own["block"])
        count = by_block(sums["size"], own["block"])
        named = arm if isinstance(arm, str) else None
        rows.append((named, ratio_of_sums(total, count, unit="ms", n=int(count.sum()))))
    return pd.DataFrame(rows, columns=["arm", "mean_ms"])


def _blocks(manifest: Manifest) -> dict[str, int]:
    counts: dict[str, int] = {}
    for block in manifest.measured_blocks:
        counts[block.arm] = counts.get(block.arm, 0) + 1
    return counts


def _estimate(row: Mapping[Hashable, Any], blocks: int) -> Estimate:
    low, high = float(row["share_low"]), float(row["share_high"])
    known = math.isfinite(low) and math.isfinite(high)
    reason = None if known else too_few(blocks) or "the blocks carry no interval"
    return Estimate(
        value=float(row["share"]),
        unit="share",
        n=int(row["spans"]),
        blocks=blocks,
        low=low if known else None,
        high=high if known else None,
        reason=reason,
        method="ratio of sums over roots, delete-one-block jackknife, t(K-1)",
    )
