"""Stages: everything below a child of the root is that child's."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.calltree.call_tree import build_trees, to_rows
from analysis.calltree.stages import of_stages
from analysis.critical_path import critical_times
from analysis.shares import from_sums, sums_of


def _spans(rows: list[tuple[str, str | None, str, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(
        rows, columns=["span_id", "parent_span_id", "name", "start_ns", "duration_ns"]
    )
    return table.assign(trace_id="t", service="chat", kind="INTERNAL")


def _named(spans: pd.DataFrame) -> pd.Series[str]:
    """Each span's stage, in the order of the rows."""
    staged = of_stages(build_trees(spans))
    names = staged.operations["name"].iloc[to_rows(staged.operation, staged)]
    return names.reset_index(drop=True)


def test_a_stage_holds_what_runs_inside_it() -> None:
    """Query and driver below a lookup are the lookup's; the root keeps what is its own."""
    spans = _spans(
        [
            ("root", None, "POST /chat", 0, 100),
            ("lookup", "root", "personality.lookup", 0, 30),
            ("query", "lookup", "SELECT personalities", 5, 20),
            ("driver", "query", "send", 6, 4),
            ("llm", "root", "chat", 40, 50),
        ]
    )
    staged = of_stages(build_trees(spans))
    sums = sums_of(staged, critical_times(staged, "inclusive"), spans)
    shares = from_sums([sums]).set_index("name")["share"].to_dict()

    assert shares == pytest.approx({"chat": 0.5, "personality.lookup": 0.3, "POST /chat": 0.2})


def test_depth_does_not_matter() -> None:
    """At the end of a chain of 50,000 spans stands the stage at its top."""
    chain = [("0", None, "root", 0, 10), ("1", "0", "stage", 0, 10)]
    chain += [(str(at), str(at - 1), "deep", 0, 10) for at in range(2, 50_000)]
    named = _named(_spans(chain))

    assert named.value_counts().to_dict() == {"stage": 49_999, "root": 1}


def test_rows_may_come_in_any_order() -> None:
    """Children before their parents have the same stages."""
    spans = _spans(
        [("b", "a", "inner", 1, 2), ("a", "root", "stage", 0, 5), ("root", None, "top", 0, 9)]
    )

    assert ["stage", "stage", "top"] == _named(spans).tolist()
