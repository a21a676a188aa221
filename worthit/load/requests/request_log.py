"""What happened to every request of this process: rows on disk, counts in memory.

Nothing here costs a request more than packing 120 bytes: all else is computed from the packed
rows, twice a second.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import RecordBatch

from worthit.contract.plan import Block
from worthit.load.requests.counters import Histogram, StepCounts
from worthit.load.requests.rows import MISSING, RowArray, Rows, StreamFile
from worthit.load.requests.stalls import Stalls
from worthit.load.requests.token_stream import TokenStream

_LOGGER = logging.getLogger("worthit.load")


class Clock:
    """Nanoseconds since the epoch that never jump.

    The wall clock as it was once, plus the monotonic clock.
    """

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the time in ns since the Unix epoch."""
        return time.monotonic_ns() + self._anchor_ns


HTTP = "http"
"""The kind of a row that one of Locust's HTTP clients sent."""
STOPPED = "stopped before it ended"
"""The error of a row without an end."""
_MOST_WAITING = 10_000
"""Answered requests kept back until a ``with`` block says whether they failed, or until their body
is there; of more, the oldest are recorded as they are."""


class Mark:
    """A request on its way."""

    __slots__ = (
        "block",
        "connect_ns",
        "draw",
        "end_ns",
        "error",
        "first_byte_ns",
        "foreign",
        "ids",
        "intended_ns",
        "kind",
        "method",
        "name",
        "received",
        "recorded",
        "returned_ns",
        "scenario",
        "sent_ns",
        "status_code",
        "streaming",
        "tokens",
        "traceparent_out",
        "undecided",
        "wire_ns",
    )

    def __init__(  # noqa: PLR0917 - made for every request, where naming arguments is felt
        self,
        ids: bytes,
        block: Block,
        draw: int,
        scenario: str,
        name: str,
        intended_ns: int,
        sent_ns: int,
    ) -> None:
        self.ids = ids
        """16 bytes of its trace's id, then 8 of its own span's."""
        self.block = block
        self.draw = draw
        self.scenario = scenario
        self.name = name
        self.intended_ns = intended_ns
        self.sent_ns = sent_ns
        self.end_ns: int | None = None
        """When the last byte so far was there."""
        self.method: str | None = None
        self.kind = HTTP
        self.wire_ns: int | None = None
        """When its first bytes were handed to the socket, for the first time."""
        self.connect_ns = 0
        """How long it took meanwhile to make a connection."""
        self.first_byte_ns: int | None = None
        self.traceparent_out: str | None = None
        """The header that left; None before it has."""
        self.foreign = False
        """Whether somebody else's instrumentation made its trace id, and a span for it."""
        self.status_code: int | None = None
        self.error: str | None = None
        self.received = 0
        """Bytes of its body."""
        self.tokens: TokenStream | None = None
        """Of a reply as server-sent events."""
        self.streaming = False
        """Whether it was returned to the user before its body was there."""
        self.returned_ns = 0
        """Of a stream, when that was."""
        self.undecided = False
        """Whether a ``with`` block has yet to say if it failed."""
        self.recorded = False


