"""Where does more load stop helping, and what is expected at a load that was not measured?

The knee by a stated rule first: the first step whose achieved rate falls below 99 % of the offered
one, or whose p95 is above twice that of the lowest step. Kneedle (Satopaa et al. 2011, ``kneed``)
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

import numpy as np
import pandas as pd

from analysis.document.formatting import plain
from analysis.errors import NotEnoughDataError
from analysis.questions.database_load.answer import LoadRow, load_rows
from analysis.questions.failures.answer import SERVER_ERROR
from analysis.questions.faster.times import times_by_block, without_fast_failures
from analysis.questions.measured import Measured
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, difference, nothing
from analysis.stats.quantiles import pool, quantile
from analysis.stats.queueing import erlang_c, servers_needed
from analysis.stats.scalability import METHOD, fit

KEEPS_UP_SHARE = 0.99
"""An achieved rate below this share of the offered one is past the knee."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class KneeRow:
    """Where more load stops helping an arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    knee_per_s: float | None
    """None where no level was past it."""
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
    peak_in_flight: float | None
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
    status = ordered["status_code"].astype("float64")
    sent = {
        row.step: row.achieved_per_s / row.offered_per_s
        for row in manifest.generator
        if row.offered_per_s
    }
    rows = []
    for (arm, step), own in blocks.groupby(["arm", "step"], sort=True, dropna=False):
        offered = float(own["rate_per_s"].iloc[0])
        chosen = [
            without_fast_failures(by_block[block]) for block in own["block"] if block in by_block
        ]
        if not chosen:
            continue
        answered = float((status[ordered["block"].isin(own["block"])] < SERVER_ERROR).mean())
        kept = answered * min(sent.get(int(str(step)), 1.0), 1.0)
        achieved = offered * kept / float(own["stretch"].iloc[0])
        took = np.concatenate([each.ms for each in chosen])
        took = took[np.isfinite(took)]
        rows.append(
            StepRow(
                arm=arm if isinstance(arm, str) else None,
                step=int(str(step)),
                offered_per_s=offered,
                achieved_per_s=achieved,
                p95_ms=quantile(
                    pool([each.slowest_if_never for each in chosen], [e.exact for e in chosen]),
                    0.95,
                    unit="ms",
                ),
                in_flight=achieved * float(took.mean()) / 1e3 if len(took) else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.arm is None, row.arm or "", row.offered_per_s)))


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
        broken = ((level, _rule_broken(level, objective)) for level in own)
        knee, rule = next(
            ((level.offered_per_s, rule) for level, rule in broken if rule), (None, None)
        )
        rows.append(
            KneeRow(
                arm=arm,
                knee_per_s=knee,
                objective_ms=objective,
                rule=rule,
                kneedle_per_s=kneedle(offered, p95),
                sentence=_knee_sentence(own, knee, rule),
            )
        )
    return tuple(rows)


def _knee_sentence(own: Sequence[StepRow], knee: float | None, rule: str | None) -> str:
    """Where the knee is, or how far nobody has met one."""
    if knee is not None:
        return f"At {plain(knee, 'per_s')}: {rule}."
    highest = plain(own[-1].offered_per_s, "per_s")
    if len(own) == 1:
        return f"Only one rate was tried, {highest}, and the service kept up with it."
    return f"No knee up to {highest}, the highest rate that was tried."


def _rule_broken(level: StepRow, objective_ms: float) -> str | None:
    """What puts a level past the knee, None where nothing does."""
    if level.achieved_per_s < KEEPS_UP_SHARE * level.offered_per_s:
        return "achieved below 99 % of offered"
    if (level.p95_ms.value or math.nan) > objective_ms:
        return f"p95 above {objective_ms:.0f} ms"
    return None


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
                    peak_in_flight=None,
                    method=METHOD,
                    sentence=f"{error}.",
                )
            )
            continue
        rows.append(
            ScalabilityRow(
                arm=arm,
                alpha=found.alpha,
                beta=found.beta,
                gamma=found.gamma,
                r_squared=found.r_squared,
                peak_in_flight=found.peak_concurrency,
                method=METHOD,
                sentence=_peak_sentence(found.peak_concurrency, float(in_flight.max())),
            )
        )
    return tuple(rows)


def _peak_sentence(peak: float | None, measured_to: float) -> str:
    """Where the fit has its highest throughput, and whether anybody has been there."""
    if peak is None:
        return "No peak: throughput never falls with more in flight, as far as was measured."
    if peak <= measured_to:
        return f"Throughput peaks at {peak:.0f} requests in flight."
    return (
        f"Throughput would peak at {peak:.0f} requests in flight: carried on from"
        f" {measured_to:.0f}, the most that was measured."
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
    connections for, times the hidden step's rate.
    """
    rows = []
    for (arm, collection), (*shown, hidden) in _by_collection(load).items():
        if not shown or not all(row.held_s_per_request.value for row in (*shown, hidden)):
            continue
        carried = _together(shown)
        held = carried.value or 0.0
        predicted = held * hidden.achieved_per_s
        seen = hidden.held_s_per_request
        measured = (seen.value or 0.0) * hidden.achieved_per_s
        error = predicted / measured - 1.0 if measured else math.nan
        gap = difference(seen, carried)
        if gap.has_interval:
            fine = gap.includes(0.0) or abs(error) <= MOVES_BY
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
                    f" connections predicted and {measured:.3g} measured ({error:+.1%})."
                ),
            )
        )
    return tuple(rows)
