"""What the recorder keeps: every batch in a file, the last minute's in memory, and counts."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from worthit.recorder.files import DelimitedFile
from worthit.recorder.otlp import LOGS, METRICS, TRACES, Batch, Signal

if TYPE_CHECKING:
    from worthit.recorder.forwarding import Forwarder

RECENT_SECONDS = 60
"""How far back `/live` can look."""

RECENT_BYTES = 64 << 20
"""How much of it is kept at most."""

MOST_REASONS = 20
"""How many reasons for a refusal are told apart."""

OTHER_REASONS = "For other reasons."
"""What the refusals beyond them are counted under."""

UPGRADE = (
    "The sender asks to change to another protocol (h2c, WebSocket), which the recorder does not:"
    " have it speak HTTP/1.1, or gRPC."
)

TLS = (
    "The sender began with TLS, and the recorder speaks plain text: write http:// in its endpoint,"
    " or set OTEL_EXPORTER_OTLP_INSECURE=true."
)


@dataclass(slots=True)
class Stats:
    """What has been taken and what has not; `/stats` shows it."""

    bytes: int = 0
    batches: int = 0
    spans: int = 0
    metric_batches: int = 0
    log_batches: int = 0
    refused: int = 0
    """Batches that could not be decoded or were too large: the sender's fault."""
    unwritten: int = 0
    """Batches that the disk did not take; senders were told to try again."""
    forwarded: int = 0
    forward_dropped: int = 0


class Recorder:
    """Takes batches and appends each to its signal's file."""

    def __init__(
        self, out: Path | None, forwarders: Sequence[Forwarder], clock: Callable[[], float]
    ) -> None:
        """Without `out` nothing is kept. `clock` is monotonic, in seconds, and dates batches."""
        self._files = {} if out is None else _files(out)
        self._forwarders = forwarders
        self._clock = clock
        self._recent: deque[tuple[float, bytes]] = deque()
        self._recent_bytes = 0
        self._told_disk_full = False
        self.stats = Stats()
        self.refusals: Counter[str] = Counter()
        """Why, and how often."""

    def take(self, signal: Signal, batch: Batch) -> None:
        """Keep a batch; raises OSError when the disk does not take it."""
        try:
            if signal.name in self._files:
                self._files[signal.name].append(batch.data)
        except OSError as error:
            self.stats.unwritten += 1
            self._tell_disk_full(error)
            raise
        self.stats.bytes += len(batch.data)
        if signal is TRACES:
            self.stats.batches += 1
            self.stats.spans += batch.items
            self._remember(batch.data)
        elif signal is METRICS:
            self.stats.metric_batches += 1
        else:
            self.stats.log_batches += 1
        for forwarder in self._forwarders:
            forwarder.offer(signal.name, batch.data)

    def refuse(self, reason: str) -> None:
        """Count what could not be taken for what it is; the log has each reason once."""
        self.stats.refused += 1
        known = reason in self.refusals or len(self.refusals) < MOST_REASONS
        reason = reason if known else OTHER_REASONS
        if reason not in self.refusals:
            sys.stderr.write(f"Refused: {reason}\n")
            sys.stderr.flush()
        self.refusals[reason] += 1

    def recent(self, seconds: float) -> list[bytes]:
        """The trace batches of the last `seconds`."""
        since = self._clock() - seconds
        return [data for at, data in self._recent if at >= since]

    def shown(self) -> bytes:
        """The counts as JSON."""
        self.stats.forwarded = sum(forwarder.forwarded for forwarder in self._forwarders)
        self.stats.forward_dropped = sum(forwarder.dropped for forwarder in self._forwarders)
        return orjson.dumps(asdict(self.stats))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _remember(self, data: bytes) -> None:
        now = self._clock()
        self._recent.append((now, data))
        self._recent_bytes += len(data)
        while self._recent_bytes > RECENT_BYTES or self._recent[0][0] < now - RECENT_SECONDS:
            self._recent_bytes -= len(self._recent.popleft()[1])

    def _tell_disk_full(self, error: OSError) -> None:
        if not self._told_disk_full:
            self._told_disk_full = True
            sys.stderr.write(
                f"The recorder could not write {self._files[TRACES.name].path}: {error.strerror}; "
                "batches are refused as unavailable until there is room again.\n"
            )
            sys.stderr.flush()


def _files(out: Path) -> dict[str, DelimitedFile]:
    """Traces in `out`, the other signals beside it."""
    return {
        TRACES.name: DelimitedFile(out),
        METRICS.name: DelimitedFile(out.with_name(out.name + ".metrics")),
        LOGS.name: DelimitedFile(out.with_name(out.name + ".logs")),
    }
