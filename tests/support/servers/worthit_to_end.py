"""A whole environment to be ended in every way: starts the parts, prints their ids, waits.

Run as ``python worthit_to_end.py MODE`` with the environment variable HALF_WRITTEN naming a
folder to make. It prints one JSON line: the workspace and every process id.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from worthit.environment.postgres import Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import Redis
from worthit.environment.simulator import Simulator
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

GRANDCHILD = (
    "import subprocess, time\n"
    "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "time.sleep(600)"
)
"""A child with a child that left its session, as daemons do."""


def half_written(workspace: Workspace) -> Path:
    """Make a folder as an unfinished run directory would be."""
    folder = Path(os.environ["HALF_WRITTEN"])
    folder.mkdir()
    workspace.remove_at_end(folder)
    return folder


def say(workspace: Workspace) -> None:
    """Print the workspace and every process id."""
    pids = [child.pid for process in workspace.processes for child in process.tree()]
    sys.stdout.write(json.dumps({"path": str(workspace.path), "pids": pids}) + "\n")
    sys.stdout.flush()


async def with_grandchild(stray: Process) -> None:
    """Wait until the grandchild is there."""
    while len(stray.tree()) < 2:  # noqa: ASYNC110 - no event tells of a grandchild
        await asyncio.sleep(0.02)


async def main(mode: str) -> None:
    """Start everything and end as `mode` says: success, failure, wait or paused."""
    async with (
        Workspace() as workspace,
        Postgres(workspace) as postgres,
        Redis(workspace),
        Simulator(workspace),
        Recorder(workspace),
    ):
        folder = half_written(workspace)
        await with_grandchild(await workspace.start("stray", [sys.executable, "-c", GRANDCHILD]))
        if mode == "paused":
            postgres.pause()
        say(workspace)
        try:
            if mode == "failure":
                raise RuntimeError("the run failed")
            await asyncio.sleep(0 if mode == "success" else 600)
        finally:
            folder.rmdir()


if __name__ == "__main__":
    # A shell starts what it puts in the background, such as all tests, with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(main(sys.argv[1]))
