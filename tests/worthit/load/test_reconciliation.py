from __future__ import annotations

import pytest

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.manifest import LostWorker
from worthit.load.coordination import reconciliation
from worthit.load.coordination.assignment import WINDOW_NS, Assignment
from worthit.load.coordination.messages import StepDriven
from worthit.load.coordination.worker_state import Run, WorkerState
from worthit.load.schedule.schedule import Schedule
from worthit.load.verdict.judgement import judge

BLOCK = a_block(block=4, step=2, rate_per_s=80.0, duration_s=1.0)
PLAN = a_plan(BLOCK, arrivals="even")


def a_run() -> Run:
    """Return 80 arrivals of a second, half of them assigned to each of two workers."""
    assignment = Assignment(PLAN, Schedule(PLAN))
    assignment.assign(4 * WINDOW_NS, ["w0", "w1"])
    run = Run(
        number=1,
        plan=PLAN,
        assignment=assignment,
        t0_ns=10**18,
        classes=["chat"],
        out=None,
        max_in_flight=100,
        client_spans=False,
    )
    for index, name in enumerate(("w0", "w1")):
        run.workers[name] = WorkerState(index=index)
    return run


def reported(run: Run, name: str, numbers: range, *, recorded: int) -> None:
    """Have a worker report that it sent these arrivals and recorded so many of them."""
    run.workers[name].driven[BLOCK.step] = StepDriven(len(numbers), 1, 0)
    run.workers[name].requests = recorded
    run.assignment.report(name, shares_begun=int(numbers[-1] >= 78), last_begun=numbers[-1])


def test_a_run_with_all_its_workers_is_whole() -> None:
    """All sent and reported: nothing is lost, and all blocks are whole."""
    run = a_run()
    reported(run, "w0", range(0, 80, 2), recorded=40)
    reported(run, "w1", range(1, 80, 2), recorded=40)

    report = reconciliation.report(run)

    assert report.lost_workers == ()
    assert report.begun_until_ns == 1_000_000_000
    assert report.generator[0].arrivals_sent == report.generator[0].arrivals_planned


@pytest.mark.parametrize("how", ["killed", "left"])
def test_what_a_lost_worker_held_is_counted_and_makes_the_run_invalid(how: str) -> None:
    """Sent is what was reported, the rest is not sent; the run is INVALID and says why."""
    run = a_run()
    reported(run, "w0", range(0, 80, 2), recorded=40)
    reported(run, "w1", range(1, 40, 2), recorded=17)
    run.workers["w1"].recording = how == "killed"
    run.workers["w1"].has_left = how == "left"

    report = reconciliation.report(run)

    row = report.generator[0]
    assert report.lost_workers == (LostWorker(worker="1", not_sent=20, not_recorded=3),)
    assert (row.arrivals_planned, row.arrivals_sent, row.dropped) == (80, 60, 20)
    # arrival 41, at 12.5 ms each, is the first that was not begun
    assert report.begun_until_ns == 41 * 12_500_000
    judged = judge(report)
    assert judged.verdict == "INVALID"
    assert (
        "Worker 1 was lost: 20 arrivals that it was assigned were not sent, as far as it had "
        "reported, and 3 requests that it had sent were not recorded; repeat the run."
    ) in judged.invalid
    assert "Step 2: 20 of 80 arrivals were not sent; a worker was lost; repeat the run." in (
        judged.invalid
    )


def test_a_run_that_was_stopped_lost_no_worker() -> None:
    """What workers had not begun when the run was stopped is no loss of theirs."""
    run = a_run()
    reported(run, "w0", range(0, 40, 2), recorded=20)
    reported(run, "w1", range(1, 40, 2), recorded=20)
    run.stopped_early, run.until_ns = True, 500_000_000

    report = reconciliation.report(run)

    assert report.lost_workers == ()
    assert report.begun_until_ns == 500_000_000
