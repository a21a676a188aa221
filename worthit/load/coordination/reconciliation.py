"""The reconciliation of a run: every arrival of its schedule was sent, as reported, or was not.

What a lost worker sent after its last report counts as not sent: nobody knows of it, and it has no
row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from worthit.contract.manifest import LoadReport, LostWorker, RequestNote
from worthit.load.coordination.worker_state import Run, WorkerState
from worthit.load.requests.counters import StepTotals, step_rows
from worthit.load.schedule.schedule import schedule_of


def report(run: Run) -> LoadReport:
    """Return how each step and worker fared, and what was lost with workers."""
    until_ns = _until(run)
    lost_names = [name for name in run.workers if run.is_lost(name)]
    lost: Counter[str] = Counter()
    begun_until_ns = min(_stopped(run), run.assignment.assigned_ns)
    _add_up(run)
    own_p99_ms = run.calibration.percentile_ms(99)
    due = _due(run, until_ns)
    for part in run.assignment.not_begun(schedule_of(run.plan)):
        begun_until_ns = min(begun_until_ns, int(part.offsets_ns[0]))
        lost[part.worker] += int(np.count_nonzero(part.offsets_ns < until_ns))
    rows = step_rows(run.plan, due, run.steps, run.last_sent_ns, until_ns)
    return LoadReport(
        generator=tuple(replace(row, own_p99_ms=own_p99_ms) for row in rows),
        workers=tuple(worker.check for worker in run.workers.values() if worker.check),
        lost_workers=tuple(
            LostWorker(
                worker=str(run.workers[name].index),
                not_sent=lost[name],
                not_recorded=max(_sent_by(run, name) - run.workers[name].requests, 0),
            )
            for name in lost_names
        ),
        stopped_early=run.stopped_early,
        begun_until_ns=begun_until_ns,
        rows_lost=sum(worker.rows_lost for worker in run.workers.values()),
        notes=tuple(
            RequestNote(requests=count, what=what)
            for what, count in notes_of(run.workers.values()).most_common()
        ),
    )


def notes_of(workers: Iterable[WorkerState]) -> Counter[str]:
    """Add up what the workers say of how many requests."""
    found: Counter[str] = Counter()
    for worker in workers:
        found.update(worker.notes)
    return found


def _stopped(run: Run) -> int:
    end_ns = run.assignment.end_ns
    return end_ns if run.until_ns is None else min(run.until_ns, end_ns)


def _until(run: Run) -> int:
    """Return the offset up to which arrivals count as planned."""
    if run.until_ns is None:
        return run.assignment.end_ns
    # what came due while Locust was busy stopping was not missed by the load
    last_ns = max(run.last_sent_ns.values(), default=0) + 1
    return min(_stopped(run), last_ns)


def _due(run: Run, until_ns: int) -> dict[int, int]:
    due: Counter[int] = Counter()
    for window in schedule_of(run.plan).until(until_ns):
        due[window.block.block] += len(window.offsets_ns)
    return due


def _add_up(run: Run) -> None:
    """Put together, by step, what each worker last said of itself."""
    for worker in run.workers.values():
        for step, done in worker.driven.items():
            totals = run.steps.setdefault(step, StepTotals())
            totals.sent += done.sent
            totals.in_flight_max += done.in_flight_max
            totals.cap_hits += done.cap_hits


def _sent_by(run: Run, name: str) -> int:
    return sum(done.sent for done in run.workers[name].driven.values())
