from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from analysis import critical_path, self_time, shares
from analysis.calltree.recorded_trees import recorded_trees
from analysis.checks.trace_quality import issues
from tests.support.traces import awkward_traces, trace_oracle

TRACES = 3000


@pytest.fixture(
    name="spans",
    scope="module",
    params=[awkward_traces.draw, awkward_traces.draw_crowded],
    ids=["unlike spans", "spans alike"],
)
def _spans(request: pytest.FixtureRequest) -> pd.DataFrame:
    table = request.param(np.random.default_rng(20260117), TRACES)
    assert isinstance(table, pd.DataFrame)
    return table.sample(frac=1, random_state=3)


@pytest.fixture(name="nodes", scope="module")
def _nodes(spans: pd.DataFrame) -> dict[str, list[trace_oracle.Node]]:
    found: dict[str, list[trace_oracle.Node]] = defaultdict(list)
    for place, row in enumerate(spans.to_dict("records")):
        duration = None if pd.isna(row["duration_ns"]) else int(row["duration_ns"])
        parent = None if pd.isna(row["parent_span_id"]) else row["parent_span_id"]
        node = trace_oracle.Node(
            place, row["span_id"], parent, row["service"], row["name"], row["kind"],
            row["start_ns"], duration, row["follows_from"],
        )  # fmt: skip
        found[row["trace_id"]].append(node)
    return found


@pytest.fixture(name="roots", scope="module")
def _roots(nodes: dict[str, list[trace_oracle.Node]]) -> dict[str, list[trace_oracle.Node]]:
    return {trace: trace_oracle.tree(spans) for trace, spans in nodes.items()}


def test_the_drawn_traces_hold_every_kind_of_trouble(spans: pd.DataFrame) -> None:
    """What the oracle agrees on includes missing parents, cycles, repeats, shared ids, no ends."""
    found = set(issues(spans)["issue"])

    assert {
        "missing parent", "several roots", "repeated span", "shared span id", "cycle",
        "unfinished span", "outside its parent", "zero duration",
    } <= found  # fmt: skip


def test_self_time_is_what_counting_instants_gives(
    spans: pd.DataFrame,
    nodes: dict[str, list[trace_oracle.Node]],
    roots: dict[str, list[trace_oracle.Node]],
) -> None:
    """Self time of thousands of awkward traces equals a count of the uncovered nanoseconds."""
    expected = np.full(len(spans), -1)
    assert len(roots) == TRACES
    for trace in nodes.values():
        for node in trace:
            expected[node.row] = trace_oracle.self_time(node.repeat_of or node)

    actual = self_time.self_time(spans)

    assert expected.tolist() == actual.tolist()
    assert spans.index.equals(actual.index)


@pytest.mark.parametrize("rules", critical_path.RULES)
def test_sections_are_what_a_recursive_walk_gives(
    spans: pd.DataFrame, roots: dict[str, list[trace_oracle.Node]], rules: critical_path.Rules
) -> None:
    """Critical paths of thousands of awkward traces equal those of the textbook recursion."""
    walk = getattr(trace_oracle, rules)
    expected = {
        trace: sorted(
            (begin, end, node.span_id) for root in found for node, begin, end in walk(root)
        )
        for trace, found in roots.items()
    }

    recorded = recorded_trees(spans)
    path = critical_path.walk(recorded, rules)
    table = spans[["trace_id", "span_id"]].iloc[recorded.order[path.position]]
    table = table.assign(start_ns=path.start, end_ns=path.end)

    actual: dict[str, list[tuple[int, int, str]]] = {trace: [] for trace in expected}
    for row in table.itertuples():
        actual[row.trace_id].append((row.start_ns, row.end_ns, row.span_id))
    assert expected == {trace: sorted(found) for trace, found in actual.items()}
    assert all(table.groupby("trace_id")["start_ns"].is_monotonic_increasing)


@pytest.mark.parametrize("rules", critical_path.RULES)
def test_shares_are_what_adding_up_sections_gives(
    spans: pd.DataFrame, roots: dict[str, list[trace_oracle.Node]], rules: critical_path.Rules
) -> None:
    """An operation's share is its sections' time over all roots' time, and shares add up to 1."""
    walk = getattr(trace_oracle, rules)
    critical: dict[tuple[str, str], int] = defaultdict(int)
    for found in roots.values():
        for root in found:
            for node, begin, end in walk(root):
                critical[node.service, node.name] += end - begin
    whole = sum(root.end - root.start for found in roots.values() for root in found)

    recorded = recorded_trees(spans)
    times = critical_path.critical_times(recorded, rules)
    table = shares.from_sums([shares.sums_of(recorded, times, spans)])

    actual = table.set_index(["service", "name"])["share"]
    assert sum(actual) == pytest.approx(1)
    for key, share in actual.items():
        assert critical[key] / whole == pytest.approx(share)
