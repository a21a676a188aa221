"""What spans prove wrong is mended, and said: clocks, orphans, ids; requests by root operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from analysis import critical_path, queries, shares
from analysis.calltree.call_tree import build_trees
from analysis.calltree.stages import of_stages
from analysis.checks.trace_quality import issues
from tests.support.traces import awkward_traces
from tests.support.traces.span_tables import spans


def _share_of(table: pd.DataFrame, rules: critical_path.Rules = "inclusive") -> dict[str, float]:
    found = shares.request_shares(table, rules).groupby("name")["share"].sum()
    return {str(name): round(float(share), 9) for name, share in found.items()}


def _counted(table: pd.DataFrame) -> dict[str, int]:
    return {str(row.issue): int(row.spans) for row in issues(table).itertuples()}


def _call(
    ahead_ms: float, *, server: str = "b", takes: float = 80, start: float = 10
) -> pd.DataFrame:
    """A client's call of 100 ms, its server's clock ahead by so much, with a query inside."""
    own = {"service": server, "trace": f"t{server}"}
    return spans(
        {"id": "c", "takes": 100, "kind": "CLIENT", "service": "load", "trace": own["trace"],
         "start": 1000},
        {"id": "s", "parent": "c", "takes": takes, "kind": "SERVER", "name": "GET /x", **own,
         "start": 1000 + start + ahead_ms},
        {"id": "q", "parent": "s", "takes": 50, "kind": "CLIENT", "name": "SELECT", **own,
         "start": 1010 + start + ahead_ms},
    )  # fmt: skip


def test_siblings_that_touch_follow_each_other() -> None:
    """Ten queries on a millisecond clock, each begun when the last ended, are all on the path."""
    rows = [{"id": f"{n}", "parent": "r", "start": n, "takes": 1, "name": "q"} for n in range(10)]
    table = spans({"id": "r", "takes": 11}, *rows)

    assert {"q": pytest.approx(10 / 11), "r": pytest.approx(1 / 11)} == _share_of(table)
    assert {"q": pytest.approx(5 / 11), "r": pytest.approx(6 / 11)} == _share_of(table, "jaeger")


def test_a_query_ends_where_the_reading_of_its_rows_begins() -> None:
    """Go's otelsql begins sql.rows 5 us before it ends the query: both are waited for.

    Of two queries at once the one that ended last is waited for, rows or not.
    """
    after = spans(
        {"id": "r", "takes": 10},
        {"id": "q", "parent": "r", "start": 1, "takes": 4, "name": "sql.conn.query"},
        {"id": "w", "parent": "r", "start": 4.995, "takes": 0.035, "name": "sql.rows"},
    )
    beside = spans(
        {"id": "r", "takes": 10},
        {"id": "q", "parent": "r", "start": 1, "takes": 4, "name": "sql.conn.query"},
        {"id": "w", "parent": "r", "start": 4, "takes": 5, "name": "sql.rows"},
    )

    assert {"sql.conn.query": 0.3995, "sql.rows": 0.0035, "r": 0.597} == _share_of(after)
    assert {"sql.conn.query": 0, "sql.rows": 0.0035, "r": 0.9965} == _share_of(after, "jaeger")
    assert {"sql.conn.query": 0, "sql.rows": 0.5, "r": 0.5} == _share_of(beside)


@pytest.mark.parametrize("rules", critical_path.RULES)
def test_spans_without_length_at_one_moment_come_to_an_end(rules: critical_path.Rules) -> None:
    """A hundred thousand children of no duration at one moment take no time and no share."""
    moments = pd.DataFrame({"span_id": [f"{n}" for n in range(100_000)]})
    one = spans({"id": "r", "takes": 10}, {"id": "x", "parent": "r", "start": 5, "takes": 0})
    many = one.iloc[[1] * len(moments)].reset_index(drop=True)
    table = pd.concat([one.iloc[[0]], many.assign(span_id=moments["span_id"])], ignore_index=True)

    assert {"r": 1, "x": 0} == _share_of(table, rules)


@pytest.mark.parametrize("rules", critical_path.RULES)
@pytest.mark.parametrize("seed", range(3))
def test_shares_of_each_root_operation_add_up_to_one(
    seed: int, rules: critical_path.Rules
) -> None:
    """Whatever is wrong with the traces, a root operation's shares are all of its time."""
    table = awkward_traces.draw(np.random.default_rng(seed), 200)

    found = shares.request_shares(table, rules, by="root")

    sums = found.groupby("root")["share"].sum()
    taken = found.groupby("root")["critical_ms"].sum()
    assert sums[taken > 0].to_list() == pytest.approx([1] * int((taken > 0).sum()))
    assert len(sums) > 1


