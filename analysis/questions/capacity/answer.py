"""Where does more load stop helping, and what is expected at a load that was not measured?

The knee by a stated rule first: the first step that surely achieves less than 99 % of what the
lowest step achieves of its offered rate, or whose p95 is surely above twice the lowest step's.
Surely means by Welch's t over the blocks of both steps, 95 % for all steps together: errors that
every step has are no knee, and one step alone has none. Kneedle (Satopaa et al. 2011, ``kneed``)
is a second opinion only: its sensitivity alone moves one curve's knee from 22 to 482. Beyond the
last measured step everything is an extrapolation. What can bend there is how long a request holds
connections, so that is tested, by hiding the highest step and predicting its busy connections;
queries per request hardly move. Where the held time moves with the rate, no connections are given
for a rate that was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from analysis.document.formatting import plain
from analysis.errors import NotEnoughDataError
from analysis.questions.database_load.answer import LoadRow, load_rows
from analysis.questions.failures.answer import SERVER_ERROR
from analysis.questions.faster.times import Times, times_by_block, without_fast_failures
from analysis.questions.measured import Measured
from analysis.rundir.manifest import Manifest
from analysis.stats.family import NOT_DECIDED, Hypothesis, decisions
from analysis.stats.intervals import CONFIDENCE, Estimate, Floats, difference, nothing
from analysis.stats.quantiles import pool, quantile
from analysis.stats.queueing import erlang_c, servers_needed
from analysis.stats.scalability import METHOD, fit, peak
from analysis.stats.unpaired import difference_of_means

KEEPS_UP_SHARE = 0.99
"""Past the knee is what achieves less than this share of what the lowest step does."""

OBJECTIVE_TIMES_LOWEST = 2.0
"""A p95 above twice the lowest step's is past the knee."""

EXPECTED_RATE_PER_S = 1000.0
"""The rate at which the question "what would this be worth" is asked: the write-up's own."""

ACCEPTED_WAIT_SHARE = 0.01
"""A pool is large enough when at most 1 % of the queries wait for a connection (M/M/c)."""

EXTRAPOLATES_WITHIN = 0.15
"""Without intervals a hidden step predicted within 15 % of what was measured is carried on."""

MOVES_BY = 0.05
"""A held time that is surely another than predicted and by more than 5 % moves with the rate."""

_TAIL = 0.95

MIN_STEPS_FOR_KNEEDLE = 5
"""Fewer points have no curvature to speak of."""

