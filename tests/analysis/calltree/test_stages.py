"""Stages: everything below a child of the root is that child's."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.calltree.stages import by_stage
from analysis.shares import request_shares


def _spans(rows: list[tuple[str, str | None, str, int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(
        rows, columns=["span_id", "parent_span_id", "name", "start_ns", "duration_ns"]
    )
    return table.assign(trace_id="t", service="chat", kind="INTERNAL")


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
    shares = request_shares(by_stage(spans)).set_index("name")["share"].to_dict()

    assert shares == pytest.approx({"chat": 0.5, "personality.lookup": 0.3, "POST /chat": 0.2})


def test_depth_does_not_matter() -> None:
    """At the end of a chain of 50,000 spans stands the stage at its top."""
    chain = [("0", None, "root", 0, 10), ("1", "0", "stage", 0, 10)]
    chain += [(str(at), str(at - 1), "deep", 0, 10) for at in range(2, 50_000)]
    named = by_stage(_spans(chain))["name"]

    assert named.value_counts().to_dict() == {"stage": 49_999, "root": 1}


def test_rows_keep_their_order_and_others_their_columns() -> None:
    """Only service and name change, in the order that the rows came in, and the input stays."""
    spans = _spans(
        [("b", "a", "inner", 1, 2), ("a", "root", "stage", 0, 5), ("root", None, "top", 0, 9)]
    )
    before = spans.copy()
    named = by_stage(spans)

    assert named["name"].tolist() == ["stage", "stage", "top"]
    pd.testing.assert_frame_equal(before, spans)
    pd.testing.assert_frame_equal(named.drop(columns="name"), spans.drop(columns="name"))
