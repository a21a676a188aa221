"""What a report says that a verdict means: no more than was looked at, and agreed."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.report.assembly import assemble
from analysis.rundir.run import Run
from tests.support.runs.report_findings import cache_findings

AGREES = {"from_spans": 10, "independent": 10, "tolerance": 0}
WITHIN = {"from_spans": 10, "independent": 12, "tolerance": 2}
DIFFERS = {"from_spans": 10, "independent": 12, "tolerance": 0}
MISSING = {"from_spans": 10, "independent": None, "tolerance": 0}


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([AGREES, WITHIN], "nothing was lost, the load kept its schedule and all 2 independent"),
        ([AGREES, DIFFERS], "(the load kept its schedule, 1 of 2 independent counts agree), but"),
        (
            [AGREES, MISSING],
            "1 of 1 independent counts agree, 1 could not be compared), but not all",
        ),
        ([MISSING], "(the load kept its schedule, 1 could not be compared), but not all"),
        ([], "(the load kept its schedule), but not all of it could be checked"),
    ],
)
def test_counts_are_looked_at_and_not_only_there(
    run: Run, counts: list[dict[str, Any]], said: str
) -> None:
    """That somebody counted proves nothing; that the counts agree does."""
    rows = [{"what": "cache hits", "counted_by": "INFO", "exact": False, **row} for row in counts]

    document = assemble(run, cache_findings() | {"cross_checks": rows})

    assert said in document.meaning
    assert document.meaning.startswith("The run proved itself") == (counts == [AGREES, WITHIN])
