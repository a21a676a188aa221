"""What speaks against a run? Checks of the load generator, of the traces and of the LLM simulator.

Each check takes tables and gives a list of ``Issue``, empty when all is well.
``analysis.checks.verdict`` puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import pandas as pd

from analysis.checks.counts.cross_checks import (
    LLM_KINDS,
    LLM_LOG,
    calls_of_llm,
    is_simulated,
    json_object,
    roots,
)
from analysis.checks.schedule_delay import schedule_delay_ms
from analysis.rundir.manifest import Generator, Manifest
from worthit.contract.limits import (
    LAG_SUSPECT_MS,
    RATE_SUSPECT_SHARE,
    RATE_VALID_SHARE,
    WORKER_CPU_SUSPECT,
    lag_limits_ms,
    own_limit_ms,
)

TRACES_SUSPECT_SHARE = 0.001
"""A share of the spans up to this may be missing and the run is SUSPECT; beyond it INVALID."""

REFUSED_SUSPECT_SHARE = 0.01
"""Batches that the recorder refused, as a share. A batch may hold what no request made, or have
been sent again, so a few are an issue; beyond one in a hundred, spans of the run are missing."""

SPANS_METRIC = "chat.spans"
"""The service's own count of its spans, by what became of them: exported or dropped."""

SIMULATOR_VALID_MS = 5.0
"""The simulator may be this late at p99 (or 1 % of the planned time): a timer's ordinary
jitter."""

SIMULATOR_VALID_SHARE = 0.01
"""As above, as a share of the planned time."""

SIMULATOR_INVALID_SHARE = 0.10
"""Late at p99 by 10 % of the planned time, and by 50 ms: what was measured is the simulator."""


