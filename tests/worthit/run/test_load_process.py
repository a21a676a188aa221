"""The load's own processes: as many as its highest rate wants."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.support.load.locust_process import block, recorded, stub_server
from worthit.contract.limits import workers_wanted
from worthit.contract.plan import parse
from worthit.process.workspace import Workspace
from worthit.run.load_process import await_zero, start_load

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("rate_per_s", [50.0, 1500.0])
async def test_the_load_gets_a_process_for_each_thousand_per_second(
    rate_per_s: float, tmp_path: Path
) -> None:
    """One at 50/s, two at 1500/s where there are cores; every arrival is sent by one of them."""
    folder = tmp_path / "load"
    with stub_server() as stub:
        one = block(0, host=stub.url, start_s=0.0, duration_s=0.4, rate_per_s=rate_per_s)
        plan = parse(
            {
                "run": "test",
                "seed": 7,
                "arrivals": "even",
                "scenario": "personality_lookup",
                "blocks": [one],
            }
        )
        async with Workspace() as workspace:
            process = await start_load(workspace, plan, folder)
            await await_zero(process, folder)
            async with asyncio.timeout(60):
                while process.alive:  # noqa: ASYNC110 - a process of Locust's sets no event
                    await asyncio.sleep(0.05)

    wanted = min(workers_wanted(rate_per_s), os.cpu_count() or 1)
    workers = json.loads((folder / "generator.json").read_text(encoding="utf-8"))["workers"]
    assert len(workers) == wanted
    assert len(recorded(folder)) == round(0.4 * rate_per_s)


def test_workers_are_wanted_by_the_thousand() -> None:
    """A whole thousand needs no further process."""
    rates = [0.5, 999.0, 1000.0, 1001.0, 3500.0]

    assert [workers_wanted(rate) for rate in rates] == [1, 1, 1, 2, 4]