def test_a_request_is_of_the_first_server_span_below_the_loads_client() -> None:
    """The load's client span names no kind of request; background work is one of its own."""
    call = _call(0)
    job = spans({"id": "j", "takes": 900, "name": "sweep", "service": "b", "trace": "job"})
    table = pd.concat([call, job], ignore_index=True)

    found = shares.request_shares(table, by="root")
    counted = queries.per_request(table.assign(db_system="postgresql"), by="root")

    assert {"b: GET /x", "b: sweep"} == set(found["root"])
    of = found.set_index(["root", "name"])["share"]
    assert (0.5, 1.0) == (of["b: GET /x", "SELECT"], of["b: sweep", "sweep"])
    assert "root" == counted.columns[0]
    assert "b: GET /x" in set(counted["root"])


@pytest.mark.parametrize("ahead_ms", [-100, -3.5, 500])
def test_a_server_outside_its_client_is_moved_by_what_the_calls_prove(ahead_ms: float) -> None:
    """The server's share is what it is with one clock, and that its spans were moved is said."""
    right = _share_of(_call(0))

    start = 2.0 if ahead_ms == -3.5 else 10.0
    table = _call(ahead_ms, start=start)

    assert right == _share_of(table)
    assert 2 == _counted(table)["moved clock"]
    assert 0.5 > _share_of(table, "jaeger")["GET /x"] + _share_of(table, "jaeger")["SELECT"] or (
        ahead_ms == -3.5
    )


@pytest.mark.parametrize(
    ("start", "takes"), [(10, 95), (-0.5, 80), (50, 90)], ids=["late answer", "coarse", "time-out"]
)
def test_what_proves_nothing_is_left_where_it_was(start: float, takes: float) -> None:
    """A server that ends after its client, or half a millisecond early, has no wrong clock."""
    assert "moved clock" not in _counted(_call(0, start=start, takes=takes))


def test_machines_of_one_service_are_moved_each_by_its_own_clock() -> None:
    """Half the calls are 100 ms behind, half 300 ms ahead: each call is put into its client."""
    table = pd.concat(
        [_call(ahead).assign(trace_id=f"t{n}") for n, ahead in enumerate([-100, 300] * 10)],
        ignore_index=True,
    )

    assert _share_of(_call(0)) == _share_of(table)
    assert 40 == _counted(table)["moved clock"]


def test_orphans_inside_their_request_belong_to_it() -> None:
    """Three queries of 20 ms whose parent was lost are 0.6 of the request of 100 ms."""
    lost = [
        {"id": f"q{n}", "parent": f"gone{n}", "start": 10 + 25 * n, "takes": 20, "kind": "CLIENT",
         "name": "q"} for n in range(3)
    ]  # fmt: skip
    table = spans({"id": "r", "takes": 100, "kind": "SERVER"}, *lost)

    assert {"q": 0.6, "r": 0.4} == _share_of(table)
    assert {"adopted": 3} == _counted(table)


def test_an_orphan_goes_to_the_deepest_span_of_its_service_that_contains_it() -> None:
    """The query of the called service is inside that service's span, not beside it."""
    table = spans(
        {"id": "r", "takes": 100, "service": "a"},
        {"id": "c", "parent": "r", "start": 4, "takes": 92, "kind": "CLIENT", "service": "a"},
        {"id": "s", "parent": "c", "start": 5, "takes": 90, "kind": "SERVER", "service": "b"},
        {"id": "q", "parent": "gone", "start": 20, "takes": 45, "kind": "CLIENT", "service": "b"},
    )

    assert {"c": 0.02, "q": 0.45, "r": 0.08, "s": 0.45} == _share_of(table)


