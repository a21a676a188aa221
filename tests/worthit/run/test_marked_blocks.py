"""One recording under any load: a script marks its blocks, or a schedule tells them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from worthit.environment.recorder import Recorder
from worthit.environment.server import child_environment
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SERVICE = """
import subprocess, sys, time
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("x")

def serve(requests, queries, pause=0.0):
    for _ in range(requests):
        with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER):
            for _ in range(queries):
                with tracer.start_as_current_span("SELECT carts", kind=SpanKind.CLIENT,
                    attributes={"db.system.name": "postgresql", "db.query.text": "SELECT 1"}):
                    pass
        time.sleep(pause)

def mark(*arguments):
    subprocess.run([sys.executable, "-m", "worthit", "mark", *arguments], check=True)

LOAD
provider.shutdown()
"""
"""A service under a load that knows nothing of us: so many queries per request."""

OFF_AND_ON = """
serve(2, 3)  # a warm-up: in no block
mark("off", "--block", "0"); serve(20, 3)
mark("on"); serve(20, 1)
mark("on", "--block", "7"); serve(20, 1)
mark("off"); serve(20, 3)
mark("--end"); serve(5, 3)
"""


def worthit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run worthit in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "worthit", *arguments],
        cwd=cwd,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_script_marks_its_blocks(tmp_path: Path) -> None:
    """Requests are placed by when they began; what is before and after the marks is left out."""
    (tmp_path / "load.py").write_text(SERVICE.replace("LOAD", OFF_AND_ON))

    said = worthit(
        *("record", "--json", "--out", "runs", "--", sys.executable, "load.py"), cwd=tmp_path
    )

    assert said.returncode == 0, said.stderr
    run = tmp_path / json.loads(said.stdout)["run"]
    manifest = json.loads((run / "manifest.json").read_text())
    found = [(block["block"], block["arm"], block["pair"]) for block in manifest["blocks"]]
    assert found == [(0, "off", 0), (8, "on", 0), (7, "on", 1), (9, "off", 1)]
    spans = pq.read_table(run / "spans.parquet").to_pandas()
    queries = spans[spans["kind"] == "CLIENT"]["arm"].value_counts().to_dict()
    assert queries == {"off": 2 * 20 * 3, "on": 2 * 20}
    assert (manifest["placed"]["marks"], manifest["placed"]["nobody"]) == (80, 7)


def test_a_schedule_tells_the_blocks_of_a_load_that_knows_nothing(tmp_path: Path) -> None:
    """Alternate half seconds are off and on; with a settling time the edges are set aside."""
    (tmp_path / "load.py").write_text(SERVICE.replace("LOAD", "serve(60, 1, 0.02)"))
    (tmp_path / "blocks.csv").write_text("arm,seconds\n" + 120 * "off,0.5\non,0.5\n")

    said = worthit(
        *("record", "--json", "--out", "runs", "--schedule", "blocks.csv", "--settle", "0.1"),
        *("--", sys.executable, "load.py"),
        cwd=tmp_path,
    )

    assert said.returncode == 0, said.stderr
    run = tmp_path / json.loads(said.stdout)["run"]
    manifest = json.loads((run / "manifest.json").read_text())
    placed = manifest["placed"]
    assert placed["marks"] + placed["set_aside"] == 60
    assert placed["set_aside"] > 0
    events = pq.read_table(run / "events.parquet").to_pandas()
    marks = events.loc[events["kind"] == "mark", "t_ns"].to_list()
    spans = pq.read_table(run / "spans.parquet").to_pandas()
    requests = spans[spans["parent_span_id"].isna() & spans["block"].notna()]
    ends = requests["start_ns"] + requests["duration_ns"]
    for block, start_ns, end_ns in zip(
        requests["block"].astype(int), requests["start_ns"], ends, strict=True
    ):
        assert marks[block] + 100_000_000 <= start_ns <= end_ns <= marks[block + 1]
    assert set(requests["arm"]) == {"off", "on"}
    assert (requests["arm"] == requests["block"].mod(2).map({0: "off", 1: "on"})).all()


def test_a_mark_while_nothing_records_is_told(tmp_path: Path) -> None:
    """Nobody there, or a recorder of worthit up: exit code 1, and what to do."""
    nobody = worthit("mark", "off", "--recorder", "http://127.0.0.1:9", cwd=tmp_path)
    wrong = worthit("mark", cwd=tmp_path)

    assert (nobody.returncode, wrong.returncode) == (1, 2)
    assert "No recorder answered at http://127.0.0.1:9" in nobody.stderr
    assert "Name the arm that begins" in wrong.stderr


@pytest.mark.asyncio
async def test_a_recorder_takes_marks_only_where_they_are_kept(tmp_path: Path) -> None:
    """409 without a file; 200 with the moment once it is in it; what is no mark is refused."""
    async with Workspace() as workspace:
        async with Recorder(workspace, keep=False) as recorder, httpx.AsyncClient() as client:
            refused = await client.post(f"{recorder.endpoint}/marks", json={"arm": "off"})
        marks = tmp_path / "marks"
        async with (
            Recorder(workspace, path=tmp_path / "traces", marks=marks) as recorder,
            httpx.AsyncClient() as client,
        ):
            kept = await client.post(f"{recorder.endpoint}/marks", json={"arm": "off"})
            wrong = await client.post(f"{recorder.endpoint}/marks", json={"arm": "off", "x": 1})
            in_file = marks.read_bytes()

    assert [refused.status_code, kept.status_code, wrong.status_code] == [409, 200, 400]
    assert kept.content in in_file
    assert "worthit record does" in refused.json()["error"]
