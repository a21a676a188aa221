"""The evidence behind a verdict: what is missing is missed, and each arm stands for itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from analysis.checks.verdict import Judgement, judge_tables
from analysis.rundir.run import Run

FIRST, LAST = 0, 2
"""Steps of the synthetic run: 240 and 960 requests an arm, of 3,360 in all."""


def judgement(run: Run, **changes: Any) -> Judgement:  # noqa: ANN401 - tables of any kind
    """The verdict after some tables, and some fields of the manifest, are exchanged."""
    manifest = replace(run.manifest, **changes.pop("manifest", {}))
    tables = {
        "spans": run.spans,
        "requests": run.requests,
        "counters": run.counters,
        "events": run.events,
        "llm_calls": run.llm_calls,
    }
    return judge_tables(manifest, **(tables | changes))


def sampled(run: Run, *rows: tuple[str, str, dict[str, str], float]) -> pd.DataFrame:
    """The run's counters and more of its last: source, name, labels, value."""
    t_ns = run.counters["t_ns"].max()
    more = [
        (t_ns, source, name, json.dumps(labels), value) for source, name, labels, value in rows
    ]
    return pd.concat([run.counters, pd.DataFrame(more, columns=run.counters.columns)])


def fault(run: Run, kind: str = "redis-hangs", **arm: str) -> pd.DataFrame:
    """The events, with a fault from the first request to the last."""
    detail = json.dumps({"fault": kind, **arm})
    sent = run.requests["sent_ns"]
    rows = [(sent.min(), "fault_start", detail), (sent.max(), "fault_end", detail)]
    return pd.concat([run.events, pd.DataFrame(rows, columns=run.events.columns)])


def some(run: Run, arm: str, step: int, share: float) -> pd.Index:
    """So many of an arm's requests at a step that count."""
    counted = run.measured_requests
    rows = counted.index[(counted["arm"] == arm) & (counted["step"] == step)]
    return rows[: round(share * len(rows))]


def changed(run: Run, rows: pd.Index, **values: object) -> pd.DataFrame:
    """The requests, of which these have other values."""
    requests = run.requests.copy()
    for column, value in values.items():
        requests.loc[rows, column] = value
    return requests


def unheard(run: Run) -> pd.DataFrame:
    """The spans, of which one call of the cache for two keys, both there, timed out."""
    spans = run.spans.copy()
    hits = spans["attributes"].str.contains('"worthit.redis.hits": 2', regex=False, na=False)
    spans.loc[spans.index[hits][0], ["status", "attributes"]] = ["ERROR", "{}"]
    return spans


def hits_at_the_end(run: Run, more: float) -> pd.DataFrame:
    """The counters, with so many more hits by Redis."""
    counters = run.counters.copy()
    last = counters["t_ns"] == counters["t_ns"].max()
    counters.loc[last & (counters["name"] == "keyspace_hits"), "value"] += more
    return counters


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (0, "VALID"),
        (-2, "VALID"),
        (-3, "SUSPECT"),
        (1, "SUSPECT"),
        (99, "INVALID"),
        (-99, "INVALID"),
    ],
)
def test_a_cache_call_without_an_answer_excuses_its_own_keys_and_no_more(
    run: Run, more: int, verdict: str
) -> None:
    """Redis may have counted the two keys of the call that timed out, or not; nothing else."""
    found = judgement(run, spans=unheard(run), counters=hits_at_the_end(run, more))

    assert verdict == found.verdict, found.reasons
    assert {0, 2} == set(found.cross_checks["tolerance"])
    assert ("explain 2 more at most" in " ".join(found.reasons)) == (verdict != "VALID")


def test_a_redis_that_was_killed_has_no_count_which_only_an_accident_makes_an_issue(
    run: Run,
) -> None:
    """Started anew it counts from 0, and ends above its first sample all the same."""
    counters = run.counters.copy()
    redis = counters["source"] == "redis"
    before = counters[redis & (counters["value"] > 17)].assign(t_ns=counters["t_ns"].min() + 1)
    counters.loc[redis & (counters["value"] > 17), "value"] = 18.0
    counters = pd.concat([counters, before])
    arms = tuple(
        replace(arm, fault="redis-gone") if arm.name == "on" else arm for arm in run.manifest.arms
    )

    accident = judgement(run, counters=counters)
    events = fault(run, "redis-gone", arm="on")
    wished = judgement(run, counters=counters, events=events, manifest={"arms": arms})

    assert "SUSPECT" == accident.verdict
    assert (
        "No independent count for cache hits, arm on: Redis INFO: keyspace_hits is missing"
        in accident.reasons[0]
    )
    assert ("VALID", ()) == (wished.verdict, wished.reasons)


