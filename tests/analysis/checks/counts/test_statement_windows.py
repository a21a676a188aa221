"""Each arm's queries against what PostgreSQL counted in its blocks, in a simulation of both.

The simulation knows when each statement was executed, and so what a reading at any moment sees.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.checks.counts.arm_windows import short_of_readings
from analysis.checks.counts.server_counts import about_database, about_redis
from analysis.checks.counts.statement_windows import by_arm, database_readings
from analysis.checks.run_checks import Issue
from analysis.rundir.manifest import Arm, Block, Manifest

SECOND = 10**9
BLOCK_SECONDS = 6
ARMS = ("off", "on", "on", "off")
PER_REQUEST = {"off": 3, "on": 1}
TEXT = "SELECT price FROM products WHERE id = $1"
ASKED = json.dumps({"db.query.text": "SELECT price FROM products WHERE id = 7"})
OTHER = "SELECT count(*) FROM jobs"

MANIFEST = Manifest(
    format_version=1,
    run_id="r",
    experiment={"command": ["./load.sh"]},
    arms=(Arm(name="off", baseline=True), Arm(name="on")),
    blocks=tuple(
        Block(block=at, pair=at // 2, arm=arm, step=0, rate_per_s=1,
              start_ns=at * BLOCK_SECONDS * SECOND, end_ns=(at + 1) * BLOCK_SECONDS * SECOND)
        for at, arm in enumerate(ARMS)
    ),
)  # fmt: skip


def spans(rng: np.random.Generator, *, rate: int = 40) -> pd.DataFrame:
    """Requests without a pause, also across the blocks' edges; each query takes 1 to 80 ms."""
    rows = []
    seconds = len(ARMS) * BLOCK_SECONDS
    for number, at in enumerate(np.sort(rng.uniform(0, seconds, rate * seconds))):
        block = int(at // BLOCK_SECONDS)
        common = {"trace_id": f"{number:032x}", "arm": ARMS[block], "block": block,
                  "status": "UNSET", "cache_hit": None, "db_collection": None}  # fmt: skip
        start = int(at * SECOND)
        rows.append({**common, "span_id": f"{number:015x}f", "parent_span_id": None,
                     "kind": "SERVER", "name": "GET /", "db_system": None, "db_operation": None,
                     "start_ns": start, "duration_ns": 300_000_000,
                     "attributes": "{}"})  # fmt: skip
        for query in range(PER_REQUEST[ARMS[block]]):
            took = int(rng.uniform(1e6, 80e6))
            rows.append({**common, "span_id": f"{number:014x}{query:02x}", "kind": "CLIENT",
                         "parent_span_id": f"{number:015x}f", "name": "SELECT shop",
                         "db_system": "postgresql", "db_operation": "SELECT", "start_ns": start,
                         "duration_ns": took, "attributes": ASKED})  # fmt: skip
            start += took
    return pd.DataFrame(rows)


def counters(
    rng: np.random.Generator, executed: pd.DataFrame, *, others: int = 0, before: int = 1000
) -> pd.DataFrame:
    """A reading a second: what had been executed by then, somewhere within its span."""
    calls = executed[executed["kind"] == "CLIENT"]
    moments = calls["start_ns"] + rng.uniform(0.1, 0.9, len(calls)) * calls["duration_ns"]
    texts = {"1": TEXT, "2": OTHER, "3": "BEGIN", "4": "SELECT sum(calls) FROM pg_stat_statements"}
    rows = []
    for at in range(len(ARMS) * BLOCK_SECONDS + 1):
        t_ns = int((at + 0.3) * SECOND)
        values = {"1": before + (moments <= t_ns + 2_000_000).sum(), "2": at * others,
                  "3": at * 50, "4": at}  # fmt: skip
        rows.append((t_ns, "statement_reading", {}, 0.004))
        rows += [
            (t_ns, "statement_calls_by_id", {"queryid": key}, float(value))
            for key, value in values.items()
        ]
    rows += [
        (t_ns, "statement_calls", {"query": texts[key], "queryid": key}, 0.0) for key in texts
    ]
    return pd.DataFrame(
        [
            (t_ns, "postgres", name, json.dumps(labels), value)
            for t_ns, name, labels, value in rows
        ],
        columns=["t_ns", "source", "name", "labels", "value"],
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_true_run_is_doubted(seed: int) -> None:
    """What is under way at a reading explains every difference, however busy the edges are."""
    rng = np.random.default_rng(seed)
    recorded = spans(rng)
    counted = counters(rng, recorded)

    arms = by_arm(MANIFEST, recorded, counted, "postgresql")

    assert [arm.arm for arm in arms] == ["off", "on"]
    assert all(abs(arm.from_spans - arm.counted) <= arm.under_way for arm in arms)
    assert max(arm.under_way / arm.counted for arm in arms) < 0.04
    assert about_database(MANIFEST, recorded, counted, "postgresql") == []


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.08, "SUSPECT"), (0.35, "INVALID")], ids=["some", "many"]
)
def test_lost_spans_are_seen_in_the_arm_that_lost_them(share: float, verdict: str) -> None:
    """A share of the arm's spans never came; the sentence names arm, statement and counts."""
    rng = np.random.default_rng(1)
    recorded = spans(rng)
    counted = counters(rng, recorded)
    lost = (recorded["arm"] == "off") & (recorded["kind"] == "CLIENT")
    lost &= rng.uniform(size=len(recorded)) < share

    (issue,) = about_database(
        MANIFEST, recorded[~lost].reset_index(drop=True), counted, "postgresql"
    )

    assert issue.level.name == verdict
    assert issue.sentence.startswith("In arm off spans say ")
    assert "PostgreSQL says 3.0 (pg_stat_statements)" in issue.sentence
    assert "Spans were lost, or somebody asked the same without spans." in issue.sentence


