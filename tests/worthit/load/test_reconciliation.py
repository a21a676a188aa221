from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.tables import read_stream
from worthit.load.coordination import reconciliation
from worthit.load.coordination.assignment import WINDOW_NS, Dealing
from worthit.load.coordination.progress_page import Begun
from worthit.load.coordination.worker_state import Member, Run
from worthit.load.requests.rows import Rows, StreamFile
from worthit.load.schedule.schedule import Schedule
from worthit.load.verdict.judgement import judge

BLOCK = a_block(block=4, step=2, rate_per_s=80.0, duration_s=1.0)
PLAN = a_plan(BLOCK, arrivals="even")
DRAWS = 2 * 1_000_000
"""What the draws of step 2 count from."""


def a_run(out: Path) -> Run:
    """Return 80 arrivals of a second, half of them dealt to each of two workers."""
    dealing = Dealing(PLAN, Schedule(PLAN))
    dealing.deal(4 * WINDOW_NS, ["w0", "w1"])
    run = Run(
        number=1,
        plan=PLAN,
        dealing=dealing,
        t0_ns=10**18,
        classes=["chat"],
        out=out,
        max_in_flight=100,
        client_spans=False,
    )
    for index, name in enumerate(("w0", "w1")):
        run.members[name] = Member(index=index)
    return run


def recorded_by(run: Run, name: str, numbers: range, path: Path) -> None:
    """Have a worker send, record and report these arrivals."""
    member = run.members[name]
    member.driven[BLOCK.step] = (len(numbers), 0, 1, 0)
    member.requests = len(numbers)
    rows, file = Rows(), StreamFile(path / f"requests-{member.index}.arrows")
    for number in numbers:
        rows.add(bytes(16), "chat", "/chat", BLOCK, DRAWS + number, 1, 2, 3, 200, None, 0)
    file.write(rows.take()[0])
    file.close()
    run.dealing.report(name, shares=0, late=0, begun=Begun(numbers[-1]))


@pytest.mark.parametrize(
    ("begun", "unanswered", "unknown"),
    [(Begun(51), 6, 0), (Begun(41), 1, 0), (None, 0, 20)],
)
def test_every_arrival_is_in_one_place(
    tmp_path: Path, begun: Begun | None, unanswered: int, unknown: int
) -> None:
    """Recorded, unanswered, perhaps sent or never sent: each of the 80 is one of them."""
    run = a_run(tmp_path)
    recorded_by(run, "w0", range(0, 80, 2), tmp_path)
    recorded_by(run, "w1", range(1, 40, 2), tmp_path)
    run.dealing.lose("w1", begun)

    report = reconciliation.report(run, Schedule)

    row, lost = report["generator"][0], report["lost_workers"][0]
    assert (lost["unanswered"], lost["unknown"]) == (unanswered, unknown)
    assert lost["handed_over"] == 20 - unanswered - unknown
    # nobody was there to hand the rest to
    assert row["dropped"] == lost["handed_over"]
    assert row["arrivals_sent"] == 60 + unanswered
    assert row["arrivals_planned"] == row["arrivals_sent"] + row["unknown"] + row["dropped"]
    draws = Counter(
        draw
        for path in tmp_path.glob("requests-*.arrows")
        for draw in read_stream(path).column("draw").to_pylist()
    )
    assert max(draws.values()) == 1
    assert len(draws) == 80 - row["dropped"]
    assert judge({**report, "workers": []}).verdict == "INVALID"


def test_lost_rows_say_what_is_known_of_them(tmp_path: Path) -> None:
    """A lost arrival's row has its place in the schedule, no end, and what became of it."""
    run = a_run(tmp_path)
    recorded_by(run, "w0", range(0, 80, 2), tmp_path)
    recorded_by(run, "w1", range(1, 78, 2), tmp_path)
    run.dealing.lose("w1", None)

    reconciliation.report(run, Schedule)

    (row,) = read_stream(tmp_path / reconciliation.LOST_FILE).to_pylist()
    assert (row["draw"], row["block"], row["step"], row["arm"]) == (DRAWS + 79, 4, 2, "off")
    assert row["intended_ns"] == 10**18 + 79 * 12_500_000
    assert row["end_ns"] is None
    assert row["error"] == "perhaps sent by worker 1, which was lost"
