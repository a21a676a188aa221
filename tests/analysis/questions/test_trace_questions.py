import numpy as np
import pandas as pd
import pytest

from analysis import queries, traces
from analysis.calltree import clock_skew
from analysis.errors import AnalysisError, ColumnError, InputError, NotEnoughDataError
from analysis.questions import repeated_statements, tail, waits, what_if
from analysis.questions.single_traces import waterfall
from tests.support.traces.span_tables import MS, spans


def _call(**given: object) -> dict[str, object]:
    return {"parent": "r", "kind": "CLIENT", "db": "postgresql", "takes": 1, **given}


def test_logical_queries_are_told_from_connects_fetches_and_cache_calls() -> None:
    """Each call is counted by what it is; only statements to a database are queries."""
    table = spans(
        {"id": "r", "takes": 50, "kind": "SERVER"},
        _call(id="1", name="SELECT personalities", operation="SELECT", collection="personalities"),
        _call(id="2", name="connect"),
        _call(id="3", name="cursor.fetchall"),
        _call(id="4", name="GET", db="redis", operation="GET"),
        _call(id="5", name="COMMIT", operation="COMMIT"),
        _call(id="6", name="SELECT carts", operation="SELECT", kind="SERVER"),
    )

    found = queries.per_request(table).set_index("name")["call"].to_dict()

    assert {
        "SELECT personalities": "query", "connect": "connect", "cursor.fetchall": "fetch",
        "GET": "cache", "COMMIT": "transaction",
    } == found  # fmt: skip


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        ("SELECT auth", "SELECT", "query"),
        ("UPDATE reset", "UPDATE", "query"),
        ("SELECT auth", None, "query"),
        ("read.cursor", "SELECT", "query"),
        ("psycopg.connect", None, "connect"),
        ("db begin", None, "transaction"),
        ("anything", "auth", "connect"),
        ("fetchmany", None, "fetch"),
    ],
)
def test_what_is_done_tells_a_query_not_what_it_reads(
    name: str, operation: str | None, expected: str
) -> None:
    """The operation decides; a name does where there is none, unless it ends with a table."""
    table = spans({"id": "r", "takes": 5}, _call(id="1", name=name, operation=operation))

    assert [expected] == queries.per_request(table)["call"].tolist()


def test_a_query_is_counted_once_below_its_wrapper() -> None:
    """An ORM's INTERNAL span around a driver's is no second query; alone, it is the query."""
    table = spans(
        {"id": "r", "takes": 50},
        _call(id="1", kind="INTERNAL", name="Session.query"),
        _call(id="2", parent="1", name="SELECT"),
        _call(id="3", kind="INTERNAL", name="sqlite"),
        _call(id="4", kind="INTERNAL", name="through", db="redis"),
        _call(id="5", parent="4", name="SELECT"),
    )

    found = queries.per_request(table)

    assert {"SELECT": 2, "sqlite": 1, "through": 1} == found.set_index("name")["calls"].to_dict()


def test_calls_can_be_split_by_what_their_request_is() -> None:
    """Any column splits requests, by their first span; one that the answer has is refused."""
    table = spans(
        {"id": "r", "takes": 9, "kind": "SERVER"},
        *(_call(id=f"q{n}", start=1) for n in range(2)),
        {"id": "r", "trace": "t2", "takes": 9, "kind": "CONSUMER"},
        _call(id="q", trace="t2", start=1),
    )

    found = queries.per_request(table, by="kind").groupby("kind")["per_request"].sum()

    assert {"SERVER": 2, "CONSUMER": 1} == found.to_dict()
    for by in ("name", "statement", "flavour"):
        with pytest.raises(ColumnError, match=f"has .*column {by}"):
            queries.per_request(table.assign(statement="x"), by=by)


def test_nanoseconds_since_1970_are_exact() -> None:
    """A call that began 1 ns before the one before it ended did not follow it; waits are exact."""
    now = 1_764_000_000_123_456_789
    table = spans(
        {"id": "r", "takes": 9, "kind": "SERVER"},
        *(_call(id=f"q{n}", name="SELECT") for n in range(3)),
    )
    table["start_ns"] = [now, now + 1, now + MS, now + 2 * MS]
    requests = pd.DataFrame({"trace_id": ["t1", "other"], "sent_ns": [now - 3, now]})

    assert 0.5 == repeated_statements.repeats(table)["one_after_the_other"].iloc[0]
    found = waits.waits(table, requests).set_index("name")["total_ms"]
    assert 3e-6 == pytest.approx(found["r"])


