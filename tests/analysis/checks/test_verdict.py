"""The verdict on a run: each kind of damage is found, nothing is found where there is none."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pytest

from analysis.checks.verdict import judge, judge_tables
from analysis.rundir.run import Run
from tests.analysis.conftest import Changed
from worthit.contract.manifest import Verdict


def test_a_whole_run_is_valid(run: Run) -> None:
    """Nothing speaks against the run in which nothing is wrong, and every cross-check agrees."""
    judgement = judge(run)

    assert ("VALID", ()) == (judgement.verdict, judgement.reasons)
    assert (judgement.cross_checks["from_spans"] == judgement.cross_checks["independent"]).all()
    assert {"off", "on"} == set(judgement.cross_checks["arm"].dropna())


@pytest.mark.parametrize(
    ("damage", "verdict", "reason"),
    [
        ({"empty": True}, "INVALID", "No span was recorded"),
        ({"lag_ms": 30.0}, "SUSPECT", "rrivals were sent late"),
        ({"lag_ms": 900.0}, "INVALID", "rrivals were sent late"),
        ({"dropped": 1}, "SUSPECT", "1 arrivals were dropped"),
        ({"dropped": 10}, "INVALID", "of the planned arrivals were sent"),
        ({"worker_cpu": 0.95}, "SUSPECT", "used 95% of its core"),
        ({"lose_traces": 1}, "INVALID", "answered requests have no root span"),
        ({"orphan_spans": 1}, "SUSPECT", "name a parent that was not recorded"),
        ({"orphan_spans": 30}, "INVALID", "name a parent that was not recorded"),
        ({"refused_batches": 2}, "SUSPECT", "refused 2 batches"),
        ({"undecodable_bytes": 7}, "SUSPECT", "7 recorded bytes could not be decoded"),
        ({"extra_commits": 50}, "INVALID", "by pg_stat_database"),
        ({"extra_hits": 1}, "INVALID", "by Redis INFO"),
        ({"llm_calls_lost": 1}, "INVALID", "by logs/llm.jsonl"),
        ({"llm_late_ms": 40.0}, "SUSPECT", "missed its planned times"),
        ({"llm_late_ms": 400.0}, "INVALID", "missed its planned times"),
        ({"error_share": 0.06}, "SUSPECT", "requests failed"),
        ({"error_share": 0.6}, "INVALID", "requests failed"),
        ({"complete": False}, "SUSPECT", "was interrupted"),
    ],
    ids=str,
)
def test_damage_is_found(
    small: Changed, damage: dict[str, Any], verdict: str, reason: str
) -> None:
    """Each damage alone turns the verdict as its limit says, with a reason that names it."""
    judgement = judge(small(**damage))

    assert verdict == judgement.verdict
    assert any(reason in sentence for sentence in judgement.reasons), judgement.reasons


def judged(run: Run, **changes: Any) -> tuple[str, str]:  # noqa: ANN401 - tables of any kind
    """Verdict and first reason after some tables are exchanged."""
    tables = {
        "spans": run.spans,
        "requests": run.requests,
        "counters": run.counters,
        "events": run.events,
        "llm_calls": run.llm_calls,
    }
    judgement = judge_tables(changes.pop("manifest", run.manifest), **(tables | changes))
    return judgement.verdict, " ".join(judgement.reasons)


def test_a_cross_check_that_is_missing_is_an_issue(run: Run) -> None:
    """When nobody sampled PostgreSQL the spans' count stands alone, and the verdict says so."""
    verdict, reasons = judged(run, counters=run.counters[run.counters["source"] != "postgres"])

    assert "SUSPECT" == verdict
    assert "No independent count for database calls, arm off" in reasons


def test_a_counter_that_fell_is_no_cross_check(run: Run) -> None:
    """A server that was restarted in the run lost its count: missing, not a negative number."""
    counters = run.counters.copy()
    commits = (counters["name"] == "xact_commit") & (counters["value"] > 100)
    counters.loc[commits, "value"] = 3.0

    verdict, reasons = judged(run, counters=counters)

    assert "SUSPECT" == verdict
    assert "pg_stat_database: transactions is missing" in reasons


def test_errors_inside_an_injected_fault_are_the_faults(small: Changed) -> None:
    """Requests that fail while a fault is on do not speak against the run."""
    run = small(error_share=0.6)
    times = [int(run.requests["sent_ns"].min()), int(run.requests["sent_ns"].max())]
    fault = pd.DataFrame(
        {"t_ns": times, "kind": ["fault_start", "fault_end"], "detail": ["{}", "{}"]}
    )

    assert "INVALID" == judged(run)[0]
    assert "VALID" == judged(run, events=pd.concat([run.events, fault]))[0]