@pytest.mark.parametrize(
    ("step", "share", "verdict", "said"),
    [
        (LAST, 0.008, "VALID", ""),
        (LAST, 0.02, "SUSPECT", "Step 2, arm on: 2.0% of 960 requests failed, above 1%"),
        (FIRST, 0.75, "INVALID", "Step 0, arm on: 75.0% of 240 requests failed, above 1%"),
    ],
)
def test_errors_are_judged_by_arm_and_step(
    run: Run, step: int, share: float, verdict: str, said: str
) -> None:
    """In the whole run 0.6 % or 5 % failed; in the cell where they failed it is another matter."""
    found = judgement(run, requests=changed(run, some(run, "on", step, share), status_code=503))

    assert verdict == found.verdict
    assert " ".join(found.reasons).startswith(said)


def test_requests_that_never_ended_are_judged_by_arm_and_step(run: Run) -> None:
    """One in a hundred of the run, and one in seven where they were; the arm is named."""
    rows = some(run, "off", FIRST, 0.15)

    found = judgement(run, requests=changed(run, rows, end_ns=pd.NA))

    assert "INVALID" == found.verdict
    assert found.reasons == (
        "Step 0, arm off: 15.0% of 240 requests never ended, above 0.1%: the tail is cut off.",
    )


def test_of_two_arms_that_fail_the_worse_decides_and_both_are_named(run: Run) -> None:
    """One sentence a step, the worst arm first."""
    rows = some(run, "on", FIRST, 0.5).union(some(run, "off", FIRST, 0.05))

    found = judgement(run, requests=changed(run, rows, status_code=503))

    assert "INVALID" == found.verdict
    (sentence,) = found.reasons
    assert sentence.startswith("Step 0, arm on: 50.0% of 240 requests failed, above 1%: ")
    assert sentence.endswith(" Likewise off (5.0%).")


def test_a_fault_excuses_its_own_arm_alone(run: Run) -> None:
    """The Redis of the arm on hung: what failed there is the fault's, not what failed in off."""
    failing = {
        arm: changed(run, some(run, arm, LAST, 0.5), status_code=503) for arm in ("off", "on")
    }
    events = fault(run, arm="on")

    assert "VALID" == judgement(run, requests=failing["on"], events=events).verdict
    assert "INVALID" == judgement(run, requests=failing["off"], events=events).verdict
    assert "VALID" == judgement(run, requests=failing["off"], events=fault(run)).verdict


def test_a_fault_excuses_cache_calls_of_its_own_arm_alone(run: Run) -> None:
    """Forty calls of the arm on failed while the fault was another arm's, or its own."""
    spans = run.spans.copy()
    calls = spans.index[spans["db_operation"] == "MGET"]
    spans.loc[calls[200:240], "status"] = "ERROR"

    others = judgement(run, spans=spans, events=fault(run, arm="hangs"))
    own = judgement(run, spans=spans, events=fault(run, arm="on"))

    assert ("SUSPECT", "VALID") == (others.verdict, own.verdict)
    assert "Arm on: 40 of " in others.reasons[0]


@pytest.mark.parametrize(
    ("part", "verdict"), [("redis-on", "VALID"), ("redis-off", "INVALID"), ("llm", "INVALID")]
)
def test_a_fault_excuses_the_death_of_its_own_redis_alone(
    run: Run, part: str, verdict: str
) -> None:
    """What died is said by its name and its end."""
    events = fault(run, "redis-gone", arm="on")
    middle = int(run.requests["sent_ns"].median())
    detail = json.dumps({"part": part, "ending": "killed by SIGKILL"})
    died = pd.DataFrame([(middle, "part_died", detail)], columns=events.columns)

    found = judgement(run, events=pd.concat([events, died]))

    assert verdict == found.verdict
    sentence = f"A part died during the run: {part}, killed by SIGKILL."
    assert ([sentence] if verdict == "INVALID" else []) == list(found.reasons)


