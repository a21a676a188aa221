"""What did many runs of one experiment find, one after the other, and is the newest one worse?

Runs differ by more than their blocks do: a machine, a kernel, a neighbour. What decides is
therefore the scatter of earlier runs, not the interval of one. The newest run is held against the
mean of the earlier ones by Student's t on logarithms, one-sided, all numbers together (Holm): a
service that became worse by no more than the margin fails in at most 5 % of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import ruptures
from scipy.special import stdtr, stdtrit

from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster.answer import Faster
from analysis.questions.findings import Findings
from analysis.questions.shares.answer import Shares
from analysis.rundir.manifest import Manifest
from analysis.stats.family import holm
from analysis.stats.intervals import Estimate, Floats

LEAST_EARLIER = 5
"""With fewer earlier runs their scatter is hardly known: t with 3 degrees is 1.5 times as wide."""

LEAST_FOR_CHANGES = 8
"""Runs below which no change point is looked for: a level needs three on either side."""

PENALTY = 5.0
"""Per change point, in variances and times log n: of series without any, 8 to 60 long, at most
5 % show one (docs/statistics.md)."""

MOST_FREEDOM = 4
"""Degrees of freedom of Student's t, however many runs there are: of runs whose scatter has heavy
tails (t with 4) any of five numbers was falsely worse in 12 % with n - 1, in 4 % with these."""

_LEVEL_RUNS = 3
_LEVEL = 0.05
_POWER = 0.8

Worse = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A number in one run."""

    run: str
    started_ns: int
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether the newest run is worse than the earlier ones by more than the margin."""

    decided: str
    """worse, not worse, or not decided."""
    worse_by: Estimate | None
    """Relative; below 0 it is better. The interval is that of one more run like the earlier."""
    could_see: float | None
    """How much worse a run must be to be called so in four of five cases."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One number of one arm through the runs."""

    arm: str | None
    what: str
    worse: Worse
    """In which direction it gets worse."""
    points: tuple[Point, ...]
    changes: tuple[str, ...]
    """The runs with which another level begins."""
    gate: Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A run that was given and is in no series."""

    run: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The runs of the newest one's experiment on its machine, in order of time."""

    experiment: str
    runs: tuple[str, ...]
    apart: tuple[Apart, ...]
    margin: float
    last: int
    newest_is_invalid: bool
    series: tuple[Series, ...]

    @property
    def is_worse(self) -> bool:
        """Whether any number of the newest run is."""
        return any(one.gate.decided == "worse" for one in self.series)


def answer(
    runs: Sequence[tuple[Manifest, Findings]], *, margin: float = 0.02, last: int = 10
) -> History:
    """The newest run against up to ``last`` earlier ones; worse counts from ``margin`` on."""
    ordered = sorted(runs, key=lambda one: one[0].started_ns)
    newest, found = ordered[-1]
    apart = [
        Apart(run=manifest.run_id, why=why)
        for manifest, own in ordered
        if (why := _why_apart(manifest, own, newest))
    ]
    set_apart = {one.run for one in apart}
    kept = [one for one in ordered if one[0].run_id not in set_apart]
    lines: dict[tuple[str | None, str, Worse], list[Point]] = {}
    for manifest, own in kept:
        for key, estimate in _numbers(own):
            point = Point(run=manifest.run_id, started_ns=manifest.started_ns, estimate=estimate)
            lines.setdefault(key, []).append(point)
    series = [
        Series(
            arm=arm, what=what, worse=worse, points=tuple(points), changes=tuple(changes(points)),
            gate=gate(points, worse, margin=margin, last=last),
        )
        for (arm, what, worse), points in lines.items()
        if points[-1].run == newest.run_id
    ]  # fmt: skip
    return History(
        experiment=newest.name, runs=tuple(one.run_id for one, _ in kept), apart=tuple(apart),
        margin=margin, last=last, newest_is_invalid=found.is_invalid,
        series=together(series, margin=margin),
    )  # fmt: skip


def _why_apart(one: Manifest, found: Findings, newest: Manifest) -> str:
    if found.is_invalid:
        return "it is INVALID: no number in it may be believed"
    for what, here, there in (
        ("experiment", one.name, newest.name),
        ("scenario", one.scenario, newest.scenario),
        ("latency profile", one.profile, newest.profile),
        ("number of CPUs", one.machine.cpus, newest.machine.cpus),
        ("CPU model", one.machine.cpu_model, newest.machine.cpu_model),
        ("load levels", _rates(one), _rates(newest)),
        ("arms", [arm.name for arm in one.arms], [arm.name for arm in newest.arms]),
    ):
        if here != there:
            return f"its {what} differs: {_said(here)}, where the newest run has {_said(there)}"
    return ""


def _rates(manifest: Manifest) -> list[str]:
    return [f"{step.rate_per_s:g}/s" for step in manifest.steps]


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value else "not recorded"


Number = tuple[tuple[str | None, str, Worse], Estimate]
"""Arm, words and direction of a number, and what a run says of it."""


def _numbers(found: Findings) -> Iterator[Number]:
    """The headline numbers of a run: times, queries, hit rate."""
    times = list(_times(found))
    yield from times
    for request in () if times else found.of(Shares).requests:
        yield (request.arm, "mean time of a request", "higher"), request.mean_ms
    yield from _queries(found)
    for rate in found.of(DatabaseLoad).hit_rates:
        if rate.step is None:
            yield (rate.arm, "hit rate", "lower"), rate.hit_rate


