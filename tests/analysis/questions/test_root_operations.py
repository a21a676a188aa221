"""A run answers for its main root operation; what else came in is named and dilutes nothing."""

from __future__ import annotations

import pandas as pd

from analysis.calltree.call_tree import build_trees
from analysis.questions.root_operations import others_said, root_operations
from tests.support.traces.span_tables import spans


def _mixed() -> pd.DataFrame:
    kinds = {
        "GET /healthz": (50, 1, "SERVER"),
        "POST /checkout": (10, 500, "SERVER"),
        "GET /cart": (5, 20, "SERVER"),
        "GET /events": (20, 60_000, "SERVER"),
        "sweep": (30, 40, "INTERNAL"),
    }
    return spans(
        *(
            {"id": "r", "trace": f"{name}{n}", "name": name, "takes": takes, "kind": kind}
            for name, (count, takes, kind) in kinds.items()
            for n in range(count)
        )
    )


def test_the_main_root_operation_is_no_probe_stream_or_job() -> None:
    """Of five root operations the checkout is answered for, though four have more traffic."""
    table = _mixed()

    found = root_operations(table, build_trees(table))

    assert {
        "s: POST /checkout": "main",
        "s: GET /healthz": "health check",
        "s: sweep": "background work",
        "s: GET /events": "long-lived stream",
        "s: GET /cart": "other",
    } == dict(zip(found["root"], found["role"], strict=True))
    assert "s: POST /checkout" == found["root"].iloc[0]
    said = others_said(found)
    assert "The answers are for s: POST /checkout, 10 requests" in said
    assert "s: GET /healthz (50 requests, health check)" in said


def test_what_the_load_sent_is_no_background_work() -> None:
    """Where the load's trace ids are known, they tell requests from all else."""
    table = _mixed()
    sent = table.loc[table["name"] == "sweep", "trace_id"]

    found = root_operations(table, build_trees(table), sent).set_index("root")["role"]

    assert ("main", "background work") == (found["s: sweep"], found["s: POST /checkout"])


def test_one_root_operation_needs_no_sentence() -> None:
    """Where all requests are of one kind nothing is said of others."""
    table = spans({"id": "r", "takes": 5, "kind": "SERVER"})

    assert "" == others_said(root_operations(table, build_trees(table)))