def test_a_part_that_died_makes_the_run_invalid(run: Run) -> None:
    """A part's death that nobody ordered is the end of belief."""
    died = pd.DataFrame(
        {"t_ns": [run.events["t_ns"].max()], "kind": ["part_died"], "detail": ["redis"]}
    )

    verdict, reasons = judged(run, events=pd.concat([run.events, died]))

    assert ("INVALID", "A part died during the run: redis.") == (verdict, reasons)


def test_unpaired_draws_are_an_issue(run: Run) -> None:
    """One draw that took two different LLM times in the two arms is not a pair."""
    calls = run.llm_calls.copy()
    chats = calls.index[calls["kind"] == "chat"]
    calls.loc[chats[-1], ["planned_ns", "actual_ns"]] += 10_000_000

    assert "1 draws were given two different LLM times" in judged(run, llm_calls=calls)[1]


@pytest.mark.parametrize(("failed", "verdict"), [(1, "VALID"), (40, "SUSPECT")])
def test_a_few_failed_cache_calls_are_noted_many_are_an_issue(
    run: Run, failed: int, verdict: str
) -> None:
    """One call of thousands that timed out moves no answer and is told; many might move one."""
    spans = run.spans.copy()
    calls = spans.index[spans["db_system"] == "redis"]
    assert len(calls) > 1000
    spans.loc[calls[:failed], "status"] = "ERROR"

    found, reason = judged(run, spans=spans)
    assert verdict == found
    assert f"{failed} of {len(calls)} cache calls failed or timed out" in reason


def test_lag_is_held_against_what_is_measured(run: Run) -> None:
    """The same lag is harmless beside answers of 3.5 s and spoils answers of 20 ms."""
    late = run.requests.copy()
    late["sent_ns"] += 12_000_000
    late["end_ns"] += 12_000_000
    fast = late.copy()
    fast["end_ns"] = fast["sent_ns"] + 20_000_000

    assert "VALID" == judged(run, requests=late)[0]
    assert "SUSPECT" == judged(run, requests=fast)[0]


def test_steps_beyond_the_limit_are_set_aside_when_it_was_looked_for(run: Run) -> None:
    """A sweep that ends where the generator breaks keeps the steps below; any other is INVALID."""
    top = max(run.manifest.steps, key=lambda step: step.rate_per_s)
    late = run.requests.copy()
    late.loc[late["step"] == top.step, ["sent_ns", "end_ns"]] += 9_000_000_000
    looking = replace(run.manifest, experiment={"load": {"find_limit": True}})
    tables = {
        "spans": run.spans,
        "requests": late,
        "counters": run.counters,
        "events": run.events,
        "llm_calls": run.llm_calls,
    }

    assert "INVALID" == judge_tables(run.manifest, **tables).verdict
    judgement = judge_tables(looking, **tables)
    assert ("VALID", (top.step,)) == (judgement.verdict, judgement.set_aside)
    assert f"{top.rate_per_s:g}/s was more than the machine held" in judgement.reasons[0]
    kept = replace(looking, set_aside=judgement.set_aside).measured_blocks
    assert {step.step for step in run.manifest.steps} - {top.step} == {one.step for one in kept}

    late[["sent_ns", "end_ns"]] += 9_000_000_000
    assert "INVALID" == judge_tables(looking, **tables).verdict, "with nothing left to stand on"


def test_no_warm_up_is_an_issue_unless_it_was_asked_for(run: Run) -> None:
    """A run without warm-up blocks has the cold start in it; an experiment may want just that."""
    blocks = tuple(block for block in run.manifest.blocks if not block.warmup)
    without = replace(run.manifest, blocks=blocks)
    wanted = replace(without, experiment={"load": {"warmup_s": 0}})

    assert "the cold start is in the numbers" in judged(run, manifest=without)[1]
    assert ("VALID", "") == judged(run, manifest=wanted)


def test_the_manifest_entries_are_plain_json(run: Run) -> None:
    """What the harness writes into the manifest holds no numpy number and no NaN."""
    judgement = judge(run)
    entries = judgement.cross_check_entries()

    assert Verdict(verdict="VALID") == judgement.verdict_entry()
    assert {str, float, int, bool, type(None)} >= {
        type(value) for entry in entries for value in asdict(entry).values()
    }