KNEEDLE_SENSITIVITY = 1.0
"""The authors' own default, named because the answer hangs on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """What an arm did at a load level."""

    arm: str | None
    """Which arm; none where the run names none."""
    step: int
    offered_per_s: float
    achieved_per_s: float
    p95_ms: Estimate
    in_flight: float | None
    """Requests in flight, by Little's law."""
    in_time: float
    """Share of the offered rate that was sent and taken up in time, whatever was answered."""
    failing_more: Estimate
    """Share that was not answered, or with a server's error, less that of the lowest level."""
    slowdown: Estimate
    """Geometric mean of the blocks' p95 over that of the lowest level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KneeRow:
    """Where more load stops helping an arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    knee_per_s: float | None
    """The lowest level that is surely past it; None where there is none."""
    above_per_s: float | None
    """The highest level below it that surely is not past it: the knee lies between the two."""
    undecided_per_s: tuple[float, ...]
    """Levels of which the scatter of their blocks does not tell."""
    objective_ms: float
    rule: str | None
    """The rule that the knee's level broke."""
    kneedle_per_s: float | None
    """Kneedle's opinion."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalabilityRow:
    """The Universal Scalability Law fitted to an arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    alpha: float | None
    beta: float | None
    gamma: float | None
    r_squared: float | None
    peak_in_flight: Estimate
    """Where throughput is highest; without a value where that is not within twice the range."""
    method: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationRow:
    """What a rate that was not measured would do to the database."""

    arm: str | None
    """Which arm; none where the run names none."""
    collection: str | None
    """None for all queries together."""
    rate_per_s: float
    measured_to_per_s: float
    """The highest measured rate."""
    queries_per_s: Estimate
    busy_connections: Estimate
    connections_needed: int | None
    """A pool of so many makes hardly any query wait."""
    p_wait: float | None
    """Share of queries that wait with that pool."""
    saved_queries_per_s: Estimate | None
    """What the baseline would need more."""
    saved_connections: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrapolationRow:
    """The highest load level hidden and predicted from the others."""

    arm: str | None
    """Which arm; none where the run names none."""
    collection: str | None
    """None for all queries together."""
    hidden_per_s: float
    predicted: float
    """Busy connections."""
    measured: float
    error: float | None
    """Predicted over measured, minus 1."""
    extrapolates: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Where more load stops helping, and what is expected beyond what was measured."""

    steps: tuple[StepRow, ...]
    knees: tuple[KneeRow, ...]
    scalability: tuple[ScalabilityRow, ...]
    expectation: tuple[ExpectationRow, ...]
    extrapolation: tuple[ExtrapolationRow, ...]


def answer(measured: Measured) -> Capacity:
    """Where more load stops helping, and what is expected of the database beyond it."""
    manifest, load = measured.manifest, measured.once(load_rows)
    levels = steps(manifest, measured.requests, measured.blocks)
    tried = extrapolation(load)
    return Capacity(
        steps=levels,
        knees=knees(levels),
        scalability=scalability(levels),
        expectation=tuple(
            _without_moving(row, tried, load, manifest.baseline)
            for row in expectation(
                load, rate_per_s=EXPECTED_RATE_PER_S, baseline=manifest.baseline
            )
        ),
        extrapolation=tried,
    )


def steps(manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame) -> tuple[StepRow, ...]:
    """What each arm did at each load: achieved rate, p95 of response time, requests in flight.

    Achieved is the rate at which answers came out: the offered rate, less what was not sent, not
    answered or answered with a server's error, and slower by as much as the answers came later and
    later (``blocks`` as ``analysis.rundir.blocks.block_table``, with its ``stretch``).
    """
    ordered = requests.sort_values("intended_ns")
    by_block = times_by_block(ordered, "intended_ns")
    good = (ordered["status_code"].astype("float64") < SERVER_ERROR).groupby(ordered["block"])
    answered = good.mean()
    sent = {
        row.step: row.achieved_per_s / row.offered_per_s
        for row in manifest.generator
        if row.offered_per_s
    }
    rows: list[StepRow] = []
    for arm, of_arm in blocks.groupby("arm", sort=True, dropna=False):
        measured = [
            _Level(
                step=int(str(step)),
                offered_per_s=float(own["rate_per_s"].iloc[0]),
                in_time=min(sent.get(int(str(step)), 1.0), 1.0) / float(own["stretch"].iloc[0]),
                blocks=[
                    (without_fast_failures(by_block[block]), float(answered[block]))
                    for block in own["block"]
                    if block in by_block
                ],
            )
            for step, own in of_arm.groupby("step", sort=True)
        ]
        levels = sorted((one for one in measured if one.blocks), key=lambda one: one.offered_per_s)
        # Two questions of every level but the lowest: 95 % for all of them together.
        sure = 1.0 - (1.0 - CONFIDENCE) / max(2 * (len(levels) - 1), 1)
        rows += [
            _step(arm if isinstance(arm, str) else None, level, levels[0], sure)
            for level in levels
        ]
    return tuple(sorted(rows, key=lambda row: (row.arm is None, row.arm or "", row.offered_per_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """The blocks of an arm at a load level."""

    step: int
    offered_per_s: float
    in_time: float
    blocks: list[tuple[Times, float]]
    """The times of a block, and the share of its arrivals that was answered."""

    @property
    def answered(self) -> float:
        """Share of all arrivals that was answered without a server's error."""
        arrivals = [len(times.ms) for times, _ in self.blocks]
        return float(np.average([share for _, share in self.blocks], weights=arrivals))

    def failing(self) -> Floats:
        """By block, the share that was not."""
        return 1.0 - np.array([share for _, share in self.blocks], np.float64)

    def log_p95(self) -> Floats:
        """By block, the logarithm of its p95; not finite where it lies beyond what was seen."""
        found = [
            quantile(pool([times.slowest_if_never], [times.exact]), _TAIL, unit="ms").value
            for times, _ in self.blocks
        ]
        return np.log(np.array([value or math.nan for value in found], np.float64))


