"""`worthit record` beside a real MariaDB: its own count stands beside the spans."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from tests.worthit.run.test_record_external_counters import record
from worthit.__main__ import main
from worthit.contract.exit_codes import ExitCode
from worthit.counters.external_counters import Named, find
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
BINARY = shutil.which("mariadbd", path=PATH)
TABLES = [
    Path("/usr/share/mysql") / f"{name}.sql"
    for name in (
        "mysql_system_tables",
        "mysql_performance_tables",
        "mysql_system_tables_data",
    )
]
"""What mariadb-install-db would run, which wants programs that the server's package lacks."""

needs_mariadb = pytest.mark.skipif(
    BINARY is None or not all(file.exists() for file in TABLES),
    reason="mariadbd is not installed (Debian: mariadb-server-core)",
)

SERVICE = """
import os, pymysql
from urllib.parse import urlsplit
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("x")
at = urlsplit(os.environ["THEIR_DATABASE"])
database = pymysql.connect(host=at.hostname, port=at.port, user=at.username, database="shop")
cursor = database.cursor()
spans = int(os.environ["SPANS_PER_QUERY"])

def query(text):
    about = {"db.system.name": "mysql", "db.query.text": text}
    for _ in range(spans - 1):
        tracer.start_span("shop", kind=SpanKind.CLIENT, attributes=about).end()
    with tracer.start_as_current_span("shop", kind=SpanKind.CLIENT, attributes=about):
        cursor.execute(text)

for number in range(40):
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER):
        query(f"SELECT id FROM carts WHERE id = {number}")
        query(f"SELECT id FROM carts WHERE id IN ({number}, 7)")
        query(f"UPDATE carts SET id = {number} WHERE id = 7")
        database.commit()
provider.shutdown()
"""
"""A service of somebody's: 40 requests with three queries and a commit each."""


@contextmanager
def mariadb(folder: Path, port: int, *, digests: bool) -> Iterator[str]:
    """Give the address of a server with an empty database `shop`; it is gone afterwards."""
    assert BINARY is not None
    data = folder / "data"
    data.mkdir()
    own = [BINARY, "--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    texts = ["CREATE DATABASE mysql;", "USE mysql;", "SET @auth_root_socket=NULL;"]
    texts += [file.read_text(encoding="utf-8") for file in TABLES]
    subprocess.run(
        [*own, "--bootstrap", "--skip-networking"],
        input="\n".join(texts).encode(),
        check=True,
        capture_output=True,
    )
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [
                *own,
                *("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'socket'}"),
                f"--performance-schema={'ON' if digests else 'OFF'}",
            ],
            stderr=log,
            stdout=log,
        ) as process,
    ):
        try:
            with _answering(port) as connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE shop")
                cursor.execute("CREATE TABLE shop.carts AS SELECT 7 AS id")
            yield f"mysql://root@127.0.0.1:{port}/shop"
        finally:
            process.kill()


def _answering(port: int) -> pymysql.Connection:
    deadline = time.monotonic() + 60
    while True:
        try:
            return pymysql.connect(host="127.0.0.1", port=port, user="root")
        except pymysql.MySQLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@needs_mariadb
@pytest.mark.parametrize(
    ("digests", "counted_by", "spans_per_query"),
    [(True, "MySQL: performance_schema", 1), (False, "MySQL: SHOW GLOBAL STATUS", 2)],
)
async def test_its_own_count_stands_beside_the_spans(
    *, digests: bool, counted_by: str, spans_per_query: int, tmp_path: Path
) -> None:
    """120 queries, whichever way it counts; commits are none. Spans that count twice are told."""
    async with Workspace() as workspace:
        with mariadb(tmp_path, workspace.free_port(), digests=digests) as url:
            said = await record(
                *("--json", "--out", str(tmp_path / "runs")),
                *("--database-url", url.replace("mysql:", "mysql+pymysql:")),
                *("--", sys.executable, "-c", SERVICE),
                THEIR_DATABASE=url,
                SPANS_PER_QUERY=str(spans_per_query),
            )

    assert said.code == (ExitCode.DONE if spans_per_query == 1 else ExitCode.RUN_INVALID), (
        said.stderr
    )
    assert "own counts will be read from MySQL or MariaDB" in said.stderr
    run = Path(json.loads(said.stdout)["run"])
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (row,) = [row for row in manifest["cross_checks"] if row["what"] == "database calls"]
    assert (row["from_spans"], row["independent"]) == (120 * spans_per_query, 120)
    assert counted_by == row["counted_by"]
    about = [why for why in manifest["verdict"]["reasons"] if "MySQL says" in why]
    if spans_per_query == 1:
        assert [] == about
    else:
        (sentence,) = about
        assert "pans say 6.0 queries per request, MySQL says 3.0" in sentence
        assert "INVALID" == manifest["verdict"]["verdict"]


def test_an_address_where_none_answers_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name, what is wrong, the way out."""
    url = "mysql://a:b@127.0.0.1:1/d"

    assert main(["record", "--out", str(tmp_path), "--database-url", url, "--", "true"]) == 1
    said = capsys.readouterr().err
    assert "--database-url names a MySQL or MariaDB that could not be asked" in said
    assert "or leave it out to record without its counts." in said


def test_without_its_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyMySQL is an extra: a variable that needs it stops nothing, and what to install is said."""
    monkeypatch.setitem(sys.modules, "pymysql", None)
    named = Named(url="mysql://a:b@127.0.0.1:1/d", by="DATABASE_URL", asked_for=False)

    external, notes = asyncio.run(find(named, None))

    assert external.mysql is None
    (note,) = notes
    assert note.startswith("MySQL and MariaDB are asked for their counts by PyMySQL, which is not")
    assert "pip install 'worthit[mysql]'" in note
