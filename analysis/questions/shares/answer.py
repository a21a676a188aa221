"""Where does one request's time go, in each arm?

``analysis.shares`` answers for any spans; here it is asked arm by arm, and asked again under the
other definition of the critical path, to say how far that would move the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees
from analysis.calltree.roots import entries_of
from analysis.calltree.stages import of_stages
from analysis.critical_path import RULES, critical_times
from analysis.questions.measured import Measured
from analysis.questions.root_operations import others_said
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.shares import MANY_OPERATIONS, from_sums, sums_of
from analysis.stats.intervals import Estimate, finite, ratio_of_sums, too_few


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
    """Its self share: its own time on the critical path."""
    whole: Estimate
    """Its share of a request: with all that runs inside its outermost spans."""
    stage: bool
    """Whether it lies directly below a root."""
    root: bool
    """Whether requests begin with it: its whole is the request."""


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
    inclusive: float | None
    """Its share by the report's own rules."""
    jaeger: float | None
    """Its share by Jaeger's rules."""
    crisp: float | None
    """Its share by CRISP's rules."""
    rules: str
    """Which of the others moves it most: jaeger or crisp."""
    moves: float
    """Its share by those rules - inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """How long a request took, as the service saw it."""

    arm: str | None
    """Which arm; none where the run names none."""
    mean_ms: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """All operations of a service together."""

    arm: str | None
    """Which arm; none where the run names none."""
    service: str
    critical_ms: float
    """Mean per request."""
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Where a request's time goes."""

    rows: tuple[ShareRow, ...]
    stages: tuple[StageRow, ...]
    definitions: tuple[DefinitionRow, ...]
    requests: tuple[RequestRow, ...]
    services: tuple[ServiceRow, ...]
    """Sums of ``rows``, where these are more than ``shares.MANY_OPERATIONS`` in an arm."""
    root_operations: str
    """Which root operation is answered for, and which others came in; empty where there is one."""