class Level(IntEnum):
    """How much an issue weighs."""

    NOTED = 0
    SUSPECT = 1
    INVALID = 2


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that speaks against a run."""

    level: Level
    sentence: str
    step: int | None = None
    """The step that it is about, if it is about one."""


def about_generator(
    manifest: Manifest, requests: pd.DataFrame, counted: pd.DataFrame
) -> list[Issue]:
    """Did the generator keep its schedule, and was it short of CPU?"""
    issues = [*_about_lag(counted, manifest), *_about_silence(manifest)]
    for row in manifest.generator:
        if row.step not in manifest.set_aside:
            issues += _about_step(row, _at(manifest, row.step))
    issues += _about_rows(manifest, requests)
    # A worker's CPU is known for the whole run alone, steps that were set aside included.
    for worker in manifest.workers if not manifest.set_aside else ():
        if (worker.cpu_share_max or 0.0) >= WORKER_CPU_SUSPECT:
            sentence = (
                f"Load worker {worker.worker} used {worker.cpu_share_max:.0%} of its core,"
                f" at or above {WORKER_CPU_SUSPECT:.0%}: add workers."
            )
            issues.append(Issue(Level.SUSPECT, sentence))
    return issues


def _about_silence(manifest: Manifest) -> list[Issue]:
    """A load of ours says of every step how many arrivals it planned, sent and dropped."""
    told = {row.step for row in manifest.generator}
    silent = sorted({block.step for block in manifest.measured_blocks} - told)
    if not manifest.scenario or not silent:
        return []
    steps = ", ".join(map(str, silent))
    sentence = (
        f"The load wrote no generator.json for step {steps}: the arrivals planned, sent and"
        " dropped there are not known."
    )
    return [Issue(Level.SUSPECT, sentence)]


def _about_rows(manifest: Manifest, requests: pd.DataFrame) -> list[Issue]:
    """Is every request that was sent a row? Those of the warm-up are in no account of the load."""
    if requests.empty:
        return []
    accounted = requests
    if manifest.scenario and manifest.complete:
        accounted = requests[requests["block"].isin(_accounted_blocks(manifest))]
    sent = sum(row.arrivals_sent for row in manifest.generator)
    if len(accounted) >= sent:
        return []
    return [Issue(Level.INVALID, f"{sent} requests were sent and {len(accounted)} recorded.")]


def _accounted_blocks(manifest: Manifest) -> list[int]:
    """Blocks whose arrivals the load counts: all but the warm-up.

    A block that was begun and run again shares its pair with one that counts; it is marked as
    warm-up so that no answer counts it.
    """
    counted = {block.pair for block in manifest.blocks if not block.warmup}
    return [block.block for block in manifest.blocks if block.pair in counted]


def _at(manifest: Manifest, step: int) -> str:
    """Name the step, where the run had others too."""
    steps = {row.step for row in manifest.generator} | {block.step for block in manifest.blocks}
    return f"Step {step}: " if len(steps) > 1 else ""


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _about_lag(counted: pd.DataFrame, manifest: Manifest) -> list[Issue]:
    """Lag p99 by step, from the requests themselves, against the limits and the response time.

    What the generator was late by because a stalled service answered all at once is not its fault.
    """
    apart = {row.step: row.lag_apart_p99_ms for row in manifest.generator if row.sent_into_floods}
    if counted.empty:
        return []
    response_ms = (counted["end_ns"] - counted["intended_ns"]).astype("float64") / 1e6
    by_step = pd.DataFrame(
        {
            "step": counted["step"],
            "lag": schedule_delay_ms(counted),
            "response": response_ms,
        }
    ).groupby("step")
    issues = []
    for step, rows in by_step:
        p99, median = float(rows["lag"].quantile(0.99)), float(rows["response"].median())
        valid, suspect = lag_limits_ms(median)
        without_floods = apart.get(int(str(step)))
        if p99 <= valid or (without_floods is not None and without_floods <= valid):
            continue
        level = Level.INVALID if p99 > suspect else Level.SUSPECT
        at = _at(manifest, int(str(step)))
        sentence = (
            f"{at}arrivals were sent late, schedule delay p99 {p99:.1f} ms, above"
            f" {valid:.1f} ms: the generator did not keep its schedule."
        )
        issues.append(Issue(level, _capital(sentence), step=int(str(step))))
    return issues


def _about_step(row: Generator, at: str) -> list[Issue]:
    issues = []
    p99_ms = row.response_ms.p99 if row.response_ms else None
    limit_ms = own_limit_ms(p99_ms or 0.0)
    if row.own_p99_ms is not None and row.own_p99_ms > limit_ms:
        sentence = (
            f"{at}{row.own_p99_ms:.1f} ms of the response time's p99 may be the"
            f" load's own, above {limit_ms:.1f} ms: so much it took against a server that answers"
            " at once."
        )
        issues.append(Issue(Level.SUSPECT, sentence, row.step))
    if row.arrivals_planned:
        missing = 1.0 - row.arrivals_sent / row.arrivals_planned
    else:
        missing = 1.0 - row.achieved_per_s / row.offered_per_s if row.offered_per_s else 0.0
    if abs(missing) > RATE_VALID_SHARE:
        level = Level.INVALID if abs(missing) > RATE_SUSPECT_SHARE else Level.SUSPECT
        sentence = (
            f"{at}{1 - missing:.1%} of the planned arrivals were sent"
            f" ({row.offered_per_s:g}/s offered)."
        )
        issues.append(Issue(level, sentence, row.step))
    if row.dropped:
        many = row.dropped > RATE_VALID_SHARE * max(row.arrivals_planned, 1)
        sentence = f"{at}{row.dropped} arrivals were dropped."
        issues.append(Issue(Level.INVALID if many else Level.SUSPECT, sentence, row.step))
    if row.in_flight_cap_hits:
        sentence = (
            f"{at}the cap on requests in flight was reached"
            f" {row.in_flight_cap_hits} times, so the loop was not open."
        )
        issues.append(Issue(Level.SUSPECT, _capital(sentence), row.step))
    return issues


def about_traces(spans: pd.DataFrame, requests: pd.DataFrame) -> list[Issue]:
    """Is each answered request's trace whole?"""
    issues = []
    fine = requests["status_code"].between(200, 299).fillna(value=False)
    answered = requests.loc[fine, "trace_id"]
    missing = int((~answered.isin(roots(spans)["trace_id"])).sum())
    if missing:
        many = missing > TRACES_SUSPECT_SHARE * len(answered)
        sentence = (
            f"{missing} of {len(answered)} answered requests have no root span: spans were lost."
        )
        issues.append(Issue(Level.INVALID if many else Level.SUSPECT, sentence))
    return issues + _about_orphans(spans)


def about_losses(manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame) -> list[Issue]:
    """Was anything lost on the way to the file, by those who would have lost it?"""
    lost = manifest.recorded
    issues = _about_dropped(spans, counters)
    if lost.refused_batches:
        taken = _batches(counters)
        many = lost.refused_batches > REFUSED_SUSPECT_SHARE * (taken + lost.refused_batches)
        sentence = f"The recorder refused {lost.refused_batches} batches of spans"
        sentence += f" and took {taken}." if taken else "."
        issues.append(Issue(Level.INVALID if many and taken else Level.SUSPECT, sentence))
    if lost.undecodable_bytes:
        many = 0 < TRACES_SUSPECT_SHARE * lost.bytes < lost.undecodable_bytes
        sentence = f"{lost.undecodable_bytes} recorded bytes could not be decoded."
        issues.append(Issue(Level.INVALID if many else Level.SUSPECT, sentence))
    return issues