def test_calls_are_per_request_also_of_requests_without_any() -> None:
    """Two calls in one of four requests are 0.5 a request; each arm is over its own requests."""
    table = spans(
        *(
            {"id": "r", "trace": f"t{n}", "takes": 9, "arm": "on" if n else "off"}
            for n in range(4)
        ),
        *(_call(id=f"q{n}", trace="t0", name="q", arm="off") for n in range(2)),
    )

    whole, by_arm = queries.per_request(table), queries.per_request(table, by="arm")

    assert [(2, 4, 0.5)] == list(
        whole[["calls", "requests", "per_request"]].itertuples(index=False, name=None)
    )
    assert [("off", 2, 1, 2.0)] == list(
        by_arm[["arm", "calls", "requests", "per_request"]].itertuples(index=False, name=None)
    )


def test_a_repeated_statement_is_found_with_its_caller() -> None:
    """Twelve of one query in a request are N+1.

    Twelve connects are not, nor one query a request.
    """
    text = '{"db.statement": "SELECT * FROM items WHERE id = %d"}'
    rows: list[dict[str, object]] = [
        {"id": "r", "takes": 90, "kind": "SERVER", "name": "GET /cart"}
    ]
    for n in range(12):
        rows.append(_call(id=f"q{n}", name="SELECT", attributes=text % n, start=3 * n, takes=2))
        rows.append(_call(id=f"c{n}", name="connect", start=3 * n))
    rows.append(_call(id="once", name="SELECT users", start=80))
    rows.append({"id": "r", "trace": "t2", "takes": 5, "name": "GET /cart"})

    found = repeated_statements.repeats(spans(*rows))

    assert 1 == len(found)
    row = found.iloc[0]
    assert ("GET /cart", "SELECT * FROM items WHERE id = ?") == (row["caller"], row["statement"])
    assert (1, 0.5, 12, 24) == (
        row["requests"], row["share_of_requests"], row["max_repeats"], row["total_ms"],
    )  # fmt: skip
    assert 1 == row["one_after_the_other"]
    assert "t1" == row["example"]


def test_waits_are_told_apart_from_work() -> None:
    """Pool, lock, queue and message waits each have their rows, in ms and per request."""
    table = spans(
        {"id": "r", "takes": 100, "kind": "SERVER", "start": 10},
        {"id": "p", "parent": "r", "takes": 7, "name": "pool.acquire", "start": 10},
        {"id": "l", "parent": "r", "takes": 5, "name": "lock wait", "start": 20},
        _call(
            id="q", name="SELECT", start=30, takes=9, attributes='{"worthit.pool_wait_ns":3000000}'
        ),
        {"id": "c", "parent": "r", "takes": 40, "kind": "CLIENT", "start": 40},
        {"id": "s", "parent": "c", "takes": 20, "kind": "SERVER", "start": 52, "name": "serve"},
        {"id": "m", "parent": "r", "takes": 2, "kind": "PRODUCER", "start": 90},
        {
            "id": "n",
            "parent": "m",
            "takes": 1,
            "kind": "CONSUMER",
            "start": 100,
            "name": "consume",
        },
    )
    requests = pd.DataFrame({"trace_id": ["t1"], "sent_ns": [4_000_000]})

    found = waits.waits(table, requests).set_index(["wait", "name"])["total_ms"]

    assert {
        ("queue", "serve"): 12, ("queue", "r"): 6, ("pool", "pool.acquire"): 7,
        ("lock", "lock wait"): 5, ("pool", "SELECT"): 3, ("message", "consume"): 8,
    } == found.to_dict()  # fmt: skip


def _two_kinds(slow: int, fast: int) -> pd.DataFrame:
    rows = []
    for n in range(slow + fast):
        db = 80 if n < slow else 10
        rows.append({"id": "r", "trace": f"t{n}", "takes": db + 20 + n * 1e-3, "name": "GET /"})
        rows.append(
            {"id": "d", "trace": f"t{n}", "parent": "r", "start": 5, "takes": db, "name": "db"}
        )
    return spans(*rows)


