"""What does the load itself add to a response time? A server that answers at once tells.

Requests leave at even intervals through Locust's client, marked and recorded as those of a run
are; from the moment at which each was due to its answer is what the load, the loopback and a
server that does nothing take. Of a run's response times so much, at most, is not the service's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import gevent
import numpy as np
from gevent.pool import Group
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook

from worthit.contract.plan import Block
from worthit.load.requests.counters import Histogram
from worthit.load.requests.instrument import Instrument
from worthit.load.requests.request_log import Clock, RequestLog

CALIBRATION_SECONDS: Final = 1.0
"""How long it sends."""
LEAST_PER_S: Final = 200.0
"""A slower load is calibrated at this rate: of fewer requests there is no 99th percentile."""
_WARM_UP = 0.2
"""The first part, while connections are made, is not counted."""
_DRAIN_SECONDS = 1.0
_CONCURRENCY = 1000
_NS = 1_000_000_000


def calibrate(instrument: Instrument, block: Block, clock: Clock, *, per_s: float) -> Histogram:
    """Return how long requests took from the moment they were due, in ns.

    The instrument must not be recording: it records here, to nowhere.
    """
    instrument.start(RequestLog(None, clock), run="calibration", block=block, first_draw=0)
    try:
        hook = EventHook()  # type: ignore[no-untyped-call] # Locust types it not
        with _null_server() as url:
            session = FastHttpSession(url, hook, None, concurrency=_CONCURRENCY)
            took_ns = _send(session, clock, max(per_s, LEAST_PER_S))
    finally:
        instrument.stop(reason="")
    found = Histogram()
    found.add(np.array(took_ns, dtype=np.int64))
    return found


def _send(session: FastHttpSession, clock: Clock, per_s: float) -> list[int]:
    count = round(per_s * CALIBRATION_SECONDS)
    took_ns: list[int] = []

    def ask(number: int, due_ns: int) -> None:
        session.get("/")
        if number >= _WARM_UP * count:
            took_ns.append(clock.now_ns() - due_ns)

    asking, begins_ns = Group(), clock.now_ns()
    for number in range(count):
        due_ns = begins_ns + round(number * _NS / per_s)
        gevent.sleep(max((due_ns - clock.now_ns()) / _NS, 0))
        asking.spawn(ask, number, due_ns)
    asking.join(_DRAIN_SECONDS)
    asking.kill()
    return took_ns


@contextmanager
def _null_server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("null_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield f"http://127.0.0.1:{int(line)}"
    finally:
        process.kill()
        process.communicate()