def _times(found: Findings) -> Iterator[Number]:
    rows = [
        row
        for row in found.of(Faster).end_to_end
        if (row.step, row.time, row.statistic) == (None, "response", "mean")
    ]
    for row in rows[:1]:
        yield (found.run.baseline, "mean response time", "higher"), row.before
    for row in rows:
        yield (row.arm, "mean response time", "higher"), row.after


def _queries(found: Findings) -> Iterator[Number]:
    rows = [
        row
        for row in found.of(DatabaseLoad).reductions
        if row.step is None and row.collection is None
    ]
    for row in rows[:1]:
        yield (found.run.baseline, "queries per request", "higher"), row.before
    for row in rows:
        yield (row.arm, "queries per request", "higher"), row.after


def changes(points: Sequence[Point]) -> Iterator[str]:
    """The runs with which another level begins: PELT on logarithms, a level being a mean.

    The scatter is that of neighbouring runs, which a step moves little.
    """
    logs = _logs(points)
    if logs is None or len(logs) < LEAST_FOR_CHANGES:
        return
    scatter = math.sqrt(float(np.mean(np.diff(logs) ** 2)) / 2)
    if scatter == 0:
        return
    search = ruptures.Pelt(model="l2", min_size=_LEVEL_RUNS, jump=1)
    places = search.fit((logs / scatter).reshape(-1, 1)).predict(pen=PENALTY * math.log(len(logs)))
    yield from (points[place].run for place in places[:-1])


def _logs(points: Sequence[Point]) -> Floats | None:
    values = np.array([one.estimate.value or math.nan for one in points], np.float64)
    return np.log(values) if (values > 0).all() else None


def gate(points: Sequence[Point], worse: Worse, *, margin: float, last: int) -> Gate:
    """The newest of these against the earlier; the word is said of all numbers together."""
    logs = _logs(points[-1 - last :])
    if logs is None:
        return _undecided("A run has none of it, so that no run can be so many percent worse.")
    earlier, count = logs[:-1], len(logs) - 1
    if count < LEAST_EARLIER:
        return _undecided(f"{count} earlier runs, and {LEAST_EARLIER} are needed.")
    error, freedom = _error_of_one_more(earlier), min(count - 1, MOST_FREEDOM)
    distance = float(logs[-1] - earlier.mean()) * (1 if worse == "higher" else -1)
    reach = float(stdtrit(freedom, 0.975)) * error
    seen = float(stdtrit(freedom, 1 - _LEVEL) + stdtrit(freedom, _POWER)) * error
    by = Estimate(
        value=math.expm1(distance), low=math.expm1(distance - reach),
        high=math.expm1(distance + reach), unit="share", n=count + 1, blocks=count,
        method="one more run against the earlier ones, t with 4 degrees of freedom on logarithms",
    )  # fmt: skip
    return Gate(
        decided="", worse_by=by, could_see=math.expm1(math.log1p(margin) + seen), sentence=""
    )


def _error_of_one_more(earlier: Floats) -> float:
    """Standard error of one more run minus the mean of the earlier."""
    return float(earlier.std(ddof=1)) * math.sqrt(1 + 1 / len(earlier))


def _undecided(why: str) -> Gate:
    return Gate(decided="not decided", worse_by=None, could_see=None, sentence=why)


def together(series: Sequence[Series], *, margin: float) -> tuple[Series, ...]:
    """The series with the verdicts that all of them together allow."""
    p_values = np.array([_p_value(one.gate.worse_by, margin) for one in series], np.float64)
    sure = holm(p_values, np.zeros(len(series), dtype=np.bool_), _LEVEL)
    return tuple(
        replace(one, gate=_said_gate(one, worse=bool(worse), margin=margin))
        for one, worse in zip(series, sure, strict=True)
    )


def _p_value(by: Estimate | None, margin: float) -> float:
    """One-sided, of "it is worse by the margin at most"."""
    if by is None or by.value is None or by.low is None or by.high is None:
        return math.nan
    reach = math.log1p(by.high) - math.log1p(by.value)
    beyond = math.log1p(by.value) - math.log1p(margin)
    if reach <= 0:  # counts that were the same in every earlier run
        return 0.0 if beyond > 0 else 1.0
    freedom = min(by.blocks - 1, MOST_FREEDOM)
    return float(stdtr(freedom, -beyond / reach * float(stdtrit(freedom, 0.975))))


def _said_gate(one: Series, *, worse: bool, margin: float) -> Gate:
    by = one.gate.worse_by
    if by is None or by.value is None or by.low is None or by.high is None:
        return one.gate
    word = "worse" if by.value > 0 else "better"
    size = f"{abs(by.value):.1%} {word} than the mean of the last {by.blocks}"
    ends = f"one more run like them lies within {(by.high - by.value):.1%} of it"
    if worse:
        said = f"{size}: by more than {margin:.0%}."
        return replace(one.gate, decided="worse", sentence=said)
    said = f"{size}; {ends}, and {one.gate.could_see:.1%} worse would have been seen."
    return replace(one.gate, decided="not worse", sentence=said)
