"""Whose CPU it is: a process with all below it, or its control group."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from worthit.counters.sample import Sample
from worthit.counters.watched import Pid, cpu_seconds, own_cgroup, watch
from worthit.errors import UsageError

STAT = """usage_usec 12500000
user_usec 9000000
system_usec 3500000
nr_periods 0
"""
"""As the kernel's admin-guide/cgroup-v2 describes ``cpu.stat``."""

BURNING_CHILD = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.4: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print(flush=True)
sys.stdin.readline()
"""


def group(root: Path, name: str, *pids: int) -> Path:
    """A control group's folder, as the kernel shows one."""
    folder = root / "cgroup" / name
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    (folder / "cpu.stat").write_text(STAT)
    return folder


def member(root: Path, pid: int, name: str) -> None:
    """Say in the process table which group a process belongs to."""
    (root / "proc" / str(pid)).mkdir(parents=True)
    (root / "proc" / str(pid) / "cgroup").write_text(f"1:cpu:/old\n0::/{name}\n")


def test_a_container_is_its_group_and_a_login_is_not(tmp_path: Path) -> None:
    """Where others belong to the group too, its CPU is not the service's."""
    container = group(tmp_path, "docker-1", 10, 11)
    group(tmp_path, "session-1", 20, 99)
    member(tmp_path, 10, "docker-1")
    member(tmp_path, 20, "session-1")
    where = {"cgroups": tmp_path / "cgroup", "proc": tmp_path / "proc"}

    assert own_cgroup(10, {10, 11, 12}, **where) == container
    assert own_cgroup(10, {10}, **where) is None
    assert own_cgroup(20, {20, 21}, **where) is None
    assert own_cgroup(30, {30}, **where) is None  # no such process
    assert cpu_seconds(container) == 12.5


def test_what_an_ended_child_used_is_not_lost() -> None:
    """The child is gone before the first look; its parent has waited for it."""
    with subprocess.Popen(
        [sys.executable, "-c", BURNING_CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        cpu, memory = watch(Pid.spelt(f"off={parent.pid}")).read(time.time_ns())
        own = sum(psutil.Process(parent.pid).cpu_times()[:2])
        parent.communicate("\n")

    assert 0.37 <= cpu.value - own < 0.8  # the process table counts ticks of 10 ms
    assert json.loads(cpu.labels) == {"arm": "off", "pid": parent.pid}
    assert memory.name == "rss_bytes"
    assert memory.value > 0


def test_an_ended_service_leaves_a_gap_not_a_zero() -> None:
    """No sample at all, so that nothing seems to have gone down."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as service:
        watched = watch(Pid(pid=service.pid, arm=None))
        first: list[Sample] = watched.read(1)
        service.communicate(b"\n")

    assert len(first) == 2
    assert watched.read(2) == []


def test_pids_are_spelt_with_or_without_an_arm() -> None:
    """One process for each arm, or one for all."""
    assert Pid.spelt("4711") == Pid(pid=4711, arm=None)
    assert Pid.spelt("on=4711") == Pid(pid=4711, arm="on")
    with pytest.raises(UsageError, match="names no process"):
        Pid.spelt("on=")
