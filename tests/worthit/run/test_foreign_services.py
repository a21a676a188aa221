"""Two services of other people's making, with automatic instrumentation and nothing of ours.

Each is recorded end to end as docs/own-service.md has it, its arms by turns, and held against what
its PostgreSQL counted: every query reads one small table by one scan, so that the scans of an
arm's own tables are its queries.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from tests.support.services.by_turns import BLOCK_REQUESTS, ORDER
from worthit.environment.postgres import Postgres
from worthit.environment.server import child_environment
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
REQUESTS = BLOCK_REQUESTS * ORDER.count("off")
"""Of each arm."""

TABLES = """
CREATE SCHEMA arm_{arm};
CREATE TABLE arm_{arm}.products AS SELECT id, 'name' AS name FROM generate_series(0, 9) id;
CREATE TABLE arm_{arm}.stock AS SELECT id AS product_id, 7 AS quantity
FROM generate_series(0, 9) id;
CREATE TABLE arm_{arm}.orders AS SELECT id, 'buyer ' || id AS buyer FROM generate_series(0, 9) id;
CREATE TABLE arm_{arm}.lines AS SELECT id AS order_id, row_no, 1 + row_no AS quantity
FROM generate_series(0, 9) id, generate_series(0, 2) row_no;
"""

SCANS = "SELECT schemaname, sum(seq_scan) FROM pg_stat_user_tables GROUP BY 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service of somebody's, and what its change is about."""

    command: tuple[str, ...]
    driver: str
    schema_option: str
    path: str
    by_hand: dict[str, int]
    """Queries of the one request by hand, which no answer counts, by arm."""
    changed: str
    """The statement that the change is about."""


FLASK = Service(
    command=("flask", "--app", "flask_catalog", "run", "--port", "{port}"),
    driver="postgresql+psycopg2",
    schema_option="?options=-csearch_path%3Darm_",
    path="/products",
    by_hand={"off": 2, "on": 2},
    changed="SELECT id, name FROM products WHERE id = ?",
)
FASTAPI = Service(
    command=("uvicorn", "fastapi_orders:app", "--port", "{port}"),
    driver="postgresql",
    schema_option="?search_path=arm_",
    path="/orders",
    by_hand={"off": 4, "on": 2},
    changed="SELECT quantity FROM lines WHERE order_id = ? AND row_no = ?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was recorded, and what PostgreSQL counted."""

    verdict: str
    reasons: list[str]
    findings: dict[str, Any]
    text: str
    """All words of the page, those of its figures too."""
    names: set[str]
    """What the load's requests are called."""
    counted: dict[str, float]
    """Queries per request by arm, of PostgreSQL's own count."""
    said: str


DEMO = r"\b(?:cached?|hits?|misses|personalit\w*|emulat\w*|chat|LLM|lookups?|warm-up|flush)\b"
"""Words of the demo's domain, none of which these services have anything to do with."""


def visible(page: str) -> str:
    """The words of a page, a line a piece; not its styles and scripts."""
    bare = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", page)
    return html.unescape(re.sub(r"<[^>]+>", "\n", bare))


def demo_words(text: str) -> list[str]:
    """Lines that have one."""
    return [line for line in text.splitlines() if re.search(DEMO, line, re.IGNORECASE)]


def twice(text: str) -> list[str]:
    """Sentences that stand in more than one place."""
    lines = text.replace("How to read it.", "").splitlines()
    sentences = [line.strip() for line in lines if re.search(r"\w \w.*\.$", line)]
    return sorted({one for one in sentences if sentences.count(one) > 1})


async def recorded(service: Service, out: Path) -> Report:
    """Record a service's two arms by turns, and report."""
    async with Workspace() as workspace, Postgres(workspace) as postgres:
        database = await postgres.create_database("shop")
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as one:
            for arm in ("off", "on"):
                await one.execute(TABLES.format(arm=arm).encode())
        driven = str(ROOT / "tests" / "support" / "services" / "by_turns.py")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worthit", "record", "--json", "--out", str(out)),
            *("--database-url", database, "--", sys.executable, driven, service.path),
            *(sys.executable, "-m", *service.command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(
                {
                    "THEIR_DATABASE": database.replace("postgresql", service.driver, 1),
                    "SCHEMA_OPTION": service.schema_option,
                    "PYTHONPATH": str(ROOT),
                }
            ),
        )
        stdout, stderr = await process.communicate()
        said = stderr.decode()
        assert process.returncode == 0, said
        async with await psycopg.AsyncConnection.connect(database) as one:
            rows = await (await one.execute(SCANS)).fetchall()
    scans = {str(schema): float(count) for schema, count in rows}
    document = json.loads(stdout)
    run = Path(document["run"])
    await asyncio.to_thread(_report, run)
    return Report(
        verdict=document["verdict"],
        reasons=document["reasons"],
        findings=json.loads((run / "findings.json").read_text(encoding="utf-8")),
        text=visible((run / "report.html").read_text(encoding="utf-8")),
        names=set(pd.read_parquet(run / "requests.parquet")["name"]),
        counted={arm: (scans[f"arm_{arm}"] - n) / REQUESTS for arm, n in service.by_hand.items()},
        said=said,
    )


def _report(run: Path) -> None:
    from worthit.__main__ import main  # noqa: PLC0415 - matplotlib, needed here alone

    assert main(["report", str(run)]) == 0


@pytest.mark.parametrize("service", [FLASK, FASTAPI], ids=["flask", "fastapi"])
async def test_a_service_with_nothing_changed_gets_a_right_answer(
    service: Service, tmp_path: Path
) -> None:
    """Queries per request and their reduction are PostgreSQL's own, and the change is named."""
    report = await recorded(service, tmp_path)

    about_times = "rrivals were sent late"  # what a busy machine does says nothing of the counts
    assert [] == [reason for reason in report.reasons if about_times not in reason], report.said
    (row,) = (
        row
        for row in report.findings["load"]["reductions"]
        if row["collection"] is None and row["step"] is None
    )
    off, on = report.counted["off"], report.counted["on"]
    assert row["before"]["value"] == pytest.approx(off, abs=1e-9)
    assert row["after"]["value"] == pytest.approx(on, abs=1e-9)
    assert row["factor"]["value"] == pytest.approx(off / on, rel=1e-9)
    said = " ".join(report.findings["headline"]["sentences"])
    assert "fewer database queries" in said
    assert f"What changed most is {service.changed}:" in said
    assert {f"{service.path}/{{id}}"} == report.names
    assert [] == demo_words(report.text)
    assert [] == twice(report.text)
