"""What differs between two runs, or between two arms of one?

Two arms of one run that took turns are compared pair of blocks by pair of blocks. Where one ran
after the other nothing pairs, and each side has its own scatter. So it is with two runs: the
machine may have drifted between them, and they may be compared only where machine, latency
profile, scenario and versions agree. What speaks against it is said in words.

Requests of one kind are compared with requests of the same kind: those of the main root operation,
or of each that both sides have. A total over several would move with their mix alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.calltree.sampling import weights_of
from analysis.checks.interleaving import said_of, took_turns
from analysis.document.estimates import said, said_point
from analysis.errors import InputError
from analysis.questions.database_load import answer as database_load
from analysis.questions.faster import answer as faster
from analysis.questions.faster import kinds
from analysis.questions.faster.times import times_by_block, without_fast_failures
from analysis.questions.measured import Measured, measured
from analysis.rundir.blocks import WHOLE_RUN, block_table, pairs, why_no_mean
from analysis.rundir.manifest import Manifest
from analysis.rundir.run import Run
from analysis.stats.family import NOT_DECIDED, Hypothesis, decisions
from analysis.stats.intervals import Estimate, decide, difference, mean, nothing
from analysis.stats.quantiles import pool, quantile

MEMORY_TOLERANCE = 0.02
"""The same machine may report a few pages more or less of memory after a boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity on both sides."""

    root: str | None
    """The root operation; none where the traces have one at most."""
    rate_per_s: float | None
    """None for all rates together."""
    what: str
    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before."""
    relative: Estimate | None
    """The difference as a share of before."""
    decided: str
    """Of the difference, with all other rows (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every quantity that both sides have."""

    first: str
    second: str
    same_run: bool
    paired: bool
    """Whether both are arms of one run that took turns, so that block stands against block."""
    reasons_against: tuple[str, ...]
    """Why they should not be compared, a sentence each."""
    unlike_traffic: tuple[str, ...]
    """How the two sides' mixes of requests differ, where a mean is standardised; else empty."""
    root_operations: str
    """Which root operations were compared and which not; empty where there is one."""
    rows: tuple[Row, ...]

    @property
    def summary(self) -> str:
        """The response time first, then how many rows are decided, and which moved most."""
        primary = next((row for row in self.rows if _is_primary(row)), None)
        parts = [] if primary is None else [f"The {primary.what}: {_said_of(primary)}."]
        decided = [row for row in self.rows if row.decided != NOT_DECIDED]
        parts.append(f"{len(decided)} of {len(self.rows)} rows are decided.")
        others = [row for row in decided if row is not primary and row.before.value]
        if others:
            most = max(others, key=lambda row: abs(row.difference.value or 0.0) / _size(row))
            at = f" at {most.rate_per_s:g}/s" if most.rate_per_s is not None else ""
            root = f" of {most.root}" if most.root else ""
            parts.append(f"Most moved {most.what}{root}{at}: {_said_of(most)}.")
        return " ".join(parts)


def _is_primary(row: Row) -> bool:
    """Whether it is the mean response time over all rates."""
    return row.rate_per_s is None and row.what in ("response time, mean", BY_POOLED_MIX)


def _size(row: Row) -> float:
    return abs(row.before.value or 0.0) or 1.0


def _said_of(row: Row) -> str:
    """Such as ``21.0 % (18.2 to 24.0) lower, 6.21 ms to 4.90 ms``."""
    if not row.difference.is_known:
        return row.difference.reason or "not known"
    if row.decided == NOT_DECIDED:
        return f"no difference decided, {said(row.difference)}"
    relative = row.difference.scaled(1.0 / _size(row), "share").without_sign()
    values = f"{said_point(row.before)} to {said_point(row.after)}"
    return f"{said(relative)} {row.decided}, {values}"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: an arm of a run; no arm for a run without arms."""

    run: Run
    arm: str | None

    @cached_property
    def tables(self) -> Measured:
        """The measured tables of the run's main root operation."""
        return measured(self.run)

    @property
    def roots(self) -> list[str]:
        """Its root operations, the main one first."""
        return list(self.tables.root_operations["root"])

    @property
    def label(self) -> str:
        """As a person would name it."""
        return self.run.manifest.run_id + (f":{self.arm}" if self.arm else "")


