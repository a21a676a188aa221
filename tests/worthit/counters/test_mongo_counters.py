"""`worthit record` beside a server of MongoDB's protocol: its count stands beside the spans."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.checks.counts.mongo_counts import of_mongo
from tests.worthit.run.test_record_external_counters import record
from worthit.__main__ import main
from worthit.contract.exit_codes import ExitCode
from worthit.counters.external_counters import Named, find
from worthit.counters.mongo_counters import MongoError, command_samples
from worthit.process.workspace import Workspace

BINARY = shutil.which("ferretdb")

needs_server = pytest.mark.skipif(
    BINARY is None,
    reason="no server of MongoDB's protocol: ferretdb 1.24 (a Go program) is not on the PATH",
)

SERVICE = """
import os, pymongo
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("x")
carts = pymongo.MongoClient(os.environ["THEIR_DATABASE"]).shop.carts
spans = int(os.environ["SPANS_PER_QUERY"])

def call(name, command):
    about = {"db.system.name": "mongodb", "db.operation.name": name, "db.collection.name": "carts"}
    for _ in range(spans - 1):
        tracer.start_span(f"{name} carts", kind=SpanKind.CLIENT, attributes=about).end()
    with tracer.start_as_current_span(f"{name} carts", kind=SpanKind.CLIENT, attributes=about):
        command()

for number in range(40):
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER):
        call("insert", lambda: carts.insert_many([{"number": number}, {"number": -1}]))
        call("find", lambda: carts.find({"number": number}).to_list())
        call("findAndModify", lambda: carts.find_one_and_update(
            {"number": number}, {"$set": {"seen": True}}))
provider.shutdown()
"""
"""A service of somebody's: 40 requests with three commands each; one writes two documents."""


@contextmanager
def ferretdb(folder: Path, port: int) -> Iterator[str]:
    """Give the address of a server that keeps its data in `folder`; it is gone afterwards."""
    assert BINARY is not None
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [
                *(BINARY, "--handler=sqlite", f"--sqlite-url=file:{folder}/"),
                *(f"--listen-addr=127.0.0.1:{port}", "--debug-addr=-", "--telemetry=disable"),
                f"--state-dir={folder}",
            ],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield f"mongodb://127.0.0.1:{port}/shop"
        finally:
            process.kill()


@needs_server
@pytest.mark.integration
@pytest.mark.parametrize("spans_per_query", [1, 2])
async def test_its_own_count_stands_beside_the_spans(spans_per_query: int, tmp_path: Path) -> None:
    """120 commands, however many documents each writes. Spans that count twice are told."""
    pytest.importorskip("pymongo", reason="PyMongo is not installed (extra mongo)")
    (tmp_path / "data").mkdir()
    async with Workspace() as workspace:
        with ferretdb(tmp_path / "data", workspace.free_port()) as url:
            said = await record(
                *("--json", "--out", str(tmp_path / "runs"), "--database-url", url),
                *("--", sys.executable, "-c", SERVICE),
                THEIR_DATABASE=url,
                SPANS_PER_QUERY=str(spans_per_query),
            )

    assert said.code == (ExitCode.DONE if spans_per_query == 1 else ExitCode.RUN_INVALID), (
        said.stderr
    )
    assert "own counts will be read from MongoDB" in said.stderr
    run = Path(json.loads(said.stdout)["run"])
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (row,) = [row for row in manifest["cross_checks"] if row["what"] == "database calls"]
    assert (row["from_spans"], row["independent"]) == (120 * spans_per_query, 120)
    assert row["counted_by"] == "MongoDB: serverStatus: metrics.commands"
    about = [why for why in manifest["verdict"]["reasons"] if "MongoDB says" in why]
    if spans_per_query == 1:
        assert about == []
    else:
        (sentence,) = about
        assert "pans say 6.0 queries per request, MongoDB says 3.0" in sentence


PUBLISHED: dict[str, dict[str, Any]] = {
    "metrics": {
        "commands": {
            "<UNKNOWN>": 0,
            "find": {"failed": 0, "total": 17, "rejected": 0},
            "findAndModify": {"arrayFilters": 0, "failed": 1, "pipeline": 0, "total": 5},
            "getMore": {"failed": 0, "total": 40},
            "hello": {"failed": 2, "total": 1000},
            "update": {"arrayFilters": 0, "failed": 0, "pipeline": 0, "total": 3},
            "serverStatus": {"failed": 0, "total": 9},
        }
    }
}
"""The shape of `metrics.commands` that MongoDB's manual documents: ``<command>.total`` and
``.failed``, further counts for update and findAndModify, and ``<UNKNOWN>``, a number."""


def test_commands_of_the_documented_answer_are_counted() -> None:
    """find, findAndModify and update are queries: 25 in between; getMore and hello are none."""
    commands = PUBLISHED["metrics"]["commands"]
    none = {"metrics": {"commands": {name: {"total": 0} for name in commands}}}
    rows = [*command_samples(none, 0, 0.001), *command_samples(PUBLISHED, 10, 0.001)]
    columns = ["t_ns", "source", "name", "labels", "value"]
    counters = pd.DataFrame(
        [[getattr(row, name) for name in columns] for row in rows], columns=columns
    )

    count = of_mongo(counters)

    assert count is not None
    assert (count.least, count.most) == (25, 25)


def test_a_server_without_these_counts_says_so() -> None:
    """Such as a service of a cloud that speaks the protocol."""
    with pytest.raises(MongoError, match=r"no metrics\.commands"):
        command_samples({"ok": 1.0}, 0, 0.0)


def test_an_address_where_none_answers_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, what is wrong, the way out."""
    pytest.importorskip("pymongo", reason="PyMongo is not installed (extra mongo)")
    url = "mongodb://127.0.0.1:1/d?serverSelectionTimeoutMS=100"
    monkeypatch.setattr("worthit.counters.mongo_counters.ANSWER_SECONDS", 0.2)

    assert main(["record", "--out", str(tmp_path), "--database-url", url, "--", "true"]) == 1
    said = capsys.readouterr().err
    assert "--database-url names a MongoDB that could not be asked for its counts" in said
    assert "or leave it out to record without its counts." in said


def test_without_its_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyMongo is an extra: a variable that needs it stops nothing, and what to install is said."""
    monkeypatch.setitem(sys.modules, "pymongo", None)
    named = Named(url="mongodb://127.0.0.1:1/d", by="DATABASE_URL", asked_for=False)

    external, notes = asyncio.run(find(named, None))

    assert external.mongodb is None
    (note,) = notes
    assert note.startswith("MongoDB is asked for its counts by PyMongo, which is not installed")