def test_queries_that_are_counted_twice_are_invalid() -> None:
    """Both arms, each in its own sentence: 6.0 against 3.0, and 2.0 against 1.0."""
    rng = np.random.default_rng(2)
    recorded = spans(rng)
    counted = counters(rng, recorded)
    again = recorded[recorded["kind"] == "CLIENT"]
    again = again.assign(span_id="a" + again["span_id"].str[1:])

    issues = about_database(
        MANIFEST, pd.concat([recorded, again], ignore_index=True), counted, "postgresql"
    )

    assert [issue.level.name for issue in issues] == ["INVALID", "INVALID"]
    assert "spans say 6.0 queries per request, PostgreSQL says 3.0" in issues[0].sentence
    assert "spans say 2.0 queries per request, PostgreSQL says 1.0" in issues[1].sentence


def test_others_in_the_database_make_no_number_wrong() -> None:
    """A job of somebody's asks 30 times a second: SUSPECT, with its statement."""
    rng = np.random.default_rng(3)
    recorded = spans(rng)

    issues = about_database(MANIFEST, recorded, counters(rng, recorded, others=30), "postgresql")

    assert {issue.level.name for issue in issues} == {"SUSPECT"}
    assert "Most apart is SELECT COUNT(*) FROM jobs: 0 and" in issues[0].sentence
    assert "No span tells of that statement" in issues[0].sentence


def test_a_reset_or_blocks_without_readings_are_no_answer() -> None:
    """Then the whole recording is held against the servers instead."""
    rng = np.random.default_rng(4)
    recorded = spans(rng)
    counted = counters(rng, recorded)
    reset = counted.copy()
    late = (reset["name"] == "statement_calls_by_id") & (reset["t_ns"] > 8 * SECOND)
    reset.loc[late, "value"] -= 900
    short = replace(
        MANIFEST,
        blocks=tuple(replace(b, end_ns=b.start_ns + SECOND) for b in MANIFEST.blocks),
    )

    assert by_arm(MANIFEST, recorded, reset, "postgresql") == ()
    assert by_arm(short, recorded, counted, "postgresql") == ()
    assert short_of_readings(short, database_readings(counted, "postgresql")) == ("off", "on")
    assert short_of_readings(MANIFEST, database_readings(counted, "postgresql")) == ()
    (note,) = [
        one
        for one in about_database(short, recorded, counted, "postgresql")
        if one.level.name == "NOTED"
    ]
    assert "no block of off or of on holds two of its readings" in note.sentence
    assert (
        by_arm(MANIFEST, recorded, counted[counted["name"] != "statement_reading"], "postgresql")
        == ()
    )


