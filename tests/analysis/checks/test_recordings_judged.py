"""A recording of somebody else's service is held against their servers and their load."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from analysis.checks.counts.served import about_unserved
from analysis.checks.counts.server_counts import (
    about_database,
    about_redis,
    of_postgres,
)
from analysis.checks.cut_off import STOPPED, cut_off
from analysis.rundir.manifest import Arm, Block, Manifest

SECOND = 10**9
COLUMNS = ["t_ns", "source", "name", "labels", "value"]


def counters(*rows: tuple[str, str, float, float], source: str = "postgres") -> pd.DataFrame:
    """Each counter (name, label, before, after) at the begin and end of the recording."""
    made = []
    for name, label, before, after in rows:
        labels = json.dumps({"query" if name == "statement_calls" else "of": label})
        made += [(0, source, name, labels, before), (100 * SECOND, source, name, labels, after)]
    return pd.DataFrame(made, columns=COLUMNS)


def spans(requests: int, queries: int, *, arm: str | None = None) -> pd.DataFrame:
    """So many requests, each with a SERVER span and so many queries."""
    rows = []
    for number in range(requests):
        common = {"trace_id": f"{number:032x}", "arm": arm, "block": 0, "status": "UNSET",
                  "start_ns": number * SECOND, "duration_ns": 1000, "attributes": "{}",
                  "cache_hit": None, "db_collection": None}  # fmt: skip
        top = f"{number:015x}f"
        rows.append({**common, "span_id": top, "parent_span_id": None, "kind": "SERVER",
                     "name": "GET /", "db_system": None, "db_operation": None})  # fmt: skip
        rows += [
            {**common, "span_id": f"{number:014x}{query:02x}", "parent_span_id": top,
             "kind": "CLIENT", "name": "SELECT shop", "db_system": "postgresql",
             "db_operation": "SELECT"}
            for query in range(queries)
        ]  # fmt: skip
    return pd.DataFrame(rows)


PLAIN = Manifest(format_version=1, run_id="r", experiment={"command": ["./load.sh"]})


@pytest.mark.parametrize(
    ("queries", "verdict"), [(2, None), (3, "INVALID"), (1, "SUSPECT")], ids=str
)
def test_statements_that_postgres_counted_are_believed(queries: int, verdict: str | None) -> None:
    """100 requests of 2 queries, counted by statement; control statements are no queries."""
    counted = counters(
        ("statement_calls", "SELECT price FROM products WHERE id = $1", 500, 700),
        ("statement_calls", "BEGIN", 10, 900),
        ("statement_calls", "SELECT $1 FROM pg_extension WHERE extname = $2", 1, 2),
    )

    issues = about_database(PLAIN, spans(100, queries), counted, "postgresql")

    assert ([verdict] if verdict else []) == [issue.level.name for issue in issues]
    if queries == 3:
        assert issues[0].sentence.startswith(
            "Spans say 3.0 queries per request, PostgreSQL says 2.0 (pg_stat_statements)"
        )


def test_transactions_leave_open_how_many_statements_each_holds() -> None:
    """100 transactions and 300 scans: from 100 to 300 queries agree with them, 600 do not."""
    counted = counters(
        ("xact_commit", "shop", 5, 125),
        ("sessions", "shop", 0, 20),
        ("table_scans", "products", 0, 300),
    )

    count = of_postgres(counted)

    assert count is not None
    assert (100, 300) == (count.least, count.most)
    assert [] == about_database(PLAIN, spans(100, 1), counted, "postgresql")
    assert [] == about_database(PLAIN, spans(100, 3), counted, "postgresql")
    (issue,) = about_database(PLAIN, spans(100, 6), counted, "postgresql")
    assert "INVALID" == issue.level.name
    assert "600 and 300" in issue.sentence


def test_a_reset_makes_statements_no_answer() -> None:
    """A script of theirs resets pg_stat_statements: transactions are asked instead."""
    counted = counters(("statement_calls", "SELECT 1", 500, 20), ("xact_commit", "shop", 0, 200))

    count = of_postgres(counted)

    assert count is not None
    assert ("transactions", 200) == (count.counted_by, count.least)


def test_an_arm_is_held_against_its_own_windows() -> None:
    """Two blocks: in the first PostgreSQL counts 2 a request, in the second 1."""
    blocks = tuple(
        Block(block=at, pair=0, arm=arm, step=0, rate_per_s=1, start_ns=at * 50 * SECOND,
              end_ns=(at * 50 + 40) * SECOND)
        for at, arm in enumerate(("off", "on"))
    )  # fmt: skip
    manifest = Manifest(
        format_version=1,
        run_id="r",
        arms=(Arm(name="off", baseline=True), Arm(name="on")),
        blocks=blocks,
    )
    off, on = spans(40, 6, arm="off"), spans(40, 6, arm="on")
    on = on.assign(trace_id="a" + on["trace_id"].str[1:], block=1)
    on["span_id"] = "a" + on["span_id"].str[1:]
    samples = [
        (
            at * SECOND,
            "postgres",
            "xact_commit",
            "{}",
            min(at, 50) * 80 / 50 + max(0, at - 50) * 0.8,
        )
        for at in range(101)
    ]
    table = pd.DataFrame(samples, columns=COLUMNS)
    scans = counters(("table_scans", "products", 0, 120))

    (issue,) = about_database(
        manifest, pd.concat([off, on]), pd.concat([table, scans]), "postgresql"
    )

    assert "In arm off spans say 6.0 queries per request, PostgreSQL says 2.0" in issue.sentence


def test_redis_is_believed_about_its_commands() -> None:
    """200 GETs in spans, 100 counted: an instrumentation above another."""
    calls = spans(200, 1).query("kind == 'CLIENT'").assign(db_system="redis", db_operation="GET")
    labels = '{"command": "get"}'
    counted = pd.DataFrame(
        [(0, "redis", "command_calls", labels, 0), (9, "redis", "command_calls", labels, 100)],
        columns=COLUMNS,
    )

    (issue,) = about_redis(PLAIN, calls, counted)

    assert "INVALID" == issue.level.name
    assert "Cache calls: GET: spans say 200, Redis says 100." in issue.sentence


def test_a_clients_own_span_is_no_proof_of_a_servers() -> None:
    """Ten requests were answered, one SERVER span is missing and its CLIENT span is there."""
    found = spans(10, 0, arm="off")
    found.loc[3, "kind"] = "CLIENT"
    requests = pd.DataFrame(
        {"trace_id": found["trace_id"], "status_code": pd.array([200] * 10, "Int32"), "arm": "off"}
    )

    (issue,) = about_unserved(found, requests)

    assert issue.sentence.startswith("Arm off: 1 of 10 answered requests have no SERVER span")
    assert "INVALID" == issue.level.name


def test_what_the_load_kills_at_its_stop_is_cut_off_and_what_hung_is_not() -> None:
    """Answers take 2 s; killed at 100 s: one sent at 99 s is cut off, one of 50 s hung."""
    ms = 10**9
    requests = pd.DataFrame(
        {
            "block": pd.array([0, 0, 0], "Int32"),
            "sent_ns": [98 * ms, 99 * ms, 50 * ms],
            "end_ns": pd.array([100 * ms, None, None], "Int64"),
            "error": [None, STOPPED, STOPPED],
        }
    )

    assert [False, True, False] == cut_off(requests).tolist()


@pytest.mark.parametrize(("said", "is_doubted"), [(120, False), (240, True), (60, True)])
def test_what_mariadbs_digests_leave_out_is_left_open(said: int, *, is_doubted: bool) -> None:
    """30 of 120 queries were prepared in the binary protocol, which no digest counts there."""
    calls = spans(said, 1).query("kind == 'CLIENT'").assign(db_system="mysql")
    rows = [
        ("statement_calls", '{"query": "", "queryid": ""}', 0, 0),
        ("statement_calls", '{"query": "SELECT `a` FROM `b`", "queryid": "1"}', 5, 95),
        ("statement_calls", '{"query": "SHOW STATUS", "queryid": "2"}', 1, 900),
        ("prepared_calls", "{}", 7, 37),
        ("query_cache_hits", "{}", 0, 0),
        ("command_calls", '{"command": "select"}', 100, 100 + 120),
    ]
    counted = pd.DataFrame(
        [
            (at, "mysql", name, labels, float(value))
            for name, labels, *ends in rows
            for at, value in zip((0, 9), ends, strict=True)
        ],
        columns=COLUMNS,
    )

    issues = about_database(Manifest(format_version=1, run_id="r"), calls, counted, "mysql")

    assert is_doubted == bool(issues)
