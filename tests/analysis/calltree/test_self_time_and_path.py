from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import critical_path, self_time, shares
from analysis.checks.trace_quality import issues
from analysis.errors import AnalysisError, ColumnError
from tests.support.traces import awkward_traces
from tests.support.traces.span_tables import MS, spans


def _sections(
    table: pd.DataFrame, rules: critical_path.Rules = "jaeger"
) -> list[tuple[str, float, float]]:
    found = critical_path.sections(table, rules=rules)
    return [(r.span_id, r.start_ns / MS, r.end_ns / MS) for r in found.itertuples()]


def test_the_path_goes_through_the_last_finishing_child() -> None:
    """Of two overlapping children only the one that finishes last is on Jaeger's path."""
    table = spans(
        {"id": "a", "takes": 100},
        {"id": "b", "parent": "a", "start": 10, "takes": 40},
        {"id": "c", "parent": "a", "start": 20, "takes": 40},
    )

    assert [("a", 0, 20), ("c", 20, 60), ("a", 60, 100)] == _sections(table)
    assert [50 * MS, 40 * MS, 40 * MS] == self_time.self_time(table).tolist()


def test_crisp_takes_a_small_overlap_for_skew() -> None:
    """Siblings that overlap by less than 1 % follow each other for CRISP, not for Jaeger."""
    table = spans(
        {"id": "a", "takes": 1000},
        {"id": "b", "parent": "a", "start": 0, "takes": 505},
        {"id": "c", "parent": "a", "start": 500, "takes": 500},
    )

    assert [("a", 0, 500), ("c", 500, 1000)] == _sections(table)
    assert [("b", 0, 500), ("c", 500, 1000)] == _sections(table, "crisp")


def test_a_child_that_covers_its_parent_is_clipped_by_jaeger_and_dropped_by_crisp() -> None:
    """The two rules part where a child sticks out of its parent on both sides."""
    table = spans(
        {"id": "a", "start": 10, "takes": 20}, {"id": "b", "parent": "a", "start": 5, "takes": 30}
    )

    assert [("b", 10, 30)] == _sections(table)
    assert [("a", 10, 30)] == _sections(table, "crisp")


def test_nobody_waits_for_a_consumer() -> None:
    """A CONSUMER child of a PRODUCER takes its subtree off the path and keeps its self time."""
    table = spans(
        {"id": "a", "takes": 30, "kind": "PRODUCER"},
        {"id": "b", "parent": "a", "start": 10, "takes": 10, "kind": "CONSUMER"},
        {"id": "c", "parent": "b", "start": 12, "takes": 2},
    )

    assert [("a", 0, 30)] == _sections(table)
    assert [20 * MS, 8 * MS, 2 * MS] == self_time.self_time(table).tolist()


def test_a_start_of_zero_is_a_time_like_any_other() -> None:
    """Spans that start at 0 have their whole path (Jaeger UI takes 0 for 'none')."""
    table = spans({"id": "a", "takes": 10}, {"id": "b", "parent": "a", "takes": 4})

    assert [("b", 0, 4), ("a", 4, 10)] == _sections(table)


def test_a_missing_parent_makes_a_root_that_is_reported() -> None:
    """A span whose parent is lost keeps a path of its own, and is counted as such."""
    table = spans(
        {"id": "a", "takes": 10},
        {"id": "c", "parent": "lost", "start": 8, "takes": 3, "name": "q"},
    )

    assert [("a", 0, 10), ("c", 8, 11)] == _sections(table)
    assert {"missing parent": 1, "several roots": 2} == issues(table).set_index("issue")[
        "spans"
    ].to_dict()
    assert shares.request_shares(table)["share"].sum() == pytest.approx(1)


def test_a_caller_that_is_not_traced_is_no_loss() -> None:
    """A trace that hangs from an unrecorded client is whole.

    It is told apart from a lost parent.
    """
    table = spans({"id": "a", "parent": "client", "takes": 10, "kind": "SERVER"})

    assert ["caller not recorded"] == issues(table)["issue"].tolist()
    assert [("a", 0, 10)] == _sections(table)


def test_a_span_delivered_twice_counts_once() -> None:
    """A retried export doubles nothing: shares, counts and paths are those of one delivery."""
    once = spans({"id": "a", "takes": 10}, {"id": "b", "parent": "a", "start": 2, "takes": 4})
    twice = pd.concat([once, once], ignore_index=True)

    pd.testing.assert_frame_equal(shares.request_shares(once), shares.request_shares(twice))
    assert {"repeated span": 2} == issues(twice).set_index("issue")["spans"].to_dict()
    assert [6 * MS, 4 * MS] * 2 == self_time.self_time(twice).tolist()


