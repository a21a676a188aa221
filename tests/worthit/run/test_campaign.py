"""Several recordings of one campaign, each a block, become one run with intervals."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.questions.comparison.answer import compare, side
from analysis.rundir.run import open_run
from worthit.contract.tables import COUNTERS, EVENTS, REQUESTS, SPANS_WITH_RESOURCE
from worthit.errors import UsageError
from worthit.run.campaign import combined, recordings_of

SECOND = 10**9
REQUESTS_EACH = 20


def spans_of(number: int, queries: int) -> list[dict[str, object]]:
    """So many requests of so many queries, in the number-th minute."""
    rows: list[dict[str, object]] = []
    for at in range(REQUESTS_EACH):
        start_ns = (number * 60 + at) * SECOND
        trace = f"{number * 1000 + at + 1:032x}"
        common = {"trace_id": trace, "service": "shop", "status": "UNSET", "follows_from": False}
        rows.append(
            {
                **common,
                "span_id": f"{at:016x}",
                "name": "GET /cart",
                "kind": "SERVER",
                "start_ns": start_ns,
                "duration_ns": 10_000_000 + number,
                "attributes": "{}",
            }
        )
        rows += [
            {
                **common,
                "span_id": f"{at:08x}{query + 1:08x}",
                "parent_span_id": f"{at:016x}",
                "name": "SELECT carts",
                "kind": "CLIENT",
                "start_ns": start_ns + query * 1_000_000,
                "duration_ns": 1_000_000,
                "db_system": "postgresql",
                "db_operation": "SELECT",
                "attributes": json.dumps({"db.query.text": "SELECT 1"}),
            }
            for query in range(queries)
        ]
    return rows


def recording(folder: Path, number: int, arm: str | None, queries: int, **more: object) -> Path:
    """A recording as `worthit record --arm ARM` leaves it; others ask 100 times in between."""
    path = folder / f"20261130T16{number:02}00Z_shop"
    path.mkdir()
    counts = [(0, 1000 + number * 500), (30, 1000 + number * 500 + REQUESTS_EACH * queries)]
    labels = json.dumps({"database": "shop", "query": "SELECT $1"})
    counters = [
        {
            "t_ns": (number * 60 + at) * SECOND,
            "source": "postgres",
            "name": "statement_calls",
            "labels": labels,
            "value": float(value),
        }
        for at, value in counts
    ]
    for name, rows, schema in (
        ("spans", spans_of(number, queries), SPANS_WITH_RESOURCE),
        ("requests", [], REQUESTS),
        ("counters", counters, COUNTERS),
        ("events", [], EVENTS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path / f"{name}.parquet")
    manifest = {
        "format_version": 1,
        "run_id": path.name,
        "name": "shop",
        "experiment": {"command": ["./load.sh"]},
        "started_ns": number * 60 * SECOND,
        "ended_ns": (number * 60 + 30) * SECOND,
        "arm": arm,
        "recorded": {"spans": REQUESTS_EACH * (1 + queries)},
        "verdict": {"verdict": "VALID", "reasons": []},
        **more,
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_recordings_by_turns_compare_as_blocks_of_one_run(tmp_path: Path) -> None:
    """Six per arm give an interval, and the servers' counts leave out what lay between them."""
    order = ["off", "on", "on", "off"] * 3
    paths = [
        recording(tmp_path, number, arm, {"off": 4, "on": 2}[arm], campaign="cache")
        for number, arm in enumerate(order)
    ]

    path = combined(recordings_of("cache", tmp_path))
    again = combined(recordings_of("cache", tmp_path))

    run = open_run(path)
    assert path == again
    assert path.name.endswith("_cache")
    assert run.manifest.recordings == tuple(recorded.name for recorded in paths)
    assert [block.arm for block in run.manifest.blocks] == order
    assert [block.block for block in run.manifest.blocks] == list(range(12))
    assert [block.pair for block in run.manifest.blocks] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    (row,) = [one for one in run.manifest.cross_checks if one.what == "database calls"]
    assert (row.from_spans, row.independent) == (12 * 20 * 3, 12 * 20 * 3)
    result = compare(side(run, "off"), side(run, "on"))
    (queries,) = [one for one in result.rows if one.what == "queries per request, all"]
    assert (queries.before.value, queries.after.value) == (4.0, 2.0)
    assert queries.before.low is not None
    assert result.paired


@pytest.mark.parametrize(
    ("arm", "cpus", "sentence"),
    [
        (None, None, "names no arm"),
        ("on", 64, "different machines"),
    ],
)
def test_what_is_no_campaign_is_refused(
    arm: str | None, cpus: int | None, sentence: str, tmp_path: Path
) -> None:
    """A sentence that names the recording, and no run is made."""
    first = recording(tmp_path, 0, "off", 1)
    second = recording(tmp_path, 1, arm, 1, machine={"cpus": cpus})

    with pytest.raises(UsageError, match=sentence):
        combined([first, second])
    with pytest.raises(UsageError, match="No recording of campaign x"):
        recordings_of("x", tmp_path)
    assert sorted(tmp_path.iterdir()) == [first, second]