def side(run: Run, arm: str | None) -> Side:
    """An arm of a run; without a name, the last that is not the baseline, else the baseline.

    Raises
    ------
    InputError
        When the run has no such arm.
    """
    names = [one.name for one in run.manifest.arms]
    if arm is None:
        others = run.manifest.treatments
        return Side(run=run, arm=others[-1] if others else run.manifest.baseline)
    if arm not in names:
        known = ", ".join(names) or "none"
        raise InputError(f"{run.path}: no arm {arm!r} was found; its arms are: {known}")
    return Side(run=run, arm=arm)


def reasons_against(first: Side, second: Side, *, by_root: bool = False) -> list[str]:
    """Why the two may not be compared, one sentence each; none when they may.

    With ``by_root`` main root operations may differ, as each is compared with its like.
    """
    found = [
        f"{one.label} is INVALID: no number in it may be believed."
        for one in (first, second)
        if one.run.manifest.verdict.verdict == "INVALID"
    ]
    one, two = first.run.manifest, second.run.manifest
    if first.run.path.resolve() == second.run.path.resolve():
        return found
    for what, before, after in _checked(one, two):
        if before != after:
            found.append(
                f"{what} differs: {before or 'not recorded'} and {after or 'not recorded'}."
            )
    memory = [float(m.machine.memory_bytes or 0) for m in (one, two)]
    if abs(memory[0] - memory[1]) > MEMORY_TOLERANCE * max(memory):
        sizes = " and ".join(f"{size / 2**30:.1f} GiB" for size in memory)
        found.append(f"The machine's memory differs: {sizes}.")
    return found or list(_roots_against(first.roots, second.roots, by_root=by_root))


def compare(first: Side, second: Side, *, by_root: bool = False) -> Comparison:
    """Every quantity that both sides have, second against first.

    Of the first side's main root operation where there are several, or with ``by_root`` of every
    one that both sides have.
    """
    same_run = first.run.path.resolve() == second.run.path.resolve()
    apart, paired = "", False
    if same_run:
        manifest = _with_baseline(first.run.manifest, first.arm, second.arm)
        before, after = (arm.name for arm in manifest.arms)
        apart = said_of(manifest, before, after)
        paired = not apart and took_turns(manifest, before, after)
    chosen = _chosen(first.roots, second.roots, by_root=by_root)
    rows: list[Row] = []
    unlike: list[str] = []
    for pair in chosen:
        one, two = (
            side.tables if root in (None, *side.roots[:1]) else measured(side.run, root)
            for side, root in zip((first, second), pair, strict=True)
        )
        found = (
            _paired(one, first.arm, second.arm)
            if paired
            else _unpaired(_Numbers(one, first.arm), _Numbers(two, second.arm))
        )
        unlike_mix, by_kind = _by_kind((one, first.arm), (two, second.arm), paired=paired)
        if unlike_mix is not None:
            found = (row for row in found if not row.what.startswith(_OF_A_TOTAL))
            unlike.append(unlike_mix)
        rows += [replace(row, root=_label(pair)) for row in (*by_kind, *found)]
    against = reasons_against(first, second, by_root=by_root)
    return Comparison(
        first=first.label,
        second=second.label,
        same_run=same_run,
        paired=paired,
        reasons_against=(*against, *filter(None, [apart])),
        unlike_traffic=tuple(dict.fromkeys(unlike)),
        root_operations=_said(chosen, [*first.roots, *second.roots]),
        rows=_decided_together(tuple(rows)),
    )


