"""Does the load's memory grow in an hour? An hour's requests at 500/s through the recording path.

1.8 million requests take the way of every request, as fast as it goes: Locust's FastHttpUser
client with the plugin around it, mark, headers, event, row, statistics, and every 250 requests a
batch of rows to disk. Only the network is left out: a stand-in answers at once. So time is an
hour's in requests, not in seconds. Printed is the resident memory at each tenth. The limit is 64
bytes per request beyond Locust's own, from the first tenth to the last, when all is warm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

BYTES_PER_REQUEST_LIMIT = 64.0
RATE_PER_S = 500
_FLUSH_EVERY = 250
"""Requests between two writes: what half a second brings."""


class Answer:
    """What the network would have brought."""

    status_code = 200
    content = b'{"ok": true}'
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it

    def raise_for_status(self) -> None:
        """Accept the answer, for it is one."""


def resident_bytes() -> int:
    """Return this process's resident memory."""
    return int(psutil.Process().memory_info().rss)


def drive(requests: int, folder: Path) -> list[int]:
    """Send so many requests through the recording path; return the memory at each tenth."""
    # importing Locust patches the sockets of the process: only who runs this pays for that
    from locust import FastHttpUser, events  # noqa: PLC0415 - as said
    from locust.env import Environment  # noqa: PLC0415 - as above

    from worthit.contract.plan import unscheduled  # noqa: PLC0415 - as above
    from worthit.load.requests.instrument import Instrument, wrap  # noqa: PLC0415 - as above
    from worthit.load.requests.request_log import Clock, RequestLog  # noqa: PLC0415 - as above

    class Stranger(FastHttpUser):
        host = "http://127.0.0.1:1"

    environment = Environment(events=events, user_classes=[Stranger])
    environment.create_local_runner()
    user: Any = Stranger(environment)
    user.client.client.urlopen = lambda _url, **_: Answer()
    instrument = Instrument()
    wrap(instrument, events)
    log = RequestLog(folder / "requests-0.arrows", Clock())
    instrument.start(log, run="run", block=unscheduled(), first_draw=1 << 40)
    memory = []
    for number in range(1, requests + 1):
        user.client.get("/personalities/elara")
        if number % _FLUSH_EVERY == 0:
            log.flush()
            log.take_delays()
            log.take_fresh()
        if number % (requests // 10) == 0:
            memory.append(resident_bytes())
    instrument.stop(reason="")
    if log.rows_written != requests:
        raise RuntimeError(f"{requests} requests were made and {log.rows_written} recorded")
    return memory


def main(argv: list[str]) -> int:
    """Drive and print; 0 when memory keeps to its limit, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600, help="at 500/s")
    requests = parser.parse_args(argv).seconds * RATE_PER_S
    began = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        memory = drive(requests, Path(name))
        on_disk = (Path(name) / "requests-0.arrows").stat().st_size
    took_us = 1e6 * (time.process_time() - began) / requests
    for tenth, resident in enumerate(memory, start=1):
        print(f"after {tenth * requests // 10:>9,} requests: {resident / 2**20:6.1f} MiB resident")
    growth = (memory[-1] - memory[0]) / (0.9 * requests)
    print(
        f"growth from the first tenth on: {growth:.2f} bytes per request "
        f"(limit {BYTES_PER_REQUEST_LIMIT:.0f}); {on_disk / requests:.0f} on disk; "
        f"{took_us:.1f} us of CPU per request, Locust's own and ours"
    )
    return 0 if growth <= BYTES_PER_REQUEST_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