def test_a_twin_with_another_id_is_no_repeat() -> None:
    """A call and one like it, delivered twice, are told apart by their ids and by nothing else."""
    twin = {"parent": "0a", "start": 10, "takes": 20, "kind": "SERVER", "name": "serve"}
    table = spans(
        {"id": "0a", "takes": 100, "kind": "SERVER"},
        {"id": "02", "parent": "0a", "start": 5, "takes": 50, "kind": "CLIENT", "name": "call"},
        {"id": "01", **twin}, {"id": "01", **twin}, {"id": "02", **twin},
        {"id": "03", "parent": "02", "start": 12, "takes": 5, "name": "query"},
    )  # fmt: skip

    assert [50 * MS, 30 * MS, 20 * MS, 20 * MS, 15 * MS, 5 * MS] == self_time.self_time(
        table
    ).tolist()
    assert {"repeated span": 1, "shared span id": 1} == issues(table).set_index("issue")[
        "spans"
    ].to_dict()


def test_a_repeat_has_the_self_time_of_what_it_repeats() -> None:
    """A client span delivered again after the server's side of its call is still the client's."""
    side = {"id": "x", "parent": "r", "start": 10, "takes": 20, "name": "call"}
    table = spans(
        {"id": "r", "takes": 100},
        {**side, "kind": "CLIENT"}, {**side, "kind": "SERVER"}, {**side, "kind": "CLIENT"},
    )  # fmt: skip

    assert [80 * MS, 0, 20 * MS, 0] == self_time.self_time(table).tolist()


def test_a_duration_beyond_what_int64_holds_is_none() -> None:
    """An end that no clock shows is an issue and has no time, instead of wrapping around."""
    table = spans({"id": "a", "takes": 10}, {"id": "b", "parent": "a", "start": 2, "takes": 3})
    table.loc[1, "duration_ns"] = 2**63 - 1

    assert [10 * MS, 0] == self_time.self_time(table).tolist()
    assert "unfinished span" in set(issues(table)["issue"])
    with pytest.raises(ColumnError, match="start_ns holds uint64 beyond what int64 holds"):
        self_time.self_time(table.assign(start_ns=np.array([0, 2**63], np.uint64)))


def test_both_sides_of_a_call_may_share_an_id() -> None:
    """As Zipkin has it: the SERVER side goes below the CLIENT side and has the children."""
    table = spans(
        {"id": "r", "takes": 100, "kind": "SERVER"},
        {"id": "x", "parent": "r", "start": 10, "takes": 50, "kind": "CLIENT", "name": "call"},
        {"id": "x", "parent": "r", "start": 20, "takes": 30, "kind": "SERVER", "name": "serve"},
        {"id": "q", "parent": "x", "start": 25, "takes": 5, "name": "query"},
    )

    assert [50 * MS, 20 * MS, 25 * MS, 5 * MS] == self_time.self_time(table).tolist()
    assert ["shared span id"] == issues(table)["issue"].tolist()


def test_a_cycle_is_cut_at_its_earliest_span() -> None:
    """Two spans that name each other as parent still give a path, and are reported."""
    table = spans(
        {"id": "a", "parent": "b", "takes": 10}, {"id": "b", "parent": "a", "start": 2, "takes": 3}
    )

    assert [("a", 0, 2), ("b", 2, 5), ("a", 5, 10)] == _sections(table)
    assert ["cycle"] == issues(table)["issue"].tolist()


def test_a_span_that_never_ended_is_reported_and_has_no_time() -> None:
    """An unfinished trace neither crashes nor counts its unknown time."""
    table = spans(
        {"id": "a", "start": 1, "takes": None}, {"id": "b", "parent": "a", "start": 2, "takes": 4}
    )

    assert [0, 4 * MS] == self_time.self_time(table).tolist()
    assert {"unfinished span", "outside its parent"} == set(issues(table)["issue"])


@pytest.mark.parametrize("rules", ["jaeger", "crisp"])
def test_depth_and_breadth_are_no_obstacle(rules: critical_path.Rules) -> None:
    """A chain of 50,000 and 100,000 children of one parent are walked without recursion."""
    deep = 50_000
    chain = pd.DataFrame(
        {
            "trace_id": "deep", "span_id": [f"{i:016x}" for i in range(deep)],
            "parent_span_id": [None, *(f"{i:016x}" for i in range(deep - 1))],
            "service": "s", "name": "level", "kind": "INTERNAL",
            "start_ns": np.arange(deep), "duration_ns": 2 * deep - 2 * np.arange(deep),
        }
    )  # fmt: skip
    wide = 100_000
    fan = pd.DataFrame(
        {
            "trace_id": "wide", "span_id": [f"{i:016x}" for i in range(wide + 1)],
            "parent_span_id": [None, *["0" * 16] * wide],
            "service": "s", "name": ["root", *["child"] * wide], "kind": "INTERNAL",
            "start_ns": [0, *(np.arange(wide) * 10)], "duration_ns": [10 * wide, *[9] * wide],
        }
    )  # fmt: skip

    found = critical_path.sections(pd.concat([chain, fan]), rules)

    count = found["trace_id"].value_counts()
    assert {"deep": 2 * deep - 1, "wide": 2 * wide} == count.to_dict()
    assert wide == self_time.self_time(fan).iloc[0]