def _decided_together(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows, decided as a family; the mean response time over all rates is the primary one."""
    family = [
        Hypothesis(
            estimate=row.difference,
            primary=_is_primary(row),
        )
        for row in rows
    ]
    return tuple(
        replace(row, decided=word) for row, word in zip(rows, decisions(family), strict=True)
    )


BY_POOLED_MIX = "response time, mean by the pooled mix"
"""The mean where the two sides were not sent the same mix of requests."""

_OF_A_TOTAL = ("response time, ", "queries per request, ")
"""What moves with the mix of requests alone."""


def _by_kind(
    first: tuple[Measured, str | None], second: tuple[Measured, str | None], *, paired: bool
) -> tuple[str | None, list[Row]]:
    """How the mix of requests differs, and the rows of each kind; nothing where it does not."""
    (one, before), (two, after) = first, second
    if one.requests.empty or two.requests.empty:
        return None, []
    steps = None
    if paired:
        both = pairs(one.blocks, str(before), str(after))
        blocks, steps = [list(both["first"]), list(both["second"])], list(both["step"])
    else:
        blocks = [
            list(tables.blocks.loc[(tables.blocks["arm"] == arm) | (arm is None), "block"])
            for tables, arm in (first, second)
        ]
    sides = [
        kinds.traffic(tables.requests, own, "intended_ns")
        for tables, own in zip((one, two), blocks, strict=True)
    ]
    unlike = kinds.unlike(sides[0], sides[1])
    grows = [
        why_no_mean(tables.blocks[tables.blocks["block"].isin(own)])
        for tables, own in zip((one, two), blocks, strict=True)
    ]
    if unlike is None or any(grows):
        return None, []
    whole = kinds.standardised(sides[0], sides[1], kinds.in_both(sides[0], sides[1]), steps=steps)
    each = kinds.by_kind(sides[0], sides[1], steps=steps)
    named = [(BY_POOLED_MIX, whole)]
    named += [(f"response time of {kind}, {one.statistic}", one) for kind, one in each]
    rows = [
        Row(
            root=None,
            rate_per_s=None,
            what=what,
            before=found.before,
            after=found.after,
            difference=found.difference,
            relative=found.difference.scaled(1.0 / found.before.value, "share")
            if found.before.value
            else None,
            decided=decide(found.difference),
        )
        for what, found in named
    ]
    return unlike, rows


_Pair = tuple[str | None, str | None]
"""A root operation of the first side, and the one of the second that it is compared with."""


def _chosen(first: list[str], second: list[str], *, by_root: bool) -> list[_Pair]:
    """Choose what is compared of the root operations of each side."""
    both = [root for root in first if root in second]
    if by_root and both:
        return [(root, root) for root in both]
    if not first or not second or first == second == first[:1]:
        return [(None, None)]
    return [(first[0], first[0] if first[0] in second else second[0])]


def _label(pair: _Pair) -> str | None:
    first, second = pair
    return first if first == second else f"{first} and {second}"


def _said(chosen: list[_Pair], roots: list[str]) -> str:
    known = list(dict.fromkeys(roots))
    if len(known) < 2:  # noqa: PLR2004 - one has no others
        return ""
    rest = [root for root in known if not any(root in pair for pair in chosen)]
    left = f" Not compared: {_listed(rest)}." if rest else ""
    named = _listed([_label(pair) or known[0] for pair in chosen])
    return f"Compared by root operation: {named}.{left}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


MOST_NAMED = 6
"""Root operations named in a sentence."""


def _roots_against(first: list[str], second: list[str], *, by_root: bool) -> Iterator[str]:
    if not first or not second or (by_root and set(first) & set(second)):
        return
    if first[0] != second[0]:
        yield (
            f"The main root operation differs: {first[0]} and {second[0]}, whose requests do not"
            " do the same."
        )


def is_profiled(manifest: Manifest) -> str:
    """Whether the service's stacks were sampled, which costs it CPU."""
    return "on" if manifest.experiment.get("cpu_profile") else "off"


def _checked(one: Manifest, two: Manifest) -> list[tuple[str, object, object]]:
    machine = [
        (f"The machine's {words}", getattr(one.machine, key), getattr(two.machine, key))
        for key, words in (
            ("cpus", "number of CPUs"),
            ("cpu_model", "CPU model"),
            ("os", "operating system"),
            ("python", "Python"),
        )
    ]
    versions = [
        (f"The version of {name}", one.versions.get(name), two.versions.get(name))
        for name in sorted({*one.versions, *two.versions})
    ]
    return [
        *machine,
        ("The latency profile", one.profile, two.profile),
        ("The scenario", one.scenario, two.scenario),
        ("The sampling of a CPU profile", is_profiled(one), is_profiled(two)),
        *versions,
    ]


def _paired(one: Measured, first: str | None, second: str | None) -> Iterator[Row]:
    """Two arms of one run by turns: its own questions, with the first arm as the baseline."""
    manifest = _with_baseline(one.manifest, first, second)
    blocks = block_table(manifest, one.requests, one.roots)
    rates = blocks.drop_duplicates("step").set_index("step")["rate_per_s"]
    for time in faster.end_to_end(manifest, one.requests, blocks):
        if time.time == "response":
            yield Row(
                root=None,
                rate_per_s=None if time.step is None else float(rates[time.step]),
                what=f"response time, {time.statistic}",
                before=time.before,
                after=time.after,
                difference=time.difference,
                relative=time.relative,
                decided=time.decided,
            )
    for operation in faster.operations(manifest, one.spans, blocks):
        if operation.which in ("all", "mixture"):
            gap = operation.saved.negated()
            yield Row(
                root=None,
                rate_per_s=None,
                what=f"{operation.operation}, mean",
                before=operation.before,
                after=operation.after,
                difference=gap,
                relative=None,
                decided=decide(gap),
            )
    for queries in database_load.reductions(manifest, one.calls, blocks):
        if queries.step is None:
            gap = difference(queries.after, queries.before)
            yield Row(
                root=None,
                rate_per_s=None,
                what=f"queries per request, {queries.collection or 'all'}",
                before=queries.before,
                after=queries.after,
                difference=gap,
                relative=None,
                decided=decide(gap),
            )


def _unpaired(one: _Numbers, two: _Numbers) -> Iterator[Row]:
    """Two runs, or arms that took no turns: block means and totals, each with its own scatter.

    Rates that nobody set, as in recordings and imported traces, differ by accident: there all
    are compared.
    """
    unset = any(not side.manifest.scenario for side in (one, two))
    rates = [] if unset else sorted(set(one.rates) & set(two.rates))
    scopes: list[float | None] = [None] if unset or set(one.rates) == set(two.rates) else []
    for rate in [*scopes, *rates]:
        after_of = two.estimates(rate)
        for what, before in one.estimates(rate).items():
            after = after_of.get(what)
            if after is None:
                continue
            gap = difference(after, before)
            yield Row(
                root=None,
                rate_per_s=rate,
                what=what,
                before=before,
                after=after,
                difference=gap,
                relative=gap.scaled(1.0 / before.value, "share") if before.value else None,
                decided=decide(gap),
            )


class _Numbers:
    """What one side measured, by rate."""

    def __init__(self, tables: Measured, arm: str | None) -> None:
        blocks, spans = tables.blocks, tables.spans
        self.manifest = tables.manifest
        self.blocks = blocks if arm is None else blocks[blocks["arm"] == arm]
        self.calls = tables.calls
        self.requests = tables.requests.sort_values("intended_ns")
        self.spans = spans if self.manifest.blocks else spans.assign(block=WHOLE_RUN)
        self.rates = sorted(self.blocks["rate_per_s"].unique()) if self.manifest.blocks else []

    def estimates(self, rate: float | None) -> dict[str, Estimate]:
        """Response times, operations and queries per request at one rate, or over all."""
        own = self.blocks if rate is None else self.blocks[self.blocks["rate_per_s"] == rate]
        found = self._response_times(own) if len(self.requests) else {}
        for row in database_load.by_step(self.calls, own.assign(step=0, rate_per_s=0.0)):
            found[f"queries per request, {row.collection or 'all'}"] = row.per_request
        if rate is None:
            found |= self._operations(own)
        return found

    def _response_times(self, own: pd.DataFrame) -> dict[str, Estimate]:
        if grows := why_no_mean(own):
            names = ("mean", *kinds.QUANTILES)
            return {f"response time, {name}": nothing("ms", grows) for name in names}
        times = times_by_block(self.requests, "intended_ns")
        chosen = [without_fast_failures(times[block]) for block in own["block"] if block in times]
        came = [each.ms[np.isfinite(each.ms)] for each in chosen]
        means = [float(block.mean()) for block in came if len(block)]
        n = sum(len(block) for block in came)
        held = pool([each.slowest_if_never for each in chosen], [each.exact for each in chosen])
        found = {"response time, mean": mean(means, unit="ms", n=n).at_least(0.0)}
        for name, q in kinds.QUANTILES.items():
            found[f"response time, {name}"] = quantile(held, q, unit="ms")
        return found

    def _operations(self, own: pd.DataFrame) -> dict[str, Estimate]:
        spans = self.spans[self.spans["block"].isin(own["block"])]
        took = spans["duration_ns"].astype("float64") / 1e6
        weight, place = weights_of(spans), [spans["name"], spans["block"]]
        means = (took * weight).groupby(place).sum() / weight.groupby(place).sum()
        sizes = spans.groupby("name").size()
        return {
            f"{name}, mean": mean(list(cells), unit="ms", n=int(sizes[name])).at_least(0.0)
            for name, cells in means.groupby(level=0)
        }


def _with_baseline(manifest: Manifest, first: str | None, second: str | None) -> Manifest:
    """The same manifest with these two arms only, the first as the baseline."""
    chosen = {one.name: one for one in manifest.arms}
    if first is None or second is None or first == second:
        raise InputError(
            f"{manifest.run_id}: an arm was compared with itself;"
            " name two arms, as in RUN:off RUN:on"
        )
    arms = (
        replace(chosen[first], baseline=True),
        replace(chosen[second], baseline=False),
    )
    return replace(manifest, arms=arms)