def test_the_tail_is_explained_by_the_operation_that_differs() -> None:
    """A query that is slow in the slow requests explains their whole difference."""
    found = tail.tail(_two_kinds(10, 90), quantile=0.9)

    assert ["db", "GET /"] == found["name"].tolist()
    assert [1.0, 0.0] == pytest.approx(found["explains"].tolist(), abs=1e-2)
    assert 1 == pytest.approx(found["explains"].sum())
    assert (80, 10) == pytest.approx(tuple(found.loc[0, ["slow_ms", "typical_ms"]]))
    assert 10 == found.attrs["slow_requests"]
    with pytest.raises(NotEnoughDataError, match="12 requests have fewer than 5 above"):
        tail.tail(_two_kinds(2, 10), quantile=0.9)


def test_what_if_stops_where_something_parallel_takes_over() -> None:
    """Halving the longer of two parallel calls gains only up to the shorter one."""
    table = spans(
        {"id": "r", "takes": 100},
        {"id": "a", "parent": "r", "start": 10, "takes": 80, "name": "llm"},
        {"id": "b", "parent": "r", "start": 10, "takes": 60, "name": "memory"},
    )

    found = what_if.what_if(table, "llm", faster=0.5).set_index("statistic")

    assert 100 == found.loc["mean", "before_ms"]
    assert 80 == pytest.approx(found.loc["mean", "after_ms"])  # 10 before, 60 of memory, 10 after
    assert 0.4 == pytest.approx(found.loc["mean", "ceiling"])


def test_what_if_moves_what_waited() -> None:
    """Calls one after the other move forward by all that is saved, with the gaps between them."""
    table = spans(
        {"id": "r", "takes": 100},
        {"id": "a", "parent": "r", "start": 5, "takes": 40, "name": "first"},
        {"id": "b", "parent": "r", "start": 50, "takes": 30, "name": "second"},
        {"id": "c", "parent": "a", "start": 10, "takes": 20, "name": "inner"},
    )

    gone = what_if.what_if(table, "inner", faster=1).set_index("statistic")
    own = what_if.what_if(table, "first", faster=1).set_index("statistic")

    assert 80 == pytest.approx(gone.loc["p99", "after_ms"])
    assert 80 == pytest.approx(own.loc["mean", "after_ms"])  # its own 20 ms, not what it calls
    with pytest.raises(AnalysisError, match="No operation is called frist; there are first"):
        what_if.what_if(table, "frist")
    with pytest.raises(AnalysisError, match=r"from 0 to 1; 7 was asked for"):
        what_if.what_if(table, "first", faster=7)


def test_what_if_never_gains_more_than_the_ceiling() -> None:
    """On a thousand drawn traces no operation gains more than its share times the speed-up."""
    rng = np.random.default_rng(2)
    rows = []
    for n in range(1000):
        rows.append({"id": "r", "trace": f"t{n}", "takes": 100})
        for k in range(4):
            start = float(rng.integers(0, 60))
            takes = float(rng.integers(1, 100 - int(start)))
            above = "r" if k < 2 else f"{k - 2}"
            rows.append(
                {"id": f"{k}", "trace": f"t{n}", "parent": above, "start": start, "takes": takes}
            )
    table = spans(*rows)

    for name in ("0", "1", "2", "3", "r"):
        mean = what_if.what_if(table, name, faster=0.7).set_index("statistic").loc["mean"]
        assert -1e-9 <= mean["gain"] <= mean["ceiling"] + 1e-9


def test_the_waterfall_is_the_tree_in_order() -> None:
    """Children follow their parent in order of start, with depth, own and critical time."""
    table = spans(
        {"id": "r", "start": 5, "takes": 100},
        {"id": "b", "parent": "r", "start": 60, "takes": 20},
        {"id": "a", "parent": "r", "start": 10, "takes": 40},
        {"id": "a1", "parent": "a", "start": 11, "takes": None},
        {"id": "lost", "parent": "gone", "start": 104.5, "takes": 1},
    )

    found = waterfall.waterfall(table, "t")

    assert ["r", "a", "a1", "b", "lost"] == found["span_id"].tolist()
    assert [0, 1, 2, 1, 0] == found["depth"].tolist()
    assert [0, 5, 6, 55, 99.5] == found["start_ms"].tolist()
    assert [40, 40, 0, 20, 1] == found["critical_ms"].tolist()
    assert ["", "", "did not end", "", "its parent is not in the trace"] == found["note"].tolist()
    assert np.isnan(found["duration_ms"].iloc[2])


