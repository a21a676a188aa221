"""May this run be believed?

``judge(run)`` is called by the harness when a run is being finished, and by anybody who doubts the
manifest later. It takes an opened run directory (``open_run``) whose manifest need not hold a
verdict yet: the harness writes everything else first, calls ``judge(open_run(folder))``, and puts
``judgement.verdict_entry()`` and ``judgement.cross_check_entries()`` into the manifest. Nothing is
written here.

VALID: nothing speaks against the numbers. SUSPECT: believe them with the reasons beside them.
INVALID: no number may be shown as an answer. The worst issue decides. The limits are constants
with their reasons, here, in ``analysis.checks.run_checks`` and in
``analysis.checks.failing_requests``. A run of somebody else's service is checked by what it has;
of a run of ours, evidence that is missing is an issue.

An experiment that looks for the limit (``load.find_limit``) offers more than the machine can send.
The steps from the first that the generator did not hold are set aside: the run is judged by those
below, nothing is computed of the others, and the reasons name them.

Answer: ``Judgement`` with verdict, reasons, issues, steps set aside and the cross-checks table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from analysis.calls.classify import cache_calls_of
from analysis.checks.clock_steps import about_clocks
from analysis.checks.counts.cross_checks import (
    ANSWERED,
    cross_checks,
    json_object,
    off_by,
    unanswered,
)
from analysis.checks.counts.served import about_unserved, served_traces
from analysis.checks.counts.server_counts import about_database, about_redis
from analysis.checks.counts.statement_windows import SERVERS, by_arm
from analysis.checks.cut_off import without_cut_off
from analysis.checks.failing_requests import about_errors, about_unended
from analysis.checks.fault_windows import arms_of_parts, in_fault
from analysis.checks.imported import about_import, about_sampling
from analysis.checks.interleaving import about_interleaving
from analysis.checks.lost_spans import about_lost_spans
from analysis.checks.marked_blocks import about_marked_blocks
from analysis.checks.run_checks import (
    Issue,
    Level,
    about_generator,
    about_losses,
    about_simulator,
    about_traces,
)
from analysis.rundir.manifest import CrossCheck, Manifest, Verdict
from analysis.rundir.run import Run, measured

COUNTS_SUSPECT_SHARE = 0.001
"""Two exact counts that differ by at most this are SUSPECT: one call in a thousand moves no answer
by more than its interval. Beyond it spans or queries were lost in numbers: INVALID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on a run, why, and the counts that it rests on."""

    verdict: str
    """VALID, SUSPECT or INVALID."""
    issues: tuple[Issue, ...]
    """Everything that speaks against the run, worst first."""
    cross_checks: pd.DataFrame
    """As ``analysis.checks.counts.cross_checks.cross_checks``."""
    set_aside: tuple[int, ...] = ()
    """Steps of which nothing may be computed though the others stand."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The issues as sentences."""
        return tuple(issue.sentence for issue in self.issues)

    def verdict_entry(self) -> Verdict:
        """The manifest's ``verdict``."""
        return Verdict(verdict=self.verdict, reasons=self.reasons)

    def cross_check_entries(self) -> tuple[CrossCheck, ...]:
        """The manifest's ``cross_checks``: plain numbers, None where nobody counted."""
        rows = self.cross_checks.astype("object")
        return tuple(
            CrossCheck(**{str(key): value for key, value in row.items()})
            for row in rows.where(rows.notna(), None).to_dict("records")
        )


def judge(run: Run) -> Judgement:
    """Hold a run against everything that could make its numbers wrong."""
    return judge_tables(
        run.manifest,
        spans=run.spans,
        requests=run.requests,
        counters=run.counters,
        events=run.events,
        llm_calls=run.llm_calls,
    )


def judge_tables(
    manifest: Manifest,
    *,
    spans: pd.DataFrame,
    requests: pd.DataFrame,
    counters: pd.DataFrame,
    events: pd.DataFrame,
    llm_calls: pd.DataFrame,
) -> Judgement:
    """``judge`` without the files: tables as in docs/run-directory.md, warm-up included."""
    hold = partial(
        _hold,
        spans=spans,
        requests=requests,
        counters=counters,
        events=events,
        llm_calls=llm_calls,
    )
    whole = hold(manifest)
    beyond = _beyond_the_limit(manifest, whole.issues)
    if not beyond:
        return whole
    rest = hold(replace(manifest, set_aside=beyond))
    return replace(rest, issues=(*rest.issues, *_set_aside(manifest, beyond, whole.issues)))


