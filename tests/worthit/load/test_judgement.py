from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.checks.run_checks import about_generator
from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.errors import UserMistakeError
from worthit.contract.manifest import (
    Generator,
    LoadReport,
    LostWorker,
    Manifest,
    Percentiles,
    RequestNote,
    Worker,
)
from worthit.contract.plan import Plan
from worthit.load.requests.counters import StepCounts, StepTotals, step_rows
from worthit.load.verdict.judgement import Judgement, judge
from worthit.load.verdict.verdict import parse, step_in_words, times_in_words


def three_blocks() -> Plan:
    """Return two blocks of one step, 10 s each at 100/s, and a warm-up before them."""
    return a_plan(
        *(
            a_block(
                block=number,
                pair=number,
                rate_per_s=100.0,
                start_s=10.0 * number,
                duration_s=10.0,
                warmup=number == 0,
            )
            for number in range(3)
        ),
        arrivals="even",
    )


DUE = {0: 1000, 1: 1000, 2: 1000}


def a_row(sent: int, *, last_sent_s: float = 30.0) -> Generator:
    """Return the generator's row of a run that sent so many."""
    totals = StepTotals(sent=sent, in_flight_max=11)
    rows = step_rows(three_blocks(), DUE, {0: totals}, {2: round(last_sent_s * 1e9)}, 30 * 10**9)
    return rows[0]


def judged(row: Generator, **more: Any) -> Judgement:  # noqa: ANN401 - LoadReport's own fields
    """Return what is said of a run of one step."""
    return judge(LoadReport(generator=(row,), **more))


def test_a_kept_rate_has_no_shortfall() -> None:
    """All sent and on time: offered and achieved agree, warm-up left out, nothing is short."""
    row = a_row(2000)

    assert (row.offered_per_s, row.achieved_per_s) == (100.0, 100.0)
    assert (row.arrivals_planned, row.dropped, row.in_flight_max) == (2000, 0, 11)
    assert judged(row).as_json() == {"verdict": "VALID", "reasons": [], "explained": []}


def test_one_arrival_not_sent_is_a_shortfall() -> None:
    """One of 2,000 not sent is said, however small a part it is."""
    said = judged(a_row(1999)).invalid

    assert len(said) == 1
    assert said[0].startswith("Step 0: 1 of 2000 arrivals were not sent; use more workers")


def test_a_late_end_lowers_the_achieved_rate() -> None:
    """Two seconds late over 20 s is 91/s: everything was sent, and still the rate was missed."""
    row = a_row(2000, last_sent_s=32.1)

    assert row.achieved_per_s == pytest.approx(2000 / 22)
    assert "100.0 arrivals/s were offered and 90.9/s achieved" in judged(row).invalid[0]


def test_a_blink_at_the_end_is_no_shortfall() -> None:
    """Being 50 ms late with the last arrival is a schedule delay, not a missed rate."""
    assert judged(a_row(2000, last_sent_s=30.05)).verdict == "VALID"


@pytest.mark.parametrize(
    ("own_ms", "p99_ms", "verdict"),
    [
        (4.9, 10.0, "VALID"),
        (5.1, 10.0, "SUSPECT"),
        (14.9, 100.0, "VALID"),
        (15.1, 100.0, "SUSPECT"),
        (5.1, None, "SUSPECT"),
        (None, 10.0, "VALID"),
    ],
)
def test_the_loads_own_part_of_a_response_time_is_limited(
    own_ms: float | None, p99_ms: float | None, verdict: str
) -> None:
    """Up to 5 ms or 15 % of p99 is VALID, more is SUSPECT; the run's verdict judges alike."""
    row = replace(a_row(2000), own_p99_ms=own_ms, response_ms=Percentiles(p99=p99_ms))
    step = Generator(
        step=0,
        offered_per_s=100.0,
        achieved_per_s=100.0,
        own_p99_ms=own_ms,
        response_ms=Percentiles(p99=p99_ms),
    )
    empty = pd.DataFrame({"block": []})

    found = judged(row)
    issues = about_generator(
        Manifest(format_version=1, run_id="run", generator=(step,)), empty, empty
    )

    assert found.verdict == verdict
    assert len(found.suspect) == len(issues) == (verdict == "SUSPECT")


def test_a_run_stopped_early_is_said_to_be() -> None:
    """Stopped before the end of its schedule, a run is short even if it kept its rate."""
    said = judged(a_row(2000), stopped_early=True).invalid

    assert "stopped before its schedule ended" in said[0]


@pytest.mark.parametrize(
    ("lag_ms", "median_ms", "verdict"),
    [
        (4.9, 10.0, "VALID"),
        (5.1, 10.0, "SUSPECT"),
        (15.0, 3500.0, "VALID"),
        (49.0, 10.0, "SUSPECT"),
        (51.0, 10.0, "INVALID"),
        (170.0, 3500.0, "SUSPECT"),
        (180.0, 3500.0, "INVALID"),
    ],
)
def test_the_schedule_delay_is_judged_beside_what_is_measured(
    lag_ms: float, median_ms: float, verdict: str
) -> None:
    """Up to 5 ms or 0.5 % of the median response is VALID, up to 50 ms or 5 % SUSPECT."""
    times = Percentiles(p50=median_ms)
    row = replace(a_row(2000), lag_p99_ms=lag_ms, lag_max_ms=lag_ms, response_ms=times)

    assert judged(row).verdict == verdict


