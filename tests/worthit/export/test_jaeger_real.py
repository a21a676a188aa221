"""A real Jaeger, where JAEGER_BIN or PATH names one: what is sent is what is there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest

from analysis import traces
from analysis.rundir.run import open_run
from tests.support.project.source_tree import ROOT
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.environment.jaeger import Jaeger, find_jaeger
from worthit.errors import UsageError
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SAME = ["parent_span_id", "service", "name", "kind", "status", "arm", "db_system", "db_collection"]


@pytest.fixture(name="jaeger")
async def _jaeger() -> AsyncIterator[Jaeger]:
    try:
        binary = find_jaeger(os.environ)
    except UsageError:
        pytest.skip("no Jaeger binary: name one in JAEGER_BIN")
    async with Workspace() as workspace, Jaeger(workspace, binary) as jaeger:
        yield jaeger


async def test_a_replayed_run_is_in_jaeger_span_by_span(jaeger: Jaeger, tmp_path: Path) -> None:
    """Exported to Jaeger and read back over its HTTP API: the same spans, times cut to its µs."""
    truth = Truth(rates_per_s=(20.0,), pairs=2, block_s=4.0)
    run = open_run(write_run(tmp_path / "run", truth))

    words = ["-m", "worthit", "export", str(run.path), "--otlp", jaeger.endpoint]
    export = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=ROOT)
    assert 0 == await export.wait()
    days = "lookback=87600h&start=1000000&limit=20000"
    found = traces.read(f"{jaeger.url}/api/traces?service=chat&{days}")
    found["trace_id"] = found["trace_id"].str.zfill(32)  # Jaeger leaves out 16 leading zeros

    sent, there = (table.set_index(["trace_id", "span_id"]) for table in (run.spans, found))
    sent, there = sent.sort_index(), there.sort_index()
    assert len(sent) > 500
    assert list(sent.index) == list(there.index)
    for column in SAME:
        pd.testing.assert_series_equal(
            sent[column].astype("object").fillna(""),
            there[column].astype("object").fillna(""),
            check_dtype=False,
        )
    for column in ("start_ns", "duration_ns"):
        assert (sent[column] - there[column]).between(-1000, 1000).all(), column
