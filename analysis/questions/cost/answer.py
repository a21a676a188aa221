"""What does a request cost? CPU, blocks, rows and bytes per request, by arm.

A gain in queries is paid for somewhere: in the cache's CPU, in the service's, in memory. Here each
part's own counters are put over the number of requests (``attribution`` says whose a counter is).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from analysis.questions.capacity.answer import EXPECTED_RATE_PER_S
from analysis.questions.cost.attribution import (
    MOST_ABROAD,
    Stream,
    Times,
    abroad,
    divided,
    streams,
    turns,
    use_of,
    windows,
)
from analysis.questions.measured import Measured
from analysis.stats.intervals import (
    Estimate,
    Floats,
    decide,
    difference,
    log_ratio_of_sums,
    nothing,
    ratio_of_sums,
)

MOST_MOVED: Final = 0.1
"""From the lowest load level to the highest, where there are too few turns for an interval: with
more, what a request costs is not carried on to another rate."""

CPU: Final = "ms"
"""Unit of CPU per request: milliseconds of one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What one resource is used for a request in one arm."""

    resource: str
    """Such as ``database_cpu``; ``RESOURCES`` has them all."""
    arm: str | None
    """None: all arms together, because they share the part and cannot be told apart."""
    step: int | None
    """None for all load levels together."""
    per_request: Estimate
    idle_per_s: float | None
    """What the part uses in a second without any request, which is taken out; none: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostChange:
    """What the change did to the use of one resource."""

    resource: str
    arm: str
    """The arm that is held against the baseline."""
    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before, per request."""
    relative: Estimate
    """After over before, minus 1."""
    decided: str
    """Of the relative change, with all other comparisons of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoresRow:
    """How many cores a part needs at a rate that was not run."""

    resource: str
    arm: str | None
    rate_per_s: float
    cores: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a request costs."""

    rows: tuple[CostRow, ...]
    changes: tuple[CostChange, ...]
    cores: tuple[CoresRow, ...]
    shared: tuple[str, ...]
    """Resources that the arms share and whose arms are not told apart."""

    def change(self, resource: str, arm: str | None) -> CostChange | None:
        """What an arm changed in the use of a resource, where that is known."""
        found = (row for row in self.changes if (row.resource, row.arm) == (resource, arm))
        return next(found, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A counter, and how it is read."""

    key: str
    source: str
    names: tuple[str, ...]
    """The counter's name; of several the first that the run has."""
    unit: str
    factor: float = 1.0
    """Counted unit to the unit above."""
    part: str | None = None
    """Of the machine's ``cpu_seconds``: whose."""


RESOURCES: Final = (
    Resource(
        key="service_cpu",
        source="service",
        # by our own look at the process, else as its SDK exports it
        names=(
            *("cpu_seconds", "process.cpu.time", "jvm.cpu.time", "container.cpu.time"),
            *("process.runtime.cpython.cpu_time", "process.runtime.cpu.time"),
        ),
        unit=CPU,
        factor=1e3,
    ),
    Resource(key="database_cpu", source="postgres", names=("cpu_seconds",), unit=CPU, factor=1e3),
    Resource(key="cache_cpu", source="redis", names=("cpu_seconds",), unit=CPU, factor=1e3),
    Resource(
        key="llm_cpu",
        source="machine",
        names=("cpu_seconds",),
        unit=CPU,
        factor=1e3,
        part="llm",
    ),
    Resource(
        key="database_blocks_read", source="postgres", names=("blocks_read",), unit="per_request"
    ),
    Resource(
        key="database_blocks_hit", source="postgres", names=("blocks_hit",), unit="per_request"
    ),
    Resource(
        key="database_rows_scanned",
        source="postgres",
        names=("rows_scanned",),
        unit="per_request",
    ),
    Resource(key="database_temp_bytes", source="postgres", names=("temp_bytes",), unit="bytes"),
    Resource(key="cache_received", source="redis", names=("received_bytes",), unit="bytes"),
    Resource(key="cache_sent", source="redis", names=("sent_bytes",), unit="bytes"),
)
"""Semantic conventions: docs/system/process-metrics, docs/runtime/jvm-metrics, container-metrics;
``process.runtime.cpython.cpu_time`` is opentelemetry-instrumentation-system-metrics'."""