SERVERS = {
    "mysql by digest": ("mysql", "statement_reading", "statement_calls_by_id", "queryid"),
    "mysql by command": ("mysql", "reading", "command_calls", "command"),
    "mongodb": ("mongodb", "reading", "command_calls", "command"),
    "redis": ("redis", "reading", "command_calls", "command"),
}
"""Source, and how the recorder writes a reading of it."""

COMMANDS = {"mysql by digest": "d1", "mysql by command": "select", "mongodb": "find",
            "redis": "get"}  # fmt: skip


def as_asked_of(
    server: str, recorded: pd.DataFrame, counted: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same calls and readings, made to another server; every call a hit."""
    source, reading, calls, label = SERVERS[server]
    client = recorded["kind"] == "CLIENT"
    recorded = recorded.assign(
        db_system=recorded["db_system"].where(~client, source),
        db_operation=recorded["db_operation"].where(
            ~client, {"redis": "GET", "mongodb": "find"}.get(source, "SELECT")
        ),
        attributes=recorded["attributes"].where(client & (source == "mysql"), "{}"),
        cache_hit=client.where(client & (source == "redis"), None),
    )
    own = counted[counted["labels"].isin(["{}", '{"queryid": "1"}'])]
    name = COMMANDS[server]
    rows = own.assign(
        source=source,
        name=own["name"].replace({"statement_reading": reading, "statement_calls_by_id": calls}),
        labels=own["labels"].replace({'{"queryid": "1"}': json.dumps({label: name})}),
    )
    if server == "mysql by digest":
        text = {"t_ns": 0, "source": source, "name": "statement_calls", "value": 0.0,
                "labels": json.dumps({"query": TEXT, "queryid": name})}  # fmt: skip
        rows = pd.concat([rows, pd.DataFrame([text])])
    if server == "redis":
        hits = rows[rows["name"] == calls].assign(name="keyspace_hits", labels="{}")
        rows = pd.concat([rows, hits])
    return recorded, rows.reset_index(drop=True)


def about(server: str, recorded: pd.DataFrame, counted: pd.DataFrame) -> list[Issue]:
    """What is said of the server."""
    if server == "redis":
        return list(about_redis(MANIFEST, recorded, counted))
    return about_database(MANIFEST, recorded, counted, SERVERS[server][0])


@pytest.mark.parametrize("server", SERVERS)
def test_other_servers_are_held_against_each_arm_in_the_same_windows(server: str) -> None:
    """No true run is doubted; an arm that lost 40 % of its calls is told, and only that one."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        recorded = spans(rng)
        recorded, counted = as_asked_of(server, recorded, counters(rng, recorded))
        assert about(server, recorded, counted) == []
    lost = (recorded["arm"] == "off") & (recorded["kind"] == "CLIENT")
    lost &= rng.uniform(size=len(recorded)) < 0.4

    issues = about(server, recorded[~lost].reset_index(drop=True), counted)

    if server == "redis":
        assert [issue.level.name for issue in issues] == ["INVALID", "INVALID"]
        assert issues[0].sentence.startswith("Cache calls: GET: spans say ")
        assert issues[1].sentence.startswith("Cache hits: spans say ")
        assert all("in 2 blocks of arm off. Spans were lost" in issue.sentence for issue in issues)
    else:
        (issue,) = issues
        assert issue.level.name == "INVALID"
        assert issue.sentence.startswith("In arm off spans say 1.8 queries per request, M")


@pytest.mark.parametrize("server", SERVERS)
def test_calls_that_spans_count_twice_are_told_of_every_server(server: str) -> None:
    """Both arms, INVALID."""
    rng = np.random.default_rng(2)
    recorded = spans(rng)
    recorded, counted = as_asked_of(server, recorded, counters(rng, recorded))
    again = recorded[recorded["kind"] == "CLIENT"]
    again = again.assign(span_id="a" + again["span_id"].str[1:])

    issues = about(server, pd.concat([recorded, again], ignore_index=True), counted)

    assert len(issues) == (4 if server == "redis" else 2)
    assert {issue.level.name for issue in issues} == {"INVALID"}
