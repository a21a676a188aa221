"""Emulated time of a stage: of all of its time, with all that runs inside."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.calltree.call_tree import build_trees
from analysis.questions import emulated
from tests.support.traces.span_tables import spans


def test_a_stage_that_is_emulated_in_some_requests_is_emulated_in_part() -> None:
    """Of lookups of 40 and 60 ms one query slept 20 ms: 20 % of the stage, 10 ms a request."""
    table = spans(
        {"trace": "1", "id": "r", "takes": 100, "arm": "off"},
        {"trace": "1", "id": "a", "parent": "r", "takes": 40, "name": "lookup", "arm": "off"},
        {"trace": "1", "id": "q", "parent": "a", "takes": 30, "name": "SELECT", "arm": "off"},
        {"trace": "2", "id": "r", "takes": 100, "arm": "off"},
        {"trace": "2", "id": "a", "parent": "r", "takes": 60, "name": "lookup", "arm": "off"},
    )
    marked_ns = pd.Series([20e6], index=[2])

    (stage,) = emulated.stages(table, marked_ns, build_trees(table))
    whole = {
        row.operation: row.share
        for row in emulated.wholes(table, marked_ns, build_trees(table))
        if row.which == "all"
    }

    assert ("off", "lookup", 10.0) == (stage.arm, stage.operation, stage.emulated_ms)
    assert pytest.approx(0.2) == stage.share == whole["lookup"]