def _step(arm: str | None, level: _Level, lowest: _Level, sure: float) -> StepRow:
    """One level, against the lowest of its arm."""
    times = [each for each, _ in level.blocks]
    took = np.concatenate([each.ms for each in times])
    took = took[np.isfinite(took)]
    achieved = level.offered_per_s * level.answered * level.in_time
    p95 = quantile(
        pool([each.slowest_if_never for each in times], [each.exact for each in times]),
        _TAIL,
        unit="ms",
    )
    slower = difference_of_means(
        level.log_p95(), lowest.log_p95(), unit="log", n=p95.n, confidence=sure
    )
    ends = [
        None if one is None else math.exp(one) for one in (slower.value, slower.low, slower.high)
    ]
    return StepRow(
        arm=arm,
        step=level.step,
        offered_per_s=level.offered_per_s,
        achieved_per_s=achieved,
        p95_ms=p95,
        in_flight=achieved * float(took.mean()) / 1e3 if len(took) else None,
        in_time=level.in_time,
        failing_more=difference_of_means(
            level.failing(), lowest.failing(), unit="share", n=p95.n, confidence=sure
        ),
        slowdown=replace(slower, value=ends[0], low=ends[1], high=ends[2], unit="ratio"),
    )


def _by_arm(levels: Iterable[StepRow]) -> dict[str, list[StepRow]]:
    """The levels of each named arm, in order of their rate."""
    own: dict[str, list[StepRow]] = {}
    for level in levels:
        if level.arm is not None:
            own.setdefault(level.arm, []).append(level)
    return own


def knees(levels: Iterable[StepRow]) -> tuple[KneeRow, ...]:
    """The knee of each arm by the stated rule, and Kneedle's opinion."""
    rows = []
    for arm, own in _by_arm(levels).items():
        offered = np.array([level.offered_per_s for level in own], np.float64)
        p95 = np.array([level.p95_ms.value or math.nan for level in own], np.float64)
        objective = OBJECTIVE_TIMES_LOWEST * float(p95[0])
        past = [(level, _past(level, own[0], objective)) for level in own[1:]]
        knee, rule = next(((level, said) for level, said in past if said), (None, None))
        below = [one for one in past if knee is None or one[0].offered_per_s < knee.offered_per_s]
        held = [level.offered_per_s for level, said in below if said is False]
        rows.append(
            KneeRow(
                arm=arm,
                knee_per_s=knee.offered_per_s if knee else None,
                above_per_s=max([own[0].offered_per_s, *held]) if knee else None,
                undecided_per_s=tuple(one.offered_per_s for one, said in below if said is None),
                objective_ms=objective,
                rule=rule or None,
                kneedle_per_s=kneedle(offered, p95),
                sentence=_knee_sentence(own, below, knee, rule or ""),
            )
        )
    return tuple(rows)


Said = str | Literal[False] | None
"""The rule that a level surely breaks, False where it surely keeps both, None where neither."""


def _past(level: StepRow, lowest: StepRow, objective_ms: float) -> Said:
    """Which rule puts a level past the knee."""
    more, slower = level.failing_more, level.slowdown
    kept = 1.0 if lowest.in_time <= 0 else level.in_time / lowest.in_time
    answered = lowest.achieved_per_s / (lowest.offered_per_s * lowest.in_time or 1.0)
    best, worst = (
        None if end is None or not answered else kept * (1.0 - end / answered)
        for end in (more.low, more.high)
    )
    if kept < KEEPS_UP_SHARE or (best is not None and best < KEEPS_UP_SHARE):
        return f"achieved less than {KEEPS_UP_SHARE:.0%} of what the lowest rate does"
    if slower.low is not None and slower.low > OBJECTIVE_TIMES_LOWEST:
        return f"p95 above {objective_ms:.0f} ms"
    keeps_up = worst is not None and worst >= KEEPS_UP_SHARE
    is_fast = slower.high is not None and slower.high <= OBJECTIVE_TIMES_LOWEST
    return False if keeps_up and is_fast else None


def _knee_sentence(
    own: Sequence[StepRow],
    below: Sequence[tuple[StepRow, Said]],
    knee: StepRow | None,
    rule: str,
) -> str:
    """Between which levels the knee is, or how far nobody has met one."""
    lowest = plain(own[0].offered_per_s, "per_s")
    if own[0].in_time < KEEPS_UP_SHARE:
        fell = f"fell behind at {lowest}, of which it took up {own[0].in_time:.0%} in time"
        if len(own) == 1:
            return f"Only one rate was tried, and the service {fell}: any knee lies below."
        return f"The service {fell}: any knee lies below that, the lowest rate that was tried."
    if len(own) == 1:
        return (
            f"Only one rate was tried, {lowest}, and the service took it up in time: one rate"
            " shows no knee."
        )
    held = [level.offered_per_s for level, said in below if said is False]
    if knee is not None:
        first = plain(max([own[0].offered_per_s, *held]), "per_s")
        return f"Between {first} and {plain(knee.offered_per_s, 'per_s')}: {rule}."
    unsure = [plain(one.offered_per_s, "per_s") for one, said in below if said is None]
    if unsure:
        return (
            f"No knee was found; at {', '.join(unsure)} the scatter of the blocks does not tell"
            " whether the service is past one."
        )
    highest = plain(own[-1].offered_per_s, "per_s")
    return f"No knee up to {highest}, the highest rate that was tried."