def _beyond_the_limit(manifest: Manifest, issues: Iterable[Issue]) -> tuple[int, ...]:
    """The steps from the lowest that was not held, if the run looked for the limit.

    None when nothing would be left.
    """
    if not manifest.experiment.get("load", {}).get("find_limit"):
        return ()
    rates = {step.step: step.rate_per_s for step in manifest.steps}
    bad = {issue.step for issue in issues if issue.level is Level.INVALID}
    least = min((rate for step, rate in rates.items() if step in bad), default=math.inf)
    beyond = tuple(step for step, rate in rates.items() if rate >= least)
    return beyond if len(beyond) < len(rates) else ()


def _set_aside(
    manifest: Manifest, beyond: tuple[int, ...], issues: Iterable[Issue]
) -> Iterator[Issue]:
    """A note for each step that was set aside, with why."""
    why = {issue.step: issue.sentence for issue in issues if issue.level is Level.INVALID}
    for step in manifest.steps:
        if step.step in beyond:
            reason = why.get(step.step, "It lies beyond one that was not held.")
            yield Issue(
                Level.NOTED,
                f"{step.rate_per_s:g}/s was more than the machine held and is set aside. {reason}",
                step.step,
            )


def _hold(
    manifest: Manifest,
    *,
    spans: pd.DataFrame,
    requests: pd.DataFrame,
    counters: pd.DataFrame,
    events: pd.DataFrame,
    llm_calls: pd.DataFrame,
) -> Judgement:
    """Every check, over the steps that the manifest does not set aside."""
    arrivals = measured(requests, manifest)
    counted = arrivals if manifest.scenario else without_cut_off(arrivals)
    table = cross_checks(manifest, spans, requests, counters, llm_calls)
    issues = [
        *_about_substance(manifest, spans, requests, counted, counters),
        *about_import(manifest, spans),
        *about_sampling(manifest, spans),
        *about_interleaving(manifest),
        *about_generator(manifest, requests, counted),
        *_about_traces(manifest, spans, requests),
        *about_clocks(measured(spans, manifest), arrivals),
        *about_losses(manifest, spans, counters),
        *about_lost_spans(measured(spans, manifest)),
        *_about_cross_checks(table if manifest.scenario else table[table["what"] != ANSWERED]),
        *(() if manifest.scenario else _about_their_servers(manifest, spans, counters)),
        *(() if manifest.scenario else about_marked_blocks(spans, events)),
        *_about_cut_off(len(arrivals) - len(counted)),
        *_about_unanswered_caches(spans, events),
        *about_simulator(manifest, spans, llm_calls),
        *about_errors(counted, events),
        *about_unended(counted),
        *_about_parts(events),
    ]
    issues.sort(key=lambda issue: -issue.level)
    worst = max((issue.level for issue in issues), default=None)
    verdict = worst.name if worst else "VALID"
    return Judgement(
        verdict=verdict, issues=tuple(issues), cross_checks=table, set_aside=manifest.set_aside
    )


def _about_substance(
    manifest: Manifest,
    spans: pd.DataFrame,
    requests: pd.DataFrame,
    counted: pd.DataFrame,
    counters: pd.DataFrame,
) -> list[Issue]:
    """Is there anything to measure, was it run to its end, and is the cold start out of it?"""
    if spans.empty:
        return [Issue(Level.INVALID, "No span was recorded: nothing was measured.")]
    # A recording of somebody else's load (no scenario) has blocks from its spans, no arrivals.
    if manifest.blocks and manifest.scenario and counted.empty:
        return [
            Issue(Level.INVALID, "No request was sent after the warm-up: nothing was measured.")
        ]
    issues = []
    if not manifest.complete:
        sentence = "The run was interrupted: the last blocks are missing or cut short."
        issues.append(Issue(Level.SUSPECT, sentence))
    if requests.empty and manifest.imported is not None:
        return issues  # `about_import` says what nobody counted
    if requests.empty:
        issues.append(_about_unrecorded_load(manifest, spans, counters))
        return issues
    if not manifest.scenario:
        return issues
    asked_for_none = manifest.experiment.get("load", {}).get("warmup_s") == 0
    if manifest.blocks and not asked_for_none and not any(b.warmup for b in manifest.blocks):
        sentence = "No block was marked as warm-up: the cold start is in the numbers."
        issues.append(Issue(Level.SUSPECT, sentence))
    return issues + _about_empty_blocks(manifest, counted)


def _about_unrecorded_load(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame
) -> Issue:
    """A load that left no rows: is there anybody else who says that no trace is missing?

    A database does, where it counted in each arm's blocks what the spans say: a trace that was
    lost took its queries with it. Of the schedule nobody knows, and no answer is about it.
    """
    for server, called in SERVERS.items():
        arms = by_arm(manifest, spans, counters, server)
        counted = any(arm.counted for arm in arms)
        if counted and not about_database(manifest, spans, counters, server):
            return Issue(
                Level.NOTED,
                f"The load was not recorded, so times are those of the service alone; {called}'s"
                " own count in each arm's blocks says that no query is missing.",
            )
    return Issue(
        Level.SUSPECT,
        "The load was not recorded, so nothing vouches for the schedule or for whole traces.",
    )


