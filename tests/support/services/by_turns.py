"""Load both arms of a service by turns: what stands after ``worthit record --``.

``python by_turns.py PATH SERVICE...``: SERVICE is started once per arm, ``{port}`` in it being its
port, CHANGE naming the arm and DB_URL its schema. Each block is a Locust of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.load.locust_process import PLUGIN, free_port

HERE = Path(__file__).parent
INSTRUMENT = (
    *(sys.executable, "-c"),
    "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
)
"""The command ``opentelemetry-instrument``."""
ORDER = ("off", "on", "on", "off")
RATE_PER_S, BLOCK_S = 20, 1.5
BLOCK_REQUESTS = 30
"""Of an even schedule: 20 per second for 1.5 s."""


def start(arm: str, port: int, service: list[str]) -> subprocess.Popen[bytes]:
    """Start the service with its language's automatic instrumentation."""
    command = [word.replace("{port}", str(port)) for word in service]
    database = f"{os.environ['THEIR_DATABASE']}{os.environ['SCHEMA_OPTION']}{arm}"
    theirs = {"CHANGE": arm, "DB_URL": database, "PYTHONPATH": str(HERE)}
    return subprocess.Popen([*INSTRUMENT, *command], env={**os.environ, **theirs})


def wait_for(port: int, path: str) -> None:
    """Wait until it answers, and ask once by hand: a driver asks more of its first connection."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}/0", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the service did not come up")


def main(path: str, service: list[str]) -> int:
    """Run the blocks; 1 if a Locust failed in another way than by its verdict."""
    ports = {arm: free_port() for arm in sorted(set(ORDER))}
    arms = [start(arm, port, service) for arm, port in ports.items()]
    codes = []
    try:
        for port in ports.values():
            wait_for(port, path)
        for arm in ORDER:
            command = [
                *(sys.executable, "-m", "locust", "--headless"),
                *("-f", f"{HERE / 'locustfile.py'},{PLUGIN}"),
                *("--host", f"http://127.0.0.1:{ports[arm]}", "--worthit-arm", arm),
                *("--arrivals", "even", "--arrival-rate", str(RATE_PER_S)),
                *("--duration", f"{BLOCK_S}s"),
            ]
            codes.append(subprocess.call(command, env={**os.environ, "ASKED_PATH": path}))
    finally:
        for process in arms:  # an interrupt ends Python by its exit handlers, which flush
            process.send_signal(signal.SIGINT)
        for process in arms:
            process.wait(30)
    return int(any(code not in {0, 4} for code in codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