def test_a_stalled_services_flood_is_not_the_generators_fault() -> None:
    """Late only after a stall: VALID, with its reason; late at other times too: SUSPECT."""
    row = replace(a_row(2000), lag_p99_ms=30.0, lag_max_ms=90.0, sent_into_floods=25)

    excused = judged(replace(row, lag_apart_p99_ms=2.0))
    late = judged(replace(row, lag_apart_p99_ms=6.0))

    assert (excused.verdict, late.verdict) == ("VALID", "SUSPECT")
    assert "is the service's doing" in excused.explained[0]


def test_what_was_not_recorded_is_a_doubt() -> None:
    """Requests that the plugin failed to record make a run SUSPECT, with their number and why."""
    note = RequestNote(requests=3, what="were not recorded: ValueError: no")

    assert judged(a_row(2000), notes=(note,)).suspect == [
        "3 requests were not recorded: ValueError: no."
    ]


def test_a_lost_worker_makes_the_run_invalid() -> None:
    """A worker that died makes a run INVALID, however little it held."""
    lost = LostWorker(worker="1", not_sent=0, not_recorded=1)
    said = judged(a_row(2000), lost_workers=(lost,))

    assert said.verdict == "INVALID"
    assert "1 requests that it had sent were not recorded" in said.invalid[0]


def test_a_busy_worker_and_a_cap_that_was_reached_are_doubts() -> None:
    """A worker at 90 % of its core, or a cap that held arrivals back, makes a run SUSPECT."""
    busy = judged(a_row(2000), workers=(Worker(worker="0", cpu_share_max=0.93),))
    capped = judged(replace(a_row(2000), in_flight_cap_hits=7))

    assert (busy.verdict, capped.verdict) == ("SUSPECT", "SUSPECT")
    assert "93% of its core" in busy.suspect[0]
    assert "reached 7 times" in capped.suspect[0]


def counts(service_ms: list[float], delay_ms: float = 1.0) -> StepCounts:
    """Return a worker's counts of requests that took so long."""
    found = StepCounts(requests=len(service_ms))
    service = (np.array(service_ms) * 1e6).astype(np.int64)
    delay = np.full(len(service_ms), delay_ms * 1e6).astype(np.int64)
    found.service.add(service)
    found.delay.add(delay)
    found.response.add(service + delay)
    return found


@pytest.mark.parametrize(
    ("service_ms", "delay_ms", "words"),
    [
        ([10.0] * 100, 1.0, "They agree: every arrival was sent on time"),
        ([10.0] * 90 + [3000.0] * 10, 1.0, "the service stalled or queued while arrivals went on"),
        ([10.0] * 100, 500.0, "They differ because the generator sent late"),
    ],
)
def test_the_difference_is_explained(service_ms: list[float], delay_ms: float, words: str) -> None:
    """A punctual run, a stalled service and a late generator are told apart in words."""
    totals = StepTotals(sent=100)
    totals.add(counts(service_ms, delay_ms))
    row = step_rows(three_blocks(), DUE, {0: totals}, {}, 30 * 10**9)[0]

    assert words in times_in_words(row)


def test_failed_or_late_requests_are_not_said_to_show_the_service() -> None:
    """The closing words never contradict the warning about late arrivals, nor hide failures."""
    totals, late = StepTotals(sent=100), StepTotals(sent=100)
    totals.add(counts([10.0] * 100))
    late.add(counts([4000.0] * 100, delay_ms=150.0))
    punctual = step_rows(three_blocks(), DUE, {0: totals}, {}, 30 * 10**9)[0]
    behind = step_rows(three_blocks(), DUE, {0: late}, {}, 30 * 10**9)[0]

    assert "both show the service" not in times_in_words(punctual, failed=100)
    assert "Requests failed" in times_in_words(punctual, failed=100)
    said = judged(behind)
    assert any("sent late" in sentence for sentence in [*said.suspect, *said.invalid])
    assert "on time" not in times_in_words(behind)


def test_nothing_measured_is_said_and_not_zero() -> None:
    """A step without any finished request has no times and no schedule delay."""
    row = step_rows(three_blocks(), DUE, {}, {}, 30 * 10**9)[0]

    assert times_in_words(row) == "Step 0: no request ended, so there is no response time."
    assert "schedule delay p99 -" in step_in_words(row)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p95<3", "cannot be read; write METRIC: EXPRESSION"),
        ("share{operation:x}: value<0.5", "needs spans, which the load does not have"),
    ],
)
def test_thresholds_that_cannot_be_told_are_refused_at_once(text: str, words: str) -> None:
    """A threshold that is not one, or needs spans, is refused before the load begins."""
    with pytest.raises(UserMistakeError, match=words):
        parse([text])
