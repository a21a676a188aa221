"""CPU of PostgreSQL's backends by database, held against the server's own process table."""

from __future__ import annotations

import psutil
import psycopg
import pytest

from worthit.counters.backends import BACKENDS, BackendMeter
from worthit.environment.postgres import Postgres
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

BURN = "SELECT sum(i::bigint * i) FROM generate_series(1, 1500000) AS i"


async def test_the_busy_database_has_the_cpu_and_keeps_it() -> None:
    """Two databases on one server: only one computes, also seen after its backend has ended."""
    async with Workspace() as workspace, Postgres(workspace) as postgres:
        busy = await postgres.create_database("busy")
        idle = await postgres.create_database("idle")
        meter = BackendMeter()
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as asking:
            with psycopg.connect(busy) as one, psycopg.connect(idle) as two:
                two.execute("SELECT 1")
                server = psutil.Process(one.info.backend_pid)
                before = meter.read(asking.execute(BACKENDS).fetchall())
                truth = sum(server.cpu_times()[:2])
                one.execute(BURN)
                after = meter.read(asking.execute(BACKENDS).fetchall())
                truth = sum(server.cpu_times()[:2]) - truth
            ended = meter.read(asking.execute(BACKENDS).fetchall())

    spent = after["busy"] - before["busy"]
    assert truth > 0.05
    assert spent == pytest.approx(truth, abs=0.025)
    assert after["idle"] - before["idle"] < 0.1 * spent
    assert ended["busy"] >= after["busy"]


def test_processes_that_are_no_postgres_are_not_ours() -> None:
    """A server elsewhere has pids that mean somebody else here."""
    assert BackendMeter().read([(psutil.Process().pid, "theirs"), (2**22 - 1, "gone")]) == {}