class RequestLog:
    """The process's rows, streamed to ``path`` if there is one."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._rows = Rows()
        self._file = StreamFile(path) if path else None
        self._open: set[Mark] = set()
        self._waiting: dict[Mark, None] = {}
        """Answered, and not yet recorded: the oldest first."""
        self.clock = clock
        self.fresh: dict[int, StepCounts] = {}
        """What was counted since ``take_fresh``, by step."""
        self.last_sent_ns: dict[int, int] = {}
        """When the last request of each block was sent."""
        self.rows_written = 0
        self.rows_lost = 0
        """Rows that could not be written, as on a full disk."""
        self._told = False
        self._stalls = Stalls()
        self.begun = 0
        """Requests that clients were called to send so far, ended or not."""
        self._delays_ns: list[int] = []

    def begin(self, mark: Mark) -> None:
        """Remember a request until it is recorded, so that the end of the test loses none."""
        self._open.add(mark)
        self.begun += 1

    def left(self, mark: Mark) -> None:
        """Note that its first bytes are handed to the socket now."""
        mark.wire_ns = now_ns = self.clock.now_ns()
        self._delays_ns.append(now_ns - mark.connect_ns - mark.intended_ns)

    def finish(
        self,
        mark: Mark,
        end_ns: int | None,
        status_code: int | None,
        error: str | None,
        response_bytes: int,
    ) -> bool:
        """Record a request once; False when it was recorded before."""
        if mark.recorded:
            return False
        mark.recorded = True
        self._open.discard(mark)
        if mark.undecided or mark.streaming:
            self._waiting.pop(mark, None)
        rows = self._rows
        if rows.full:
            self.flush()
        # by place: this is on every request's way, where naming arguments is felt
        rows.add(
            mark.ids,
            mark.scenario,
            mark.name,
            mark.block,
            mark.draw,
            mark.intended_ns,
            mark.sent_ns,
            end_ns,
            status_code,
            error,
            response_bytes,
            mark.method,
            mark.kind,
            mark.wire_ns,
            mark.connect_ns,
            mark.first_byte_ns,
            mark.tokens,
        )
        return True

    def forget(self, mark: Mark) -> None:
        """Leave out a request that no schedule asked for and that never left."""
        mark.recorded = True
        self._open.discard(mark)

    def wait(self, mark: Mark) -> None:
        """Keep an answered request back until it is settled; it is no longer in flight."""
        self._open.discard(mark)
        self._waiting[mark] = None
        if len(self._waiting) > _MOST_WAITING:
            self.settle(next(iter(self._waiting)))

    def settle(self, mark: Mark) -> bool:
        """Record an answered request as far as it is known."""
        return self.finish(mark, mark.end_ns, mark.status_code, mark.error, mark.received)

    @property
    def open_requests(self) -> int:
        """Requests sent and not yet recorded."""
        return len(self._open)

    def flush(self) -> None:
        """Count the rows so far and write them."""
        if not self._rows.count:
            return
        batch, rows = self._rows.take()
        self._write(batch)
        delays = delays_ns(rows)
        apart = self._stalls.apart(rows, delays)
        for block, mask in self._rows.blocks_of(rows):
            self._count(block, rows[mask], delays[mask], apart[mask])

    def _write(self, batch: RecordBatch) -> None:
        """Write a batch; what the disk does not take is counted, and the load goes on."""
        if self._file:
            try:
                self._file.write(batch)
            except OSError as error:
                self.rows_lost += batch.num_rows
                if not self._told:
                    self._told = True
                    _LOGGER.error("Requests cannot be recorded: %s.", error.strerror or error)  # noqa: TRY400 - a sentence for a person, not a traceback
                return
        self.rows_written += batch.num_rows

    def take_delays(self) -> Histogram:
        """Return the schedule delays of what left since the last call, ended or not."""
        delays, self._delays_ns = self._delays_ns, []
        histogram = Histogram()
        histogram.add(np.array(delays, dtype=np.int64))
        return histogram

    def take_fresh(self) -> dict[int, StepCounts]:
        """Return what was counted since the last call."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def _count(
        self,
        block: Block,
        rows: RowArray,
        delays: NDArray[np.int64],
        apart: NDArray[np.bool_],
    ) -> None:
        counts = self.fresh.setdefault(block.step_key, StepCounts())
        self.last_sent_ns[block.block] = max(
            self.last_sent_ns.get(block.block, 0), int(rows["sent"].max())
        )
        ended = rows[rows["end"] != MISSING]
        counts.requests += len(rows)
        counts.errors += int(np.count_nonzero(rows["error"]))
        counts.delay.add(delays)
        counts.delay_apart.add(delays[apart])
        counts.service.add(ended["end"] - ended["sent"])
        counts.response.add(ended["end"] - ended["intended"])

    def close(self, *, reason: str) -> None:
        """Record what is still open as never ended, for this reason, and end the file."""
        for mark in list(self._waiting):
            self.settle(mark)
        for mark in sorted(self._open, key=lambda mark: mark.sent_ns):
            self.finish(mark, mark.end_ns, None, reason, 0)
        self.flush()
        if self._file:
            self._file.close()
            self._file = None


def delays_ns(rows: RowArray) -> NDArray[np.int64]:
    """Return by how much each request was late at the socket.

    To the moment at which its bytes were handed over, less the time for making a connection, which
    is the service's and the network's. Of a request that no transport was seen of, to its send.
    """
    left = np.where(rows["wire"] == MISSING, rows["sent"], rows["wire"] - rows["connect"])
    found: NDArray[np.int64] = left - rows["intended"]
    return found


def warm_up(block: Block, clock: Clock) -> None:
    """Do once, before the load, what is slow the first time: 50 ms in its midst otherwise."""
    scratch = RequestLog(Path(os.devnull), clock)
    for draw in (0, 1):
        mark = Mark(bytes(24), block, draw, "", "", intended_ns=0, sent_ns=1)
        scratch.begin(mark)
        scratch.left(mark)
        scratch.finish(mark, 2, 200, None, 0)
        scratch.flush()
    scratch.take_delays()
    scratch.close(reason="")