def answer(measured: Measured) -> Shares:
    """Shares of operations and stages by arm, and how far other definitions would move them."""
    manifest = measured.manifest
    found = _tables(manifest, measured.spans, measured.call_trees)
    stages = tuple(_stages(found.stages, _blocks_by_arm(manifest)))
    return Shares(
        rows=tuple(_operations(found, stages, _blocks_by_arm(manifest))),
        stages=stages,
        definitions=_definitions(found),
        requests=requests(measured.roots, measured.blocks),
        services=tuple(_services(measured, len(found.own))),
        root_operations=others_said(measured.root_operations),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Shares of the same trees, added up three ways; columns as ``request_shares`` by arm."""

    own: pd.DataFrame
    """By operation, the report's own rules."""
    stages: pd.DataFrame
    """By stage: all that runs inside a span directly below a root is that span's."""
    roots: frozenset[tuple[str, str]]
    """Service and name of the operations that requests begin with."""
    others: Mapping[str, pd.DataFrame]
    """By operation, under each other definition of the critical path."""


def _tables(manifest: Manifest, spans: pd.DataFrame, call_trees: CallTrees) -> _Tables:
    """The three tables from one set of trees, because building them is what takes the time."""
    by = "arm" if manifest.arms else None
    critical = critical_times(call_trees, RULES[0])
    whole = of_stages(call_trees)
    levels = {block.block: block.step for block in manifest.measured_blocks}
    made = [
        from_sums([sums_of(trees, times, spans, by=by)], levels=levels)
        for trees, times in (
            (call_trees, critical),
            (whole, critical),
            *((call_trees, critical_times(call_trees, rules)) for rules in RULES[1:]),
        )
    ]
    own, inside, *others = (table if by else table.assign(arm=None) for table in made)
    entries = entries_of(call_trees)
    above = call_trees.parent[entries]  # the load's own span, where it was recorded
    begun = np.concatenate([entries, above[above >= 0]])
    names = call_trees.operations.iloc[np.unique(call_trees.operation[begun])]
    return _Tables(
        own=own,
        stages=inside,
        roots=frozenset(zip(names["service"], names["name"], strict=True)),
        others=dict(zip(RULES[1:], others, strict=True)),
    )


def _stages(table: pd.DataFrame, blocks: Mapping[str | None, int]) -> Iterator[StageRow]:
    """Shares of the stages, each with all that runs inside it, and of the roots' own time."""
    for row in table.to_dict("records"):
        arm = _named(row["arm"])
        yield StageRow(
            arm=arm,
            service=str(row["service"]),
            operation=str(row["name"]),
            critical_ms=float(row["critical_ms"]),
            share=_estimate(row, "share", blocks.get(arm, 0)),
        )


def _operations(
    found: _Tables, stages: tuple[StageRow, ...], blocks: Mapping[str | None, int]
) -> Iterator[ShareRow]:
    """Shares by arm and operation."""
    below_a_root = {(stage.arm, stage.service, stage.operation) for stage in stages}
    for row in found.own.to_dict("records"):
        arm, service, operation = _named(row["arm"]), str(row["service"]), str(row["name"])
        yield ShareRow(
            arm=arm,
            service=service,
            operation=operation,
            spans=int(row["spans"]),
            per_request=float(row["per_request"]),
            self_ms=float(row["self_ms"]),
            critical_ms=float(row["critical_ms"]),
            share=_estimate(row, "share", blocks.get(arm, 0)),
            whole=_estimate(row, "inclusive", blocks.get(arm, 0)),
            stage=(arm, service, operation) in below_a_root,
            root=(service, operation) in found.roots,
        )


def _services(measured: Measured, operations: int) -> Iterator[ServiceRow]:
    """Shares by arm and service, from the same trees under the services' names."""
    manifest, trees = measured.manifest, measured.call_trees
    if operations <= MANY_OPERATIONS * max(len(manifest.arms), 1):
        return
    codes, services = pd.factorize(trees.operations["service"], use_na_sentinel=False)
    named = pd.DataFrame({"service": services, "name": services})
    by_service = replace(
        trees,
        operation=codes[trees.operation].astype(trees.operation.dtype),
        operations=named.astype(trees.operations.dtypes.to_dict()),
    )
    by = "arm" if manifest.arms else None
    times = critical_times(trees, RULES[0])
    levels = {block.block: block.step for block in manifest.measured_blocks}
    table = from_sums([sums_of(by_service, times, measured.spans, by=by)], levels=levels)
    blocks = _blocks_by_arm(manifest)
    for row in (table if by else table.assign(arm=None)).to_dict("records"):
        arm = _named(row["arm"])
        yield ServiceRow(
            arm=arm,
            service=str(row["service"]),
            critical_ms=float(row["critical_ms"]),
            share=_estimate(row, "share", blocks.get(arm, 0)),
        )


def _definitions(found: _Tables) -> tuple[DefinitionRow, ...]:
    """By arm, the operation whose share another definition of the critical path moves most."""
    keys = ["arm", "service", "name"]
    table = found.own[[*keys, "share"]].rename(columns={"share": RULES[0]})
    for rules, other in found.others.items():
        table = table.merge(
            other[[*keys, "share"]].rename(columns={"share": rules}), on=keys, how="outer"
        )
    moved = table[list(found.others)].fillna(0.0).sub(table[RULES[0]].fillna(0.0), axis=0)
    table["rules"] = moved.abs().idxmax(axis=1)
    table["moves"] = np.where(table["rules"] == RULES[1], moved[RULES[1]], moved[RULES[2]])
    order = table["moves"].abs().sort_values(ascending=False, kind="stable").index
    most = table.loc[order].drop_duplicates("arm").sort_index()
    return tuple(
        DefinitionRow(
            arm=_named(row["arm"]),
            operation=str(row["name"]),
            inclusive=finite(row["inclusive"]),
            jaeger=finite(row["jaeger"]),
            crisp=finite(row["crisp"]),
            rules=str(row["rules"]),
            moves=float(row["moves"]),
        )
        for row in most.to_dict("records")
    )


def requests(roots: pd.DataFrame, blocks: pd.DataFrame) -> tuple[RequestRow, ...]:
    """Mean duration of a request as the service saw it, by arm."""
    took = roots.assign(ms=roots["duration_ns"].astype("float64") / 1e6)
    if not len(blocks) or blocks["arm"].isna().all():
        took = took.assign(block=0)
    sums = pd.DataFrame({"sum": sampling.summed(took["ms"], took), "size": sampling.counted(took)})
    seen = took.groupby("block").size()
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        total = by_block(sums["sum"], own["block"])
        count = by_block(sums["size"], own["block"])
        n, strata = int(by_block(seen, own["block"]).sum()), own["step"].tolist()
        mean_ms = ratio_of_sums(total, count, unit="ms", n=n, strata=strata)
        rows.append(RequestRow(arm=_named(arm), mean_ms=mean_ms))
    return tuple(rows)


def _named(arm: object) -> str | None:
    """The arm's name; None where the run names none."""
    return arm if isinstance(arm, str) else None


def _blocks_by_arm(manifest: Manifest) -> Mapping[str | None, int]:
    return Counter(block.arm for block in manifest.measured_blocks)


def _estimate(row: Mapping[Hashable, Any], share: str, blocks: int) -> Estimate:
    low, high = finite(row[f"{share}_low"]), finite(row[f"{share}_high"])
    known = low is not None and high is not None
    return Estimate(
        value=finite(row[share]),
        unit="share",
        n=int(row["spans"]),
        blocks=blocks,
        low=low if known else None,
        high=high if known else None,
        reason=None if known else too_few(blocks) or "the blocks carry no interval",
        method="ratio of sums over roots, delete-one-block jackknife, t(K-1)",
    )