def test_the_typical_request_is_the_medoid() -> None:
    """The trace chosen has the least total distance to all others.

    As comparing all pairs gives.
    """
    rng = np.random.default_rng(5)
    takes = rng.lognormal(3, 1, (60, 3)).round(3)
    rows = []
    for n, parts in enumerate(takes):
        trace = f"t{n:02}"
        rows.append({"id": "r", "trace": trace, "takes": float(parts.sum())})
        begin = 0.0
        for k, part in enumerate(parts):
            rows.append(
                {"id": f"{k}", "trace": trace, "parent": "r", "start": begin, "takes": float(part)}
            )
            begin = round(begin + float(part), 3)
    distance = np.abs(takes[:, None, :] - takes[None, :, :]).sum(axis=(1, 2))

    table = spans(*rows)

    assert f"t{distance.argmin():02}" == waterfall.choose(table, "typical")
    assert f"t{takes.sum(axis=1).argmax():02}" == waterfall.choose(table, "slowest")
    with pytest.raises(InputError, match="10 traces begin with t0"):
        waterfall.waterfall(table, "t0")
    upper = table.assign(trace_id=table["trace_id"].str.upper())
    assert "T07" == waterfall.waterfall(upper, "t07")["trace_id"].iloc[0]
    with pytest.raises(InputError, match="No trace begins with x; there are 60, such as t00"):
        waterfall.waterfall(table, "x")


def _skewed(ahead_ms: float) -> pd.DataFrame:
    rows = []
    for n in range(20):
        trace = f"t{n}"
        rows.append(
            {
                "id": "r",
                "trace": trace,
                "takes": 100,
                "service": "web",
                "start": 1000,
                "kind": "CLIENT",
            }
        )
        rows.append({"id": "s", "trace": trace, "parent": "r", "takes": 96 - n, "service": "db",
                     "start": 1002 + ahead_ms, "kind": "SERVER"})  # fmt: skip
    return spans(*rows)


def test_clock_skew_is_found_and_corrected_only_when_asked() -> None:
    """A clock 500 ms ahead is bounded by the calls, said, and gone after correction."""
    table = _skewed(500)

    row = clock_skew.skew(table).iloc[0]

    assert ("web", "db", 20, True) == (row["caller"], row["callee"], row["outside"], row["skewed"])
    assert row["offset_low_ms"] <= 500 <= row["offset_high_ms"]
    mended = clock_skew.corrected(table)
    assert {"db": pytest.approx(-500, abs=3)} == mended.attrs["moved_ms"]
    assert not clock_skew.skew(mended)["skewed"].any()
    steady = _skewed(0)
    assert not clock_skew.skew(steady)["skewed"].any()
    pd.testing.assert_frame_equal(steady, clock_skew.corrected(steady))


def test_an_attribute_comes_with_its_type() -> None:
    """One attribute of all spans, typed by what it holds, missing where a span lacks it."""
    table = spans(
        {"id": "a", "attributes": '{"n": 3, "t": "x", "b": true, "f": 0.5, "m": 1}'},
        {"id": "b"},
        {"id": "c", "attributes": '{"n":4,"other":"\\"n\\": 9","f":1,"m":"two"}'},
    ).set_index(pd.Index([7, 7, 9]))

    assert "Int64" == traces.attribute(table, "n").dtype
    assert [3, None, 4] == traces.attribute(table, "n").astype(object).where(
        lambda v: v.notna(), None
    ).tolist()
    assert "str" == traces.attribute(table, "t").dtype
    assert "boolean" == traces.attribute(table, "b").dtype
    assert [0.5, 1.0] == traces.attribute(table, "f").dropna().tolist()
    assert [1, "two"] == traces.attribute(table, "m").dropna().tolist()
    assert traces.attribute(table, "absent").isna().all()
    assert [7, 7, 9] == traces.attribute(table, "n").index.tolist()
