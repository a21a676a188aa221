"""Where does more load stop helping, and what is expected at a load that was not measured?

The knee by a stated rule first: the first step whose achieved rate falls below 99 % of the offered
one, or whose p95 exceeds the objective. Kneedle (Satopaa et al. 2011, ``kneed``) is a second
opinion only: its sensitivity alone moves one curve's knee from 22 to 482. Beyond the last measured
step everything is an extrapolation, and is first tried by hiding the highest step and predicting
it.

Answer of ``steps``: arm, step, offered_per_s, achieved_per_s, p95_ms, in_flight. Of ``knees``:
arm, knee_per_s, rule, kneedle_per_s, sentence. Of ``expectation``: arm, collection, rate_per_s,
queries_per_s, busy_connections, connections_needed, p_wait, saved_queries_per_s,
saved_connections. Of ``extrapolation``: arm, collection, hidden_per_s, predicted, measured, error,
extrapolates.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis.errors import NotEnoughDataError
from analysis.faster import request_ms
from analysis.intervals import Estimate, Floats, nothing
from analysis.manifest import Manifest
from analysis.quantiles import quantile
from analysis.queueing import erlang_c, servers_needed
from analysis.scalability import METHOD, fit

KEEPS_UP_SHARE = 0.99
"""An achieved rate below this share of the offered one is past the knee."""

OBJECTIVE_TIMES_LOWEST = 2.0
"""Without a named objective: p95 above twice the lowest step's is past the knee."""

ACCEPTED_WAIT_SHARE = 0.01
"""A pool is large enough when at most 1 % of the queries wait for a connection (M/M/c)."""

EXTRAPOLATES_WITHIN = 0.15
"""A hidden step predicted within 15 % of what was measured: the trend may be carried on."""

MIN_STEPS_FOR_KNEEDLE = 5
"""Fewer points have no curvature to speak of."""

KNEEDLE_SENSITIVITY = 1.0
"""The authors' own default, named because the answer hangs on it."""


def steps(manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """What each arm did at each load: achieved rate, p95 of response time, requests in flight."""
    columns = ["arm", "step", "offered_per_s", "achieved_per_s", "p95_ms", "in_flight"]
    ordered = requests.sort_values("intended_ns")
    times = request_ms(ordered, "intended_ns").groupby(ordered["block"].to_numpy())
    by_block = {int(str(block)): rows.to_numpy(np.float64) for block, rows in times}
    kept = {row.step: row.achieved_per_s / row.offered_per_s for row in manifest.generator}
    rows = []
    for (arm, step), own in blocks.groupby(["arm", "step"], sort=True, dropna=False):
        offered = float(own["rate_per_s"].iloc[0])
        chosen = [by_block[block] for block in own["block"] if block in by_block]
        if not chosen:
            continue
        achieved = offered * _answered(ordered, own) * min(kept.get(int(str(step)), 1.0), 1.0)
        pooled = np.concatenate(chosen)
        in_flight = achieved * float(np.nanmean(pooled)) / 1e3 if len(pooled) else math.nan
        p95 = quantile(chosen, 0.95, unit="ms")
        rows.append((arm, step, offered, achieved, p95, in_flight))
    return pd.DataFrame(rows, columns=columns).sort_values(["arm", "offered_per_s"])


def _answered(requests: pd.DataFrame, own: pd.DataFrame) -> float:
    """Share of these blocks' requests that were answered without a server error."""
    status = requests.loc[requests["block"].isin(own["block"]), "status_code"].astype("float64")
    return float((status < 500).mean()) if len(status) else math.nan  # noqa: PLR2004 - HTTP's line


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
        sentence = (
            "No peak: throughput never falls with more in flight, as far as was measured."
            if peak is None
            else f"Throughput would peak at {peak:.0f} requests in flight."
        )
        law = (found.alpha, found.beta, found.gamma, found.r_squared)
        rows.append((arm, *law, peak, METHOD, sentence))
    return pd.DataFrame(rows, columns=columns)


def expectation(load: pd.DataFrame, held: pd.DataFrame, *, rate_per_s: float) -> pd.DataFrame:
    """What a rate would do to the database, from the queries per request at the highest step.

    ``load`` as ``analysis.database_load.by_step``, ``held`` as ``held_ms`` beside it.
    """
    columns = [
        "arm", "collection", "rate_per_s", "measured_to_per_s", "queries_per_s",
        "busy_connections", "connections_needed", "p_wait",
    ]  # fmt: skip
    times = {
        (_or_none(row["arm"]), _or_none(row["collection"])): float(row["ms"])
        for row in held.to_dict("records")
    }
    rows: list[tuple[object, ...]] = []
    for (arm, collection), own in load.groupby(["arm", "collection"], dropna=False, sort=False):
        top = own.sort_values("offered_per_s").iloc[-1]
        per_request: Estimate = top["per_request"]
        queries = per_request.scaled(rate_per_s, "per_s")
        key = _or_none(collection)
        held_s = times.get((_or_none(arm), key), math.nan) / 1e3
        named = _or_none(arm)
        measured_to = float(top["offered_per_s"])
        if queries.value is None or not held_s > 0:
            none = nothing("connections", "no query was timed", n=per_request.n)
            rows.append((named, key, rate_per_s, measured_to, queries, none, None, None))
            continue
        busy = queries.scaled(held_s, "connections")
        needed = servers_needed(queries.value, 1.0 / held_s, p_wait=ACCEPTED_WAIT_SHARE)
        waits = erlang_c(needed, queries.value * held_s)
        rows.append((named, key, rate_per_s, measured_to, queries, busy, needed, waits))
    return pd.DataFrame(rows, columns=columns)


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