def test_a_load_that_left_no_account_is_an_issue(run: Run) -> None:
    """Without generator.json nobody knows what was planned, sent and dropped."""
    silent = judgement(run, manifest={"generator": ()})
    half = judgement(run, manifest={"generator": run.manifest.generator[:2]})
    theirs = judgement(run, manifest={"generator": (), "scenario": ""})

    assert ("SUSPECT", "SUSPECT") == (silent.verdict, half.verdict)
    assert "wrote no generator.json for step 0, 1, 2" in silent.reasons[0]
    assert "wrote no generator.json for step 2" in half.reasons[0]
    assert "generator.json" not in " ".join(theirs.reasons)


def test_rows_that_were_lost_are_not_made_up_for_by_those_of_the_warm_up(run: Run) -> None:
    """Eighty rows of the warm-up are in no account of the load, so thirty lost ones are seen."""
    lost = some(run, "on", LAST, 30 / 960)

    found = judgement(run, requests=run.requests.drop(lost))

    assert "INVALID" == found.verdict
    assert ("3360 requests were sent and 3330 recorded.",) == found.reasons


def test_blocks_that_were_run_again_are_not_taken_for_warm_up(run: Run) -> None:
    """A resumed run marks what it had begun of a pair as warm-up; the load counted it."""
    block = run.manifest.measured_blocks[-1]
    number = block.block + 1_000_000
    begun = run.requests[run.requests["block"] == block.block].assign(block=number)
    again = replace(block, block=number, warmup=True)
    rows = tuple(
        replace(row, arrivals_sent=row.arrivals_sent + len(begun))
        if row.step == block.step
        else row
        for row in run.manifest.generator
    )
    manifest = {"blocks": (*run.manifest.blocks, again), "generator": rows}
    requests = pd.concat([run.requests, begun.astype(run.requests.dtypes)], ignore_index=True)

    found = judgement(run, manifest=manifest, requests=requests)

    assert "recorded." not in " ".join(found.reasons)


def test_a_simulator_that_logged_nothing_is_an_issue(run: Run) -> None:
    """Nobody counted its calls and nobody knows its times; of a model of theirs none is asked."""
    nothing = run.llm_calls.head(0)
    theirs = {name: part for name, part in run.manifest.parts.items() if name != "llm"}

    found = judgement(run, llm_calls=nothing)

    assert "SUSPECT" == found.verdict
    assert "The LLM simulator logged no times (logs/llm.jsonl)" in " ".join(found.reasons)
    assert "No independent count for LLM calls: chat: logs/llm.jsonl is missing" in " ".join(
        found.reasons
    )
    assert "VALID" == judgement(run, llm_calls=nothing, manifest={"parts": theirs}).verdict


@pytest.mark.parametrize(("dropped", "verdict"), [(0, "VALID"), (5, "SUSPECT"), (900, "INVALID")])
def test_spans_that_the_service_dropped_are_lost_spans(
    run: Run, dropped: int, verdict: str
) -> None:
    """Its own exporter's count is read, in every instance: a few are an issue, many the end."""
    labels = {"outcome": "dropped", "arm": "on"}
    counters = sampled(
        run,
        ("service", "chat.spans", {**labels, "instance": "a"}, dropped),
        ("service", "chat.spans", {**labels, "instance": "b"}, 0),
        ("service", "chat.spans", {**labels, "instance": "a", "outcome": "exported"}, 12_000),
    )

    found = judgement(run, counters=counters)

    assert verdict == found.verdict
    assert (f"Arm on: the service dropped {dropped} of " in " ".join(found.reasons)) == bool(
        dropped
    )


@pytest.mark.parametrize(
    ("lost", "verdict"),
    [
        ({"refused_batches": 2}, "SUSPECT"),
        ({"refused_batches": 40}, "INVALID"),
        ({"undecodable_bytes": 7}, "SUSPECT"),
        ({"undecodable_bytes": 200_000}, "INVALID"),
    ],
    ids=str,
)
def test_what_the_recorder_lost_is_held_against_what_it_took(
    run: Run, lost: dict[str, int], verdict: str
) -> None:
    """Two batches of a thousand are an issue; one in twenty-five is another run."""
    recorded = replace(run.manifest.recorded, **lost)
    counters = sampled(run, ("recorder", "batches", {}, 1000))

    assert verdict == judgement(run, counters=counters, manifest={"recorded": recorded}).verdict
