"""What happened to every request of this process: rows on disk, counts in memory.

Nothing here costs a request more than packing 64 bytes: all else is computed from the packed rows,
twice a second.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np
from pyarrow import RecordBatch

from worthit.contract.plan import Block
from worthit.load.requests.counters import Histogram, StepCounts
from worthit.load.requests.rows import MISSING, RowArray, Rows, StreamFile

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


class Mark:
    """A request on its way."""

    __slots__ = (
        "block",
        "draw",
        "end_ns",
        "ids",
        "intended_ns",
        "name",
        "scenario",
        "sent_ns",
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


class RequestLog:
    """The process's rows, streamed to ``path`` if there is one."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._rows = Rows()
        self._file = StreamFile(path) if path else None
        self._open: set[Mark] = set()
        self.clock = clock
        self.fresh: dict[int, StepCounts] = {}
        """What was counted since ``take_fresh``, by step."""
        self.last_sent_ns: dict[int, int] = {}
        """When the last request of each block was sent."""
        self.rows_written = 0
        self.rows_lost = 0
        """Rows that could not be written, as on a full disk."""
        self._told = False
        self._delays_ns: list[int] = []
        self._delays_taken = 0

    def begin(self, mark: Mark) -> None:
        """Remember a request until it is recorded, so that the end of the test loses none."""
        self._open.add(mark)
        self._delays_ns.append(mark.sent_ns - mark.intended_ns)

    def finish(
        self,
        mark: Mark,
        end_ns: int | None,
        status_code: int | None,
        error: str | None,
        response_bytes: int,
    ) -> bool:
        """Record a request once; False when it was recorded before."""
        if mark not in self._open:
            return False
        self._open.remove(mark)
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
        )
        return True

    @property
    def begun(self) -> int:
        """Requests sent so far, ended or not."""
        return self._delays_taken + len(self._delays_ns)

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
        for block, mask in self._rows.blocks_of(rows):
            self._count(block, rows[mask])

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
        """Return the schedule delays of the requests sent since the last call, ended or not."""
        delays, self._delays_ns = self._delays_ns, []
        self._delays_taken += len(delays)
        histogram = Histogram()
        histogram.add(np.array(delays, dtype=np.int64))
        return histogram

    def take_fresh(self) -> dict[int, StepCounts]:
        """Return what was counted since the last call."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def _count(self, block: Block, rows: RowArray) -> None:
        counts = self.fresh.setdefault(block.step_key, StepCounts())
        self.last_sent_ns[block.block] = max(
            self.last_sent_ns.get(block.block, 0), int(rows["sent"].max())
        )
        ended = rows[rows["end"] != MISSING]
        counts.requests += len(rows)
        counts.errors += int(np.count_nonzero(rows["error"]))
        counts.delay.add(rows["sent"] - rows["intended"])
        counts.service.add(ended["end"] - ended["sent"])
        counts.response.add(ended["end"] - ended["intended"])

    def close(self, *, reason: str) -> None:
        """Record what is still open as never ended, for this reason, and end the file."""
        for mark in sorted(self._open, key=lambda mark: mark.sent_ns):
            self.finish(mark, mark.end_ns, None, reason, 0)
        self.flush()
        if self._file:
            self._file.close()
            self._file = None


def warm_up(block: Block, clock: Clock) -> None:
    """Do once, before the load, what is slow the first time: 50 ms in its midst otherwise."""
    scratch = RequestLog(Path(os.devnull), clock)
    for draw in (0, 1):
        mark = Mark(bytes(24), block, draw, "", "", intended_ns=0, sent_ns=1)
        scratch.begin(mark)
        scratch.finish(mark, 2, 200, None, 0)
        scratch.flush()
    scratch.take_delays()
    scratch.close(reason="")
