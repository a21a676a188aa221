"""The sampler of a run's CPU profile, on two real processes."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.support.runs.experiments import experiment
from worthit.counters.profiling import Profiler, sampler
from worthit.errors import UsageError
from worthit.experiments.plan import make_plan
from worthit.process.workspace import Workspace

BURN = "def {name}():\n    while True:\n        sum(range(1000))\n{name}()\n"


async def test_each_measured_block_has_the_stacks_of_its_own_arms_service(tmp_path: Path) -> None:
    """Two blocks per arm after a warm-up: four files, each with its arm's function alone."""
    small = experiment(rates_per_s="[5]", blocks="2", block_s="1", warmup_s="0.2")
    plan = make_plan(small.model_copy(update={"cpu_profile": True}))
    folder = tmp_path / "profiles"
    async with Workspace() as workspace:
        services = {
            arm: await workspace.start(
                f"service-{arm}", [sys.executable, "-c", BURN.format(name=f"burn_{arm}")]
            )
            for arm in ("off", "on")
        }
        pids = {arm: process.pids for arm, process in services.items()}
        async with Profiler(plan, workspace, pids, folder) as profiler:
            profiler.follow(time.time_ns())
            await asyncio.sleep(plan.load_s)
            profiler.check()
    expected = {f"block-{b.block}-0.collapsed": b.arm for b in plan.blocks if not b.warmup}
    assert {file.name for file in folder.iterdir()} == set(expected)
    for name, arm in expected.items():
        stacks = (folder / name).read_text()
        assert f"burn_{arm} (" in stacks
        assert f"burn_{'on' if arm == 'off' else 'off'} (" not in stacks


async def test_a_run_without_a_profile_has_no_folder_of_one(tmp_path: Path) -> None:
    """Nothing is started and nothing is written."""
    plan, folder = make_plan(experiment()), tmp_path / "profiles"
    async with Workspace() as workspace, Profiler(plan, workspace, {}, folder) as profiler:
        profiler.follow(time.time_ns())
    assert not folder.exists()


def test_without_py_spy_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is started."""
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"pip install 'worthit\[profile\]'"):
        sampler()
