"""Was the generator itself fit: CPU and garbage collection pauses of this process."""

from __future__ import annotations

import gc
import time
from typing import Literal

import psutil

from worthit.contract.manifest import Worker

TIDY_SECONDS = 0.25
"""How often young objects are collected: a few hundred requests' worth, in about a millisecond."""
_FULL_EVERY_SECONDS = 10.0
_QUIET_REQUESTS = 20
"""So few requests in flight are looked through in no time."""
_GROWTH_BYTES = 300 * 2**20
"""Memory that may pile up before everything is collected, quiet or not."""
_IN_FLIGHT_BYTES = 200 * 2**10
"""What a request in flight holds at most, connection and all: that is no garbage."""
_CPU_SAMPLE_SECONDS = 1.0


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


class ProcessCheck:
    """Watches this process while a test runs."""

    def __init__(self) -> None:
        self.cpu_share_max = 0.0
        self.cpu_share = 0.0
        self.gc_pause_max_ms = 0.0
        self.gc_pauses = 0
        self.cpu_seconds = 0.0
        self._gc_began = 0.0
        self._last_full, self._rss = 0.0, 0
        self._last_cpu = self._last_wall = 0.0

    def start(self) -> None:
        """Begin; what exists now is hidden from the collector, for it lives on anyway."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._last_full, self._rss = time.monotonic(), _resident_bytes()
        gc.callbacks.append(self._on_gc)
        self._last_cpu, self._last_wall = time.process_time(), time.monotonic()

    def tidy(self, in_flight: int) -> None:
        """Collect garbage when it costs little.

        Python's own collector counts new objects less freed ones, which at a steady number of
        requests in flight stays near nothing, and then looks through all of them at once: 50 ms
        with 3,000 in flight. Finished requests leave no cycles, failed ones do.
        """
        gc.collect(0)
        now = time.monotonic()
        if now - self._last_full < _FULL_EVERY_SECONDS:
            return
        most = _GROWTH_BYTES + in_flight * _IN_FLIGHT_BYTES
        if in_flight < _QUIET_REQUESTS or _resident_bytes() - self._rss > most:
            gc.collect()
            self._last_full, self._rss = time.monotonic(), _resident_bytes()

    def sample(self) -> None:
        """Take the CPU share since the last sample, at most once a second."""
        wall = time.monotonic()
        if wall - self._last_wall < _CPU_SAMPLE_SECONDS:
            return
        cpu = time.process_time()
        self.cpu_share = (cpu - self._last_cpu) / (wall - self._last_wall)
        self.cpu_share_max = max(self.cpu_share_max, self.cpu_share)
        self.cpu_seconds += cpu - self._last_cpu
        self._last_cpu, self._last_wall = cpu, wall

    def stop(self) -> None:
        """End."""
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
            gc.enable()
            gc.unfreeze()

    def _on_gc(self, phase: Literal["start", "stop"], _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began = time.perf_counter()
            return
        self.gc_pauses += 1
        self.gc_pause_max_ms = max(
            self.gc_pause_max_ms, (time.perf_counter() - self._gc_began) * 1e3
        )

    def found(self, worker: int) -> Worker:
        """Return the manifest's row for this worker."""
        return Worker(
            worker=str(worker),
            cpu_share_max=round(self.cpu_share_max, 4),
            cpu_seconds=round(self.cpu_seconds, 3),
            gc_pause_max_ms=round(self.gc_pause_max_ms, 3),
            gc_pauses=self.gc_pauses,
        )
