"""The run counted into bins, against counts made by hand."""

from __future__ import annotations

import json

import pandas as pd

from analysis.questions.timeline.answer import bin_width_ns, timeline

SECOND = 1_000_000_000


def _requests() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": ["off", "off", "on"],
            "intended_ns": [0, SECOND // 2, SECOND + 1],
            "end_ns": pd.array([SECOND // 10, None, SECOND + 1 + SECOND // 5], dtype="Int64"),
        }
    )


def _spans() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "trace_id": [f"{number:032x}" for number in range(1, 6)],
            "span_id": [f"{number:016x}" for number in range(1, 6)],
            "parent_span_id": [None] * 5,
            "arm": ["off", "off", "on", "on", "on"],
            "duration_ns": [SECOND, 0, 9, SECOND // 4, 5],
            "worthit.pool_wait_ns": [SECOND / 2, None, None, None, None],
            "start_ns": [1, 2, SECOND + 3, SECOND + 4, SECOND + 5],
            "db_system": ["postgresql", "postgresql", "redis", "postgresql", None],
            "db_operation": ["SELECT", "connect", "GET", "SELECT", None],
            "cache_hit": pd.array([None, None, None, None, True], dtype="boolean"),
        }
    )


def _counters() -> pd.DataFrame:
    used = [json.dumps({"arm": "on", "state": "used", "pid": pid}) for pid in (1, 2)]
    idle = json.dumps({"arm": "on", "state": "idle", "pid": 1})
    return pd.DataFrame(
        {
            "t_ns": [5, 5, 5, 6],
            "source": ["service", "service", "service", "machine"],
            "name": ["db.client.connection.count"] * 3 + ["cpu_percent"],
            "labels": [*used, idle, "{}"],
            "value": [3.0, 4.0, 9.0, 50.0],
        }
    )


def _cells(table: pd.DataFrame, series: str) -> list[tuple[object, float, float, int]]:
    rows = table[table["series"] == series]
    return [
        (arm if isinstance(arm, str) else None, float(t_s), float(value), int(n))
        for arm, t_s, value, n in zip(
            rows["arm"], rows["t_s"], rows["value"], rows["n"], strict=True
        )
    ]


def test_each_series_is_counted_into_its_bin() -> None:
    """Arrivals, medians, queries, hits.

    Used connections and processor stand in the bin they belong to.
    """
    table = timeline(_requests(), _spans(), _counters(), started_ns=0, bin_ns=SECOND)

    assert [("off", 0.5, 2.0, 2), ("on", 1.5, 1.0, 1)] == _cells(table, "rate")
    assert [("off", 0.5, 100.0, 1), ("on", 1.5, 200.0, 1)] == _cells(table, "median")
    assert [("off", 0.5, 1.0, 1), ("on", 1.5, 1.0, 1)] == _cells(table, "queries")
    assert [("off", 0.5, 0.5, 1), ("on", 1.5, 0.25, 1)] == _cells(table, "busy")
    assert [("on", 1.5, 1.0, 1)] == _cells(table, "hit_rate")
    assert [("on", 0.5, 7.0, 2)] == _cells(table, "pool")
    assert [(None, 0.5, 50.0, 1)] == _cells(table, "cpu")


def test_what_was_not_recorded_has_no_row() -> None:
    """Three empty tables give an empty answer, not zeros."""
    table = timeline(_requests()[:0], _spans()[:0], _counters()[:0], started_ns=0, bin_ns=SECOND)

    assert len(table) == 0


def test_bins_are_whole_seconds_and_bounded() -> None:
    """A minute is drawn by the second, a day in at most 200 bins."""
    assert SECOND == bin_width_ns(0, 60 * SECOND)
    assert 86_400 * SECOND <= 200 * bin_width_ns(0, 86_400 * SECOND)