def _about_dropped(spans: pd.DataFrame, counters: pd.DataFrame) -> list[Issue]:
    """Spans that a service had no room for, or that nobody took: its own count, by arm."""
    own = counters[(counters["source"] == "service") & (counters["name"] == SPANS_METRIC)]
    # Every process counts from 0 at its start, so its highest value is what it dropped.
    dropped: dict[str, int] = {}
    for text, count in own.groupby("labels")["value"].max().items():
        labels = json_object(text)
        if labels.get("outcome") == "dropped" and count > 0:
            arm = str(labels.get("arm") or "")
            dropped[arm] = dropped.get(arm, 0) + int(count)
    issues = []
    for arm, count in dropped.items():
        made = count + int((spans["arm"] == arm).sum() if arm else len(spans))
        who = f"Arm {arm}: the" if arm else "The"
        sentence = f"{who} service dropped {count} of {made} spans before they were recorded."
        many = count > TRACES_SUSPECT_SHARE * made
        issues.append(Issue(Level.INVALID if many else Level.SUSPECT, sentence))
    return issues


def _batches(counters: pd.DataFrame) -> int:
    """How many batches of spans the recorder took; 0 where it did not say."""
    own = counters[(counters["source"] == "recorder") & (counters["name"] == "batches")]
    return 0 if own.empty else int(own["value"].max())


def _about_orphans(spans: pd.DataFrame) -> list[Issue]:
    """Spans whose parent is missing though they serve nobody else's call; and ids used twice."""
    above = spans["parent_span_id"]
    inner = ~spans["kind"].isin(("SERVER", "CONSUMER"))
    orphans = int((above.notna() & inner & ~above.isin(pd.Index(spans["span_id"]))).sum())
    issues = []
    if orphans:
        many = orphans > TRACES_SUSPECT_SHARE * len(spans)
        sentence = f"{orphans} of {len(spans)} spans name a parent that was not recorded."
        issues.append(Issue(Level.INVALID if many else Level.SUSPECT, sentence))
    twice = int(spans.duplicated(["trace_id", "span_id"]).sum())
    if twice:
        issues.append(Issue(Level.SUSPECT, f"{twice} spans were recorded twice."))
    return issues


def about_simulator(
    manifest: Manifest, spans: pd.DataFrame, llm_calls: pd.DataFrame
) -> list[Issue]:
    """Did the simulator take the time it had planned, the same for both arms of a pair?"""
    calls = llm_calls.dropna(subset=["planned_ns", "actual_ns"])
    if calls.empty:
        return _about_silent_simulator(manifest, spans)
    issues = []
    for kind, rows in calls.groupby("kind"):
        late_ms = (rows["actual_ns"] - rows["planned_ns"]).abs().astype("float64") / 1e6
        planned_ms = float(rows["planned_ns"].astype("float64").median()) / 1e6
        p99 = float(late_ms.quantile(0.99))
        if p99 <= max(SIMULATOR_VALID_MS, SIMULATOR_VALID_SHARE * planned_ms):
            continue
        large = max(LAG_SUSPECT_MS, SIMULATOR_INVALID_SHARE * planned_ms)
        sentence = (
            f"The LLM simulator missed its planned times for {kind} by {p99:.1f} ms at p99"
            f" ({planned_ms:.0f} ms planned at the median)."
        )
        issues.append(Issue(Level.INVALID if p99 > large else Level.SUSPECT, sentence))
    drawn = calls.dropna(subset=["draw"])
    planned = drawn.groupby(["kind", "draw"])["planned_ns"]
    differ = int((planned.max() > planned.min()).sum())
    if differ:
        sentence = f"{differ} draws were given two different LLM times: the arms are not paired."
        issues.append(Issue(Level.SUSPECT, sentence))
    return issues


def _about_silent_simulator(manifest: Manifest, spans: pd.DataFrame) -> list[Issue]:
    """A simulator of ours that was called and logged no times kept its promise, or did not."""
    if not is_simulated(manifest) or not any(calls_of_llm(spans, kind) for kind in LLM_KINDS):
        return []
    sentence = (
        f"The LLM simulator logged no times ({LLM_LOG}), so nobody knows whether it kept those"
        " that it had planned, the same for both arms."
    )
    return [Issue(Level.SUSPECT, sentence)]
