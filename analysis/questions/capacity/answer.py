"""Where does more load stop helping, and what is expected at a load that was not measured?

The knee by a stated rule first: the first step whose achieved rate falls below 99 % of the offered
one, or whose p95 exceeds the objective. Kneedle (Satopaa et al. 2011, ``kneed``) is a second
opinion only: its sensitivity alone moves one curve's knee from 22 to 482. Beyond the last measured
step everything is an extrapolation. Of it the queries a second are first tried, by hiding the
highest step and predicting it; that a query holds its connection as long as there is assumed.

Answer of ``steps``: arm, step, offered_per_s, achieved_per_s, p95_ms, in_flight. Of ``knees``:
arm, knee_per_s, rule, kneedle_per_s, sentence. Of ``expectation``: arm, collection, rate_per_s,
queries_per_s, busy_connections, connections_needed, p_wait, saved_queries_per_s,
saved_connections. Of ``extrapolation``: arm, collection, hidden_per_s, predicted, measured, error,
extrapolates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from analysis.errors import NotEnoughDataError
from analysis.questions.database_load.answer import LoadRow, load_rows
from analysis.questions.failures.answer import SERVER_ERROR
from analysis.questions.faster.answer import answer_ms
from analysis.questions.measured import Measured
from analysis.questions.rows import typed
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, difference
from analysis.stats.quantiles import quantile
from analysis.stats.queueing import erlang_c, servers_needed
from analysis.stats.scalability import METHOD, fit

KEEPS_UP_SHARE = 0.99
"""An achieved rate below this share of the offered one is past the knee."""

OBJECTIVE_TIMES_LOWEST = 2.0
"""Without a named objective: p95 above twice the lowest step's is past the knee."""

EXPECTED_RATE_PER_S = 1000.0
"""The rate at which the question "what would this be worth" is asked: the write-up's own."""

ACCEPTED_WAIT_SHARE = 0.01
"""A pool is large enough when at most 1 % of the queries wait for a connection (M/M/c)."""

EXTRAPOLATES_WITHIN = 0.15
"""A hidden step predicted within 15 % of what was measured: the trend may be carried on."""

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
    """Queries per second."""
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
    load = pd.DataFrame(
        [
            {each.name: getattr(row, each.name) for each in fields(LoadRow)}
            for row in measured.once(load_rows)
        ]
    )
    levels = steps(measured.manifest, measured.requests, measured.blocks)
    expected = expectation(
        load, rate_per_s=EXPECTED_RATE_PER_S, baseline=measured.manifest.baseline
    )
    return Capacity(
        steps=typed(levels, StepRow),
        knees=typed(knees(levels), KneeRow),
        scalability=typed(scalability(levels), ScalabilityRow),
        expectation=typed(expected, ExpectationRow),
        extrapolation=typed(extrapolation(load), ExtrapolationRow),
    )


