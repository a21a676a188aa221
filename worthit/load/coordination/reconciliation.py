"""The account of a run: every arrival of its schedule is in exactly one place.

Sent and recorded by a worker; or begun by one that was lost, so that its answer is unknown (and,
for what it began in its last moment, whether it still went out); or perhaps sent by one of which
nobody knows how far it came; or never sent. The second and third kind become rows too, in
``requests-lost.arrows``.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from worthit.contract.plan import Block, Plan
from worthit.contract.tables import read_stream
from worthit.load.coordination.assignment import Dealing, Loss, Single
from worthit.load.coordination.worker_state import Member, Run
from worthit.load.requests.counters import StepTally, step_rows
from worthit.load.requests.rows import Rows, StreamFile
from worthit.load.schedule.schedule import Schedule

_LOGGER = logging.getLogger("worthit.load")
LOST_FILE = "requests-lost.arrows"
_NO_TRACE = bytes(16)
"""The trace of a request whose trace nobody knows: W3C's invalid one."""


def report(run: Run, schedule_of: Callable[[Plan], Schedule]) -> dict[str, Any]:
    """Return the manifest's ``generator`` and ``workers``, and what became of lost workers.

    Writes the rows of lost arrivals into the run's folder, if it has one.
    """
    until_ns = _until(run)
    _add_up(run)
    rows: list[tuple[Single, str]] = []
    lost_workers = []
    for name, loss in run.dealing.losses.items():
        member = run.members[name]
        unanswered = _unanswered(run, name, schedule_of)
        unknown = [single for single in loss.unknown if single.offset_ns < until_ns]
        _count(run, loss, unknown)
        if unanswered is None:
            number = _sent_by(member, loss) - member.requests
        else:
            number = len(unanswered)
            rows += [(single, f"begun by worker {member.index}, which was lost: answer unknown")
                     for single in unanswered]  # fmt: skip
        rows += [(single, f"perhaps sent by worker {member.index}, which was lost")
                 for single in unknown]  # fmt: skip
        lost_workers.append(
            {
                "worker": str(member.index),
                "handed_over": loss.handed_over,
                "unanswered": max(number, 0),
                "unknown": len(unknown),
            }
        )
    if run.out and rows:
        try:
            _write(run.out / LOST_FILE, run, rows)
        except OSError as error:
            _LOGGER.warning("%s cannot be written: %s.", run.out / LOST_FILE, error.strerror)
    return {
        "generator": step_rows(
            run.plan, _due(run, until_ns, schedule_of), run.steps, run.last_sent_ns, until_ns
        ),
        "workers": [member.check for member in run.members.values() if member.check],
        "lost_workers": lost_workers,
        "stopped_early": run.stopped_early,
        "begun_until_ns": _begun_until(run),
        "rows_lost": sum(member.rows_lost for member in run.members.values()),
    }


def _until(run: Run) -> int:
    """Return the offset up to which arrivals count as planned."""
    end_ns = run.dealing.end_ns
    if run.until_ns is None:
        return end_ns
    # what came due while Locust was busy stopping was not missed by the load
    last_ns = max(run.last_sent_ns.values(), default=0) + 1
    return min(run.until_ns, end_ns, last_ns)


def _begun_until(run: Run) -> int:
    """Return the offset before which every arrival has begun: blocks until then are whole."""
    until_ns = run.dealing.end_ns if run.until_ns is None else run.until_ns
    return min(until_ns, run.dealing.end_ns, run.dealing.begun_until_ns)


def _due(run: Run, until_ns: int, schedule_of: Callable[[Plan], Schedule]) -> dict[int, int]:
    due: dict[int, int] = {}
    for window in schedule_of(run.plan).until(until_ns):
        due[window.block.block] = due.get(window.block.block, 0) + len(window.offsets_ns)
    return due


def _add_up(run: Run) -> None:
    """Put together, by step, what each worker last said of itself."""
    for member in run.members.values():
        for step in member.driven:
            run.steps.setdefault(step, StepTally())
    for step, tally in run.steps.items():
        driven = {
            name: member.driven[step]
            for name, member in run.members.items()
            if step in member.driven
        }
        tally.sent = sum(values[0] for values in driven.values())
        tally.dropped = sum(values[1] for values in driven.values())
        tally.in_flight_max = {name: values[2] for name, values in driven.items()}
        tally.cap_hits = sum(values[3] for values in driven.values())


def _count(run: Run, loss: Loss, unknown: Iterable[Single]) -> None:
    """Add what a lost worker did after its last report."""
    for single in loss.begun_since:
        run.steps.setdefault(run.dealing.block_of(single).step_key, StepTally()).sent += 1
    for single in unknown:
        run.steps.setdefault(run.dealing.block_of(single).step_key, StepTally()).unknown += 1


def _sent_by(member: Member, loss: Loss) -> int:
    return sum(sent for sent, _, _, _ in member.driven.values()) + len(loss.begun_since)


def _unanswered(
    run: Run, name: str, schedule_of: Callable[[Plan], Schedule]
) -> list[Single] | None:
    """Return what a lost worker began without leaving a row; None when its rows are not here."""
    if run.out is None:
        return None
    path = run.out / f"requests-{run.members[name].index}.arrows"
    if not path.exists():
        return None
    table = read_stream(path).select(["block", "draw"])
    recorded = set(zip(*(column.to_pylist() for column in table.columns), strict=True))
    dealing: Dealing = run.dealing
    return [
        single
        for single in dealing.begun_by(name, schedule_of(run.plan))
        if (dealing.block_of(single).block, single.draw) not in recorded
    ]


def _write(path: Path, run: Run, singles: list[tuple[Single, str]]) -> None:
    """Write one row an arrival; the time it was wanted stands for the unknown time of sending."""
    rows, file = Rows(), StreamFile(path)
    with contextlib.closing(file):
        for single, error in singles:
            if rows.full:
                file.write(rows.take()[0])
            block: Block = run.dealing.block_of(single)
            intended_ns = run.t0_ns + single.offset_ns
            rows.add(
                trace_id=_NO_TRACE,
                scenario=run.plan.scenario or "",
                name="",
                block=block,
                draw=single.draw,
                intended_ns=intended_ns,
                sent_ns=intended_ns,
                end_ns=None,
                status_code=None,
                error=error,
                response_bytes=0,
            )
        file.write(rows.take()[0])
