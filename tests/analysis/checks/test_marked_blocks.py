"""A block that was marked and that nobody loaded is told."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from analysis.checks.marked_blocks import about_marked_blocks

SECOND = 10**9


def events(*marks: tuple[int, str | None]) -> pd.DataFrame:
    """Marks at these seconds, beside an event that is none."""
    rows = [
        (at * SECOND, "mark", json.dumps({"arm": arm, "block": None}), "recorder")
        for at, arm in marks
    ]
    return pd.DataFrame(
        [(0, "started", "{}", "recorder"), *rows], columns=["t_ns", "kind", "detail", "part"]
    )


def spans(*starts: int) -> pd.DataFrame:
    """One request each."""
    return pd.DataFrame(
        {
            "trace_id": [f"{at:032x}" for at in starts],
            "span_id": [f"{at:016x}" for at in starts],
            "parent_span_id": pd.Series([None] * len(starts), dtype="str"),
            "kind": "SERVER",
            "start_ns": [at * SECOND for at in starts],
        }
    )


MARKS = ((10, "off"), (20, "on"), (30, None), (40, "off"), (50, "on"))


@pytest.mark.parametrize(
    ("loaded", "empty"),
    [
        ((12, 22, 42, 52), ()),
        ((10, 20, 40, 50), ()),
        ((12, 22, 35, 52), ("block 2 of off",)),
        ((5, 22, 42), ("block 0 of off", "block 3 of on")),
    ],
)
def test_marked_blocks_without_requests_are_named(
    loaded: tuple[int, ...], empty: tuple[str, ...]
) -> None:
    """A mark's moment belongs to its block; between blocks no request is missed."""
    issues = about_marked_blocks(spans(*loaded), events(*MARKS))

    if not empty:
        assert [] == issues
        return
    (issue,) = issues
    assert "SUSPECT" == issue.level.name
    assert (
        f"{len(empty)} of 4 marked blocks hold no request ({', '.join(empty)})" in issue.sentence
    )


def test_without_marks_nothing_is_asked() -> None:
    """As in most recordings."""
    assert [] == about_marked_blocks(spans(), events())