def answer(measured: Measured) -> Cost:
    """What each resource is used for a request, what the change did, what it comes to at scale."""
    if not measured.manifest.measured_blocks or measured.blocks.empty:
        return Cost(rows=(), changes=(), cores=(), shared=())
    context = _context(measured)
    uses = [use for resource in RESOURCES if (use := _use(measured, context, resource))]
    return Cost(
        rows=tuple(row for use in uses for row in use.rows(measured)),
        changes=tuple(change for use in uses for change in _changes(measured, use)),
        cores=tuple(row for use in uses if use.resource.unit == CPU for row in _cores(use)),
        shared=tuple(use.resource.key for use in uses if use.arms == (None,)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the service used while one arm was on."""

    turn: int
    arm: str
    blocks: tuple[int, ...]
    used: float
    """CPU in ms, without what the service uses in any case."""
    requests: float


def service_turns(measured: Measured) -> tuple[Turn, ...]:
    """The CPU of each arm's service by turn; none where the arms' is not told apart."""
    if not measured.manifest.measured_blocks or measured.blocks.empty:
        return ()
    use = _use(measured, _context(measured), RESOURCES[0])
    if use is None or None in use.arms:
        return ()
    return tuple(
        Turn(
            turn=int(str(turn)),
            arm=str(own["arm"].iloc[0]),
            blocks=tuple(int(block) for block in own["block"]),
            used=float(own["used"].sum()),
            requests=float(own["requests"].sum()),
        )
        for turn, own in use.blocks.groupby("turn")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """The measured blocks in time, and all requests, those of the warm-up among them."""

    blocks: pd.DataFrame
    """Columns of ``measured.blocks``, start_ns and turn."""
    starts: pd.DataFrame
    """arm and start_ns of every block, the warm-up's too."""
    sent: pd.DataFrame
    """arm, block, start_ns, end_ns of every request."""


def _context(measured: Measured) -> _Context:
    every = pd.DataFrame(
        [(block.block, block.arm, block.start_ns) for block in measured.manifest.blocks],
        columns=["block", "arm", "start_ns"],
    )
    requests = measured.run.requests
    if len(requests):
        sent = requests[["arm", "block"]].assign(
            start_ns=requests["sent_ns"].fillna(requests["intended_ns"]),
            end_ns=requests["end_ns"].fillna(requests["sent_ns"]),
        )
    else:
        roots = measured.roots
        sent = roots[["arm", "block", "start_ns"]].assign(
            end_ns=roots["start_ns"] + roots["duration_ns"]
        )
    sent = sent.dropna(subset=["start_ns", "end_ns"]).astype(
        {"start_ns": "int64", "end_ns": "int64"}
    )
    blocks = measured.blocks.merge(every[["block", "start_ns"]], on="block")
    blocks["turn"] = blocks["block"].map(turns(every))
    return _Context(blocks=blocks, starts=every, sent=sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """The use of one resource by block: of each arm, or of all together."""

    resource: Resource
    blocks: pd.DataFrame
    """Measured blocks with the columns arm, turn, step, requests, used."""
    idle: dict[str | None, float | None]
    arms: tuple[str | None, ...]

    def of(self, arm: str | None, step: int | None = None) -> Estimate:
        """Use per request of an arm, at one load level or at all."""
        used, requests = self.by_turn(arm, step)
        return ratio_of_sums(used, requests, unit=self.resource.unit, n=int(requests.sum()))

    def by_turn(self, arm: str | None, step: int | None = None) -> tuple[Floats, Floats]:
        """What was used and how many requests were sent in each turn of an arm."""
        own = self.blocks if arm is None else self.blocks[self.blocks["arm"] == arm]
        if step is not None:
            own = own[own["step"] == step]
        sums = own.groupby("turn")[["used", "requests"]].sum().to_numpy("float64")
        return sums[:, 0], sums[:, 1]

    def rows(self, measured: Measured) -> Iterator[CostRow]:
        """All load levels together, then each where there are several."""
        steps = sorted({int(step) for step in measured.blocks["step"]})
        for step in (None, *(steps if len(steps) > 1 else ())):
            for arm in self.arms:
                yield CostRow(
                    resource=self.resource.key,
                    arm=arm,
                    step=step,
                    per_request=self.of(arm, step),
                    idle_per_s=self.idle.get(arm),
                )


def _use(measured: Measured, context: _Context, resource: Resource) -> _Use | None:
    """The use of a resource by block; None where the run does not know it."""
    samples = _samples(measured.run.counters, resource)
    if samples.empty:
        return None
    found = streams(samples, _arm_of(measured, samples))
    blocks = context.blocks.assign(used=math.nan)
    idle: dict[str | None, float | None] = {}
    arms = list(dict.fromkeys(str(arm) for arm in context.blocks["arm"].dropna()))
    if all(stream.arm is None for stream in found):
        return _shared(context, resource, found, arms)
    for arm in arms:
        own = [stream for stream in found if stream.arm == arm]
        sent = context.sent[context.sent["arm"] == arm]
        if not own or sent.empty:
            continue
        mine = blocks["arm"] == arm
        starts = context.starts.loc[context.starts["arm"] == arm, "start_ns"]
        window = windows(
            blocks.loc[mine, "start_ns"].to_numpy("int64"),
            starts.to_numpy("int64"),
            int(sent["end_ns"].max()),
        )
        used, idle[arm] = use_of(own, window, *_times(sent))
        blocks.loc[mine, "used"] = used * resource.factor
    blocks = blocks.dropna(subset=["used"])
    if blocks.empty:
        return None
    return _Use(resource=resource, blocks=blocks, idle=idle, arms=tuple(idle))


def _shared(
    context: _Context, resource: Resource, found: Sequence[Stream], arms: Sequence[str]
) -> _Use:
    """Of a part that the arms share: by block, or of all together where requests straddle."""
    sent, blocks = context.sent, context.blocks
    window = windows(
        blocks["start_ns"].to_numpy("int64"),
        context.starts["start_ns"].to_numpy("int64"),
        int(sent["end_ns"].max()),
    )
    starts, order = context.starts["start_ns"].to_numpy("int64"), list(context.starts["arm"])
    last_ns = int(sent["end_ns"].max())
    at_blocks = [divided(stream, starts, order, last_ns) for stream in found]
    grown, idle = use_of(at_blocks, window, *_times(sent))
    used = blocks.assign(used=grown * resource.factor)
    place = pd.Series(np.arange(len(blocks)), index=blocks["block"])
    inside = sent[sent["block"].isin(place.index)]
    outside = abroad(
        window,
        place.loc[inside["block"]].to_numpy("intp"),
        *_times(inside),
    )
    told_apart = len(arms) > 0 and outside <= MOST_ABROAD
    chosen: tuple[str | None, ...] = tuple(arms) if told_apart else (None,)
    return _Use(resource=resource, blocks=used, idle=dict.fromkeys(chosen, idle), arms=chosen)


def _times(sent: pd.DataFrame) -> tuple[Times, Times]:
    return sent["start_ns"].to_numpy("int64"), sent["end_ns"].to_numpy("int64")


def _samples(counters: pd.DataFrame, resource: Resource) -> pd.DataFrame:
    """The samples of a resource's counter."""
    own = counters[counters["source"] == resource.source]
    for name in resource.names:
        found = own[own["name"] == name]
        if resource.part is not None:
            found = found[found["labels"].map(_part) == resource.part]
        if len(found):
            return found
    return own.iloc[:0]


def _part(labels: str) -> object:
    return json.loads(labels).get("part")


def _arm_of(measured: Measured, samples: pd.DataFrame) -> pd.Series:
    """By the label ``arm``, or by the database where each arm has one of its own; else null."""
    of_database = {
        arm.database: arm.name for arm in measured.manifest.arms if arm.database is not None
    }
    if len(of_database) < len(measured.manifest.arms):
        of_database = {}
    named = {}
    for text in samples["labels"].unique():
        labels = json.loads(text)
        named[text] = labels.get("arm") or of_database.get(labels.get("database"))
    return samples["labels"].map(named)


def _changes(measured: Measured, use: _Use) -> Iterator[CostChange]:
    """Each arm against the baseline."""
    baseline = measured.manifest.baseline
    if baseline is None or baseline not in use.arms:
        return
    before = use.of(baseline)
    for arm in measured.manifest.treatments:
        if arm in use.arms:
            after = use.of(arm)
            relative = _relative(use, baseline, arm)
            yield CostChange(
                resource=use.resource.key,
                arm=arm,
                before=before,
                after=after,
                difference=difference(after, before),
                relative=relative,
                decided=decide(relative),
            )


def _relative(use: _Use, baseline: str, arm: str) -> Estimate:
    """After over before minus 1: logarithms of both ratios, each with its jackknife's error."""
    sides = [use.by_turn(name) for name in (arm, baseline)]
    n = int(sum(requests.sum() for _, requests in sides))
    logs = [log_ratio_of_sums(used, requests) for used, requests in sides]
    if any(log.value is None for log in logs):
        return nothing("share", "one side used nothing that could be measured", n=n)
    gap = difference(*logs)
    ends = [None if end is None else math.expm1(end) for end in (gap.value, gap.low, gap.high)]
    return replace(gap, value=ends[0], low=ends[1], high=ends[2], unit="share", n=n)


def _cores(use: _Use) -> Iterator[CoresRow]:
    """Cores at a rate that was not run, where a request costs the same at every rate that was."""
    steps = sorted({int(step) for step in use.blocks["step"]})
    for arm in use.arms:
        idle = (use.idle.get(arm) or 0.0) if arm is not None else 0.0
        cost = use.of(arm)
        if _moves(use.of(arm, steps[0]), use.of(arm, steps[-1])):
            cores = nothing("cores", "what a request costs moves with the rate", n=cost.n)
        elif cost.value is None or cost.value <= 0:
            cores = nothing("cores", cost.reason or "nothing was measured", n=cost.n)
        else:
            cores = cost.scaled(EXPECTED_RATE_PER_S / 1e3, "cores").shifted(idle, "cores")
        yield CoresRow(
            resource=use.resource.key, arm=arm, rate_per_s=EXPECTED_RATE_PER_S, cores=cores
        )


def _moves(lowest: Estimate, highest: Estimate) -> bool:
    """Whether what a request costs is another at the highest load level than at the lowest."""
    moved = difference(highest, lowest)
    if moved.has_interval:
        return decide(moved) != "not decided"
    return abs(moved.value or 0.0) > MOST_MOVED * abs(lowest.value or 0.0)