def test_an_orphan_outside_its_request_stays_a_root_and_is_reported() -> None:
    """What runs after the request's end is no part of it."""
    table = spans(
        {"id": "r", "takes": 100}, {"id": "o", "parent": "gone", "start": 90, "takes": 100}
    )

    assert {"o": 0.5, "r": 0.5} == _share_of(table)
    assert {"missing parent": 1, "several roots": 2} == _counted(table)


def test_two_servers_of_an_unrecorded_caller_stay_two() -> None:
    """Nobody knows that one called the other: both may be called by who is not there."""
    table = spans(
        {"id": "s", "parent": "gone", "takes": 100, "kind": "SERVER", "service": "a"},
        {"id": "t", "parent": "lost", "start": 10, "takes": 40, "kind": "SERVER", "service": "b"},
    )

    assert "adopted" not in _counted(table)


def _whole() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    parts = []
    for n in range(40):
        trace = "".join(rng.choice(list("0123456789abcdef"), 32))
        trace = trace if n % 4 else f"00{trace[2:16]}00{trace[18:]}"
        ids = [f"{rng.integers(1, 1 << 52):016x}" for _ in range(4)]
        parts.append(
            spans(
                {"id": ids[0], "trace": trace, "takes": 100, "kind": "SERVER", "name": "GET /x"},
                *({"id": ids[k], "parent": ids[0], "trace": trace, "start": 20 * k, "takes": 15,
                   "kind": "CLIENT", "name": "SELECT", "db": "postgresql"} for k in (1, 2, 3)),
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _dashed(ids: pd.Series[str]) -> pd.Series[str]:
    parts = [ids.str[begin:end] for begin, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    return parts[0].str.cat(parts[1:], sep="-")


@pytest.mark.parametrize(
    "spelt",
    [
        lambda ids: ids.str.upper(),
        lambda ids: ids.str.lstrip("0"),
        lambda ids: ids.str[16:],
        lambda ids: ids.str[16:].str.lstrip("0"),
        lambda ids: "0x" + ids,
        _dashed,
    ],
    ids=["upper case", "zeros stripped", "64 bits", "64 bits, zeros stripped", "0x", "dashes"],
)
def test_ids_spelt_otherwise_in_some_spans_change_nothing(
    spelt: Callable[[pd.Series[str]], pd.Series[str]],
) -> None:
    """Shares and queries are those of the same traces with ids of one spelling; it is said."""
    table = _whole()
    some = np.arange(len(table)) % 2 == 0
    mixed = table.assign(trace_id=table["trace_id"].where(~some, spelt(table["trace_id"])))

    pd.testing.assert_frame_equal(shares.request_shares(table), shares.request_shares(mixed))
    pd.testing.assert_frame_equal(queries.per_request(table), queries.per_request(mixed))
    assert ["repaired id"] == list(_counted(mixed))


def test_span_ids_without_their_zeros_still_find_each_other() -> None:
    """A parent id of sixteen digits names the span whose id was stripped of its zeros."""
    table = _whole()
    stripped = table.assign(span_id=table["span_id"].str.lstrip("0"))

    pd.testing.assert_frame_equal(shares.request_shares(table), shares.request_shares(stripped))


def test_a_short_id_that_two_long_ones_end_with_is_nobodys() -> None:
    """Two traces are never made one: the half they share decides nothing."""
    half = "463ac35c9f6413ad"
    table = spans(
        {"id": "a", "trace": "1" * 16 + half, "takes": 1},
        {"id": "b", "trace": "2" * 16 + half, "takes": 1},
        {"id": "c", "trace": half, "takes": 1},
    )

    assert {} == _counted(table)
    assert 1.0 == shares.request_shares(table)["per_request"].sum()


def test_stages_begin_below_the_first_server_span() -> None:
    """Of a call by the load, the query is a stage, and the time on the way has its name."""
    table = _call(0)
    staged = of_stages(build_trees(table))
    times = critical_path.critical_times(staged, "inclusive")

    found = shares.from_sums([shares.sums_of(staged, times, table)]).set_index("name")["share"]

    assert {"network and queue": 0.2, "SELECT": 0.5, "GET /x": 0.3} == found.round(9).to_dict()