def test_ids_of_any_form_are_told_apart() -> None:
    """Ids need not be hex nor of one length: bytes decide, also for prefixes of each other."""
    table = spans(
        {"id": "1", "takes": 10},
        {"id": "11", "parent": "1", "start": 1, "takes": 2},
        {"id": "1111111111111111", "parent": "11", "start": 1, "takes": 1},
        {"id": "ü", "parent": "1", "start": 5, "takes": 2},
    )

    assert [6 * MS, 1 * MS, 1 * MS, 2 * MS] == self_time.self_time(table).tolist()


def test_an_empty_table_has_empty_answers() -> None:
    """No spans give no rows and a reason, never a zero and never a crash."""
    empty = spans({"id": "a"}).iloc[:0]

    assert 0 == len(self_time.self_time(empty)) == len(critical_path.sections(empty))
    table = shares.request_shares(empty)
    assert table.empty
    assert "No interval" in table.attrs["interval"]


def test_what_is_no_spans_table_is_said() -> None:
    """A missing column and unknown rules are one sentence each."""
    with pytest.raises(ColumnError, match="lacks duration_ns; it has trace_id"):
        self_time.self_time(spans({"id": "a"}).drop(columns="duration_ns"))
    with pytest.raises(ColumnError, match="start_ns holds large_string; whole nanoseconds"):
        self_time.self_time(spans({"id": "a"}).assign(start_ns="yesterday"))
    with pytest.raises(AnalysisError, match="inclusive, jaeger or crisp, not 'tempo'"):
        critical_path.sections(spans({"id": "a"}), rules="tempo")  # type: ignore[arg-type] # wrong on purpose


_SEEDS = st.integers(0, 2**32 - 1)
_Draw = Callable[[np.random.Generator, int], pd.DataFrame]
_DRAWS = st.sampled_from([awkward_traces.draw, awkward_traces.draw_crowded])


def _answers(table: pd.DataFrame, rules: critical_path.Rules) -> pd.DataFrame:
    """What must not depend on rows, ids or the moment: self and critical time by operation."""
    found = shares.request_shares(table, rules).drop(columns=["share_low", "share_high"])
    return found.sort_values(["service", "name"], ignore_index=True)


@settings(max_examples=25, deadline=None)
@given(seed=_SEEDS, draw=_DRAWS, rules=st.sampled_from(["jaeger", "crisp"]))
def test_sections_of_a_root_add_up_to_its_duration(
    seed: int, draw: _Draw, rules: critical_path.Rules
) -> None:
    """Whatever is wrong with a trace, its paths are exactly as long as its roots."""
    table = draw(np.random.default_rng(seed), 20)
    found = critical_path.sections(table, rules=rules)

    sums = shares.sums(table, rules)

    assert sums.requests["root_ns"].sum() == (found["end_ns"] - found["start_ns"]).sum()
    assert (found["end_ns"] > found["start_ns"]).all()
    assert found.groupby("trace_id")["start_ns"].is_monotonic_increasing.all()


@settings(max_examples=25, deadline=None)
@given(seed=_SEEDS, draw=_DRAWS)
def test_self_time_is_within_the_span(seed: int, draw: _Draw) -> None:
    """No span works longer than it lasts, nor less than not at all."""
    table = draw(np.random.default_rng(seed), 20)

    own = self_time.self_time(table)

    assert (own >= 0).all()
    assert (own <= table["duration_ns"].fillna(0)).all()


@settings(max_examples=25, deadline=None)
@given(seed=_SEEDS, shift=st.integers(0, 2**60), rules=st.sampled_from(["jaeger", "crisp"]))
def test_order_moment_and_names_of_ids_change_nothing(
    seed: int, shift: int, rules: critical_path.Rules
) -> None:
    """Shuffled rows, another epoch and other ids (of another form) give the same answers."""
    rng = np.random.default_rng(seed)
    table = awkward_traces.draw(rng, 20)
    other = table.sample(frac=1, random_state=rng.integers(2**31))
    other = other.assign(start_ns=other["start_ns"] + shift)
    for name in ("trace_id", "span_id", "parent_span_id"):
        other[name] = ("id-" + other[name].str[::-1]).astype("str")

    pd.testing.assert_frame_equal(_answers(table, rules), _answers(other, rules))


@settings(max_examples=25, deadline=None)
@given(seed=_SEEDS, rules=st.sampled_from(["jaeger", "crisp"]))
def test_the_order_of_rows_changes_nothing_also_where_spans_are_alike(
    seed: int, rules: critical_path.Rules
) -> None:
    """Spans that differ in kind or parent alone have one order, whatever order they came in."""
    rng = np.random.default_rng(seed)
    table = awkward_traces.draw_crowded(rng, 20)
    other = table.sample(frac=1, random_state=rng.integers(2**31))

    by_trace = ["trace_id", "start_ns", "end_ns", "span_id"]
    pd.testing.assert_frame_equal(_answers(table, rules), _answers(other, rules))
    pd.testing.assert_frame_equal(
        critical_path.sections(table, rules).sort_values(by_trace, ignore_index=True),
        critical_path.sections(other, rules).sort_values(by_trace, ignore_index=True),
    )