def _about_their_servers(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame
) -> list[Issue]:
    """Somebody else's databases and Redis, where they were asked."""
    databases = (about_database(manifest, spans, counters, server) for server in SERVERS)
    return [
        *(issue for found in databases for issue in found),
        *about_redis(manifest, spans, counters),
    ]


def _about_traces(manifest: Manifest, spans: pd.DataFrame, requests: pd.DataFrame) -> list[Issue]:
    """Is each answered request's trace whole? Of a recording, does a server tell of it?"""
    if manifest.scenario or served_traces(spans).empty:
        return about_traces(spans, requests)
    return about_unserved(spans, requests) + about_traces(spans, requests.iloc[:0])


def _about_cut_off(cut: int) -> list[Issue]:
    """A note of what the load cut off itself when it stopped."""
    if not cut:
        return []
    sentence = (
        f"{cut} requests were under way when the load stopped and were killed by it; they are set"
        " aside."
    )
    return [Issue(Level.NOTED, sentence)]


def _about_empty_blocks(manifest: Manifest, counted: pd.DataFrame) -> list[Issue]:
    seen = set(counted["block"].dropna())
    empty = [block.block for block in manifest.measured_blocks if block.block not in seen]
    if not empty or (counted.empty and not manifest.scenario):
        return []
    sentence = f"{len(empty)} of {len(manifest.measured_blocks)} measured blocks hold no request."
    return [Issue(Level.SUSPECT, sentence)]


def _about_cross_checks(table: pd.DataFrame) -> list[Issue]:
    """Exact counts that differ by more than what was never answered: a little is SUSPECT."""
    issues = []
    for row in table[table["exact"].astype(bool)].to_dict("records"):
        what, said, counted = str(row["what"]), float(row["from_spans"]), row["independent"]
        where = f", arm {row['arm']}" if isinstance(row["arm"], str) else ""
        if pd.isna(counted):
            sentence = f"No independent count for {what}{where}: {row['counted_by']} is missing."
            issues.append(Issue(Level.SUSPECT, sentence))
            continue
        apart = off_by(said, counted, row["tolerance"])
        if apart:
            small = apart <= COUNTS_SUSPECT_SHARE * max(said, counted)
            sentence = (
                f"{what[0].upper()}{what[1:]}{where}: {said:.0f} by the spans,"
                f" {counted:.0f} by {row['counted_by']}."
            )
            if row["tolerance"]:
                sentence += (
                    f" Calls without an answer explain {row['tolerance']:.0f} more at most."
                )
            issues.append(Issue(Level.SUSPECT if small else Level.INVALID, sentence))
    return issues


def _about_unanswered_caches(spans: pd.DataFrame, events: pd.DataFrame) -> list[Issue]:
    """Cache calls that failed: nobody on our side knows whether they were hits.

    By arm, and outside of its faults. So few that they could move no answer are a note, as
    differing counts are told by the same share.
    """
    calls = cache_calls_of(spans, "redis")
    failed = unanswered(calls)
    failed = failed[~in_fault(failed["start_ns"], failed["arm"], events)]
    issues = []
    for arm, count in failed["arm"].fillna("").value_counts().items():
        total = int((calls["arm"].fillna("") == arm).sum())
        where = "" if arm == "" else f"Arm {arm}: "
        sentence = (
            f"{where}{count} of {total} cache calls failed or timed out, so hits by the spans and"
            " by Redis INFO may differ by these."
        )
        few = count <= COUNTS_SUSPECT_SHARE * total
        issues.append(Issue(Level.NOTED if few else Level.SUSPECT, sentence))
    return issues


def _about_parts(events: pd.DataFrame) -> list[Issue]:
    """A part that died although nobody killed it."""
    died = events[events["kind"] == "part_died"]
    details = [json_object(text) for text in died["detail"]]
    parts = pd.Series([detail.get("part") for detail in details], index=died.index, dtype="str")
    ordered = in_fault(died["t_ns"], arms_of_parts(parts), events)
    return [
        Issue(Level.INVALID, f"A part died during the run: {_in_words(detail, text)}.")
        for detail, text, wished in zip(details, died["detail"], ordered, strict=True)
        if not wished
    ]


def _in_words(detail: dict[str, object], text: str) -> str:
    """Which part, and how it ended."""
    return f"{detail['part']}, {detail.get('ending')}" if "part" in detail else text
