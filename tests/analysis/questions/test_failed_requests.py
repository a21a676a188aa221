"""Errors and refusals come fast: they are told, and stand in no comparison of times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.checks.counts.cross_checks import roots
from analysis.document.setting import setting_of
from analysis.questions.asking import findings
from analysis.questions.comparison import answer as compare
from analysis.questions.equivalence.answer import equivalence
from analysis.questions.failures import section
from analysis.questions.faster import answer as faster
from analysis.questions.faster.answer import EndToEndRow
from analysis.rundir.blocks import block_table
from analysis.rundir.run import Run
from tests.analysis.conftest import Changed
from tests.support.runs.synthetic_run import Truth


def _response(rows: tuple[EndToEndRow, ...]) -> dict[str, EndToEndRow]:
    """Response times over all rates, by statistic."""
    return {row.statistic: row for row in rows if row.step is None and row.time == "response"}


def _refused(requests: pd.DataFrame, share: float) -> pd.DataFrame:
    """Every so-manieth request of the arm `on` is refused after 2 ms."""
    chosen = (requests["arm"] == "on") & (np.arange(len(requests)) % round(1 / share) == 0)
    quick = requests["intended_ns"] + 2_000_000
    return requests.assign(
        status_code=requests["status_code"].mask(chosen, 429),
        end_ns=requests["end_ns"].mask(chosen, quick),
    )


def test_refused_requests_do_not_make_an_arm_faster(run: Run) -> None:
    """A limiter that turns half away leaves the difference of what both answered as it was."""
    requests = run.measured_requests
    blocks = block_table(run.manifest, requests, roots(run.measured_spans))
    before = _response(faster.end_to_end(run.manifest, requests, blocks))["mean"]
    limited = _refused(requests, 0.5)
    after = _response(faster.end_to_end(run.manifest, limited, blocks))["mean"]

    assert after.difference.value == pytest.approx(before.difference.value, abs=0.3)
    assert (limited["status_code"] == 429).sum() == after.left_out > 700
    assert 0 == before.left_out
    assert "same" == equivalence(run.manifest, limited, blocks).rows[0].decided


def test_requests_that_never_ended_are_the_slowest(run: Run) -> None:
    """3 % without an answer take p99's value away and leave the median's."""
    requests = run.measured_requests
    blocks = block_table(run.manifest, requests, roots(run.measured_spans))
    chosen = (requests["arm"] == "on") & (np.arange(len(requests)) % 33 == 0)
    cut = requests.assign(
        end_ns=requests["end_ns"].mask(chosen), status_code=requests["status_code"].mask(chosen)
    )
    rows = _response(faster.end_to_end(run.manifest, cut, blocks))

    assert rows["p99"].after.value is None
    assert "never answered" in str(rows["p99"].after.reason)
    assert rows["p50"].after.value is not None
    assert int(chosen.sum()) == rows["p99"].unanswered


def test_failures_have_a_section_of_the_report(small: Changed) -> None:
    """The report says by arm how many failed, and the headline says it where it is not little."""
    run = small(Truth(rates_per_s=(30.0,), pairs=6, block_s=2.0), error_share=0.1)
    found = findings(run)
    made = section.section(found, setting_of(run.manifest, "on"))

    assert made is not None
    assert "off: " in made.answer
    assert "failed" in made.answer
    assert 2 == len(made.tables[0].rows)
    assert "failed slowly" in made.answer
    assert "they count as at least as long as they took" in made.notes[0]
    assert found.headline is not None
    assert "failed" in found.headline.sentences[1]


def test_two_runs_are_compared_without_their_errors(small: Changed) -> None:
    """An arm whose every fifth answer is a quick error is no faster for it."""
    run = small(Truth(rates_per_s=(30.0,), pairs=6, block_s=2.0), error_share=0.1)
    numbers = compare._Numbers(compare.side(run, "on").tables, "on")
    limited = compare._Numbers(compare.side(run, "on").tables, "on")
    failed = limited.requests["status_code"] == 503
    quick = limited.requests["intended_ns"] + 1_000_000
    limited.requests["end_ns"] = limited.requests["end_ns"].mask(failed, quick)
    numbers.requests = numbers.requests[~failed]

    assert numbers.estimates(None)["response time, mean"].value == pytest.approx(
        limited.estimates(None)["response time, mean"].value
    )