def kneedle(offered: Floats, p95: Floats) -> float | None:
    """Kneedle's knee of an increasing convex curve, None without one or with too few points."""
    if len(offered) < MIN_STEPS_FOR_KNEEDLE or not np.isfinite(p95).all() or np.ptp(p95) == 0:
        return None
    from kneed import KneeLocator  # noqa: PLC0415 - brings pyplot, and few runs have enough steps

    found = KneeLocator(
        offered, p95, S=KNEEDLE_SENSITIVITY, curve="convex", direction="increasing"
    ).knee
    return None if found is None else float(found)


def scalability(levels: Iterable[StepRow]) -> tuple[ScalabilityRow, ...]:
    """The Universal Scalability Law by arm, over requests in flight (Little: N = X R)."""
    rows = []
    for arm, own in _by_arm(levels).items():
        known = [(one.in_flight, one.achieved_per_s) for one in own if one.in_flight is not None]
        in_flight, achieved = np.array(known, np.float64).reshape(-1, 2).T
        try:
            found = fit(in_flight, achieved)
        except NotEnoughDataError as error:
            rows.append(
                ScalabilityRow(
                    arm=arm,
                    alpha=None,
                    beta=None,
                    gamma=None,
                    r_squared=None,
                    peak_in_flight=nothing("requests", str(error)),
                    method=METHOD,
                    sentence=f"{error}.",
                )
            )
            continue
        top = peak(in_flight, achieved)
        rows.append(
            ScalabilityRow(
                arm=arm,
                alpha=found.alpha,
                beta=found.beta,
                gamma=found.gamma,
                r_squared=found.r_squared,
                peak_in_flight=top,
                method=METHOD,
                sentence=_peak_sentence(top, float(in_flight.max())),
            )
        )
    return tuple(rows)


def _peak_sentence(top: Estimate, measured_to: float) -> str:
    """Where the fit has its highest throughput, and whether anybody has been there."""
    if top.value is None:
        return (
            f"No peak within twice the measured range, {2 * measured_to:.0f} requests in flight,"
            " that the fit could tell from none."
        )
    where = f"{top.value:.0f} [{top.low or 0.0:.0f}, {top.high or 0.0:.0f}] requests in flight"
    if (top.high or math.inf) <= measured_to:
        return f"Throughput peaks at {where}."
    return (
        f"Throughput would peak at {where}: carried on from {measured_to:.0f}, the most that was"
        " measured."
    )


def _by_collection(
    load: Iterable[LoadRow],
) -> dict[tuple[str | None, str | None], list[LoadRow]]:
    """The load levels of each arm and collection, in order of their rate."""
    own: dict[tuple[str | None, str | None], list[LoadRow]] = {}
    for row in load:
        own.setdefault((row.arm, row.collection), []).append(row)
    return {key: sorted(rows, key=lambda row: row.offered_per_s) for key, rows in own.items()}


def expectation(
    load: Iterable[LoadRow], *, rate_per_s: float, baseline: str | None = None
) -> tuple[ExpectationRow, ...]:
    """What a rate would do to the database, in proportion to the highest step.

    Saved is what ``baseline`` would need more.
    """
    highest = {key: rows[-1] for key, rows in _by_collection(load).items()}
    return tuple(
        _expected(
            top,
            None if baseline in (None, arm) else highest.get((baseline, collection)),
            rate_per_s,
        )
        for (arm, collection), top in highest.items()
    )


def _expected(top: LoadRow, base: LoadRow | None, rate_per_s: float) -> ExpectationRow:
    """One arm and collection, ``base`` being the same of the baseline.

    Busy connections are the rate times what a request holds connections for, with the scatter of
    both: how many queries it makes, and how long each is busy.
    """
    queries = top.per_request.scaled(rate_per_s, "per_s")
    busy = top.held_s_per_request.scaled(rate_per_s, "connections")
    saved_queries = saved_connections = None
    if base is not None:
        asked = base.per_request.scaled(rate_per_s, "per_s")
        held = base.held_s_per_request.scaled(rate_per_s, "connections")
        if queries.value == 0 and asked.value and held.value:
            # No query was seen: as many as there may be, each held as long as the baseline's.
            busy = queries.scaled(held.value / asked.value, "connections")
        saved_queries, saved_connections = difference(asked, queries), difference(held, busy)
    needed = p_wait = None
    if queries.value and busy.value:
        per_connection = queries.value / busy.value
        needed = servers_needed(queries.value, per_connection, p_wait=ACCEPTED_WAIT_SHARE)
        p_wait = erlang_c(needed, busy.value)
    return ExpectationRow(
        arm=top.arm,
        collection=top.collection,
        rate_per_s=rate_per_s,
        measured_to_per_s=top.offered_per_s,
        queries_per_s=queries,
        busy_connections=busy,
        connections_needed=needed,
        p_wait=p_wait,
        saved_queries_per_s=saved_queries,
        saved_connections=saved_connections,
    )


