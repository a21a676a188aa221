"""What a claim's number rests on: told for each, so that a profile's input is no finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.claims import section as claims_section
from analysis.claims.claims import check, read, with_claims
from analysis.claims.ledger import LedgerRow
from analysis.claims.provenance import Provenance, of_operation, of_request
from tests.support.runs.report_findings import cache_findings, typed, with_answers

BACKGROUND = Path(__file__).parents[3] / "claims" / "background.toml"


@pytest.fixture(name="ledger", scope="module")
def _ledger(found: dict[str, Any]) -> dict[str, LedgerRow]:
    return {row.id: row for row in check([read(BACKGROUND)], typed(found)).claims}


@pytest.mark.parametrize(
    ("claim", "rests"),
    [
        ("twenty-times-fewer-queries", "counted"),
        ("reduction-follows-hit-rate", "counted"),
        ("redis-lookup-under-1-ms", "measured"),
        ("llm-share", "emulated"),
        ("memory-share", "emulated"),
        ("database-lookup-5-10-ms", "emulated"),
        ("preferences-stage", "emulated"),
        ("net-improvement", "emulated"),
        ("preferences-cache-saves", None),
    ],
)
def test_a_claim_says_what_it_rests_on(
    ledger: dict[str, LedgerRow], claim: str, rests: str | None
) -> None:
    """Counts are counted, a hit is measured, and what the profile was told is emulated."""
    row = ledger[claim]

    assert rests == row.rests_on
    assert (row.emulated_share is not None) == (rests == "emulated")
    assert (rests == "counted") == row.sentence.startswith("Counted ")
    assert (rests == "emulated") == ("of the time emulated" in row.sentence)


def test_the_emulated_share_counts_what_runs_inside(
    found: dict[str, Any], ledger: dict[str, LedgerRow]
) -> None:
    """The lookup marks nothing itself; nine tenths of the query inside it are the profile's."""
    rows = found["emulated"]["wholes"]
    hits, misses = (
        next(
            (
                row
                for row in rows
                if (row["arm"], row["operation"], row["which"])
                == ("on", "personality.lookup", which)
            ),
            None,
        )
        for which in ("hits", "misses")
    )

    assert ledger["database-lookup-5-10-ms"].emulated_share == pytest.approx(0.89, abs=0.01)
    assert hits is not None
    assert misses is not None
    assert (0.0, True) == (hits["share"], 0.6 < misses["share"] < 0.9)


def test_where_nothing_is_emulated_a_time_is_measured() -> None:
    """A native run marks nothing: all its times are measured."""
    native = replace(cache_findings(), answers=with_answers())

    assert Provenance(kind="measured") == of_operation(native, "on", "x")
    assert Provenance(kind="measured") == of_request(native, "off")


def test_the_report_has_a_column_for_it(found: dict[str, Any]) -> None:
    """The ledger's table says of every claim what it rests on, and how many on the profile."""
    section = claims_section.section(with_claims(typed(found), [read(BACKGROUND)]))
    assert section is not None
    place = [column.label for column in section.tables[0].columns].index("Evidence")
    written = {row[0]: row[place] for row in section.tables[0].rows}

    assert "counted" == written["20x fewer database queries, at a 95 % hit rate"]
    assert written["LLM API call: 80-90 % of total time"].endswith("emulated")
    assert "are about emulated time" in section.emulated