def steps(manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """What each arm did at each load: achieved rate, p95 of response time, requests in flight.

    Achieved is the rate at which answers came out: the offered rate, less what was not sent, not
    answered or answered with a server's error, and slower by as much as the answers came later and
    later (``blocks`` as ``analysis.rundir.blocks.block_table``, with its ``stretch``).
    """
    columns = ["arm", "step", "offered_per_s", "achieved_per_s", "p95_ms", "in_flight"]
    ordered = requests.sort_values("intended_ns")
    times = answer_ms(ordered, "intended_ns").groupby(ordered["block"].to_numpy())
    by_block = {int(str(block)): rows.to_numpy(np.float64) for block, rows in times}
    sent = {
        row.step: row.achieved_per_s / row.offered_per_s
        for row in manifest.generator
        if row.offered_per_s
    }
    rows = []
    for (arm, step), own in blocks.groupby(["arm", "step"], sort=True, dropna=False):
        offered = float(own["rate_per_s"].iloc[0])
        chosen = [by_block[block] for block in own["block"] if block in by_block]
        if not chosen:
            continue
        answered = _answered(ordered, own) * min(sent.get(int(str(step)), 1.0), 1.0)
        achieved = offered * answered / float(own["stretch"].iloc[0])
        took = np.concatenate(chosen)
        took = took[np.isfinite(took)]
        in_flight = achieved * float(took.mean()) / 1e3 if len(took) else math.nan
        p95 = quantile(chosen, 0.95, unit="ms")
        rows.append((arm, step, offered, achieved, p95, in_flight))
    return pd.DataFrame(rows, columns=columns).sort_values(["arm", "offered_per_s"])


def _answered(requests: pd.DataFrame, own: pd.DataFrame) -> float:
    """Share of these blocks' requests that were answered without a server error."""
    status = requests.loc[requests["block"].isin(own["block"]), "status_code"].astype("float64")
    return float((status < SERVER_ERROR).mean()) if len(status) else math.nan


def knees(table: pd.DataFrame, *, p95_objective_ms: float | None = None) -> pd.DataFrame:
    """The knee of each arm by the stated rule, and Kneedle's opinion."""
    columns = ["arm", "knee_per_s", "objective_ms", "rule", "kneedle_per_s", "sentence"]
    rows = []
    for arm, own in table.groupby("arm", sort=False):
        offered = own["offered_per_s"].to_numpy(np.float64)
        p95 = np.array([cell.value or math.nan for cell in own["p95_ms"]], dtype=np.float64)
        objective = p95_objective_ms or OBJECTIVE_TIMES_LOWEST * float(p95[0])
        knee, rule = None, None
        for number, rate in enumerate(offered):
            if own["achieved_per_s"].iloc[number] < KEEPS_UP_SHARE * rate:
                knee, rule = float(rate), "achieved below 99 % of offered"
            elif p95[number] > objective:
                knee, rule = float(rate), f"p95 above {objective:.0f} ms"
            if knee is not None:
                break
        sentence = (
            f"No knee up to {offered.max():g}/s, the highest rate that was tried."
            if knee is None
            else f"At {knee:g}/s: {rule}."
        )
        rows.append((arm, knee, objective, rule, kneedle(offered, p95), sentence))
    return pd.DataFrame(rows, columns=columns)


def kneedle(offered: Floats, p95: Floats) -> float | None:
    """Kneedle's knee of an increasing convex curve, None without one or with too few points."""
    if len(offered) < MIN_STEPS_FOR_KNEEDLE or not np.isfinite(p95).all() or np.ptp(p95) == 0:
        return None
    from kneed import KneeLocator  # noqa: PLC0415 - brings pyplot, and few runs have enough steps

    found = KneeLocator(
        offered, p95, S=KNEEDLE_SENSITIVITY, curve="convex", direction="increasing"
    ).knee
    return None if found is None else float(found)


def scalability(table: pd.DataFrame) -> pd.DataFrame:
    """The Universal Scalability Law by arm, over requests in flight (Little: N = X R)."""
    columns = [
        "arm",
        "alpha",
        "beta",
        "gamma",
        "r_squared",
        "peak_in_flight",
        "method",
        "sentence",
    ]
    rows: list[tuple[object, ...]] = []
    for arm, own in table.groupby("arm", sort=False):
        try:
            found = fit(
                own["in_flight"].to_numpy(np.float64), own["achieved_per_s"].to_numpy(np.float64)
            )
        except NotEnoughDataError as error:
            rows.append((arm, None, None, None, None, None, METHOD, f"{error}."))
            continue
        peak = found.peak_concurrency
        law = (found.alpha, found.beta, found.gamma, found.r_squared)
        sentence = _peak_sentence(peak, float(own["in_flight"].max()))
        rows.append((arm, *law, peak, METHOD, sentence))
    return pd.DataFrame(rows, columns=columns)


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


def expectation(
    load: pd.DataFrame, *, rate_per_s: float, baseline: str | None = None
) -> pd.DataFrame:
    """What a rate would do to the database, in proportion to the highest step.

    ``load`` as ``database_load.by_step``. Saved is what ``baseline`` would need more.
    """
    columns = [
        "arm", "collection", "rate_per_s", "measured_to_per_s", "queries_per_s",
        "busy_connections", "connections_needed", "p_wait", "saved_queries_per_s",
        "saved_connections",
    ]  # fmt: skip
    expected = {
        (_or_none(arm), _or_none(collection)): _expected(own, rate_per_s)
        for (arm, collection), own in load.groupby(["arm", "collection"], dropna=False, sort=False)
    }
    rows: list[tuple[object, ...]] = []
    for (arm, key), (measured_to, queries, held) in expected.items():
        busy = held
        saved: tuple[Estimate | None, ...] = (None, None)
        base = expected.get((baseline, key))
        if base is not None and baseline is not None and arm != baseline:
            busy = _of_unseen(queries, held, base)
            saved = difference(base[1], queries), difference(base[2], busy)
        pool = _pool(queries, busy)
        rows.append((arm, key, rate_per_s, measured_to, queries, busy, *pool, *saved))
    return pd.DataFrame(rows, columns=columns)


def _expected(own: pd.DataFrame, rate_per_s: float) -> tuple[float, Estimate, Estimate]:
    """The highest measured rate, and queries and busy connections at ``rate_per_s``.

    Busy connections are the rate times what a request holds connections for, with the scatter of
    both: how many queries it makes, and how long each is busy.
    """
    top = own.sort_values("offered_per_s").iloc[-1]
    per_request: Estimate = top["per_request"]
    held: Estimate = top["held_s_per_request"]
    queries = per_request.scaled(rate_per_s, "per_s")
    return float(top["offered_per_s"]), queries, held.scaled(rate_per_s, "connections")


def _of_unseen(
    queries: Estimate, busy: Estimate, base: tuple[float, Estimate, Estimate]
) -> Estimate:
    """Where no query was seen, as many as there may be, each held as long as the baseline's."""
    _, asked, held = base
    if queries.value != 0 or not asked.value or not held.value:
        return busy
    return queries.scaled(held.value / asked.value, "connections")


def _pool(queries: Estimate, busy: Estimate) -> tuple[int | None, float | None]:
    """Connections with which hardly anybody waits, and who then waits: M/M/c."""
    if not queries.value or not busy.value:
        return None, None
    held_s = busy.value / queries.value
    needed = servers_needed(queries.value, 1.0 / held_s, p_wait=ACCEPTED_WAIT_SHARE)
    return needed, erlang_c(needed, busy.value)


def extrapolation(load: pd.DataFrame) -> pd.DataFrame:
    """The highest step hidden and predicted from the others: queries a second, in proportion."""
    columns = [
        "arm", "collection", "hidden_per_s", "predicted", "measured", "error", "extrapolates",
        "sentence",
    ]  # fmt: skip
    rows = []
    for (arm, collection), own in load.groupby(["arm", "collection"], dropna=False, sort=False):
        ordered = own.sort_values("offered_per_s")
        named = _or_none(arm)
        key = _or_none(collection)
        if len(ordered) < 2:  # noqa: PLR2004 - one to hide, one to predict from
            continue
        hidden, shown = ordered.iloc[-1], ordered.iloc[:-1]
        measured = float(hidden["per_s"].value or 0.0)
        predicted = _proportional(shown, float(hidden["achieved_per_s"]))
        error = predicted / measured - 1.0 if measured else math.nan
        fine = abs(error) <= EXTRAPOLATES_WITHIN
        word = "It extrapolates" if fine else "It does not extrapolate"
        sentence = (
            f"{word}: {hidden['offered_per_s']:g}/s was hidden, {predicted:.4g} queries/s"
            f" predicted and {measured:.4g} measured ({error:+.1%})."
        )
        rows.append(
            (named, key, hidden["offered_per_s"], predicted, measured, error, fine, sentence)
        )
    return pd.DataFrame(rows, columns=columns)


def _proportional(shown: pd.DataFrame, rate: float) -> float:
    """Queries a second at ``rate`` from a line through the origin, least squares by requests."""
    achieved = shown["achieved_per_s"].to_numpy(np.float64)
    queries = np.array([cell.value or 0.0 for cell in shown["per_s"]], dtype=np.float64)
    return float(queries.sum() / achieved.sum() * rate)


def _or_none(cell: object) -> str | None:
    return cell if isinstance(cell, str) else None