def _together(levels: list[LoadRow]) -> Estimate:
    """How long a request of several levels holds connections, each level by its rate."""
    rates = np.array([row.achieved_per_s for row in levels], np.float64)
    parts = rates / rates.sum()
    held = [row.held_s_per_request for row in levels]
    value = float(parts @ np.array([one.value for one in held], np.float64))
    ends = np.array([(one.low, one.high) for one in held], np.float64)
    if not np.isfinite(ends).all():
        return replace(held[0], value=value, low=None, high=None)
    reach = math.hypot(*(parts * (ends[:, 1] - ends[:, 0]) / 2))
    return replace(held[0], value=value, low=value - reach, high=value + reach)


def _without_moving(
    row: ExpectationRow,
    tried: tuple[ExtrapolationRow, ...],
    load: Iterable[LoadRow],
    baseline: str | None,
) -> ExpectationRow:
    """The row without the connections that its arm, or the baseline, does not carry on."""
    if row.rate_per_s <= row.measured_to_per_s:
        return row
    moving = [
        one.arm
        for one in tried
        if one.collection == row.collection and not one.extrapolates
        if one.arm in (row.arm, baseline)
    ]
    if not moving:
        return row
    levels = _by_collection(load)[moving[0], row.collection]
    held = ", ".join(
        f"{1e3 * (one.held_s_per_request.value or 0.0):.3g} ms at {one.offered_per_s:g}/s"
        for one in levels
    )
    whose = f" in {moving[0]}" if moving[0] else ""
    none = nothing(
        "connections",
        f"how long a request holds connections moves with the rate{whose}: {held}",
        n=row.busy_connections.n,
        blocks=row.busy_connections.blocks,
    )
    own = row.arm in moving
    return replace(
        row,
        busy_connections=none if own else row.busy_connections,
        connections_needed=None if own else row.connections_needed,
        p_wait=None if own else row.p_wait,
        saved_connections=None if row.saved_connections is None else none,
    )


def extrapolation(load: Iterable[LoadRow]) -> tuple[ExtrapolationRow, ...]:
    """The highest step hidden and predicted from the others: busy connections, in proportion.

    The prediction is a line through the origin: what a request of the other steps holds
    connections for, times the hidden step's rate. That it does not carry on is decided for all
    arms and collections together.
    """
    tried = [
        (arm, collection, hidden, _together(shown))
        for (arm, collection), (*shown, hidden) in _by_collection(load).items()
        if shown and all(row.held_s_per_request.value for row in (*shown, hidden))
    ]
    gaps = [difference(hidden.held_s_per_request, carried) for _, _, hidden, carried in tried]
    moved = decisions([Hypothesis(estimate=gap) for gap in gaps])
    rows = []
    for (arm, collection, hidden, carried), gap, said in zip(tried, gaps, moved, strict=True):
        held = carried.value or 0.0
        predicted = held * hidden.achieved_per_s
        seen = hidden.held_s_per_request
        measured = (seen.value or 0.0) * hidden.achieved_per_s
        error = predicted / measured - 1.0 if measured else math.nan
        if gap.has_interval:
            fine = said == NOT_DECIDED or abs(error) <= MOVES_BY
        else:
            fine = abs(error) <= EXTRAPOLATES_WITHIN
        word = "It extrapolates" if fine else "It does not extrapolate"
        rows.append(
            ExtrapolationRow(
                arm=arm,
                collection=collection,
                hidden_per_s=hidden.offered_per_s,
                predicted=predicted,
                measured=measured,
                error=error,
                extrapolates=fine,
                sentence=(
                    f"{word}: {hidden.offered_per_s:g}/s was hidden, {predicted:.3g} busy"
                    f" connections predicted and {measured:.3g} measured"
                    f" ({abs(error):.1%} too {'much' if error > 0 else 'little'})."
                ),
            )
        )
    return tuple(rows)
